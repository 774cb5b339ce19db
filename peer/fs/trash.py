"""The trash of a root: what a synchronisation replaced or deleted, whole and with its date.

::

    .quintet/trash/<synchronisation>/manifest.jsonl     one line for everything that came here
    .quintet/trash/<synchronisation>/<layer>/<path>     as it lay in the source

The layer is 0 unless the path was taken there already: the same place was cleared twice, or is
now below what had been a file. A line is written before its item arrives; a line without an
item of its size and date describes something that never came and does not count.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from peer.fs.confine import RESERVED, Folder, Place, Root, kind_of
from peer.fs.errors import FileError, Missing, NotADirectory, file_error
from protocol.limits import MAX_DEPTH, MIB
from protocol.messages.inventory import Kind, RelPath

TRASH: Final = b"trash"
MANIFEST: Final = b"manifest.jsonl"

KEEP_DAYS: Final = 30
"""Days the trash is kept unless the user says otherwise (product.md, section 8)."""

_DAY_NS: Final = 24 * 3600 * 10**9

_MAX_LINE: Final = 32 * 1024
"""Bytes of a line: every byte of the longest path escaped, and its fields."""


class Trashed(NamedTuple):
    """One thing in the trash."""

    path: RelPath
    """Where it lay, relative to the source."""
    layer: int
    kind: Kind
    size: int
    mtime_ns: int
    when_ns: int
    """When it came here, nanoseconds since 1970."""
    reason: str
    """``replaced`` or ``deleted``."""


class Trash:
    """The trash of one synchronisation in one root; made when the first thing comes.

    Args:
        root: The source it is for.
        sync_id: Random name of the synchronisation.
    """

    def __init__(self, root: Root, sync_id: bytes) -> None:
        assert sync_id
        self._root = root
        self._id = sync_id.hex().encode()
        self._folder: Folder | None = None
        self._manifest = -1
        self._unsynced: dict[tuple[int, RelPath], Folder] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        for folder in self._unsynced.values():
            folder.close()
        self._unsynced.clear()
        if self._manifest >= 0:
            os.close(self._manifest)
            self._manifest = -1
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def place(self, path: RelPath) -> tuple[int, Place]:
        """Return a free place for what lies at *path*: its layer, and where.

        The folder stays open until ``sync`` or ``close``; it is not the caller's.

        Raises:
            FileError: If no place can be made, such as on a full disk.
        """
        inner = path if self._root.name is None else (self._root.name,)
        for layer in itertools.count():
            try:
                folder = self._parent(layer, inner[:-1])
            except NotADirectory:
                continue
            if folder.find(inner[-1]) is None:
                return layer, Place(folder, inner[-1])
        raise AssertionError("layers do not end")

    def note(
        self, path: RelPath, layer: int, status: os.stat_result, *, when_ns: int, reason: str
    ) -> None:
        """Write down what will come, before it does."""
        line = {
            "path": b"/".join(path).decode("utf-8", "surrogateescape"),
            "layer": layer,
            "kind": (kind_of(status) or Kind.FILE).name.lower(),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "mode": status.st_mode & 0o7777,
            "when_ns": when_ns,
            "reason": reason,
        }
        try:
            os.write(self._open_manifest(), json.dumps(line).encode("ascii") + b"\n")
        except OSError as error:
            raise file_error(error) from None

    def sync(self) -> None:
        """Return when everything that came is on the disk."""
        try:
            if self._manifest >= 0:
                os.fsync(self._manifest)
        except OSError as error:
            raise file_error(error) from None
        for key in sorted(self._unsynced):
            self._unsynced[key].sync()
        for folder in self._unsynced.values():
            folder.close()
        self._unsynced.clear()

    def _own(self) -> Folder:
        if self._folder is None:
            self._folder = self._root.reserved(TRASH, self._id, create=True)
        return self._folder

    def _parent(self, layer: int, path: RelPath) -> Folder:
        key = (layer, path)
        if key not in self._unsynced:
            folder = self._own().duplicate()
            for name in (b"%d" % layer, *path):
                with folder:
                    folder = folder.ensure_folder(name)
            self._unsynced[key] = folder
        return self._unsynced[key]

    def _open_manifest(self) -> int:
        if self._manifest < 0:
            self._manifest = self._own().append_file(MANIFEST)
            if os.fstat(self._manifest).st_size:
                # A crash may have cut the last line.
                os.write(self._manifest, b"\n")
        return self._manifest


def items(root: Root, sync_id: bytes) -> list[Trashed]:
    """Return what *sync_id* left in the trash of *root*, in the order it came.

    Raises:
        FileError: If the trash cannot be read; an absent one is empty.
    """
    try:
        folder = root.reserved(TRASH, sync_id.hex().encode())
    except Missing:
        return []
    with folder:
        return [item for item in _lines(folder) if _is_there(root, sync_id, item)]


def locate(root: Root, sync_id: bytes, item: Trashed) -> Place:
    """Open the folder that holds *item*; return it with the name therein."""
    inner = item.path if root.name is None else (root.name,)
    layer = b"%d" % item.layer
    return Place(root.reserved(TRASH, sync_id.hex().encode(), layer, *inner[:-1]), inner[-1])


def expire(root: Root, now_ns: int, *, keep_days: int = KEEP_DAYS) -> int:
    """Remove the trash of every synchronisation that ended over *keep_days* ago.

    A synchronisation goes as a whole, since it is undone as a whole. Returns how many went.
    """
    oldest = now_ns - keep_days * _DAY_NS
    removed = 0
    try:
        reserved = root.reserved()
    except Missing:
        return 0
    with reserved:
        with contextlib.suppress(Missing), reserved.folder(TRASH) as trash:
            for name in trash.names():
                if _last_used(trash, name) < oldest:
                    trash.remove_tree(name)
                    removed += 1
        reserved.drop_folder(TRASH)
    root.top.drop_folder(RESERVED)
    return removed


def _last_used(trash: Folder, name: bytes) -> int:
    with contextlib.suppress(FileError), trash.folder(name) as folder:
        dates = [item.when_ns for item in _lines(folder)]
        if dates:
            return max(dates)
    return trash.stat(name).st_mtime_ns


def _is_there(root: Root, sync_id: bytes, item: Trashed) -> bool:
    with contextlib.suppress(FileError):
        folder, name = locate(root, sync_id, item)
        with folder:
            status = folder.stat(name)
        return (kind_of(status), status.st_size, status.st_mtime_ns) == (
            item.kind,
            item.size,
            item.mtime_ns,
        )
    return False


def _lines(folder: Folder) -> Iterator[Trashed]:
    try:
        handle = folder.open_file(MANIFEST)
    except Missing:
        return
    with os.fdopen(handle, "rb", buffering=MIB) as file:
        while line := file.readline(_MAX_LINE):
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                yield _parsed(json.loads(line))


def _parsed(line: dict[str, Any]) -> Trashed:
    """Return one line's item; whoever may write here may also write nonsense."""
    path = tuple(line["path"].encode("utf-8", "surrogateescape").split(b"/"))
    if path == (b"",):
        path = ()
    layer, size, mtime_ns, when_ns = (
        int(line[key]) for key in ("layer", "size", "mtime_ns", "when_ns")
    )
    if len(path) > MAX_DEPTH or {b"", b".", b".."} & set(path) or layer < 0:
        raise ValueError
    kind = Kind[line["kind"].upper()]
    return Trashed(path, layer, kind, size, mtime_ns, when_ns, str(line["reason"]))
