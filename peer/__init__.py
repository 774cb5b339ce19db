"""One computer in a session."""
