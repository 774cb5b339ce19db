"""Commits other members offer: the one acknowledged, and those that came before their time."""

from dataclasses import dataclass
from typing import Final

from protocol.credentials import Password, Secret
from protocol.epochs import Commit, commit_hash
from protocol.errors import RemoteProtocolError
from protocol.messages.session import CommitOffered

MAX_EARLY_OFFERS: Final = 4
"""Commits kept whose committer this member does not yet know to be the rightful one."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The commit this member was offered and acknowledged."""

    commit: Commit
    key: Secret
    proposal: bytes | None
    """The join of this member that it answers."""
    password: Password | None = None
    """The new one it brings, if it does."""
    returned: int | None = None
    """Who comes back by it."""

    def is_named_by(self, sender: int, wanted: bytes) -> bool:
        """Whether its committer speaks, and of this commit."""
        return self.commit.committer == sender and self.hash == wanted

    @property
    def hash(self) -> bytes:
        """What the others call it."""
        return commit_hash(self.commit)

    @property
    def awaited(self) -> list[int]:
        """Its committer, then everybody whose acknowledgement it needed."""
        commit = self.commit
        asked = set(commit.roster.indices) - set(commit.absent) - {commit.committer}
        return [commit.committer, *sorted(asked)]


class EarlyOffers:
    """Offers of members that may have heard before this one that the leader left."""

    def __init__(self) -> None:
        self._offers: list[tuple[Commit, CommitOffered]] = []

    def add(self, commit: Commit, offer: CommitOffered) -> None:
        """Keep *offer* for later.

        Raises:
            RemoteProtocolError: If too many are kept already.
        """
        if len(self._offers) >= MAX_EARLY_OFFERS:
            raise RemoteProtocolError("commits of somebody who does not commit")
        self._offers.append((commit, offer))

    def take(self) -> list[tuple[Commit, CommitOffered]]:
        """Return all, oldest first, and keep none."""
        offers, self._offers = self._offers, []
        return offers

    def drop(self, committer: int, aborted: bytes) -> None:
        """Forget the commit of this hash, which its *committer* aborted."""
        self._offers = [
            (commit, offer)
            for commit, offer in self._offers
            if commit.committer != committer or commit_hash(commit) != aborted
        ]

    def drop_until(self, epoch: int) -> None:
        """Forget what would lead to *epoch* or one before it."""
        self._offers = [(commit, offer) for commit, offer in self._offers if commit.epoch > epoch]
