"""Moves frames between a handshake's machine and its stream."""

import asyncio
from typing import Any, Generic, TypeVar

from protocol.endpoint.streams import Stream
from protocol.errors import CloseCode, LinkClosed
from protocol.framing import FrameReader, frame
from protocol.handshake import Frame, Handshake
from protocol.limits import MAX_JOIN_FRAME

EventT = TypeVar("EventT")


class HandshakePump(Generic[EventT]):
    """Drives one machine on one stream until its owner has heard enough.

    Args:
        machine: A join or a link handshake.
        stream: Where its frames travel.
    """

    def __init__(self, machine: Handshake[Any, EventT], stream: Stream) -> None:
        self.machine = machine
        self._stream = stream
        self._reader = FrameReader(MAX_JOIN_FRAME)
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Timeout | None = None

    def flush(self) -> None:
        """Send what the machine has to say.

        Raises:
            LinkClosed: If the connection ended.
        """
        for out in self.machine.messages_to_send():
            self._stream.write_nowait(frame(out.kind, out.body))

    def take(self, received: tuple[int, bytes]) -> None:
        """Give the machine a frame that was read before it was known which machine it is for."""
        self.machine.receive_message(Frame(*received), now=self._loop.time())

    def adopt(self, reader: FrameReader) -> None:
        """Go on with the bytes that *reader* holds."""
        self._reader = reader

    async def event(self) -> EventT:
        """Return the machine's next event; cancelled, nothing is lost.

        Raises:
            RemoteProtocolError: If the other side breaks the protocol.
            LinkClosed: If the connection ended.
        """
        received = b""
        while True:
            self.flush()
            event = self.machine.next_event()
            if event is not None:
                return event
            cut = next(self._reader.feed(received), None)
            received = b""
            if cut is not None:
                self.take(cut)
                continue
            try:
                async with asyncio.timeout_at(self.machine.get_timer()) as self._waiting:
                    received = await self._stream.read()
            except TimeoutError:
                self.machine.handle_timer(now=self._loop.time())
            else:
                if not received:
                    self.flush()
                    raise LinkClosed(CloseCode.PROTOCOL, "handshake cut off")
            finally:
                self._waiting = None

    def poke(self) -> None:
        """Make a waiting ``event`` look again: the owner told the machine something."""
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(self._loop.time())

    def rest(self) -> bytes:
        """Return what came behind the handshake on the same stream, once."""
        return self._reader.rest()


async def first_frame(stream: Stream, reader: FrameReader) -> tuple[int, bytes]:
    """Return the first frame of a stream whose purpose is not known yet.

    Raises:
        LinkClosed: If the connection ended.
        FrameTooLarge: If it announces too much.
    """
    received = b""
    while True:
        cut = next(reader.feed(received), None)
        if cut is not None:
            return cut
        received = await stream.read()
        if not received:
            raise LinkClosed(CloseCode.PROTOCOL, "stream without a frame")
