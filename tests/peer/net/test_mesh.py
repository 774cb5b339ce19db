import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from peer.net.mesh import Link
from protocol.channel import ControlChannel
from protocol.credentials import Secret
from protocol.crypto.records import RecordSealer, RecordType, TrafficClass, traffic_keys
from protocol.endpoint.streams import Stream
from protocol.errors import CloseCode, LinkClosed, RemoteProtocolError, SealBroken
from protocol.messages.base import Message
from protocol.messages.inventory import HashingEnded
from tests.harness.endpoints import Linked, linked
from tests.harness.waiting import until

LINK_KEY = Secret(b"l" * 32)
KEYS = {4: Secret(b"4" * 32), 5: Secret(b"5" * 32), 6: Secret(b"6" * 32)}
NEAR, FAR = 0, 3


def said(run: int) -> HashingEnded:
    """A message recognisable by its number."""
    return HashingEnded(run=run)


@dataclass
class End:
    """One end of a link, running, and what it was handed."""

    link: Link
    control: Stream
    messages: list[Message] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    how: LinkClosed | None = None

    async def run(self) -> None:
        self.how = await self.link.run(self.take, self.take_stream)

    def take(self, peer: int, message: Message) -> None:
        assert peer == self.link.peer
        self.messages.append(message)

    def take_stream(self, peer: int, stream: Stream) -> None:
        assert peer == self.link.peer
        self.streams.append(stream)


def channel(me: int, peer: int, keys: dict[int, Secret]) -> ControlChannel:
    return ControlChannel(me=me, peer=peer, link_key=LINK_KEY, epoch=4, epoch_keys=keys.get)


async def ends(
    connected: Linked, *, leftover: bytes = b"", far_keys: dict[int, Secret] = KEYS
) -> tuple[End, End]:
    """Make a link of two connected ends; *leftover* came to the near one behind the handshake."""
    opened = connected.client.open_stream()
    opened.write_nowait(b"!")
    accepted = await connected.server.accept_stream()
    assert await accepted.read() == b"!"
    near = Link(connected.client, opened, channel(NEAR, FAR, KEYS), leftover=leftover)
    far = Link(connected.server, accepted, channel(FAR, NEAR, far_keys))
    return End(near, opened), End(far, accepted)


@contextlib.asynccontextmanager
async def running(*sides: End) -> AsyncIterator[None]:
    """Run both ends beside the block; both are closed at its end."""
    async with asyncio.TaskGroup() as group:
        for side in sides:
            group.create_task(side.run())
        try:
            yield
        finally:
            for side in sides:
                side.link.close()


async def test_messages_arrive_in_the_order_they_were_sent() -> None:
    """Sealed and queued at once; both directions at the same time."""
    async with linked() as connected:
        near, far = await ends(connected)
        async with running(near, far):
            for run in range(1, 40):
                near.link.send(said(run))
                far.link.send(said(run + 100))
            await until(lambda: len(far.messages) == 39 and len(near.messages) == 39)

    assert far.messages == [said(run) for run in range(1, 40)]
    assert near.messages == [said(run + 100) for run in range(1, 40)]


async def test_what_came_behind_the_handshake_is_handed_on_first() -> None:
    """The other side may have sealed its first message before this one was ready."""
    early = channel(FAR, NEAR, KEYS)
    record = early.seal(said(1))
    async with linked() as connected:
        near, _ = await ends(connected, leftover=record)
        async with running(near):
            await until(lambda: near.messages)
            near.link.close()

    assert near.messages == [said(1)]


async def test_an_epoch_changes_while_messages_are_under_way() -> None:
    """Each direction changes by itself; nothing is lost at the seam, nor when it comes twice."""
    async with linked() as connected:
        near, far = await ends(connected)
        async with running(near, far):
            near.link.send(said(1))
            near.link.switch(6)
            near.link.switch(6)
            near.link.switch(5)
            near.link.send(said(2))
            far.link.send(said(3))
            await until(lambda: len(far.messages) == 2 and near.messages)
            epochs = near.link.epoch, far.link.epoch

    assert far.messages == [said(1), said(2)]
    assert near.messages == [said(3)]
    assert epochs == (6, 4)


async def test_file_keys_belong_to_an_epoch_and_a_direction() -> None:
    """What one side seals under, the other opens under; nobody knows a key that is past."""
    async with linked() as connected:
        near, far = await ends(connected)

        sealed, opened = (
            near.link.file_keys(5, outgoing=True),
            far.link.file_keys(5, outgoing=False),
        )
        backwards = near.link.file_keys(5, outgoing=False)

        assert sealed == opened
        assert sealed != backwards
        with pytest.raises(SealBroken):
            near.link.file_keys(3, outgoing=True)


async def test_an_epoch_whose_key_is_not_known_here_ends_the_link() -> None:
    """Who was left behind cannot read on, and the link is of no use."""
    async with linked() as connected:
        near, far = await ends(connected, far_keys={4: KEYS[4]})
        async with running(near, far):
            near.link.switch(5)
            near.link.send(said(1))
            await until(lambda: near.how is not None and far.how is not None)

    assert far.messages == []
    assert near.how is not None
    assert near.how.error_code == SealBroken.close_code


async def test_a_record_that_does_not_open_ends_the_link() -> None:
    """One flipped byte: nothing of it is handed on, and both sides know the link is over."""
    async with linked() as connected:
        near, far = await ends(connected)
        record = bytearray(channel(NEAR, FAR, KEYS).seal(said(1)))
        record[-1] ^= 1
        async with running(near, far):
            near.control.write_nowait(bytes(record))
            await until(lambda: near.how is not None and far.how is not None)

    assert far.messages == []
    assert far.how is not None
    assert near.how is not None
    assert far.how.by_us
    assert near.how.error_code == SealBroken.close_code


async def test_a_sealed_record_that_holds_no_message_ends_the_link() -> None:
    """A member may be hostile, too: what it seals must decode."""
    keys = traffic_keys(
        LINK_KEY, KEYS[4], 4, sender=NEAR, receiver=FAR, traffic=TrafficClass.CONTROL
    )
    async with linked() as connected:
        near, far = await ends(connected)
        async with running(near, far):
            near.control.write_nowait(RecordSealer(keys, 4).seal(RecordType.MESSAGE, b"\x81"))
            await until(lambda: near.how is not None and far.how is not None)

    assert far.messages == []
    assert far.how is not None
    assert far.how.by_us


async def test_a_message_its_receiver_refuses_ends_the_link() -> None:
    """Whoever takes messages says what cannot be true."""

    def refuse(peer: int, message: Message) -> None:
        raise RemoteProtocolError(f"{message} of {peer}")

    async with linked() as connected:
        near, far = await ends(connected)
        far.take = refuse  # type: ignore[method-assign]
        async with running(near, far):
            near.link.send(said(1))
            await until(lambda: near.how is not None and far.how is not None)

    assert near.how is not None
    assert near.how.error_code == RemoteProtocolError.close_code
    assert not near.how.by_us


async def test_a_fault_of_our_own_does_not_leave_half_a_link() -> None:
    """The connection ends with whoever ran it, so that nobody waits for its answers."""

    def break_down(peer: int, message: Message) -> None:
        raise ZeroDivisionError

    async with linked() as connected:
        near, far = await ends(connected)
        far.take = break_down  # type: ignore[method-assign]
        near.link.send(said(1))

        with pytest.raises(ExceptionGroup):
            await far.run()

        assert far.link.connection.is_closed


async def test_a_control_stream_that_ends_ends_the_link() -> None:
    """Without it nothing can be agreed on any more."""
    async with linked() as connected:
        near, far = await ends(connected)
        async with running(near, far):
            near.control.finish()
            await until(lambda: far.how is not None and near.how is not None)

    assert near.how is not None
    assert near.how.error_code == CloseCode.PROTOCOL


async def test_data_streams_are_handed_on_as_they_come() -> None:
    """They run beside the control stream, in one direction."""
    async with linked() as connected:
        near, far = await ends(connected)
        async with running(near, far):
            stream = await near.link.open_data_stream()
            stream.write_nowait(b"file data")
            await until(lambda: far.streams)
            data = await far.streams[0].read()

    assert data == b"file data"
    assert not far.streams[0].can_write


async def test_a_closed_link_takes_messages_and_says_nothing() -> None:
    """Whoever sends need not know that it has just ended; ``run`` tells how."""
    async with linked() as connected:
        near, far = await ends(connected)
        async with running(near, far):
            near.link.close(CloseCode.LEAVING)
            near.link.send(said(1))
            near.link.switch(5)
            await until(lambda: near.how is not None and far.how is not None)
            await near.link.finish()
            with pytest.raises(LinkClosed):
                await near.link.drained()
            with pytest.raises(LinkClosed):
                await near.link.open_data_stream()

    assert far.how is not None
    assert far.how.error_code == CloseCode.LEAVING
    assert far.messages == []


async def test_finishing_lets_the_last_word_arrive() -> None:
    """A connection that is closed at once may lose what was just written."""
    async with linked() as connected:
        near, far = await ends(connected)
        async with running(near, far):
            for run in range(1, 200):
                near.link.send(said(run))
            before = near.link.waiting
            await near.link.finish(10)
            after = near.link.waiting
            near.link.close(CloseCode.LEAVING)
            await until(lambda: far.how is not None)

    assert before > after == 0
    assert len(far.messages) == 199


async def test_finishing_does_not_wait_for_who_does_not_answer() -> None:
    """Leaving takes a moment even when the other computer has just been unplugged."""
    async with linked() as connected:
        near, far = await ends(connected)
        for udp in connected.far._sockets:  # unplugged
            asyncio.get_running_loop().remove_reader(udp)
        near.link.send(said(1))

        await near.link.finish(0.01)

        assert near.link.waiting > 0
        assert not far.messages
