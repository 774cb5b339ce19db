"""What must not be done: reasons for refusing one act, and brakes on a whole plan.

Small predicates, apart from the planner, so that each can be read and tried by itself
(product.md, sections 7.2 and 7.3).
"""

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from peer.comparison.comparison import Cell, Comparison, Item
from peer.inventory.names import possible_on_windows, valid_path
from peer.inventory.pairing import Block
from peer.plan.moves import moves
from peer.plan.steps import AnyStep, CopyFile, CopyLink, Delete
from protocol.messages.inventory import Kind, RelPath


class Reason(enum.StrEnum):
    """Why an act on one item at one member is refused; the end of the text's key."""

    SEVERAL_CONTENTS = "several_contents"
    """The newest date belongs to several contents: which one is meant?"""
    SOURCE_BLOCKED = "source_blocked"
    """The origin is inaccessible, skipped or unknown."""
    SOURCE_MISSING = "source_missing"
    """The origin has nothing there."""
    SOURCE_OTHER_KIND = "source_other_kind"
    """The origin has a directory where a file is to be copied, or the other way round."""
    DESTINATION_BLOCKED = "destination_blocked"
    """The destination's place is inaccessible, skipped or unknown."""
    DESTINATION_MISSING = "destination_missing"
    """The destination has nothing there that could be changed."""
    DESTINATION_IS_SOURCE = "destination_is_source"
    """The member would give its content and receive another for the same item."""
    DELETED_AND_USED = "deleted_and_used"
    """The content that is to be copied is to be deleted where it is."""
    IDENTICAL = "identical"
    """There is nothing to do."""
    NO_SOURCE = "no_source"
    """The member offers no source in this line."""
    PARENT_MISSING = "parent_missing"
    """The directory it would be in is not there and must not be made."""
    FILE_IN_THE_WAY = "file_in_the_way"
    """A directory it would be in is a file there."""
    TYPE_CLASH = "type_clash"
    """A file here, a directory there: only a mirror or a hand decides that."""
    NAME_IMPOSSIBLE = "name_impossible"
    """The path would be too long or deep, or the file system there refuses the name."""
    NAME_CLASH = "name_clash"
    """Another name differs only in case, which the destination's file system ignores."""
    HOLDS_OTHERS = "holds_others"
    """The directory holds something that is not to be deleted, or was skipped."""
    ROOT = "root"
    """The root of a source is never deleted."""
    BRAKE = "brake"
    """The member's own brake stopped it, and its person said no."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An act that is not carried out."""

    reason: Reason
    block: Block = Block.NONE
    """Why the place is blocked, where that is the reason."""
    count: int = 0
    """How many things a directory holds that stay, as far as they are entries."""


def of_destination(cell: Cell) -> Refusal | None:
    """Refuse a destination where nothing may happen."""
    if cell.block is Block.NO_SOURCE:
        return Refusal(Reason.NO_SOURCE)
    return Refusal(Reason.DESTINATION_BLOCKED, cell.block) if cell.block else None


def checked_origin(cell: Cell | None, kinds: Collection[Kind]) -> Cell | Refusal:
    """Return *cell*, or why it has nothing of these kinds to give."""
    if cell is None:
        return Refusal(Reason.SOURCE_BLOCKED, Block.UNKNOWN)
    if cell.block:
        return Refusal(Reason.SOURCE_BLOCKED, cell.block)
    if not cell.present:
        return Refusal(Reason.SOURCE_MISSING)
    return cell if cell.kind in kinds else Refusal(Reason.SOURCE_OTHER_KIND)


def of_new_name(comparison: Comparison, item: Item, to: Cell, path: RelPath) -> Refusal | None:
    """Refuse a name that cannot come to exist at *to*."""
    # The directories above were found there, or asked about before.
    possible = not to.inventory.windows_names or possible_on_windows(path[-1])
    if not valid_path(path) or not possible:
        return Refusal(Reason.NAME_IMPOSSIBLE)
    # Where case is ignored there can be one of the twins only; writing the second would hit
    # the first.
    if item.twin and to.inventory.case_insensitive and not comparison.insensitive:
        return Refusal(Reason.NAME_CLASH)
    return None


# --- brakes ------------------------------------------------------------------------------

DELETED_SHARE: Final = 0.5
"""Of a root's files: deleting more than this share asks, if it is also more than …"""

DELETED_FEW: Final = 20
"""… this many files: clearing out a small folder is nobody's accident."""

DELETED_MANY: Final = 1_000
"""Files of a member: deleting more than this asks, whatever the share."""

REPLACED_SHARE: Final = 0.8
"""Of a root's files: replacing more than this share asks, if it is also more than …"""

REPLACED_FEW: Final = 200
"""… this many files."""


class BrakeKind(enum.StrEnum):
    """What a brake protects from."""

    DELETIONS = "deletions"
    REPLACEMENTS = "replacements"
    EMPTIED = "emptied"

    @property
    def deletes(self) -> bool:
        """Whether refusing it drops deletions; otherwise replacements."""
        return self is not BrakeKind.REPLACEMENTS


@dataclass(frozen=True, slots=True)
class Brake:
    """A brake that tripped: asked about on that very member, and lifted nowhere else."""

    member: int
    kind: BrakeKind
    source: int | None
    """Position of the data source; None for all of the member's together."""
    count: int
    """Files concerned."""
    files: int
    """Files there are."""


def brakes(comparison: Comparison, steps: Sequence[AnyStep]) -> tuple[Brake, ...]:
    """Return the brakes that *steps* trip, by member and source.

    Links count as files. A file that a directory takes the place of counts as deleted, one
    that only changes its place does not: its content stays on the same disk.
    """
    kept = set(moves(steps).values())
    deleted: Counter[tuple[int, int]] = Counter()
    replaced: Counter[tuple[int, int]] = Counter()
    created: Counter[tuple[int, int]] = Counter()
    for step in steps:
        root = step.member, step.source
        if isinstance(step, Delete):
            deleted[root] += (*root, step.path) not in kept
        elif isinstance(step, (CopyFile, CopyLink)):
            (created if step.expected is None else replaced)[root] += 1
    return tuple(
        brake
        for inventory in comparison.inventories
        for brake in _of_member(
            inventory.member,
            _files(inventory.positions, inventory.kinds),
            deleted,
            replaced,
            created,
        )
    )


def _files(positions: bytearray, kinds: bytearray) -> dict[int, int]:
    """Return how many files each source holds."""
    pairs = Counter(zip(positions, kinds, strict=True))
    files: Counter[int] = Counter()
    for (source, kind), count in pairs.items():
        if kind != Kind.DIRECTORY:
            files[source] += count
    return dict(sorted(files.items()))


def _of_member(
    member: int,
    files: Mapping[int, int],
    deleted: Mapping[tuple[int, int], int],
    replaced: Mapping[tuple[int, int], int],
    created: Mapping[tuple[int, int], int],
) -> Iterable[Brake]:
    total = sum(deleted[member, source] for source in files)
    if total > DELETED_MANY:
        yield Brake(member, BrakeKind.DELETIONS, None, total, sum(files.values()))
    for source, held in files.items():
        gone, new = deleted[member, source], replaced[member, source]
        if gone == held and not created[member, source]:
            yield Brake(member, BrakeKind.EMPTIED, source, gone, held)
        elif gone > DELETED_FEW and gone > DELETED_SHARE * held:
            yield Brake(member, BrakeKind.DELETIONS, source, gone, held)
        if new > REPLACED_FEW and new > REPLACED_SHARE * held:
            yield Brake(member, BrakeKind.REPLACEMENTS, source, new, held)
