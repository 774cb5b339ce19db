"""Links to the other members and to the rendezvous node."""
