"""The rendezvous node: brokers session IDs and addresses, and nothing else."""
