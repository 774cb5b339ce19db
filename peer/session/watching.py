"""Who is out of reach, and whether this side is too small: as the leader says, for all to show.

The leader says it to everybody it reaches; who has no link to the leader goes by its own links.
"""

from collections.abc import Callable

from peer.session.following import Following
from peer.session.reports import (
    Frozen,
    MemberBack,
    MemberLost,
    Thawed,
)
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit
from protocol.errors import RemoteProtocolError
from protocol.limits import GRACE_TIME
from protocol.messages import session as wire


class Watching(Following):
    """What one member tells its owner about the others' presence."""

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
        self._stated: wire.MembersStated | None = None
        """What the leader last said of the members."""
        self._said: wire.MembersStated | None = None
        """The same by this member, as the leader."""
        self._told: frozenset[int] = frozenset()
        """Whose absence the owner knows of."""
        self._small_since: float | None = None

    @property
    def unreachable(self) -> frozenset[int]:
        """Who has no path to the committer, as far as this member knows."""
        members = set(self.roster.indices) - self._left - self._gone - {self.me}
        if self.me == self.leader or self.leader not in self._links:
            lost = self._reach.lost
        else:
            stated = self._stated
            lost = frozenset(stated.unreachable) if stated is not None else frozenset()
        away = {entry.index for entry in self.roster.members if not entry.present}
        return frozenset((lost | away) & members)

    @property
    def frozen(self) -> bool:
        """Whether this side has been too small to change the session for the grace time."""
        return self._frozen

    def _take_members(self, sender: int, message: wire.MembersStated) -> None:
        if message.epoch != self.epoch:
            return  # crossed a commit
        if sender != self.leader:
            raise RemoteProtocolError("a statement of who does not lead")
        self._stated = message
        self._left |= set(message.left) & set(self.roster.indices) - set(self.roster.present)
        self.banned |= dict.fromkeys(message.banned)

    def _review(self) -> None:
        """Say what has changed in who is here; called at the end of every input."""
        if self._stated is not None and self._stated.epoch != self.epoch:
            self._stated = None
        self._review_size()
        if self.me == self.leader:
            self._state_members()
        unreachable = self.unreachable
        self._events += [MemberLost(index) for index in sorted(unreachable - self._told)]
        back = (self._told - unreachable) & set(self.roster.indices) - self._departed
        self._events += [MemberBack(index) for index in sorted(back)]
        self._told = unreachable

    def _review_size(self) -> None:
        now = self._reach.now
        is_led = self.leader in self._links and self.leader != self.me
        if is_led:
            small = self._stated is not None and self._stated.frozen
        else:
            small = not self._holds({self.me, *self._links})
        if not small:
            self._small_since = None
        elif self._small_since is None:
            self._small_since = now
        frozen = self._small_since is not None and (
            is_led or now >= self._small_since + self._reach.grace
        )
        if frozen is not self._frozen:
            self._frozen = frozen
            self._events.append(Frozen() if frozen else Thawed())

    def _state_members(self) -> None:
        said = wire.MembersStated(
            epoch=self.epoch,
            unreachable=sorted(self.unreachable),
            left=sorted(self._left),
            banned=list(self.banned),
            frozen=self._frozen,
        )
        before = self._said
        is_news = before is None or before != said
        is_nothing = said == wire.MembersStated(epoch=self.epoch)
        if is_news and not (is_nothing and (before is None or before.epoch != self.epoch)):
            self._outbox += [(index, said) for index in sorted(self._links)]
        self._said = None if is_nothing else said
