"""A TCP port for a listener whose number must be known before it is bound."""

import socket


def free_port() -> int:
    """Return a port nobody listens at right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
