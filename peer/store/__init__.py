"""What a peer remembers on disk."""
