"""All inventories side by side: one row per item, one cell per member.

Every member computes this from the same messages and gets the same rows in the same order.
Rows are kept in columns and become ``Item`` and ``Cell`` when looked at, so that a million of
them fit.
"""

import array
import bisect
import functools
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from peer.comparison.matching import NO_GROUP, Matched, Matcher, Status
from peer.comparison.texts import Texts
from peer.inventory.entries import MemberInventory
from peer.inventory.names import Key, folded, identity, key_of
from peer.inventory.pairing import ABSENT, Block, Merge, insensitive, tolerance_ns
from peer.session.session_settings import DataType, Metadata, SessionSettings
from protocol.messages.inventory import MAX_TIME_NS, Entry, Kind, RelPath


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


_NOTHING: Final = -MAX_TIME_NS - 1
"""Below every date and size."""


@dataclass(frozen=True, slots=True)
class RowKind:
    """What rows have in common that differ in names, sizes and dates only."""

    matched: Matched
    kinds: tuple[int, ...]
    """By member's position: what stands there, blocked or not; 0 for nothing."""
    twin: bool
    row: bool


def _present(kind: RowKind, *, position: int) -> bool:
    return kind.matched.contents[position] != NO_GROUP


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
        self._parents = array.array("i")
        """Row of the directory each row is in; -1 directly in a source."""
        self._lines = bytearray()
        self._numbers = [array.array("i") for _ in inventories]
        self._sorts = array.array("H")
        """Which of ``_kinds_of_rows`` each row is: most of a million rows are of a few."""
        self._kinds_of_rows: list[RowKind] = []
        self._samples: list[int] = []
        """The first row of each kind."""
        self._texts: Texts | None = None
        merge = Merge(inventories, settings, without=without)
        self.lines = merge.lines
        """By line and member's position: which of its sources belong to the line."""
        self.occupied = merge.occupied
        """By position: line and key of directories that hold something skipped."""
        self._compare(merge)
        self._count()

    def _compare(self, merge: Merge) -> None:
        inventories = self.inventories
        matcher = Matcher(
            inventories,
            tolerance=self.tolerance_ns,
            modes=self.settings.metadata is Metadata.DATES_AND_MODE,
        )
        only_files = self.settings.data_type is DataType.FILES
        # The matcher keeps what it returned, so that equal ones are one.
        known: dict[tuple[int, tuple[int, ...], bool], int] = {}
        # The rows of the directories the present one is in, from the top.
        above: list[int] = []
        match, columns = matcher.match, self._numbers
        for row, place in enumerate(merge.places()):
            numbers = place.numbers
            matched = match(place)
            what = place.kinds
            sort = id(matched), what, place.twin
            index = known.get(sort)
            if index is None:
                index = known[sort] = len(known)
                is_row = not only_files or any(kind not in (0, Kind.DIRECTORY) for kind in what)
                self._samples.append(row)
                self._kinds_of_rows.append(RowKind(matched, what, place.twin, is_row))
            self._sorts.append(index)
            self._lines.append(place.line)
            for column, number in zip(columns, numbers, strict=True):
                column.append(number)
            del above[place.depth :]
            self._parents.append(above[-1] if above else -1)
            above.append(row)

    def _count(self) -> None:
        summary = self.summary
        for index, count in Counter(self._sorts).items():
            kind = self._kinds_of_rows[index]
            if kind.row:
                self._count_kind(kind, count)
        summary.missing = Counter(dict(sorted(summary.missing.items())))

    def _count_kind(self, kind: "RowKind", count: int) -> None:
        summary, matched = self.summary, kind.matched
        summary.items += count
        summary.statuses[matched.status] += count
        summary.unhashed += count * (not matched.hashed)
        if kind.twin or Block.NAME_CLASH in matched.blocks:
            summary.name_clashes += count
        holders = []
        others_miss = True
        for member, block, content in zip(
            self.members, matched.blocks, matched.contents, strict=True
        ):
            if block:
                if block is not Block.NO_SOURCE:
                    summary.blocked[member] += count
                    others_miss = False
            elif content == NO_GROUP:
                summary.missing[member] += count
            else:
                holders.append(member)
        if len(holders) == 1 and others_miss:
            summary.only[holders[0]] += count

    def __len__(self) -> int:
        return len(self._sorts)

    def __iter__(self) -> Iterator[Item]:
        return map(self.item, range(len(self)))

    def item(self, number: int) -> Item:
        """Return item *number*."""
        kind = self._kinds_of_rows[self._sorts[number]]
        matched = kind.matched
        line = self._lines[number]
        return Item(
            number=number,
            line=line,
            key=self.key(number),
            cells=tuple(
                Cell(inventory, column[number], block, content, group)
                for inventory, column, block, content, group in zip(
                    self.inventories,
                    self._numbers,
                    matched.blocks,
                    matched.contents,
                    matched.groups,
                    strict=True,
                )
            ),
            status=matched.status,
            hashed=matched.hashed,
            twin=kind.twin,
            row=kind.row,
        )

    def key(self, number: int) -> Key:
        """Return the identity of item *number* within its line."""
        names = []
        while number >= 0:
            name = self._name(number)
            if name is None:
                break
            names.append(name)
            number = self._parents[number]
        return tuple(reversed(names))

    def _name(self, number: int) -> str | None:
        """Return the last component of an item's key; None for a source that is a file."""
        for inventory, column in zip(self.inventories, self._numbers, strict=True):
            entry = column[number]
            if entry != ABSENT:
                if inventory.parents[entry] == ABSENT:
                    return None
                name = identity(inventory.names[entry])
                return folded(name) if self.insensitive else name
        raise AssertionError("every item is somewhere")

    def rows(self) -> Iterator[Item]:
        """Yield the items people see."""
        return map(self.item, self.selected(lambda kind: kind.row))

    def mask(self, holds: Callable[["RowKind"], bool]) -> bytes:
        """Return a byte for every item: whether *holds* is true of what kind of row it is."""
        table = [holds(kind) for kind in self._kinds_of_rows]
        return bytes(map(table.__getitem__, self._sorts))

    def mask_by_sample(self, holds: Callable[[Item], int]) -> bytes:
        """Return a byte for every item: what *holds* says of the first of its kind."""
        table = [holds(self.item(number)) for number in self._samples]
        return bytes(map(table.__getitem__, self._sorts))

    def prepare_texts(self) -> Texts:
        """Return the paths of all items, to be searched; slow the first time."""
        if self._texts is None:
            self._texts = Texts(self._plain_paths())
        return self._texts

    @property
    def texts(self) -> Texts:
        """The paths of all items, to be searched."""
        return self.prepare_texts()

    def _plain_paths(self) -> Iterator[str]:
        directories: dict[int, str] = {-1: ""}
        columns = [
            (column, inventory.names)
            for column, inventory in zip(self._numbers, self.inventories, strict=True)
        ]
        for row, parent in enumerate(self._parents):
            name = next(names[column[row]] for column, names in columns if column[row] != ABSENT)
            text = identity(name).casefold()
            path = f"{directories[parent]}/{text}" if parent >= 0 else text
            kind = self._kinds_of_rows[self._sorts[row]]
            # One of several names that clash may be a directory, too.
            if Kind.DIRECTORY in kind.kinds or Block.NAME_CLASH in kind.matched.blocks:
                directories[row] = path
            yield path

    def selected(self, holds: Callable[["RowKind"], bool]) -> Iterator[int]:
        """Yield the numbers of the items of the kinds that *holds* is true of."""
        return itertools.compress(range(len(self)), self.mask(holds))

    def numbers_of(self, position: int) -> "array.array[int]":
        """Return the column of entries of the member at *position*; ABSENT for none."""
        return self._numbers[position]

    def status(self, number: int) -> Status:
        """Return the status of item *number* without building it."""
        return self._kinds_of_rows[self._sorts[number]].matched.status

    def backwards(self, position: int) -> Iterator[tuple[int, int, Key, bool]]:
        """Yield number, line, key and whether the member at *position* has an entry there.

        From the last item to the first: children before their directory.
        """
        numbers = self._numbers[position]
        for number in range(len(self) - 1, -1, -1):
            yield number, self._lines[number], self.key(number), numbers[number] != ABSENT

    def largest(self, *, dates: bool) -> "array.array[int]":
        """Return a column: the largest size, or newest date, of what is there; -2^62 for none."""
        result = array.array("q", [_NOTHING]) * len(self)
        for position, inventory in enumerate(self.inventories):
            present = self.mask(functools.partial(_present, position=position))
            values = inventory.mtimes if dates else inventory.sizes
            numbers = self._numbers[position]
            for row in itertools.compress(range(len(self)), present):
                value = values[numbers[row]]
                if value > result[row]:  # noqa: PLR1730  # a call for each of a million
                    result[row] = value
        return result

    def hashed_entries(self, position: int) -> Iterator[tuple[bytes, int]]:
        """Yield digest and entry of the member at *position* where it may be read, in order."""
        inventory = self.inventories[position]
        present = self.mask(functools.partial(_present, position=position))
        for number in itertools.compress(self._numbers[position], present):
            digest = inventory.digest_of(number)
            if digest is not None:
                yield digest, number

    def find(self, line: int, path: RelPath) -> Item | None:
        """Return the item that *path* names in *line*, whoever's spelling it is."""
        return self.find_key(line, key_of(path, insensitive=self.insensitive))

    def find_key(self, line: int, key: Key) -> Item | None:
        """Return the item with this identity."""
        wanted = line, tuple((folded(name), name) for name in key)
        number = bisect.bisect_left(range(len(self)), wanted, key=self._sort_key)
        if number == len(self) or (self._lines[number], self.key(number)) != (line, key):
            return None
        return self.item(number)

    def _sort_key(self, number: int) -> tuple[int, tuple[tuple[str, str], ...]]:
        key = self.key(number)
        return self._lines[number], tuple((folded(name), name) for name in key)

    def root(self, line: int, member: int) -> Kind | None:
        """Return what the root of *member*'s source in *line* is; None where it has none."""
        position = self.members.index(member)
        roots = self.inventories[position].roots
        kinds = [roots[source] for source in self.lines[line][position] if source in roots]
        return min(kinds, key=lambda kind: kind is not Kind.DIRECTORY) if kinds else None

    def source(self, line: int, member: int) -> int:
        """Return the source of *member* that takes what is new in *line*."""
        position = self.members.index(member)
        roots = self.inventories[position].roots
        sources = self.lines[line][position]
        directories = [at for at in sources if roots.get(at) is Kind.DIRECTORY]
        return (directories or list(sources))[0]
