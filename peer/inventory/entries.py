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
from collections import Counter
from collections.abc import Iterator
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

DIGEST_SIZE: Final = 32
"""Bytes of a BLAKE3-256 value."""

KINDS: Final = {kind.value: kind for kind in Kind}
"""A kind by its number; a look-up, where the enumeration itself would be a call."""

_DIRECTORY: Final = Kind.DIRECTORY.value
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
        self.failure: str | None = None
        """Code of what went wrong, once FAILED."""
        self.skips: list[Skip] = []
        self.skipped: Counter[SkipReason] = Counter()
        """Number of skips by reason, unreadable content included."""
        self.volume = 0
        """Bytes of all files found."""
        self.roots: dict[int, Kind] = {}
        """What the root of each source is, by the source's position."""
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
        self._directories: dict[tuple[int, RelPath], int] = {}
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

    def digest_of(self, number: int) -> bytes | None:
        """Return the content hash of entry *number*; None if it was not, or could not be, read."""
        slot = self._slots[number]
        if slot == _NO_DIGEST:
            return None
        return bytes(self._digests[slot * DIGEST_SIZE : (slot + 1) * DIGEST_SIZE])

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
            case EntriesFound():
                for entry in message.entries:
                    self._add_entry(entry)
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

    def _add_entry(self, entry: Entry) -> None:
        if len(self) >= limits.MAX_ENTRIES:
            raise RemoteProtocolError(f"more than {limits.MAX_ENTRIES} entries")
        self._check_place(entry.source, entry.path)
        self._charge(ENTRY_COST, entry.path, entry.target)
        parent = _NO_PARENT
        if entry.path:
            parent = self._directories.get((entry.source, entry.path[:-1]), _NO_PARENT)
            if parent == _NO_PARENT:
                raise RemoteProtocolError("an entry comes before its directory")
        elif entry.source in self.roots:
            raise RemoteProtocolError("a source has one root")
        else:
            self.roots[entry.source] = entry.kind
        number = len(self)
        if entry.kind is Kind.DIRECTORY:
            # Two of the same path are refused at the end, like any other duplicate.
            self._directories[entry.source, entry.path] = number
        elif entry.kind is Kind.LINK:
            self._targets[number] = entry.target
        else:
            self.volume += entry.size
        self.names.append(entry.path[-1] if entry.path else b"")
        self.parents.append(parent)
        self.positions.append(entry.source)
        self.kinds.append(entry.kind)
        self.sizes.append(entry.size)
        self.mtimes.append(entry.mtime_ns)
        self.modes.append(entry.mode)

    def _add_skip(self, skip: Skip) -> None:
        if len(self.skips) >= limits.MAX_ENTRIES:
            raise RemoteProtocolError(f"more than {limits.MAX_ENTRIES} skips")
        self._check_place(skip.source, skip.path)
        self._charge(ENTRY_COST, skip.path)
        self.skips.append(skip)
        self.skipped[skip.reason] += 1

    def _check_place(self, source: int, path: RelPath) -> None:
        if source >= self.sources:
            raise RemoteProtocolError("a source that is not offered")
        if not valid_path(path):
            raise RemoteProtocolError("a path that leads nowhere")

    def _charge(self, fixed: int, path: RelPath, target: bytes = b"") -> None:
        self._bytes += fixed + sum(map(len, path)) + len(path) + len(target)
        if self._bytes > limits.MAX_INVENTORY_BYTES:
            raise RemoteProtocolError(f"more than {limits.MAX_INVENTORY_BYTES} bytes of inventory")

    def _end_identification(self, message: IdentificationEnded) -> None:
        if (message.entries, message.skips) != (len(self), len(self.skips)):
            raise RemoteProtocolError("entries or skips are missing")
        # Distinct hashes show that no place stands twice, at half the memory of the places.
        if len(set(map(hash, self._places()))) < len(self) > len(set(self._places())):
            raise RemoteProtocolError("a path stands twice")
        self._directories.clear()
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
