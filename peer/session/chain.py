"""What one member knows of the session's chain of commits, and who may add to it.

A side is this member and all it has links to. Only a side with a majority of the roster, or
half of it and the leader, changes who is in the session (security.md, section 3.7); who said
that it leaves does not count.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Final

from peer.session.epoch_keys import EpochKeys
from peer.session.inquiry import Inquiry
from peer.session.offers import EarlyOffers, Pending
from peer.session.proposals import Attempt, Proposal, Proposals, Sponsored
from peer.session.reach import Reach
from peer.session.reports import (
    EpochActivated,
    MembershipEvent,
    PasswordChanged,
)
from protocol import epochs
from protocol.credentials import Password, Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit, Reason, commit_hash
from protocol.limits import GRACE_TIME, MAX_BANNED, MAX_HISTORY, REFRESH_AFTER
from protocol.messages.base import Message
from protocol.roster import Roster

UNBINDING: Final = frozenset({Reason.RETURN, Reason.RECOVER})
"""Commits by which nobody promises anything: a side too small to decide may make them."""


class Chain:
    """One member's state of the chain.

    Args:
        identity: This member's node key, which is in the roster of *commit*.
        commit: The commit in force.
        key: Its session key.
        random_bytes: Returns so many random bytes.
        grace: Seconds before who is silent may be removed, or succeeded.
        known: The newest commit this member knew before it came back; until *commit* is seen to
            lead on from it, this member acknowledges nothing.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        commit: Commit,
        key: Secret,
        *,
        random_bytes: Callable[[int], bytes],
        grace: float = GRACE_TIME,
        known: Commit | None = None,
    ) -> None:
        own = commit.roster.find(identity.node_key)
        assert own is not None, "a welcome names who it welcomes"
        self.me: Final = own.index
        self.commit = commit
        self.banned: dict[bytes, None] = {}
        """Node keys of removed members: nobody lets them in again."""
        self.took_over = False
        """Whether this side went on without what may be the greater part: it never merges."""
        self._history = [commit_hash(commit), commit.prev]
        """Of the commit in force and those before it, newest first."""
        returns = known is not None and commit.reason is Reason.RETURN
        self._unproven = known if returns else None
        if known is not None and commit_hash(known) == commit.prev:
            self._unproven = None
        self._is_recovered = commit.reason is Reason.RECOVER
        """Whether this member made itself the leader when it found nobody alive: half of the
        roster is then not enough, for the leader before may be with the other half."""
        self._locked = False
        self._frozen = False
        """Whether this side has been too small for the grace time."""
        self._identity = identity
        self._random_bytes = random_bytes
        self._keys = EpochKeys(commit.epoch, key)
        self._reach = Reach(self.me, grace)
        self._gone: set[int] = set()
        """Who said that it leaves, with no commit yet."""
        self._left: set[int] = set()
        """Who said so and has a place still."""
        self._proposals = Proposals()
        self._attempt: Attempt | None = None
        self._attempts = 0
        self._inquiry: Inquiry | None = None
        self._is_sure = False
        """Whether nothing of this epoch is in doubt any more."""
        self._challenge: tuple[Proposal, float] | None = None
        """The return whose member is asked whether it is here already, and until when."""
        self._not_before = 0.0
        """When to try again what the others were not ready for."""
        self._pending: Pending | None = None
        self._acknowledged = (-1, -1)
        """Attempt and committer of the last commit acknowledged in this epoch."""
        self._early = EarlyOffers()
        self._sponsored = Sponsored()
        self._outbox: list[tuple[int, Message]] = []
        self._events: deque[MembershipEvent] = deque()
        self._refresh_at: float | None = None
        self._expect(commit)

    def _expect(self, commit: Commit) -> None:
        """Keep links to those alone who know the epoch of *commit*."""
        indices = set(commit.roster.indices)
        self._reach.expect(indices, indices - set(commit.absent))

    @property
    def _links(self) -> dict[int, Secret]:
        return self._reach.links

    @property
    def roster(self) -> Roster:
        return self.commit.roster

    @property
    def epoch(self) -> int:
        return self.commit.epoch

    @property
    def leader(self) -> int:
        return self.commit.leader

    def epoch_key(self, epoch: int) -> Secret | None:
        """Return the key of an epoch in force, pending or just past."""
        return self._keys.get(epoch)

    def rosters(self) -> Mapping[int, Roster]:
        """Return the roster of every epoch a link may begin with: in force and pending."""
        known = {self.epoch: self.roster}
        if self._pending is not None:
            known[self._pending.commit.epoch] = self._pending.commit.roster
        return known

    @property
    def _departed(self) -> set[int]:
        """Who does not count any more: it said that it leaves."""
        return self._gone | self._left

    def _committer(self, returner: int | None = None) -> int | None:
        """Return who may commit now, as far as this member sees.

        Args:
            returner: Who comes back with a new process: the old one commits nothing.
        """
        out = set(self._departed)
        if self._holds({self.me, *self._links}):
            out |= self._reach.overdue
        if returner is not None and returner != self.me:
            out.add(returner)
        return epochs.rightful_committer(self.commit, out)

    def _holds(self, side: Collection[int], leaver: int | None = None) -> bool:
        """Whether *side* may change who is in the session."""
        out = self._departed | ({leaver} if leaver is not None else set())
        entries = tuple(each for each in self.commit.roster.members if each.index not in out)
        leader = epochs.rightful_committer(self.commit, out)
        if leader is None:
            return False
        if self._is_recovered and leader == self.me:
            return 2 * sum(each.index in side for each in entries) > len(entries)
        return epochs.has_quorum(Roster(entries), side, leader)

    def _activate(
        self,
        commit: Commit,
        key: Secret,
        password: Password | None,
        *,
        returned: int | None,
        now: float,
        is_agreed: bool = True,
    ) -> None:
        before = self.commit
        self._keys.activate(commit.epoch, key, now=now)
        self.commit = commit
        self._history = [commit_hash(commit), *self._history][:MAX_HISTORY]
        self._pending, self._inquiry, self._is_sure = None, None, False
        self._attempts, self._acknowledged, self._not_before = 0, (-1, -1), 0.0
        staying = set(commit.roster.present)
        self._left = (self._left | self._gone) & set(commit.roster.indices) - staying
        self._gone &= staying
        self._reach.tick(now)
        self._expect(commit)
        self._reach.tick(now)
        if returned is not None:
            self._reach.forgive(returned)
        self._refresh_at = now + REFRESH_AFTER
        self._early.drop_until(commit.epoch)
        self._proposals.keep_leaves_of(staying | set(commit.roster.indices) - self._left)
        if commit.leader != self.me:
            self._proposals.drop_orders()
        if commit.reason is Reason.REMOVE:
            self._ban(before.roster, commit.roster)
        self._is_recovered &= commit.reason is Reason.RETURN
        self.took_over |= commit.reason is Reason.TAKE_OVER
        self._events.append(
            EpochActivated(commit, returned, is_agreed and commit.reason not in UNBINDING)
        )
        if password is not None:
            self._events.append(PasswordChanged(password))

    def _ban(self, before: Roster, after: Roster) -> None:
        for entry in before.members:
            if after.entry(entry.index) is None:
                self.banned[entry.node_key] = None
        while len(self.banned) > MAX_BANNED:
            del self.banned[next(iter(self.banned))]
