import os
from pathlib import Path
from typing import Any

import pytest

from peer.fs.confine import Root
from peer.fs.probe import probe


def test_this_file_system_is_told_and_left_clean(tmp_path: Path) -> None:
    """A Linux disk: case counts, dates to the nanosecond, links, and names the root again."""
    with Root(tmp_path) as root:
        found = probe(root)

    status = tmp_path.stat()
    assert found.writable
    assert not found.case_insensitive
    assert found.date_resolution_ns == 1
    assert found.hard_links
    assert found.exchange
    assert found.file_system
    assert not found.network
    assert found.free_bytes > 0
    assert (found.device, found.inode) == (status.st_dev, status.st_ino)
    assert list(tmp_path.iterdir()) == []


def test_a_single_file_is_probed_beside_it(tmp_path: Path) -> None:
    """The trash already there stays."""
    (tmp_path / "f").touch()
    (tmp_path / ".quintet" / "trash").mkdir(parents=True)
    (tmp_path / ".quintet" / "probe" / "left").mkdir(parents=True)
    with Root(tmp_path / "f") as root:
        assert probe(root).writable

    assert [path.name for path in (tmp_path / ".quintet").iterdir()] == ["trash"]


@pytest.mark.parametrize(
    "step", [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000]
)
def test_coarse_dates_are_seen(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As each known file system rounds them."""
    real = os.utime

    def utime(*args: Any, ns: tuple[int, int], **options: Any) -> None:
        real(*args, ns=(ns[0], ns[1] // step * step), **options)

    monkeypatch.setattr(os, "utime", utime)
    with Root(tmp_path) as root:
        assert probe(root).date_resolution_ns == step


def test_a_file_system_without_links_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT, for one."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Root(tmp_path) as root:
        assert not probe(root).hard_links


@pytest.mark.parametrize("insensitive", [True, False])
def test_what_takes_no_writes_is_judged_by_the_names_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, insensitive: bool
) -> None:
    """A name found in other case as the same file tells; numbers have no case."""
    for name in ("1", "Name"):
        (tmp_path / name).touch()
    real = os.stat

    def stat(name: Any, **options: Any) -> os.stat_result:
        if insensitive and name == b"nAME":
            name = b"Name"
        return real(name, **options)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with Root(tmp_path) as root:
        monkeypatch.setattr(os, "stat", stat)
        monkeypatch.setattr(os, "mkdir", refuse)
        found = probe(root)

    assert not found.writable
    assert found.case_insensitive is insensitive


def test_a_file_system_with_the_rules_of_windows_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that refuses a colon; an ordinary one has it."""
    with Root(tmp_path) as root:
        ordinary = probe(root).windows_names
    real = os.open

    def refuse(path: Any, *rest: Any, **options: Any) -> int:
        if isinstance(path, bytes) and b":" in path:
            raise OSError(22, "Invalid argument")
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    with Root(tmp_path) as root:
        like_windows = probe(root).windows_names

    assert (ordinary, like_windows) == (False, True)
