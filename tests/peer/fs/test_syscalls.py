import os
from pathlib import Path

import pytest

from peer.fs import syscalls
from peer.fs.errors import FileError, NoSpace


def test_two_names_change_places_in_one_step(tmp_path: Path) -> None:
    """And a name moves only where nothing stands."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        syscalls.renameat2(handle, b"a", handle, b"b", syscalls.EXCHANGE)
        with pytest.raises(FileExistsError):
            syscalls.renameat2(handle, b"a", handle, b"b", syscalls.NOREPLACE)
        syscalls.renameat2(handle, b"a", handle, b"c", syscalls.NOREPLACE)
    finally:
        os.close(handle)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"b": "a", "c": "b"}


def test_space_is_taken_without_making_a_file_longer(tmp_path: Path) -> None:
    """More than there is is refused; so is what is no file."""
    handle = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    try:
        syscalls.reserve_space(handle, 1_000_000)
        taken = os.fstat(handle)
        with pytest.raises((NoSpace, FileError)):
            syscalls.reserve_space(handle, 2**62)
    finally:
        os.close(handle)

    assert taken.st_size == 0
    assert taken.st_blocks * 512 >= 1_000_000


def test_a_whole_file_system_is_brought_to_the_disk(tmp_path: Path) -> None:
    """By any file of it; what is no file is our error."""
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        syscalls.sync_file_system(handle)
    finally:
        os.close(handle)

    with pytest.raises(FileError):
        syscalls.sync_file_system(1_000_000)


def test_the_mask_is_read_without_setting_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell, the strictest counts."""
    before = os.umask(0o027)
    try:
        read = syscalls.process_mask()
    finally:
        os.umask(before)

    assert read == 0o027

    def refuse(*_: object, **__: object) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert syscalls.process_mask() == 0o077
