"""A connection for code that awaits: its streams, its end, and who vouches for it."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from aioquic.quic import events

from protocol.endpoint.paths import Path
from protocol.endpoint.streams import Signal, Stream
from protocol.errors import CloseCode, LinkClosed
from protocol.limits import STEP_TIMEOUT
from protocol.quic.connection import BoundedQuicConnection
from protocol.quic.size_probe import SIZES, SizeProber

MAX_REASON = 200
"""Characters of a close reason: the frame must fit one datagram whatever they encode to."""


class Driver(Protocol):
    """What a connection needs of the endpoint that drives it."""

    def time(self) -> float:
        """Return the loop time."""

    def transmit(self, connection: "Connection", now: float) -> None:
        """Send what the connection has to send, and set its timer."""

    def transmit_soon(self, connection: "Connection") -> None:
        """Do so once the code running now has finished."""

    def established(self, connection: "Connection") -> None:
        """Take notice that the handshake completed."""

    def authenticated(self, connection: "Connection") -> None:
        """Take notice that the owner vouches for the peer."""

    def issued(self, connection: "Connection", connection_id: bytes) -> None:
        """Route this connection ID to the connection."""

    def retired(self, connection: "Connection", connection_id: bytes) -> None:
        """Route it no more."""

    def terminated(self, connection: "Connection") -> None:
        """Forget the connection: no packet of it is awaited any more."""


class Connection:
    """A QUIC connection to one peer.

    Until the owner calls ``authenticated()`` it holds 64 KiB and one stream, and it is
    closed ``STEP_TIMEOUT`` after it began unless extended.

    Attributes:
        path: Where the peer is; the owner may change ``path.remote``.
        alpn: The application protocol.
        is_client: Whether this side dialled.
        quic: The machine inside.
        deadline: Loop time of its next timer.
        queued_at: For the timers of the endpoint.
        connection_ids: Those routed here.
    """

    def __init__(
        self,
        driver: Driver,
        quic: BoundedQuicConnection,
        path: Path,
        *,
        alpn: str,
        is_client: bool,
    ) -> None:
        self.path = path
        self.alpn = alpn
        self.is_client = is_client
        self.quic = quic
        self.deadline: float | None = None
        self.queued_at: float | None = None
        self.connection_ids: set[bytes] = set()
        self._driver = driver
        self._streams: dict[int, Stream] = {}
        self._incoming: deque[Stream] = deque()
        self._changed = Signal()
        self._is_established = False
        self._vouch_by: float | None = driver.time() + STEP_TIMEOUT
        self._ended: LinkClosed | None = None
        self._close_packets: Callable[[], None] | None = None
        self._late_packets = 0
        self._unacknowledged: dict[Stream, None] = {}
        self._opened = 0
        self._keepalive: float | None = None
        self._pinged_at = 0.0

    def __repr__(self) -> str:
        role = "client" if self.is_client else "server"
        return f"<Connection {role} {self.alpn} {self.path!r}>"

    # --- streams ---------------------------------------------------------------------

    def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Return a new stream; the peer learns of it with the first byte written.

        Raises:
            LinkClosed: If the connection ended.
        """
        self.check_open()
        stream_id = self.quic.get_next_available_stream_id(is_unidirectional=unidirectional)
        # Claims the number; nothing is sent for an empty write.
        self.quic.send_stream_data(stream_id, b"")
        stream = Stream(self, stream_id, can_read=not unidirectional, can_write=True)
        self._streams[stream_id] = stream
        return stream

    async def accept_stream(self) -> Stream:
        """Return the next stream the peer opened.

        Raises:
            LinkClosed: If the connection ended.
        """
        while not self._incoming:
            self.check_open()
            await self._changed.wait()
        return self._incoming.popleft()

    # --- who the peer is ----------------------------------------------------------------

    def authenticated(self, *, widen: bool = True) -> None:
        """Vouch for the peer: no deadline and, if *widen*, full windows."""
        if self._vouch_by is None or self._ended is not None:
            return
        self._vouch_by = None
        self.quic.authenticated(widen=widen)
        if widen:
            self._probe_sizes()
        self._driver.authenticated(self)
        self.transmit_soon()

    def extend(self, seconds: float) -> None:
        """Give the authentication *seconds* more from now: people may be deciding."""
        if self._vouch_by is not None:
            self._vouch_by = self._driver.time() + seconds
            self.transmit_soon()

    @property
    def is_authenticated(self) -> bool:
        """Whether the owner vouched for the peer."""
        return self._vouch_by is None

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        """Return *length* bytes only the two ends know; equal on both.

        Raises:
            LocalProtocolError: Before the handshake completed.
        """
        return self.quic.export_keying_material(label, context, length)

    @property
    def is_fast(self) -> bool:
        """Whether bulk data takes the fast path."""
        return self.quic.is_fast

    # --- the path -----------------------------------------------------------------------

    @property
    def round_trip(self) -> float | None:
        """Seconds, smoothed; None before the first measurement."""
        return self.quic.round_trip

    def set_datagram_size(self, size: int) -> None:
        """Send datagrams of at most *size* bytes from now on, and try no others."""
        self._probe_sizes(())
        self.path.datagram_size = size
        self.quic.set_datagram_size(size)

    def forget_path(self) -> None:
        """Start congestion control, round-trip times and size anew: the path has changed."""
        self.quic.forget_path()
        self.quic.set_datagram_size(self.path.datagram_size)
        self._probe_sizes()

    def keepalive(self, interval: float | None) -> None:
        """Ping after *interval* seconds without a packet from the peer; None: never."""
        self._keepalive = interval
        self.transmit_soon()

    # --- its end ------------------------------------------------------------------------

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """End the connection now; the peer is told *code* and *reason*.

        What is written and not acknowledged may be lost: ``Stream.drained`` first.
        """
        if self._ended is not None:
            return
        self.quic.close(error_code=code, reason_phrase=reason[:MAX_REASON])
        self._end(LinkClosed(code, reason, by_us=True))
        self._driver.transmit(self, self._driver.time())

    def break_off(self) -> None:
        """End the connection without a word: its machine cannot be trusted any more."""
        if self._ended is None:
            self._end(LinkClosed(CloseCode.INTERNAL, "broken", by_us=True))
        self._driver.terminated(self)

    async def wait_closed(self) -> LinkClosed:
        """Wait until the connection has ended, and return how."""
        while self._ended is None:
            await self._changed.wait()
        return self._ended

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self._ended is not None

    @property
    def ended(self) -> LinkClosed | None:
        """How the connection ended, or None."""
        return self._ended

    def check_open(self) -> None:
        """Raise ``LinkClosed`` if the connection has ended."""
        if self._ended is not None:
            # A fresh one: an error raised in several tasks would gather their traces.
            raise LinkClosed(
                self._ended.error_code,
                self._ended.reason,
                by_us=self._ended.by_us,
                transport=self._ended.transport,
            )

    async def wait_established(self) -> None:
        """Wait until the handshake has completed.

        Raises:
            LinkClosed: If it failed.
        """
        while not self._is_established:
            self.check_open()
            await self._changed.wait()

    # --- what its streams ask -------------------------------------------------------------

    def transmit_soon(self) -> None:
        """Send what was asked for once the code running now has finished."""
        self._driver.transmit_soon(self)

    def await_acknowledgements(self, stream: Stream) -> None:
        """Wake the writers of *stream* when enough of it was acknowledged."""
        self._unacknowledged[stream] = None

    def window_opened(self, count: int) -> None:
        """Tell the peer, when it pays, that *count* more bytes were consumed."""
        self._opened += count
        if self._opened >= self.quic.window_step:
            self._opened = 0
            self.transmit_soon()

    def forget(self, stream: Stream) -> None:
        """Drop a stream that is done in both directions."""
        if self._streams.get(stream.stream_id) is stream:
            del self._streams[stream.stream_id]
            self.quic.stream_done(stream.stream_id)
            self.transmit_soon()

    # --- what the endpoint tells ------------------------------------------------------------

    def receive(self, datagrams: list[bytes], now: float) -> bool:
        """Take datagrams; return whether any packet in them was genuine."""
        if self._ended is not None:
            self._answer_late_packets()
            return False
        before = self.quic.accepted
        self.quic.receive_batch(datagrams, self.path, now)
        self.drain()
        if self._unacknowledged:
            for stream in [s for s in self._unacknowledged if s.wake_writer_if_room()]:
                del self._unacknowledged[stream]
        return self.quic.accepted > before

    def handle_timer(self, now: float) -> None:
        """Act on whatever deadline has passed."""
        # Harmless when this deadline was not the machine's; asking first costs more.
        self.quic.handle_timer(now)
        self.drain()
        if self._ended is not None:
            return
        if self._vouch_by is not None and self._vouch_by <= now:
            self.close(CloseCode.TIMEOUT, "not authenticated in time")
        ping_at = self._ping_at()
        if ping_at is not None and ping_at <= now:
            self._pinged_at = now
            self.quic.send_ping(0)

    def next_deadline(self) -> float | None:
        """Return the loop time of the next call of ``handle_timer``."""
        deadline = self.quic.get_timer()
        if self._ended is None:
            for other in (self._vouch_by, self._ping_at()):
                if other is not None and (deadline is None or other < deadline):
                    deadline = other
        return deadline

    def drain(self) -> None:
        """Act on everything the machine has to say."""
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                stream = self._stream_of(event.stream_id)
                stream.take_data(event.data, ended=event.end_stream)
            else:
                self._handle_event(event)
        self._end_if_open()

    # --- inside -----------------------------------------------------------------------------

    def _probe_sizes(self, sizes: tuple[int, ...] = SIZES) -> None:
        """Try whether the path carries larger datagrams."""
        if isinstance(self.quic, SizeProber):
            self.quic.probe_sizes(sizes)
            self.transmit_soon()

    def _end_if_open(self) -> None:
        termination = self.quic.termination
        if termination is not None and self._ended is None:
            self._end(
                LinkClosed(
                    termination.error_code,
                    termination.reason_phrase,
                    by_us=self.quic.closed_by_us,
                    transport=termination.frame_type is not None,
                )
            )

    def _handle_event(self, event: events.QuicEvent) -> None:
        match event:
            case events.StreamReset(stream_id=stream_id, error_code=code):
                self._stream_of(stream_id).take_reset(code)
            case events.StopSendingReceived(stream_id=stream_id, error_code=code):
                if stream_id in self._streams:
                    self._streams[stream_id].take_stop(code)
            case events.HandshakeCompleted():
                self._is_established = True
                if self.is_client:
                    self._vouch_by = self._driver.time() + STEP_TIMEOUT
                self._driver.established(self)
                self._changed.give()
            case events.ConnectionIdIssued(connection_id=connection_id):
                self._driver.issued(self, connection_id)
            case events.ConnectionIdRetired(connection_id=connection_id):
                self._driver.retired(self, connection_id)
            case events.ConnectionTerminated():
                self._end_if_open()
                self._driver.terminated(self)
            case _:
                # Pings acknowledged and the protocol negotiated need no action.
                pass

    def _stream_of(self, stream_id: int) -> Stream:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = Stream(self, stream_id, can_read=True, can_write=not stream_id & 2)
            self._streams[stream_id] = stream
            self._incoming.append(stream)
            self._changed.give()
        return stream

    def _end(self, how: LinkClosed) -> None:
        self._ended = how
        self._changed.give()
        for stream in [*self._streams.values(), *self._unacknowledged]:
            stream.wake()
        self._unacknowledged.clear()

    def _ping_at(self) -> float | None:
        if self._keepalive is None or not self._is_established:
            return None
        return max(self.path.last_received, self._pinged_at) + self._keepalive

    def _answer_late_packets(self) -> None:
        """Repeat our close to a peer that goes on sending, ever more rarely.

        Source: RFC 9000, section 10.2.1.
        """
        self._late_packets += 1
        if self._close_packets is not None and not self._late_packets & (self._late_packets - 1):
            self._close_packets()

    def keep_close(self, repeat: Callable[[], None]) -> None:
        """Remember how to send our close again."""
        self._close_packets = repeat
