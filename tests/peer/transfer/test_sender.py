import itertools
import random

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from peer.plan.steps import AnyStep, Delete
from peer.transfer.pack import Asked, FileBegun, FileData, FileEnded, FileFailed, PackReader
from peer.transfer.reasons import Reason
from peer.transfer.sender import Holder, PackWriter, Served
from protocol import limits
from protocol.credentials import Secret
from protocol.crypto.chunked import ChunkOpener, ChunkSealer
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import FILE_CHUNK
from protocol.messages.transfer import Fetch
from tests.peer.transfer.plans import copy, entry, path

SYNC = b"s" * 16
KEY = Secret(bytes(32))
STEPS: list[AnyStep] = [
    copy("a", member=1, holders=(0, 2), digest=b"d" * 32),
    copy("b", member=1, holders=(2, (0, 3, path("x")), (0, 1, path("y")))),
    copy("c", member=1, holders=(2,)),
    copy("d", member=2, holders=(0,)),
    Delete(member=1, source=0, path=path("e"), expected=entry("e")),
    *(copy(f"huge{n}", member=1, holders=(0,), size=limits.MAX_TRANSFER) for n in range(2)),
]


def fetch(*steps: int, transfer: int = 1, sync: bytes = SYNC) -> Fetch:
    return Fetch(sync=sync, transfer=transfer.to_bytes(16, "big"), steps=list(steps))


def test_a_request_that_follows_the_plan_is_served() -> None:
    """With the places where this member holds each content."""
    holder = Holder(0, SYNC, STEPS)

    granted = holder.admit(1, fetch(1, 0))

    assert granted == (
        Served(1, 3, None, ((3, path("x")), (1, path("y"))), first=False),
        Served(0, 3, b"d" * 32, ((0, path("a")),), first=True),
    )
    assert granted[1].asked == Asked(0, 3, b"d" * 32)


@pytest.mark.parametrize(
    ("peer", "request_", "reason"),
    [
        (1, fetch(0, sync=b"x" * 16), Reason.UNKNOWN_SYNC),
        (1, fetch(0, 2), Reason.NOT_HELD),
        (1, fetch(3), Reason.NOT_HELD),
        (2, fetch(0), Reason.NOT_HELD),
        (1, fetch(4), Reason.NOT_HELD),
        (1, fetch(len(STEPS)), Reason.NOT_HELD),
        (1, fetch(0, 0), Reason.NOT_HELD),
        (1, fetch(5, 6), Reason.NOT_HELD),
    ],
)
def test_anything_else_is_refused(peer: int, request_: Fetch, reason: Reason) -> None:
    """Another synchronisation, another member's step, content held by others, too much."""
    assert Holder(0, SYNC, STEPS).admit(peer, request_) is reason


def test_a_peer_has_so_many_transfers_open_and_no_more() -> None:
    """An ended one makes room; a lost peer's are forgotten."""
    holder = Holder(0, SYNC, STEPS)
    for number in range(limits.MAX_TRANSFERS_PER_LINK):
        assert holder.admit(1, fetch(0, transfer=number)) is not Reason.BUSY
    assert holder.admit(1, fetch(0, transfer=99)) is Reason.BUSY
    assert holder.admit(2, fetch(3, transfer=0)) is not Reason.BUSY

    first = fetch(0, transfer=0).transfer
    assert holder.is_open(1, first)
    holder.ended(1, first)
    assert not holder.is_open(1, first)
    assert holder.admit(1, fetch(0, transfer=99)) is not Reason.BUSY

    holder.peer_lost(1)
    holder.ended(1, first)
    assert not holder.is_open(1, fetch(0, transfer=99).transfer)


def test_a_transfer_is_asked_for_once() -> None:
    """Its id names its key."""
    holder = Holder(0, SYNC, STEPS)
    holder.admit(1, fetch(0))

    with pytest.raises(RemoteProtocolError):
        holder.admit(1, fetch(1))


def opened(parts: list[bytes]) -> bytes:
    message = b"".join(parts)
    opener = ChunkOpener(KEY, b"", len(message))
    return b"".join(opener.feed(message))


def write(writer: PackWriter, step: int, content: bytes, sizes: "itertools.cycle[int]") -> None:
    """Fill the room as a file that returns so many bytes a read would."""
    writer.begin(step, len(content))
    while room := writer.room():
        count = min(len(room), next(sizes), len(content))
        room[:count] = content[:count]
        content = content[count:]
        writer.filled(count)


@given(st.data())
def test_files_of_any_size_fill_chunks_to_the_brim(data: st.DataObject) -> None:
    """Records may straddle chunks wherever they like."""
    near = st.integers(FILE_CHUNK - 120, FILE_CHUNK + 10)
    sizes = data.draw(st.lists(st.integers(0, 60) | near, min_size=1, max_size=5))
    reads = itertools.cycle(data.draw(st.lists(st.integers(1000, FILE_CHUNK), min_size=1)))
    contents = [random.Random(n).randbytes(size) for n, size in enumerate(sizes)]
    writer = PackWriter(ChunkSealer(KEY, b"", bytes))
    parts: list[bytes] = []

    for number, content in enumerate(contents):
        write(writer, number, content, reads)
        assert writer.digest == blake3(content).digest()
        writer.end()
        size = writer.size
        ready = writer.sealed()
        assert size == sum(map(len, ready))
        parts += ready
    writer.finish()
    parts += writer.sealed()

    reader = PackReader([Asked(n, len(content)) for n, content in enumerate(contents)])
    found = [b""] * len(contents)
    for record in reader.feed(opened(parts)):
        if isinstance(record, FileBegun):
            current = record.step
        elif isinstance(record, FileData):
            found[current] += record.data
        else:
            assert isinstance(record, FileEnded)
            assert record.digest == blake3(contents[record.step]).digest()
    reader.finish()
    assert found == contents


@pytest.mark.parametrize("short", range(1, 6))
def test_a_chunk_with_next_to_no_room_left_is_still_filled(short: int) -> None:
    """A header may straddle two chunks."""
    writer = PackWriter(ChunkSealer(KEY, b"", bytes))
    # 16 bytes announce the first file, 36 end it, 16 announce the second; 4 before the content.
    first = FILE_CHUNK - 16 - 4 - 36 - 16 - short
    contents = [bytes(first), b"abcdef"]

    for number, content in enumerate(contents):
        write(writer, number, content, itertools.cycle([FILE_CHUNK]))
        writer.end()
    writer.finish()

    reader = PackReader([Asked(0, first), Asked(1, 6)])
    data = [r.data for r in reader.feed(opened(writer.sealed())) if isinstance(r, FileData)]
    assert b"".join(data)[-6:] == b"abcdef"


def test_a_file_given_up_is_followed_by_the_next() -> None:
    """Begun or not."""
    writer = PackWriter(ChunkSealer(KEY, b"", bytes))

    writer.failed(0, "fs.missing")
    writer.begin(1, 10)
    writer.filled(3)
    writer.failed(1, "fs.changed_since")
    assert not writer.room()
    writer.finish()

    reader = PackReader([Asked(0, 5), Asked(1, 10)])
    records = [
        r for r in reader.feed(opened(writer.sealed())) if not isinstance(r, FileBegun | FileData)
    ]
    assert records == [FileFailed(0, "fs.missing"), FileFailed(1, "fs.changed_since")]


def test_a_writer_is_not_told_more_than_there_is() -> None:
    """Nothing read, more than the room, an end too early: our bugs."""
    writer = PackWriter(ChunkSealer(KEY, b"", bytes))
    writer.begin(0, 3)

    for count in (0, 4):
        with pytest.raises(LocalProtocolError):
            writer.filled(count)
    with pytest.raises(LocalProtocolError):
        writer.end()
