"""Streams of a connection for code that awaits.

Cancelling any ``await`` here loses nothing: data leaves its buffer, and enters one,
only after the waiting is over.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from protocol.errors import CloseCode, LinkClosed, LocalProtocolError, StreamReset
from protocol.limits import MIB, STREAM_WINDOW

if TYPE_CHECKING:
    from protocol.endpoint.connections import Connection

HIGH_WATER: Final = 1 * MIB
"""Bytes of a stream unsent or unacknowledged above which a writer waits, at least."""

MAX_HIGH_WATER: Final = STREAM_WINDOW
"""The same at most: the peer grants no more than its window anyway."""

READ_SIZE: Final = 1 * MIB
"""Bytes one read returns at most unless told otherwise."""


class Signal:
    """Wakes everybody who waits for it, each time it is given."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def give(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Stream:
    """One stream; unidirectional ones can only be read or only be written.

    Attributes:
        stream_id: QUIC's number of it.
        can_read: Whether the peer may send on it.
        can_write: Whether this side may.
    """

    def __init__(
        self, connection: "Connection", stream_id: int, *, can_read: bool, can_write: bool
    ) -> None:
        self.stream_id = stream_id
        self.can_read = can_read
        self.can_write = can_write
        self._connection = connection
        self._quic = connection.quic
        self._chunks: deque[bytes] = deque()
        self._ended = not can_read
        self._stopped: StreamReset | None = None
        self._finished = not can_write
        self._refused: StreamReset | None = None
        self._readable = Signal()
        self._writable = Signal()

    def __repr__(self) -> str:
        return f"<Stream {self.stream_id}>"

    # --- reading --------------------------------------------------------------------

    async def read(self, limit: int = READ_SIZE) -> bytes:
        """Return the next bytes, at most *limit*; empty at the end of the stream.

        What is read may be sent anew: reading opens the window.

        Raises:
            StreamReset: If the stream was abandoned by either side.
            LinkClosed: If the connection ended and everything received was read.
        """
        while not self._chunks:
            if self._stopped is not None:
                raise self._stopped
            if self._ended:
                return b""
            self._connection.check_open()
            await self._readable.wait()
        data = self._take(limit)
        self._consume(len(data))
        return data

    async def read_exactly(self, count: int) -> bytes:
        """Return *count* bytes; everything read so far stays readable when cancelled.

        Raises:
            StreamReset: If the stream was abandoned by either side.
            LinkClosed: If the stream or the connection ended before.
        """
        if count > STREAM_WINDOW // 2:
            raise LocalProtocolError("the window may not hold that much at once")
        while sum(map(len, self._chunks)) < count:
            if self._stopped is not None:
                raise self._stopped
            if self._ended:
                raise LinkClosed(CloseCode.PROTOCOL, "stream ended early")
            self._connection.check_open()
            await self._readable.wait()
        parts: list[bytes] = []
        missing = count
        while missing:
            parts.append(self._take(missing))
            missing -= len(parts[-1])
        self._consume(count)
        return b"".join(parts)

    def stop(self, code: int = CloseCode.NORMAL) -> None:
        """Ask the peer to send no more, and drop what it has sent."""
        if self._ended or self._stopped is not None:
            return
        self._stopped = StreamReset(code, by_us=True)
        self._drop()
        if not self._connection.is_closed:
            self._quic.stop_stream(self.stream_id, code)
            self._connection.transmit_soon()
        self._readable.give()

    # --- writing --------------------------------------------------------------------

    async def write(self, data: bytes) -> None:
        """Send *data* in order, after waiting until little enough is under way.

        Cancelled, nothing of *data* was taken; returned, all of it was.

        Raises:
            StreamReset: If the stream was abandoned by either side.
            LinkClosed: If the connection ended.
        """
        while self.buffered > self._high_water():
            self._check_writable()
            self._connection.await_acknowledgements(self)
            await self._writable.wait()
        self.write_nowait(data)

    def write_nowait(self, data: bytes) -> None:
        """Send *data* in order, however much is under way already.

        Raises:
            StreamReset: If the stream was abandoned by either side.
            LinkClosed: If the connection ended.
        """
        self._check_writable()
        self._quic.send_stream_data(self.stream_id, data)
        self._connection.transmit_soon()

    def finish(self) -> None:
        """End the stream after everything written; harmless when it has ended."""
        if self._finished or self._refused is not None or self._connection.is_closed:
            return
        self._finished = True
        if self._quic.send_refused(self.stream_id) is None:
            self._quic.send_stream_data(self.stream_id, b"", end_stream=True)
            self._connection.transmit_soon()
        self._forget_if_done()

    def reset(self, code: int = CloseCode.NORMAL) -> None:
        """Abandon what was written and not yet delivered."""
        if not self.can_write or self._refused is not None or self._connection.is_closed:
            return
        self._refused = StreamReset(code, by_us=True)
        self._quic.reset_stream(self.stream_id, code)
        self._connection.transmit_soon()
        self._writable.give()
        self._forget_if_done()

    async def drained(self) -> None:
        """Wait until the peer has acknowledged everything written.

        Raises:
            StreamReset: If the stream was abandoned by either side.
            LinkClosed: If the connection ended before.
        """
        while self.buffered:
            if self._refused is not None:
                raise self._refused
            self._connection.check_open()
            self._connection.await_acknowledgements(self)
            await self._writable.wait()

    @property
    def buffered(self) -> int:
        """Bytes written and not sent, or not acknowledged."""
        return self._quic.send_buffered(self.stream_id)

    @property
    def is_finished(self) -> bool:
        """Whether this side will write no more."""
        return self._finished

    # --- what the connection tells ---------------------------------------------------

    def take_data(self, data: bytes, *, ended: bool) -> None:
        """Take what arrived in order."""
        if self._stopped is not None:
            self._consume(len(data))
        elif data:
            self._chunks.append(data)
        if ended:
            self._ended = True
        self._readable.give()
        self._forget_if_done()

    def take_reset(self, code: int) -> None:
        """Note that the peer abandoned what it was sending."""
        self._ended = True
        self._chunks.clear()
        if self._stopped is None:
            self._stopped = StreamReset(code)
        self._readable.give()
        self._forget_if_done()

    def take_stop(self, code: int) -> None:
        """Note that the peer wants no more."""
        if self._refused is None and (self.buffered or not self._finished):
            self._refused = StreamReset(code)
        self._writable.give()
        self._forget_if_done()

    def wake(self) -> None:
        """Let everybody look again: the connection ended."""
        self._readable.give()
        self._writable.give()

    def wake_writer_if_room(self) -> bool:
        """Wake the writers if there is room; return whether there was."""
        buffered = self.buffered
        if buffered > self._high_water() // 2 and buffered:
            return False
        if buffered and self._finished:
            # Only ``drained`` waits for a finished stream.
            return False
        self._writable.give()
        return True

    # --- inside ----------------------------------------------------------------------

    def _take(self, limit: int) -> bytes:
        """Return what there is, up to *limit*."""
        parts: list[bytes] = []
        missing = limit
        while self._chunks and missing:
            data = self._chunks.popleft()
            if len(data) > missing:
                self._chunks.appendleft(data[missing:])
                data = data[:missing]
            parts.append(data)
            missing -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _consume(self, count: int) -> None:
        self._quic.consumed(self.stream_id, count)
        self._connection.window_opened(count)
        if self._ended and not self._chunks:
            self._forget_if_done()

    def _drop(self) -> None:
        dropped = sum(map(len, self._chunks))
        self._chunks.clear()
        self._consume(dropped)

    def _check_writable(self) -> None:
        self._connection.check_open()
        if self._refused is None:
            if self._finished:
                raise LocalProtocolError("the stream is finished")
            code = self._quic.send_refused(self.stream_id)
            if code is not None:
                # Refused before anybody here knew the stream.
                self._refused = StreamReset(code)
        if self._refused is not None:
            raise self._refused

    def _high_water(self) -> int:
        return min(max(HIGH_WATER, 2 * self._quic.congestion_window), MAX_HIGH_WATER)

    def _forget_if_done(self) -> None:
        if self._ended and not self._chunks and (self._finished or self._refused is not None):
            self._connection.forget(self)
