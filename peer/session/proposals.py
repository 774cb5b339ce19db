"""Changes of the roster that wait for their commit, the one under way, and who asked for it."""

import enum
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from protocol.credentials import Password, Secret
from protocol.epochs import Commit
from protocol.errors import RemoteProtocolError
from protocol.limits import MAX_JOINS, MAX_MEMBERS
from protocol.roster import RosterEntry

MAX_PROPOSALS: Final = MAX_MEMBERS * MAX_JOINS
"""Joins that wait at once: every sponsor's."""


class Act(enum.Enum):
    """What a proposal asks for."""

    JOIN = enum.auto()
    RETURN = enum.auto()
    """A member comes back to its place."""
    LEAVE = enum.auto()
    REMOVE = enum.auto()
    """The leader puts a member out; the password changes."""
    ROTATE = enum.auto()
    """The leader changes the password."""
    SETTLE = enum.auto()
    """What time brings: who was gone for long goes, the next in line leads, keys are renewed."""
    TAKE_OVER = enum.auto()
    """A person goes on without the others, though they may be the greater part."""


ADMITTING: Final = frozenset({Act.JOIN, Act.RETURN})
"""Acts for which a candidate waits at its sponsor."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of the roster that waits for its commit."""

    act: Act
    id: bytes = b""
    """Of a join or a return: named by its sponsor."""
    sponsor: int = 0
    entry: RosterEntry | None = None
    """Who would join, or come back."""
    leaver: int = 0
    """Who leaves, or is removed."""

    @property
    def returner(self) -> int | None:
        """Index of the member that comes back."""
        if self.act is not Act.RETURN:
            return None
        assert self.entry is not None, "a return names who returns"
        return self.entry.index


@dataclass(slots=True)
class Attempt:
    """The commit under way at its committer.

    Attributes:
        proposal: What it is for.
        deadline: When what is missing by then is counted as absent, or the join refused.
        absent: Who has not answered an attempt before.
        commit: The commit, once all links it needs are there.
        key: The key it brings.
        password: The new password it brings, if it does.
        awaited: Who was offered it.
        missing: Who has not acknowledged it yet.
    """

    proposal: Proposal
    deadline: float
    absent: frozenset[int] = frozenset()
    commit: Commit | None = None
    key: Secret | None = None
    password: Password | None = None
    awaited: frozenset[int] = frozenset()
    missing: frozenset[int] = frozenset()


class Proposals:
    """The queue at the committer; the others keep the leaves in case they come to commit."""

    def __init__(self) -> None:
        self._queue: deque[Proposal] = deque()

    @property
    def is_full(self) -> bool:
        """Whether no further join may wait."""
        return sum(each.act in ADMITTING for each in self._queue) >= MAX_PROPOSALS

    def add(self, proposal: Proposal) -> None:
        self._queue.append(proposal)

    def put_back(self, proposal: Proposal) -> None:
        """Let what was broken off be the next again."""
        self._queue.appendleft(proposal)

    def find(self, may: Callable[[Proposal], bool]) -> Proposal | None:
        """Return the first one that *may* be committed now, or None."""
        return next((each for each in self._queue if may(each)), None)

    def take(self, proposal: Proposal) -> None:
        """Take *proposal* out."""
        self._queue.remove(proposal)

    def take_joins(self, sponsor: int | None = None) -> list[Proposal]:
        """Take out all joins and returns, or those of one *sponsor*."""
        taken = [
            each
            for each in self._queue
            if each.act in ADMITTING and sponsor in {None, each.sponsor}
        ]
        self._queue = deque(each for each in self._queue if each not in taken)
        return taken

    def keep_leaves_of(self, staying: Collection[int]) -> None:
        """Drop the leaves that a commit has taken care of, and the removals of who is gone.

        Everybody queues a leave; whoever commits it, the others' proposals are then done.
        """
        departing = {Act.LEAVE, Act.REMOVE}
        self._queue = deque(
            each for each in self._queue if each.act not in departing or each.leaver in staying
        )

    def drop_orders(self) -> None:
        """Forget what only the leader may ask for: this member leads no more."""
        orders = {Act.REMOVE, Act.ROTATE}
        self._queue = deque(each for each in self._queue if each.act not in orders)


class Sponsored:
    """The joins this member has asked another one to commit."""

    def __init__(self) -> None:
        self._asked: dict[bytes, int] = {}

    def add(self, proposal: bytes, committer: int) -> None:
        self._asked[proposal] = committer

    def answer(self, proposal: bytes | None, sender: int) -> bool:
        """Take the answer of *sender*; return whether anybody still waits for it.

        Raises:
            RemoteProtocolError: If another member was asked.
        """
        if proposal is None or proposal not in self._asked:
            return False
        if self._asked[proposal] != sender:
            raise RemoteProtocolError("answered by somebody who was not asked")
        del self._asked[proposal]
        return True

    def give_up(self, committer: int, *, in_doubt: bytes | None) -> list[bytes]:
        """Return, and forget, what *committer* was asked, but for the one *in_doubt*."""
        lost = [
            proposal
            for proposal, asked in self._asked.items()
            if asked == committer and proposal != in_doubt
        ]
        for proposal in lost:
            del self._asked[proposal]
        return lost
