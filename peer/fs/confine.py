"""The one way to the disk: every path is walked by directory handles, no link is ever followed.

A ``Root`` holds its directory open from the moment the source was accepted. What other members
send are components; each is checked, then opened relative to the handle of its parent with
``O_NOFOLLOW``. So no name, no link and no link swapped in later leads out of the source
(security.md, T15 and T16): whoever renames a folder while it is held gets the file in the
renamed folder, never elsewhere.

``Folder`` is one open directory; its methods take single names. Nothing else of ``peer.fs``
passes a path to the system.
"""

import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from peer.fs import syscalls
from peer.fs.errors import Missing, NotADirectory, NotEmpty, Outside, SpecialFile, file_error
from protocol import limits
from protocol.messages.inventory import Kind, RelPath

RESERVED: Final = b".quintet"
"""The folder at the top of a root (beside a single file) that holds staging and trash."""

_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_NOT_ASCII: Final = bytes(range(128, 256))


@contextlib.contextmanager
def _named() -> Iterator[None]:
    """Turn the system's answer into one of our errors."""
    try:
        yield
    except OSError as error:
        raise file_error(error) from None


_DOT: Final = RESERVED[0]


def is_reserved(name: bytes) -> bool:
    """Whether *name* means ``RESERVED`` to any file system.

    Case does not count, nor does anything beyond ASCII: file systems that ignore case also
    ignore invisible characters.
    """
    if name[0] != _DOT and name.isascii():
        return False
    return name.translate(None, _NOT_ASCII).lower() == RESERVED


def check_component(name: bytes) -> None:
    """Refuse what is no name within a directory.

    Raises:
        Outside: If *name* is empty, has a separator, points upwards, is too long or reserved.
    """
    if (
        not 0 < len(name) <= limits.MAX_COMPONENT
        or name in (b".", b"..")
        or b"/" in name
        or b"\0" in name
        or is_reserved(name)
    ):
        raise Outside


_FORM: Final = 0o170000
"""The bits of a mode that tell what something is (S_IFMT)."""

_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.LINK,
}


def kind_of(status: os.stat_result) -> Kind | None:
    """Return what *status* describes; None for what is never an entry."""
    return _KINDS.get(status.st_mode & _FORM)


def open_regular(name: bytes, folder: int, flags: int = os.O_RDONLY) -> int:
    """Open a regular file, and nothing else, without ever waiting.

    Pipes and devices are refused before they are opened, since opening one may already act;
    what is swapped in between is opened without waiting and refused then.
    """
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise SpecialFile
    handle = os.open(name, flags | _OPEN_FILE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise SpecialFile
    return handle


class Folder:
    """One open directory; names are taken as they are, checked by whoever got them.

    Args:
        handle: A directory's descriptor, owned by this object from now on.
    """

    __slots__ = ("handle",)

    def __init__(self, handle: int) -> None:
        self.handle = handle

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
        if self.handle >= 0:
            handle, self.handle = self.handle, -1
            os.close(handle)

    def duplicate(self) -> "Folder":
        with _named():
            return Folder(os.dup(self.handle))

    # --- looking --------------------------------------------------------------

    def stat(self, name: bytes) -> os.stat_result:
        """Return what *name* is, a link as the link.

        Raises:
            Missing: If nothing stands there.
        """
        with _named():
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False)

    def find(self, name: bytes) -> os.stat_result | None:
        """Return what *name* is; None if nothing stands there."""
        with _named():
            try:
                return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def status(self) -> os.stat_result:
        """Return what this directory itself is."""
        with _named():
            return os.fstat(self.handle)

    def scan(self) -> "list[tuple[bytes, os.DirEntry[str]]]":
        """Return the names within and how to ask about each, sorted by name.

        The entries' ``stat(follow_symlinks=False)`` goes by this directory's handle, which must
        still be open then.
        """
        with _named(), os.scandir(self.handle) as entries:
            found = [(entry.name.encode("utf-8", "surrogateescape"), entry) for entry in entries]
        found.sort(key=lambda pair: pair[0])
        return found

    def names(self) -> list[bytes]:
        """Return the names within, sorted."""
        return [name for name, _ in self.scan()]

    def read_link(self, name: bytes) -> bytes:
        with _named():
            return os.readlink(name, dir_fd=self.handle)

    def may_read(self, name: bytes) -> bool:
        """Whether this process may read *name*, by its effective rights."""
        return os.access(name, os.R_OK, dir_fd=self.handle, effective_ids=True)

    # --- opening --------------------------------------------------------------

    def folder(self, name: bytes) -> "Folder":
        """Open the directory *name*.

        Raises:
            NotADirectory: If it is anything else; a link is.
        """
        with _named():
            return Folder(os.open(name, _OPEN_FOLDER, dir_fd=self.handle))

    def open_file(self, name: bytes) -> int:
        """Open the regular file *name* for reading and return its descriptor.

        Raises:
            SpecialFile: If it is anything else; it was not opened.
        """
        with _named():
            return open_regular(name, self.handle)

    def reopen_file(self, name: bytes) -> int:
        """Open the regular file *name*, one of our own, for reading and writing."""
        with _named():
            return open_regular(name, self.handle, os.O_RDWR)

    def append_file(self, name: bytes) -> int:
        """Open our own file *name* for appending, made 0600 if it does not exist."""
        with _named(), contextlib.suppress(FileExistsError):
            os.close(os.open(name, _OPEN_NEW, 0o600, dir_fd=self.handle))
        with _named():
            return open_regular(name, self.handle, os.O_WRONLY | os.O_APPEND)

    def create_file(self, name: bytes) -> int:
        """Make the file *name*, which may not exist yet, 0600; return its descriptor."""
        with _named():
            return os.open(name, _OPEN_NEW, 0o600, dir_fd=self.handle)

    def ensure_folder(self, name: bytes) -> "Folder":
        """Open our own directory *name*, made 0700 if it does not exist."""
        with _named(), contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self.handle)
        return self.folder(name)

    # --- changing -------------------------------------------------------------

    def make_folder(self, name: bytes, mode: int) -> None:
        """Make the directory *name* with *mode* less the process's mask."""
        with _named():
            os.mkdir(name, mode, dir_fd=self.handle)

    def make_link(self, name: bytes, target: bytes) -> None:
        """Make a symbolic link whose target is data."""
        with _named():
            os.symlink(target, name, dir_fd=self.handle)

    def link(self, name: bytes, other: "Folder", new: bytes) -> None:
        """Give what *name* is a second name *new* in *other*."""
        with _named():
            os.link(
                name, new, src_dir_fd=self.handle, dst_dir_fd=other.handle, follow_symlinks=False
            )

    def rename_into(self, name: bytes, other: "Folder", new: bytes) -> None:
        """Move *name* to *new* in *other*, in the place of what stands there."""
        with _named():
            os.rename(name, new, src_dir_fd=self.handle, dst_dir_fd=other.handle)

    def rename_new(self, name: bytes, other: "Folder", new: bytes) -> None:
        """Move *name* to *new* in *other*, where nothing may stand.

        Raises:
            Exists: If something stands there; nothing was moved.
            NameRefused: If the file system cannot do this in one step.
        """
        with _named():
            syscalls.renameat2(self.handle, name, other.handle, new, syscalls.NOREPLACE)

    def exchange(self, name: bytes, other: "Folder", new: bytes) -> None:
        """Let *name* and *new* in *other* change places in one step.

        Raises:
            NameRefused: If the file system cannot do this.
        """
        with _named():
            syscalls.renameat2(self.handle, name, other.handle, new, syscalls.EXCHANGE)

    def unlink(self, name: bytes) -> None:
        with _named():
            os.unlink(name, dir_fd=self.handle)

    def rmdir(self, name: bytes) -> None:
        """Remove the directory *name*.

        Raises:
            NotEmpty: If it holds anything.
        """
        with _named():
            try:
                os.rmdir(name, dir_fd=self.handle)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                raise NotEmpty(self._count(name)) from None

    def _count(self, name: bytes) -> int:
        with self.folder(name) as folder, os.scandir(folder.handle) as entries:
            return sum(1 for _ in itertools.islice(entries, NotEmpty.MOST))

    def set_date(self, name: bytes, mtime_ns: int) -> None:
        """Set the modification time of *name*, a link's own; the access time stays."""
        with _named():
            accessed = os.stat(name, dir_fd=self.handle, follow_symlinks=False).st_atime_ns
            times = (accessed, mtime_ns)
            os.utime(name, ns=times, dir_fd=self.handle, follow_symlinks=False)

    def set_mode(self, name: bytes, mode: int) -> None:
        """Set the permission bits of *name*.

        Raises:
            SpecialFile: If it is neither file nor directory; a link has no bits of its own.
        """
        with _named():
            handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.handle)
            try:
                if kind_of(os.fstat(handle)) not in (Kind.FILE, Kind.DIRECTORY):
                    raise SpecialFile
                # A handle that may not be read cannot be changed itself, but names its file.
                Path(f"/proc/self/fd/{handle}").chmod(mode)
            finally:
                os.close(handle)

    def sync(self) -> None:
        """Return when the names within are on the disk."""
        with _named():
            os.fsync(self.handle)

    def drop_folder(self, name: bytes) -> None:
        """Remove our own directory *name* if it exists and holds nothing."""
        with contextlib.suppress(Missing, NotEmpty):
            self.rmdir(name)

    def remove_tree(self, name: bytes) -> None:
        """Remove our own *name* with all within; for staging and trash only."""
        try:
            folder = self.folder(name)
        except NotADirectory:
            self.unlink(name)
            return
        with folder:
            for inner in folder.names():
                folder.remove_tree(inner)
        self.rmdir(name)


class Place(NamedTuple):
    """A name in an open directory, whether or not anything stands there."""

    folder: Folder
    name: bytes


class Root:
    """A data source held open: a directory, or one single file of a directory.

    A single file is the path ``()``; no other path of such a root exists.

    Args:
        path: Canonical absolute path; its last component is no link.
        kind: What it is, where it may not exist at the moment (a single file); otherwise told
            from the disk.
        closed: Paths within that no step and no scan may enter, such as the peer's own state.

    Raises:
        FileError: If it cannot be opened.
    """

    def __init__(
        self, path: Path, *, kind: Kind | None = None, closed: tuple[RelPath, ...] = ()
    ) -> None:
        self.path: Final = path
        self.closed: Final = closed
        with _named():
            if kind is None:
                kind = kind_of(path.lstat())
            if kind not in (Kind.FILE, Kind.DIRECTORY):
                raise SpecialFile
            self.kind: Final[Kind] = kind
            self.name: Final = os.fsencode(path.name) if kind is Kind.FILE else None
            place = path if self.name is None else path.parent
            self.top: Final = Folder(os.open(place, _OPEN_FOLDER))
        status = self.top.status()
        self.device: Final = status.st_dev
        self.inode: Final = status.st_ino
        if self.name is not None:
            check_component(self.name)

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
        self.top.close()

    def check(self, path: RelPath) -> None:
        """Refuse a path that is none of this source.

        Raises:
            Outside: If it is not.
        """
        if len(path) > limits.MAX_DEPTH or (self.name is not None and path):
            raise Outside
        for name in path:
            check_component(name)
        for prefix in self.closed:
            if _folded(path[: len(prefix)]) == _folded(prefix):
                raise Outside

    def folder(self, path: RelPath) -> Folder:
        """Open the directory at *path*; the caller closes it.

        Raises:
            Outside: If the path is none of this source.
            NotADirectory: If it, or a parent, is no directory; a link is none.
            Missing: If it does not exist.
        """
        self.check(path)
        if self.name is not None:
            raise NotADirectory
        return self._walk(path)

    def parent(self, path: RelPath) -> Place:
        """Open the directory that holds *path*; return it with the name therein.

        Raises:
            Outside: If the path is none of this source, or is a directory root itself.
            NotADirectory: If a parent is no directory; a link is none.
            Missing: If a parent does not exist.
        """
        self.check(path)
        if self.name is not None:
            return Place(self.top.duplicate(), self.name)
        if not path:
            raise Outside
        return Place(self._walk(path[:-1]), path[-1])

    def stat(self, path: RelPath) -> os.stat_result:
        """Return what stands at *path*, a link as the link."""
        if self.name is None and not path:
            return self.top.status()
        folder, name = self.parent(path)
        with folder:
            return folder.stat(name)

    def open_file(self, path: RelPath) -> int:
        """Open the regular file at *path* for reading and return its descriptor."""
        folder, name = self.parent(path)
        with folder:
            return folder.open_file(name)

    def reserved(self, *names: bytes, create: bool = False) -> Folder:
        """Open a directory below ``RESERVED``; the caller closes it.

        Args:
            names: Names this program made up.
            create: Whether to make what is missing, 0700.
        """
        folder = self.top.duplicate()
        for name in (RESERVED, *names):
            with folder:
                folder = folder.ensure_folder(name) if create else folder.folder(name)
        return folder

    def _walk(self, path: RelPath) -> Folder:
        with _named():
            handle = os.dup(self.top.handle)
            for name in path:
                try:
                    inner = os.open(name, _OPEN_FOLDER, dir_fd=handle)
                finally:
                    os.close(handle)
                handle = inner
        return Folder(handle)


def _folded(path: RelPath) -> tuple[bytes, ...]:
    return tuple(name.lower() for name in path)
