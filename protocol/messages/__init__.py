"""Every message of the wire, one module a topic."""
