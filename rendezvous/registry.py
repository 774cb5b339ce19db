"""Which sessions there are, who may speak for them, and for how long.

A session is known by its ID and the SHA-256 of a token its members share. It lives while one
of them refreshes it. What the node forgets in a restart it signed before: a *lease* names
session, origin, token hash and epoch, and whoever shows one takes the session back from a
squatter (security.md, T6). Of two leases the one of the older origin wins, for the ID was
taken then; of the same origin the one of the higher epoch, for a former member has none.
"""

import hashlib
import hmac
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from protocol.crypto.transcript import lv, unlv
from protocol.errors import MalformedMessage, NodeRefusal, NodeRefused

REGISTRATION_LIFETIME: Final = 600.0
"""Seconds a session lives without a refresh (node.md, section 1)."""

REFRESH_INTERVAL: Final = 120.0
"""Seconds after which a member refreshes."""

LEASE_LIFETIME: Final = 3600
"""Seconds a lease is worth something: longer than any sensible outage of the node."""

MAX_SESSIONS: Final = 100_000
"""Sessions of one node (security.md, T25)."""

MAX_CONNECTIONS_PER_SESSION: Final = 8
"""Five members, and some whose old connection is not yet known to be dead."""

SESSION_BYTES: Final = 64 * 1024
"""Bytes one session may occupy (security.md, T25); a test adds up what the caps admit."""

_LEASE_LABEL: Final = b"quintet/1 rv lease"
_LEASE_NUMBERS: Final = ">QQQ"
_SIGNATURE_SIZE: Final = 64


def token_hash(token: bytes) -> bytes:
    """Return what the node keeps of *token*."""
    return hashlib.sha256(token).digest()


@dataclass(frozen=True, slots=True)
class Claim:
    """Who may speak for a session: whoever knows the token behind this hash."""

    session_id: str
    token_hash: bytes
    origin: int
    """When the session was first registered, in seconds since 1970."""
    epoch: int = 0
    """0 until the token is rotated, then the session's epoch of that moment."""

    def precedes(self, other: "Claim") -> bool:
        """Whether this claim, if leased, beats *other*."""
        return (self.origin, -self.epoch) < (other.origin, -other.epoch)


@dataclass(slots=True)
class Session:
    """One registered session."""

    claim: Claim
    refreshed: float
    connections: dict[int, bool] = field(default_factory=dict)
    """Each member's connection, the latest last, and whether it is asked about seekers."""
    absent: int = 0
    """Members whose connection was lost; they may come back until the session expires."""

    @property
    def listeners(self) -> list[int]:
        """Connections to ask, the most recently refreshed first."""
        return [each for each in reversed(self.connections) if self.connections[each]]


class Store(Protocol):
    """Where sessions are kept, ordered by their last refresh.

    The embedded store is a dictionary. One shared by several nodes keeps the claims and
    passes introductions on; the connections are each node's own.
    """

    def get(self, session_id: str) -> Session | None:
        """Return the session of this ID, or None."""

    def put(self, session: Session) -> None:
        """Keep *session* as the one refreshed last."""

    def remove(self, session_id: str) -> None:
        """Forget the session; harmless if there is none."""

    def oldest(self) -> Session | None:
        """Return the session whose refresh lies longest back, or None."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Session]: ...


class Leases:
    """Signs and checks leases.

    Args:
        sign: Returns the node's Ed25519 signature, 64 bytes.
        verify: Whether a signature over a message is the node's own.
        clock_offset: Seconds from ``now`` to the time of day since 1970: a lease outlives
            the process, and with it every monotonic clock.
    """

    def __init__(
        self,
        sign: Callable[[bytes], bytes],
        verify: Callable[[bytes, bytes], bool],
        clock_offset: float,
    ) -> None:
        self._sign = sign
        self._verify = verify
        self._offset = clock_offset

    def issue(self, claim: Claim, *, now: float) -> bytes:
        expires = int(now + self._offset) + LEASE_LIFETIME
        numbers = struct.pack(_LEASE_NUMBERS, claim.origin, claim.epoch, expires)
        body = lv(claim.session_id.encode(), claim.token_hash, numbers)
        return body + self._sign(_LEASE_LABEL + body)

    def check(self, lease: bytes, *, now: float) -> Claim | None:
        """Return what *lease* claims if the node signed it and it has not expired."""
        body, signature = lease[:-_SIGNATURE_SIZE], lease[-_SIGNATURE_SIZE:]
        if not self._verify(_LEASE_LABEL + body, signature):
            return None
        try:
            session_id, hashed, numbers = unlv(body, 3)
        except MalformedMessage:  # signed by a later version of this node
            return None
        origin, epoch, expires = struct.unpack(_LEASE_NUMBERS, numbers)
        if now + self._offset >= expires:
            return None
        return Claim(session_id.decode(), hashed, origin, epoch)

    def new_claim(self, session_id: str, token: bytes, *, now: float) -> Claim:
        """Return the claim of a session that begins now."""
        return Claim(session_id, token_hash(token), int(now + self._offset))


class Registry:
    """Decides who may register, refresh and rotate.

    Args:
        store: Where sessions are kept.
        leases: Signs and checks leases.
        max_sessions: Sessions kept at most.
    """

    def __init__(self, store: Store, leases: Leases, *, max_sessions: int = MAX_SESSIONS) -> None:
        self._store = store
        self._leases = leases
        self._max_sessions = max_sessions

    def __len__(self) -> int:
        return len(self._store)

    @property
    def connections(self) -> int:
        """Registered connections of all sessions."""
        return sum(len(session.connections) for session in self._store)

    def is_entitled(self, session_id: str, token: bytes, lease: bytes, *, now: float) -> bool:
        """Whether the node knows this claim; such a request counts against no limit."""
        session = self._store.get(session_id)
        if session is not None and _is_token(session.claim, token):
            return True
        return self._leased(session_id, token, lease, now=now) is not None

    def register(
        self,
        connection_id: int,
        session_id: str,
        token: bytes,
        *,
        lease: bytes,
        create: bool,
        listening: bool,
        now: float,
    ) -> bytes:
        """Register a member's connection, or refresh it, and return a new lease.

        Raises:
            NodeRefused: TAKEN or BAD_TOKEN if the session is another's, FULL at the cap.
        """
        session = self._store.get(session_id)
        leased = self._leased(session_id, token, lease, now=now)
        if session is None:
            if len(self._store) >= self._max_sessions:
                raise NodeRefused(NodeRefusal.FULL)
            claim = leased or self._leases.new_claim(session_id, token, now=now)
            session = Session(claim, now)
        elif not _is_token(session.claim, token):
            if leased is None or not leased.precedes(session.claim):
                raise NodeRefused(NodeRefusal.TAKEN if create else NodeRefusal.BAD_TOKEN)
            # The squatter's connections go with its claim.
            session = Session(leased, now)
        self._attach(session, connection_id, listening=listening)
        session.refreshed = now
        self._store.put(session)
        return self._leases.issue(session.claim, now=now)

    def rotate(
        self,
        connection_id: int,
        session_id: str,
        token: bytes,
        *,
        new_token_hash: bytes,
        new_epoch: int,
        now: float,
    ) -> bytes:
        """Let another token count from now on, and return its lease.

        Only the connection that rotated stays: one of the others is the reason for it.

        Raises:
            NodeRefused: BAD_TOKEN if *token* is not the one in force, BAD_REQUEST if the
                connection is not registered or the epoch does not grow.
        """
        session = self._store.get(session_id)
        if session is None or not _is_token(session.claim, token):
            raise NodeRefused(NodeRefusal.BAD_TOKEN)
        if connection_id not in session.connections or new_epoch <= session.claim.epoch:
            raise NodeRefused(NodeRefusal.BAD_REQUEST)
        session.claim = replace(session.claim, token_hash=new_token_hash, epoch=new_epoch)
        session.absent += len(session.connections) - 1
        session.connections = {connection_id: session.connections[connection_id]}
        session.refreshed = now
        self._store.put(session)
        return self._leases.issue(session.claim, now=now)

    def find(self, session_id: str) -> Session | None:
        """Return the session if a member listens; a locked one is as good as unknown."""
        session = self._store.get(session_id)
        return session if session is not None and session.listeners else None

    def unregister(self, connection_id: int, session_id: str) -> bool:
        """Remove a member that leaves; whether the session ended with it."""
        session = self._store.get(session_id)
        if session is None or session.connections.pop(connection_id, None) is None:
            return False
        if session.connections or session.absent:
            return False
        self._store.remove(session_id)
        return True

    def lose(self, connection_id: int, session_id: str) -> None:
        """A member's connection broke; its session waits for it until it expires."""
        session = self._store.get(session_id)
        if session is not None and session.connections.pop(connection_id, None) is not None:
            session.absent += 1

    def next_expiry(self) -> float | None:
        """Return when the next session expires unless refreshed."""
        oldest = self._store.oldest()
        return None if oldest is None else oldest.refreshed + REGISTRATION_LIFETIME

    def expire(self, *, now: float) -> list[Session]:
        """Forget the sessions whose time is over and return them."""
        expired: list[Session] = []
        while (oldest := self._store.oldest()) is not None:
            if oldest.refreshed + REGISTRATION_LIFETIME > now:
                break
            self._store.remove(oldest.claim.session_id)
            expired.append(oldest)
        return expired

    @staticmethod
    def _attach(session: Session, connection_id: int, *, listening: bool) -> None:
        if session.connections.pop(connection_id, None) is None:
            session.absent = max(0, session.absent - 1)
        session.connections[connection_id] = listening
        if len(session.connections) > MAX_CONNECTIONS_PER_SESSION:
            del session.connections[next(iter(session.connections))]

    def _leased(self, session_id: str, token: bytes, lease: bytes, *, now: float) -> Claim | None:
        claim = self._leases.check(lease, now=now) if lease else None
        if claim is None or claim.session_id != session_id or not _is_token(claim, token):
            return None
        return claim


def _is_token(claim: Claim, token: bytes) -> bool:
    return hmac.compare_digest(claim.token_hash, token_hash(token))
