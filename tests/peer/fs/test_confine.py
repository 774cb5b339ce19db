import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.fs import syscalls
from peer.fs.confine import RESERVED, Folder, Root
from peer.fs.errors import (
    Denied,
    Exists,
    FileError,
    Missing,
    NameRefused,
    NotADirectory,
    Outside,
    SpecialFile,
)
from protocol.messages.inventory import Kind


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source ``root`` with a file in a folder, and a folder ``out`` beside it."""
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "f").write_bytes(b"content")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret").write_bytes(b"secret")
    return tmp_path


def _entries(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


hostile = st.sampled_from(
    (
        *(b"", b".", b"..", b"/", b"/etc", b"a/b", b"../out", b"a\0b", b".quintet", b".QuinTet"),
        *(".qu\u200dintet".encode(), b"x" * 256, b"link", b"a", b"f", b"\xff\xfe"),
    )
)
components = hostile | st.binary(min_size=1, max_size=8)


@given(path=st.lists(components, max_size=4).map(tuple))
def test_no_path_leads_out_of_the_root(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[bytes, ...]
) -> None:
    """Whatever the components, what is opened is below the root or refused by our own errors."""
    base = tmp_path_factory.mktemp("case")
    (base / "root" / "a").mkdir(parents=True)
    (base / "root" / "a" / "f").write_bytes(b"mine")
    (base / "root" / RESERVED.decode()).mkdir()
    (base / "out").mkdir()
    (base / "root" / "link").symlink_to(base / "out")

    with Root(base / "root") as root:
        try:
            folder, name = root.parent(path)
        except FileError:
            return
        with folder:
            place = Path(f"/proc/self/fd/{folder.handle}").resolve()

    inside = (base / "root").resolve()
    assert place == inside or inside in place.parents
    assert RESERVED.decode() not in place.relative_to(inside).parts
    assert b"/" not in name
    assert name not in (b"", b".", b"..", RESERVED)


@pytest.mark.parametrize(
    "path", [(b"..",), (b"",), (b"a", b"."), (b"a/f",), (b".quintet", b"trash"), (b"a",) * 129, ()]
)
def test_what_is_no_path_of_the_source_is_outside(tree: Path, path: tuple[bytes, ...]) -> None:
    """Refused before the system is asked."""
    with Root(tree / "root") as root, pytest.raises(Outside):
        root.parent(path)


def test_a_link_is_never_crossed(tree: Path) -> None:
    """Neither as a parent, nor as the file, nor as the folder."""
    (tree / "root" / "link").symlink_to(tree / "out")
    (tree / "root" / "file").symlink_to(tree / "out" / "secret")

    with Root(tree / "root") as root:
        with pytest.raises(NotADirectory):
            root.open_file((b"link", b"secret"))
        with pytest.raises(NotADirectory):
            root.folder((b"link",))
        with pytest.raises(SpecialFile):
            root.open_file((b"file",))


def test_a_parent_swapped_for_a_link_catches_nothing(tree: Path) -> None:
    """The file lands in the folder that was opened, wherever that was moved to (T16)."""
    with Root(tree / "root") as root:
        held = root.folder((b"a",))
        (tree / "root" / "a").rename(tree / "root" / "moved")
        (tree / "root" / "a").symlink_to(tree / "out")
        with held, root.reserved(b"staging", create=True) as staging:
            os.close(staging.create_file(b"new"))
            staging.rename_into(b"new", held, b"landed")

    assert _entries(tree / "out") == {"secret"}
    assert (tree / "root" / "moved" / "landed").exists()


def test_a_link_planted_in_the_place_of_the_reserved_folder_is_refused(tree: Path) -> None:
    """Staging and trash are walked like everything else."""
    (tree / "root" / RESERVED.decode()).symlink_to(tree / "out")

    with Root(tree / "root") as root, pytest.raises(NotADirectory):
        root.reserved(b"staging", create=True)

    assert _entries(tree / "out") == {"secret"}


def test_pipes_and_devices_are_not_opened(tree: Path) -> None:
    """Opening a pipe would wait for its other end."""
    os.mkfifo(tree / "root" / "pipe")

    with Root(tree / "root") as root, pytest.raises(SpecialFile):
        root.open_file((b"pipe",))


def test_a_pipe_swapped_in_after_the_look_is_not_read(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened without waiting and given up when the handle tells."""
    os.mkfifo(tree / "root" / "pipe")
    regular = (tree / "root" / "a" / "f").stat()

    def look(*_: object, **__: object) -> os.stat_result:
        return regular

    with Root(tree / "root") as root:
        monkeypatch.setattr(os, "stat", look)
        with pytest.raises(SpecialFile):
            root.open_file((b"pipe",))


def test_a_single_file_is_confined_to_its_one_name(tree: Path) -> None:
    """The path () is the file; its neighbours do not exist."""
    (tree / "root" / "a" / "g").write_bytes(b"neighbour")

    with Root(tree / "root" / "a" / "f") as root:
        assert root.kind is Kind.FILE
        assert stat.S_ISREG(root.stat(()).st_mode)
        with pytest.raises(Outside):
            root.stat((b"g",))
        with pytest.raises(NotADirectory):
            root.folder(())
        os.close(root.open_file(()))


def test_a_single_file_may_be_absent(tree: Path) -> None:
    """A source whose file was deleted can still receive it."""
    with Root(tree / "root" / "gone", kind=Kind.FILE) as root, pytest.raises(Missing):
        root.stat(())


def test_a_root_is_a_file_or_a_directory(tree: Path) -> None:
    """A link would be resolved by whoever checks the source, never here."""
    (tree / "link").symlink_to(tree / "root")

    with pytest.raises(SpecialFile):
        Root(tree / "link")
    with pytest.raises(Missing):
        Root(tree / "nowhere")


def test_closed_paths_are_outside(tree: Path) -> None:
    """The peer's own state within a source is reached by no step, in whatever case."""
    with Root(tree / "root", closed=((b"a", b"state"),)) as root:
        root.parent((b"a", b"other"))[0].close()
        for path in ((b"a", b"state"), (b"A", b"State", b"key")):
            with pytest.raises(Outside):
                root.check(path)


def test_paths_longer_than_the_system_takes_are_walked(tmp_path: Path) -> None:
    """Handles reach where no absolute path does."""
    path = (b"d" * 200,) * 30
    with Root(tmp_path) as root:
        for depth in range(len(path)):
            folder, name = root.parent(path[: depth + 1])
            with folder:
                folder.make_folder(name, 0o700)
        with root.folder(path) as deepest:
            os.close(deepest.create_file(b"f"))

        assert root.stat((*path, b"f")).st_size == 0

        root.top.remove_tree(path[0])


def test_what_is_new_never_replaces(tree: Path) -> None:
    """Creating and moving without replacing say what they met."""
    with Root(tree / "root") as root, root.folder((b"a",)) as folder:
        with pytest.raises(Exists):
            folder.create_file(b"f")
        os.close(folder.create_file(b"g"))
        with pytest.raises(Exists):
            folder.rename_new(b"g", folder, b"f")
        folder.exchange(b"g", folder, b"f")

        assert folder.stat(b"g").st_size == len(b"content")
        assert folder.stat(b"f").st_size == 0


def test_dates_before_1970_and_nanoseconds_are_kept(tree: Path) -> None:
    """The access time stays what it was."""
    before = (tree / "root" / "a" / "f").stat().st_atime_ns
    with Root(tree / "root") as root, root.folder((b"a",)) as folder:
        folder.set_date(b"f", -1_000_000_001)

        assert folder.stat(b"f").st_mtime_ns == -1_000_000_001
        assert folder.stat(b"f").st_atime_ns == before


def test_a_mode_is_set_on_files_and_directories_only(tree: Path) -> None:
    """A link would hand the change on to its target."""
    (tree / "root" / "link").symlink_to(tree / "out" / "secret")
    mode = (tree / "out" / "secret").stat().st_mode
    with Root(tree / "root") as root:
        root.top.set_mode(b"a", 0o750)
        with pytest.raises(SpecialFile):
            root.top.set_mode(b"link", 0o777)

    assert stat.S_IMODE((tree / "root" / "a").stat().st_mode) == 0o750
    assert (tree / "out" / "secret").stat().st_mode == mode


def test_a_folder_tells_its_names_as_bytes_in_order(tree: Path) -> None:
    """Names that are no UTF-8 are names too."""
    (tree / "root" / os.fsdecode(b"\xff")).write_bytes(b"")
    (tree / "root" / "é").write_bytes(b"")
    with Root(tree / "root") as root:
        assert root.top.names() == [b"a", "é".encode(), b"\xff"]


def test_removing_our_own_tree_does_not_follow_links(tree: Path) -> None:
    """A link within is removed as a link."""
    (tree / "root" / "a" / "link").symlink_to(tree / "out")
    with Root(tree / "root") as root:
        root.top.remove_tree(b"a")

    assert _entries(tree) == {"root", "out", "out/secret"}


def test_a_closed_folder_answers_with_an_error(tree: Path) -> None:
    """Closing twice is harmless; what is closed is used no more."""
    root = Root(tree / "root")
    root.close()
    root.close()

    with pytest.raises(FileError):
        root.stat((b"a",))


def test_a_file_system_without_exchange_says_so(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers fall back to links and copies."""

    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(syscalls, "renameat2", refuse)
    with Root(tree / "root") as root, pytest.raises(NameRefused):
        root.top.exchange(b"a", root.top, b"b")


@pytest.mark.root
def test_a_place_without_rights_is_denied(tree: Path) -> None:
    """Asked as another user, since root may do everything."""
    if os.geteuid():
        if os.environ.get("CI") == "true":
            pytest.fail("needs root")
        pytest.skip("needs root")
    (tree / "root" / "a").chmod(0o700)
    with Root(tree / "root") as root:
        os.seteuid(65534)
        try:
            with pytest.raises(Denied):
                root.stat((b"a", b"f"))
        finally:
            os.seteuid(0)


def test_handles_are_given_back(tree: Path) -> None:
    """Failing walks leave none open."""
    with Root(tree / "root") as root:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for path in ((b"a", b"f", b"x"), (b"gone", b"x"), (b"a", b"f")):
            try:
                root.parent(path)[0].close()
            except FileError:
                continue
        with Folder(os.dup(root.top.handle)) as folder:
            folder.names()

        assert len(list(Path("/proc/self/fd").iterdir())) == before
