"""Which inventory of the session is under way, and which will never be.

Members hear of a cancellation from whoever cancels and of the next start from the leader, over
different links: either may come first.
"""

from typing import Final

from protocol.errors import RemoteProtocolError

CROSSING_TIME: Final = 5.0
"""Seconds into Comparison in which a member that still waits for the last hash may cancel."""

MAX_AHEAD: Final = 16
"""Starts and cancellations that may overtake what this member hears of the leader."""


class Runs:
    """The number of the run, and what is known about others.

    Attributes:
        number: Of the last inventory begun; 0 before the first.
    """

    def __init__(self) -> None:
        self.number = 0
        self._void = 0
        self._compared_at: float | None = None

    def begin(self, number: int) -> bool:
        """Go on to run *number*; return whether nobody has cancelled it yet."""
        self.number = number
        self._compared_at = None
        return number > self._void

    def resume(self, number: int) -> None:
        """Know run *number* as begun: this member comes back to it, or to what followed it."""
        self.number = number
        self._void = max(self._void, number)

    def compared(self, *, now: float) -> None:
        """Take notice that all inventories of the run are in."""
        self._compared_at = now

    def may_cross(self, *, now: float) -> bool:
        """Whether a cancellation may still come from a member that waits for the last hash."""
        return self._compared_at is None or now <= self._compared_at + CROSSING_TIME

    def void(self, number: int) -> None:
        """Remember that a run not yet heard of was cancelled, and with it all before.

        Raises:
            RemoteProtocolError: If no run can have come so far.
        """
        if number > self.number + MAX_AHEAD:
            raise RemoteProtocolError("cancels an inventory nobody started")
        self._void = max(self._void, number)
