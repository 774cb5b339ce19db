"""What a plan costs: the numbers everybody sees before it starts (product.md, section 7.3)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from peer.plan.moves import moves
from peer.plan.planner import Plan
from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)


@dataclass(slots=True)
class MemberCost:
    """What happens on one member's disk; links count as files."""

    files_created: int = 0
    files_replaced: int = 0
    files_deleted: int = 0
    directories_created: int = 0
    directories_deleted: int = 0
    dates_set: int = 0
    """Dates set on content that stays."""
    modes_set: int = 0
    """Permission bits set on content that stays."""
    files_moved: int = 0
    """Of the files created, those whose content the member has at a place it deletes."""
    bytes_received: int = 0
    """The contract: content bytes, uncompressed, that come from other members at most."""
    bytes_reused: int = 0
    """Content bytes that the member holds already, somewhere."""
    bytes_to_trash: int = 0
    """Content bytes replaced or deleted, kept in the trash."""

    @property
    def peak_extra(self) -> int:
        """Bytes the disk holds more at the worst moment, and until the trash is emptied.

        Everything new is staged beside what it replaces, and what is replaced or deleted
        only moves into the trash: nothing becomes free.
        """
        return self.bytes_received + self.bytes_reused


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a whole plan."""

    members: dict[int, MemberCost]
    """By index; every member of the comparison."""
    links: dict[tuple[int, int], int]
    """Bytes by giving and receiving member, if every content comes from its decided origin:
    an estimate, for paths and the swarm decide while it runs."""

    @property
    def moves(self) -> int:
        """Files that only change their place, all members together."""
        return sum(cost.files_moved for cost in self.members.values())

    @property
    def bytes_received(self) -> int:
        """Content bytes that travel at most, all members together."""
        return sum(cost.bytes_received for cost in self.members.values())

    def short_of(self, free: Mapping[int, int]) -> dict[int, int]:
        """Return how many bytes each member's disk is too small by.

        Args:
            free: Free bytes by member; one that is not named is not judged.
        """
        return {
            member: cost.peak_extra - free[member]
            for member, cost in self.members.items()
            if member in free and cost.peak_extra > free[member]
        }


def cost(plan: Plan, members: tuple[int, ...]) -> Cost:
    """Return what *plan* costs the *members* (indices)."""
    costs = {member: MemberCost() for member in members}
    links: Counter[tuple[int, int]] = Counter()
    for step in plan.steps:
        _charge(costs[step.member], step)
        if isinstance(step, CopyFile) and step.reuse is None and step.origin.size:
            links[step.holders[0][0], step.member] += step.origin.size
    for member, *_ in moves(plan.steps):
        costs[member].files_moved += 1
    return Cost(costs, dict(sorted(links.items())))


def _charge(cost: MemberCost, step: AnyStep) -> None:
    match step:
        case CreateDirectory():
            cost.directories_created += 1
        case DeleteDirectory():
            cost.directories_deleted += 1
        case SetDate():
            cost.dates_set += 1
        case SetMode():
            cost.modes_set += 1
        case CopyFile() | CopyLink():
            if step.expected is None:
                cost.files_created += 1
            else:
                cost.files_replaced += 1
                cost.bytes_to_trash += step.expected.size
            if isinstance(step, CopyFile):
                if step.reuse is None:
                    cost.bytes_received += step.origin.size
                else:
                    cost.bytes_reused += step.origin.size
        case Delete():
            cost.files_deleted += 1
            cost.bytes_to_trash += 0 if step.expected is None else step.expected.size
        case _:
            assert_never(step)
