"""Which sessions there are, who may speak for them, and for how long.

A session is known by its ID and the SHA-256 of a token its members share. It lives while one
of them refreshes it. What the node forgets in a restart it signed before: a *lease* names
session, origin, token hash and epoch, and whoever shows one takes the session back from a
squatter (security.md, T6). Of two leases the one of the older origin wins, for the ID was
taken then; of the same origin the one of the higher epoch, for a former member has none.

The token changes with every epoch, and a former member knows the last one it was there for.
So that it cannot change it first, a rotation needs the *lease key*, whose hash the node got
with the token in force and which its keeper, the session's leader, shows to nobody else. A
keeper that falls silent loses this right after the time a leader has to return.

With several nodes on one store, what they know together (``rendezvous.records``) is adopted
before a request is judged, and given back afterwards.
"""

import hashlib
import hmac
import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.crypto.transcript import lv, unlv
from protocol.errors import MalformedMessage, NodeRefusal, NodeRefused
from protocol.limits import GRACE_TIME
from rendezvous.records import Claim, Kept, Presence, Record

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

KEY_PATIENCE: Final = GRACE_TIME
"""Seconds after its last sign of life in which only the lease key's keeper may rotate. It
refreshes every two minutes; its successor waits as long before it leads (security.md, 3.7)."""

GONE_TIME: Final = 30.0
"""Seconds for which a node that takes no notes counts as gone; names are never used again."""

_LEASE_LABEL: Final = b"quintet/1 rv lease"
_LEASE_NUMBERS: Final = ">QQQ"
_SIGNATURE_SIZE: Final = 64


def token_hash(token: bytes) -> bytes:
    """Return what the node keeps of *token*."""
    return hashlib.sha256(token).digest()


@dataclass(slots=True)
class Session:
    """One registered session."""

    claim: Claim
    refreshed: float
    connections: dict[int, bool] = field(default_factory=dict)
    """Each member's connection, the latest last, and whether it is asked about seekers."""
    absent: int = 0
    """Members whose connection was lost; they may come back until the session expires."""
    key_seen: float = 0.0
    """When the lease key was last shown."""
    keeper: int | None = None
    """The connection that showed it."""
    elsewhere: dict[str, Presence] = field(default_factory=dict)
    """Members at other nodes."""

    @property
    def listeners(self) -> list[int]:
        """Connections to ask, the most recently refreshed first."""
        return [each for each in reversed(self.connections) if self.connections[each]]

    @property
    def presence(self) -> Presence:
        """Members at this node."""
        return Presence(len(self.connections), len(self.listeners), self.absent)

    @property
    def is_deserted(self) -> bool:
        """Whether no member is left, here or elsewhere."""
        return not self.presence.members and not any(
            each.members for each in self.elsewhere.values()
        )


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
        body = lv(claim.session_id.encode(), claim.token_hash, numbers, claim.lease_key_hash)
        return body + self._sign(_LEASE_LABEL + body)

    def check(self, lease: bytes, *, now: float) -> Claim | None:
        """Return what *lease* claims if the node signed it and it has not expired."""
        body, signature = lease[:-_SIGNATURE_SIZE], lease[-_SIGNATURE_SIZE:]
        if not self._verify(_LEASE_LABEL + body, signature):
            return None
        try:
            session_id, hashed, numbers, key_hash = unlv(body, 4)
        except MalformedMessage:  # signed by a later version of this node
            return None
        origin, epoch, expires = struct.unpack(_LEASE_NUMBERS, numbers)
        if now + self._offset >= expires:
            return None
        return Claim(session_id.decode(), hashed, origin, epoch, key_hash)

    def new_claim(
        self, session_id: str, token: bytes, *, now: float, lease_key_hash: bytes = b""
    ) -> Claim:
        """Return the claim of a session that begins now."""
        begun = self.time_of_day(now)
        return Claim(session_id, token_hash(token), begun, lease_key_hash=lease_key_hash)

    def time_of_day(self, now: float) -> int:
        """Return *now* in seconds since 1970."""
        return int(now + self._offset)

    def since_start(self, time_of_day: int) -> float:
        """Return what the clock of this process showed at *time_of_day*."""
        return time_of_day - self._offset


class Registry:
    """Decides who may register, refresh and rotate.

    Args:
        leases: Signs and checks leases.
        max_sessions: Sessions kept at most.
        node: This node's name among those that share a store.
    """

    def __init__(
        self, leases: Leases, *, max_sessions: int = MAX_SESSIONS, node: str = "0" * 16
    ) -> None:
        self._leases = leases
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._changed: set[str] = set()
        self._gone: dict[str, float] = {}
        self.node = node
        """This node's name among those that share a store."""

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def connections(self) -> int:
        """Registered connections of all sessions."""
        return sum(len(session.connections) for session in self._sessions.values())

    def is_entitled(self, session_id: str, token: bytes, lease: bytes, *, now: float) -> bool:
        """Whether the node knows this claim; such a request counts against no limit."""
        session = self._sessions.get(session_id)
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
        lease_key: bytes = b"",
        lease_key_hash: bytes = b"",
        now: float,
    ) -> bytes:
        """Register a member's connection, or refresh it, and return a new lease.

        Args:
            connection_id: Whose.
            session_id: Which session.
            token: The token in force.
            lease: What the node last returned.
            create: Whether the session is new.
            listening: Whether to be asked about seekers.
            lease_key: The keeper's sign of life, if it is one.
            lease_key_hash: What only the keeper of a new session can match.
            now: Seconds, monotonic.

        Raises:
            NodeRefused: TAKEN or BAD_TOKEN if the session is another's, FULL at the cap.
        """
        session = self._sessions.get(session_id)
        leased = self._leased(session_id, token, lease, now=now)
        kept = len(self._sessions) - (session is not None)
        is_new_here = session is None or not session.presence.members
        if is_new_here and kept >= self._max_sessions:
            raise NodeRefused(NodeRefusal.FULL)
        if session is None:
            claim = leased or self._leases.new_claim(
                session_id, token, now=now, lease_key_hash=lease_key_hash
            )
            session = Session(claim, now, key_seen=now)
            if leased is None and lease_key_hash:
                session.keeper = connection_id
        elif not _is_token(session.claim, token):
            if leased is None or not leased.precedes(session.claim):
                raise NodeRefused(NodeRefusal.TAKEN if create else NodeRefusal.BAD_TOKEN)
            # The squatter's connections go with its claim.
            session = Session(leased, now, key_seen=now)
        if _is_key(session.claim, lease_key):
            session.keeper, session.key_seen = connection_id, now
        self._attach(session, connection_id, listening=listening)
        session.refreshed = now
        self._keep(session)
        return self._leases.issue(session.claim, now=now)

    def rotate(
        self,
        connection_id: int,
        session_id: str,
        token: bytes,
        *,
        new_token_hash: bytes,
        new_epoch: int,
        lease_key: bytes = b"",
        new_lease_key_hash: bytes = b"",
        now: float,
    ) -> bytes:
        """Let another token count from now on, and return its lease.

        Only the connection that rotated stays: one of the others is the reason for it.

        Raises:
            NodeRefused: BAD_TOKEN if *token* is not the one in force, BAD_REQUEST if the
                connection is not registered or the epoch does not grow, THROTTLED if the
                lease key is not shown and its keeper may still be there.
        """
        session = self._sessions.get(session_id)
        if session is None or not _is_token(session.claim, token):
            raise NodeRefused(NodeRefusal.BAD_TOKEN)
        if connection_id not in session.connections or new_epoch <= session.claim.epoch:
            raise NodeRefused(NodeRefusal.BAD_REQUEST)
        left = session.key_seen + KEY_PATIENCE - now
        if session.claim.lease_key_hash and not _is_key(session.claim, lease_key) and left > 0:
            raise NodeRefused(NodeRefusal.THROTTLED, retry_after=int(left) + 1)
        session.claim = replace(
            session.claim,
            token_hash=new_token_hash,
            epoch=new_epoch,
            lease_key_hash=new_lease_key_hash,
        )
        session.keeper, session.key_seen = connection_id, now
        session.absent += len(session.connections) - 1
        session.absent += sum(each.members for each in session.elsewhere.values())
        session.elsewhere = {}
        session.connections = {connection_id: session.connections[connection_id]}
        session.refreshed = now
        self._keep(session)
        return self._leases.issue(session.claim, now=now)

    def find(self, session_id: str) -> Session | None:
        """Return the session if a member listens; a locked one is as good as unknown."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        elsewhere = any(each.listeners for each in session.elsewhere.values())
        return session if session.listeners or elsewhere else None

    def unregister(self, connection_id: int, session_id: str) -> bool:
        """Remove a member that leaves; whether the session ended with it."""
        session = self._sessions.get(session_id)
        if session is None or session.connections.pop(connection_id, None) is None:
            return False
        if session.keeper == connection_id:
            # Who leads next makes another key, and has nobody left to ask for this one.
            session.claim = replace(session.claim, lease_key_hash=b"")
        if not session.is_deserted:
            return False
        del self._sessions[session_id]
        return True

    def lose(self, connection_id: int, session_id: str) -> None:
        """A member's connection broke; its session waits for it until it expires."""
        session = self._sessions.get(session_id)
        if session is not None and session.connections.pop(connection_id, None) is not None:
            session.absent += 1
            self._changed.add(session_id)

    def move(self, former: int, connection_id: int, session_id: str) -> None:
        """A member goes on with another connection."""
        session = self._sessions.get(session_id)
        if session is None or former not in session.connections:
            return
        listening = session.connections.pop(former)
        session.connections[connection_id] = listening
        if session.keeper == former:
            session.keeper = connection_id

    def touch(self, connection_id: int, session_id: str, *, now: float) -> None:
        """A member gave a sign of life that counts as a refresh."""
        session = self._sessions.get(session_id)
        if session is None or connection_id not in session.connections:
            return
        if session.keeper == connection_id:
            session.key_seen = now
        # The store hears of it as often as of a member with a connection.
        if now - session.refreshed >= REFRESH_INTERVAL:
            session.refreshed = now
            self._keep(session)
            self._changed.add(session_id)

    def next_expiry(self) -> float | None:
        """Return when the next session expires unless refreshed."""
        oldest = self._oldest()
        return None if oldest is None else oldest.refreshed + REGISTRATION_LIFETIME

    def expire(self, *, now: float) -> list[Session]:
        """Forget the sessions whose time is over and return them."""
        expired: list[Session] = []
        while (oldest := self._oldest()) is not None:
            if oldest.refreshed + REGISTRATION_LIFETIME > now:
                break
            del self._sessions[oldest.claim.session_id]
            expired.append(oldest)
        return expired

    # --- what nodes know together ---------------------------------------------------------

    def adopt(self, session_id: str, kept: Kept | None, *, now: float) -> None:
        """Take over what the store knows of a session."""
        session = self._sessions.get(session_id)
        if kept is None:
            if session is not None:
                session.elsewhere = {}  # the store lost it, and gets back what is known here
            return
        record = kept.record
        if session is None:
            session = Session(record.claim, now)
        elif session.claim.token_hash != record.claim.token_hash:
            # Rotated at another node: who was registered here is counted as absent there.
            session = Session(record.claim, now)
        session.claim = record.claim
        session.key_seen = max(session.key_seen, self._leases.since_start(record.key_seen))
        session.elsewhere = {
            name: each
            for name, each in record.presence.items()
            if name != self.node and self._gone.get(name, 0.0) <= now
        }
        session.refreshed = max(session.refreshed, now + kept.remaining - REGISTRATION_LIFETIME)
        self._keep(session)

    def record(self, session_id: str) -> Record | None:
        """Return what is to be known of a session together; None once it ended."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        presence = {name: each for name, each in session.elsewhere.items() if each.members}
        if session.presence.members:
            presence[self.node] = session.presence
        return Record(session.claim, presence, self._leases.time_of_day(max(session.key_seen, 0)))

    def lifetime(self, session_id: str, *, now: float) -> float:
        """Return the seconds a session will live unless refreshed."""
        session = self._sessions.get(session_id)
        return 0.0 if session is None else session.refreshed + REGISTRATION_LIFETIME - now

    def release(self, session_id: str) -> None:
        """Forget a session of which no member is or was here."""
        session = self._sessions.get(session_id)
        if session is not None and not session.presence.members:
            del self._sessions[session_id]

    @property
    def has_changed(self) -> bool:
        """Whether a session changed without having been borrowed."""
        return bool(self._changed)

    def mark_changed(self, session_id: str | None = None) -> None:
        """Let the store have this session, or all, again."""
        self._changed.update(self._sessions if session_id is None else [session_id])

    def is_gone(self, node: str, session_id: str, *, now: float) -> None:
        """Another node does not take notes: for a while, nobody is asked there."""
        self._gone = {name: until for name, until in self._gone.items() if until > now}
        self._gone[node] = now + GONE_TIME
        self._changed.add(session_id)

    def take_changed(self) -> list[str]:
        """Return, once, the sessions that changed without having been borrowed."""
        changed, self._changed = sorted(self._changed), set()
        return changed

    # --- the rest -----------------------------------------------------------------------------

    def _keep(self, session: Session) -> None:
        """Keep *session* as the one refreshed last."""
        self._sessions[session.claim.session_id] = session
        self._sessions.move_to_end(session.claim.session_id)

    def _oldest(self) -> Session | None:
        return next(iter(self._sessions.values()), None)

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


def _is_key(claim: Claim, key: bytes) -> bool:
    return bool(key) and hmac.compare_digest(claim.lease_key_hash, hashlib.sha256(key).digest())
