import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from peer.daemon.own_sources import OwnSources
from peer.daemon.reading_back import UNREADABLE, read_back
from peer.fs.confine import Root
from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from peer.transfer.proof import planned_digest
from protocol.messages.inventory import Entry, Kind, RelPath
from tests.peer.daemon.mesh import SYNC, write

DATE = 1_600_000_000_123_456_789


def steps_for(path: RelPath, source: int = 0) -> list[AnyStep]:
    """One of each kind, all at *path*."""
    origin = Entry(0, path, Kind.FILE, 7, DATE, 0o644)
    digest = blake3(b"content").digest()
    at = {"member": 0, "source": source, "path": path}
    return [
        CopyFile(**at, holders=((1, 0, path),), origin=origin, digest=digest, mtime_ns=DATE),  # type: ignore[arg-type]
        CopyLink(**at, target=b"there", mtime_ns=DATE),  # type: ignore[arg-type]
        CreateDirectory(**at, mode=0o755),  # type: ignore[arg-type]
        SetDate(**at, mtime_ns=DATE),  # type: ignore[arg-type]
        SetMode(**at, mode=0o640),  # type: ignore[arg-type]
        Delete(**at),  # type: ignore[arg-type]
        DeleteDirectory(**at),  # type: ignore[arg-type]
    ]


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[OwnSources]:
    write(tmp_path, "file", b"content", DATE)
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("there")
    os.utime(tmp_path / "link", ns=(DATE, DATE), follow_symlinks=False)
    (tmp_path / "folder").mkdir()
    with Root(tmp_path) as root:
        yield OwnSources(SYNC, {0: root}, lambda _source, _path: None)


def digests(steps: list[AnyStep], sources: OwnSources) -> list[bytes | None]:
    return [proof.digest for proof, _ in read_back(range(len(steps)), steps, sources)]


@pytest.mark.parametrize(
    ("path", "right"), [((b"file",), {0, 3, 4}), ((b"link",), {1, 3}), ((b"folder",), {2})]
)
def test_what_stands_there_proves_the_steps_that_made_it_and_no_others(
    sources: OwnSources, path: RelPath, right: set[int]
) -> None:
    """Each kind has its digest; another kind has none."""
    steps = steps_for(path)

    found = digests(steps, sources)

    matching = {n for n, step in enumerate(steps) if found[n] == planned_digest(step)}
    assert matching == right
    assert found[5:] == [UNREADABLE, UNREADABLE]


@pytest.mark.parametrize("path", [(b"none",), (b"none", b"below"), (b"file", b"below")])
def test_nothing_proves_deletions(sources: OwnSources, path: RelPath) -> None:
    """Gone with its parent is gone."""
    assert digests(steps_for(path), sources) == [None] * 7


@pytest.mark.parametrize(("path", "source"), [((b"..",), 0), ((b"file",), 5)])
def test_what_cannot_be_read_proves_nothing(
    sources: OwnSources, path: RelPath, source: int
) -> None:
    """Not even a deletion."""
    assert digests(steps_for(path, source), sources) == [UNREADABLE] * 7


def test_a_date_that_is_not_what_was_set_is_told(sources: OwnSources, tmp_path: Path) -> None:
    """The content may still be right."""
    os.utime(tmp_path / "file", ns=(5, 5))

    ((proof, dated), *_) = read_back([0], steps_for((b"file",)), sources)

    assert proof.digest == blake3(b"content").digest()
    assert not dated


def test_a_disk_that_fails_proves_nothing(
    sources: OwnSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something stands there; what, nobody knows."""

    def fail(handle: int) -> None:
        raise OSError(5, os.strerror(5))

    monkeypatch.setattr("peer.daemon.reading_back.hash_handle", fail)

    assert digests(steps_for((b"file",))[:1], sources) == [UNREADABLE]
