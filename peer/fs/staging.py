"""Where incoming content waits until it is whole: on the same file system, out of sight.

``.quintet/staging/<synchronisation>/`` of a root holds one file per transfer under a name this
program made up. Nothing there is of value once its synchronisation has ended.
"""

import contextlib
import errno
import fcntl
import itertools
import os
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from blake3 import blake3

from peer.fs.confine import RESERVED, Folder, Place, Root
from peer.fs.errors import Exists, Missing, file_error
from peer.fs.hasher import hash_handle
from peer.fs.syscalls import reserve_space
from protocol.ids import Digest
from protocol.limits import MIB

STAGING: Final = b"staging"

_FICLONE: Final = 0x40049409
"""Share the blocks of another file (ioctl_ficlone(2))."""

_COPY_PIECE: Final = 64 * MIB
"""Bytes the system copies in one call; bounds how long one call lasts."""


class StagedFile:
    """One file on its way in; its place in the source does not know of it yet.

    Args:
        folder: The staging folder, owned by its ``Staging``.
        name: The file's name there.
        handle: Open for reading and writing, owned by this object.
    """

    def __init__(self, folder: Folder, name: bytes, handle: int) -> None:
        self.folder: Final = folder
        self.name: Final = name
        self.handle = handle
        self.size = 0
        """Bytes up to the highest one written."""
        # Follows the content as long as it is written from the beginning on.
        self._hasher: blake3 | None = blake3()
        self._hashed = 0
        self._reserved = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def place(self) -> Place:
        return Place(self.folder, self.name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*.

        Raises:
            NoSpace: If the disk is full; what was written stays.
        """
        self.write_at(self.size, data)

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write *data* at *offset*, in whatever order."""
        view = memoryview(data).cast("B")
        place = offset
        try:
            while view:
                written = os.pwrite(self.handle, view, place)
                if self._hasher is not None and place == self._hashed:
                    self._hasher.update(view[:written])
                    self._hashed += written
                else:
                    self._hasher = None
                place += written
                view = view[written:]
        except OSError as error:
            self._hasher = None
            raise file_error(error) from None
        finally:
            self.size = max(self.size, place)

    def reserve(self, size: int) -> None:
        """Take *size* bytes of the disk now, so that lack of space shows before they travel.

        Raises:
            NoSpace: If there are not so many.
        """
        if size:
            reserve_space(self.handle, size)
            self._reserved = size

    def clone(self, handle: int) -> None:
        """Take the whole content of the file *handle* is open on, by shared blocks if possible.

        The digest is then that of what landed here.
        """
        self._hasher = None
        try:
            try:
                fcntl.ioctl(self.handle, _FICLONE, handle)
            except OSError:
                self._copy(handle)
            self.size = os.fstat(self.handle).st_size
        except OSError as error:
            raise file_error(error) from None

    def _copy(self, handle: int) -> None:
        os.ftruncate(self.handle, 0)
        offset = 0
        while True:
            try:
                count = os.copy_file_range(handle, self.handle, _COPY_PIECE, offset, offset)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                piece = os.pread(handle, MIB, offset)
                count = os.pwrite(self.handle, piece, offset) if piece else 0
            if not count:
                return
            offset += count

    def digest(self) -> Digest:
        """Return BLAKE3-256 of the content; read back only if it was not written in order."""
        if self._hasher is not None and self._hashed == self.size:
            return self._hasher.digest()
        return hash_handle(self.handle).digest

    def finish(self, mode: int, mtime_ns: int) -> None:
        """Give the file its permission bits and date, and let its way to the disk begin."""
        try:
            status = os.fstat(self.handle)
            if self._reserved > self.size:
                os.ftruncate(self.handle, self.size)
            os.fchmod(self.handle, mode)
            os.utime(self.handle, ns=(status.st_atime_ns, mtime_ns))
            # Begins writing without waiting, so that the files of a group are written together.
            os.posix_fadvise(self.handle, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise file_error(error) from None

    def sync(self) -> None:
        """Return when content, date and permissions are on the disk."""
        try:
            os.fsync(self.handle)
        except OSError as error:
            raise file_error(error) from None

    def close(self) -> None:
        if self.handle >= 0:
            handle, self.handle = self.handle, -1
            os.close(handle)

    def discard(self) -> None:
        """Remove the file, unless it has been published."""
        self.close()
        with contextlib.suppress(Missing):
            self.folder.unlink(self.name)


class Staging:
    """The staging folder of one synchronisation in one root.

    Args:
        root: The source it is for.
        sync_id: Random name of the synchronisation.

    Raises:
        FileError: If the folder cannot be made, such as on a read-only disk.
    """

    def __init__(self, root: Root, sync_id: bytes) -> None:
        assert sync_id
        self._root = root
        self._id: Final = sync_id.hex().encode()
        self.folder: Final = root.reserved(STAGING, self._id, create=True)
        self._numbers = itertools.count()

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
        """Let go of the folder; what waits there stays for a later run."""
        self.folder.close()

    def new_name(self) -> bytes:
        """Return a name nothing has there."""
        while True:
            name = b"%08x" % next(self._numbers)
            if self.folder.find(name) is None:
                return name

    def new_file(self, name: bytes | None = None) -> StagedFile:
        """Make an empty file, 0600.

        Args:
            name: Where a later run shall find it by name; of hexadecimal digits.

        Raises:
            Exists: If *name* exists already.
        """
        while name is None:
            made = b"%08x" % next(self._numbers)
            # Numbers of an earlier run may be taken.
            with contextlib.suppress(Exists):
                return StagedFile(self.folder, made, self.folder.create_file(made))
        return StagedFile(self.folder, name, self.folder.create_file(name))

    def reopen(self, name: bytes) -> StagedFile:
        """Open a file of an earlier run.

        Raises:
            Missing: If it is not there.
        """
        staged = StagedFile(self.folder, name, self.folder.reopen_file(name))
        staged.size = os.fstat(staged.handle).st_size
        return staged

    def new_link(self, target: bytes, mtime_ns: int) -> Place:
        """Make a symbolic link and return where it waits."""
        name = self.new_name()
        self.folder.make_link(name, target)
        self.folder.set_date(name, mtime_ns)
        return Place(self.folder, name)

    def clean(self) -> None:
        """Remove the folder with all it holds, and the reserved folder if it is empty then."""
        self.close()
        _clean(self._root, lambda name: name == self._id)


def clean_leftovers(root: Root, *, keep: frozenset[bytes] = frozenset()) -> int:
    """Remove what runs that never ended left in *root*'s staging; return how many.

    Args:
        root: The source.
        keep: Ids of synchronisations that may still go on.
    """
    kept = {sync_id.hex().encode() for sync_id in keep}
    return _clean(root, lambda name: name not in kept)


def _clean(root: Root, unwanted: Callable[[bytes], bool]) -> int:
    removed = 0
    try:
        reserved = root.reserved()
    except Missing:
        return 0
    with reserved:
        with contextlib.suppress(Missing), reserved.folder(STAGING) as staging:
            for name in filter(unwanted, staging.names()):
                staging.remove_tree(name)
                removed += 1
        reserved.drop_folder(STAGING)
    root.top.drop_folder(RESERVED)
    return removed
