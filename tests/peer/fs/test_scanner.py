import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.fs import mounts
from peer.fs.confine import Root
from peer.fs.errors import DiskFailed, FileError, Missing, SpecialFile
from peer.fs.scanner import clamped, reason_of, scan
from protocol import limits
from protocol.messages.inventory import (
    MAX_TIME_NS,
    Entry,
    Kind,
    RelPath,
    Skip,
    SkipReason,
)


def _scan(
    place: Path, decide: object = None, closed: tuple[RelPath, ...] = ()
) -> tuple[list[Entry], list[Skip]]:
    with Root(place, closed=closed) as root:
        batches = list(scan(root, decide=decide))  # type: ignore[arg-type]
    return (
        [entry for batch in batches for entry in batch.entries],
        [skip for batch in batches for skip in batch.skips],
    )


def _skipped(skips: list[Skip]) -> dict[RelPath, tuple[SkipReason, Kind | None]]:
    return {skip.path: (skip.reason, skip.kind) for skip in skips}


def test_entries_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """The root first, parents before children, names by their bytes; as a tuple sort gives."""
    for name in ("b/z", "b/a", "a.b", "a/x/y", "é", "B", "a/x.y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / os.fsdecode(b"\xff")).mkdir()

    entries, skips = _scan(tmp_path)

    paths = [entry.path for entry in entries]
    assert paths == sorted(paths)
    assert paths[0] == ()
    assert set(paths) == {
        (),
        *((b"B",), (b"a",), (b"a", b"x"), (b"a", b"x", b"y"), (b"a", b"x.y"), (b"a.b",)),
        *((b"b",), (b"b", b"a"), (b"b", b"z"), ("é".encode(),), (b"\xff",)),
    }
    assert skips == []


def test_an_entry_tells_size_date_and_permissions(tmp_path: Path) -> None:
    """Nanoseconds and dates before 1970 are kept; set-user-ID stays at home."""
    (tmp_path / "f").write_bytes(b"12345")
    (tmp_path / "f").chmod(0o4755)
    os.utime(tmp_path / "f", ns=(0, -1_000_000_007))
    (tmp_path / "d").mkdir(mode=0o700)

    entries, _ = _scan(tmp_path)

    found = {entry.path: entry for entry in entries}
    assert found[b"f",] == Entry(0, (b"f",), Kind.FILE, 5, -1_000_000_007, 0o755)
    assert (found[b"d",].kind, found[b"d",].size, found[b"d",].mode) == (Kind.DIRECTORY, 0, 0o700)


def test_a_link_is_data_and_never_followed(tmp_path: Path) -> None:
    """Its target stands in the entry, even if it leads nowhere or in a circle."""
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "gone").symlink_to("/nowhere/at all")

    entries, skips = _scan(tmp_path)

    assert [(e.path, e.kind, e.target) for e in entries[1:]] == [
        ((b"gone",), Kind.LINK, b"/nowhere/at all"),
        ((b"loop",), Kind.LINK, b"."),
    ]
    assert skips == []


def test_what_is_left_out_is_told_once_with_its_reason(tmp_path: Path) -> None:
    """A directory left out is not entered: its skip covers what lies below."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"")
    (tmp_path / "link").symlink_to("d")
    asked: list[RelPath] = []

    def decide(path: RelPath, kind: Kind) -> SkipReason | None:
        asked.append(path)
        return SkipReason.PATTERN if kind is Kind.DIRECTORY else SkipReason.LINK

    entries, skips = _scan(tmp_path, decide)

    assert [entry.path for entry in entries] == [()]
    assert _skipped(skips) == {
        (b"d",): (SkipReason.PATTERN, Kind.DIRECTORY),
        (b"link",): (SkipReason.LINK, Kind.LINK),
    }
    assert asked == [(b"d",), (b"link",)]


def test_the_reserved_folder_is_not_told_of_but_its_like_are(tmp_path: Path) -> None:
    """Only the one at the top is ours; any other blocks deletion like every skipped place."""
    (tmp_path / ".quintet" / "trash").mkdir(parents=True)
    (tmp_path / "d" / ".quintet").mkdir(parents=True)
    (tmp_path / ".QUINTET").write_bytes(b"")

    entries, skips = _scan(tmp_path)

    assert [entry.path for entry in entries] == [(), (b"d",)]
    assert _skipped(skips) == {
        (b".QUINTET",): (SkipReason.SYSTEM, Kind.FILE),
        (b"d", b".quintet"): (SkipReason.SYSTEM, Kind.DIRECTORY),
    }


def test_special_files_are_told_and_not_touched(tmp_path: Path) -> None:
    """A pipe would hold the reader up."""
    os.mkfifo(tmp_path / "pipe")

    _, skips = _scan(tmp_path)

    assert skips == [Skip(0, (b"pipe",), SkipReason.SPECIAL)]


def test_closed_directories_are_one_skip(tmp_path: Path) -> None:
    """The peer's own state within a source."""
    (tmp_path / "state" / "key").mkdir(parents=True)

    entries, skips = _scan(tmp_path, closed=((b"state",),))

    assert len(entries) == 1
    assert _skipped(skips) == {(b"state",): (SkipReason.SYSTEM, Kind.DIRECTORY)}


def test_what_vanishes_between_listing_and_looking_is_a_skip(tmp_path: Path) -> None:
    """Vanished is not missing."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "e").mkdir()
    (tmp_path / "f").mkdir()

    def decide(path: RelPath, kind: Kind) -> SkipReason | None:
        if path == (b"a",):
            (tmp_path / "c").unlink()
            (tmp_path / "f").rmdir()
        if path == (b"e",):
            (tmp_path / "e").rmdir()
            (tmp_path / "e").symlink_to("/")
        return None

    entries, skips = _scan(tmp_path, decide)

    assert [entry.path for entry in entries] == [(), (b"a",), (b"b",), (b"d",)]
    assert _skipped(skips) == {
        (b"c",): (SkipReason.VANISHED, None),
        (b"e",): (SkipReason.VANISHED, Kind.DIRECTORY),
        (b"f",): (SkipReason.VANISHED, None),
    }


def test_what_no_path_can_name_hides_its_directory(tmp_path: Path) -> None:
    """The deepest directory that can be named is the skip; nothing below seems deleted."""
    with Root(tmp_path) as root:
        for names in ((b"d",) * (limits.MAX_DEPTH + 1), (b"l" * 250,) * 17):
            folder = root.top.duplicate()
            for name in names:
                with folder:
                    folder = folder.ensure_folder(name)
            folder.close()

    entries, skips = _scan(tmp_path)

    deep, long = (b"d",) * limits.MAX_DEPTH, (b"l" * 250,) * 16
    assert _skipped(skips) == {
        deep: (SkipReason.TOO_LONG, Kind.DIRECTORY),
        long: (SkipReason.TOO_LONG, Kind.DIRECTORY),
    }
    assert {deep[:-1], long[:-1]} <= {entry.path for entry in entries}
    with Root(tmp_path) as root:
        root.top.remove_tree(b"d")
        root.top.remove_tree(b"l" * 250)


def test_batches_fit_one_message(tmp_path: Path) -> None:
    """Neither list is longer than a message takes, and nothing is lost between two."""
    for number in range(2 * limits.MAX_BATCH + 10):
        (tmp_path / f"{number:05}").touch()

    def decide(path: RelPath, kind: Kind) -> SkipReason | None:
        return SkipReason.PATTERN if path[-1] < b"02100" else None

    with Root(tmp_path) as root:
        batches = list(scan(root, decide=decide))

    assert max(max(len(b.entries), len(b.skips)) for b in batches) == limits.MAX_BATCH
    assert sum(len(b.entries) + len(b.skips) for b in batches) == 2 * limits.MAX_BATCH + 11


@pytest.mark.parametrize("answers", [[True], [False, True], [False, False, True]])
def test_a_cancelled_walk_ends_early(tmp_path: Path, answers: list[bool]) -> None:
    """Whenever it is asked; no handle stays open."""
    for number in range(limits.MAX_BATCH + 10):
        (tmp_path / f"{number:05}").touch()
    (tmp_path / "0" / "1").mkdir(parents=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    rest = iter(answers)

    with Root(tmp_path) as root:
        batches = list(scan(root, cancelled=lambda: next(rest, True)))

    assert sum(len(batch.entries) for batch in batches) <= limits.MAX_BATCH
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_single_file_is_its_own_entry(tmp_path: Path) -> None:
    """Its path is empty; its neighbours are not told of."""
    (tmp_path / "f").write_bytes(b"123")
    (tmp_path / "g").write_bytes(b"")

    entries, skips = _scan(tmp_path / "f")

    assert [(entry.path, entry.kind, entry.size) for entry in entries] == [((), Kind.FILE, 3)]
    assert skips == []


def test_a_root_that_is_gone_is_an_error_not_an_empty_source(tmp_path: Path) -> None:
    """Removed while it was held open, or a file that became something else."""
    (tmp_path / "d").mkdir()
    (tmp_path / "f").touch()
    with Root(tmp_path / "d") as folder, Root(tmp_path / "f") as file:
        (tmp_path / "d").rmdir()
        (tmp_path / "f").unlink()
        with pytest.raises(Missing):
            list(scan(folder))
        with pytest.raises(Missing):
            list(scan(file))
        (tmp_path / "f").mkdir()
        with pytest.raises(SpecialFile):
            list(scan(file))


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[None]:
    """Give up root's rights for a test; the tree is opened to everybody first."""
    if os.geteuid():
        yield
        return
    for place in (tmp_path, *tmp_path.parents[:3]):
        place.chmod(place.stat().st_mode | 0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_inaccessible_not_missing(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A directory's skip covers all below; a file keeps its kind."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").touch()
    (tmp_path / "d").chmod(0)
    (tmp_path / "f").touch(0o600)
    (tmp_path / "f").chmod(0)
    (tmp_path / "g").touch(0o644)
    request.getfixturevalue("as_nobody")

    entries, skips = _scan(tmp_path)

    assert [entry.path for entry in entries] == [(), (b"g",)]
    assert _skipped(skips) == {
        (b"d",): (SkipReason.INACCESSIBLE, Kind.DIRECTORY),
        (b"f",): (SkipReason.INACCESSIBLE, Kind.FILE),
    }


@pytest.mark.parametrize(
    ("target", "reason"),
    [(None, SkipReason.VANISHED), (b"x" * (limits.MAX_PATH + 1), SkipReason.TOO_LONG)],
)
def test_a_link_that_cannot_be_told_is_a_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: bytes | None, reason: SkipReason
) -> None:
    """Removed meanwhile, or longer than the wire takes."""
    (tmp_path / "link").symlink_to("x")

    def read_link(*_: object, **__: object) -> bytes:
        if target is None:
            raise FileNotFoundError(2, "No such file or directory")
        return target

    monkeypatch.setattr(os, "readlink", read_link)
    entries, skips = _scan(tmp_path)

    assert len(entries) == 1
    assert _skipped(skips) == {(b"link",): (reason, Kind.LINK)}


def test_every_error_of_walking_has_a_reason() -> None:
    """What is not foreseen is an input or output error."""
    assert reason_of(DiskFailed(5)) is SkipReason.IO_ERROR
    assert reason_of(SpecialFile()) is SkipReason.SPECIAL
    assert reason_of(FileError()) is SkipReason.IO_ERROR


def test_dates_beyond_the_wire_are_brought_to_its_bounds() -> None:
    """An entry out of bounds would fail the whole inventory."""
    assert [clamped(t) for t in (2**63, -(2**63), 7)] == [MAX_TIME_NS, -MAX_TIME_NS, 7]


@pytest.mark.root
def test_mounts_are_entered_but_no_part_of_the_system_and_no_loop(tmp_path: Path) -> None:
    """A disk mounted within is content; /proc and a directory within itself are not."""
    for name in ("disk", "proc", "a/loop"):
        (tmp_path / name).mkdir(parents=True)
    mounted = []
    try:
        for command in (
            ("mount", "-t", "tmpfs", "none", str(tmp_path / "disk")),
            ("mount", "-t", "proc", "none", str(tmp_path / "proc")),
            ("mount", "--bind", str(tmp_path), str(tmp_path / "a" / "loop")),
        ):
            done = subprocess.run(command, check=False, capture_output=True)
            if done.returncode:
                if os.environ.get("CI") == "true":
                    pytest.fail("needs root")
                pytest.skip("needs root")
            mounted.append(command[-1])
        (tmp_path / "disk" / "f").write_bytes(b"")
        entries, skips = _scan(tmp_path)
    finally:
        for place in reversed(mounted):
            subprocess.run(("umount", place), check=True)

    assert [entry.path for entry in entries] == [(), (b"a",), (b"disk",), (b"disk", b"f")]
    assert _skipped(skips) == {
        (b"a", b"loop"): (SkipReason.MOUNT_POINT, Kind.DIRECTORY),
        (b"proc",): (SkipReason.MOUNT_POINT, Kind.DIRECTORY),
    }


def test_random_trees_are_told_completely(tmp_path: Path) -> None:
    """As another walk finds them."""
    seeded = random.Random(7)
    places = [tmp_path]
    for number in range(300):
        place = seeded.choice(places) / f"{seeded.randrange(50)}-{number}"
        if seeded.random() < 0.3:
            place.mkdir()
            places.append(place)
        else:
            place.write_bytes(bytes(seeded.randrange(9)))

    entries, skips = _scan(tmp_path)

    found = {tmp_path.joinpath(*map(os.fsdecode, entry.path)): entry.size for entry in entries}
    assert found == {
        place: 0 if place.is_dir() else place.stat().st_size
        for place in (tmp_path, *tmp_path.rglob("*"))
    }
    assert skips == []
    assert mounts.mounts()
