"""Carrying out the steps of a plan on one root, without losing anything.

At every instant a path holds its old content or its whole new content (``peer.fs.placing``).
What a step finds is compared with what it expects right before it acts. Many steps share their
way to the disk: the content of all files first, then every file takes its place, then each
directory that changed follows once.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Final, Self, assert_never

from peer.fs.confine import Folder, Place, Root, kind_of
from peer.fs.errors import ChangedSince, Exists, FileError, Missing, Outside
from peer.fs.placing import Placing, found_name
from peer.fs.scanner import PERMISSIONS, clamped
from peer.fs.staging import StagedFile, Staging
from peer.fs.syscalls import process_mask, sync_file_system
from peer.fs.trash import Trash
from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from protocol.messages.inventory import Entry, Kind, RelPath

BATCH: Final = 128
"""Steps whose files reach the disk together; each may hold three handles of the usual 1024."""

_MANY: Final = 16
"""Files from which on the whole file system is brought to the disk at once. Every fsync waits
for the device to empty its cache, even if nothing is left to write; this waits once. It also
waits for what other programs wrote, which is why a few large files go one by one."""

_OWNER: Final = 0o700
"""A directory must let its owner in, or nothing could be put into it."""

StagedStep = tuple[AnyStep, StagedFile | None]
"""A step, and for ``CopyFile`` its whole content, verified by whoever staged it."""


def check_entry(root: Root, path: RelPath, expected: Entry | None) -> None:
    """Compare what stands at *path* with the inventory: source or destination of a step.

    Raises:
        ChangedSince: If it is anything else; for None, if anything stands there at all.
        FileError: If it cannot be looked at.
    """
    with _Batch(root) as batch:
        batch.check(path, expected)


class Applier:
    """Carries out steps on one root, for one synchronisation.

    Not for two threads at once: each takes its own, with its own trash.

    Args:
        root: The source.
        staging: Where links are made before they take their place; of this root.
        trash: Where what is replaced or deleted goes; of this root.
    """

    def __init__(self, root: Root, staging: Staging, trash: Trash) -> None:
        self._root = root
        self._staging = staging
        self._trash = trash
        self._placing = Placing(trash)
        self._mask = process_mask()

    def check(self, step: AnyStep) -> None:
        """Compare what stands at the step's path with what it expects.

        Raises:
            ChangedSince: If it is anything else.
            FileError: If it cannot be looked at.
        """
        check_entry(self._root, step.path, step.expected)

    def apply(self, step: AnyStep, staged: StagedFile | None = None, *, now_ns: int) -> None:
        """Carry out one step; on the disk when this returns.

        A date or permission bits that are set alone reach the disk with the system's next
        writing: if they do not, the next comparison shows it, and nothing is lost.

        Args:
            step: What to do.
            staged: For ``CopyFile`` its whole content, verified by the caller.
            now_ns: Nanoseconds since 1970, for the trash.

        Raises:
            ChangedSince: If something else than expected stands there; nothing happened.
            NotEmpty: If a directory still holds something; it stays.
            FileError: If the system refused; nothing happened.
        """
        (error,) = self.apply_all([(step, staged)], now_ns=now_ns)
        if error is not None:
            raise error

    def apply_all(self, steps: Sequence[StagedStep], *, now_ns: int) -> list[FileError | None]:
        """Carry out *steps* in order; on the disk when this returns.

        One that fails does not keep the others from being done; its staged file stays.

        Returns:
            For each step why it failed, None where it is done.
        """
        outcomes: list[FileError | None] = []
        for start in range(0, len(steps), BATCH):
            outcomes += self._apply_batch(steps[start : start + BATCH], now_ns)
        return outcomes

    def _apply_batch(self, steps: Sequence[StagedStep], now_ns: int) -> list[FileError | None]:
        with _Batch(self._root) as batch:
            finished = [_try(partial(self._finish, batch, *staged)) for staged in steps]
            synced = _sync(finished, steps)
            outcomes = [
                error if error is not None else _try(partial(self._act, batch, *staged, now_ns))
                for error, staged in zip(synced, steps, strict=True)
            ]
            # Without this nobody may say that a step is done.
            last = _try(batch.sync) or _try(self._trash.sync)
        return [last if error is None else error for error in outcomes]

    def _finish(self, batch: "_Batch", step: AnyStep, staged: StagedFile | None) -> None:
        """Give staged content its date and bits; both reach the disk along with it."""
        if not isinstance(step, CopyFile):
            return
        assert staged is not None, "content is staged before its step is carried out"
        if step.mode is not None:
            mode = step.mode & PERMISSIONS
        elif step.expected is not None:
            old = batch.check(step.path, step.expected)
            assert old is not None, "something was expected and found"
            mode = old.st_mode & PERMISSIONS
        else:
            mode = step.origin.mode & PERMISSIONS & ~self._mask
        staged.finish(mode, step.mtime_ns)

    def _act(self, batch: "_Batch", step: AnyStep, staged: StagedFile | None, now_ns: int) -> None:
        old = batch.check(step.path, step.expected)
        place = folder, name = batch.parent(step.path)
        match step:
            case CreateDirectory():
                try:
                    folder.make_folder(name, step.mode & PERMISSIONS | _OWNER)
                except Exists:
                    raise ChangedSince(found_name(folder.find(name))) from None
            case CopyFile():
                assert staged is not None, "content is staged before its step is carried out"
                self._put(staged.place, place, old, step.path, now_ns)
                staged.close()
            case CopyLink():
                link = self._staging.new_link(step.target, step.mtime_ns)
                try:
                    self._put(link, place, old, step.path, now_ns)
                except FileError:
                    link.folder.unlink(link.name)
                    raise
            case SetDate():
                folder.set_date(name, step.mtime_ns)
            case SetMode():
                folder.set_mode(name, step.mode & PERMISSIONS)
            case Delete():
                if old is None or kind_of(old) not in (Kind.FILE, Kind.LINK):
                    raise ChangedSince(found_name(old))
                self._placing.clear(place, old, step.path, now_ns=now_ns)
            case DeleteDirectory():
                folder.rmdir(name)
                batch.forget(step.path)
            case _:
                assert_never(step)
        batch.changed(step.path)

    def _put(
        self, waiting: Place, place: Place, old: os.stat_result | None, path: RelPath, now_ns: int
    ) -> None:
        if old is None:
            self._placing.put_new(waiting, place)
        elif kind_of(old) is Kind.DIRECTORY:
            raise ChangedSince("directory")
        else:
            self._placing.put_over(waiting, place, old, path, now_ns=now_ns)


def _sync(
    finished: Sequence[FileError | None], steps: Sequence[StagedStep]
) -> list[FileError | None]:
    """Bring all staged content to the disk; return why each failed."""
    waiting = [
        staged
        for error, (_, staged) in zip(finished, steps, strict=True)
        if error is None and staged is not None
    ]
    if len(waiting) >= _MANY and _try(partial(sync_file_system, waiting[0].handle)) is None:
        return list(finished)
    # Few, or one of them failed: one by one tells which.
    return [
        error if error is not None or staged is None else _try(staged.sync)
        for error, (_, staged) in zip(finished, steps, strict=True)
    ]


def _try(act: Callable[[], None]) -> FileError | None:
    try:
        act()
    except FileError as error:
        return error
    return None


class _Batch:
    """The directories that a group of steps works in, each opened and synced once."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._parents: dict[RelPath, Folder] = {}
        self._changed: set[RelPath] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for folder in self._parents.values():
            folder.close()

    def parent(self, path: RelPath) -> Place:
        """Return where *path* is; the directory stays open until the group has ended."""
        self._root.check(path)
        name = path[-1] if path else self._root.name
        if name is None:
            raise Outside
        if path[:-1] not in self._parents:
            self._parents[path[:-1]] = self._root.parent(path).folder
        return Place(self._parents[path[:-1]], name)

    def check(self, path: RelPath, expected: Entry | None) -> os.stat_result | None:
        """Return what stands at *path*, if it is as *expected*."""
        try:
            folder, name = self.parent(path)
        except Missing:
            if expected is not None:
                raise ChangedSince("nothing") from None
            raise
        found = folder.find(name)
        if not _is_as_expected(folder, name, found, expected):
            raise ChangedSince(found_name(found))
        return found

    def changed(self, path: RelPath) -> None:
        """Remember that the directory that holds *path* has changed."""
        self._changed.add(path[:-1])

    def forget(self, path: RelPath) -> None:
        """Let go of the directory *path*, which is gone; another may be made in its place."""
        gone = [held for held in self._parents if held[: len(path)] == path]
        for held in gone:
            self._parents.pop(held).close()
            self._changed.discard(held)

    def sync(self) -> None:
        for path in sorted(self._changed):
            self._parents[path].sync()


def _is_as_expected(
    folder: Folder, name: bytes, found: os.stat_result | None, expected: Entry | None
) -> bool:
    if found is None or expected is None:
        return found is None and expected is None
    kind = kind_of(found)
    if kind is not expected.kind:
        return False
    if kind is Kind.LINK:
        return folder.read_link(name) == expected.target
    if kind is Kind.FILE:
        return (found.st_size, clamped(found.st_mtime_ns)) == (expected.size, expected.mtime_ns)
    return True
