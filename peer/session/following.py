"""What a member does with the commits it is offered: check, acknowledge, put in force.

A member acknowledges a commit of who is first in line as far as it sees: nobody follows a
successor while it still sees the leader. What comes from somebody else may only be early; it
is kept for a while (security.md, section 3.7).
"""

import itertools
from typing import Final

from peer.session.committing import Committing
from peer.session.offers import Pending
from peer.session.reports import (
    JoinDenied,
)
from protocol import epochs
from protocol.epochs import Commit, Reason, commit_hash
from protocol.errors import JoinOutcome, RemoteProtocolError
from protocol.messages import session as wire
from protocol.roster import Roster

SETTLING: Final = frozenset({Reason.LEAVE, Reason.RETURN, Reason.TAKE_OVER})
"""Commits that a member takes as soon as it does not see who would commit otherwise."""


class Following(Committing):
    """What one member does with the commits of others."""

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
        if self._pending is not None and commit.prev == self._pending.hash:
            # It is in force there, and the word of it is lost.
            self._hear_of_activation(sender, self._pending)
        gone = self._departed | self._unseen_before(sender, commit)
        if sender != epochs.rightful_committer(self.commit, gone):
            # Its maker may have heard before us that the leader left.
            self._early.add(commit, message)
            return
        epochs.check_commit(self.commit, commit, gone=gone)
        self._check_side(commit)
        if (commit.reason is Reason.RETURN) is not (message.returned in commit.roster.present):
            raise RemoteProtocolError("who returns")
        if commit.reason is Reason.JOIN and self._locked:
            # The leader's word that the inventory was called off may be on its way.
            self._early.add(commit, message)
            return
        link_key = self._links.get(sender)
        if link_key is None:
            raise RemoteProtocolError("a commit over no link")
        key, password = epochs.unwrap_key(link_key, commit, message.wrap)
        if self._unproven is not None:
            self._outbox.append((sender, wire.EpochAsked()))
            return
        if not self._may_acknowledge(commit):
            self._outbox.append((sender, self._statement()))
            return
        if self._attempt is not None:
            self._break_off(self._attempt)
        self._pending = Pending(commit, key, message.proposal, password, message.returned)
        self._acknowledged = (commit.attempt, commit.committer)
        self._inquiry, self._is_sure = None, False
        self._keys.add_pending(key)
        if message.returned is not None:
            self._drop_stale(message.returned)
        acknowledged = wire.CommitAcknowledged(
            commit_hash=commit_hash(commit), mac=epochs.ack(key, commit)
        )
        self._outbox.append((sender, acknowledged))

    def _may_acknowledge(self, commit: Commit) -> bool:
        """Whether *commit* comes after all this member has acknowledged in this epoch.

        Only so is the latest one known to every majority (``peer.session.inquiry``).
        """
        number = (commit.attempt, commit.committer)
        if self._pending is not None and self._pending.commit == commit:
            return True  # offered again on a new link
        own = self._attempt
        mine = own.commit if own is not None else None
        return number > self._acknowledged and (
            mine is None or number > (mine.attempt, mine.committer)
        )

    def _check_side(self, commit: Commit) -> None:
        """Check that those who agree to *commit* are enough for it."""
        before, side = set(self.roster.indices), set(commit.roster.indices) - set(commit.absent)
        if commit.reason is Reason.RECOVER:
            raise RemoteProtocolError("a recovery of what is alive")
        if commit.reason is Reason.TAKE_OVER:
            if not self._frozen:
                raise RemoteProtocolError("a side taken over that could go on by itself")
            return
        if commit.reason is Reason.RETURN and commit.leader == self.leader:
            return
        out = set(self._departed)
        if commit.reason is Reason.LEAVE:
            # Who said so may have said it to others alone.
            out |= before - side - self._links.keys() - {self.me}
        leader = epochs.rightful_committer(self.commit, out)
        base = Roster(tuple(each for each in self.roster.members if each.index not in out))
        if leader is None or not epochs.has_quorum(base, side, leader):
            raise RemoteProtocolError("too few for this commit")

    def _unseen_before(self, committer: int, commit: Commit) -> set[int]:
        """Return who would commit before *committer* but is out of this member's sight.

        Somebody who was just admitted has not heard who left while it came in; and nobody
        refuses a successor for the sake of a leader it does not see.
        """
        order = (self.leader, *self.roster.present)
        before = set(itertools.takewhile(lambda index: index != committer, order))
        if commit.reason not in SETTLING:
            return before & self._reach.lost
        return before - self._links.keys() - {self.me}

    def _retry_early_offers(self) -> None:
        for commit, offer in self._early.take():
            try:
                self._take_offer(commit.committer, offer)
            except RemoteProtocolError:
                # Not who spoke last is to blame; what cannot be taken is no commit to us.
                continue

    def _take_activation(self, sender: int, message: wire.CommitActivated, *, now: float) -> None:
        if message.commit_hash in {commit_hash(self.commit), self.commit.prev}:
            return  # repeated on a new link
        pending = self._pending
        if pending is None or pending.hash != message.commit_hash:
            return  # taken care of already: by another attempt, or by a successor's answer
        self._reach.tick(now)
        self._hear_of_activation(sender, pending)

    def _hear_of_activation(self, sender: int, pending: Pending) -> None:
        # Whoever follows a committer out of reach may have found it in force.
        committer = pending.commit.committer
        if committer == sender or committer not in self._links:
            self._activate_pending(now=self._reach.now)

    def _take_abortion(self, sender: int, message: wire.CommitAborted) -> None:
        self._early.drop(sender, message.commit_hash)
        if self._pending is not None and self._pending.is_named_by(sender, message.commit_hash):
            self._drop_pending()

    def _drop_pending(self) -> None:
        self._keys.drop_pending()
        self._pending = None
