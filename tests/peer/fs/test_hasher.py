import os
from pathlib import Path

import pytest
from blake3 import blake3

from peer.fs.confine import Root
from peer.fs.errors import ChangedSince, FileError, NotADirectory, SpecialFile
from peer.fs.hasher import BLOCK, HashingCancelled, hash_file, hash_handle


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 2, 3 * BLOCK])
def test_the_digest_is_that_of_the_whole_content(tmp_path: Path, size: int) -> None:
    """Around every edge of the block size; the stamp is the file's."""
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    status = (tmp_path / "f").stat()

    with Root(tmp_path) as root:
        hashed = hash_file(root, (b"f",))

    assert hashed.digest == blake3(content).digest()
    assert hashed.stamp == (size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@pytest.mark.parametrize("change", [b"grown" * 10, b"other", b""])
def test_a_file_written_while_it_is_read_has_no_digest(tmp_path: Path, change: bytes) -> None:
    """Grown, changed at equal size or cut: nothing is said of such a content."""
    (tmp_path / "f").write_bytes(b"first")
    os.utime(tmp_path / "f", ns=(1, 1))

    def write(_: int) -> bool:
        (tmp_path / "f").write_bytes(change)
        return True

    with Root(tmp_path) as root, pytest.raises(ChangedSince):
        hash_file(root, (b"f",), progress=write)


def test_a_file_that_never_stops_growing_is_not_followed(tmp_path: Path) -> None:
    """Reading ends soon after the size the file had."""
    (tmp_path / "f").write_bytes(b"x" * BLOCK)
    reads: list[int] = []

    def grow(count: int) -> bool:
        reads.append(count)
        with (tmp_path / "f").open("ab") as file:
            file.write(b"x" * 3 * BLOCK)
        return True

    with Root(tmp_path) as root, pytest.raises(ChangedSince):
        hash_file(root, (b"f",), progress=grow)

    assert sum(reads) <= 2 * BLOCK + 2


def test_hashing_is_cancelled_between_blocks(tmp_path: Path) -> None:
    """A large file does not hold the program up."""
    (tmp_path / "f").write_bytes(b"x" * 3 * BLOCK)
    seen: list[int] = []

    def stop(count: int) -> bool:
        seen.append(count)
        return len(seen) < 2

    with Root(tmp_path) as root, pytest.raises(HashingCancelled):
        hash_file(root, (b"f",), progress=stop)

    assert len(seen) == 2


def test_only_regular_files_are_hashed(tmp_path: Path) -> None:
    """Pipes, directories, links and what lies behind links are refused."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"")
    (tmp_path / "link").symlink_to("d/f")
    (tmp_path / "folder").symlink_to("d")

    with Root(tmp_path) as root:
        for name in (b"pipe", b"d", b"link"):
            with pytest.raises(SpecialFile):
                hash_file(root, (name,))
        with pytest.raises(NotADirectory):
            hash_file(root, (b"folder", b"f"))


def test_what_cannot_be_read_is_a_file_error(tmp_path: Path) -> None:
    """The system's own error does not escape."""
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileError):
            hash_handle(handle)
    finally:
        os.close(handle)
