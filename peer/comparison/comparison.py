"""All inventories side by side: one row per item, one cell per member.

Every member computes this from the same messages and gets the same rows in the same order.
Rows are kept in columns and become ``Item`` and ``Cell`` when looked at, so that a million of
them fit.
"""

import array
import bisect
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from peer.comparison.matching import NO_GROUP, Matched, Matcher, Status
from peer.inventory.entries import MemberInventory
from peer.inventory.names import Key, folded, key_of
from peer.inventory.pairing import ABSENT, Block, Merge, Place, insensitive, tolerance_ns
from peer.session.session_settings import DataType, Metadata, SessionSettings
from protocol.messages.inventory import Entry, Kind, RelPath

_HASHED: Final = 1
_TWIN: Final = 2
_ROW: Final = 4


class Cell:
    """What one member has at one item's place."""

    __slots__ = ("block", "content", "group", "inventory", "number")

    def __init__(
        self, inventory: MemberInventory, number: int, block: Block, content: int, group: int
    ) -> None:
        self.inventory = inventory
        self.number = number
        """Of the entry in its member's inventory; ABSENT for none."""
        self.block = block
        """Why nothing may happen here; ``Block.NONE`` mostly."""
        self.content = content
        """Number of the content, equal for equal contents of the item; NO_GROUP for none."""
        self.group = group
        """Number of the content group: content and date."""

    @property
    def member(self) -> int:
        """Index of the member."""
        return self.inventory.member

    @property
    def present(self) -> bool:
        """Whether something is here that may be read, copied, replaced or deleted."""
        return self.content != NO_GROUP

    @property
    def missing(self) -> bool:
        """Whether it is known that nothing is here; a blocked place is not missing."""
        return self.number == ABSENT and not self.block

    @property
    def kind(self) -> Kind | None:
        """What stands here, blocked or not."""
        return None if self.number == ABSENT else self.inventory.kind(self.number)

    @property
    def size(self) -> int:
        """Bytes of the entry here."""
        return self.inventory.sizes[self.number]

    @property
    def mtime_ns(self) -> int:
        """Modification time of the entry here."""
        return self.inventory.mtimes[self.number]

    @property
    def path(self) -> RelPath:
        """Path of the entry here, in this member's own bytes."""
        return self.inventory.path(self.number)

    @property
    def entry(self) -> Entry | None:
        """The entry here, if there is one."""
        return None if self.number == ABSENT else self.inventory.entry(self.number)

    @property
    def digest(self) -> bytes | None:
        """Hash of the content here, where it was read."""
        return None if self.number == ABSENT else self.inventory.digest_of(self.number)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One row: the same thing on all members."""

    number: int
    """Its place in the comparison."""
    line: int
    """Which sources it is in: position k of every member."""
    key: Key
    """Identity within the line; empty for a single file that is a source itself."""
    cells: tuple[Cell, ...]
    """One per member, ascending by index."""
    status: Status
    hashed: bool
    """Whether everything called equal was read; otherwise size and date were believed."""
    twin: bool
    """Whether another item's name differs from this one's in case only."""
    row: bool
    """False for a directory where only files are compared: known, but no item."""

    @property
    def path(self) -> RelPath:
        """Path on the first member that has an entry here; names the item on every member."""
        return next(cell.path for cell in self.cells if cell.number != ABSENT)

    @property
    def present(self) -> list[Cell]:
        """The cells that hold something that may be acted on."""
        return [cell for cell in self.cells if cell.present]

    @property
    def blocked(self) -> list[Cell]:
        """The cells where nothing may happen; members without a source here not counted."""
        return [cell for cell in self.cells if cell.block and cell.block is not Block.NO_SOURCE]

    def cell(self, member: int) -> Cell:
        """Return the cell of *member* (an index).

        Raises:
            KeyError: If it takes no part in the comparison.
        """
        for cell in self.cells:
            if cell.member == member:
                return cell
        raise KeyError(member)

    def letters(self) -> str:
        """Return who holds which content, as ``A B = · C ≠ · D –``.

        Letters go by rank. ``=`` holds the first content and date, ``≈`` the same content with
        another date, ``≠`` another content, ``–`` nothing, ``!`` is blocked.
        """
        first = next((cell for cell in self.cells if cell.present), None)
        parts: dict[tuple[int, int], tuple[list[str], str]] = {}
        for letter, cell in zip("ABCDE", self.cells, strict=False):
            if cell.block is Block.NO_SOURCE:
                continue
            mark = _mark(cell, first)
            parts.setdefault((" ≈≠–!".find(mark), cell.group), ([], mark))[0].append(letter)
        return " · ".join(f"{' '.join(letters)} {mark}" for letters, mark in parts.values())


def _mark(cell: Cell, first: Cell | None) -> str:
    if cell.block:
        return "!"
    if first is None or not cell.present:
        return "–"
    if cell.group == first.group:
        return "="
    return "≈" if cell.content == first.content else "≠"


@dataclass(slots=True)
class Summary:
    """Counts over all rows: the facets the page opens with."""

    items: int = 0
    statuses: Counter[Status] = field(default_factory=Counter)
    only: Counter[int] = field(default_factory=Counter)
    """Items present on this member and missing on every other that takes part."""
    missing: Counter[int] = field(default_factory=Counter)
    """Items missing on this member."""
    blocked: Counter[int] = field(default_factory=Counter)
    """Items that this member's place blocks."""
    name_clashes: int = 0
    unhashed: int = 0
    """Items called equal by size and date alone."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs and nothing is unknown."""
        return self.statuses[Status.EQUAL] == self.items


class Comparison:
    """The items of a session, sorted by line and path; parents before children.

    Args:
        inventories: One per member, each at its end.
        settings: Of the session.
        without: Indices of members that are continued without.
    """

    def __init__(
        self,
        inventories: Sequence[MemberInventory],
        settings: SessionSettings,
        *,
        without: Collection[int] = (),
    ) -> None:
        inventories = sorted(inventories, key=lambda inventory: inventory.member)
        self.inventories = tuple(inventories)
        self.settings = settings
        self.without = frozenset(without)
        self.members = tuple(inventory.member for inventory in inventories)
        self.tolerance_ns = tolerance_ns(settings, inventories)
        self.insensitive = insensitive(settings, inventories)
        self.summary = Summary()
        self._keys: list[Key] = []
        self._lines = bytearray()
        self._statuses = bytearray()
        self._flags = bytearray()
        self._numbers = [array.array("i") for _ in inventories]
        self._blocks = [bytearray() for _ in inventories]
        self._contents = [array.array("b") for _ in inventories]
        self._groups = [array.array("b") for _ in inventories]
        merge = Merge(inventories, settings, without=without)
        self.occupied = merge.occupied
        """By position: line and key of directories that hold something skipped."""
        matcher = Matcher(
            inventories,
            tolerance=self.tolerance_ns,
            modes=settings.metadata is Metadata.DATES_AND_MODE,
        )
        fold: tuple[int, Key] | None = None
        for place in merge.places():
            self._add(place, matcher.match(place), twin=fold == (place.line, place.fold))
            fold = place.line, place.fold
        self._count_clashes()

    def _add(self, place: Place, matched: Matched, *, twin: bool) -> None:
        row = self.settings.data_type is not DataType.FILES or any(
            number != ABSENT and not inventory.is_directory(number)
            for inventory, number in zip(self.inventories, place.numbers, strict=True)
        )
        if twin:
            self._flags[-1] |= _TWIN
        self._keys.append(place.key)
        self._lines.append(place.line)
        self._statuses.append(matched.status)
        self._flags.append(_HASHED * matched.hashed | _TWIN * twin | _ROW * row)
        for position, number in enumerate(place.numbers):
            self._numbers[position].append(number)
            self._blocks[position].append(matched.blocks[position])
            self._contents[position].append(matched.contents[position])
            self._groups[position].append(matched.groups[position])
        if row:
            self._count(place, matched)

    def _count(self, place: Place, matched: Matched) -> None:
        summary = self.summary
        summary.items += 1
        summary.statuses[matched.status] += 1
        summary.unhashed += not matched.hashed
        holders = []
        others_miss = True
        for member, number, block in zip(self.members, place.numbers, matched.blocks, strict=True):
            if block:
                summary.blocked[member] += block is not Block.NO_SOURCE
                others_miss = others_miss and block is Block.NO_SOURCE
            elif number == ABSENT:
                summary.missing[member] += 1
            else:
                holders.append(member)
        if len(holders) == 1 and others_miss:
            summary.only[holders[0]] += 1

    def _count_clashes(self) -> None:
        self.summary.name_clashes = sum(
            bool(flags & _TWIN) or any(blocks[n] == Block.NAME_CLASH for blocks in self._blocks)
            for n, flags in enumerate(self._flags)
            if flags & _ROW
        )

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Item]:
        return map(self.item, range(len(self)))

    def item(self, number: int) -> Item:
        """Return item *number*."""
        flags = self._flags[number]
        return Item(
            number=number,
            line=self._lines[number],
            key=self._keys[number],
            cells=tuple(
                Cell(
                    inventory,
                    self._numbers[position][number],
                    Block(self._blocks[position][number]),
                    self._contents[position][number],
                    self._groups[position][number],
                )
                for position, inventory in enumerate(self.inventories)
            ),
            status=Status(self._statuses[number]),
            hashed=bool(flags & _HASHED),
            twin=bool(flags & _TWIN),
            row=bool(flags & _ROW),
        )

    def rows(self) -> Iterator[Item]:
        """Yield the items people see."""
        return (self.item(n) for n, flags in enumerate(self._flags) if flags & _ROW)

    def status(self, number: int) -> Status:
        """Return the status of item *number* without building it."""
        return Status(self._statuses[number])

    def backwards(self, position: int) -> Iterator[tuple[int, int, Key, bool]]:
        """Yield number, line, key and whether the member at *position* has an entry there.

        From the last item to the first: children before their directory.
        """
        numbers = self._numbers[position]
        for number in range(len(self) - 1, -1, -1):
            yield number, self._lines[number], self._keys[number], numbers[number] != ABSENT

    def hashed_entries(self, position: int) -> Iterator[tuple[bytes, int]]:
        """Yield digest and entry of the member at *position* where it may be read, in order."""
        inventory = self.inventories[position]
        for number, content in zip(self._numbers[position], self._contents[position], strict=True):
            if content != NO_GROUP:
                digest = inventory.digest_of(number)
                if digest is not None:
                    yield digest, number

    def find(self, line: int, path: RelPath) -> Item | None:
        """Return the item that *path* names in *line*, whoever's spelling it is."""
        return self.find_key(line, key_of(path, insensitive=self.insensitive))

    def find_key(self, line: int, key: Key) -> Item | None:
        """Return the item with this identity."""
        wanted = line, tuple(map(folded, key)), key
        number = bisect.bisect_left(range(len(self)), wanted, key=self._sort_key)
        if number == len(self) or (self._lines[number], self._keys[number]) != (line, key):
            return None
        return self.item(number)

    def _sort_key(self, number: int) -> tuple[int, Key, Key]:
        key = self._keys[number]
        return self._lines[number], tuple(map(folded, key)), key

    def root(self, line: int, member: int) -> Kind | None:
        """Return what the root of *member*'s source in *line* is; None where it has none."""
        return self.inventories[self.members.index(member)].roots.get(line)
