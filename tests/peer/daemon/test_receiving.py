import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.daemon.incoming import Incoming, Outcome, Staged, StepFailed
from peer.daemon.own_sources import OwnSources
from peer.daemon.receiving import Receiving, TransferOver
from peer.transfer.schedule import Again
from peer.transfer.segments import header
from protocol.credentials import Secret
from protocol.crypto.chunked import transfer_key
from protocol.crypto.records import TrafficKeys
from protocol.errors import LinkClosed, RemoteProtocolError, SealBroken
from protocol.messages.transfer import TransferMessage
from tests.peer.daemon.mesh import SYNC, Member, leftovers
from tests.peer.daemon.transfers import TRANSFER, file, sealed, step

EPOCH = 9
KEYS = TrafficKeys(Secret(bytes(32)), bytes(12))
OTHER = b"o" * 16
STEPS = [step("a", b"small"), step("b", b"other")]
GOOD = file(0, b"small") + file(1, b"other")


class Link:
    peer = 1
    epoch = EPOCH

    def __init__(self) -> None:
        self.violations: list[RemoteProtocolError] = []

    def send(self, message: TransferMessage) -> None:
        raise AssertionError("the owner sends")

    def file_keys(self, epoch: int, *, outgoing: bool) -> TrafficKeys:
        if (epoch, outgoing) != (EPOCH, False):
            raise SealBroken
        return KEYS

    async def open_data_stream(self) -> "Tape":
        raise AssertionError("a receiver opens no stream")

    def violated(self, error: RemoteProtocolError) -> None:
        self.violations.append(error)


class Tape:
    """A stream that brings what it is given, and may wait before a part."""

    def __init__(self, *parts: bytes, lost: bool = False) -> None:
        self._parts = list(parts)
        self._lost = lost
        self.waiting = asyncio.Event()
        self.go = asyncio.Event()

    async def write(self, data: bytes) -> None:
        raise AssertionError("read only")

    def write_nowait(self, data: bytes) -> None:
        raise AssertionError("read only")

    async def read(self, limit: int) -> bytes:
        if not self._parts:
            if self._lost:
                raise LinkClosed
            return b""
        if self._parts[0] == b"wait":
            del self._parts[0]
            self.waiting.set()
            await self.go.wait()
        return self._parts.pop(0) if self._parts else b""


class Bench:
    def __init__(self, member: Member, executor: ThreadPoolExecutor) -> None:
        self.member = member
        self.link = Link()
        self.outcomes: list[Outcome] = []
        self.over: list[TransferOver] = []
        self.received = 0
        self.room = asyncio.Event()
        self.room.set()
        self.receiving = Receiving(
            SYNC,
            OwnSources(SYNC, {0: member.root}, lambda _source, _path: None),
            executor=executor,
            on_outcome=self.take,
            on_progress=self.progress,
            on_over=self.over.append,
        )

    async def take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if isinstance(outcome, Staged):
            outcome.file.discard()
        await self.room.wait()

    def progress(self, transfer: bytes, count: int) -> None:
        self.received += count

    def expect(self, transfer: bytes = TRANSFER) -> None:
        self.receiving.expect(self.link, transfer, dict(enumerate(STEPS)))

    async def read(self, *tapes: Tape) -> None:
        async with asyncio.TaskGroup() as group:
            for tape in tapes:
                group.create_task(self.receiving.read_stream(self.link, tape))

    @property
    def staged(self) -> list[int]:
        return [outcome.step for outcome in self.outcomes if isinstance(outcome, Staged)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    member = Member(0, tmp_path / "m0")
    with ThreadPoolExecutor(2) as executor, member.root:
        bench = Bench(member, executor)
        yield bench
        assert all(place.is_dir() for place in leftovers(member)), "nothing stays in staging"


def segment(data: bytes, *, epoch: int = EPOCH, transfer: bytes = TRANSFER) -> bytes:
    return header(epoch, transfer, len(data)) + data


def good() -> bytes:
    return sealed(STEPS, GOOD, transfer_key(KEYS, TRANSFER))


END = segment(b"")


@pytest.mark.parametrize("size", [1, 100, 10_000])
async def test_files_land_whatever_the_pieces(bench: Bench, size: int) -> None:
    """Outcomes in order, then the end of the transfer, then nothing is expected any more."""
    wire = segment(good()) + END
    bench.expect()

    await bench.read(Tape(*(wire[i : i + size] for i in range(0, len(wire), size))))

    assert bench.staged == [0, 1]
    assert bench.over == [TransferOver(TRANSFER, (), "transfer.interrupted")]
    assert bench.received == 10
    assert bench.link.violations == []


async def test_interleaved_transfers_both_land(bench: Bench) -> None:
    """Pieces of each go to their own."""
    bench.expect()
    message = good()
    bench.receiving.expect(bench.link, OTHER, {0: STEPS[0]})
    other = segment(b"x" * 10, transfer=OTHER)
    bench.receiving.end(OTHER, "transfer.aborted")

    await bench.read(Tape(segment(message[:70]) + other + segment(message[70:]) + END))

    assert bench.staged == [0, 1]


async def test_what_nobody_asked_for_ends_the_link(bench: Bench) -> None:
    """Before a byte of it is looked at."""
    await bench.read(Tape(segment(good())))

    assert len(bench.link.violations) == 1


@pytest.mark.parametrize(
    "epochs", [(EPOCH, EPOCH + 1), (EPOCH + 1, EPOCH + 1)], ids=["two epochs", "another epoch"]
)
async def test_a_transfer_keeps_its_epoch(bench: Bench, epochs: tuple[int, int]) -> None:
    """Its key is one; the link ends and its steps go elsewhere."""
    message = good()
    bench.expect()

    await bench.read(
        Tape(segment(message[:60], epoch=epochs[0]) + segment(message[60:], epoch=epochs[1]))
    )

    assert len(bench.link.violations) == 1
    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.interrupted")]


async def test_a_broken_seal_ends_the_link_and_frees_the_steps(bench: Bench) -> None:
    """The commitment of the key is the first to show it."""
    message = bytearray(good())
    message[30] ^= 1
    bench.expect()

    await bench.read(Tape(segment(bytes(message))))

    assert len(bench.link.violations) == 1
    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.broken")]


async def test_a_message_cut_off_fails_its_steps_but_not_the_link(bench: Bench) -> None:
    """A holder that stops cleanly breaks no rule."""
    bench.expect()

    await bench.read(Tape(segment(good()[:-3]) + END))

    assert bench.link.violations == []
    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.broken")]


async def test_an_end_without_a_message_fails_its_steps(bench: Bench) -> None:
    """The holder stopped before it began."""
    bench.expect()

    await bench.read(Tape(END))

    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.interrupted")]


@pytest.mark.parametrize("second", [segment(b"xx"), END])
async def test_a_transfer_may_not_spread_over_two_streams(bench: Bench, second: bytes) -> None:
    """Its order would be nobody's."""
    bench.expect()
    first = Tape(segment(good()[:70]), b"wait")

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.receiving.read_stream(bench.link, first))
        await first.waiting.wait()
        await bench.receiving.read_stream(bench.link, Tape(second))
        first.go.set()

    assert len(bench.link.violations) == 1


async def test_a_lost_stream_frees_the_steps(bench: Bench) -> None:
    """In the middle of a file."""
    bench.expect()

    await bench.read(Tape(segment(good()[:80]), lost=True))

    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.interrupted")]


async def test_a_lost_link_frees_the_steps_and_drops_what_was_on_its_way(bench: Bench) -> None:
    """Its streams may still hold bytes; they break no rule."""
    bench.expect()
    tape = Tape(segment(good()[:70]), b"wait", segment(good()[70:]))

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.receiving.read_stream(bench.link, tape))
        await tape.waiting.wait()
        bench.receiving.link_down(2)
        assert bench.over == []
        bench.receiving.link_down(1)
        tape.go.set()

    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.interrupted")]
    assert bench.link.violations == []
    assert bench.staged == []


async def test_a_transfer_that_was_ended_is_read_and_dropped(bench: Bench) -> None:
    """Its holder learns of it later than it sends."""
    bench.expect()
    bench.receiving.end_all("transfer.aborted")
    bench.receiving.end(TRANSFER, "again")
    bench.receiving.end(OTHER, "unknown")

    await bench.read(Tape(segment(good()) + END, END))

    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.aborted", bench.link)]
    assert bench.staged == []
    assert len(bench.link.violations) == 1, "after its end it is unknown"


async def test_a_refused_transfer_is_over_unless_it_has_begun(bench: Bench) -> None:
    """And only its holder can refuse it."""
    bench.expect()
    bench.receiving.refused(2, TRANSFER, "transfer.busy")
    bench.receiving.refused(1, OTHER, "transfer.busy")
    assert bench.over == []

    bench.receiving.refused(1, TRANSFER, "transfer.busy")

    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.busy")]


async def test_an_end_while_an_outcome_waits_for_room_frees_the_rest(bench: Bench) -> None:
    """What was handed on stays handed on; what was not is discarded and asked for anew."""
    bench.expect()
    bench.room.clear()

    async with asyncio.TaskGroup() as group:
        group.create_task(bench.read(Tape(segment(good()) + END)))
        while not bench.outcomes:  # noqa: ASYNC110  # a worker's outcome has no event here
            await asyncio.sleep(0.001)
        bench.receiving.end(TRANSFER, "transfer.stalled")
        bench.room.set()

    assert bench.staged == [0]
    assert bench.over == [TransferOver(TRANSFER, (1,), "transfer.stalled", bench.link)]


async def test_an_end_while_a_worker_is_at_it_discards_what_it_makes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever cleans up waits for the worker."""
    bench.expect()
    loop = asyncio.get_running_loop()
    original = Incoming.take

    def take(self: Incoming, pieces: list[memoryview]) -> list[Outcome]:
        outcomes = original(self, pieces)
        asyncio.run_coroutine_threadsafe(end(), loop).result(5)
        return outcomes

    idle: list[asyncio.Task[None]] = []

    async def end() -> None:
        bench.receiving.end(TRANSFER, "transfer.aborted")
        idle.append(loop.create_task(bench.receiving.idle()))
        await asyncio.sleep(0)
        assert not idle[0].done()

    monkeypatch.setattr(Incoming, "take", take)
    await bench.read(Tape(segment(good()) + END))
    await idle[0]

    assert bench.over == [TransferOver(TRANSFER, (0, 1), "transfer.aborted", bench.link)]
    assert bench.staged == []


async def test_a_transfer_of_which_nothing_is_of_use_is_called_off(bench: Bench) -> None:
    """Its one file cannot be staged."""
    content = bytes(700_000)
    wanted = [step("a", content, source=7)]
    bench.receiving.expect(bench.link, TRANSFER, {0: wanted[0]})
    message = sealed(wanted, file(0, content), transfer_key(KEYS, TRANSFER))

    await bench.read(Tape(segment(message[:600_000]), segment(message[600_000:]) + END))

    assert bench.outcomes == [StepFailed(0, "fs.outside", Again.LATER)]
    assert bench.over == [TransferOver(TRANSFER, (), "transfer.interrupted", bench.link)]
