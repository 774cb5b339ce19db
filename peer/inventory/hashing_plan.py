"""Whose content must be read: the fewest files that tell what is equal (product.md, section 5).

Every member computes this from the same inventories and hashes its own part of it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from peer.inventory.entries import MemberInventory
from peer.inventory.pairing import Merge, Place, tolerance_ns
from peer.session.session_settings import Analysis, SessionSettings
from protocol.messages.inventory import Kind

_FILE: Final = Kind.FILE.value


def to_hash(
    member: int, inventories: Sequence[MemberInventory], settings: SessionSettings
) -> list[int]:
    """Return the numbers of the entries that *member* must hash, ascending.

    A file held by several members is hashed when their sizes or dates differ, in checksum
    analysis always. A file held by one member only is hashed when another such file, anywhere,
    has its size: the two may be one file that was moved, copied or is there twice. Empty files
    are equal unread.

    Args:
        member: Index of the member that asks; its inventory is among *inventories*.
        inventories: One per member, ascending by index.
        settings: Of the session.
    """
    position = [inventory.member for inventory in inventories].index(member)
    tolerance = tolerance_ns(settings, inventories)
    always = settings.analysis is Analysis.CHECKSUM
    wanted: list[int] = []
    alone: list[int] = []
    lone_sizes: Counter[int] = Counter()
    for place in Merge(inventories, settings).places():
        if Kind.FILE not in place.kinds:
            continue
        holders = _files(place)
        own = place.numbers[position]
        if len(holders) == 1:
            ((holder, number),) = holders
            lone_sizes[inventories[holder].sizes[number]] += 1
            if holder == position:
                alone.append(own)
        elif any(holder == position for holder, _ in holders) and (
            always or _differ(holders, inventories, tolerance)
        ):
            wanted.append(own)
    sizes = inventories[position].sizes
    wanted += (number for number in alone if sizes[number] and lone_sizes[sizes[number]] > 1)
    return sorted(wanted)


def _files(place: Place) -> list[tuple[int, int]]:
    """Return position and entry of every member that holds a file here it may read."""
    return [
        (position, place.numbers[position])
        for position, kind in enumerate(place.kinds)
        if kind == _FILE and not place.blocks[position]
    ]


def _differ(
    holders: Sequence[tuple[int, int]], inventories: Sequence[MemberInventory], tolerance: int
) -> bool:
    (position, number), *others = holders
    size, first = inventories[position].sizes[number], inventories[position].mtimes[number]
    oldest = newest = first
    for position, number in others:
        if inventories[position].sizes[number] != size:
            return True
        date = inventories[position].mtimes[number]
        if date != first:
            oldest, newest = min(oldest, date), max(newest, date)
    return newest - oldest > tolerance
