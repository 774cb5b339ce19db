"""Which members this one has a link to, and since when it has none to the others.

A path over another member is a link like any other here. A clock that was not set begins with
the next moment this member hears of: machines are made without a clock.
"""

from collections.abc import Collection

from protocol.credentials import Secret
from protocol.limits import UNREACHABLE_AFTER


class Reach:
    """Links and their absences.

    Args:
        me: This member's index.
        grace: Seconds without a link before a member may be removed or succeeded.

    Attributes:
        links: The key of every link, by member.
        grace: As given.
        now: The last moment heard of.
    """

    def __init__(self, me: int, grace: float) -> None:
        self.links: dict[int, Secret] = {}
        self.grace = grace
        self.now = 0.0
        self._me = me
        self._since: dict[int, float | None] = {}

    def expect(self, members: Collection[int], linkable: Collection[int]) -> None:
        """Take a new roster: its *members*, and those of them a link may be kept to."""
        others = set(members) - {self._me}
        for index in sorted(self.links.keys() - set(linkable)):
            del self.links[index]
        self._since = {
            index: self._since.get(index) for index in sorted(others - self.links.keys())
        }

    def tick(self, now: float) -> None:
        """Take notice of the time."""
        self.now = max(self.now, now)
        for index, since in self._since.items():
            if since is None:
                self._since[index] = self.now

    def up(self, index: int, key: Secret) -> None:
        self.links[index] = key
        self._since.pop(index, None)

    def forgive(self, index: int) -> None:
        """Count the absence of a member that came back from now on."""
        if index in self._since:
            self._since[index] = self.now

    def down(self, index: int, *, now: float | None) -> None:
        if self.links.pop(index, None) is not None:
            self._since[index] = now

    def away(self, seconds: float) -> frozenset[int]:
        """Return who has been without a link for so long."""
        return frozenset(
            index
            for index, since in self._since.items()
            if since is not None and self.now >= since + seconds
        )

    @property
    def lost(self) -> frozenset[int]:
        """Who counts as unreachable."""
        return self.away(UNREACHABLE_AFTER)

    @property
    def overdue(self) -> frozenset[int]:
        """Who has been gone for the grace time."""
        return self.away(self.grace)

    def moments(self) -> list[float]:
        """Return when somebody else counts as unreachable, or has been gone for long enough."""
        moments: list[float] = []
        for since in self._since.values():
            if since is None:
                return [self.now]
            moments += [since + UNREACHABLE_AFTER, since + self.grace]
        return [moment for moment in moments if moment > self.now]
