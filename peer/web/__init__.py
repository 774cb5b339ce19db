"""The local API on loopback."""
