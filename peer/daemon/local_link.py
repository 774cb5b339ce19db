"""Links between the members of a local session: queues in this process, no socket.

Messages pass the same codec as everywhere and file data the same seal, so that nothing above
knows the difference.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import structlog

from peer.net.mesh import OnMessage, OnStream
from protocol import codec
from protocol.credentials import Secret
from protocol.crypto.records import TrafficClass, TrafficKeys, traffic_keys
from protocol.endpoint.streams import Stream
from protocol.errors import CloseCode, LinkClosed, QuintetError
from protocol.messages.base import Message
from protocol.messages.member import MemberMessage

log = structlog.get_logger()

WINDOW: Final = 1 << 20
"""Bytes a stream holds before its writer waits: some pieces of file data."""

MAX_QUEUED: Final = 8
"""Messages under way before a streamer waits; each is 256 KiB at most."""

KEY_SIZE: Final = 32


class LocalStream:
    """A unidirectional stream of file data."""

    def __init__(self) -> None:
        self._held: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._changed = asyncio.Event()

    async def write(self, data: bytes) -> None:
        """Hold *data* for the reader, once little enough is held.

        Raises:
            LinkClosed: If either end has closed it.
        """
        while self._size > WINDOW and not self._closed:
            await self._change()
        self.write_nowait(data)

    def write_nowait(self, data: bytes) -> None:
        """Hold *data* however much is held.

        Raises:
            LinkClosed: If either end has closed it.
        """
        if self._closed:
            raise LinkClosed
        if data:
            self._held.append(bytes(data))
            self._size += len(data)
            self._changed.set()

    async def read(self, limit: int) -> bytes:
        """Return the next bytes.

        Raises:
            LinkClosed: If either end has closed it.
        """
        while not self._held:
            if self._closed:
                raise LinkClosed
            await self._change()
        data = self._held.popleft()
        if len(data) > limit:
            self._held.appendleft(data[limit:])
            data = data[:limit]
        self._size -= len(data)
        self._changed.set()
        return data

    def stop(self, code: CloseCode = CloseCode.NORMAL) -> None:
        """Want no more of it."""
        del code  # nobody is told why
        self._closed = True
        self._held.clear()
        self._changed.set()

    async def _change(self) -> None:
        # Reader and writer may both wait: each looks again.
        self._changed.clear()
        await self._changed.wait()


class LocalQueue:
    """One direction of a link: messages and new streams, in order."""

    def __init__(self) -> None:
        self.closed: LinkClosed | None = None
        self._held: deque[bytes | LocalStream] = deque()
        self._changed = asyncio.Event()

    def put(self, item: bytes | LocalStream) -> None:
        """Hold *item* for the other end; silently nothing when the link has ended."""
        if self.closed is None:
            self._held.append(item)
            self._changed.set()

    async def take(self) -> bytes | LocalStream:
        """Return the next item.

        Raises:
            LinkClosed: If the link ended.
        """
        await self._until(lambda: bool(self._held))
        item = self._held.popleft()
        self._changed.set()
        return item

    async def has_at_most(self, count: int) -> None:
        """Return once so few items wait.

        Raises:
            LinkClosed: If the link ended.
        """
        await self._until(lambda: len(self._held) <= count)

    def close(self, why: LinkClosed) -> None:
        """End it; what is held arrives nowhere."""
        self.closed = self.closed or why
        self._held.clear()
        self._changed.set()

    async def _until(self, reached: Callable[[], bool]) -> None:
        while self.closed is None and not reached():
            # Both ends may wait: each looks again.
            self._changed.clear()
            await self._changed.wait()
        if self.closed is not None:
            raise self.closed


class LocalLink:
    """One end of a link; made in pairs by ``local_links``.

    Args:
        me: The member at this end.
        peer: The member at the other.
        epoch: The epoch of the session.
        secret: Known to both ends alone.
        incoming: What the other end sends.
        outgoing: What this end sends.
    """

    def __init__(
        self,
        me: int,
        peer: int,
        *,
        epoch: int,
        secret: Secret,
        incoming: LocalQueue,
        outgoing: LocalQueue,
    ) -> None:
        self.peer: Final = peer
        self.epoch = epoch
        self._me = me
        self._secret = secret
        self._incoming = incoming
        self._outgoing = outgoing
        self._streams: list[LocalStream] = []

    def send(self, message: Message) -> None:
        """Queue *message*; silently nothing when the link has ended."""
        self._outgoing.put(codec.encode(message))

    def switch(self, epoch: int) -> None:
        """Send under *epoch* from now on."""
        self.epoch = epoch

    def file_keys(self, epoch: int, *, outgoing: bool) -> TrafficKeys:
        """Return the keys of file data in one direction."""
        sender, receiver = (self._me, self.peer) if outgoing else (self.peer, self._me)
        return traffic_keys(
            self._secret,
            self._secret,
            epoch,
            sender=sender,
            receiver=receiver,
            traffic=TrafficClass.FILE,
        )

    async def open_data_stream(self) -> LocalStream:
        """Open a stream to the other end.

        Raises:
            LinkClosed: If the link ended.
        """
        if self._outgoing.closed is not None:
            raise self._outgoing.closed
        stream = LocalStream()
        self._streams.append(stream)
        self._outgoing.put(stream)
        return stream

    def violated(self, error: QuintetError) -> None:
        """End the link: the other end broke the protocol."""
        log.warning("local_link.refused", peer=self.peer, error=type(error).__name__)
        self.close(error.close_code)

    async def drained(self) -> None:
        """Wait until few messages are under way.

        Raises:
            LinkClosed: If the link ended.
        """
        await self._outgoing.has_at_most(MAX_QUEUED)

    async def run(self, on_message: OnMessage, on_stream: OnStream) -> LinkClosed:
        """Hand on messages and incoming streams until the link ends."""
        try:
            while True:
                self._hand_on(await self._incoming.take(), on_message, on_stream)
                # Others have work to do, too.
                await asyncio.sleep(0)
        except LinkClosed as how:
            return how
        finally:
            self.close(CloseCode.INTERNAL)

    def _hand_on(
        self, item: bytes | LocalStream, on_message: OnMessage, on_stream: OnStream
    ) -> None:
        try:
            if isinstance(item, LocalStream):
                self._streams.append(item)
                # Whoever takes it reads or stops it, and does nothing else with it.
                on_stream(self.peer, cast("Stream", item))
            else:
                on_message(self.peer, codec.decode(item, MemberMessage))
        except QuintetError as error:
            self.violated(error)

    def close(self, code: CloseCode = CloseCode.NORMAL) -> None:
        """End the link, at both ends."""
        why = LinkClosed(code, by_us=True)
        for queue in (self._incoming, self._outgoing):
            queue.close(why)
        for stream in self._streams:
            stream.stop()

    async def finish(self, patience: float = 1.0) -> None:
        """Wait until the other end has taken everything, *patience* seconds at most."""
        with contextlib.suppress(TimeoutError, LinkClosed):
            async with asyncio.timeout(patience):
                await self._outgoing.has_at_most(0)


def local_links(left: int, right: int, epoch: int) -> tuple[LocalLink, LocalLink]:
    """Return both ends of a link between two members: the one of *left*, the one of *right*."""
    secret = Secret(os.urandom(KEY_SIZE))
    there, back = LocalQueue(), LocalQueue()
    return (
        LocalLink(left, right, epoch=epoch, secret=secret, incoming=back, outgoing=there),
        LocalLink(right, left, epoch=epoch, secret=secret, incoming=there, outgoing=back),
    )
