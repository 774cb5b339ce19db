"""The committer's share in the chain of commits: what to commit, when, and with whom.

One commit is under way at a time; what else there is to commit waits in a queue::

    IDLE --proposal--> GATHERING --all links there--> OFFERED --all ACKs--> (in force) IDLE
      |                    |                             |
      |                    +---------- time over --------+--> aborted, refused or retried: IDLE
      +--successor of a silent leader--> ASKING --answers--> IDLE

Only a side with a majority of the roster, or half of it and the leader, changes who is in the
session; any other side lets its own members come back, and waits (security.md, section 3.7).
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from peer.session.chain import Chain
from peer.session.inquiry import Inquiry, latest_doubt, seen
from peer.session.proposals import ADMITTING, Act, Attempt, Proposal
from peer.session.reports import (
    JoinAdmitted,
    JoinDenied,
    LinkStale,
    SideBehind,
)
from protocol import epochs
from protocol.credentials import Password, Secret
from protocol.epochs import Reason, commit_hash
from protocol.errors import JoinOutcome, RemoteProtocolError
from protocol.limits import ACK_TIMEOUT, MAX_MEMBERS
from protocol.messages import session as wire
from protocol.roster import MAX_INDEX, Roster, RosterEntry

_REASONS: Final = {
    Act.JOIN: Reason.JOIN,
    Act.RETURN: Reason.RETURN,
    Act.LEAVE: Reason.LEAVE,
    Act.REMOVE: Reason.REMOVE,
    Act.ROTATE: Reason.ROTATE,
    Act.TAKE_OVER: Reason.TAKE_OVER,
}

CHALLENGE_TIME: Final = 3.0
"""Seconds a member has to show that it is here, when another process comes with its key."""


class Committing(Chain):
    """What one member does as the committer."""

    # --- what to commit, and with whom ---------------------------------------------------

    def _required(self, proposal: Proposal) -> frozenset[int]:
        """Return whose acknowledgement the proposal needs."""
        staying = set(self.commit.roster.present) - self._gone - {self.me} - self._reach.lost
        match proposal.act:
            case Act.LEAVE | Act.REMOVE:
                staying.discard(proposal.leaver)
            case Act.RETURN:
                staying.discard(proposal.returner or 0)
            case Act.TAKE_OVER:
                staying &= self._links.keys()
            case Act.JOIN | Act.ROTATE | Act.SETTLE:
                pass
        return frozenset(staying)

    def _may_commit(self, proposal: Proposal, absent: Collection[int] = ()) -> bool:
        """Whether those who would acknowledge *proposal* are enough for it."""
        if proposal.act in {Act.RETURN, Act.TAKE_OVER}:
            # The first takes nothing from anybody; the second is somebody's explicit wish.
            return True
        side = {self.me, *self._required(proposal)}.difference(absent)
        return self._holds(side, proposal.leaver if proposal.act is Act.LEAVE else None)

    def _next_proposal(self) -> Proposal | None:
        """Return what this member has to commit now, or None."""
        found = self._proposals.find(
            lambda each: self._is_mine(each) and (each.act in ADMITTING or self._may_commit(each))
        )
        if found is not None:
            return found
        settle = Proposal(Act.SETTLE)
        is_due = self._committer() == self.me and self._is_unsettled() and self._may_commit(settle)
        return settle if is_due else None

    def _is_unsettled(self) -> bool:
        """Whether time asks for a commit."""
        commit, overdue = self.commit, self._reach.overdue
        if commit.leader not in {self.me, *self._gone}:
            return True
        if not self._locked and (
            commit.acting_leader is not None
            or any(index in overdue | self._left for index in commit.roster.indices)
        ):
            return True
        is_old = self._refresh_at is not None and self._reach.now >= self._refresh_at
        return is_old and len(commit.roster.members) > 1

    def _enqueue_join(
        self, sponsor: int, proposal: bytes, node_key: bytes, name: str, email: str, *, now: float
    ) -> None:
        known = self.commit.roster.find(node_key)
        try:
            entry = RosterEntry(MAX_INDEX if known is None else known.index, node_key, name, email)
        except ValueError:
            raise RemoteProtocolError("a candidate that cannot be a member") from None
        act = Act.JOIN if known is None else Act.RETURN
        join = Proposal(act, proposal, sponsor, entry)
        if self._proposals.is_full:
            self._deny(join, JoinOutcome.THROTTLED)
            return
        self._proposals.add(join)
        self._proceed(now=now)

    # --- one commit at a time ----------------------------------------------------------------

    def _proceed(self, *, now: float) -> None:
        """Begin with what is to be committed next, or go on with what is under way."""
        self._reach.tick(now)
        attempt = self._attempt
        if attempt is not None and not self._is_mine(attempt.proposal):
            # Somebody with a better right is here again.
            self._break_off(attempt)
        while self._attempt is None:
            proposal = self._next_proposal() if now >= self._not_before else None
            if proposal is None:
                return
            if proposal.act is not Act.SETTLE:
                self._proposals.take(proposal)
            outcome = self._objection(proposal)
            if outcome is not None:
                self._deny(proposal, outcome)
            elif self._challenges(proposal, now=now):
                self._proposals.put_back(proposal)
                return
            elif self._must_ask():
                if proposal.act is not Act.SETTLE:
                    self._proposals.put_back(proposal)
                self._ask(proposal.returner, now=now)
                return
            else:
                self._attempt = Attempt(proposal, now + ACK_TIMEOUT)
        attempt = self._attempt
        if attempt.commit is not None:
            return
        if not self._may_commit(attempt.proposal):
            self._expire_attempt(attempt, now=now)
        elif self._required(attempt.proposal) <= self._links.keys():
            self._offer(attempt.proposal, absent=frozenset(), now=now)

    def _is_mine(self, proposal: Proposal) -> bool:
        """Whether this member is the one to commit *proposal*."""
        return proposal.act is Act.TAKE_OVER or self._committer(proposal.returner) == self.me

    def _objection(self, proposal: Proposal) -> JoinOutcome | None:
        if proposal.entry is None:
            return None
        if proposal.entry.node_key in self.banned:
            return JoinOutcome.REMOVED
        known = self.commit.roster.find(proposal.entry.node_key)
        if proposal.act is Act.RETURN:
            # Its place may have been given up while it waited: then it comes as a new member.
            return None if known is not None else JoinOutcome.MEMBERS_UNREACHABLE
        if known is not None:
            return JoinOutcome.ALREADY_IN
        if self._locked:
            return JoinOutcome.LOCKED
        if len(self.commit.roster.members) >= MAX_MEMBERS or self.commit.next_index > MAX_INDEX:
            return JoinOutcome.FULL
        if not self._may_commit(proposal):
            return JoinOutcome.MEMBERS_UNREACHABLE
        return None

    def _offer(self, proposal: Proposal, *, absent: frozenset[int], now: float) -> None:
        """Make the commit and offer it to everybody whose acknowledgement it needs."""
        unheard = (absent | self._reach.lost) - {proposal.returner}
        members = self._members_after(proposal, unheard)
        key = Secret(self._random_bytes(epochs.KEY_SIZE))
        password = None
        if proposal.act in {Act.REMOVE, Act.ROTATE}:
            password = Password.generate(self._random_bytes)
        reason = _REASONS.get(proposal.act) or self._reason_to_settle(members)
        staying = {entry.index for entry in members}
        commit = epochs.successor(
            self.commit,
            self._identity,
            reason=reason,
            roster=Roster(tuple(members)),
            session_key=key,
            attempt=self._attempts,
            absent=unheard & staying,
            acting_leader=self._acting_leader(proposal, members),
        )
        self._attempts += 1
        if proposal.returner is not None:
            self._drop_stale(proposal.returner)
        # The keys' own ``&`` would give a set that can be changed behind the attempt's back.
        awaited = (self._required(proposal) - absent).intersection(self._links)
        self._attempt = Attempt(
            proposal,
            now + ACK_TIMEOUT,
            absent,
            commit,
            key,
            password,
            awaited=awaited,
            missing=awaited,
        )
        for index in sorted(awaited):
            self._offer_to(index, self._attempt)
        self._finish_if_agreed(now=now)

    def _offer_to(self, index: int, attempt: Attempt) -> None:
        assert attempt.commit is not None, "called with an offer made"
        assert attempt.key is not None, "the same"
        proposal = attempt.proposal
        wrap = epochs.wrap_key(self._links[index], attempt.commit, attempt.key, attempt.password)
        named = proposal.id if index == proposal.sponsor and proposal.id else None
        offer = wire.CommitOffered(
            commit=attempt.commit.encode(), wrap=wrap, proposal=named, returned=proposal.returner
        )
        self._outbox.append((index, offer))

    def _members_after(self, proposal: Proposal, absent: Collection[int]) -> list[RosterEntry]:
        """Return the roster that *proposal* leads to."""
        members = list(self.commit.roster.members)
        dropped: set[int] = set()
        # Once activated, who is only silent keeps its part of the work.
        away = set() if self._locked else set(absent)
        match proposal.act:
            case Act.JOIN:
                assert proposal.entry is not None, "a join names who joins"
                members.append(replace(proposal.entry, index=self.commit.next_index))
            case Act.RETURN:
                assert proposal.entry is not None, "a return names who returns"
                members = [
                    proposal.entry if each.index == proposal.returner else each for each in members
                ]
            case Act.LEAVE:
                (away if self._locked else dropped).update(self._gone)
            case Act.REMOVE:
                dropped.add(proposal.leaver)
            case Act.SETTLE:
                (away if self._locked else dropped).update(self._departed)
                if not self._locked:
                    dropped |= self._reach.overdue
            case Act.TAKE_OVER:
                dropped.update({each.index for each in members} - {self.me, *self._links}, absent)
            case Act.ROTATE:
                pass
        return [
            replace(each, present=each.present and each.index not in away)
            for each in members
            if each.index not in dropped
        ]

    def _reason_to_settle(self, members: list[RosterEntry]) -> Reason:
        staying = {each.index for each in members}
        is_whole = self.commit.leader == self.me and staying == set(self.commit.roster.indices)
        return Reason.REFRESH if is_whole else Reason.ABSENT

    def _acting_leader(self, proposal: Proposal, members: list[RosterEntry]) -> int | None:
        """Return who must be named because the lowest index present does not lead."""
        if proposal.act is Act.SETTLE and not self._locked:
            return None
        if proposal.returner is not None and proposal.returner == self.commit.leader:
            return self.commit.acting_leader
        lowest = min(entry.index for entry in members if entry.present)
        return None if lowest == self.me else self.me

    def _take_ack(self, sender: int, message: wire.CommitAcknowledged, *, now: float) -> None:
        attempt = self._attempt
        if attempt is None or attempt.commit is None or attempt.key is None:
            return  # aborted while the acknowledgement was under way
        if message.commit_hash != commit_hash(attempt.commit):
            return  # of an attempt before
        epochs.check_ack(attempt.key, attempt.commit, message.mac)
        attempt.missing -= {sender}
        self._finish_if_agreed(now=now)

    def _finish_if_agreed(self, *, now: float) -> None:
        attempt = self._attempt
        assert attempt is not None, "called with an offer made"
        if attempt.missing:
            return
        assert attempt.commit is not None, "offered"
        assert attempt.key is not None, "offered"
        done = wire.CommitActivated(commit_hash=commit_hash(attempt.commit))
        self._outbox += [(index, done) for index in sorted(attempt.awaited)]
        proposal = attempt.proposal
        if proposal.act is Act.REMOVE and proposal.leaver in self._links:
            self._outbox.append((proposal.leaver, wire.Removed(epoch=attempt.commit.epoch)))
        self._attempt = None
        self._activate(
            attempt.commit, attempt.key, attempt.password, returned=proposal.returner, now=now
        )
        if proposal.act in ADMITTING and proposal.sponsor == self.me:
            self._events.append(JoinAdmitted(proposal.id, attempt.commit))
        self._proceed(now=now)

    def _expire_attempt(self, attempt: Attempt, *, now: float) -> None:
        """Act on the deadline of what is under way."""
        proposal = attempt.proposal
        unlinked = self._required(proposal) - self._links.keys()
        self._abort(attempt)
        if proposal.act in ADMITTING:
            self._deny(proposal, JoinOutcome.MEMBERS_UNREACHABLE)
            return
        # Who leaves is gone whether all have heard of it or not: who did not answer is counted
        # as absent, and comes back by itself.
        absent = attempt.absent | attempt.missing | unlinked
        if self._may_commit(proposal, absent):
            self._offer(proposal, absent=absent, now=now)
            return
        self._not_before = now + ACK_TIMEOUT
        if proposal.act is not Act.SETTLE:
            self._proposals.put_back(proposal)

    def _break_off(self, attempt: Attempt) -> None:
        """Abort what is under way, to be tried again when this member may."""
        self._abort(attempt)
        if attempt.proposal.act in ADMITTING:
            self._deny(attempt.proposal, JoinOutcome.MEMBERS_UNREACHABLE)
        elif attempt.proposal.act is Act.LEAVE:
            self._proposals.put_back(attempt.proposal)

    def _abort(self, attempt: Attempt) -> None:
        if attempt.commit is not None:
            aborted = wire.CommitAborted(commit_hash=commit_hash(attempt.commit))
            self._outbox += [(index, aborted) for index in sorted(attempt.awaited)]
        self._attempt = None

    def _deny(self, proposal: Proposal, outcome: JoinOutcome) -> None:
        self._refuse(proposal.sponsor, proposal.id, outcome)

    def _refuse(self, sponsor: int, proposal: bytes, outcome: JoinOutcome) -> None:
        if sponsor == self.me:
            self._events.append(JoinDenied(proposal, outcome))
        else:
            message = wire.JoinRefused(proposal=proposal, outcome=int(outcome))
            self._outbox.append((sponsor, message))

    def _challenges(self, proposal: Proposal, *, now: float) -> bool:
        """Whether the old process of who comes back still has time to answer."""
        returner = proposal.returner
        if returner is None or returner not in self._links:
            return False
        if self._challenge is None or self._challenge[0] != proposal:
            self._challenge = (proposal, now + CHALLENGE_TIME)
            self._outbox.append((returner, wire.EpochAsked()))
        return now < self._challenge[1]

    def _refuse_double(self, sender: int, *, now: float) -> None:
        """Refuse the return of member *sender*: its present process has just answered."""
        if self._challenge is None or self._challenge[0].returner != sender:
            return
        proposal, self._challenge = self._challenge[0], None
        if self._proposals.find(lambda each: each == proposal) is not None:
            self._proposals.take(proposal)
            self._deny(proposal, JoinOutcome.ALREADY_IN)
            self._proceed(now=now)

    def _drop_stale(self, index: int) -> None:
        """Let go of the link to the process a returning member had before."""
        if index in self._links:
            self._reach.down(index, now=self._reach.now)
            self._events.append(LinkStale(index))

    # --- in doubt ---------------------------------------------------------------------------

    def _must_ask(self) -> bool:
        """Whether a commit of the leader before may be in force elsewhere."""
        succeeds_silent = self.commit.leader not in {self.me, *self._gone}
        return not self._is_sure and (succeeds_silent or self._pending is not None)

    def _ask(self, returner: int | None, *, now: float) -> None:
        if self._inquiry is None:
            asked = frozenset(self._links) - {returner}
            self._inquiry = Inquiry(asked, now + ACK_TIMEOUT, returner)
            self._outbox += [(index, wire.EpochAsked()) for index in sorted(asked)]
        self._conclude(now=now)

    def _take_statement(self, sender: int, message: wire.EpochStated, *, now: float) -> None:
        self._attempts = max(self._attempts, message.attempt)
        self._learn_history(message)
        self._refuse_double(sender, now=now)
        pending = self._pending
        if (
            pending is not None
            and message.active == pending.hash
            and pending.commit.committer not in self._links
        ):
            # It is in force there, and who should say so is out of reach.
            self._activate_pending(now=now)
            return
        active = commit_hash(self.commit)
        if message.pending == active and self.commit.committer not in {sender, *message.sees}:
            self._outbox.append((sender, wire.CommitActivated(commit_hash=active)))
        attempt = self._attempt
        if attempt is not None and attempt.commit is not None and sender in attempt.missing:
            if message.epoch == self.commit.epoch and message.attempt > attempt.commit.attempt:
                # It has acknowledged another one under this number.
                self._abort(attempt)
                self._offer(attempt.proposal, absent=attempt.absent, now=now)
        elif self._inquiry is not None and sender in self._inquiry.asked:
            self._inquiry.answers[sender] = message
            self._conclude(now=now)

    def _conclude(self, *, now: float) -> None:
        """Decide what becomes of the commits in doubt, once all have answered."""
        inquiry = self._inquiry
        assert inquiry is not None, "called while one is under way"
        if not inquiry.is_over(self._links, now=now):
            return
        self._inquiry = None
        answers = {index: each for index, each in inquiry.answers.items() if index in self._links}
        if (self._better_right() - {inquiry.returner}) & seen(answers):
            # Somebody still sees who should commit; there is a path, and it comes first.
            self._not_before = now + ACK_TIMEOUT
            return
        answers[self.me] = self._statement()
        doubt = latest_doubt(answers)
        if doubt is None:
            self._is_sure = True
            self._proceed(now=now)
            return
        done = wire.CommitActivated(commit_hash=doubt.commit_hash)
        self._outbox += [(index, done) for index in sorted(doubt.holders - {self.me})]
        if self.me in doubt.holders:
            self._activate_pending(now=now)
        else:
            # It is not for this member, which has to come back.
            self._not_before = now + ACK_TIMEOUT

    def _better_right(self) -> set[int]:
        """Return who would commit if it were here, and has not departed."""
        order = [self.commit.leader, *self.commit.roster.present]
        return set(order[: order.index(self.me)]) - self._departed

    def _statement(self) -> wire.EpochStated:
        pending = self._pending
        return wire.EpochStated(
            epoch=self.commit.epoch,
            active=commit_hash(self.commit),
            pending=pending.hash if pending is not None else None,
            awaited=pending.awaited if pending is not None else [],
            attempt=max(self._acknowledged[0] + 1, 0),
            sees=sorted(self._links),
            history=self._history,
        )

    def _learn_history(self, message: wire.EpochStated) -> None:
        """Know what was before this member was here, and whether it had a part in it."""
        history = message.history
        if not history or history[0] != self._history[0]:
            return  # of another epoch
        if len(history) > len(self._history):
            self._history = list(history)
        known, self._unproven = self._unproven, None
        if known is None:
            return
        depth = self.commit.epoch - known.epoch
        # What nobody here can name any more is too old to matter.
        if depth < 1 or (depth < len(history) and history[depth] != commit_hash(known)):
            self._unproven = known
            self._events.append(SideBehind())

    # --- a commit comes into force ----------------------------------------------------------

    def _activate_pending(self, *, now: float) -> None:
        """Put the commit this member has acknowledged in force."""
        pending = self._pending
        assert pending is not None, "called with one"
        is_mine = self._sponsored.answer(pending.proposal, pending.commit.committer)
        if self._attempt is not None:
            self._break_off(self._attempt)
        # What is put in force by a side too small to decide binds nobody to it.
        is_agreed = pending.commit.committer in self._links or self._holds({self.me, *self._links})
        self._activate(
            pending.commit,
            pending.key,
            pending.password,
            returned=pending.returned,
            now=now,
            is_agreed=is_agreed,
        )
        if pending.proposal is not None and is_mine:
            self._events.append(JoinAdmitted(pending.proposal, pending.commit))
        self._proceed(now=now)
