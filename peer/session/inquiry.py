"""What a new committer asks before its first commit: whether one before it may be in force.

ACTIVATE or ABORT of the committer before may have been lost with it. A commit is in force as
soon as everybody it was offered to has acknowledged it; whoever holds a majority now shares a
member with every majority that could have acknowledged another one, so that the latest
acknowledged commit here is the only one that may be in force elsewhere (security.md, 3.7).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from protocol.messages.session import EpochStated


class Doubt(NamedTuple):
    """A commit that was acknowledged here and may be in force elsewhere."""

    commit_hash: bytes
    holders: frozenset[int]


@dataclass(slots=True)
class Inquiry:
    """The questions under way.

    Attributes:
        asked: Whose answers are awaited.
        deadline: When who has not answered is left out.
        returner: Who comes back by the commit that waits for the answers.
        answers: What the others have said.
    """

    asked: frozenset[int]
    deadline: float
    returner: int | None = None
    answers: dict[int, EpochStated] = field(default_factory=dict)

    def is_over(self, linked: Collection[int], *, now: float) -> bool:
        """Whether all who can still answer have, or the time is over."""
        return now >= self.deadline or self.asked.intersection(linked) <= self.answers.keys()


def seen(answers: Mapping[int, EpochStated]) -> frozenset[int]:
    """Return everybody that somebody who answered has a link to."""
    return frozenset(index for answer in answers.values() for index in answer.sees)


def latest_doubt(answers: Mapping[int, EpochStated]) -> Doubt | None:
    """Return the latest pending commit that may be in force, or None.

    It may not if somebody who had to acknowledge it, and has answered, does not hold it.
    """
    # Of two commits tried under one number the one acknowledged later has the higher committer.
    pending = [
        (answer.attempt, answer.awaited[0], answer.pending, answer.awaited)
        for _, answer in sorted(answers.items())
        if answer.pending is not None and answer.awaited
    ]
    if not pending:
        return None
    _, committer, latest, awaited = max(pending, key=lambda each: each[:2])
    holders = frozenset(index for index, answer in answers.items() if answer.pending == latest)
    if committer in answers or answers.keys() & set(awaited) - holders:
        return None
    return Doubt(latest, holders)
