"""What nodes that share a store know together of a session, and what they ask of the store.

A record holds who may speak for the session and how many members each node serves. Which
connections those are is each node's own business and never leaves it.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from protocol.messages.rendezvous import SessionName

MAX_NODES: Final = 64
"""Nodes on one store; a session with members at more of them is none of ours."""

MAX_RECORD: Final = 8 * 1024
"""Bytes of an encoded record: 64 nodes with their counts fit in half of it."""

Count = Annotated[int, Meta(ge=0, le=2**31)]
Seconds = Annotated[int, Meta(ge=0, le=2**62)]
NodeName = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z", max_length=16)]
"""Random name of one run of a node."""


class StoreUnavailable(Exception):
    """The store does not answer, or is full; the sentence says which."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who may speak for a session: whoever knows the token behind this hash."""

    session_id: SessionName
    token_hash: Annotated[bytes, Meta(min_length=32, max_length=32)]
    origin: Seconds
    """When the session was first registered, in seconds since 1970."""
    epoch: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    """0 until the token is rotated, then the session's epoch of that moment."""
    lease_key_hash: Annotated[bytes, Meta(max_length=32)] = b""
    """SHA-256 of the lease key that authorises the next rotation; empty if none is kept."""

    def precedes(self, other: "Claim") -> bool:
        """Whether this claim, if leased, beats *other*."""
        return (self.origin, -self.epoch) < (other.origin, -other.epoch)


class Presence(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How many members one node serves."""

    connections: Count = 0
    listeners: Count = 0
    """Of them, how many are asked about seekers."""
    absent: Count = 0
    """Members whose connection was lost there; they may return until the session expires."""

    @property
    def members(self) -> int:
        """Members that count: the session ends with the last of them."""
        return self.connections + self.absent


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One session, as all nodes know it."""

    claim: Claim
    presence: Annotated[dict[NodeName, Presence], Meta(max_length=MAX_NODES)]
    key_seen: Seconds = 0
    """When the lease key was last shown, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A record and the seconds it will still be kept."""

    record: Record
    remaining: float


class Store(Protocol):
    """Where records are kept, and how nodes talk to one another.

    One node at a time may change a session: it borrows the record and gives back another.
    Every method but ``expire`` raises ``StoreUnavailable`` where the store fails.
    """

    async def open(self, node: str) -> None:
        """Begin to serve the node of this name."""

    async def close(self) -> None:
        """End it; harmless if it never began."""

    async def read(self, session_id: str) -> Kept | None:
        """Return the session's record, or None."""

    async def borrow(self, session_id: str) -> Kept | None:
        """Return the session's record, or None, and let nobody else borrow it."""

    async def give_back(self, session_id: str, record: Record | None, lifetime: float) -> None:
        """Keep *record* for *lifetime* seconds, or forget the session."""

    async def put_back(self, session_id: str) -> None:
        """Give back what was borrowed, unchanged."""

    def expire(self) -> None:
        """Forget records whose time is over, unless the store does so by itself."""

    async def tell(self, node: str, note: bytes) -> bool:
        """Pass *note* to another node; whether there is one of that name."""

    async def next_note(self) -> bytes:
        """Wait for the next note to this node."""


def encode_record(record: Record) -> bytes:
    """Return the bytes a store keeps."""
    return msgspec.msgpack.encode(record)


def decode_record(data: bytes) -> Record | None:
    """Return the record of *data*; None if another version of the node wrote it."""
    if len(data) > MAX_RECORD:
        return None
    try:
        return msgspec.msgpack.decode(data, type=Record)
    except (msgspec.DecodeError, ValueError):
        return None
