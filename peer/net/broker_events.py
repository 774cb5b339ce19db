"""What the line to the rendezvous tells its owner."""

from dataclasses import dataclass
from typing import TypeAlias

from peer.net.node_link import NodeAddress
from protocol.errors import NodeRefused
from protocol.messages.rendezvous import Address, Offer, Start


@dataclass(frozen=True, slots=True)
class NodeUp:
    """A node was reached; registrations follow by themselves."""

    node: NodeAddress
    fingerprint: str
    observed: Address


@dataclass(frozen=True, slots=True)
class NodeDown:
    """The node in use was lost; the client tries them all in turn."""


@dataclass(frozen=True, slots=True)
class Introduced:
    """Somebody looked for our session: open a path to them."""

    session_id: str
    own: Offer
    """What we answered."""
    start: Start


@dataclass(frozen=True, slots=True)
class RegistrationLost:
    """The node no longer accepts our registration, and it is not repeated."""

    session_id: str
    error: NodeRefused


Event: TypeAlias = NodeUp | NodeDown | Introduced | RegistrationLost
