"""One timer of the loop for all connections of an endpoint.

A connection's deadline moves with every packet, nearly always later. So a deadline
that moved later is left where it is in the heap and looked at again when it comes. The
heap keeps nobody alive: a connection that ended takes tens of kilobytes with it at once,
not when the time comes that it would have been idle for too long.
"""

import asyncio
import heapq
import itertools
import weakref
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Something with a deadline."""

    deadline: float | None
    """Loop time at which it wants to be called, or None."""

    queued_at: float | None
    """Where it stands in the heap: the heap's own mark, None at first."""


TimedT = TypeVar("TimedT", bound=Timed)


class Timers(Generic[TimedT]):
    """Calls *expired* with everything whose deadline has passed.

    Args:
        loop: Where the timer runs.
        expired: Called with what is due and the loop time; sets new deadlines
            through ``update``.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, expired: Callable[[list[TimedT], float], None]
    ) -> None:
        self._loop = loop
        self._expired = expired
        self._heap: list[tuple[float, int, weakref.ref[TimedT]]] = []
        self._order = itertools.count()
        self._handle: asyncio.TimerHandle | None = None

    def update(self, item: TimedT) -> None:
        """Take notice of *item*'s deadline; None needs no notice."""
        deadline = item.deadline
        if deadline is None or (item.queued_at is not None and item.queued_at <= deadline):
            return
        item.queued_at = deadline
        heapq.heappush(self._heap, (deadline, next(self._order), weakref.ref(item)))
        self._arm()

    def close(self) -> None:
        """Stop the timer."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if not self._heap:
            return
        first = self._heap[0][0]
        if self._handle is not None:
            if self._handle.when() <= first:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(first, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self._loop.time()
        due: list[TimedT] = []
        while self._heap and self._heap[0][0] <= now:
            queued_at, _, reference = heapq.heappop(self._heap)
            item = reference()
            if item is None or item.queued_at != queued_at:
                # Gone, or an earlier entry of the same item has overtaken this one.
                continue
            item.queued_at = None
            if item.deadline is None:
                continue
            if item.deadline <= now:
                due.append(item)
            else:
                self.update(item)
        if due:
            self._expired(due, now)
        self._arm()
