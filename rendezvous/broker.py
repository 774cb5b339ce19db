"""What the node decides: who is served, who is introduced to whom, and when both begin.

One machine for all connections of the node. Per connection::

    GREETING -Hello-> SERVED -Register, LookUp, Answer, ...-> SERVED
        |                |
        +----------------+-- broken rule, too late --> closed

Per introduction of one seeker to one member::

    ASKED -Answer(offer)-> both get Start, together
      |
      +-- Answer(None), 10 s, either side gone --> forgotten

The seeker hears nothing of members that decline or stay silent; when all of them do, the
session is as good as unknown.
"""

import hmac
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, assert_never

from protocol.address import source_prefix
from protocol.crypto.node_proof import prove
from protocol.errors import CloseCode, NodeRefusal, NodeRefused
from protocol.limits import STEP_TIMEOUT
from protocol.messages.base import Message
from protocol.messages.rendezvous import (
    Address,
    Answer,
    Hello,
    Introduce,
    KeepAlive,
    LookedUp,
    LookUp,
    NodeMessage,
    Offer,
    PeerMessage,
    Refused,
    Register,
    Registered,
    Rotate,
    Start,
    Unregister,
    Welcome,
)
from protocol.versions import RENDEZVOUS_VERSIONS
from rendezvous.events import (
    ConnectionRefused,
    Event,
    IntroductionEnded,
    Outcome,
    RequestRefused,
    SessionEnded,
    SessionOpened,
)
from rendezvous.quota import Quota, Rate
from rendezvous.registry import REFRESH_INTERVAL, REGISTRATION_LIFETIME, Registry
from rendezvous.vetting import vetted

LOOK_UPS: Final = Rate.per_minute(20)
"""Look-ups of one source (security.md, T5)."""

REGISTRATIONS: Final = Rate.per_minute(5)
"""Registrations of one source (security.md, T25)."""

INTRODUCED_MEMBERS: Final = 3
"""Members asked about one seeker: enough that one is awake, few enough to stay quiet."""

MAX_PENDING_PER_SESSION: Final = 10
"""Introductions of one session not answered yet (security.md, T7)."""

MAX_SESSIONS_PER_CONNECTION: Final = 4
"""Sessions one connection may register; a peer has one, and a little is left for changes."""

MAX_BARRIER: Final = 500
"""Milliseconds one side is made to wait at most, whatever round trips are claimed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one source may ask; ``--dev`` raises them."""

    look_ups: Rate = LOOK_UPS
    registrations: Rate = REGISTRATIONS
    """Of new sessions; refreshes do not count."""
    loopback: bool = False
    """Whether loopback addresses are passed on: the node of one machine's own peers."""
    access: frozenset[str] = frozenset()
    """Access tokens, one of which a peer must show; empty for an open node."""


@dataclass(slots=True)
class _Connection:
    source: Address
    exporter: bytes
    deadline: float | None
    """Until when ``Hello`` must come; None once it came."""
    sessions: set[str] = field(default_factory=set)
    introductions: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class _Search:
    """One look-up: a seeker and the members asked about it."""

    session_id: str
    seeker: int
    request_id: int
    offer: Offer
    begun: float
    asked: int
    """Members whose answer is awaited."""
    started: bool = False
    """Whether one of them answered with an offer."""


@dataclass(frozen=True, slots=True)
class _Introduction:
    search: _Search
    member: int


class Broker:
    """Serves all connections of one node.

    Args:
        registry: The sessions.
        limits: How much one source may ask.
        node_key: The node's Ed25519 public key.
        sign: Returns the node's signature of its argument.
        random_bytes: Returns so many random bytes.
    """

    def __init__(
        self,
        registry: Registry,
        limits: Limits,
        *,
        node_key: bytes,
        sign: Callable[[bytes], bytes],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._registry = registry
        self._limits = limits
        self._node_key = node_key
        self._sign = sign
        self._random_bytes = random_bytes
        # Looked up by digest, so that the time it takes says nothing about a token.
        self._access = {hmac.digest(node_key, each.encode(), "sha256") for each in limits.access}
        self._look_ups = Quota(limits.look_ups)
        self._registrations = Quota(limits.registrations)
        self._connections: dict[int, _Connection] = {}
        self._greeting: OrderedDict[int, float] = OrderedDict()
        self._introductions: OrderedDict[bytes, _Introduction] = OrderedDict()
        self._pending: dict[str, int] = {}
        self._outbox: list[tuple[int, NodeMessage]] = []
        self._events: deque[Event] = deque()

    @property
    def sessions(self) -> int:
        """Sessions known now."""
        return len(self._registry)

    @property
    def members(self) -> int:
        """Registered connections of all sessions."""
        return self._registry.connections

    # --- inputs -----------------------------------------------------------------------

    def connected(
        self, connection_id: int, source: Address, exporter: bytes, *, now: float
    ) -> None:
        """Take note of a connection whose handshake completed.

        Args:
            connection_id: Names it from now on; never reused.
            source: The peer's address, validated by QUIC.
            exporter: 32 bytes of the TLS exporter for the node's proof.
            now: Seconds, monotonic.
        """
        self._connections[connection_id] = _Connection(source, exporter, now + STEP_TIMEOUT)
        self._greeting[connection_id] = now + STEP_TIMEOUT

    def moved(self, connection_id: int, source: Address) -> None:
        """The peer's address changed, as QUIC validated."""
        if connection_id in self._connections:
            self._connections[connection_id].source = source

    def receive_message(self, connection_id: int, message: PeerMessage, *, now: float) -> None:
        """Take one message of a peer; a broken rule closes its connection."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return  # what was on the way when the connection was refused
        if isinstance(message, Hello) == (connection.deadline is None):
            self._close(connection_id, CloseCode.PROTOCOL, now=now)
            return
        try:
            self._handle(connection_id, connection, message, now=now)
        except NodeRefused as error:
            request_id = getattr(message, "request_id", None)
            self._refuse(connection_id, type(message), request_id, error)
            if isinstance(message, Hello):
                self._close(connection_id, CloseCode.REFUSED, now=now)

    def disconnected(self, connection_id: int, *, now: float) -> None:
        """Forget a connection; its sessions wait for their members to return."""
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return
        self._greeting.pop(connection_id, None)
        for session_id in sorted(connection.sessions):
            self._registry.lose(connection_id, session_id)
        for introduction_id in sorted(connection.introductions):
            self._end(introduction_id, Outcome.ABANDONED, now=now)

    def handle_timer(self, *, now: float) -> None:
        """Act on deadlines that have passed; harmless when none has."""
        for _ in self._registry.expire(now=now):
            self._events.append(SessionEnded(expired=True))
        while self._greeting:
            connection_id, deadline = next(iter(self._greeting.items()))
            if deadline > now:
                break
            self._close(connection_id, CloseCode.TIMEOUT, now=now)
        while self._introductions:
            introduction_id, introduction = next(iter(self._introductions.items()))
            if introduction.search.begun + STEP_TIMEOUT > now:
                break
            self._end(introduction_id, Outcome.UNANSWERED, now=now)

    def get_timer(self) -> float | None:
        """Return the moment ``handle_timer`` must be called, or None."""
        deadlines = [
            self._registry.next_expiry(),
            next(iter(self._greeting.values()), None),
            next((each.search.begun + STEP_TIMEOUT for each in self._introductions.values()), None),
        ]
        return min((each for each in deadlines if each is not None), default=None)

    # --- outputs ----------------------------------------------------------------------

    def messages_to_send(self) -> list[tuple[int, NodeMessage]]:
        """Return what must be sent now, in order, once: connection and message."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> Event | None:
        """Return the next event, or None when drained."""
        return self._events.popleft() if self._events else None

    # --- effects ----------------------------------------------------------------------

    def _handle(
        self, connection_id: int, connection: _Connection, message: PeerMessage, *, now: float
    ) -> None:
        match message:
            case Hello():
                self._greet(connection_id, connection, message)
            case Register():
                self._register(connection_id, connection, message, now=now)
            case Rotate():
                self._rotate(connection_id, message, now=now)
            case Unregister(session_id=session_id):
                connection.sessions.discard(session_id)
                if self._registry.unregister(connection_id, session_id):
                    self._events.append(SessionEnded(expired=False))
            case LookUp():
                self._look_up(connection_id, connection, message, now=now)
            case Answer():
                self._answer(connection_id, connection, message, now=now)
            case KeepAlive():
                self._outbox.append((connection_id, message))
            case _:
                assert_never(message)

    def _greet(self, connection_id: int, connection: _Connection, hello: Hello) -> None:
        if hello.version not in RENDEZVOUS_VERSIONS:
            raise NodeRefused(NodeRefusal.VERSION)
        shown = hmac.digest(self._node_key, hello.access.encode(), "sha256")
        if self._limits.access and shown not in self._access:
            raise NodeRefused(NodeRefusal.ACCESS)
        connection.deadline = None
        del self._greeting[connection_id]
        welcome = Welcome(
            version=hello.version,
            observed=connection.source,
            node_key=self._node_key,
            proof=prove(connection.exporter, self._sign),
        )
        self._outbox.append((connection_id, welcome))

    def _register(
        self, connection_id: int, connection: _Connection, message: Register, *, now: float
    ) -> None:
        known = connection.sessions | {message.session_id}
        if len(known) > MAX_SESSIONS_PER_CONNECTION:
            raise NodeRefused(NodeRefusal.BAD_REQUEST)
        entitled = self._registry.is_entitled(
            message.session_id, message.token, message.lease, now=now
        )
        if not entitled:
            _take(self._registrations, connection.source, now=now)
        sessions = len(self._registry)
        lease = self._registry.register(
            connection_id,
            message.session_id,
            message.token,
            lease=message.lease,
            create=message.create,
            listening=message.listening,
            now=now,
        )
        connection.sessions = known
        if len(self._registry) > sessions:
            self._events.append(SessionOpened())
        self._outbox.append((connection_id, _registered(message.request_id, lease)))

    def _rotate(self, connection_id: int, message: Rotate, *, now: float) -> None:
        lease = self._registry.rotate(
            connection_id,
            message.session_id,
            message.token,
            new_token_hash=message.new_token_hash,
            new_epoch=message.new_epoch,
            now=now,
        )
        self._outbox.append((connection_id, _registered(message.request_id, lease)))

    def _look_up(
        self, connection_id: int, connection: _Connection, message: LookUp, *, now: float
    ) -> None:
        _take(self._look_ups, connection.source, now=now)
        session = self._registry.find(message.session_id)
        if session is None:
            raise NodeRefused(NodeRefusal.NOT_FOUND)
        members = [
            each
            for each in session.listeners
            if each != connection_id and each in self._connections
        ][:INTRODUCED_MEMBERS]
        if not members:
            raise NodeRefused(NodeRefusal.NOT_FOUND)
        pending = self._pending.get(message.session_id, 0)
        if pending == MAX_PENDING_PER_SESSION:
            raise NodeRefused(NodeRefusal.THROTTLED, round(STEP_TIMEOUT))
        self._pending[message.session_id] = pending + 1
        offer = self._vetted(message.offer, connection)
        search = _Search(
            message.session_id, connection_id, message.request_id, offer, now, len(members)
        )
        looked_up = LookedUp(
            request_id=message.request_id,
            members=len(members),
            expires_in=round(STEP_TIMEOUT),
        )
        self._outbox.append((connection_id, looked_up))
        for member in members:
            introduction_id = self._random_bytes(16)
            self._introductions[introduction_id] = _Introduction(search, member)
            connection.introductions.add(introduction_id)
            self._connections[member].introductions.add(introduction_id)
            introduce = Introduce(
                introduction_id=introduction_id, session_id=message.session_id, offer=offer
            )
            self._outbox.append((member, introduce))

    def _answer(
        self, connection_id: int, connection: _Connection, message: Answer, *, now: float
    ) -> None:
        introduction = self._introductions.get(message.introduction_id)
        if introduction is None or introduction.member != connection_id:
            return  # too late, or guessed
        if message.offer is None:
            self._end(message.introduction_id, Outcome.DECLINED, now=now)
            return
        search = introduction.search
        search.started = True
        self._end(message.introduction_id, Outcome.STARTED, now=now)
        offer = self._vetted(message.offer, connection)
        # Both leave the node now. The nearer side would begin earlier by half the difference
        # of the round trips, and its first packet find the other's router still closed.
        lead = (offer.round_trip - search.offer.round_trip) // 2
        to_seeker = Start(
            introduction_id=message.introduction_id,
            request_id=search.request_id,
            offer=offer,
            observed=self._connections[search.seeker].source,
            delay=min(max(lead, 0), MAX_BARRIER),
        )
        to_member = Start(
            introduction_id=message.introduction_id,
            offer=search.offer,
            observed=connection.source,
            delay=min(max(-lead, 0), MAX_BARRIER),
        )
        self._outbox.append((search.seeker, to_seeker))
        self._outbox.append((connection_id, to_member))

    def _vetted(self, offer: Offer, connection: _Connection) -> Offer:
        return vetted(offer, connection.source, loopback_allowed=self._limits.loopback)

    def _end(self, introduction_id: bytes, outcome: Outcome, *, now: float) -> None:
        introduction = self._introductions.pop(introduction_id)
        search = introduction.search
        for each in (search.seeker, introduction.member):
            if each in self._connections:
                self._connections[each].introductions.discard(introduction_id)
        self._events.append(IntroductionEnded(outcome, now - search.begun))
        search.asked -= 1
        if search.asked:
            return
        left = self._pending.pop(search.session_id) - 1
        if left:
            self._pending[search.session_id] = left
        if not search.started and search.seeker in self._connections:
            error = NodeRefused(NodeRefusal.NOT_FOUND)
            self._refuse(search.seeker, LookUp, search.request_id, error)

    def _refuse(
        self,
        connection_id: int,
        request: type[Message],
        request_id: int | None,
        error: NodeRefused,
    ) -> None:
        refused = Refused(
            request_id=request_id, reason=error.refusal, retry_after=error.retry_after
        )
        self._outbox.append((connection_id, refused))
        self._events.append(RequestRefused(request.__name__, error.refusal))

    def _close(self, connection_id: int, close_code: CloseCode, *, now: float) -> None:
        self.disconnected(connection_id, now=now)
        self._events.append(ConnectionRefused(connection_id, close_code))


def _registered(request_id: int, lease: bytes) -> Registered:
    return Registered(
        request_id=request_id,
        expires_in=round(REGISTRATION_LIFETIME),
        refresh_in=round(REFRESH_INTERVAL),
        lease=lease,
    )


def _take(quota: Quota, source: Address, *, now: float) -> None:
    wait = quota.take(source_prefix(source), now=now)
    if wait:
        raise NodeRefused(NodeRefusal.THROTTLED, retry_after=int(wait) + 1)
