"""Walking a data source: every entry and every place left out, in the order of their paths.

One pass, depth first, names sorted as bytes, so that the whole stream is in the order of the
paths' components and parents come before what they hold. Nothing but the handles of the current
path and the names of its directories is kept, whatever the size of the source.
"""

import os
import stat
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple, Protocol

from peer.fs import mounts
from peer.fs.confine import RESERVED, Folder, Root, is_reserved, kind_of
from peer.fs.errors import Denied, FileError, Missing, NotADirectory, SpecialFile, file_error
from protocol import limits
from protocol.messages.inventory import (
    MAX_TIME_NS,
    Entry,
    Kind,
    RelPath,
    Skip,
    SkipReason,
    SourcePosition,
)

PERMISSIONS: Final = 0o777
"""The bits that travel; set-user-ID and the like would hand rights to another machine."""


class Decide(Protocol):
    """Why the thing at a path is no entry, or None (``peer.inventory.include``)."""

    def __call__(self, path: RelPath, kind: Kind, /) -> SkipReason | None: ...


class Batch(NamedTuple):
    """What was found next; each list fits one message."""

    entries: list[Entry]
    skips: list[Skip]


class _Level(NamedTuple):
    """One directory of the path being walked."""

    folder: Folder
    path: RelPath
    rest: "Iterator[tuple[bytes, os.DirEntry[str]]]"
    identity: tuple[int, int]
    """Device and number, by which a directory met within itself is known."""


def reason_of(error: FileError) -> SkipReason:
    """Return how *error*, met on walking, is told to the others."""
    match error:
        case Denied():
            return SkipReason.INACCESSIBLE
        case Missing() | NotADirectory():
            return SkipReason.VANISHED
        case SpecialFile():
            return SkipReason.SPECIAL
        case _:
            return SkipReason.IO_ERROR


def clamped(time_ns: int) -> int:
    """Return *time_ns* within the bounds of an entry."""
    return max(-MAX_TIME_NS, min(time_ns, MAX_TIME_NS))


def scan(
    root: Root,
    *,
    source: SourcePosition = 0,
    decide: Decide | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Generator[Batch, None, None]:
    """Yield everything in *root*, its own entry first.

    A directory that cannot be entered, is left out or holds what no path can name is one skip
    that covers everything below it. The reserved folder of the root is never told of. File
    systems mounted within are entered, but for those of the system itself and for a directory
    mounted within itself.

    Args:
        root: What to walk.
        source: Its position, for the entries.
        decide: Asked once for everything found; None takes everything.
        cancelled: Asked once per batch and per directory; the walk ends early when it says so.

    Raises:
        FileError: If the root itself cannot be read.
    """
    walk = _Walk(root, source, decide, cancelled or _never)
    try:
        yield from walk.run()
    finally:
        walk.close()


def _never() -> bool:
    return False


class _Walk:
    def __init__(
        self,
        root: Root,
        source: SourcePosition,
        decide: Decide | None,
        cancelled: Callable[[], bool],
    ) -> None:
        self._root = root
        self._source = source
        self._decide = decide
        self._cancelled = cancelled
        self._entries: list[Entry] = []
        self._skips: list[Skip] = []
        self._levels: list[_Level] = []
        self._pseudo: frozenset[int] | None = None
        # Root reads whatever the bits say.
        self._ask_rights = os.geteuid() != 0

    def close(self) -> None:
        for level in self._levels:
            level.folder.close()

    def run(self) -> Iterator[Batch]:
        self._begin()
        while self._levels and not self._cancelled():
            yield from self._go_on(self._levels[-1])
        if not self._cancelled() and (self._entries or self._skips):
            yield self._batch()

    def _begin(self) -> None:
        status = self._root.stat(())
        if self._root.kind is Kind.FILE:
            kind = kind_of(status)
            if kind is not Kind.FILE:
                raise SpecialFile
            self._add((), kind, status)
        elif not status.st_nlink:
            # Removed while held open: an empty directory to look at, but not an empty source.
            raise Missing
        else:
            self._open(self._root.top.duplicate(), (), status)
            self._add((), Kind.DIRECTORY, status)

    def _go_on(self, level: _Level) -> Iterator[Batch]:  # noqa: C901  # one arm for each thing a name may be
        """Take the names of *level* up to the next directory to enter, or to its end."""
        prefix = level.path
        decide = self._decide
        entries, skips, source = self._entries, self._skips, self._source
        full = limits.MAX_BATCH
        ask_rights = self._ask_rights
        for name, found in level.rest:
            path = (*prefix, name)
            if len(entries) >= full or len(skips) >= full:
                yield self._batch()
                if self._cancelled():
                    return
                entries, skips = self._entries, self._skips
            try:
                status = found.stat(follow_symlinks=False)
            except OSError as error:
                skips.append(Skip(source, path, reason_of(file_error(error))))
                continue
            kind = kind_of(status)
            if is_reserved(name):
                if path != (RESERVED,):
                    skips.append(Skip(source, path, SkipReason.SYSTEM, kind))
            elif kind is None:
                skips.append(Skip(source, path, SkipReason.SPECIAL))
            elif decide is not None and (reason := decide(path, kind)) is not None:
                skips.append(Skip(source, path, reason, kind))
            elif kind is Kind.FILE and (not ask_rights or status.st_mode & stat.S_IROTH):
                # What most of a million entries are, without a call for each.
                time_ns = status.st_mtime_ns
                if not -MAX_TIME_NS <= time_ns <= MAX_TIME_NS:
                    time_ns = clamped(time_ns)
                mode = status.st_mode & PERMISSIONS
                entries.append(Entry(source, path, kind, status.st_size, time_ns, mode))
            elif kind is Kind.DIRECTORY:
                if self._enter(level, path, status):
                    return
            else:
                self._add(path, kind, status, level.folder)
        self._levels.pop().folder.close()

    def _enter(self, level: _Level, path: RelPath, status: os.stat_result) -> bool:
        """Begin the directory at *path*; tell whether it could be."""
        if path in self._root.closed:
            reason: SkipReason | None = SkipReason.SYSTEM
        elif self._no_content(status, level.identity[0]):
            reason = SkipReason.MOUNT_POINT
        else:
            try:
                reason = self._open(level.folder.folder(path[-1]), path, status)
            except FileError as error:
                reason = reason_of(error)
        if reason is not None:
            self._skips.append(Skip(self._source, path, reason, Kind.DIRECTORY))
            return False
        self._add(path, Kind.DIRECTORY, status)
        return True

    def _no_content(self, status: os.stat_result, device: int) -> bool:
        """Whether a directory is one it lies in, or the beginning of a part of the system."""
        identity = (status.st_dev, status.st_ino)
        return any(level.identity == identity for level in self._levels) or (
            status.st_dev != device and status.st_dev in self._pseudo_devices()
        )

    def _pseudo_devices(self) -> frozenset[int]:
        if self._pseudo is None:
            table = mounts.mounts()
            self._pseudo = frozenset(m.device for m in table if m.kind in mounts.PSEUDO)
        return self._pseudo

    def _open(self, folder: Folder, path: RelPath, status: os.stat_result) -> SkipReason | None:
        """Begin the directory held by *folder*, unless what it holds cannot be named."""
        try:
            names = folder.scan()
        except FileError:
            folder.close()
            raise
        if not _nameable(path, names):
            folder.close()
            return SkipReason.TOO_LONG
        identity = (status.st_dev, status.st_ino)
        self._levels.append(_Level(folder, path, iter(names), identity))
        return None

    def _add(
        self, path: RelPath, kind: Kind, status: os.stat_result, folder: Folder | None = None
    ) -> None:
        mode = status.st_mode
        size = status.st_size
        target = b""
        if kind is Kind.DIRECTORY:
            size = 0
        elif kind is Kind.LINK:
            assert folder is not None, "no root is a link"
            try:
                target = folder.read_link(path[-1])
            except FileError as error:
                self._skips.append(Skip(self._source, path, reason_of(error), kind))
                return
            if len(target) > limits.MAX_PATH:
                self._skips.append(Skip(self._source, path, SkipReason.TOO_LONG, kind))
                return
        elif (
            self._ask_rights
            and not mode & stat.S_IROTH
            and folder is not None
            and not folder.may_read(path[-1])
        ):
            self._skips.append(Skip(self._source, path, SkipReason.INACCESSIBLE, kind))
            return
        time_ns = clamped(status.st_mtime_ns)
        self._entries.append(
            Entry(self._source, path, kind, size, time_ns, mode & PERMISSIONS, target)
        )

    def _batch(self) -> Batch:
        batch = Batch(self._entries, self._skips)
        self._entries, self._skips = [], []
        return batch


def _nameable(path: RelPath, names: "list[tuple[bytes, os.DirEntry[str]]]") -> bool:
    """Whether every one of *names* in the directory *path* makes a path of the wire."""
    if not names:
        return True
    longest = max(len(name) for name, _ in names)
    # As ``peer.inventory.names.valid_path`` counts: a separator for every name.
    length = sum(map(len, path)) + len(path) + longest + 1
    return (
        len(path) < limits.MAX_DEPTH
        and longest <= limits.MAX_COMPONENT
        and length <= limits.MAX_PATH
    )
