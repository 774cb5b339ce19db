"""Tells the service manager that the node is ready, where one waits to hear it.

Source: sd_notify(3), the protocol of NOTIFY_SOCKET.
"""

import os
import socket


def notify(state: str) -> bool:
    """Send *state*, such as ``READY=1``; whether anybody asked for it."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return False
    # An at sign stands for the zero byte of an abstract name.
    path = "\0" + name[1:] if name.startswith("@") else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect(path)
        channel.send(state.encode())
    return True
