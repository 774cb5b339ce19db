"""Who is in the session: commits made, checked, acknowledged and activated, without I/O.

One member, the committer, makes a commit at a time; proposals wait in its queue::

    IDLE --proposal--> GATHERING --all links there--> OFFERED --all ACKs--> (activated) IDLE
                           |                             |
                           +---------- time over --------+--> aborted, refused or retried: IDLE

A member that is offered a commit checks it, acknowledges it, and activates it on the
committer's word. Links accept the epoch in force and the pending one (security.md, section 3.7).
"""

import enum
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

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

OLD_EPOCH_TIME: Final = 30.0
"""Seconds the key of the epoch before stays known, for transfers under way."""

MAX_EARLY_OFFERS: Final = 4
"""Commits kept whose committer this member does not yet know to be the rightful one."""


class Act(enum.Enum):
    """What a proposal asks for."""

    JOIN = enum.auto()
    LEAVE = enum.auto()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of the roster that waits for its commit."""

    act: Act
    id: bytes = b""
    """Of a join: named by its sponsor."""
    sponsor: int = 0
    entry: RosterEntry | None = None
    """Who would join."""
    leaver: int = 0


@dataclass(slots=True)
class _Attempt:
    """The commit under way at its committer."""

    proposal: Proposal
    deadline: float
    commit: Commit | None = None
    key: Secret | None = None
    awaited: frozenset[int] = frozenset()
    missing: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Pending:
    """The commit this member was offered and acknowledged."""

    commit: Commit
    key: Secret
    proposal: bytes | None


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
        self.locked = False
        """Whether the inventory has started: nobody joins, who leaves keeps its place."""
        self._identity = identity
        self._random_bytes = random_bytes
        self._keys: dict[int, Secret] = {commit.epoch: key}
        self._links: dict[int, Secret] = {}
        self._gone: set[int] = set()
        self._queue: deque[Proposal] = deque()
        self._attempt: _Attempt | None = None
        self._attempts = 0
        self._pending: _Pending | None = None
        self._early: list[tuple[int, wire.CommitOffered]] = []
        self._forget_at: float | None = None
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
            self._outbox.append((committer, message))

    def leave(self) -> None:
        """Tell all that this member leaves; the caller closes the links after sending."""
        if self._attempt is not None:
            self._abort(self._attempt)
        self._outbox += [(index, wire.Leaving()) for index in sorted(self._links)]

    def link_up(self, index: int, key: Secret, *, now: float) -> None:
        """Take notice of a link to member *index* and its key."""
        self._links[index] = key
        self._proceed(now=now)

    def link_down(self, index: int) -> None:
        """Take notice that there is no link to member *index* any more."""
        self._links.pop(index, None)

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
                if sender != self._committer():
                    raise RemoteProtocolError("refused by somebody who does not commit")
                self._events.append(JoinDenied(message.proposal, JoinOutcome(message.outcome)))
            case wire.CommitOffered():
                self._take_offer(sender, message)
            case wire.CommitAcknowledged():
                self._take_ack(sender, message, now=now)
            case wire.CommitActivated():
                pending = self._pending_of(sender, message.commit_hash)
                self._activate(pending.commit, pending.key, now=now)
                if pending.proposal is not None:
                    self._events.append(JoinAdmitted(pending.proposal, pending.commit))
                self._proceed(now=now)
            case wire.CommitAborted():
                self._pending_of(sender, message.commit_hash)
                self._drop_pending()
            case wire.Leaving():
                self._take_leave(sender, now=now)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} is not for the membership")

    def handle_timer(self, *, now: float) -> None:
        if self._forget_at is not None and now >= self._forget_at:
            self._forget_at = None
            self._keys.pop(self.epoch - 1, None)
        attempt = self._attempt
        if attempt is None or now < attempt.deadline:
            return
        if attempt.commit is not None:
            self._abort(attempt)
        self._attempt = None
        if attempt.proposal.act is Act.JOIN:
            self._deny(attempt.proposal, JoinOutcome.MEMBERS_UNREACHABLE)
        else:
            # Who leaves is gone whether all have heard of it or not: who did not answer
            # is counted as absent, and comes back by itself.
            self._offer(attempt.proposal, absent=self._unreached(attempt), now=now)
        self._proceed(now=now)

    def get_timer(self) -> float | None:
        moments = [self._forget_at, self._attempt.deadline if self._attempt else None]
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
        self._queue.append(Proposal(Act.JOIN, proposal, sponsor, entry))
        self._proceed(now=now)

    def _proceed(self, *, now: float) -> None:
        """Begin with the next proposal, or go on with the one under way."""
        if self._attempt is None:
            if not self._queue or self._committer() != self.me:
                return
            proposal = self._queue.popleft()
            outcome = self._objection(proposal)
            if outcome is not None:
                self._deny(proposal, outcome)
                self._proceed(now=now)
                return
            self._attempt = _Attempt(proposal, now + ACK_TIMEOUT)
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

    def _unreached(self, attempt: _Attempt) -> frozenset[int]:
        if attempt.commit is None:
            return self._required(attempt.proposal) - self._links.keys()
        return attempt.missing

    def _offer(self, proposal: Proposal, *, absent: frozenset[int], now: float) -> None:
        """Make the commit and offer it to everybody whose acknowledgement it needs."""
        members = list(self.roster.members)
        if proposal.act is Act.LEAVE:
            members = self._without(proposal.leaver)
        elif proposal.entry is not None:
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
        awaited = (self._required(proposal) - absent) & self._links.keys()
        self._attempt = _Attempt(proposal, now + ACK_TIMEOUT, commit, key, awaited, awaited)
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

    def _abort(self, attempt: _Attempt) -> None:
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

    def _take_offer(self, sender: int, message: wire.CommitOffered) -> None:
        commit = Commit.decode(message.commit)
        if commit.committer != sender:
            raise RemoteProtocolError("a commit made by somebody else")
        if sender != self._committer():
            # Its maker may have heard before us that the leader left.
            if len(self._early) >= MAX_EARLY_OFFERS:
                raise RemoteProtocolError("commits of somebody who does not commit")
            self._early.append((sender, message))
            return
        epochs.check_commit(self.commit, commit, gone=self._gone)
        if commit.reason is Reason.JOIN and self.locked:
            raise RemoteProtocolError("a join after the inventory has started")
        key, _ = epochs.unwrap_key(self._links[sender], commit, message.wrap)
        self._pending = _Pending(commit, key, message.proposal)
        self._keys[commit.epoch] = key
        acknowledged = wire.CommitAcknowledged(
            commit_hash=commit_hash(commit), mac=epochs.ack(key, commit)
        )
        self._outbox.append((sender, acknowledged))

    def _take_leave(self, sender: int, *, now: float) -> None:
        if sender in self._gone:
            return
        self._gone.add(sender)
        self._events.append(Departed(sender))
        if self._pending is not None and self._pending.commit.committer == sender:
            self._drop_pending()
        self._queue.append(Proposal(Act.LEAVE, leaver=sender))
        early, self._early = self._early, []
        for committer, offer in early:
            self._take_offer(committer, offer)
        if self._attempt is not None and sender in self._attempt.missing:
            # It will not answer any more; the commit that drops it comes next.
            self._attempt.missing -= {sender}
            self._finish_if_agreed(now=now)
        self._proceed(now=now)

    def _pending_of(self, sender: int, wanted: bytes) -> _Pending:
        pending = self._pending
        if (
            pending is None
            or pending.commit.committer != sender
            or commit_hash(pending.commit) != wanted
        ):
            raise RemoteProtocolError("word about a commit that was not offered")
        return pending

    def _drop_pending(self) -> None:
        if self._pending is not None:
            self._keys.pop(self._pending.commit.epoch, None)
            self._pending = None

    def _activate(self, commit: Commit, key: Secret, *, now: float) -> None:
        # Keys two epochs old have had their time even if the epochs follow in a moment.
        self._keys = {
            epoch: known for epoch, known in self._keys.items() if epoch == self.commit.epoch
        }
        self._keys[commit.epoch] = key
        self.commit = commit
        self._pending = None
        self._attempts = 0
        self._forget_at = now + OLD_EPOCH_TIME
        staying = set(commit.roster.present)
        self._gone &= staying
        self._links = {index: link for index, link in self._links.items() if index in staying}
        # Everybody queues a leave; whoever commits it, the others' proposals are then done.
        self._queue = deque(
            proposal
            for proposal in self._queue
            if proposal.act is not Act.LEAVE or proposal.leaver in staying
        )
        self._events.append(EpochActivated(commit))
