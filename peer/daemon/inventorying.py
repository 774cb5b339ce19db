"""Takes this member's inventory and collects the others', for one run.

Walking and hashing happen in worker threads, a batch at a time; between two batches the loop
sends what was found and waits where a link is behind.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import structlog

from peer.fs.confine import Root
from peer.fs.errors import FileError
from peer.fs.hasher import HashingCancelled, hash_file, stamp_of
from peer.fs.scanner import Batch, reason_of, scan
from peer.inventory.entries import MemberInventory, State
from peer.inventory.hashing_plan import to_hash
from peer.inventory.include import Inclusion
from peer.inventory.stamp import Stamp
from peer.inventory.telling import Teller
from peer.session.session_settings import SessionSettings
from protocol import limits
from protocol.messages import session as wire
from protocol.messages.inventory import (
    Hash,
    HashesComputed,
    HashingEnded,
    IdentificationEnded,
    InventoryBegun,
    InventoryFailed,
    InventoryMessage,
    Kind,
    RelPath,
)

log = structlog.get_logger()

ValueT = TypeVar("ValueT")

HASH_FILES: Final = 500
"""Files hashed between two looks at the loop, at most."""

HASH_BYTES: Final = 64 * limits.MIB
"""Bytes hashed between two looks at the loop, unless one file has more."""

HASH_WORKERS: Final = 2
"""Slices hashed at once; reading and hashing release the interpreter."""


class DigestCache(Protocol):
    """Remembers what files contained (``peer.store.index``)."""

    def get_many(self, root: Root, asked: Sequence[tuple[RelPath, Stamp]]) -> list[bytes | None]:
        """Return the known digest of each file that is unchanged, None for the others."""

    def put_many(
        self, root: Root, found: Sequence[tuple[RelPath, Stamp, bytes]], *, read_at_ns: int
    ) -> None:
        """Remember digests of files read since *read_at_ns*."""


@dataclass(frozen=True, slots=True)
class SourceProbe:
    """What is known of one opened source before it is walked."""

    root: Root
    case_insensitive: bool
    date_resolution_ns: int
    windows_names: bool = False


class Outlet(Protocol):
    """Where an inventory's messages and figures go."""

    def broadcast(self, message: InventoryMessage) -> None:
        """Send to every member there is a link to."""

    async def drained(self) -> None:
        """Wait until no link is far behind."""

    def report(self, activity: wire.Activity, progress: wire.Progress) -> None:
        """Tell all how far this member is."""


class InventoryTaking:
    """One run.

    Args:
        me: This member's index.
        run: Its number.
        sources: How many sources each member of the run offers, by index.
        probes: This member's own sources, opened.
        settings: The session's.
        cache: Known digests.
        outlet: Where messages and figures go.
        rehash: Whether known digests are not trusted.
    """

    def __init__(
        self,
        *,
        me: int,
        run: int,
        sources: Mapping[int, int],
        probes: Sequence[SourceProbe],
        settings: SessionSettings,
        cache: DigestCache,
        outlet: Outlet,
        rehash: bool = False,
    ) -> None:
        self.run = run
        self.inventories: dict[int, MemberInventory] = {
            index: MemberInventory(index, run, sources=count)
            for index, count in sorted(sources.items())
        }
        self._me = me
        self._probes = list(probes)
        self._settings = settings
        self._cache = cache
        self._outlet = outlet
        self._rehash = rehash
        self._cancelled = False
        self._changed = asyncio.Event()
        self._progress = wire.Progress()
        self._found = [0, 0, 0]
        """Files, directories, bytes."""
        self._to_hash = (0, 0)
        self._hashed = [0, 0]
        """Files, bytes."""
        self._begun: InventoryBegun | None = None
        self._teller = Teller(run)
        self._hashes: list[Hash] = []

    # --- the others ------------------------------------------------------------------

    def receive(self, peer: int, message: InventoryMessage) -> None:
        """Take a part of another member's inventory.

        Raises:
            RemoteProtocolError: If it cannot be true.
        """
        inventory = self.inventories.get(peer)
        if inventory is not None:
            inventory.receive(message)
            self._changed.set()

    def repeat(self, peer: int, send: Callable[[InventoryMessage], None]) -> None:
        """Begin anew with a member whose link came up in the middle of the run.

        Whatever was under way either way is lost with the old link; so both sides forget what
        they had of each other and say everything again.
        """
        known = self.inventories.get(peer)
        if known is None:
            return
        self.inventories[peer] = MemberInventory(peer, self.run, sources=known.sources)
        for message in self._told():
            send(message)

    def _told(self) -> Iterator[InventoryMessage]:
        """Yield what this member has told so far, in as few messages as fit."""
        mine = self._mine
        if self._begun is None:
            return
        yield self._begun
        teller = Teller(self.run)
        entries = mine.entries()
        while batch := list(itertools.islice(entries, limits.MAX_BATCH)):
            yield from teller.entries(batch)
        yield from teller.skips(mine.skips)
        if mine.state in (State.IDENTIFIED, State.HASHED):
            yield IdentificationEnded(run=self.run, entries=len(mine), skips=len(mine.skips))
        for hashes in _cut(self._hashes):
            yield HashesComputed(run=self.run, hashes=hashes)
        if mine.state is State.HASHED:
            yield HashingEnded(run=self.run)
        elif mine.state is State.FAILED:
            yield InventoryFailed(run=self.run, code=mine.failure or "internal")

    def fail(self, peer: int) -> None:
        """Give up waiting for a member: its entries count as unknown."""
        inventory = self.inventories.get(peer)
        if inventory is not None and inventory.state not in (State.HASHED, State.FAILED):
            # In IDENTIFIED, too: what it had not hashed is not known.
            inventory.state = State.FAILED
            inventory.failure = "member.unreachable"
            self._changed.set()

    def cancel(self) -> None:
        """End soon; ``take`` returns False."""
        self._cancelled = True
        self._changed.set()

    # --- this member -------------------------------------------------------------------

    async def take(self) -> bool:
        """Run to the end; return whether all inventories are in."""
        try:
            await self._identify()
            if not await self._until(wire.Activity.WAITING_IDENTIFICATION, self._identified):
                return False
            await self._hash()
        except FileError as error:
            log.warning("inventorying.failed", code=error.code)
            self._give_up(error.code)
        except Exception:
            # Whatever it was, the other members must not wait for this one for ever.
            log.exception("inventorying.broke")
            self._give_up("internal")
        if not self._cancelled and self._mine.state is State.HASHED:
            self._report(wire.Activity.INVENTORY_DONE)
        return await self._until(None, self._complete)

    def _give_up(self, code: str) -> None:
        if self._mine.state is not State.HASHED:
            self._tell(InventoryFailed(run=self.run, code=code))
        self._report(wire.Activity.INVENTORY_FAILED)

    @property
    def _mine(self) -> MemberInventory:
        return self.inventories[self._me]

    def _identified(self) -> bool:
        done = (State.IDENTIFIED, State.HASHED, State.FAILED)
        return all(inventory.state in done for inventory in self.inventories.values())

    def _complete(self) -> bool:
        done = (State.HASHED, State.FAILED)
        return all(inventory.state in done for inventory in self.inventories.values())

    async def _until(self, activity: wire.Activity | None, condition: Callable[[], bool]) -> bool:
        if activity is not None and not condition():
            self._report(activity)
        while not self._cancelled and not condition():
            self._changed.clear()
            await self._changed.wait()
        return not self._cancelled

    async def _identify(self) -> None:
        self._tell(
            InventoryBegun(
                run=self.run,
                case_insensitive=any(probe.case_insensitive for probe in self._probes),
                date_resolution_ns=max(
                    (probe.date_resolution_ns for probe in self._probes), default=1
                ),
                windows_names=any(probe.windows_names for probe in self._probes),
            )
        )
        decide = Inclusion(self._settings).decide
        for position, probe in enumerate(self._probes):
            batches = scan(
                probe.root, source=position, decide=decide, cancelled=lambda: self._cancelled
            )
            with contextlib.closing(batches):
                while not self._cancelled:
                    batch = await asyncio.to_thread(next, batches, None)
                    if batch is None:
                        break
                    self._take_batch(batch)
                    await self._outlet.drained()
        if not self._cancelled:
            entries, skips = len(self._mine), len(self._mine.skips)
            self._tell(IdentificationEnded(run=self.run, entries=entries, skips=skips))

    def _take_batch(self, batch: Batch) -> None:
        before, volume = len(self._mine), self._mine.volume
        for found in self._teller.entries(batch.entries):
            self._tell(found)
        for skipped in self._teller.skips(batch.skips):
            self._tell(skipped)
        directories = self._mine.kinds.count(Kind.DIRECTORY, before)
        self._found[0] += len(batch.entries) - directories
        self._found[1] += directories
        self._found[2] += self._mine.volume - volume
        self._report(wire.Activity.IDENTIFYING)

    async def _hash(self) -> None:
        numbers = await asyncio.to_thread(
            to_hash, self._me, list(self.inventories.values()), self._settings
        )
        sizes = self._mine.sizes
        self._to_hash = (len(numbers), sum(sizes[number] for number in numbers))
        self._report(wire.Activity.ANALYSING)
        slices = self._slices(numbers)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(HASH_WORKERS):
                tasks.create_task(self._hash_slices(slices))
        if not self._cancelled:
            self._tell(HashingEnded(run=self.run))

    def _slices(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        """Cut *numbers* into what is hashed between two looks at the loop, one source each."""
        current: list[int] = []
        size = 0
        positions, sizes = self._mine.positions, self._mine.sizes
        for number in numbers:
            other = bool(current) and positions[number] != positions[current[0]]
            if current and (other or len(current) >= HASH_FILES or size >= HASH_BYTES):
                yield current
                current, size = [], 0
            current.append(number)
            size += sizes[number]
        if current:
            yield current

    async def _hash_slices(self, slices: Iterator[list[int]]) -> None:
        for numbers in slices:
            if self._cancelled:
                return
            hashes = await asyncio.to_thread(self._hash_slice, numbers)
            for batch in _cut(hashes):
                self._tell(HashesComputed(run=self.run, hashes=batch))
            self._hashed[0] += len(numbers)
            self._hashed[1] += sum(self._mine.sizes[number] for number in numbers)
            self._report(wire.Activity.ANALYSING)
            await self._outlet.drained()

    def _hash_slice(self, numbers: Sequence[int]) -> list[Hash]:
        """Return the digest of each entry, from the cache where it is unchanged."""
        root = self._probes[self._mine.positions[numbers[0]]].root
        paths = [self._mine.path(number) for number in numbers]
        results: list[Hash] = []
        asked: list[tuple[int, RelPath, Stamp]] = []
        for number, path in zip(numbers, paths, strict=True):
            try:
                asked.append((number, path, stamp_of(root.stat(path))))
            except FileError as error:
                results.append(Hash(number, None, reason_of(error)))
        known: Sequence[bytes | None] = [None] * len(asked)
        if not self._rehash:
            known = self._cache.get_many(root, [(path, stamp) for _, path, stamp in asked])
        learned: list[tuple[RelPath, Stamp, bytes]] = []
        began_ns = time.time_ns()
        for (number, path, stamp), digest in zip(asked, known, strict=True):
            if digest is not None and stamp.size == self._mine.sizes[number]:
                results.append(Hash(number, digest))
                continue
            try:
                hashed = hash_file(root, path, progress=lambda _read: not self._cancelled)
            except HashingCancelled:
                return results
            except FileError as error:
                results.append(Hash(number, None, reason_of(error)))
            else:
                results.append(Hash(number, hashed.digest))
                learned.append((path, hashed.stamp, hashed.digest))
        if learned:
            self._cache.put_many(root, learned, read_at_ns=began_ns)
        return results

    # --- telling ------------------------------------------------------------------------------

    def _tell(self, message: InventoryMessage) -> None:
        self._mine.receive(message)
        if isinstance(message, InventoryBegun):
            self._begun = message
        elif isinstance(message, HashesComputed):
            self._hashes += message.hashes
        self._outlet.broadcast(message)
        self._changed.set()

    def _report(self, activity: wire.Activity) -> None:
        mine = self._mine
        self._outlet.report(
            activity,
            wire.Progress(
                files=self._found[0],
                directories=self._found[1],
                size=self._found[2],
                skipped={
                    reason.name.lower(): count for reason, count in sorted(mine.skipped.items())
                },
                errors=len(mine.unreadable),
                to_hash_files=self._to_hash[0],
                to_hash_size=self._to_hash[1],
                hashed_files=self._hashed[0],
                hashed_size=self._hashed[1],
            ),
        )


def _cut(values: list[ValueT]) -> Iterator[list[ValueT]]:
    """Yield *values* in lists that fit one message."""
    for start in range(0, len(values), limits.MAX_BATCH):
        yield values[start : start + limits.MAX_BATCH]
