"""The wire that peers and the rendezvous node share; imports nothing else of ours."""
