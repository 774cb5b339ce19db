import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.daemon.own_sources import OpenFile, OwnSources, Reader
from peer.fs.confine import Root
from peer.fs.errors import ChangedSince, FileError, Missing, Outside
from peer.fs.hasher import stamp_of
from protocol.messages.inventory import Entry, Kind
from tests.peer.daemon.mesh import SYNC, inventory, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/one", "a/two", "b/one"):
        write(tmp_path, name, name.encode())
    return tmp_path


@pytest.fixture
def root(folder: Path) -> Iterator[Root]:
    with Root(folder) as root:
        yield root


def read(reader: Reader, folder: Path, *path: bytes) -> bytes:
    with reader.open(0, path, inventory(folder)[path]) as file:
        room = bytearray(100)
        return bytes(room[: file.read_into(memoryview(room), 0)])


def test_files_are_read_wherever_they_lie(folder: Path, root: Root) -> None:
    """In any order; a folder is walked to once for its files in a row."""
    reader = Reader({0: root})

    found = [read(reader, folder, *path) for path in ((b"a", b"one"), (b"a", b"two"))]
    found.append(read(reader, folder, b"b", b"one"))
    reader.close()
    reader.close()

    assert found == [b"a/one", b"a/two", b"b/one"]


def test_a_single_file_is_a_source_too(folder: Path) -> None:
    """Its path is the empty one."""
    with Root(folder / "a" / "one") as root:
        status = (folder / "a" / "one").stat()
        entry = Entry(0, (), Kind.FILE, status.st_size, status.st_mtime_ns, 0o644)
        with Reader({0: root}).open(0, (), entry) as file:
            assert file.stamp.size == 5


def test_what_changed_or_is_not_ours_is_not_opened(folder: Path, root: Root) -> None:
    """Another size, another date, another source, nothing there, a way out."""
    reader = Reader({0: root})
    entry = inventory(folder)[b"a", b"one"]
    write(folder, "a/one", b"longer than before", entry.mtime_ns)
    write(folder, "a/two", b"a/two", entry.mtime_ns + 1)

    for path, error in (
        ((b"a", b"one"), ChangedSince),
        ((b"a", b"two"), ChangedSince),
        ((b"a", b"none"), Missing),
        ((b"a", b".."), Outside),
    ):
        with pytest.raises(error):
            reader.open(0, path, entry)
    with pytest.raises(Outside):
        reader.open(1, (b"a", b"one"), entry)
    reader.close()


def test_a_file_written_while_it_is_read_shows(folder: Path, root: Root) -> None:
    """Even when its size stays."""
    reader = Reader({0: root})
    with reader.open(0, (b"a", b"one"), inventory(folder)[b"a", b"one"]) as file:
        file.check_unchanged()
        write(folder, "a/one", b"b/two", 5)
        with pytest.raises(ChangedSince):
            file.check_unchanged()
    reader.close()


def test_a_disk_that_fails_is_one_of_our_errors(folder: Path) -> None:
    """Whatever the system says."""
    handle = os.open(folder / "a" / "one", os.O_RDONLY)
    file = OpenFile(handle, stamp_of(os.fstat(handle)))
    os.close(handle)

    with pytest.raises(FileError):
        file.read_into(memoryview(bytearray(5)), 0)
    with pytest.raises(FileError):
        file.check_unchanged()


def test_what_was_written_replaces_what_was_inventoried(folder: Path, root: Root) -> None:
    """Others may ask for it then."""
    known = inventory(folder)
    sources = OwnSources(SYNC, {0: root}, lambda _source, path: known.get(path))
    new = Entry(0, (b"a", b"one"), Kind.FILE, 9, 9, 0o644)
    before = sources.entry(0, (b"a", b"one"))

    sources.wrote(new)

    assert before == known[b"a", b"one"]
    assert sources.entry(0, (b"a", b"one")) == new
    assert sources.entry(0, (b"none",)) is None


def test_staging_is_made_once_and_cleaned_for_good(folder: Path, root: Root) -> None:
    """Nothing is staged after the end, nor in a source that is none."""
    sources = OwnSources(SYNC, {0: root}, lambda _source, _path: None)
    staged = sources.staging(0).new_file()

    assert sources.staging(0) is sources.staging(0)
    assert (folder / ".quintet").exists()
    staged.close()
    sources.clean()

    assert not (folder / ".quintet").exists()
    for source in (0, 1):
        with pytest.raises(Outside):
            sources.staging(source)
