import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.fs.confine import Root
from peer.fs.errors import FileError
from peer.fs.trash import Trash, expire, items, locate
from protocol.messages.inventory import Kind, RelPath

SYNC = b"\x01\x02"
DAY = 24 * 3600 * 10**9


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """A source with a few files."""
    (tmp_path / "d").mkdir()
    for name in ("d/f", "g", os.fsdecode(b"\xff\n")):
        (tmp_path / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    with Root(tmp_path) as root:
        yield root


def _clear(root: Root, trash: Trash, path: RelPath, when_ns: int = 0) -> None:
    folder, name = root.parent(path)
    with folder:
        layer, (target, new) = trash.place(path)
        trash.note(path, layer, folder.stat(name), when_ns=when_ns, reason="deleted")
        folder.rename_into(name, target, new)


def test_what_comes_keeps_its_path_content_and_date(root: Root, tmp_path: Path) -> None:
    """Names that are no text too; the manifest tells what came and when."""
    os.utime(tmp_path / "d" / "f", ns=(0, -7))
    with Trash(root, SYNC) as trash:
        _clear(root, trash, (b"d", b"f"), when_ns=5)
        _clear(root, trash, (b"\xff\n",), when_ns=6)
        trash.sync()

    place = tmp_path / ".quintet" / "trash" / "0102" / "0"
    assert (place / "d" / "f").read_bytes() == b"d/f"
    found = items(root, SYNC)
    assert [(item.path, item.when_ns, item.reason) for item in found] == [
        ((b"d", b"f"), 5, "deleted"),
        ((b"\xff\n",), 6, "deleted"),
    ]
    assert (found[0].kind, found[0].size, found[0].mtime_ns) == (Kind.FILE, 3, -7)
    folder, name = locate(root, SYNC, found[1])
    with folder:
        assert folder.stat(name).st_size == 2
    assert items(root, b"\x09") == []


def test_a_place_cleared_twice_keeps_both(root: Root, tmp_path: Path) -> None:
    """Also below what had been a file, and where there had been a folder."""
    with Trash(root, SYNC) as trash:
        _clear(root, trash, (b"g",))
        (tmp_path / "g").mkdir()
        (tmp_path / "g" / "inner").write_bytes(b"inner")
        _clear(root, trash, (b"g", b"inner"))
        (tmp_path / "g").rmdir()
        (tmp_path / "g").write_bytes(b"again")
        _clear(root, trash, (b"g",))

    assert [(item.path, item.layer) for item in items(root, SYNC)] == [
        ((b"g",), 0),
        ((b"g", b"inner"), 1),
        ((b"g",), 2),
    ]
    assert (tmp_path / ".quintet" / "trash" / "0102" / "2" / "g").read_bytes() == b"again"


def test_a_single_file_lies_under_its_name(tmp_path: Path) -> None:
    """Its path is empty, its place in the trash is not."""
    (tmp_path / "f").write_bytes(b"content")
    with Root(tmp_path / "f") as root:
        with Trash(root, SYNC) as trash:
            _clear(root, trash, ())

        assert [item.path for item in items(root, SYNC)] == [()]
    assert (tmp_path / ".quintet" / "trash" / "0102" / "0" / "f").read_bytes() == b"content"


def test_a_line_without_its_item_does_not_count(root: Root, tmp_path: Path) -> None:
    """It was noted and never came, or something else stands there."""
    with Trash(root, SYNC) as trash:
        layer, (folder, name) = trash.place((b"g",))
        trash.note((b"g",), layer, root.stat((b"g",)), when_ns=0, reason="replaced")
        os.close(folder.create_file(name))
        trash.note((b"d", b"f"), 0, root.stat((b"d", b"f")), when_ns=0, reason="replaced")

    assert items(root, SYNC) == []


FIELDS = b'"kind": "file", "size": 1, "mtime_ns": 0, "when_ns": 0, "reason": ""}'


@pytest.mark.parametrize(
    "line",
    [
        b'{"path": "g", "lay',
        b"[]",
        b'{"path": 5}',
        b'{"path": "../g", "layer": 0, ' + FIELDS,
        b'{"path": "g", "layer": -1, ' + FIELDS,
        b"x" * 100_000,
    ],
)
def test_a_broken_line_spoils_no_other(root: Root, tmp_path: Path, line: bytes) -> None:
    """A crash cuts the last one; the next begins on its own."""
    with Trash(root, SYNC) as trash:
        _clear(root, trash, (b"d", b"f"))
    with (tmp_path / ".quintet" / "trash" / "0102" / "manifest.jsonl").open("ab") as file:
        file.write(line)
    with Trash(root, SYNC) as trash:
        _clear(root, trash, (b"g",))

    assert [item.path for item in items(root, SYNC)] == [(b"d", b"f"), (b"g",)]


def test_a_synchronisation_expires_as_a_whole(root: Root, tmp_path: Path) -> None:
    """Thirty days after the last thing came; others stay."""
    with Trash(root, b"\x01") as old, Trash(root, b"\x02") as new:
        _clear(root, old, (b"g",), when_ns=DAY)
        _clear(root, old, (b"\xff\n",), when_ns=2 * DAY)
        _clear(root, new, (b"d", b"f"), when_ns=40 * DAY)

    assert expire(root, 32 * DAY) == 0
    assert expire(root, 32 * DAY + 1) == 1
    assert [path.name for path in (tmp_path / ".quintet" / "trash").iterdir()] == ["02"]
    assert expire(root, 100 * DAY) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    assert expire(root, 100 * DAY) == 0


def test_trash_without_a_manifest_expires_by_its_own_date(root: Root, tmp_path: Path) -> None:
    """Whatever was lost of it."""
    (tmp_path / ".quintet" / "trash" / "ff").mkdir(parents=True)
    (tmp_path / ".quintet" / "trash" / "stray").touch()
    for name in ("ff", "stray"):
        os.utime(tmp_path / ".quintet" / "trash" / name, ns=(0, DAY))

    assert expire(root, 3 * DAY, keep_days=1) == 2


def test_a_manifest_that_is_a_link_is_refused(root: Root, tmp_path: Path) -> None:
    """Nothing outside is written to."""
    (tmp_path / ".quintet" / "trash" / "0102").mkdir(parents=True)
    (tmp_path / ".quintet" / "trash" / "0102" / "manifest.jsonl").symlink_to(tmp_path / "g")

    with Trash(root, SYNC) as trash, pytest.raises(FileError):
        _clear(root, trash, (b"d", b"f"))

    assert (tmp_path / "g").read_bytes() == b"g"
