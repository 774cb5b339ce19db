import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.inventory.stamp import Stamp
from peer.store import index as module
from peer.store.errors import StateUnusable
from peer.store.index import KEEP_DAYS, SETTLING_NS, TOUCH_DAYS, Index, RootIndex
from protocol.messages.inventory import RelPath

DAY = 24 * 3600 * 10**9
NOW = 20_000 * DAY
STAMP = Stamp(size=5, mtime_ns=NOW - DAY, ctime_ns=NOW - DAY, inode=2**64 - 1)
DIGEST = bytes(range(32))


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An empty index."""
    with Index(tmp_path / "index.sqlite") as index:
        yield index


@pytest.fixture
def root(index: Index) -> RootIndex:
    """Its part for one root."""
    return index.root(1, 2, Path("/data"))


def _get(root: RootIndex, *paths: RelPath, stamp: Stamp = STAMP, now: int = NOW) -> list[object]:
    return list(root.get([(path, stamp) for path in paths], now_ns=now))


def _put(root: RootIndex, *paths: RelPath, stamp: Stamp = STAMP, now: int = NOW) -> None:
    root.put([(path, stamp, DIGEST) for path in paths], read_at_ns=now)


def test_a_known_digest_is_found_by_path_and_stamp(root: RootIndex) -> None:
    """Names that are no text and a file root's empty path too; nothing asked, nothing told."""
    _put(root, (b"a", b"\xff"), ())

    assert _get(root, (b"a", b"\xff"), (), (b"a",)) == [DIGEST, DIGEST, None]
    assert _get(root) == []


@pytest.mark.parametrize("field", Stamp._fields)
def test_any_other_stamp_is_another_content(root: RootIndex, field: str) -> None:
    """Size, date, change time or number."""
    _put(root, (b"a",))
    other = STAMP._replace(**{field: getattr(STAMP, field) - 1})

    assert _get(root, (b"a",), stamp=other) == [None]
    _put(root, (b"a",), stamp=other)
    assert _get(root, (b"a",), stamp=other) == [DIGEST]
    assert _get(root, (b"a",)) == [None]


@pytest.mark.parametrize("field", ["mtime_ns", "ctime_ns"])
@pytest.mark.parametrize(("rested", "kept"), [(SETTLING_NS, None), (SETTLING_NS + 1, DIGEST)])
def test_a_file_written_just_before_it_was_read_is_not_trusted(
    root: RootIndex, field: str, rested: int, kept: bytes | None
) -> None:
    """It could have been written again within the resolution of its dates."""
    stamp = STAMP._replace(**{field: NOW - rested})
    _put(root, (b"a",), stamp=stamp)

    assert _get(root, (b"a",), stamp=stamp) == [kept]


def test_roots_are_apart(index: Index, root: RootIndex) -> None:
    """Another device, directory or path is another root; the same is found again."""
    _put(root, (b"a",))

    for other in ((9, 2, "/data"), (1, 9, "/data"), (1, 2, "/other")):
        assert _get(index.root(other[0], other[1], Path(other[2])), (b"a",)) == [None]
    assert _get(index.root(1, 2, Path("/data")), (b"a",)) == [DIGEST]


def test_digests_outlive_the_program(tmp_path: Path) -> None:
    """That is what they are kept for."""
    with Index(tmp_path / "i") as index:
        _put(index.root(1, 2, Path("/")), (b"a",))
    with Index(tmp_path / "i") as index:
        assert _get(index.root(1, 2, Path("/")), (b"a",)) == [DIGEST]


names = st.binary(min_size=1, max_size=3).filter(lambda name: b"\0" not in name)
paths = st.lists(names, max_size=3).map(tuple)


@given(known=st.sets(paths, max_size=60), wanted=st.lists(paths, max_size=10))
def test_every_batch_is_answered_like_one_by_one(
    known: set[RelPath], wanted: list[RelPath]
) -> None:
    """In whatever order, however few of many."""
    with Index(Path(":memory:")) as index:
        root = index.root(1, 2, Path("/"))
        _put(root, *sorted(known))

        assert _get(root, *wanted) == [DIGEST if path in known else None for path in wanted]


def test_what_nobody_asks_for_is_dropped_in_time(index: Index, root: RootIndex) -> None:
    """What is asked for stays, though asking seldom writes."""
    _put(root, (b"a",), (b"b",))
    later = NOW + (TOUCH_DAYS + 1) * DAY
    _get(root, (b"a",), now=NOW + DAY)
    _get(root, (b"a",), now=later)

    assert index.prune(NOW + KEEP_DAYS * DAY) == 0
    assert index.prune(NOW + (KEEP_DAYS + 1) * DAY) == 1
    assert _get(root, (b"a",), (b"b",), now=later) == [DIGEST, None]


def test_the_index_is_bounded(
    index: Index, root: RootIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in use last stays."""
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    _put(root, (b"a",), (b"b",))
    _put(root, (b"c",), now=NOW + DAY)

    assert index.prune(NOW + DAY) == 1
    assert _get(root, (b"c",)) == [DIGEST]


def test_a_root_is_forgotten(root: RootIndex) -> None:
    """On request, such as for a check of everything."""
    _put(root, (b"a",))
    root.forget()

    assert _get(root, (b"a",)) == [None]


def test_a_broken_file_is_begun_anew(tmp_path: Path) -> None:
    """It holds nothing that cannot be computed again; so does one of another version."""
    (tmp_path / "i").write_bytes(b"no database" * 1000)
    with Index(tmp_path / "i") as index:
        _put(index.root(1, 2, Path("/")), (b"a",))
    connection = sqlite3.connect(tmp_path / "i")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with Index(tmp_path / "i") as index:
        assert _get(index.root(1, 2, Path("/")), (b"a",)) == [None]


def test_t21_the_index_is_for_its_user_alone(tmp_path: Path) -> None:
    """Whatever the umask; one made otherwise, or a link in its place, does not stay so."""
    before = os.umask(0)
    try:
        for prepare in (
            lambda path: None,
            lambda path: path.touch(0o644),
            lambda path: path.symlink_to(tmp_path / "elsewhere"),
        ):
            path = tmp_path / "i"
            path.unlink(missing_ok=True)
            prepare(path)
            with Index(path) as index:
                _put(index.root(1, 2, Path("/")), (b"a",))
                for each in tmp_path.iterdir():
                    assert stat.filemode(each.lstat().st_mode) == "-rw-------", each
    finally:
        os.umask(before)


def test_a_place_that_takes_no_file_is_unusable(tmp_path: Path) -> None:
    """The caller goes on without."""
    (tmp_path / "i").mkdir()

    with pytest.raises(StateUnusable):
        Index(tmp_path / "i")


def test_a_failing_file_is_our_error(index: Index, root: RootIndex) -> None:
    """SQLite's own do not escape."""
    index.close()

    with pytest.raises(StateUnusable):
        _get(root, (b"a",))
    with pytest.raises(StateUnusable):
        _put(root, (b"a",))


def test_threads_take_turns(root: RootIndex) -> None:
    """One writes while another asks."""
    errors: list[BaseException] = []

    def work(name: bytes) -> None:
        try:
            for number in range(20):
                _put(root, (name, b"%d" % number))
                assert _get(root, (name, b"%d" % number)) == [DIGEST]
        except BaseException as error:  # noqa: BLE001  # told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
