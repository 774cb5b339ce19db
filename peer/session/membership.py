"""Who is in the session: commits checked, acknowledged and put in force, without I/O.

One member commits (``peer.session.committing``). A member that is offered a commit checks it,
acknowledges it, and puts it in force on the committer's word. Links accept the epoch in force
and the pending one (security.md, section 3.7).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Self

from peer.errors import RightMissing
from peer.session.errors import SideTooLarge
from peer.session.proposals import ADMITTING, Act, Attempt, Proposal
from peer.session.reports import (
    Departed,
    ForkSeen,
    JoinDenied,
    MembershipEvent,
    WasRemoved,
)
from peer.session.watching import Watching
from protocol import epochs
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit, Reason, commit_hash
from protocol.errors import JoinOutcome, RemoteProtocolError
from protocol.ids import letter_of
from protocol.limits import ACK_TIMEOUT, GRACE_TIME
from protocol.messages import session as wire
from protocol.messages.base import Message
from protocol.roster import Roster

MEMBERSHIP_MESSAGES: Final = (
    wire.JoinProposed
    | wire.JoinRefused
    | wire.CommitOffered
    | wire.CommitAcknowledged
    | wire.CommitActivated
    | wire.CommitAborted
    | wire.Leaving
    | wire.EpochAsked
    | wire.EpochStated
    | wire.MembersStated
    | wire.Removed
)
"""What is handed to ``Membership.receive_message``."""


class Membership(Watching):
    """One member's share in the chain of commits.

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
        super().__init__(identity, commit, key, random_bytes=random_bytes, grace=grace, known=known)
        self.ended = False
        """Whether the leader has removed this member."""
        self._forks: set[int] = set()
        self._refused: dict[int, float] = {}
        """Since when a member's links are refused for its roster."""

    @classmethod
    def create(
        cls,
        identity: NodeIdentity,
        name: str,
        email: str,
        *,
        random_bytes: Callable[[int], bytes],
        grace: float = GRACE_TIME,
    ) -> Self:
        """Return the membership of a new session's only member."""
        key = Secret(random_bytes(epochs.KEY_SIZE))
        commit = epochs.genesis(identity, name, email, key)
        return cls(identity, commit, key, random_bytes=random_bytes, grace=grace)

    @classmethod
    def recover(
        cls,
        identity: NodeIdentity,
        newest: Commit,
        *,
        random_bytes: Callable[[int], bytes],
        grace: float = GRACE_TIME,
    ) -> Self:
        """Return the membership of a session whose every process has died.

        The lowest index there is calls this; the others come back to it as members return.

        Args:
            identity: This member's node key.
            newest: The newest binding commit stored by those who are there.
            random_bytes: Returns so many random bytes.
            grace: Seconds before who is silent may be removed, or succeeded.
        """
        own = newest.roster.find(identity.node_key)
        assert own is not None, "a session record names who kept it"
        roster = Roster(tuple(replace(each, present=each is own) for each in newest.roster.members))
        key = Secret(random_bytes(epochs.KEY_SIZE))
        commit = epochs.successor(
            newest, identity, reason=Reason.RECOVER, roster=roster, session_key=key
        )
        return cls(identity, commit, key, random_bytes=random_bytes, grace=grace)

    # --- what is asked of it ---------------------------------------------------------

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
        if not locked:
            self._retry_early_offers()

    @property
    def left(self) -> frozenset[int]:
        """Who said that it leaves, and keeps its place until the session is restarted."""
        return frozenset(self._departed)

    @property
    def may_return(self) -> bool:
        """Whether a refused link should end in coming back through a join with the node key."""
        return not self.took_over and not self._holds({self.me, *self._links})

    def propose_join(
        self,
        proposal: bytes,
        node_key: bytes,
        name: str,
        email: str,
        *,
        now: float,
        still_linked: bool = False,
    ) -> None:
        """Ask for the admission, or the return, of a candidate that this member sponsors.

        Args:
            proposal: What the answer will name.
            node_key: The candidate's key.
            name: What its machine is called.
            email: Its person's address, or empty.
            now: The time.
            still_linked: Whether the member with this key has just answered on its link.
        """
        self._reach.tick(now)
        known = self.roster.find(node_key)
        returner = known.index if known is not None else None
        if node_key in self.banned:
            self._events.append(JoinDenied(proposal, JoinOutcome.REMOVED))
            return
        if returner == self.me or (returner is not None and still_linked):
            self._events.append(JoinDenied(proposal, JoinOutcome.ALREADY_IN))
            return
        committer = self._committer(returner)
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
        self._review()

    def remove(self, index: int, *, now: float) -> None:
        """Put another member out, ban its key and change the password.

        Raises:
            RightMissing: If this member does not lead, or would put itself out.
        """
        self._check_leads()
        if index == self.me or self.roster.entry(index) is None:
            raise RightMissing(self._letter_of_leader)
        self._proposals.add(Proposal(Act.REMOVE, leaver=index))
        self._proceed(now=now)
        self._review()

    def rotate(self, *, now: float) -> None:
        """Change the password.

        Raises:
            RightMissing: If this member does not lead.
        """
        self._check_leads()
        self._proposals.add(Proposal(Act.ROTATE))
        self._proceed(now=now)
        self._review()

    def take_over(self, *, now: float) -> None:
        """Go on with those on this side, for good: the others may do the same.

        Raises:
            SideTooLarge: If there is no need to: this side is not frozen.
            RightMissing: If somebody here comes before this member.
        """
        if not self._frozen:
            raise SideTooLarge
        first = min(self._links.keys() | {self.me})
        if first != self.me:
            raise RightMissing(letter_of(first, self.roster.indices))
        if self._attempt is not None:
            self._break_off(self._attempt)
        self._reach.tick(now)
        proposal = Proposal(Act.TAKE_OVER)
        self._attempt = Attempt(proposal, now + ACK_TIMEOUT)
        self._offer(proposal, absent=frozenset(), now=now)
        self._review()

    def leave(self) -> None:
        """Tell all that this member leaves; the caller closes the links after sending."""
        waiting = self._proposals.take_joins()
        if self._attempt is not None:
            waiting.insert(0, self._attempt.proposal)
            self._abort(self._attempt)
        for proposal in waiting:
            if proposal.act in ADMITTING:
                self._deny(proposal, JoinOutcome.MEMBERS_UNREACHABLE)
        self._outbox += [(index, wire.Leaving()) for index in sorted(self._links)]

    def link_up(self, index: int, key: Secret, *, now: float) -> None:
        """Take notice of a link to member *index* and its key."""
        self._reach.tick(now)
        self._reach.up(index, key)
        self._refused.pop(index, None)
        if self.commit.committer == self.me:
            # The word that this epoch is in force may have been lost with the link before.
            done = wire.CommitActivated(commit_hash=commit_hash(self.commit))
            self._outbox.append((index, done))
        if self._pending is not None or (
            self.commit.reason is Reason.RETURN and len(self._history) <= 2  # noqa: PLR2004  # its own two
        ):
            # So may the word about the next one; and who comes back learns what was before.
            self._outbox.append((index, wire.EpochAsked()))
        attempt = self._attempt
        if attempt is not None and index in attempt.missing:
            self._offer_to(index, attempt)
        if self.me == self.leader and self._said is not None:
            self._outbox.append((index, self._said))
        self._proceed(now=now)
        self._review()

    def link_down(self, index: int, *, now: float | None = None) -> None:
        """Take notice that there is no link to member *index* any more."""
        self._reach.down(index, now=now)
        self._give_up_asking(index)
        if self._pending is not None and self._pending.commit.committer == index:
            # Somebody else may have heard its last word.
            self._outbox += [(other, wire.EpochAsked()) for other in sorted(self._links)]
        self._retry_early_offers()
        self._review()

    def link_refused(self, index: int, epoch: int, *, now: float) -> None:
        """Take notice that member *index* holds another roster or key of an epoch known here.

        A side that has fallen behind comes back soon; one that does not has gone its own way.
        """
        self._reach.tick(now)
        if epoch not in self.rosters() or self.roster.entry(index) is None:
            return
        since = self._refused.setdefault(index, now)
        if self.took_over or (now >= since + self._reach.grace and not self.may_return):
            self._see_fork(epoch)

    def is_fork(self, commit: Commit) -> bool:
        """Whether *commit*, which a sponsor welcomes us with, has left the way this member went.

        What is in force on a side that could commit nothing is no way of its own.
        """
        is_other = commit.epoch <= self.epoch and commit_hash(commit) != commit_hash(self.commit)
        if is_other and (self.took_over or self._holds({self.me, *self._links})):
            self._see_fork(commit.epoch)
            return True
        return self.took_over

    # --- messages and time --------------------------------------------------------------

    def receive_message(self, sender: int, message: Message, *, now: float) -> None:
        """Take one message of member *sender*.

        Raises:
            RemoteProtocolError: If it breaks a rule of the chain; nothing has changed.
        """
        self._reach.tick(now)
        if not self.ended:
            self._dispatch(sender, message, now=now)
            self._review()

    def _dispatch(self, sender: int, message: Message, *, now: float) -> None:  # noqa: C901  # one arm a message
        match message:
            case wire.JoinProposed():
                known = self.roster.find(message.node_key)
                if self._committer(known.index if known is not None else None) != self.me:
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
            case wire.EpochAsked():
                self._outbox.append((sender, self._statement()))
            case wire.EpochStated():
                self._take_statement(sender, message, now=now)
            case wire.MembersStated():
                self._take_members(sender, message)
            case wire.Removed():
                self._take_removal(sender, message)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} is not for the membership")

    def handle_timer(self, *, now: float) -> None:
        self._reach.tick(now)
        self._keys.handle_timer(now=now)
        self._retry_early_offers()
        attempt = self._attempt
        if attempt is not None and now >= attempt.deadline:
            self._expire_attempt(attempt, now=now)
        if self._inquiry is not None:
            self._conclude(now=now)
        self._proceed(now=now)
        self._review()

    def get_timer(self) -> float | None:
        if self.ended:
            return None
        moments = [self._keys.get_timer(), *self._reach.moments()]
        if self._small_since is not None and not self._frozen:
            moments.append(self._small_since + self._reach.grace)
        if self._refresh_at is not None and self._refresh_at > self._reach.now:
            moments.append(self._refresh_at if len(self.roster.members) > 1 else None)
        if self._attempt is not None:
            moments.append(self._attempt.deadline)
        elif self._inquiry is not None:
            moments.append(self._inquiry.deadline)
        elif self._challenge is not None and self._reach.now < self._challenge[1]:
            moments.append(self._challenge[1])
        elif self._next_proposal() is not None:
            # What waited behind an attempt that was broken off is due.
            moments.append(self._not_before)
        return min((moment for moment in moments if moment is not None), default=None)

    def messages_to_send(self) -> list[tuple[int, Message]]:
        """Return ``(receiver, message)`` pairs, in order."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> MembershipEvent | None:
        return self._events.popleft() if self._events else None

    # --- every member ----------------------------------------------------------------------

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
            if proposal.act in ADMITTING and proposal.sponsor == sender:
                # Nobody would tell the candidate that it is in.
                self._abort(attempt)
            elif sender in attempt.missing:
                # It will not answer any more; the commit that drops it comes next.
                attempt.missing -= {sender}
                self._finish_if_agreed(now=now)
        self._proceed(now=now)

    def _take_removal(self, sender: int, message: wire.Removed) -> None:
        if sender != self.leader or message.epoch <= self.epoch:
            raise RemoteProtocolError("put out by who does not lead")
        self.ended = True
        self._events.append(WasRemoved())

    def _see_fork(self, epoch: int) -> None:
        if epoch not in self._forks:
            self._forks.add(epoch)
            self._events.append(ForkSeen(epoch))

    def _check_leads(self) -> None:
        if self.me != self.leader:
            raise RightMissing(self._letter_of_leader)

    @property
    def _letter_of_leader(self) -> str:
        return letter_of(self.leader, self.roster.indices)
