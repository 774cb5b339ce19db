import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.daemon.deciding import wall_clock_ns
from peer.daemon.known_digests import KnownDigests
from peer.fs.confine import Root
from peer.fs.hasher import stamp_of
from peer.inventory.stamp import Stamp
from peer.store.index import SETTLING_NS, Index
from protocol.messages.inventory import Kind
from tests.harness.peers import fill

PATH = (b"a.txt",)
DIGEST = b"d" * 32


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty index."""
    with Index(tmp_path / "index.sqlite") as index:
        yield index


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """A source with one file that has rested for long."""
    folder = fill(tmp_path / "source", {"a.txt": "content"})
    os.utime(folder / "a.txt", ns=(0, 0))
    root = Root(folder, kind=Kind.DIRECTORY)
    yield root
    root.close()


def stamp(root: Root) -> Stamp:
    return stamp_of(root.stat(PATH))


def later() -> int:
    """A moment at which the file has not been written for a while."""
    return wall_clock_ns() + 2 * SETTLING_NS


def test_what_was_read_once_is_known_until_it_changes(index: Index, root: Root) -> None:
    """By whatever the file system tells of a change."""
    known = KnownDigests(index)
    before = stamp(root)

    known.put_many(root, [(PATH, before, DIGEST)], read_at_ns=later())
    unchanged = known.get_many(root, [(PATH, before), ((b"other",), before)])
    (root.path / "a.txt").write_text("changed")
    changed = known.get_many(root, [(PATH, stamp(root))])

    assert unchanged == [DIGEST, None]
    assert changed == [None]


def test_roots_do_not_know_each_others_files(index: Index, root: Root, tmp_path: Path) -> None:
    """The same path below another root is another file."""
    known = KnownDigests(index)
    known.put_many(root, [(PATH, stamp(root), DIGEST)], read_at_ns=later())
    other = Root(fill(tmp_path / "other", {"a.txt": "content"}), kind=Kind.DIRECTORY)

    found = known.get_many(other, [(PATH, stamp(root))])

    other.close()
    assert found == [None]


def test_an_index_that_cannot_be_used_only_costs_time(index: Index, root: Root) -> None:
    """A full disk, or a file that somebody damaged: everything is read again."""
    known = KnownDigests(index)
    known.put_many(root, [(PATH, stamp(root), DIGEST)], read_at_ns=later())
    index.close()

    known.put_many(root, [(PATH, stamp(root), DIGEST)], read_at_ns=later())
    found = known.get_many(root, [(PATH, stamp(root))])

    assert found == [None]
