"""What the node decides: who is served, who is introduced to whom, and when both begin.

One machine for all connections of the node. Per connection::

    GREETING -Hello-> SERVED -Register, LookUp, Answer, ...-> SERVED
        |                |
        +----------------+-- broken rule, too late --> closed

A member in SERVED may rest: its connection ends, and what is for it wakes it.

Per introduction of one seeker to one member::

    ASKED -Answer(offer)-> both get Start, together
      |
      +-- Answer(None), 10 s, either side gone --> forgotten

The seeker hears nothing of members that decline or stay silent; when all of them do, the
session is as good as unknown.

Where several nodes share a store, seeker and member may be at two of them. Each then keeps
its half of the introduction, both under the name the seeker's node chose, and they tell each
other in notes what the other's half needs.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from protocol.address import source_prefix
from protocol.errors import CloseCode, NodeRefusal, NodeRefused
from protocol.idle import HANDLE_SIZE, handle_of, keys_of
from protocol.limits import STEP_TIMEOUT
from protocol.messages.base import Message
from protocol.messages.rendezvous import (
    Address,
    Answer,
    Hello,
    KeepAlive,
    LookUp,
    NodeMessage,
    PeerMessage,
    Register,
    Registered,
    Rest,
    Resume,
    Resumed,
    Rotate,
    Unregister,
)
from protocol.messages.rendezvous import Resting as RestingMessage
from rendezvous.events import (
    ConnectionRefused,
    Event,
    MemberRests,
    MemberWoke,
    SessionEnded,
    SessionOpened,
)
from rendezvous.greeter import Greeter
from rendezvous.introductions import Introductions, Outputs, Served, refuse
from rendezvous.notes import Ask, Note, Told
from rendezvous.quota import Quota, Rate
from rendezvous.registry import REFRESH_INTERVAL, REGISTRATION_LIFETIME, Registry
from rendezvous.resting import Datagram, Lost, Resting

LOOK_UPS: Final = Rate.per_minute(20)
"""Look-ups of one source (security.md, T5)."""

REGISTRATIONS: Final = Rate.per_minute(5)
"""Registrations of one source (security.md, T25)."""

KEEPALIVE_INTERVAL: Final = 10.0
"""Seconds between the datagrams of a resting member. With 20 (node.md, section 1) a member
could not be back within 15 s of a crash (section 2), for it would not know of it."""

MAX_RESTING: Final = 500_000
"""Members that may rest at a time: five of every session."""

MAX_SESSIONS_PER_CONNECTION: Final = 4
"""Sessions one connection may register; a peer has one, and a little is left for changes."""

STORE_RETRY: Final = 2
"""Seconds a peer waits before it repeats what the store had no answer for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one source may ask; ``--dev`` raises them."""

    look_ups: Rate = LOOK_UPS
    registrations: Rate = REGISTRATIONS
    """Of new sessions; refreshes do not count."""
    loopback: bool = False
    """Whether loopback addresses are passed on: the node of one machine's own peers."""
    keepalive_interval: float = KEEPALIVE_INTERVAL
    """Seconds between the datagrams of a resting member."""
    max_resting: int = MAX_RESTING
    """Members that may rest at a time."""
    access: frozenset[str] = frozenset()
    """Access tokens, one of which a peer must show; empty for an open node."""


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
        self.greeter = Greeter(node_key, sign, limits.access)
        """Decides who is served at all; the operator may change it while the node runs."""
        self._look_ups = Quota(limits.look_ups)
        self._registrations = Quota(limits.registrations)
        self._connections: dict[int, Served] = {}
        self._greeting: OrderedDict[int, float] = OrderedDict()
        self._out = Outputs()
        self._random_bytes = random_bytes
        self._resting = Resting(limits.keepalive_interval, limits.max_resting)
        self._introductions = Introductions(
            registry.node,
            self._connections,
            self._out,
            loopback_allowed=limits.loopback,
            random_bytes=random_bytes,
        )

    @property
    def sessions(self) -> int:
        """Sessions known now."""
        return len(self._registry)

    @property
    def resting(self) -> int:
        """Members without a connection."""
        return len(self._resting)

    @property
    def forged(self) -> int:
        """Datagrams that only looked like those of a resting member."""
        return self._resting.forged

    @property
    def introducing(self) -> int:
        """Introductions not answered yet."""
        return len(self._introductions)

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
        self._connections[connection_id] = Served(source, exporter, now + STEP_TIMEOUT)
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
        if connection_id in self._resting:  # it changed its mind before it closed
            held = self._resting.cancel(connection_id)
            self._out.messages += [(connection_id, each) for each in held]
        try:
            self._handle(connection_id, connection, message, now=now)
        except NodeRefused as error:
            request_id = getattr(message, "request_id", None)
            self._refuse(connection_id, type(message), request_id, error)
            if isinstance(message, Hello):
                self._close(connection_id, CloseCode.REFUSED, now=now)
        self._hold_for_resting(now=now)

    def receive_note(self, note: Note, *, now: float) -> None:
        """Take what another node says."""
        match note:
            case Ask():
                session = self._registry.find(note.session_id)
                self._introductions.asked(note, session, now=now)
            case Told():
                self._introductions.told(note, now=now)
            case _:
                assert_never(note)
        self._hold_for_resting(now=now)

    def undelivered(self, note: Note, *, now: float) -> None:
        """The node this was for is gone: its members will not answer."""
        if isinstance(note, Ask):
            self._introductions.undelivered(note, now=now)

    def unjudged(self, connection_id: int, message: PeerMessage) -> None:
        """Refuse a request for which the store did not answer; it is worth another try."""
        if connection_id in self._connections:
            error = NodeRefused(NodeRefusal.THROTTLED, STORE_RETRY)
            request_id = getattr(message, "request_id", None)
            self._refuse(connection_id, type(message), request_id, error)

    def receive_datagram(self, data: bytes, source: Address, *, now: float) -> None:
        """Take a datagram of a resting member, or one that pretends to be."""
        handle = handle_of(data)
        if handle is None:
            return
        known = self._resting.receive_datagram(handle, data, source, now=now)
        if isinstance(known, Lost):
            self._leave(known.connection_id, now=now)
        elif known is not None:
            connection = self._connections[known]
            connection.source = source
            for session_id in sorted(connection.sessions):
                self._registry.touch(known, session_id, now=now)

    def stop(self) -> None:
        """Tell resting members that the node stops."""
        self._resting.stop()

    def disconnected(self, connection_id: int, *, now: float) -> None:
        """Forget a connection; its sessions wait for their members to return.

        A member that rests closed it itself.
        """
        if connection_id in self._resting:
            return
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return
        self._greeting.pop(connection_id, None)
        for session_id in sorted(connection.sessions):
            self._registry.lose(connection_id, session_id)
        self._introductions.disconnected(connection, now=now)

    def handle_timer(self, *, now: float) -> None:
        """Act on deadlines that have passed; harmless when none has."""
        for _ in self._registry.expire(now=now):
            self._out.events.append(SessionEnded(expired=True))
        while self._greeting:
            connection_id, deadline = next(iter(self._greeting.items()))
            if deadline > now:
                break
            self._close(connection_id, CloseCode.TIMEOUT, now=now)
        self._introductions.expire(now=now)
        for lost in self._resting.handle_timer(now=now):
            self.disconnected(lost.connection_id, now=now)
        self._hold_for_resting(now=now)

    def get_timer(self) -> float | None:
        """Return the moment ``handle_timer`` must be called, or None."""
        deadlines = [
            self._registry.next_expiry(),
            next(iter(self._greeting.values()), None),
            self._introductions.next_expiry(),
            self._resting.get_timer(),
        ]
        return min((each for each in deadlines if each is not None), default=None)

    # --- outputs ----------------------------------------------------------------------

    def messages_to_send(self) -> list[tuple[int, NodeMessage]]:
        """Return what must be sent now, in order, once: connection and message."""
        messages, self._out.messages = self._out.messages, []
        return messages

    def datagrams_to_send(self) -> list[Datagram]:
        """Return the datagrams to resting members that must be sent now, once."""
        return self._resting.datagrams_to_send()

    def notes_to_send(self) -> list[tuple[str, Note]]:
        """Return what must be told to other nodes now, in order, once: node and note."""
        notes, self._out.notes = self._out.notes, []
        return notes

    def next_event(self) -> Event | None:
        """Return the next event, or None when drained."""
        return self._out.events.popleft() if self._out.events else None

    # --- effects ----------------------------------------------------------------------

    def _handle(
        self, connection_id: int, connection: Served, message: PeerMessage, *, now: float
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
                    self._out.events.append(SessionEnded(expired=False))
            case Rest():
                self._rest(connection_id, connection, message, now=now)
            case Resume():
                self._resume(connection_id, connection, message)
            case LookUp():
                self._look_up(connection_id, connection, message, now=now)
            case Answer():
                self._introductions.answer(connection_id, connection, message, now=now)
            case KeepAlive():
                self._out.messages.append((connection_id, message))
            case _:
                assert_never(message)

    def _greet(self, connection_id: int, connection: Served, hello: Hello) -> None:
        welcome = self.greeter.welcome(hello, connection.source, connection.exporter)
        connection.deadline = None
        del self._greeting[connection_id]
        self._out.messages.append((connection_id, welcome))

    def _register(
        self, connection_id: int, connection: Served, message: Register, *, now: float
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
            lease_key=message.lease_key,
            lease_key_hash=message.lease_key_hash,
            now=now,
        )
        connection.sessions = known
        if len(self._registry) > sessions:
            self._out.events.append(SessionOpened())
        self._out.messages.append((connection_id, _registered(message.request_id, lease)))

    def _rotate(self, connection_id: int, message: Rotate, *, now: float) -> None:
        lease = self._registry.rotate(
            connection_id,
            message.session_id,
            message.token,
            new_token_hash=message.new_token_hash,
            new_epoch=message.new_epoch,
            lease_key=message.lease_key,
            new_lease_key_hash=message.new_lease_key_hash,
            now=now,
        )
        self._out.messages.append((connection_id, _registered(message.request_id, lease)))

    def _rest(self, connection_id: int, connection: Served, message: Rest, *, now: float) -> None:
        if not connection.sessions or connection.introductions:
            raise NodeRefused(NodeRefusal.BAD_REQUEST)
        if self._resting.is_full:
            raise NodeRefused(NodeRefusal.FULL)
        handle = self._random_bytes(HANDLE_SIZE)
        answer = RestingMessage(
            request_id=message.request_id, handle=handle, interval=round(self._resting.interval)
        )
        self._out.messages.append((connection_id, answer))
        self._out.events.append(MemberRests(connection_id))
        keys = keys_of(connection.exporter)
        self._resting.rest(connection_id, handle, keys, connection.source, now=now)

    def _resume(self, connection_id: int, connection: Served, message: Resume) -> None:
        resumed = self._resting.resume(message.handle, message.proof, connection.exporter)
        if resumed is None:
            raise NodeRefused(NodeRefusal.NOT_FOUND)
        former, held = resumed
        for session_id in sorted(self._connections[former].sessions):
            self._registry.move(former, connection_id, session_id)
        self._introductions.move(former, connection_id)
        connection.sessions |= self._connections.pop(former).sessions
        self._out.messages.append((connection_id, Resumed(request_id=message.request_id)))
        self._out.messages += [(connection_id, each) for each in held]
        self._out.events.append(MemberWoke())

    def _leave(self, connection_id: int, *, now: float) -> None:
        for session_id in sorted(self._connections[connection_id].sessions):
            if self._registry.unregister(connection_id, session_id):
                self._out.events.append(SessionEnded(expired=False))
            self._registry.mark_changed(session_id)
        self._connections[connection_id].sessions.clear()
        self.disconnected(connection_id, now=now)

    def _look_up(
        self, connection_id: int, connection: Served, message: LookUp, *, now: float
    ) -> None:
        _take(self._look_ups, connection.source, now=now)
        session = self._registry.find(message.session_id)
        if session is None:
            raise NodeRefused(NodeRefusal.NOT_FOUND)
        self._introductions.look_up(connection_id, message, session, now=now)

    def _hold_for_resting(self, *, now: float) -> None:
        """Keep back what is for members without a connection, and wake them."""
        messages, self._out.messages = self._out.messages, []
        for connection_id, message in messages:
            # That a member may rest still goes over the connection it has.
            if connection_id in self._resting and not isinstance(message, RestingMessage):
                self._resting.wake(connection_id, message, now=now)
            else:
                self._out.messages.append((connection_id, message))

    def _refuse(
        self,
        connection_id: int,
        request: type[Message],
        request_id: int | None,
        error: NodeRefused,
    ) -> None:
        refuse(self._out, connection_id, request, request_id, error)

    def _close(self, connection_id: int, close_code: CloseCode, *, now: float) -> None:
        self.disconnected(connection_id, now=now)
        self._out.events.append(ConnectionRefused(connection_id, close_code))


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
