import contextlib
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.fs import apply, confine, placing, staging, syscalls, trash
from peer.fs.apply import BATCH, Applier, check_entry
from peer.fs.confine import Root
from peer.fs.errors import (
    ChangedSince,
    DiskFailed,
    FileError,
    Missing,
    NoSpace,
    NotADirectory,
    NotEmpty,
    Outside,
    ReadOnly,
)
from peer.fs.scanner import scan
from peer.fs.staging import StagedFile, Staging
from peer.fs.trash import Trash, items
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
from protocol.messages.inventory import Entry, Kind, RelPath

SYNC = b"\x01\x02"
KEPT = Path(".quintet/trash/0102/0")
NOW = 1_700_000_000 * 10**9
WHO: dict[str, Any] = {"member": 0, "source": 0}


class Bench:
    """A source on a real disk, and what applies steps to it.

    Attributes:
        place: The source's path.
        applier: Under test.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = Root(place)
        self.staging = Staging(self.root, SYNC)
        self.trash = Trash(self.root, SYNC)
        self.applier = Applier(self.root, self.staging, self.trash)

    def close(self) -> None:
        self.trash.close()
        self.staging.close()
        self.root.close()

    def entry(self, path: RelPath) -> Entry:
        """What an inventory says of *path* now."""
        (found,) = [e for b in scan(self.root) for e in b.entries if e.path == path]
        return found

    def staged(self, content: bytes) -> StagedFile:
        staged = self.staging.new_file()
        staged.write(content)
        return staged

    def apply(self, step: AnyStep, staged: StagedFile | None = None) -> None:
        self.applier.apply(step, staged, now_ns=NOW)

    def content(self) -> dict[str, bytes]:
        """Every file of the source but ours, with its content."""
        return {
            str(path.relative_to(self.place)): path.read_bytes()
            for path in self.place.rglob("*")
            if path.is_file() and ".quintet" not in path.parts
        }


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A source ``src`` that holds ``d/f`` with the content ``old``."""
    (tmp_path / "src" / "d").mkdir(parents=True)
    (tmp_path / "src" / "d" / "f").write_bytes(b"old")
    os.utime(tmp_path / "src" / "d" / "f", ns=(0, 1_000_000_007))
    bench = Bench(tmp_path / "src")
    yield bench
    bench.close()


F: RelPath = (b"d", b"f")
NEW: RelPath = (b"d", b"new")


def copy_to(path: RelPath, expected: Entry | None = None, **more: Any) -> CopyFile:
    origin = Entry(0, path, Kind.FILE, 3, 5, 0o664)
    return CopyFile(
        **WHO,
        path=path,
        expected=expected,
        holders=((1, 0, path),),
        origin=origin,
        digest=None,
        **{"mtime_ns": -1_500_000_003, **more},
    )


def test_a_new_file_arrives_with_its_date_and_no_wider_rights(bench: Bench) -> None:
    """Its bits are the origin's less the mask of this process; nothing comes to the trash."""
    bench.applier._mask = 0o022
    bench.apply(copy_to(NEW), bench.staged(b"new"))

    status = (bench.place / "d" / "new").stat()
    assert bench.content() == {"d/f": b"old", "d/new": b"new"}
    assert (status.st_mtime_ns, stat.S_IMODE(status.st_mode)) == (-1_500_000_003, 0o644)
    assert list(bench.staging.folder.names()) == []
    assert not (bench.place / ".quintet" / "trash").exists()


def test_a_replaced_file_keeps_its_bits_and_the_old_goes_to_the_trash(bench: Bench) -> None:
    """The old content whole, with its date; the line of the manifest says so."""
    (bench.place / "d" / "f").chmod(0o4751)
    bench.apply(copy_to(F, bench.entry(F)), bench.staged(b"new"))

    assert bench.content() == {"d/f": b"new"}
    assert stat.S_IMODE((bench.place / "d" / "f").stat().st_mode) == 0o751
    assert (bench.place / KEPT / "d" / "f").read_bytes() == b"old"
    (item,) = items(bench.root, SYNC)
    assert (item.path, item.reason, item.when_ns, item.mtime_ns) == (
        *(F, "replaced", NOW, 1_000_000_007),
    )
    assert bench.staging.folder.names() == []


def test_bits_are_set_where_the_step_names_them(bench: Bench) -> None:
    """Without those that hand rights to others."""
    bench.apply(copy_to(NEW, mode=0o6711), bench.staged(b"new"))

    assert stat.S_IMODE((bench.place / "d" / "new").stat().st_mode) == 0o711


def _write_other(bench: Bench) -> None:
    (bench.place / "d" / "f").write_bytes(b"much longer")


def _write_equal_size(bench: Bench) -> None:
    (bench.place / "d" / "f").write_bytes(b"OLD")


def _make_directory(bench: Bench) -> None:
    (bench.place / "d" / "f").unlink()
    (bench.place / "d" / "f").mkdir()


def _make_link(bench: Bench) -> None:
    (bench.place / "d" / "f").unlink()
    (bench.place / "d" / "f").symlink_to("old")


def _make_pipe(bench: Bench) -> None:
    (bench.place / "d" / "f").unlink()
    os.mkfifo(bench.place / "d" / "f")


def _remove(bench: Bench) -> None:
    (bench.place / "d" / "f").unlink()


CHANGES: list[tuple[Callable[[Bench], None], str]] = [
    (_write_other, "file"),
    (_write_equal_size, "file"),
    (_make_directory, "directory"),
    (_make_link, "link"),
    (_make_pipe, "special"),
    (_remove, "nothing"),
]


def _steps(expected: Entry | None) -> list[AnyStep]:
    return [
        copy_to(F, expected),
        CopyLink(**WHO, path=F, expected=expected, target=b"t", mtime_ns=0),
        Delete(**WHO, path=F, expected=expected),
        SetDate(**WHO, path=F, expected=expected, mtime_ns=0),
        SetMode(**WHO, path=F, expected=expected, mode=0o600),
    ]


@pytest.mark.parametrize(("change", "found"), CHANGES)
@pytest.mark.parametrize("position", range(5))
def test_what_changed_since_the_inventory_is_left_alone(
    bench: Bench, change: Callable[[Bench], None], found: str, position: int
) -> None:
    """No step touches what it did not expect, and says what it met."""
    step = _steps(bench.entry(F))[position]
    staged = bench.staged(b"new") if isinstance(step, CopyFile) else None
    change(bench)
    before = _picture(bench.place / "d")

    with pytest.raises(ChangedSince) as caught:
        bench.applier.check(step)
    with pytest.raises(ChangedSince) as again:
        bench.apply(step, staged)

    assert (caught.value.found, again.value.found) == (found, found)
    assert _picture(bench.place / "d") == before
    assert bench.staging.folder.names() == ([] if staged is None else [staged.name])
    if staged is not None:
        staged.close()


def _picture(place: Path) -> list[tuple[object, ...]]:
    found = []
    for path in sorted(place.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found.append((path, status.st_mode, status.st_mtime_ns, status.st_ino, content))
    return found


@pytest.mark.parametrize("change", [change for change, _ in CHANGES[:-1]])
def test_nothing_expected_means_nothing_there(
    bench: Bench, change: Callable[[Bench], None]
) -> None:
    """Neither a file, nor a directory, nor a link, nor a special thing is replaced."""
    change(bench)
    before = _picture(bench.place / "d")
    steps: list[AnyStep] = [
        copy_to(F),
        CopyLink(**WHO, path=F, target=b"t", mtime_ns=0),
        CreateDirectory(**WHO, path=F, mode=0o755),
    ]
    for step in steps:
        staged = bench.staged(b"new") if isinstance(step, CopyFile) else None
        with pytest.raises(ChangedSince):
            bench.apply(step, staged)
        if staged is not None:
            staged.discard()

    assert _picture(bench.place / "d") == before


def test_a_link_is_made_replaced_and_deleted_as_data(bench: Bench, tmp_path: Path) -> None:
    """Its target is never touched; the old one goes to the trash."""
    (tmp_path / "outside").write_bytes(b"outside")
    target = os.fsencode(tmp_path / "outside")
    bench.apply(CopyLink(**WHO, path=NEW, target=b"first", mtime_ns=-9))
    bench.apply(CopyLink(**WHO, path=NEW, expected=bench.entry(NEW), target=target, mtime_ns=-7))
    bench.apply(SetDate(**WHO, path=NEW, expected=bench.entry(NEW), mtime_ns=-5))

    assert (bench.place / "d" / "new").readlink() == tmp_path / "outside"
    assert bench.entry(NEW).mtime_ns == -5
    assert (bench.place / KEPT / "d" / "new").readlink() == Path("first")

    bench.apply(Delete(**WHO, path=NEW, expected=bench.entry(NEW)))

    assert bench.content() == {"d/f": b"old"}
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert bench.staging.folder.names() == []


def test_deleted_is_moved_to_the_trash(bench: Bench) -> None:
    """The very file, not a copy."""
    number = (bench.place / "d" / "f").stat().st_ino
    bench.apply(Delete(**WHO, path=F, expected=bench.entry(F)))

    assert bench.content() == {}
    assert (bench.place / KEPT / "d" / "f").stat().st_ino == number
    assert [item.reason for item in items(bench.root, SYNC)] == ["deleted"]


def test_dates_and_bits_are_set_alone(bench: Bench) -> None:
    """The content stays the same file."""
    number = (bench.place / "d" / "f").stat().st_ino
    bench.apply(SetDate(**WHO, path=F, expected=bench.entry(F), mtime_ns=-1))
    bench.apply(SetMode(**WHO, path=F, expected=bench.entry(F), mode=0o7500))
    bench.apply(SetMode(**WHO, path=(b"d",), expected=bench.entry((b"d",)), mode=0o710))

    status = (bench.place / "d" / "f").stat()
    assert (status.st_ino, status.st_mtime_ns, status.st_mode & 0o7777) == (number, -1, 0o500)
    assert (bench.place / "d").stat().st_mode & 0o777 == 0o710


def test_directories_are_made_and_removed(bench: Bench) -> None:
    """A directory lets its owner in, whatever its origin's bits."""
    bench.apply(CreateDirectory(**WHO, path=NEW, mode=0o2055))
    mode = (bench.place / "d" / "new").stat().st_mode & 0o7777
    bench.apply(DeleteDirectory(**WHO, path=NEW, expected=bench.entry(NEW)))

    assert mode & 0o700 == 0o700
    assert not mode & 0o7000
    assert bench.content() == {"d/f": b"old"}
    assert not (bench.place / "d" / "new").exists()


def test_a_directory_that_holds_anything_stays(bench: Bench) -> None:
    """Even if it is a trash of another source; the count tells how much."""
    (bench.place / "d" / ".quintet").mkdir()
    with pytest.raises(NotEmpty) as caught:
        bench.apply(DeleteDirectory(**WHO, path=(b"d",), expected=bench.entry((b"d",))))

    assert caught.value.count == 2
    assert bench.content() == {"d/f": b"old"}


@pytest.mark.parametrize("path", [(), (b"..", b"x"), (b".quintet", b"trash"), (b"d", b".quintet")])
def test_no_step_leaves_the_source_or_touches_what_is_ours(bench: Bench, path: RelPath) -> None:
    """Whoever computed the plan."""
    directory = Entry(0, path, Kind.DIRECTORY, 0, 0, 0o755)
    for step in (
        CreateDirectory(**WHO, path=path, mode=0o755),
        DeleteDirectory(**WHO, path=path, expected=directory),
        Delete(**WHO, path=path, expected=directory),
    ):
        with pytest.raises(Outside):
            bench.apply(step)


def test_a_parent_that_is_missing_or_a_link_is_named(bench: Bench, tmp_path: Path) -> None:
    """Parents are steps of their own; a link is no directory."""
    (tmp_path / "outside").mkdir()
    (bench.place / "link").symlink_to(tmp_path / "outside")
    step = SetDate(**WHO, path=(b"no", b"f"), expected=bench.entry(F), mtime_ns=0)
    with bench.staged(b"new") as staged:
        with pytest.raises(Missing):
            bench.apply(copy_to((b"no", b"f")), staged)
        with pytest.raises(NotADirectory):
            bench.apply(copy_to((b"link", b"f")), staged)
    with pytest.raises(ChangedSince):
        bench.apply(step)

    assert list((tmp_path / "outside").iterdir()) == []


def test_a_whole_batch_is_done_in_order_and_one_failure_stops_no_other(bench: Bench) -> None:
    """A folder is removed and made again, files put into it; groups larger than one."""
    steps: list[tuple[AnyStep, StagedFile | None]] = [
        (Delete(**WHO, path=F, expected=bench.entry(F)), None),
        (DeleteDirectory(**WHO, path=(b"d",), expected=bench.entry((b"d",))), None),
        (CreateDirectory(**WHO, path=(b"d",), mode=0o755), None),
        (CreateDirectory(**WHO, path=(b"d",), mode=0o755), None),
        (copy_to(F), bench.staged(b"new")),
        *(
            (copy_to((b"d", b"%d" % number)), bench.staged(b"%d" % number))
            for number in range(BATCH)
        ),
    ]
    outcomes = bench.applier.apply_all(steps, now_ns=NOW)

    failed = [position for position, error in enumerate(outcomes) if error is not None]
    assert failed == [3]
    assert bench.content() == {
        "d/f": b"new",
        **{f"d/{number}": b"%d" % number for number in range(BATCH)},
    }


def test_a_single_file_source_is_replaced_deleted_and_made_again(tmp_path: Path) -> None:
    """Its trash lies beside it; its neighbours are not touched."""
    (tmp_path / "f").write_bytes(b"old")
    (tmp_path / "g").write_bytes(b"neighbour")
    bench = Bench(tmp_path / "f")
    try:
        bench.apply(copy_to((), bench.entry(())), bench.staged(b"new"))
        bench.apply(Delete(**WHO, path=(), expected=bench.entry(())))
        bench.apply(copy_to(()), bench.staged(b"again"))
        with pytest.raises(Outside):
            bench.apply(CreateDirectory(**WHO, path=(b"x",), mode=0o755))
    finally:
        bench.close()

    kept = tmp_path / ".quintet" / "trash" / "0102"
    assert (tmp_path / "f").read_bytes() == b"again"
    assert (tmp_path / "g").read_bytes() == b"neighbour"
    assert [(kept / layer / "f").read_bytes() for layer in "01"] == [b"old", b"new"]


def test_a_source_entry_is_checked_by_itself(bench: Bench) -> None:
    """Whoever sends compares too."""
    expected = bench.entry(F)
    check_entry(bench.root, F, expected)
    _write_other(bench)

    with pytest.raises(ChangedSince):
        check_entry(bench.root, F, expected)
    with pytest.raises(ChangedSince):
        check_entry(bench.root, (b"gone", b"f"), expected)


def test_what_cannot_reach_the_disk_is_not_called_done(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing sync fails its file before it takes its place, a directory's the whole group."""
    calls: list[int] = []

    def fail_once(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_once)
    first, second = bench.staged(b"1"), bench.staged(b"2")
    outcomes = bench.applier.apply_all(
        [(copy_to((b"1",)), first), (copy_to((b"2",)), second)], now_ns=NOW
    )

    assert [error is None for error in outcomes] == [False, True]
    assert bench.content() == {"d/f": b"old", "2": b"2"}

    calls.clear()
    (third,) = bench.applier.apply_all(
        [(Delete(**WHO, path=F, expected=bench.entry(F)), None)], now_ns=NOW
    )

    assert third is not None
    first.close()


def test_many_files_reach_the_disk_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only if that fails does each go by itself, which tells whose fault it is."""
    synced: list[int] = []
    fails: list[FileError] = []
    monkeypatch.setattr(StagedFile, "sync", lambda staged: synced.append(staged.handle))

    def sync_all(_: int) -> None:
        if fails:
            raise fails[0]

    monkeypatch.setattr(apply, "sync_file_system", sync_all)

    def land(prefix: bytes) -> None:
        steps = [(copy_to((prefix + b"%d" % n,)), bench.staged(b"")) for n in range(apply._MANY)]
        assert set(bench.applier.apply_all(steps, now_ns=NOW)) == {None}

    land(b"a")
    together = len(synced)
    fails.append(DiskFailed(5))
    land(b"b")

    assert (together, len(synced)) == (0, apply._MANY)


def test_a_directory_made_at_the_last_moment_is_left_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the making; nor does a file ever take a directory's place."""
    monkeypatch.setattr(confine.Folder, "find", lambda *_: None)
    with pytest.raises(ChangedSince):
        bench.apply(CreateDirectory(**WHO, path=(b"d",), mode=0o755))
    monkeypatch.undo()
    directory = bench.entry((b"d",))
    with bench.staged(b"new") as staged, pytest.raises(ChangedSince):
        bench.apply(copy_to((b"d",), directory), staged)
    with pytest.raises(ChangedSince):
        bench.apply(Delete(**WHO, path=(b"d",), expected=directory))

    assert bench.content() == {"d/f": b"old"}


# --- no instant of loss ---------------------------------------------------------


class DyingOs:
    """The system, until a call comes that this process does not live to make.

    Args:
        budget: Calls that are still made.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget

    def spend(self) -> None:
        if not self.budget:
            os._exit(7)
        self.budget -= 1

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if not callable(real) or isinstance(real, type):
            return real

        def call(*args: Any, **options: Any) -> Any:
            self.spend()
            return real(*args, **options)

        return call


def _dies_at(budget: int, act: Callable[[], None]) -> bool:
    """Run *act* in a child that dies at its call number *budget*; tell whether it lived."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            dying = DyingOs(budget)
            real = syscalls.renameat2

            def rename(*args: Any) -> None:
                dying.spend()
                real(*args)

            syscalls.renameat2 = rename
            for module in (confine, staging, trash, placing):
                module.os = dying  # type: ignore[attr-defined]
            act()
            os._exit(0)
        os._exit(9)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 7)
    return code == 0


def _refuse_exchange(patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    patch.setattr(syscalls, "renameat2", refuse)


def _refuse_links(patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    _refuse_exchange(patch)
    patch.setattr(os, "link", refuse)


WAYS: list[Callable[[pytest.MonkeyPatch], None]] = [
    lambda _: None,
    _refuse_exchange,
    _refuse_links,
]
WAY_NAMES = ["exchange", "link", "copy"]


@pytest.mark.parametrize("way", WAYS, ids=WAY_NAMES)
def test_killed_at_any_call_a_path_holds_old_or_new_and_the_old_is_kept(
    tmp_path: Path, way: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever way the file system allows; the run that lives ends with all done."""
    way(monkeypatch)
    outcomes = set()
    for budget in range(400):
        place = tmp_path / str(budget)
        (place / "d").mkdir(parents=True)
        (place / "d" / "f").write_bytes(b"old")
        (place / "d" / "gone").write_bytes(b"deleted")
        bench = Bench(place)
        steps: list[tuple[AnyStep, StagedFile | None]] = [
            (copy_to(F, bench.entry(F)), bench.staged(b"new")),
            (copy_to(NEW), bench.staged(b"fresh")),
            (
                Delete(**WHO, path=(b"d", b"gone"), expected=bench.entry((b"d", b"gone"))),
                None,
            ),
        ]

        def act(bench: Bench = bench, steps: Any = steps) -> None:
            assert bench.applier.apply_all(steps, now_ns=NOW) == [None] * 3

        lived = _dies_at(budget, act)
        found = bench.content()
        kept = [path.read_bytes() for path in (place / ".quintet" / "trash").rglob("[fg]*")]
        for _, staged in steps:
            if staged is not None:
                staged.close()
        bench.close()

        assert found["d/f"] in (b"old", b"new")
        assert found["d/f"] == b"old" or b"old" in kept
        assert found.get("d/gone") == b"deleted" or b"deleted" in kept
        assert found.get("d/new", b"fresh") == b"fresh"
        outcomes.add((found["d/f"], "d/new" in found, "d/gone" in found))
        if lived:
            break

    assert lived
    assert {(b"old", False, True), (b"new", False, True), (b"new", True, False)} <= outcomes


@pytest.mark.root
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """The step fails by its name, old content and staged content stay."""
    (tmp_path / "disk").mkdir()
    with _disk(tmp_path / "disk", "size=64k"):
        (tmp_path / "disk" / "f").write_bytes(b"old")
        bench = Bench(tmp_path / "disk")
        try:
            staged = bench.staged(b"new")
            expected = bench.entry((b"f",))
            with bench.staging.new_file() as filling, pytest.raises(NoSpace):
                filling.write(b"x" * 100_000)
            with pytest.raises(NoSpace):
                bench.apply(copy_to((b"f",), expected), staged)

            assert (tmp_path / "disk" / "f").read_bytes() == b"old"
            assert staged.digest()
            staged.close()
        finally:
            bench.close()


@pytest.mark.root
def test_a_disk_without_writing_is_named(tmp_path: Path) -> None:
    """Neither staging nor a step begins on it."""
    (tmp_path / "disk").mkdir()
    with _disk(tmp_path / "disk", "size=64k"):
        (tmp_path / "disk" / "f").write_bytes(b"old")
        bench = Bench(tmp_path / "disk")
        try:
            step = Delete(**WHO, path=(b"f",), expected=bench.entry((b"f",)))
            subprocess.run(("mount", "-o", "remount,ro", str(tmp_path / "disk")), check=True)
            with pytest.raises(ReadOnly):
                bench.apply(step)
            with pytest.raises(ReadOnly):
                Staging(bench.root, b"\x09")
        finally:
            bench.close()

        assert (tmp_path / "disk" / "f").read_bytes() == b"old"


@pytest.mark.root
def test_a_place_on_another_disk_is_refused_unharmed(bench: Bench) -> None:
    """No rename reaches from the staging of one file system into another."""
    with _disk(bench.place / "d", "size=64k"):
        (bench.place / "d" / "f").write_bytes(b"old")
        expected = bench.entry(F)
        for step in (copy_to(F, expected), copy_to(NEW), Delete(**WHO, path=F, expected=expected)):
            staged = bench.staged(b"new") if isinstance(step, CopyFile) else None
            with pytest.raises(FileError) as caught:
                bench.apply(step, staged)
            assert caught.value.code == "fs.other_device"
            if staged is not None:
                staged.discard()

        assert bench.content() == {"d/f": b"old"}


@contextlib.contextmanager
def _disk(place: Path, options: str) -> Iterator[None]:
    done = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", options, "none", str(place)),
        check=False,
        capture_output=True,
    )
    if done.returncode:
        if os.environ.get("CI") == "true":
            pytest.fail("needs root")
        pytest.skip("needs root")
    try:
        yield
    finally:
        subprocess.run(("umount", str(place)), check=True)
