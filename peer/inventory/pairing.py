"""What stands at the same place on several members: their entries, merged by identity.

Sources are paired in lines: position k of each member is line k. Within a line two entries
are at the same place when their paths have the same identity. All members' directories are merged
from the top, names in order, so that everything above (the hashing plan, the comparison) sees
one place at a time and the same order everywhere.
"""

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from peer.inventory.entries import MemberInventory
from peer.inventory.names import Key, folded, identity
from peer.session.session_settings import Case, Pairing, SessionSettings
from protocol.messages.inventory import Kind, SkipReason

ABSENT: Final = -1
"""In the place of an entry's number: this member has no entry here."""

NS_PER_MS: Final = 1_000_000
_DIRECTORY: Final = Kind.DIRECTORY.value


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


class Place(NamedTuple):
    """One identity in one line, on every member.

    ``numbers`` and ``blocks`` go by the members' positions in what was merged.
    """

    line: int
    key: Key
    numbers: tuple[int, ...]
    """Each member's entry, ABSENT for none."""
    blocks: tuple[Block, ...]
    twin: bool
    """Whether a name beside it differs from this one in case only."""
    depth: int
    """How many directories of the line it lies in."""
    kinds: tuple[int, ...]
    """What each member has there, blocked or not; 0 for nothing."""


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


class _Directory(NamedTuple):
    """A directory being merged: what it is on every member, and what blocks it there."""

    key: Key
    numbers: tuple[tuple[int, ...], ...]
    """By member: the entries that are this directory, several where names clash."""
    blocks: tuple[Block, ...]


_Name = tuple[str, str]
"""A component without case, and its identity: what the names of one directory are sorted by."""

_Skips = dict[Key, dict[_Name, list[tuple[int, Block]]]]
"""What is skipped in a line, by directory and name: member's position and why."""


Children = Callable[[int], Sequence[int]]
"""Returns the entries directly in a directory."""


class Merge:
    """The places of several members' inventories, in order.

    Directories are merged one at a time, from the top: nothing but the names of those being
    walked is held, whatever the size of the inventories.

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
        self.lines = lines_of(inventories, settings)
        """By line and member's position: the sources that belong together."""
        self._known = [
            inventory.known and inventory.member not in without for inventory in inventories
        ]
        self.occupied: tuple[set[tuple[int, Key]], ...] = tuple(set() for _ in inventories)
        """By member: line and key of the directories that hold something skipped, at any
        depth; complete once ``places`` has been read to its end."""

    def places(self) -> Iterator[Place]:
        """Yield every place but the roots of directories, parents before children."""
        children = [inventory.children() for inventory in self._inventories]
        for line in range(len(self.lines)):
            yield from self._line(line, children)

    def _line(self, line: int, children: Sequence[Children]) -> Iterator[Place]:
        skips, at_root = self._skips(line)
        roots = [self._roots(position, line) for position in range(len(self._inventories))]
        blocks = [self._block_of_line(n, line) for n in range(len(roots))]
        numbers = tuple(root[0] if root else ABSENT for root in roots)
        for position, block in at_root:
            blocks[position] = blocks[position] or block
        if max(numbers, default=ABSENT) != ABSENT and not self._only_directories(numbers):
            kinds = tuple(map(self._kind, range(len(numbers)), numbers))
            yield Place(line, (), numbers, tuple(blocks), twin=False, depth=0, kinds=kinds)
        below = tuple(
            block or self._block_below(position, line) for position, block in enumerate(blocks)
        )
        top = _Directory((), tuple(map(tuple, roots)), below)
        waiting = [self._within(line, top, skips, children)]
        while waiting:
            for place, directory in waiting[-1]:
                yield place
                if directory is not None:
                    waiting.append(self._within(line, directory, skips, children))
                    break
            else:
                waiting.pop()

    def _within(
        self, line: int, directory: _Directory, skips: _Skips, children: Sequence[Children]
    ) -> Iterator[tuple[Place, _Directory | None]]:
        """Yield every place directly in *directory*, and what of it is a directory itself."""
        inventories = self._inventories
        found: dict[_Name, list[int]] = {}
        clashing: dict[_Name, list[tuple[int, int]]] = {}
        joined: dict[_Name, list[tuple[int, int]]] = {}
        absent = [ABSENT] * len(inventories)
        names_of = self._names_of
        columns = [inventory.kinds for inventory in inventories]
        for position, folders in enumerate(directory.numbers):
            names = inventories[position].names
            for folder in folders:
                for number in children[position](folder):
                    name = names_of(names[number])
                    group = found.get(name)
                    if group is None:
                        found[name] = group = absent.copy()
                        group[position] = number
                    elif group[position] == ABSENT:
                        group[position] = number
                    elif self._joined(position, group[position], number):
                        joined.setdefault(name, []).append((position, number))
                    else:
                        clashing.setdefault(name, []).append((position, number))
        skipped = skips.get(directory.key, {})
        ordered = sorted(found)
        folds = [fold for fold, _ in ordered]
        depth = len(directory.key)
        last = len(ordered) - 1
        for at, name in enumerate(ordered):
            numbers = tuple(found[name])
            key = (*directory.key, name[1])
            blocks = directory.blocks
            if name in skipped or name in clashing:
                blocks = self._blocked(
                    blocks, skipped.get(name, ()), clashing.get(name, ()), line, key
                )
            twin = (at > 0 and folds[at - 1] == folds[at]) or (
                at < last and folds[at + 1] == folds[at]
            )
            kinds = tuple(
                [0 if number == ABSENT else of[number] for number, of in zip(numbers, columns)]  # noqa: B905  # as many by construction; asked for each of a million
            )
            place = Place(line, key, numbers, blocks, twin, depth, kinds)
            if _DIRECTORY in kinds or name in clashing:
                more = (*clashing.get(name, ()), *joined.get(name, ()))
                yield place, self._directory(place, more)
            else:
                yield place, None

    def _blocked(
        self,
        above: tuple[Block, ...],
        skipped: Iterable[tuple[int, Block]],
        clashing: Iterable[tuple[int, int]],
        line: int,
        key: Key,
    ) -> tuple[Block, ...]:
        """Return what blocks a place, from it down, besides what blocks its directory."""
        blocks = list(above)
        for position, block in skipped:
            blocks[position] = blocks[position] or block
        for position, _ in clashing:
            blocks[position] = blocks[position] or Block.NAME_CLASH
            self._occupy(position, line, key)
        return tuple(blocks)

    def _kind(self, position: int, number: int) -> int:
        return 0 if number == ABSENT else self._inventories[position].kinds[number]

    def _joined(self, position: int, one: int, other: int) -> bool:
        """Whether two directories are one because the member's sources form one tree."""
        inventory = self._inventories[position]
        return (
            inventory.positions[one] != inventory.positions[other]
            and inventory.is_directory(one)
            and inventory.is_directory(other)
        )

    def _directory(self, place: Place, more: Iterable[tuple[int, int]]) -> _Directory | None:
        folders = [
            (number,) if number != ABSENT and inventory.is_directory(number) else ()
            for number, inventory in zip(place.numbers, self._inventories, strict=True)
        ]
        for position, number in more:
            if self._inventories[position].is_directory(number):
                folders[position] = (*folders[position], number)
        return _Directory(place.key, tuple(folders), place.blocks) if any(folders) else None

    def _skips(self, line: int) -> tuple[_Skips, list[tuple[int, Block]]]:
        """Return what was skipped in *line*, and that of it which is a root itself."""
        skips: _Skips = {}
        at_root = []
        for position, inventory in enumerate(self._inventories):
            sources = self.lines[line][position]
            if not self._known[position] or not sources:
                continue
            for skip in inventory.skips:
                if skip.source not in sources:
                    continue
                block = Block(skip.reason)
                if not skip.path:
                    at_root.append((position, block))
                    continue
                names = [self._names_of(name) for name in skip.path]
                key = tuple(key for _, key in names)
                skips.setdefault(key[:-1], {}).setdefault(names[-1], []).append((position, block))
                self._occupy(position, line, key)
        return skips, at_root

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

    def _roots(self, position: int, line: int) -> tuple[int, ...]:
        """Return the entries that are the roots of a member's sources in *line*."""
        if not self._known[position]:
            return ()
        inventory = self._inventories[position]
        sources = self.lines[line][position]
        return tuple(
            inventory.root_numbers[source] for source in sources if source in inventory.roots
        )

    def _block_of_line(self, position: int, line: int) -> Block:
        inventory = self._inventories[position]
        if not self._known[position]:
            return Block.UNKNOWN
        sources = self.lines[line][position]
        if not sources:
            return Block.NO_SOURCE
        # A source without a root could not be walked: its folder is not empty, it is unknown.
        walked = all(source in inventory.roots for source in sources)
        return Block.NONE if walked else Block.INACCESSIBLE

    def _block_below(self, position: int, line: int) -> Block:
        # A single file pairs with the others' single files, and with nothing below their
        # folders: what it cannot have there must not look deleted.
        roots = self._inventories[position].roots
        kinds = {roots.get(source, Kind.DIRECTORY) for source in self.lines[line][position]}
        return Block.NONE if Kind.DIRECTORY in kinds else Block.NO_SOURCE

    def _names_of(self, name: bytes) -> _Name:
        exact = identity(name)
        fold = folded(exact)
        return fold, fold if self._insensitive else exact


Lines = list[tuple[tuple[int, ...], ...]]
"""By line, by member's position: the positions of its sources that belong together."""


def lines_of(inventories: Sequence[MemberInventory], settings: SessionSettings) -> Lines:
    """Return which sources belong together.

    In lines: position k of every member. Re-paired: as the leader said; what it did not name
    is paired by position among the rest. Merged: all of them.
    """
    if settings.pairing is Pairing.MERGED:
        return [tuple(tuple(range(inventory.sources)) for inventory in inventories)]
    named = [
        tuple(
            tuple(pair.source for pair in line if pair.member == inventory.member)[:1]
            for inventory in inventories
        )
        for line in settings.pairs
    ]
    # Told before anybody knew how many sources there are: what is not offered is nobody's.
    lines = [
        tuple(
            tuple(source for source in sources if source < inventory.sources)
            for sources, inventory in zip(line, inventories, strict=True)
        )
        for line in named
    ]
    taken = [{source for line in lines for source in line[n]} for n in range(len(inventories))]
    rest = [
        [source for source in range(inventory.sources) if source not in taken[position]]
        for position, inventory in enumerate(inventories)
    ]
    lines += [
        tuple(tuple(sources[row : row + 1]) for sources in rest)
        for row in range(max(map(len, rest), default=0))
    ]
    return [line for line in lines if any(line)]
