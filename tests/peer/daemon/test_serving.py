import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.daemon.own_sources import OwnSources
from peer.daemon.serving import Serving
from peer.fs.confine import Root
from peer.plan.steps import AnyStep
from peer.transfer.pack import Asked, FileData, FileEnded, PackReader, context_of
from peer.transfer.segments import HEADER, Piece, SegmentReader
from protocol.credentials import Secret
from protocol.crypto.chunked import ChunkOpener, transfer_key
from protocol.crypto.records import TrafficKeys
from protocol.errors import LinkClosed, RemoteProtocolError, SealBroken
from protocol.limits import MIB
from protocol.messages.transfer import Fetch, FetchRefused, TransferMessage
from tests.peer.daemon.mesh import SYNC, inventory, write
from tests.peer.transfer.plans import copy

EPOCH = 9
BIG = bytes(range(256)) * 20_000


class Wire:
    """A link whose streams keep what is written, or make the writer wait."""

    peer = 1
    epoch = EPOCH

    def __init__(self) -> None:
        self.sent: list[TransferMessage] = []
        self.streams: list[bytearray] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_closed = False
        self.keys_known = True

    def send(self, message: TransferMessage) -> None:
        self.sent.append(message)

    def file_keys(self, epoch: int, *, outgoing: bool) -> TrafficKeys:
        assert (epoch, outgoing) == (EPOCH, True)
        if not self.keys_known:
            raise SealBroken
        return TrafficKeys(Secret(bytes(32)), bytes(12))

    async def open_data_stream(self) -> "WireStream":
        self.streams.append(bytearray())
        return WireStream(self, self.streams[-1])

    def violated(self, error: RemoteProtocolError) -> None:
        raise AssertionError("a holder only sends") from error


class WireStream:
    def __init__(self, wire: Wire, written: bytearray) -> None:
        self._wire = wire
        self._written = written

    async def write(self, data: bytes) -> None:
        await self._wire.gate.wait()
        self.write_nowait(data)

    def write_nowait(self, data: bytes) -> None:
        if self._wire.is_closed:
            raise LinkClosed
        self._written += data


class Bench:
    def __init__(self, serving: Serving, wire: Wire, group: asyncio.TaskGroup) -> None:
        self.serving = serving
        self.wire = wire
        self.tasks: list[asyncio.Task[None]] = []
        self._group = group

    def fetch(self, *steps: int, transfer: bytes = b"t" * 16) -> None:
        self.serving.receive_fetch(
            self.wire, Fetch(sync=SYNC, transfer=transfer, steps=list(steps))
        )

    async def ended(self) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    contents = {"a": b"aaa", "b": b"bbb", "big": BIG}
    for name, content in contents.items():
        write(tmp_path, name, content)
    known = inventory(tmp_path)
    steps: list[AnyStep] = [
        copy(name, member=1, holders=(0,), size=len(content)) for name, content in contents.items()
    ]
    with ThreadPoolExecutor(2) as executor, Root(tmp_path) as root:
        async with asyncio.TaskGroup() as group:
            serving = Serving(
                0,
                SYNC,
                steps,
                OwnSources(SYNC, {0: root}, lambda _source, path: known.get(path)),
                executor=executor,
                random_bytes=os.urandom,
                spawn=lambda work: bench.tasks.append(group.create_task(work)),
            )
            bench = Bench(serving, Wire(), group)
            yield bench


def messages(written: bytearray) -> dict[bytes, bytes]:
    """Each transfer's sealed message; the stream must be whole."""
    found: dict[bytes, bytes] = {}
    reader = SegmentReader(lambda transfer: True)
    for one in reader.feed(bytes(written)):
        assert one.epoch == EPOCH
        found.setdefault(one.transfer, b"")
        if isinstance(one, Piece):
            found[one.transfer] += one.data
    assert reader.between_segments
    return found


def opened(message: bytes, *asked: Asked, transfer: bytes = b"t" * 16) -> dict[int, bytes]:
    key = transfer_key(TrafficKeys(Secret(bytes(32)), bytes(12)), transfer)
    opener = ChunkOpener(key, context_of(SYNC, transfer, asked), len(message))
    reader = PackReader(asked)
    contents: dict[int, bytes] = {}
    data = b""
    for chunk in opener.feed(message):
        for record in reader.feed(chunk):
            if isinstance(record, FileData):
                data += record.data
            elif isinstance(record, FileEnded):
                contents[record.step] = data
                data = b""
    reader.finish()
    return contents


async def test_what_is_asked_for_is_sent_in_that_order(bench: Bench) -> None:
    """Sealed for this transfer, ended by an empty segment, remembered for the proof."""
    bench.fetch(1, 0)
    await bench.ended()

    (written,) = bench.wire.streams
    assert opened(messages(written)[b"t" * 16], Asked(1, 3), Asked(0, 3)) == {1: b"bbb", 0: b"aaa"}
    assert written[-4:] == bytes(4)
    assert sorted(bench.serving.stated) == [0, 1]


async def test_large_files_have_a_stream_of_their_own(bench: Bench) -> None:
    """A pack never waits behind them."""
    one, two = b"1" * 16, b"2" * 16
    bench.fetch(2, transfer=one)
    bench.fetch(0, transfer=two)
    await bench.ended()

    by_stream = [set(messages(written)) for written in bench.wire.streams]
    assert sorted(by_stream, key=sorted) == [{one}, {two}]


async def test_transfers_of_one_stream_take_turns_by_whole_segments(bench: Bench) -> None:
    """Both arrive whole."""
    one, two = b"1" * 16, b"2" * 16
    bench.fetch(2, transfer=one)
    bench.fetch(2, transfer=two)
    await bench.ended()

    (written,) = bench.wire.streams
    found = messages(written)
    for transfer in (one, two):
        assert opened(found[transfer], Asked(2, len(BIG)), transfer=transfer) == {2: BIG}


async def test_what_the_plan_does_not_allow_is_refused(bench: Bench) -> None:
    """Nothing is opened, nothing is sent."""
    bench.fetch(0, 7)
    bench.serving.stop()
    bench.fetch(0, transfer=b"u" * 16)

    assert bench.wire.sent == [
        FetchRefused(transfer=b"t" * 16, code="transfer.not_held"),
        FetchRefused(transfer=b"u" * 16, code="transfer.aborted"),
    ]
    assert bench.wire.streams == []


async def until_waiting(bench: Bench) -> None:
    while not bench.wire.streams:  # noqa: ASYNC110  # a worker's slice has no event here
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "end", [lambda serving: serving.cancel(1, b"t" * 16), lambda serving: serving.stop()]
)
async def test_a_cancelled_transfer_ends_between_segments(
    bench: Bench, end: Callable[[Serving], None]
) -> None:
    """The stream stays whole for the others on it; the receiver sees the end."""
    bench.wire.gate.clear()
    bench.fetch(2)
    await until_waiting(bench)

    end(bench.serving)
    bench.wire.gate.set()
    await bench.ended()

    (written,) = bench.wire.streams
    assert len(messages(written)[b"t" * 16]) < 3 * MIB
    assert written[-4:] == bytes(4)


async def test_a_lost_link_ends_its_transfers_and_a_new_one_gets_new_streams(
    bench: Bench,
) -> None:
    """Nothing is written to the old ones any more."""
    bench.wire.gate.clear()
    bench.fetch(2)
    await until_waiting(bench)
    old = bench.wire
    old.is_closed = True
    bench.serving.link_down(1)
    old.gate.set()
    await bench.ended()
    assert len(old.streams[0]) < HEADER

    bench.wire = Wire()
    bench.fetch(0)
    await bench.ended()

    assert opened(messages(bench.wire.streams[0])[b"t" * 16], Asked(0, 3)) == {0: b"aaa"}


async def test_an_epoch_without_a_key_sends_nothing(bench: Bench) -> None:
    """The link is about to end, or to move on."""
    bench.wire.keys_known = False
    bench.fetch(0)
    await bench.ended()

    assert bench.wire.streams == []


async def test_no_two_transfers_share_key_and_nonce(bench: Bench) -> None:
    """The same file to the same peer: other id, other salt, other bytes (T27)."""
    transfers = [n.to_bytes(16, "big") for n in range(60)]
    for transfer in transfers:
        bench.fetch(0, transfer=transfer)
        await bench.ended()

    found = messages(bench.wire.streams[0])
    keys = {
        transfer_key(TrafficKeys(Secret(bytes(32)), bytes(12)), transfer).reveal()
        for transfer in transfers
    }
    assert len(keys) == len(transfers)
    assert len({message[:24] for message in found.values()}) == len(transfers)
    assert len({message[56:] for message in found.values()}) == len(transfers)
