"""The inventory of one member in one run, as its messages build it up.

    WAITING ──begun──▶ IDENTIFYING ──identified──▶ IDENTIFIED ──hashed──▶ HASHED
                        entries, skips               hashes
       └────────────────────┴──────────failed────────────┴──────▶ FAILED

Whatever arrives was written by somebody else: an order, a number or a path that cannot be is
refused, and every amount has a bound (security.md, T17). Entries are kept in columns, because
a million of them must fit.
"""

import array
import enum
import operator
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, assert_never

from peer.inventory.names import valid_path
from protocol import limits
from protocol.errors import RemoteProtocolError
from protocol.messages.inventory import (
    EntriesFound,
    EntriesSkipped,
    Entry,
    Hash,
    HashesComputed,
    HashingEnded,
    IdentificationEnded,
    InventoryBegun,
    InventoryFailed,
    InventoryMessage,
    Kind,
    RelPath,
    Skip,
    SkipReason,
)

ENTRY_COST: Final = 32
"""Bytes an entry counts besides its path and target: size, date, mode and their framing."""

MAX_LISTED: Final = 256
"""Directories whose names are kept ready for looking up paths."""

DIGEST_SIZE: Final = 32
"""Bytes of a BLAKE3-256 value."""

KINDS: Final = {kind.value: kind for kind in Kind}
"""A kind by its number; a look-up, where the enumeration itself would be a call."""

_FILE: Final = Kind.FILE.value
_DIRECTORY: Final = Kind.DIRECTORY.value
_LINK: Final = Kind.LINK.value
_KINDS_ALLOWED: Final = frozenset(KINDS)
_MODE_BITS: Final = 0o7777
_NO_NAMES: Final = frozenset((b".", b".."))
_NO_PARENT: Final = -1
_NO_DIGEST: Final = -1


class State(enum.Enum):
    """How far an inventory is."""

    WAITING = "waiting"
    IDENTIFYING = "identifying"
    IDENTIFIED = "identified"
    HASHED = "hashed"
    FAILED = "failed"


TRANSITIONS: Final[dict[tuple[State, type[InventoryMessage]], State]] = {
    (State.WAITING, InventoryBegun): State.IDENTIFYING,
    (State.WAITING, InventoryFailed): State.FAILED,
    (State.IDENTIFYING, EntriesFound): State.IDENTIFYING,
    (State.IDENTIFYING, EntriesSkipped): State.IDENTIFYING,
    (State.IDENTIFYING, IdentificationEnded): State.IDENTIFIED,
    (State.IDENTIFYING, InventoryFailed): State.FAILED,
    (State.IDENTIFIED, HashesComputed): State.IDENTIFIED,
    (State.IDENTIFIED, HashingEnded): State.HASHED,
    (State.IDENTIFIED, InventoryFailed): State.FAILED,
}


class MemberInventory:
    """What one member found, in one run.

    Args:
        member: Its index.
        run: Number of the inventory within the session.
        sources: How many data sources it offers.
    """

    def __init__(self, member: int, run: int, *, sources: int) -> None:
        self.member = member
        self.run = run
        self.sources = sources
        self.state = State.WAITING
        self.case_insensitive = False
        self.date_resolution_ns = 1
        self.windows_names = False
        self.failure: str | None = None
        """Code of what went wrong, once FAILED."""
        self.skips: list[Skip] = []
        self.skipped: Counter[SkipReason] = Counter()
        """Number of skips by reason, unreadable content included."""
        self.volume = 0
        """Bytes of all files found."""
        self.roots: dict[int, Kind] = {}
        """What the root of each source is, by the source's position."""
        self.root_numbers: dict[int, int] = {}
        """Number of each source's root, likewise."""
        self.unreadable: dict[int, SkipReason] = {}
        """Why the content of an entry could not be read, by its number."""
        self.sizes = array.array("q")
        self.mtimes = array.array("q")
        self.modes = array.array("H")
        self.kinds = bytearray()
        self.positions = bytearray()
        """Column of the sources the entries are in."""
        self.names: list[bytes] = []
        """Column of last components; empty for a root."""
        self.parents = array.array("i")
        """Column of the numbers of the directories they are in; -1 for a root."""
        self._targets: dict[int, bytes] = {}
        self._depths: dict[int, int] = {}
        """Components of every directory's path, while entries come."""
        self._lengths: dict[int, int] = {}
        """Bytes of every directory's path, likewise."""
        self._listed: dict[int, dict[bytes, int]] = {}
        self._listing: tuple[dict[int, int], dict[int, int], array.array[int]] | None = None
        self._slots = array.array("i")
        self._digests = bytearray()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def known(self) -> bool:
        """Whether everything this member holds has been told."""
        return self.state in (State.IDENTIFIED, State.HASHED)

    # --- what is there ---------------------------------------------------------

    def path(self, number: int) -> RelPath:
        """Return the path of entry *number*, original bytes."""
        reverse = []
        while (parent := self.parents[number]) != _NO_PARENT:
            reverse.append(self.names[number])
            number = parent
        return tuple(reversed(reverse))

    def kind(self, number: int) -> Kind:
        """Return what entry *number* is."""
        return KINDS[self.kinds[number]]

    def is_directory(self, number: int) -> bool:
        """Tell whether entry *number* is a directory."""
        return self.kinds[number] == _DIRECTORY

    def entry(self, number: int) -> Entry:
        """Return entry *number*."""
        return Entry(
            source=self.positions[number],
            path=self.path(number),
            kind=self.kind(number),
            size=self.sizes[number],
            mtime_ns=self.mtimes[number],
            mode=self.modes[number],
            target=self.target(number),
        )

    def target(self, number: int) -> bytes:
        """Return where entry *number* points, if it is a link."""
        return self._targets.get(number, b"")

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, in the order found."""
        return map(self.entry, range(len(self)))

    def children(self) -> Callable[[int], "array.array[int]"]:
        """Return a look-up of the entries directly in a directory, in the order found.

        Belongs to a whole identification.
        """
        if self._listing is None:
            order = array.array("i", sorted(range(len(self)), key=self.parents.__getitem__))
            begins: dict[int, int] = {}
            ends: dict[int, int] = {}
            at = 0
            for parent, count in sorted(Counter(self.parents).items()):
                begins[parent], at = at, at + count
                ends[parent] = at
            self._listing = begins, ends, order
        begins, ends, order = self._listing
        nothing = array.array("i")

        def within(directory: int) -> "array.array[int]":
            begin = begins.get(directory)
            return nothing if begin is None else order[begin : ends[directory]]

        return within

    def find(self, source: int, path: RelPath) -> int | None:
        """Return the number of the entry at *path*, None where there is none.

        Any thread may ask. A directory's names are kept for those asked about next to it.
        """
        number = self.root_numbers.get(source)
        for name in path:
            if number is None:
                return None
            number = self._names_in(number).get(name)
        return number

    def _names_in(self, directory: int) -> dict[bytes, int]:
        known = self._listed.get(directory)
        if known is None:
            known = {self.names[number]: number for number in self.children()(directory)}
            if len(self._listed) >= MAX_LISTED:
                # What another thread holds of it stays whole.
                self._listed = {}
            self._listed[directory] = known
        return known

    def digest_of(self, number: int) -> bytes | None:
        """Return the content hash of entry *number*; None if it was not, or could not be, read."""
        slot = self._slots[number]
        if slot == _NO_DIGEST:
            return None
        return bytes(self._digests[slot * DIGEST_SIZE : (slot + 1) * DIGEST_SIZE])

    def is_hashed(self, number: int) -> bool:
        """Tell whether the content of entry *number* was read."""
        return self._slots[number] != _NO_DIGEST

    # --- what arrives ------------------------------------------------------------

    def receive(self, message: InventoryMessage) -> bool:
        """Take one message of this member; return whether it belongs to this run.

        A message of an earlier run is dropped: it was on its way when that run was cancelled.

        Raises:
            RemoteProtocolError: If the message cannot be true or comes at the wrong time.
        """
        if message.run < self.run:
            return False
        if message.run > self.run:
            raise RemoteProtocolError(f"run {message.run} has not begun")
        target = TRANSITIONS.get((self.state, type(message)))
        if target is None:
            raise RemoteProtocolError(f"{type(message).__name__} while {self.state.value}")
        self._take(message)
        self.state = target
        return True

    def _take(self, message: InventoryMessage) -> None:
        match message:
            case InventoryBegun():
                self.case_insensitive = message.case_insensitive
                self.date_resolution_ns = message.date_resolution_ns
                self.windows_names = message.windows_names
            case EntriesFound():
                self._add_entries(message)
            case EntriesSkipped():
                for skip in message.skips:
                    self._add_skip(skip)
            case IdentificationEnded():
                self._end_identification(message)
            case HashesComputed():
                for result in message.hashes:
                    self._add_hash(result)
            case HashingEnded():
                pass
            case InventoryFailed():
                self.failure = message.code
            case _:
                assert_never(message)

    def _add_entries(self, found: EntriesFound) -> None:
        """Take columns; everything is checked a column at a time, which a million entries need."""
        base, count = len(self), len(found.names)
        columns = (found.above, found.kinds, found.sizes, found.mtimes)
        if any(len(column) != count for column in columns) or len(found.modes) != 2 * count:
            raise RemoteProtocolError("columns of different lengths")
        if base + count > limits.MAX_ENTRIES:
            raise RemoteProtocolError(f"more than {limits.MAX_ENTRIES} entries")
        self._charge(ENTRY_COST * count + sum(map(len, found.names)) + sum(map(len, found.targets)))
        if not _KINDS_ALLOWED.issuperset(found.kinds):
            raise RemoteProtocolError("an entry of no kind")
        modes = array.array("H", struct.unpack(f">{count}H", found.modes))
        if max(modes, default=0) > _MODE_BITS:
            raise RemoteProtocolError("a mode of no permissions")
        if any(map(operator.gt, found.above, range(base, base + count))):
            raise RemoteProtocolError("an entry comes before its directory")
        parents = array.array("i", map(operator.sub, range(base, base + count), found.above))
        self._check_names(found)
        self._take_roots(found, parents, base)
        self._take_targets(found, base)
        self.names += found.names
        self.parents += parents
        self.kinds += found.kinds
        self.sizes.extend(found.sizes)
        self.mtimes.extend(found.mtimes)
        self.modes += modes
        self._place_below(parents, found.names, base)
        self.volume += sum(
            size for size, kind in zip(found.sizes, found.kinds, strict=True) if kind == _FILE
        )

    def _check_names(self, found: EntriesFound) -> None:
        names = found.names
        joined = b"\0".join(names)
        bad = (
            b"/" in joined
            or joined.count(b"\0") != max(len(names) - 1, 0)
            or not _NO_NAMES.isdisjoint(names)
            or names.count(b"") != len(found.roots)
        )
        if bad:
            raise RemoteProtocolError("a path that leads nowhere")

    def _take_roots(self, found: EntriesFound, parents: "array.array[int]", base: int) -> None:
        if found.above.count(0) != len(found.roots):
            raise RemoteProtocolError("a root of no source, or a source of no root")
        at = -1
        for source in found.roots:
            at = found.above.index(0, at + 1)
            if source >= self.sources:
                raise RemoteProtocolError("a source that is not offered")
            if found.names[at]:
                raise RemoteProtocolError("a path that leads nowhere")
            if source in self.roots:
                raise RemoteProtocolError("a source has one root")
            self.roots[source] = KINDS[found.kinds[at]]
            self.root_numbers[source] = base + at
            parents[at] = _NO_PARENT

    def _take_targets(self, found: EntriesFound, base: int) -> None:
        if found.kinds.count(_LINK) != len(found.targets):
            raise RemoteProtocolError("a link without a target")
        at = -1
        for target in found.targets:
            at = found.kinds.index(_LINK, at + 1)
            self._targets[base + at] = target

    def _place_below(self, parents: "array.array[int]", names: Sequence[bytes], base: int) -> None:
        """Give every entry its source, and check that it may lie where it does."""
        kinds, positions, depths, lengths = self.kinds, self.positions, self._depths, self._lengths
        start, count = 0, len(parents)
        while start < count:
            parent = parents[start]
            end = start + 1
            # A run of one directory's entries at a time.
            while end < count and parents[end] == parent:
                end += 1
            if parent == _NO_PARENT:
                source, depth, length = self._source_of_root(base + start), 0, 0
                end = start + 1
            else:
                if kinds[parent] != _DIRECTORY:
                    raise RemoteProtocolError("an entry comes before its directory")
                source, depth = positions[parent], depths[parent] + 1
                length = lengths[parent] + 1
                longest = max(map(len, names[start:end]))
                if depth > limits.MAX_DEPTH or length + longest > limits.MAX_PATH:
                    raise RemoteProtocolError("a path that leads nowhere")
            positions += bytes([source]) * (end - start)
            for number in range(start, end):
                if kinds[base + number] == _DIRECTORY:
                    depths[base + number] = depth
                    lengths[base + number] = length + len(names[number])
            start = end

    def _source_of_root(self, number: int) -> int:
        return next(source for source, root in self.root_numbers.items() if root == number)

    def _add_skip(self, skip: Skip) -> None:
        if len(self.skips) >= limits.MAX_ENTRIES:
            raise RemoteProtocolError(f"more than {limits.MAX_ENTRIES} skips")
        if skip.source >= self.sources:
            raise RemoteProtocolError("a source that is not offered")
        if not valid_path(skip.path):
            raise RemoteProtocolError("a path that leads nowhere")
        self._charge(ENTRY_COST + sum(map(len, skip.path)) + len(skip.path))
        self.skips.append(skip)
        self.skipped[skip.reason] += 1

    def _charge(self, size: int) -> None:
        self._bytes += size
        if self._bytes > limits.MAX_INVENTORY_BYTES:
            raise RemoteProtocolError(f"more than {limits.MAX_INVENTORY_BYTES} bytes of inventory")

    def _end_identification(self, message: IdentificationEnded) -> None:
        if (message.entries, message.skips) != (len(self), len(self.skips)):
            raise RemoteProtocolError("entries or skips are missing")
        # Distinct hashes show that no place stands twice, at half the memory of the places.
        if len(set(map(hash, self._places()))) < len(self) > len(set(self._places())):
            raise RemoteProtocolError("a path stands twice")
        self._depths.clear()
        self._lengths.clear()
        self._slots = array.array("i", [_NO_DIGEST]) * len(self)

    def _places(self) -> Iterator[tuple[int, int, bytes]]:
        return zip(self.positions, self.parents, self.names, strict=True)

    def _add_hash(self, result: Hash) -> None:
        number = result.number
        if number >= len(self) or self.kind(number) is not Kind.FILE:
            raise RemoteProtocolError("a hash of no file")
        if number in self.unreadable or self._slots[number] != _NO_DIGEST:
            raise RemoteProtocolError("a second hash of one file")
        if result.digest is None:
            # A reason left out is one, too: it could not be read.
            reason = result.reason or SkipReason.IO_ERROR
            self.unreadable[number] = reason
            self.skipped[reason] += 1
        else:
            self._slots[number] = len(self._digests) // DIGEST_SIZE
            self._digests += result.digest
