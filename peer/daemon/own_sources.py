"""This member's data sources while a synchronisation runs: roots, staging, what was inventoried."""

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from peer.fs.confine import Folder, Root
from peer.fs.errors import ChangedSince, FileError, Outside, file_error
from peer.fs.hasher import stamp_of
from peer.fs.staging import Staging
from peer.inventory.stamp import Stamp
from protocol.messages.inventory import Entry, RelPath

Inventoried = Callable[[int, RelPath], Entry | None]
"""Returns what this member's inventory holds at a path of a source."""


@dataclass(slots=True)
class OpenFile:
    """A file of ours held open for reading, and what it was when it was opened."""

    handle: int
    stamp: Stamp

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.handle)

    def read_into(self, room: memoryview, offset: int) -> int:
        """Read into *room* and return how many bytes came, 0 at the end of the file."""
        try:
            return os.preadv(self.handle, [room], offset)
        except OSError as error:
            raise file_error(error) from None

    def check_unchanged(self) -> None:
        """Refuse content that was written while it was read.

        Raises:
            ChangedSince: If the file is no longer what it was when it was opened.
        """
        try:
            status = os.fstat(self.handle)
        except OSError as error:
            raise file_error(error) from None
        if stamp_of(status) != self.stamp:
            raise ChangedSince("file")


class Reader:
    """Opens files for reading, walking to a folder once for all files in a row that lie in it."""

    def __init__(self, roots: Mapping[int, Root]) -> None:
        self._roots = roots
        self._at: tuple[int, RelPath] | None = None
        self._folder: Folder | None = None

    def close(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None
            self._at = None

    def open(self, source: int, path: RelPath, entry: Entry) -> OpenFile:
        """Open the file at *path*, if it still is *entry*.

        Raises:
            ChangedSince: If its size or date is another.
            FileError: If it cannot be read.
        """
        if source not in self._roots:
            raise Outside
        root = self._roots[source]
        if not path:
            handle = root.open_file(path)
        else:
            root.check(path)
            if self._folder is None or self._at != (source, path[:-1]):
                self.close()
                self._folder = root.folder(path[:-1])
                self._at = (source, path[:-1])
            handle = self._folder.open_file(path[-1])
        file = OpenFile(handle, stamp_of(os.fstat(handle)))
        if (file.stamp.size, file.stamp.mtime_ns) != (entry.size, entry.mtime_ns):
            os.close(handle)
            raise ChangedSince("file")
        return file


class OwnSources:
    """What this member owns and a synchronisation touches; safe to use from several threads.

    Args:
        sync_id: The synchronisation.
        roots: This member's sources by position, opened by the caller, who closes them.
        inventoried: What the inventory says of a path.
    """

    def __init__(self, sync_id: bytes, roots: Mapping[int, Root], inventoried: Inventoried) -> None:
        self.roots: Final = roots
        self._sync_id = sync_id
        self._inventoried = inventoried
        self._written: dict[tuple[int, RelPath], Entry] = {}
        self._staging: dict[int, Staging] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def entry(self, source: int, path: RelPath) -> Entry | None:
        """Return what is known to stand at *path*: what we wrote, or what was inventoried."""
        return self._written.get((source, path)) or self._inventoried(source, path)

    def wrote(self, entry: Entry) -> None:
        """Take note of what this synchronisation itself put at a path."""
        self._written[entry.source, entry.path] = entry

    def staging(self, source: int) -> Staging:
        """Return the staging folder of *source*, made when first needed.

        Raises:
            FileError: If it cannot be made.
        """
        with self._lock:
            if source not in self._staging:
                if source not in self.roots or self._is_closed:
                    raise Outside
                self._staging[source] = Staging(self.roots[source], self._sync_id)
            return self._staging[source]

    def clean(self) -> None:
        """Remove what waits in staging; nothing is staged any more."""
        with self._lock:
            self._is_closed = True
            for staging in self._staging.values():
                # What cannot be removed now is swept up before the next synchronisation.
                with contextlib.suppress(FileError):
                    staging.clean()
            self._staging.clear()
