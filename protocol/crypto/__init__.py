"""Keys, seals and the password proof; no I/O."""
