import asyncio
from collections import deque

import pytest

from peer.net.pump import HandshakePump, first_frame
from protocol.errors import CloseCode, FrameTooLarge, LinkClosed, RemoteProtocolError
from protocol.framing import FrameReader, frame
from protocol.handshake import Frame, FrameType
from protocol.limits import MAX_JOIN_FRAME, STEP_TIMEOUT
from protocol.link import LinkTimedOut, LinkUp
from tests.harness.linking import EPOCHS, dialler, listener
from tests.harness.waiting import turns


class MemoryStream:
    """One end of a stream in memory; what it writes, the other end reads."""

    def __init__(self) -> None:
        self.other = self
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self.written = b""

    def write_nowait(self, data: bytes) -> None:
        self.written += data
        self.other.arrive(data)

    def arrive(self, data: bytes) -> None:
        self._arrived.put_nowait(data)

    def end(self) -> None:
        self.arrive(b"")

    async def read(self) -> bytes:
        return await self._arrived.get()


def stream_pair() -> tuple[MemoryStream, MemoryStream]:
    left, right = MemoryStream(), MemoryStream()
    left.other, right.other = right, left
    return left, right


class Echo:
    """A machine that reports every frame, whatever its owner says, and its deadline once."""

    def __init__(self, deadline: float | None = None) -> None:
        self.events: deque[object] = deque()
        self.outbox: list[Frame] = []
        self.deadline = deadline

    def receive_message(self, message: Frame, *, now: float) -> None:
        del now
        if message.kind == FrameType.J_ERR:
            self.outbox.append(Frame(FrameType.J_ERR, b"why"))
            raise RemoteProtocolError("refused")
        self.events.append(message)

    def handle_timer(self, *, now: float) -> None:
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            self.events.append("late")

    def get_timer(self) -> float | None:
        return self.deadline

    def messages_to_send(self) -> list[Frame]:
        outbox, self.outbox = self.outbox, []
        return outbox

    def next_event(self) -> object | None:
        return self.events.popleft() if self.events else None


def echo_pump(
    deadline: float | None = None,
) -> tuple[HandshakePump[object], Echo, MemoryStream]:
    machine, (near, far) = Echo(deadline), stream_pair()
    return HandshakePump(machine, near), machine, far  # type: ignore[arg-type]


async def test_two_machines_finish_their_handshake() -> None:
    """Every frame crosses; both sides report the same link key."""
    near, far = stream_pair()
    now = asyncio.get_running_loop().time()
    one, other = dialler(), listener()
    one.start(now=now)
    other.start(now=now)

    async with asyncio.TaskGroup() as tasks:
        dialled = tasks.create_task(HandshakePump(one, near).event())  # type: ignore[arg-type]
        listened = tasks.create_task(HandshakePump(other, far).event())  # type: ignore[arg-type]

    up, answer = dialled.result(), listened.result()
    assert isinstance(up, LinkUp)
    assert isinstance(answer, LinkUp)
    assert up.link_key.reveal() == answer.link_key.reveal()
    assert up.epoch in EPOCHS


async def test_what_follows_the_handshake_is_kept_for_its_owner() -> None:
    """The first sealed record may share a datagram with the last frame; it comes out once."""
    pump, _, far = echo_pump()
    far.write_nowait(frame(1, b"last") + b"a sealed record")

    event = await pump.event()
    rest, again = pump.rest(), pump.rest()

    assert event == Frame(1, b"last")
    assert rest == b"a sealed record"
    assert again == b""


async def test_frames_arrive_whatever_the_pieces() -> None:
    """Byte by byte, or two in one piece: one event each, in order."""
    pump, _, far = echo_pump()
    for byte in frame(1, b"first"):
        far.write_nowait(bytes([byte]))
    far.write_nowait(frame(2, b"second") + frame(3, b""))

    events = [await pump.event() for _ in range(3)]

    assert events == [Frame(1, b"first"), Frame(2, b"second"), Frame(3, b"")]


async def test_a_cancelled_wait_loses_nothing() -> None:
    """Half a frame stays until its other half comes."""
    pump, _, far = echo_pump()
    whole = frame(1, b"whole")
    far.write_nowait(whole[:6])
    waiting = asyncio.get_running_loop().create_task(pump.event())
    await turns()
    waiting.cancel()
    await asyncio.wait([waiting])
    far.write_nowait(whole[6:])

    event = await pump.event()

    assert event == Frame(1, b"whole")


async def test_a_stream_that_ends_before_the_handshake_does_cuts_it_off() -> None:
    """The other side finished its half: nothing can come any more."""
    pump, _, far = echo_pump()
    far.other.end()

    with pytest.raises(LinkClosed) as closed:
        await pump.event()

    assert closed.value.error_code == CloseCode.PROTOCOL


async def test_the_machine_hears_of_its_deadline() -> None:
    """Silence is the machine's to judge; the link handshake gives up after STEP_TIMEOUT."""
    machine = listener()
    machine.start(now=asyncio.get_running_loop().time() - STEP_TIMEOUT)
    near, _ = stream_pair()

    event = await HandshakePump(machine, near).event()  # type: ignore[arg-type]

    assert isinstance(event, LinkTimedOut)


async def test_a_poke_makes_a_wait_look_again() -> None:
    """What the owner told the machine is said at once, long before any deadline."""
    pump, machine, far = echo_pump(asyncio.get_running_loop().time() + 3600)
    waiting = asyncio.get_running_loop().create_task(pump.event())
    await turns()
    machine.outbox.append(Frame(7, b"welcome"))
    machine.events.append("admitted")

    pump.poke()
    pump.poke()
    event = await asyncio.wait_for(waiting, 5)

    assert event == "admitted"
    assert far.other.written == frame(7, b"welcome")
    assert machine.deadline is not None, "a poke is not the deadline"


async def test_a_poke_while_nobody_waits_changes_nothing() -> None:
    """The next event is waited for as ever."""
    pump, _, far = echo_pump()

    pump.poke()
    far.write_nowait(frame(1, b"x"))
    event = await pump.event()

    assert event == Frame(1, b"x")


async def test_what_breaks_the_protocol_is_raised_and_what_it_made_us_say_can_be_flushed() -> None:
    """The owner sends the refusal, then closes the connection."""
    pump, _, far = echo_pump()
    far.write_nowait(frame(FrameType.J_ERR, b""))

    with pytest.raises(RemoteProtocolError):
        await pump.event()
    pump.flush()

    assert far.other.written == frame(FrameType.J_ERR, b"why")


async def test_a_frame_that_announces_too_much_is_refused_before_it_comes() -> None:
    """Nobody fills our memory before the handshake (security.md, T18)."""
    pump, _, far = echo_pump()
    far.write_nowait((1 << 24 | MAX_JOIN_FRAME + 1).to_bytes(4, "big"))

    with pytest.raises(FrameTooLarge):
        await pump.event()


async def test_a_pump_goes_on_where_the_first_frame_was_read() -> None:
    """Which machine a stream is for, its first frame says; what came behind it is not lost."""
    pump, _, far = echo_pump()
    reader = FrameReader(MAX_JOIN_FRAME)
    opening = frame(1, b"hello") + frame(2, b"next")
    far.write_nowait(opening[:3])
    far.write_nowait(opening[3:])

    first = await first_frame(far.other, reader)  # type: ignore[arg-type]
    pump.adopt(reader)
    pump.take(first)
    events = [await pump.event(), await pump.event()]

    assert first == (1, b"hello")
    assert events == [Frame(1, b"hello"), Frame(2, b"next")]


async def test_a_stream_without_a_frame_is_a_broken_one() -> None:
    """Opened, perhaps a few bytes, and ended."""
    near, far = stream_pair()
    far.write_nowait(b"\x01\x00")
    near.end()

    with pytest.raises(LinkClosed) as closed:
        await first_frame(near, FrameReader(MAX_JOIN_FRAME))  # type: ignore[arg-type]

    assert closed.value.error_code == CloseCode.PROTOCOL
