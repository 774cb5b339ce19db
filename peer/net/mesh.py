"""One link of the mesh: the control channel and the data streams of an authenticated connection."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from protocol.channel import ControlChannel
from protocol.crypto.records import TrafficKeys
from protocol.endpoint.connections import Connection
from protocol.endpoint.streams import Stream
from protocol.errors import CloseCode, LinkClosed, QuintetError
from protocol.messages.base import Message

log = structlog.get_logger()

KEEPALIVE: Final = 5.0
"""Seconds between signs of life on an idle link: half of what silence means (network.md, 6.6)."""

OnMessage = Callable[[int, Message], None]
OnStream = Callable[[int, Stream], None]
OnClosed = Callable[[int, LinkClosed], None]


class Link:
    """The link to one member.

    Messages are sealed and queued at once, so that their order is the order of the calls;
    QUIC sends them as it can. ``run`` hands on what arrives until the connection ends.

    Args:
        connection: Authenticated by the link handshake.
        control: The stream the handshake ran on.
        channel: Seals and opens what that stream carries from now on.
        leftover: Bytes of the stream that came behind the handshake.
    """

    def __init__(
        self,
        connection: Connection,
        control: Stream,
        channel: ControlChannel,
        *,
        leftover: bytes = b"",
    ) -> None:
        self.connection = connection
        self.peer: Final = channel.peer
        self._control = control
        self._channel = channel
        self._leftover = leftover
        connection.authenticated()
        connection.keepalive(KEEPALIVE)

    @property
    def epoch(self) -> int:
        """The epoch this side seals under."""
        return self._channel.epoch

    def send(self, message: Message) -> None:
        """Queue *message*; silently nothing when the connection has ended."""
        self._write(self._channel.seal(message))

    def switch(self, epoch: int) -> None:
        """Seal under *epoch* from now on."""
        self._write(self._channel.switch(epoch))

    def file_keys(self, epoch: int, *, outgoing: bool) -> TrafficKeys:
        """Return the keys that file data is sealed under in one direction.

        Raises:
            SealBroken: If the epoch's key is not known (any more).
        """
        return self._channel.file_keys(epoch, outgoing=outgoing)

    def violated(self, error: QuintetError) -> None:
        """End the link: the other member broke the protocol."""
        log.warning("mesh.link_refused", peer=self.peer, error=type(error).__name__)
        self.connection.close(error.close_code, type(error).__name__)

    async def open_data_stream(self) -> Stream:
        """Return a new stream for file data from this side to the other."""
        return self.connection.open_stream(unidirectional=True)

    @property
    def waiting(self) -> int:
        """Bytes of control messages not yet acknowledged: what a streamer should wait for."""
        return self._control.buffered

    async def drained(self) -> None:
        """Wait until few control messages are under way.

        Raises:
            LinkClosed: If the connection ended.
        """
        await self._control.write(b"")

    async def run(self, on_message: OnMessage, on_stream: OnStream) -> LinkClosed:
        """Hand on messages and incoming data streams until the connection ends.

        Whatever ends it, the connection has ended then.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                streams = tasks.create_task(self._accept_streams(on_stream))
                try:
                    await self._read(on_message)
                except LinkClosed:
                    pass
                except QuintetError as error:
                    self.violated(error)
                finally:
                    streams.cancel()
            return await self.connection.wait_closed()
        finally:
            # Left open by a fault of ours, it would look like a member that never answers.
            self.connection.close(CloseCode.INTERNAL)

    def close(self, code: CloseCode = CloseCode.NORMAL) -> None:
        """End the connection; what was sent before still arrives if it has left."""
        self.connection.close(code)

    async def finish(self, patience: float = 1.0) -> None:
        """Wait until the other side has everything sent to it, *patience* seconds at most."""
        try:
            async with asyncio.timeout(patience):
                await self._control.drained()
        except (TimeoutError, QuintetError):
            pass

    async def _read(self, on_message: OnMessage) -> None:
        data, self._leftover = self._leftover, b""
        while True:
            for message in self._channel.receive(data):
                on_message(self.peer, message)
            data = await self._control.read()
            if not data:
                self.connection.close(CloseCode.PROTOCOL, "control stream ended")
                return

    async def _accept_streams(self, on_stream: OnStream) -> None:
        try:
            while True:
                on_stream(self.peer, await self.connection.accept_stream())
        except LinkClosed:
            pass

    def _write(self, data: bytes) -> None:
        if data:
            # `run` sees the end, too, and tells the owner.
            with contextlib.suppress(QuintetError):
                self._control.write_nowait(data)
