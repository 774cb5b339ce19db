"""What stands at the same place on several members: their entries, merged by identity.

Sources are paired in lines: position k of each member is line k. Within a line two entries
are at the same place when their paths have the same identity. All members' entries are read
as sorted streams and merged, parents before children, so that everything above (the hashing
plan, the comparison) sees one place at a time and the same order everywhere.
"""

import enum
import heapq
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from peer.inventory.entries import MemberInventory
from peer.inventory.names import Key, folded, identity
from peer.session.session_settings import Case, SessionSettings
from protocol.messages.inventory import Kind, SkipReason

ABSENT: Final = -1
"""In the place of an entry's number: this member has no entry here."""

NS_PER_MS: Final = 1_000_000


class Block(enum.IntEnum):
    """Why nothing may be read, written or deleted at a place of a member.

    The first values are those of ``SkipReason``: what was skipped there, or above it.
    """

    NONE = 0
    HIDDEN = SkipReason.HIDDEN
    SYSTEM = SkipReason.SYSTEM
    NOISE = SkipReason.NOISE
    PATTERN = SkipReason.PATTERN
    LINK = SkipReason.LINK
    SPECIAL = SkipReason.SPECIAL
    PLACEHOLDER = SkipReason.PLACEHOLDER
    INACCESSIBLE = SkipReason.INACCESSIBLE
    VANISHED = SkipReason.VANISHED
    IO_ERROR = SkipReason.IO_ERROR
    TOO_LONG = SkipReason.TOO_LONG
    DATA_TYPE = SkipReason.DATA_TYPE
    MOUNT_POINT = SkipReason.MOUNT_POINT
    NAME_CLASH = 100
    """Several names of this member are the same here (case, Unicode form)."""
    NO_SOURCE = 101
    """The member offers no source in this line."""
    UNKNOWN = 102
    """The member's inventory failed, or it is continued without."""


@dataclass(frozen=True, slots=True)
class Place:
    """One identity in one line, on every member.

    ``numbers`` and ``blocks`` go by the members' positions in what was merged.
    """

    line: int
    key: Key
    fold: Key
    """The key without case: places with equal ``fold`` differ in case only."""
    numbers: tuple[int, ...]
    """Each member's entry, ABSENT for none."""
    blocks: tuple[Block, ...]


def insensitive(settings: SessionSettings, inventories: Sequence[MemberInventory]) -> bool:
    """Tell whether names that differ only in case are one."""
    if settings.case is Case.AUTOMATIC:
        return any(inventory.case_insensitive for inventory in inventories if inventory.known)
    return settings.case is Case.INSENSITIVE


def tolerance_ns(settings: SessionSettings, inventories: Sequence[MemberInventory]) -> int:
    """Return how far apart two dates are that count as equal, nanoseconds."""
    if settings.date_tolerance_ms is not None:
        return settings.date_tolerance_ms * NS_PER_MS
    resolutions = [inventory.date_resolution_ns for inventory in inventories if inventory.known]
    # Dates kept in units of r differ by less than r from what they stand for.
    return max(resolutions, default=1) - 1


# What is sorted: line, key without case, key, whether an entry, member's position, number. A
# skip's number counts in the member's skips, and it comes before the entries it blocks.
_Record = tuple[int, Key, Key, bool, int, int]


class Merge:
    """The places of several members' inventories, in order.

    Args:
        inventories: One per member, ascending by index. One that is not known counts as
            unknown everywhere.
        settings: Of the session.
        without: Indices of members that are continued without: as unknown as one that failed.
    """

    def __init__(
        self,
        inventories: Sequence[MemberInventory],
        settings: SessionSettings,
        *,
        without: Collection[int] = (),
    ) -> None:
        self._inventories = inventories
        self._insensitive = insensitive(settings, inventories)
        self._known = [
            inventory.known and inventory.member not in without for inventory in inventories
        ]
        self.occupied: tuple[set[tuple[int, Key]], ...] = tuple(set() for _ in inventories)
        """By member: line and key of the directories that hold something skipped, at any
        depth; complete once ``places`` has been read to its end."""
        self._folds: dict[bytes, tuple[str, str]] = {}

    def places(self) -> Iterator[Place]:
        """Yield every place but the roots of directories, parents before children."""
        streams = [
            self._records(position, inventory)
            for position, inventory in enumerate(self._inventories)
            if self._known[position]
        ]
        above: list[tuple[Key, Key, int, Block]] = []
        line = ABSENT
        lines: list[Block] = []
        below: list[Block] = []
        for (at, fold, key), group in itertools.groupby(
            heapq.merge(*streams), key=lambda record: record[:3]
        ):
            if at != line:
                line, above = at, []
                lines = [self._block_of_line(n, line) for n in range(len(self._inventories))]
                below = [self._block_below(n, line) for n in range(len(self._inventories))]
            while above and fold[: len(above[-1][0])] != above[-1][0]:
                above.pop()
            numbers, here = self._gathered(line, key, group)
            above += [(fold, key, position, block) for position, block in here]
            # No row: a place that is skipped wherever it exists, and the root of a folder.
            if max(numbers) == ABSENT or (not key and self._only_directories(numbers)):
                continue
            blocks = list(below if key else lines)
            for _, prefix, position, block in above:
                if key[: len(prefix)] == prefix and not blocks[position]:
                    blocks[position] = block
            yield Place(line, key, fold, tuple(numbers), tuple(blocks))

    def _gathered(
        self, line: int, key: Key, group: Iterator[_Record]
    ) -> tuple[list[int], list[tuple[int, Block]]]:
        """Return the members' entries at one key, and what blocks it from here down."""
        numbers = [ABSENT] * len(self._inventories)
        here: list[tuple[int, Block]] = []
        for *_, is_entry, position, number in group:
            if not is_entry:
                here.append((position, Block(self._inventories[position].skips[number].reason)))
                self._occupy(position, line, key)
            elif numbers[position] == ABSENT:
                numbers[position] = number
            else:
                here.append((position, Block.NAME_CLASH))
                self._occupy(position, line, key)
        return numbers, here

    def _occupy(self, position: int, line: int, key: Key) -> None:
        occupied = self.occupied[position]
        for depth in range(len(key) - 1, 0, -1):
            place = line, key[:depth]
            if place in occupied:
                return
            occupied.add(place)

    def _only_directories(self, numbers: Sequence[int]) -> bool:
        return all(
            number == ABSENT or inventory.is_directory(number)
            for inventory, number in zip(self._inventories, numbers, strict=True)
        )

    def _block_of_line(self, position: int, line: int) -> Block:
        inventory = self._inventories[position]
        if not self._known[position]:
            return Block.UNKNOWN
        if line >= inventory.sources:
            return Block.NO_SOURCE
        # A source without a root could not be walked: its folder is not empty, it is unknown.
        return Block.NONE if line in inventory.roots else Block.INACCESSIBLE

    def _block_below(self, position: int, line: int) -> Block:
        # A single file pairs with the others' single files, and with nothing below their
        # folders: what it cannot have there must not look deleted.
        root = self._inventories[position].roots.get(line, Kind.DIRECTORY)
        block = self._block_of_line(position, line)
        return block if block or root is Kind.DIRECTORY else Block.NO_SOURCE

    def _records(self, position: int, inventory: MemberInventory) -> list[_Record]:
        records: list[_Record] = []
        keys: dict[int, tuple[Key, Key]] = {}
        for number, name in enumerate(inventory.names):
            fold, key = keys.get(inventory.parents[number], ((), ()))
            if inventory.parents[number] != ABSENT:
                fold, key = self._below(fold, key, name)
            if inventory.is_directory(number):
                keys[number] = fold, key
            records.append((inventory.positions[number], fold, key, True, position, number))
        for number, skip in enumerate(inventory.skips):
            fold, key = (), ()
            for name in skip.path:
                fold, key = self._below(fold, key, name)
            records.append((skip.source, fold, key, False, position, number))
        records.sort()
        return records

    def _below(self, fold: Key, key: Key, name: bytes) -> tuple[Key, Key]:
        known = self._folds.get(name)
        if known is None:
            exact = identity(name)
            without_case = folded(exact)
            known = without_case, without_case if self._insensitive else exact
            self._folds[name] = known
        below = (*fold, known[0])
        if fold is key and known[0] == known[1]:
            # One tuple serves as both: most names are lower case already.
            return below, below
        return below, (*key, known[1])
