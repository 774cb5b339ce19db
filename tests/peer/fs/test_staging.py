import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from peer.fs.confine import Root
from peer.fs.errors import Exists, FileError, Missing, NoSpace
from peer.fs.staging import Staging, clean_leftovers

SYNC = b"\x01\x02"
FOLDER = Path(".quintet/staging/0102")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """An empty source."""
    with Root(tmp_path) as root:
        yield root


@pytest.fixture
def staging(root: Root) -> Iterator[Staging]:
    """Its staging for one synchronisation."""
    with Staging(root, SYNC) as staging:
        yield staging


def test_staging_is_for_its_user_alone(staging: Staging, tmp_path: Path) -> None:
    """Folders 0700, files 0600, whatever the mask of the process."""
    with staging.new_file() as staged:
        staged.write(b"content")

    for folder in (FOLDER, FOLDER.parent, FOLDER.parent.parent):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700
    (file,) = (tmp_path / FOLDER).iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == b"content"


def test_what_is_written_in_order_is_hashed_on_the_way(staging: Staging) -> None:
    """Its digest needs no reading."""
    with staging.new_file() as staged:
        staged.write(b"one")
        staged.write(memoryview(b"two"))
        before = Path("/proc/self/io").read_text(encoding="ascii").split("syscr: ")[1].split()[0]
        digest = staged.digest()
        after = Path("/proc/self/io").read_text(encoding="ascii").split("syscr: ")[1].split()[0]

    assert digest == blake3(b"onetwo").digest()
    # Reading the counters is all that was read.
    assert int(after) - int(before) <= 3


def test_blocks_may_come_in_any_order(staging: Staging) -> None:
    """The digest is then read back; so is that of a block written twice."""
    with staging.new_file() as late, staging.new_file() as twice:
        late.write_at(3, b"two")
        late.write_at(0, b"one")
        twice.write(b"onXtwo")
        twice.write_at(2, b"e")

        assert late.digest() == twice.digest() == blake3(b"onetwo").digest()
        assert late.size == twice.size == 6


def test_a_later_run_finds_a_file_by_its_name(root: Root) -> None:
    """What was received before a crash need not travel again."""
    with Staging(root, SYNC) as first, first.new_file(b"00ff") as staged:
        staged.write(b"one")
    with Staging(root, SYNC) as second:
        with pytest.raises(Exists):
            second.new_file(b"00ff")
        with pytest.raises(Missing):
            second.reopen(b"00fe")
        with second.reopen(b"00ff") as staged:
            staged.write(b"two")

            assert staged.digest() == blake3(b"onetwo").digest()


def test_numbers_of_an_earlier_run_are_passed_over(root: Root) -> None:
    """Two runs of one synchronisation never share a file."""
    with Staging(root, SYNC) as first, first.new_file() as one:
        one.write(b"one")
        with Staging(root, SYNC) as second, second.new_file() as two:
            assert two.name != one.name


def test_a_clone_has_the_whole_content(staging: Staging, tmp_path: Path) -> None:
    """By shared blocks, by the system's copy, or by reading: longer content is cut."""
    content = os.urandom(3_000_000)
    (tmp_path / "f").write_bytes(content)
    handle = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        with staging.new_file() as staged:
            staged.write(b"x" * 4_000_000)
            staged.clone(handle)

            assert staged.size == len(content)
            assert staged.digest() == blake3(content).digest()
    finally:
        os.close(handle)


def test_a_clone_is_read_where_the_system_cannot_copy(
    staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across file systems of old kernels."""

    def refuse(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    content = os.urandom(3_000_000)
    (tmp_path / "f").write_bytes(content)
    handle = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        with staging.new_file() as staged:
            staged.clone(handle)

            assert staged.digest() == blake3(content).digest()
    finally:
        os.close(handle)


def test_a_finished_file_has_its_date_and_bits_and_no_reserve(
    staging: Staging, tmp_path: Path
) -> None:
    """Space taken in advance beyond the content is given back."""
    with staging.new_file() as staged:
        staged.reserve(0)
        staged.reserve(1_000_000)
        staged.write(b"content")
        staged.finish(0o640, -5)
        staged.sync()

    status = (tmp_path / FOLDER / os.fsdecode(staged.name)).stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns, status.st_size) == (0o640, -5, 7)
    assert status.st_blocks * 512 < 100_000


def test_what_ended_leaves_nothing(root: Root, tmp_path: Path) -> None:
    """Neither a discarded file nor a cleaned folder."""
    staging = Staging(root, SYNC)
    staged = staging.new_file()
    staged.discard()
    staged.discard()
    left = list((tmp_path / FOLDER).iterdir())
    staging.new_file().close()
    staging.clean()

    assert left == []
    assert list(tmp_path.iterdir()) == []


def test_leftovers_go_but_what_may_go_on_stays(root: Root, tmp_path: Path) -> None:
    """A crashed run's folder is removed at the next start, the trash untouched."""
    for sync_id in (b"\x01", b"\x02"):
        with Staging(root, sync_id) as staging:
            staging.new_file().close()
            staging.new_link(b"/nowhere", 5)
    (tmp_path / ".quintet" / "trash").mkdir()
    (tmp_path / ".quintet" / "staging" / "stray").touch()

    removed = clean_leftovers(root, keep=frozenset({b"\x02"}))

    assert removed == 2
    assert sorted(path.name for path in (tmp_path / ".quintet").rglob("*")) == [
        *("00000000", "00000001", "02", "staging", "trash"),
    ]
    assert clean_leftovers(root) == 1
    assert [path.name for path in (tmp_path / ".quintet").iterdir()] == ["trash"]


def test_nothing_to_clean_is_no_error(root: Root, tmp_path: Path) -> None:
    """A source nothing was ever received in."""
    assert clean_leftovers(root) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_single_file_has_its_staging_beside_it(tmp_path: Path) -> None:
    """On the same file system, out of sight."""
    (tmp_path / "f").touch()
    with Root(tmp_path / "f") as root, Staging(root, SYNC):
        assert (tmp_path / FOLDER).is_dir()


def test_errors_of_a_closed_file_are_ours(staging: Staging) -> None:
    """The system's own never escape."""
    staged = staging.new_file()
    staged.close()
    staged.handle = 1_000_000
    acts = [
        lambda: staged.write(b"x"),
        staged.sync,
        lambda: staged.finish(0o600, 0),
        lambda: staged.clone(0),
        lambda: staged.reserve(1),
    ]
    for act in acts:
        with pytest.raises(FileError):
            act()


@contextlib.contextmanager
def small_disk(place: Path, options: str) -> Iterator[None]:
    """Mount a tmpfs at *place*; needs root."""
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


@pytest.mark.root
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """When space is taken in advance, when content is written, when one is copied."""
    (tmp_path / "large").write_bytes(b"x" * 2_000_000)
    (tmp_path / "disk").mkdir()
    handle = os.open(tmp_path / "large", os.O_RDONLY)
    try:
        with (
            small_disk(tmp_path / "disk", "size=1m"),
            Root(tmp_path / "disk") as root,
            Staging(root, SYNC) as staging,
            staging.new_file() as staged,
        ):
            with pytest.raises(NoSpace):
                staged.reserve(2_000_000)
            with pytest.raises(NoSpace):
                staged.write(bytes(2_000_000))
            with pytest.raises(NoSpace):
                staged.clone(handle)
    finally:
        os.close(handle)
