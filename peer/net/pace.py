"""How fast the line to the rendezvous notices things, and how often it tries again."""

from dataclasses import dataclass

from peer.net.node_link import DIAL_TIMEOUT


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the client notices that a node is gone, and how often it tries again.

    A node that crashed is silent: so the client asks for signs of life, and is back within
    15 s of a restart (node.md, section 2).
    """

    keep_alive: float = 4.0
    """Seconds of silence after which the node is asked for a sign of life."""
    silence: float = 9.5
    """Seconds of silence after which it counts as gone."""
    first_delay: float = 0.25
    """Seconds before the second attempt to connect; doubles with each."""
    last_delay: float = 3.0
    """Seconds between attempts at most."""
    dial: float = DIAL_TIMEOUT
    """Seconds one address of a node has to answer in."""
    rest: float = 30.0
    """Seconds with nothing to say after which the connection gives way to datagrams."""
    refresh: float | None = None
    """Seconds between refreshes; None: as the node asks."""
