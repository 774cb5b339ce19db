"""Links between members of one process: in order, bounded, ended at both ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from peer.daemon.local_link import MAX_QUEUED, WINDOW, LocalLink, LocalStream, local_links
from protocol.endpoint.streams import Stream
from protocol.errors import CloseCode, LinkClosed, RemoteProtocolError
from protocol.messages.base import Message
from protocol.messages.session import InventoryCancelled
from tests.harness.waiting import turns, until

EPOCH = 2


class End:
    """One end of a link, and what it was handed."""

    def __init__(self, link: LocalLink) -> None:
        self.link = link
        self.messages: list[Message] = []
        self.streams: list[Stream] = []
        self.how: LinkClosed | None = None
        self.objection: Exception | None = None

    async def run(self) -> None:
        self.how = await self.link.run(self._take, self._take_stream)

    def _take(self, peer: int, message: Message) -> None:
        assert peer == self.link.peer
        if self.objection is not None:
            raise self.objection
        self.messages.append(message)

    def _take_stream(self, peer: int, stream: Stream) -> None:
        assert peer == self.link.peer
        self.streams.append(stream)


@contextlib.asynccontextmanager
async def ends() -> AsyncIterator[tuple[End, End]]:
    left, right = map(End, local_links(0, 1, EPOCH))
    async with asyncio.TaskGroup() as group:
        group.create_task(left.run())
        group.create_task(right.run())
        try:
            yield left, right
        finally:
            left.link.close()


def word(number: int) -> InventoryCancelled:
    return InventoryCancelled(run=number)


async def test_messages_arrive_in_order_at_the_other_end() -> None:
    """Each direction for itself."""
    async with ends() as (left, right):
        for number in range(1, 50):
            left.link.send(word(number))
        right.link.send(word(99))

        await until(lambda: len(right.messages) == 49 and left.messages)

        assert right.messages == [word(number) for number in range(1, 50)]
        assert left.messages == [word(99)]
        assert (left.link.peer, right.link.peer) == (1, 0)


async def test_both_ends_hold_the_same_keys_and_no_others() -> None:
    """By direction and epoch; another pair has its own."""
    left, right = local_links(0, 1, EPOCH)
    other, _ = local_links(0, 1, EPOCH)

    keys = left.file_keys(EPOCH, outgoing=True)

    assert keys == right.file_keys(EPOCH, outgoing=False)
    assert keys != right.file_keys(EPOCH, outgoing=True)
    assert keys != left.file_keys(EPOCH + 1, outgoing=True)
    assert keys != other.file_keys(EPOCH, outgoing=True)
    left.switch(EPOCH + 1)
    assert (left.epoch, right.epoch) == (EPOCH + 1, EPOCH)


async def test_a_streamer_waits_while_many_messages_are_under_way() -> None:
    """Until the other end has taken most of them."""
    left, right = map(End, local_links(0, 1, EPOCH))
    for number in range(1, MAX_QUEUED + 2):
        left.link.send(word(number))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(left.link.drained())
        await turns()
        waited = not waiting.done()
        group.create_task(right.run())
        await waiting
        await left.link.finish()
        right.link.close()

    assert waited
    assert len(right.messages) == MAX_QUEUED + 1


async def test_the_end_of_one_is_the_end_of_both() -> None:
    """Nothing is sent, opened or waited for any more."""
    async with ends() as (left, right):
        stream = await left.link.open_data_stream()
        await until(lambda: right.streams)

        left.link.close(CloseCode.LEAVING)
        left.link.send(word(1))

        await until(lambda: left.how and right.how)
        assert left.how is not None
        assert left.how.error_code == CloseCode.LEAVING
        assert right.messages == []
        with pytest.raises(LinkClosed):
            await left.link.open_data_stream()
        with pytest.raises(LinkClosed):
            await left.link.drained()
        with pytest.raises(LinkClosed):
            stream.write_nowait(b"x")
        with pytest.raises(LinkClosed):
            await right.streams[0].read(1)
        await left.link.finish()


async def test_who_breaks_the_protocol_ends_the_link() -> None:
    """As over a network."""
    async with ends() as (left, right):
        right.objection = RemoteProtocolError("no")
        left.link.send(word(1))

        await until(lambda: left.how)

        assert left.how is not None
        assert left.how.error_code == CloseCode.PROTOCOL


async def test_a_fault_of_ours_ends_the_link_and_is_seen() -> None:
    """It must not look like a member that never answers."""
    left, right = map(End, local_links(0, 1, EPOCH))
    right.objection = ZeroDivisionError()
    left.link.send(word(1))

    with pytest.raises(ZeroDivisionError):
        await right.run()

    with pytest.raises(LinkClosed):
        await left.link.drained()


async def test_a_stream_holds_so_much_and_then_makes_its_writer_wait() -> None:
    """Read in pieces as asked for; everything arrives, in order."""
    stream = LocalStream()
    data = bytes(range(256)) * (WINDOW // 256 + 1)
    await stream.write(data)
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(stream.write(b"end"))
        await turns()
        waited = not writing.done()
        found = b""
        while len(found) < len(data) + 3:
            found += await stream.read(100_000)

    assert waited
    assert found == data + b"end"


async def test_a_stream_that_nobody_wants_lets_its_writer_go() -> None:
    """And its reader."""
    stream = LocalStream()
    stream.write_nowait(b"")
    await stream.write(bytes(WINDOW + 1))
    writing = asyncio.get_running_loop().create_task(stream.write(b"x"))
    await turns()

    stream.stop()

    with pytest.raises(LinkClosed):
        await writing
    with pytest.raises(LinkClosed):
        await stream.read(1)
