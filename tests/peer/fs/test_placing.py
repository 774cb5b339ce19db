import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from peer.fs import syscalls
from peer.fs.confine import Place, Root
from peer.fs.errors import ChangedSince, FileError, NoSpace
from peer.fs.placing import Placing
from peer.fs.staging import StagedFile, Staging
from peer.fs.trash import Trash

SYNC = b"\x01"
F = (b"f",)


class Scene:
    """A file ``f`` with the content ``old``, something new that waits, and a trash.

    Attributes:
        old: What ``f`` was when it was looked at.
        held: Everything whole that lies in the source, trash and staging.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "f").write_bytes(b"old")
        self.root = Root(place)
        self.staging = Staging(self.root, SYNC)
        self.trash = Trash(self.root, SYNC)
        self.placing = Placing(self.trash)
        self.staged: StagedFile = self.staging.new_file()
        self.staged.write(b"new")
        self.target = Place(self.root.top, b"f")
        self.old = self.root.stat(F)

    def close(self) -> None:
        self.staged.close()
        self.trash.close()
        self.staging.close()
        self.root.close()

    def over(self) -> None:
        self.placing.put_over(self.staged.place, self.target, self.old, F, now_ns=0)

    def clear(self) -> None:
        self.placing.clear(self.target, self.old, F, now_ns=0)

    def new(self) -> None:
        self.placing.put_new(self.staged.place, self.target)

    @property
    def held(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.place)): path.read_bytes()
            for path in self.place.rglob("*")
            if path.is_file() and path.name != "manifest.jsonl"
        }


STAGED = ".quintet/staging/01/00000000"
KEPT = ".quintet/trash/01/0/f"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """On this machine's file system, which can exchange."""
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def _all(_: pytest.MonkeyPatch) -> None:
    return


def _no_exchange(patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    patch.setattr(syscalls, "renameat2", refuse)


def _no_links(patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    _no_exchange(patch)
    patch.setattr(os, "link", refuse)


ways = pytest.mark.parametrize(
    "way", [_all, _no_exchange, _no_links], ids=["exchange", "link", "copy"]
)
Way = Callable[[pytest.MonkeyPatch], None]


@ways
def test_the_new_takes_the_place_and_the_old_is_kept(
    scene: Scene, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the file system can; twice, since the first time teaches."""
    way(monkeypatch)
    os.utime(scene.place / "f", ns=(0, -7))
    scene.old = scene.root.stat(F)
    scene.over()
    with scene.staging.new_file() as again:
        again.write(b"newer")
        scene.placing.put_over(again.place, scene.target, scene.root.stat(F), F, now_ns=0)

    assert scene.held == {"f": b"newer", KEPT: b"old", ".quintet/trash/01/1/f": b"new"}
    assert (scene.place / KEPT).stat().st_mtime_ns == -7


@ways
def test_a_link_is_replaced_as_a_link(
    scene: Scene, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one is kept with its target and date."""
    way(monkeypatch)
    (scene.place / "f").unlink()
    (scene.place / "f").symlink_to("somewhere")
    scene.root.top.set_date(b"f", -5)
    scene.old = scene.root.stat(F)
    scene.over()

    assert scene.held == {"f": b"new"}
    assert (scene.place / KEPT).readlink() == Path("somewhere")
    assert (scene.place / KEPT).lstat().st_mtime_ns == -5


@ways
@pytest.mark.parametrize("how", ["written", "replaced", "removed", "directory"])
def test_what_changed_at_the_last_moment_stays(
    scene: Scene, way: Way, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last look: the step fails, the other's content is where it put it."""
    way(monkeypatch)
    if how == "written":
        (scene.place / "f").write_bytes(b"other content")
    else:
        (scene.place / "f").unlink()
    if how == "replaced":
        (scene.place / "f").write_bytes(b"oth")
    if how == "directory":
        (scene.place / "f").mkdir()
        (scene.place / "f" / "inner").write_bytes(b"inner")
    before = scene.held

    with pytest.raises(ChangedSince):
        scene.over()

    assert scene.held == before
    with pytest.raises(ChangedSince):
        scene.clear()
    assert scene.held == before


def test_what_is_deleted_and_made_again_at_once_is_kept_twice(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first other content cannot return to its place: it stays in the trash."""
    (scene.place / "f").write_bytes(b"other")
    real = os.rename

    def rename_and_make_again(*args: object, **options: object) -> None:
        real(*args, **options)  # type: ignore[arg-type]
        (scene.place / "f").write_bytes(b"third")

    monkeypatch.setattr(os, "rename", rename_and_make_again)
    with pytest.raises(ChangedSince):
        scene.clear()

    assert scene.held == {"f": b"third", KEPT: b"other", STAGED: b"new"}


@ways
def test_what_is_new_never_takes_a_place(
    scene: Scene, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands there; where nothing does it is put."""
    way(monkeypatch)
    with pytest.raises(ChangedSince):
        scene.new()
    assert scene.held == {"f": b"old", STAGED: b"new"}

    (scene.place / "f").unlink()
    scene.new()

    assert scene.held == {"f": b"new"}


@pytest.mark.parametrize("call", ["renameat2", "link", "copy_file_range"])
def test_a_failing_disk_leaves_everything_as_it_was(
    scene: Scene, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On each of the three ways; what is new still waits."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if call == "renameat2":
        monkeypatch.setattr(syscalls, "renameat2", fail)
    elif call == "link":
        _no_exchange(monkeypatch)
        monkeypatch.setattr(os, "link", fail)
    else:
        _no_links(monkeypatch)
        monkeypatch.setattr(os, call, fail)

    with pytest.raises(NoSpace):
        scene.over()

    assert scene.held == {"f": b"old", STAGED: b"new"}


@pytest.mark.parametrize("call", ["renameat2", "link"])
def test_a_disk_that_fails_on_something_new_leaves_it_waiting(
    scene: Scene, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is tried."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    (scene.place / "f").unlink()
    if call == "link":
        _no_exchange(monkeypatch)
        monkeypatch.setattr(os, "link", fail)
    else:
        monkeypatch.setattr(syscalls, "renameat2", fail)

    with pytest.raises(FileError):
        scene.new()

    assert scene.held == {STAGED: b"new"}
