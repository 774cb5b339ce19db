"""Which entries at one place are equal, and what that makes of the place.

Entries of one kind with equal content form a content; those of one content whose dates agree
within the tolerance form a content group. What is blocked takes no part: it is neither equal
nor different nor missing.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from peer.inventory.entries import MemberInventory
from peer.inventory.pairing import ABSENT, Block, Place
from protocol.messages.inventory import Kind

NO_GROUP: Final = -1
"""In the place of a content or group: nothing here that could be compared."""


_DIRECTORY: Final = Kind.DIRECTORY.value
_LINK: Final = Kind.LINK.value


class Status(enum.IntEnum):
    """What is known of an item over all members, the gravest first that applies."""

    TYPE_CLASH = 1
    """A file here, a directory or link there."""
    DIFFERENT = 2
    """Two contents at least."""
    DATES_DIFFER = 3
    """One content, but dates (or, where they count, permissions) that differ."""
    MISSING = 4
    """Equal where it is, and it is not everywhere."""
    UNKNOWN = 5
    """Equal as far as can be told: some member's place is blocked."""
    EQUAL = 6


@dataclass(frozen=True, slots=True)
class Matched:
    """The entries of one place, told apart; sequences go by the members' positions."""

    blocks: tuple[Block, ...]
    """Those of the place, and unreadable content."""
    contents: tuple[int, ...]
    """Number of each member's content, from 0 in member order; NO_GROUP for none."""
    groups: tuple[int, ...]
    """Number of each member's content group, likewise."""
    status: Status
    hashed: bool
    """Whether everything called equal was read; otherwise size and date were believed."""


class Matcher:
    """Compares the entries at one place after another.

    Args:
        inventories: One per member, as they were merged.
        tolerance: How far apart equal dates may be, nanoseconds.
        modes: Whether permission bits tell files apart, too.
    """

    def __init__(
        self, inventories: Sequence[MemberInventory], *, tolerance: int, modes: bool
    ) -> None:
        self._inventories = inventories
        self._tolerance = tolerance
        self._modes = modes
        self._usual: dict[tuple[int, ...], Matched] = {}
        """What places look like at which nothing is blocked, read or different."""
        self._all: dict[Matched, Matched] = {}
        self._free = (Block.NONE,) * len(inventories)

    def match(self, place: Place) -> Matched:
        """Return what is equal at *place*; the same object for all places that are alike."""
        found = self._at_a_glance(place)
        if found is None:
            full = self._in_full(place)
            found = self._all.setdefault(full, full)
        return found

    def _at_a_glance(self, place: Place) -> Matched | None:
        """Return what is equal at *place*, if size and date of all that is there are the same.

        Most of a million places are like that.
        """
        if place.blocks != self._free:
            return None
        there: tuple[int, int, int] | None = None
        for number, kind, inventory in zip(
            place.numbers, place.kinds, self._inventories, strict=True
        ):
            if not kind:
                continue
            if kind == _DIRECTORY:
                here = kind, 0, 0
            elif kind == _LINK or inventory.is_hashed(number) or number in inventory.unreadable:
                return None
            else:
                here = kind, inventory.sizes[number], inventory.mtimes[number]
                if self._modes or not here[1]:
                    return None
            if there is None:
                there = here
            elif there != here:
                return None
        assert there is not None, "every place is somewhere"
        known = self._usual.get(place.kinds)
        if known is None:
            full = self._in_full(place)
            known = self._usual[place.kinds] = self._all.setdefault(full, full)
        return known

    def _in_full(self, place: Place) -> Matched:
        blocks = list(place.blocks)
        holders: list[tuple[int, int]] = []
        kinds: set[int] = set()
        for position, number in enumerate(place.numbers):
            if number == ABSENT or blocks[position]:
                continue
            inventory = self._inventories[position]
            unreadable = inventory.unreadable.get(number)
            if unreadable is not None:
                # It exists, so it is no less than blocked; what it holds nobody knows.
                blocks[position] = Block(unreadable)
                continue
            holders.append((position, number))
            kinds.add(inventory.kinds[number])
        contents = [NO_GROUP] * len(blocks)
        hashed = self._tell_contents(holders, contents)
        groups = self._tell_groups(holders, contents)
        if len(kinds) > 1:
            status = Status.TYPE_CLASH
        elif max(contents) > 0:
            status = Status.DIFFERENT
        elif max(groups) > 0:
            status = Status.DATES_DIFFER
        else:
            status = _presence(place.numbers, blocks, any_known=bool(holders))
        return Matched(tuple(blocks), tuple(contents), tuple(groups), status, hashed)

    def _tell_contents(self, holders: Sequence[tuple[int, int]], contents: list[int]) -> bool:
        """Number the contents; return whether all that is called equal was read."""
        hashed = True
        firsts: list[tuple[int, int]] = []
        for position, number in holders:
            for content, first in enumerate(firsts):
                proof = self._same_content(first, (position, number))
                if proof is not None:
                    contents[position] = content
                    hashed = hashed and proof
                    break
            else:
                contents[position] = len(firsts)
                firsts.append((position, number))
        return hashed

    def _same_content(self, left: tuple[int, int], right: tuple[int, int]) -> bool | None:
        """Return None if two entries differ, otherwise whether that they are equal was read."""
        (a, m), (b, n) = left, right
        first, second = self._inventories[a], self._inventories[b]
        kind = first.kinds[m]
        if kind != second.kinds[n]:
            return None
        if kind != Kind.FILE:
            # Every directory is like every other; a link is where it points.
            return True if first.target(m) == second.target(n) else None
        if first.sizes[m] != second.sizes[n]:
            return None
        one, other = first.digest_of(m), second.digest_of(n)
        if one is not None and other is not None:
            return True if one == other else None
        if first.sizes[m] == 0:
            return True
        # Not read on both sides: size and date must do. Where the dates are apart, too, nobody
        # read what should have been read, and the two count as different.
        near = abs(first.mtimes[m] - second.mtimes[n]) <= self._tolerance
        return False if near else None

    def _tell_groups(self, holders: Sequence[tuple[int, int]], contents: list[int]) -> list[int]:
        """Number the groups: within a content by date, from the oldest of each group on."""
        by_date = sorted(
            (contents[position], *self._attributes(position, number), position)
            for position, number in holders
        )
        groups = [NO_GROUP] * len(contents)
        group, anchor = NO_GROUP, (NO_GROUP, 0, 0)
        for content, mode, date, position in by_date:
            if (content, mode) != anchor[:2] or date - anchor[2] > self._tolerance:
                group, anchor = group + 1, (content, mode, date)
            groups[position] = group
        return groups

    def _attributes(self, position: int, number: int) -> tuple[int, int]:
        """Return mode and date as far as they tell this entry from others; only files' do."""
        inventory = self._inventories[position]
        if inventory.kinds[number] != Kind.FILE:
            return 0, 0
        return inventory.modes[number] if self._modes else 0, inventory.mtimes[number]


def _presence(numbers: Sequence[int], blocks: Sequence[Block], *, any_known: bool) -> Status:
    """Return the status of a place whose entries are all equal."""
    # A member without a source in this line takes no part: nothing is missing there.
    taking_part = [
        (number, block)
        for number, block in zip(numbers, blocks, strict=True)
        if block is not Block.NO_SOURCE
    ]
    if any_known and any(number == ABSENT and not block for number, block in taking_part):
        return Status.MISSING
    return Status.UNKNOWN if any(block for _, block in taking_part) else Status.EQUAL
