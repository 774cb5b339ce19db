import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from peer.daemon.outgoing import Outgoing
from peer.daemon.own_sources import OwnSources
from peer.fs.confine import Root
from peer.plan.steps import CopyFile
from peer.transfer.pack import FileBegun, FileData, FileEnded, FileFailed, PackReader, Record
from peer.transfer.sender import Served
from protocol.credentials import Secret
from protocol.crypto.chunked import ChunkOpener, ChunkSealer
from protocol.limits import MIB
from protocol.messages.inventory import Entry, RelPath
from tests.peer.daemon.mesh import SYNC, inventory, write

KEY = Secret(bytes(32))
BIG = bytes(range(256)) * 12_000


class Held:
    """A holder with some files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Root(folder)
        self.known = inventory(folder)
        self.sources = OwnSources(SYNC, {0: self.root}, self.entry)

    def entry(self, _source: int, path: RelPath) -> Entry | None:
        return self.known.get(path)

    def outgoing(self, *wanted: tuple[str, ...], digest: bytes | None = None) -> Outgoing:
        """A transfer of one step for each tuple of places."""
        steps: dict[int, CopyFile] = {}
        served = []
        for number, names in enumerate(wanted):
            places = tuple((0, tuple(os.fsencode(name).split(b"/"))) for name in names)
            origin = self.known[places[-1][1]]
            steps[number] = CopyFile(
                member=1,
                source=0,
                path=places[0][1],
                holders=tuple((0, *place) for place in places),
                origin=origin,
                digest=digest,
                mtime_ns=origin.mtime_ns,
            )
            served.append(Served(number, origin.size, digest, places, first=True))
        self.served = served
        return Outgoing(served, steps, self.sources, ChunkSealer(KEY, b"", os.urandom))

    def read(self, message: bytes) -> list[Record]:
        reader = PackReader([one.asked for one in self.served])
        opener = ChunkOpener(KEY, b"", len(message))
        records = [r for chunk in opener.feed(message) for r in reader.feed(chunk)]
        reader.finish()
        return [r for r in records if not isinstance(r, FileBegun | FileData)]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    write(tmp_path, "a", b"aaa")
    write(tmp_path, "d/b", b"bbb")
    write(tmp_path, "big", BIG)
    held = Held(tmp_path)
    with held.root:
        yield held


def drain(outgoing: Outgoing) -> bytes:
    parts = []
    while piece := outgoing.slice():
        parts += piece
    outgoing.close()
    return b"".join(parts)


def test_files_are_sent_with_their_digests(held: Held) -> None:
    """What was sent is remembered for the proof."""
    outgoing = held.outgoing(("a",), ("big",), ("d/b",))

    found = held.read(drain(outgoing))

    digests = [blake3(content).digest() for content in (b"aaa", BIG, b"bbb")]
    assert found == [FileEnded(number, digest) for number, digest in enumerate(digests)]
    assert outgoing.stated == dict(enumerate(digests))


def test_slices_are_bounded(held: Held) -> None:
    """However large the file."""
    outgoing = held.outgoing(("big",))

    sizes = []
    while parts := outgoing.slice():
        sizes.append(sum(map(len, parts)))
    outgoing.close()

    assert len(sizes) > 2
    assert max(sizes) < 1.5 * MIB


def test_a_place_that_changed_is_passed_over_for_another(held: Held) -> None:
    """The same content may lie in two places of one member."""
    write(held.folder, "d/b", b"bbbb", 5)
    held.known[b"d", b"b"] = held.known[b"a",]
    outgoing = held.outgoing(("d/b", "a"))

    found = held.read(drain(outgoing))

    assert found == [FileEnded(0, blake3(b"aaa").digest())]


def test_a_file_that_is_gone_fails_and_the_next_is_sent(held: Held) -> None:
    """With the reason; what was never held has one too."""
    (held.folder / "a").unlink()
    outgoing = held.outgoing(("a",), ("d/b",))

    found = held.read(drain(outgoing))

    assert found == [FileFailed(0, "fs.missing"), FileEnded(1, blake3(b"bbb").digest())]


def test_a_place_unknown_to_the_inventory_is_not_read(held: Held) -> None:
    """Only the first place has its entry in the plan."""
    outgoing = held.outgoing(("d/b", "a"))
    held.known.clear()
    write(held.folder, "d/b", b"xxx", 5)

    found = held.read(drain(outgoing))

    assert found == [FileFailed(0, "fs.changed_since")]


def test_other_content_under_the_same_date_fails(held: Held) -> None:
    """The plan's digest is compared before the file's end is sent."""
    outgoing = held.outgoing(("a",), digest=bytes(32))

    found = held.read(drain(outgoing))

    assert found == [FileFailed(0, "fs.changed_since")]


@pytest.mark.parametrize("size", [MIB, len(BIG)])
def test_a_file_that_changes_while_it_is_read_fails(held: Held, size: int) -> None:
    """Cut short or written anew; nothing else is tried once it has begun."""
    outgoing = held.outgoing(("big",))
    parts = outgoing.slice()

    with (held.folder / "big").open("r+b") as file:
        file.truncate(size)
        file.seek(0)
        file.write(b"x")
    message = b"".join(parts) + drain(outgoing)

    assert held.read(message) == [FileFailed(0, "fs.changed_since")]


def test_a_transfer_can_be_closed_in_the_middle(held: Held) -> None:
    """Its files are closed with it."""
    outgoing = held.outgoing(("big",))
    before = len(list(Path("/proc/self/fd").iterdir()))

    outgoing.slice()
    outgoing.close()

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert outgoing.slice() == []
