"""Staged content and all other steps take effect here, many at a time, in one thread.

A group's files reach the disk together before any takes its place (``peer.fs.apply``); a group
is what has come within a moment, up to a bound.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from itertools import groupby
from typing import Final

from msgspec.structs import replace

from peer.daemon.incoming import Staged
from peer.daemon.own_sources import OwnSources
from peer.daemon.receiving import discard
from peer.daemon.workers import in_worker
from peer.fs.apply import BATCH, Applier
from peer.fs.errors import FileError
from peer.fs.staging import StagedFile
from peer.fs.trash import Trash
from peer.plan.steps import AnyStep, CopyFile, CreateDirectory, SetDate, SetMode
from protocol.limits import MIB
from protocol.messages.inventory import Entry, Kind

GROUP_SIZE: Final = 32 * MIB
"""Bytes whose way to the disk is waited for together."""

LINGER: Final = 0.1
"""Seconds to wait for more of a group: long against an fsync's fixed cost, short for people."""

BACKLOG: Final = 2 * BATCH
"""Files staged and not published above which nothing more is taken; each holds a handle."""


def narrowed(step: AnyStep) -> AnyStep:
    """Return *step*, or for a directory that was made, what gives it its bits at the end."""
    if not isinstance(step, CreateDirectory):
        return step
    return SetMode(
        member=step.member,
        source=step.source,
        path=step.path,
        expected=Entry(step.source, step.path, Kind.DIRECTORY, 0, 0, 0),
        mode=step.mode,
    )


Done = Callable[[int, FileError | None], None]
"""Takes a step's number and why it failed, None where it is done."""


class Publisher:
    """Carries out steps on this member's sources.

    Args:
        sync_id: The synchronisation, which names its trash.
        steps: The whole plan.
        sources: This member's sources.
        executor: Where the disk is waited for.
        now_ns: Returns nanoseconds since 1970, for the trash.
        on_done: Takes what became of each copy handed to ``put``.
    """

    def __init__(
        self,
        sync_id: bytes,
        steps: Sequence[AnyStep],
        sources: OwnSources,
        *,
        executor: Executor,
        now_ns: Callable[[], int],
        on_done: Done,
    ) -> None:
        self._sync_id = sync_id
        self._steps = steps
        self._sources = sources
        self._executor = executor
        self._now_ns = now_ns
        self._on_done = on_done
        self._waiting: list[Staged] = []
        self._size = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._stopped = False
        # Of the worker thread, one piece of work at a time.
        self._appliers: dict[int, tuple[Applier, Trash]] = {}
        self._lock = asyncio.Lock()

    async def put(self, staged: Staged) -> None:
        """Take *staged*; returns when there is room for more."""
        if self._stopped:
            discard([staged])
            return
        self._waiting.append(staged)
        self._size += staged.file.size
        self._changed.set()
        while len(self._waiting) >= BACKLOG and not self._stopped:
            self._room.clear()
            await self._room.wait()

    async def run(self) -> None:
        """Publish what is put, until stopped."""
        while await self._group_is_due():
            group, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            self._size = sum(staged.file.size for staged in self._waiting)
            self._room.set()
            files: dict[int, StagedFile | None] = {each.step: each.file for each in group}
            for number, error in await self._apply(files, lambda step: step):
                self._on_done(number, error)

    async def apply(
        self, numbers: Sequence[int], act: Callable[[AnyStep], AnyStep] = lambda step: step
    ) -> list[tuple[int, FileError | None]]:
        """Carry out the steps *numbers*, none of them a copy, in order.

        Args:
            numbers: The steps.
            act: Returns what to do for a step; the step itself unless given.
        """
        outcomes: list[tuple[int, FileError | None]] = []
        for start in range(0, len(numbers), BATCH):
            if self._stopped:
                break
            group: dict[int, StagedFile | None] = dict.fromkeys(numbers[start : start + BATCH])
            outcomes += await self._apply(group, act)
        return outcomes

    def stop(self) -> None:
        """Publish nothing more; what is being published is finished."""
        self._stopped = True
        discard(list(self._waiting))
        self._waiting.clear()
        self._changed.set()
        self._room.set()

    async def close(self) -> None:
        """Stop, and let go of what is open."""
        self.stop()
        async with self._lock:
            await in_worker(self._executor, self._close)

    async def _group_is_due(self) -> bool:
        """Wait for a group; return False when stopped."""
        while not self._waiting and not self._stopped:
            await self._wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while not (self._is_full or self._stopped):
                    await self._wait()
        return not self._stopped

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= BATCH or self._size >= GROUP_SIZE

    async def _apply(
        self, group: dict[int, StagedFile | None], act: Callable[[AnyStep], AnyStep]
    ) -> list[tuple[int, FileError | None]]:
        async with self._lock:
            return await in_worker(self._executor, lambda: self._apply_group(group, act))

    # --- in the worker ----------------------------------------------------------------

    def _apply_group(
        self, group: dict[int, StagedFile | None], act: Callable[[AnyStep], AnyStep]
    ) -> list[tuple[int, FileError | None]]:
        outcomes: list[tuple[int, FileError | None]] = []
        # In the order given: only neighbours share a group.
        for source, numbers in groupby(group, lambda number: self._steps[number].source):
            part = list(numbers)
            acts = [(act(self._steps[number]), group[number]) for number in part]
            errors: list[FileError | None]
            try:
                errors = self._applier(source).apply_all(acts, now_ns=self._now_ns())
            except FileError as refused:
                # Not even staging or trash could be made.
                errors = [refused] * len(part)
            for number, error in zip(part, errors, strict=True):
                file = group[number]
                if error is None:
                    self._note(self._steps[number])
                elif file is not None:
                    file.discard()
                outcomes.append((number, error))
        return outcomes

    def _applier(self, source: int) -> Applier:
        if source not in self._appliers:
            staging = self._sources.staging(source)
            root = self._sources.roots[source]
            trash = Trash(root, self._sync_id)
            self._appliers[source] = (Applier(root, staging, trash), trash)
        return self._appliers[source][0]

    def _note(self, step: AnyStep) -> None:
        """Remember what stands there now, for those who ask for it."""
        if isinstance(step, CopyFile):
            entry = step.origin
        elif isinstance(step, SetDate) and step.expected is not None:
            entry = step.expected
        else:
            return
        self._sources.wrote(
            replace(entry, source=step.source, path=step.path, mtime_ns=step.mtime_ns)
        )

    def _close(self) -> None:
        for _, trash in self._appliers.values():
            trash.close()
        self._appliers.clear()
