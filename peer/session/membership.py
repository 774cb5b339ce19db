"""Who is in the session: commits made, checked, acknowledged and activated, without I/O.

One member, the committer, makes a commit at a time; proposals wait in its queue::

    IDLE --proposal--> GATHERING --all links there--> OFFERED --all ACKs--> (activated) IDLE
                           |                             |
                           +---------- time over --------+--> aborted, refused or retried: IDLE

A member that is offered a commit checks it, acknowledges it, and activates it on the
committer's word. Links accept the epoch in force and the pending one (security.md, section 3.7).
"""

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Self

from peer.session.epoch_keys import EpochKeys
from peer.session.offers import EarlyOffers, Pending
from peer.session.proposals import Act, Attempt, Proposal, Proposals, Sponsored
from peer.session.reports import (
    Departed,
    EpochActivated,
    JoinAdmitted,
    JoinDenied,
    MembershipEvent,
)
from protocol import epochs
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit, Reason, commit_hash
from protocol.errors import JoinOutcome, RemoteProtocolError
from protocol.limits import ACK_TIMEOUT, MAX_MEMBERS
from protocol.messages import session as wire
from protocol.messages.base import Message
from protocol.roster import MAX_INDEX, Roster, RosterEntry


class Membership:
    """One member's share in the chain of commits.

    Args:
        identity: This member's node key, which is in the roster of *commit*.
        commit: The commit in force.
        key: Its session key.
        random_bytes: Returns so many random bytes.
    """

    def __init__(
        self,
        identity: NodeIdentity,
        commit: Commit,
        key: Secret,
        *,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        own = commit.roster.find(identity.node_key)
        assert own is not None, "a welcome names who it welcomes"
        self.me: Final = own.index
        self.commit = commit
        self._locked = False
        self._identity = identity
        self._random_bytes = random_bytes
        self._keys = EpochKeys(commit.epoch, key)
        self._links: dict[int, Secret] = {}
        self._gone: set[int] = set()
        self._proposals = Proposals()
        self._attempt: Attempt | None = None
        self._attempts = 0
        self._pending: Pending | None = None
        self._sponsored = Sponsored()
        self._early = EarlyOffers()
        self._outbox: list[tuple[int, Message]] = []
        self._events: deque[MembershipEvent] = deque()

    @classmethod
    def create(
        cls,
        identity: NodeIdentity,
        name: str,
        email: str,
        *,
        random_bytes: Callable[[int], bytes],
    ) -> Self:
        """Return the membership of a new session's only member."""
        key = Secret(random_bytes(epochs.KEY_SIZE))
        commit = epochs.genesis(identity, name, email, key)
        return cls(identity, commit, key, random_bytes=random_bytes)

    # --- what is asked of it ---------------------------------------------------------

    @property
    def roster(self) -> Roster:
        return self.commit.roster

    @property
    def epoch(self) -> int:
        return self.commit.epoch

    @property
    def leader(self) -> int:
        return self.commit.leader

    @property
    def locked(self) -> bool:
        """Whether the inventory has started: nobody joins, who leaves keeps its place."""
        return self._locked

    @locked.setter
    def locked(self, locked: bool) -> None:
        self._locked = locked
        attempt = self._attempt
        if locked and attempt is not None and attempt.proposal.act is Act.JOIN:
            # Who came in now would not know that the inventory has started.
            self._abort(attempt)
            self._deny(attempt.proposal, JoinOutcome.LOCKED)

    def epoch_key(self, epoch: int) -> Secret | None:
        """Return the key of an epoch in force, pending or just past."""
        return self._keys.get(epoch)

    def rosters(self) -> Mapping[int, Roster]:
        """Return the roster of every epoch a link may begin with: in force and pending."""
        known = {self.epoch: self.roster}
        if self._pending is not None:
            known[self._pending.commit.epoch] = self._pending.commit.roster
        return known

    def propose_join(
        self, proposal: bytes, node_key: bytes, name: str, email: str, *, now: float
    ) -> None:
        """Ask for the admission of a candidate that this member sponsors."""
        committer = self._committer()
        if committer == self.me:
            self._enqueue_join(self.me, proposal, node_key, name, email, now=now)
        elif committer is None or committer not in self._links:
            self._events.append(JoinDenied(proposal, JoinOutcome.MEMBERS_UNREACHABLE))
        else:
            message = wire.JoinProposed(
                proposal=proposal, node_key=node_key, name=name, email=email
            )
            self._sponsored.add(proposal, committer)
            self._outbox.append((committer, message))

    def leave(self) -> None:
        """Tell all that this member leaves; the caller closes the links after sending."""
        waiting = self._proposals.take_joins()
        if self._attempt is not None:
            waiting.insert(0, self._attempt.proposal)
            self._abort(self._attempt)
        for proposal in waiting:
            if proposal.act is Act.JOIN:
                self._deny(proposal, JoinOutcome.MEMBERS_UNREACHABLE)
        self._outbox += [(index, wire.Leaving()) for index in sorted(self._links)]

    def link_up(self, index: int, key: Secret, *, now: float) -> None:
        """Take notice of a link to member *index* and its key."""
        self._links[index] = key
        if self.commit.committer == self.me:
            # The word that this epoch is in force may have been lost with the link before.
            done = wire.CommitActivated(commit_hash=commit_hash(self.commit))
            self._outbox.append((index, done))
        self._proceed(now=now)

    def link_down(self, index: int) -> None:
        """Take notice that there is no link to member *index* any more."""
        self._links.pop(index, None)
        self._give_up_asking(index)
        self._retry_early_offers()

    # --- messages and time --------------------------------------------------------------

    def receive_message(self, sender: int, message: Message, *, now: float) -> None:
        """Take one message of member *sender*.

        Raises:
            RemoteProtocolError: If it breaks a rule of the chain; nothing has changed.
        """
        match message:
            case wire.JoinProposed():
                if self._committer() != self.me:
                    self._refuse(sender, message.proposal, JoinOutcome.MEMBERS_UNREACHABLE)
                    return
                self._enqueue_join(
                    sender,
                    message.proposal,
                    message.node_key,
                    message.name,
                    message.email,
                    now=now,
                )
            case wire.JoinRefused():
                if self._sponsored.answer(message.proposal, sender):
                    self._events.append(JoinDenied(message.proposal, JoinOutcome(message.outcome)))
            case wire.CommitOffered():
                self._take_offer(sender, message)
            case wire.CommitAcknowledged():
                self._take_ack(sender, message, now=now)
            case wire.CommitActivated():
                self._take_activation(sender, message, now=now)
            case wire.CommitAborted():
                self._take_abortion(sender, message)
            case wire.Leaving():
                self._take_leave(sender, now=now)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} is not for the membership")

    def handle_timer(self, *, now: float) -> None:
        self._keys.handle_timer(now=now)
        attempt = self._attempt
        if attempt is not None and now >= attempt.deadline:
            unlinked = self._required(attempt.proposal) - self._links.keys()
            self._abort(attempt)
            if attempt.proposal.act is Act.JOIN:
                self._deny(attempt.proposal, JoinOutcome.MEMBERS_UNREACHABLE)
            else:
                # Who leaves is gone whether all have heard of it or not: who did not answer
                # is counted as absent, and comes back by itself.
                absent = attempt.absent | attempt.missing | unlinked
                self._offer(attempt.proposal, absent=absent, now=now)
        self._proceed(now=now)

    def get_timer(self) -> float | None:
        moments = [self._keys.get_timer()]
        if self._attempt is not None:
            moments.append(self._attempt.deadline)
        elif self._proposals and self._committer() == self.me:
            # An attempt was broken off; what waits behind it is due.
            moments.append(0.0)
        return min((moment for moment in moments if moment is not None), default=None)

    def messages_to_send(self) -> list[tuple[int, Message]]:
        """Return ``(receiver, message)`` pairs, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> MembershipEvent | None:
        return self._events.popleft() if self._events else None

    # --- the committer ---------------------------------------------------------------------

    def _committer(self) -> int | None:
        return epochs.rightful_committer(self.commit, self._gone)

    def _enqueue_join(
        self, sponsor: int, proposal: bytes, node_key: bytes, name: str, email: str, *, now: float
    ) -> None:
        try:
            entry = RosterEntry(MAX_INDEX, node_key, name, email)
        except ValueError:
            raise RemoteProtocolError("a candidate that cannot be a member") from None
        join = Proposal(Act.JOIN, proposal, sponsor, entry)
        if self._proposals.is_full:
            self._deny(join, JoinOutcome.THROTTLED)
            return
        self._proposals.add(join)
        self._proceed(now=now)

    def _proceed(self, *, now: float) -> None:
        """Begin with the next proposal, or go on with the one under way."""
        if self._attempt is None:
            if not self._proposals or self._committer() != self.me:
                return
            proposal = self._proposals.take()
            outcome = self._objection(proposal)
            if outcome is not None:
                self._deny(proposal, outcome)
                self._proceed(now=now)
                return
            self._attempt = Attempt(proposal, now + ACK_TIMEOUT)
        attempt = self._attempt
        if attempt.commit is None and self._required(attempt.proposal) <= self._links.keys():
            self._offer(attempt.proposal, absent=frozenset(), now=now)

    def _objection(self, proposal: Proposal) -> JoinOutcome | None:
        if proposal.entry is None:
            return None
        if self.roster.find(proposal.entry.node_key) is not None:
            return JoinOutcome.ALREADY_IN
        if self.locked:
            return JoinOutcome.LOCKED
        if len(self.roster.members) >= MAX_MEMBERS or self.commit.next_index > MAX_INDEX:
            return JoinOutcome.FULL
        return None

    def _required(self, proposal: Proposal) -> frozenset[int]:
        """Return whose acknowledgement the proposal needs."""
        staying = set(self.roster.present) - self._gone - {self.me}
        return frozenset(staying - ({proposal.leaver} if proposal.act is Act.LEAVE else set()))

    def _offer(self, proposal: Proposal, *, absent: frozenset[int], now: float) -> None:
        """Make the commit and offer it to everybody whose acknowledgement it needs."""
        members = list(self.roster.members)
        if proposal.act is Act.LEAVE:
            members = self._without(proposal.leaver)
        else:
            assert proposal.entry is not None, "a join names who joins"
            members.append(replace(proposal.entry, index=self.commit.next_index))
        members = [
            replace(entry, present=entry.present and entry.index not in absent) for entry in members
        ]
        key = Secret(self._random_bytes(epochs.KEY_SIZE))
        commit = epochs.successor(
            self.commit,
            self._identity,
            reason=Reason.JOIN if proposal.act is Act.JOIN else Reason.LEAVE,
            roster=Roster(tuple(members)),
            session_key=key,
            attempt=self._attempts,
            acting_leader=self._acting_leader(members),
        )
        self._attempts += 1
        # The keys' own ``&`` would give a set that can be changed behind the attempt's back.
        awaited = (self._required(proposal) - absent).intersection(self._links)
        self._attempt = Attempt(
            proposal, now + ACK_TIMEOUT, absent, commit, key, awaited=awaited, missing=awaited
        )
        encoded = commit.encode()
        for index in sorted(awaited):
            wrap = epochs.wrap_key(self._links[index], commit, key)
            named = proposal.id if index == proposal.sponsor and proposal.id else None
            self._outbox.append(
                (index, wire.CommitOffered(commit=encoded, wrap=wrap, proposal=named))
            )
        self._finish_if_agreed(now=now)

    def _without(self, leaver: int) -> list[RosterEntry]:
        """Return the roster when *leaver* is gone: once activated its place stays."""
        if not self.locked:
            return [entry for entry in self.roster.members if entry.index not in self._gone]
        return [
            replace(entry, present=entry.present and entry.index not in {leaver, *self._gone})
            for entry in self.roster.members
        ]

    def _acting_leader(self, members: list[RosterEntry]) -> int | None:
        """Return who must be named because the lowest index present does not lead."""
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
        self._attempt = None
        self._activate(attempt.commit, attempt.key, now=now)
        proposal = attempt.proposal
        if proposal.act is Act.JOIN and proposal.sponsor == self.me:
            self._events.append(JoinAdmitted(proposal.id, attempt.commit))
        self._proceed(now=now)

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

    # --- every member ----------------------------------------------------------------------

    def _give_up_asking(self, committer: int) -> None:
        """Deny the candidates of whom *committer* will not say any more what becomes of them."""
        # One that is pending may still be admitted: its committer says so with the next link.
        in_doubt = self._pending.proposal if self._pending is not None else None
        for proposal in self._sponsored.give_up(committer, in_doubt=in_doubt):
            self._events.append(JoinDenied(proposal, JoinOutcome.MEMBERS_UNREACHABLE))

    def _take_offer(self, sender: int, message: wire.CommitOffered) -> None:
        commit = Commit.decode(message.commit)
        if commit.committer != sender:
            raise RemoteProtocolError("a commit made by somebody else")
        gone = self._gone | self._unseen_before(sender)
        if sender != epochs.rightful_committer(self.commit, gone):
            # Its maker may have heard before us that the leader left.
            self._early.add(commit, message)
            return
        epochs.check_commit(self.commit, commit, gone=gone)
        if commit.reason is Reason.JOIN and self.locked:
            raise RemoteProtocolError("a join after the inventory has started")
        link_key = self._links.get(sender)
        if link_key is None:
            raise RemoteProtocolError("a commit over no link")
        key, _ = epochs.unwrap_key(link_key, commit, message.wrap)
        self._pending = Pending(commit, key, message.proposal)
        self._keys.add_pending(key)
        acknowledged = wire.CommitAcknowledged(
            commit_hash=commit_hash(commit), mac=epochs.ack(key, commit)
        )
        self._outbox.append((sender, acknowledged))

    def _unseen_before(self, committer: int) -> set[int]:
        """Return who would commit before *committer* but has no link to this member.

        Somebody who was just admitted has not heard who left while it came in; and nobody
        refuses a successor for the sake of a leader it does not see.
        """
        order = (self.leader, *self.roster.present)
        before = set(itertools.takewhile(lambda index: index != committer, order))
        return before - self._links.keys() - {self.me}

    def _retry_early_offers(self) -> None:
        for commit, offer in self._early.take():
            try:
                self._take_offer(commit.committer, offer)
            except RemoteProtocolError:
                # Not who spoke last is to blame; what cannot be taken is no commit to us.
                continue

    def _take_activation(self, sender: int, message: wire.CommitActivated, *, now: float) -> None:
        if message.commit_hash == commit_hash(self.commit):
            return  # repeated on a new link
        pending = self._pending
        if pending is None or not pending.is_named_by(sender, message.commit_hash):
            raise RemoteProtocolError("word about a commit that was not offered")
        is_awaited = self._sponsored.answer(pending.proposal, sender)
        self._activate(pending.commit, pending.key, now=now)
        if pending.proposal is not None and is_awaited:
            self._events.append(JoinAdmitted(pending.proposal, pending.commit))
        self._proceed(now=now)

    def _take_abortion(self, sender: int, message: wire.CommitAborted) -> None:
        self._early.drop(sender, message.commit_hash)
        if self._pending is not None and self._pending.is_named_by(sender, message.commit_hash):
            self._drop_pending()

    def _take_leave(self, sender: int, *, now: float) -> None:
        known = any(sender in roster.present for roster in self.rosters().values())
        if sender in self._gone or not known:
            return
        self._gone.add(sender)
        self._events.append(Departed(sender))
        if self._pending is not None and self._pending.commit.committer == sender:
            self._drop_pending()
        self._proposals.take_joins(sponsor=sender)
        self._proposals.add(Proposal(Act.LEAVE, leaver=sender))
        self._retry_early_offers()
        attempt = self._attempt
        if attempt is not None:
            proposal = attempt.proposal
            if proposal.act is Act.JOIN and proposal.sponsor == sender:
                # Nobody would tell the candidate that it is in.
                self._abort(attempt)
            elif sender in attempt.missing:
                # It will not answer any more; the commit that drops it comes next.
                attempt.missing -= {sender}
                self._finish_if_agreed(now=now)
        self._proceed(now=now)

    def _drop_pending(self) -> None:
        self._keys.drop_pending()
        self._pending = None

    def _activate(self, commit: Commit, key: Secret, *, now: float) -> None:
        self._keys.activate(commit.epoch, key, now=now)
        self.commit = commit
        self._pending = None
        self._attempts = 0
        staying = set(commit.roster.present)
        self._gone &= staying
        self._links = {index: link for index, link in self._links.items() if index in staying}
        self._early.drop_until(commit.epoch)
        self._proposals.keep_leaves_of(staying)
        self._events.append(EpochActivated(commit))
