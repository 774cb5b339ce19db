"""One timer serves all; a deadline that moved later costs nothing."""

import asyncio
import gc
import weakref

from protocol.endpoint.timers import Timers


class Item:
    """Something with a deadline."""

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.queued_at: float | None = None


class Fired:
    """Collects what expired, and keeps it from expiring again."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.loop = asyncio.get_running_loop()
        self.timers: Timers[Item] = Timers(self.loop, self.take)

    def take(self, due: list[Item], now: float) -> None:
        for item in due:
            assert item.deadline is not None
            assert item.deadline <= now
            item.deadline = None
        self.items += due

    def at(self, seconds: float) -> float:
        return self.loop.time() + seconds


async def until(fired: Fired, count: int) -> None:
    """Wait until *count* items fired."""
    async with asyncio.timeout(5):
        while len(fired.items) < count:  # noqa: ASYNC110  # the condition is the list
            await asyncio.sleep(0.001)


async def test_items_fire_in_the_order_of_their_deadlines() -> None:
    """Whatever the order they were told in."""
    fired = Fired()
    late, early = Item(fired.at(0.02)), Item(fired.at(0.01))
    fired.timers.update(late)
    fired.timers.update(early)

    await until(fired, 2)

    assert fired.items == [early, late]


async def test_a_deadline_may_move_both_ways_before_it_comes() -> None:
    """Later: it fires late, once. Earlier: early, once. None: never."""
    fired = Fired()
    postponed, hastened, dropped = (Item(fired.at(0.01)) for _ in range(3))
    hastened.deadline = fired.at(60)
    for item in (postponed, hastened, dropped):
        fired.timers.update(item)
    postponed.deadline = fired.at(0.03)
    hastened.deadline = fired.at(0.005)
    dropped.deadline = None
    for item in (postponed, hastened, dropped):
        fired.timers.update(item)

    await until(fired, 2)

    assert fired.items == [hastened, postponed]
    fired.timers.close()


async def test_an_entry_that_was_overtaken_is_skipped() -> None:
    """An item hastened twice stands in the heap twice and fires once."""
    fired = Fired()
    item, last = Item(fired.at(0.02)), Item(fired.at(0.03))
    fired.timers.update(item)
    item.deadline = fired.at(0.001)
    fired.timers.update(item)
    fired.timers.update(last)

    await until(fired, 2)

    assert fired.items == [item, last]


async def test_closed_timers_never_fire() -> None:
    """Closing twice is harmless."""
    fired = Fired()
    fired.timers.update(Item(fired.at(0.001)))
    fired.timers.close()
    fired.timers.close()

    await asyncio.sleep(0.005)

    assert fired.items == []


async def test_what_has_ended_is_not_kept_until_its_time() -> None:
    """A deadline far away keeps nobody alive."""
    timers: Timers[Item] = Timers(asyncio.get_running_loop(), lambda due, now: None)
    item = Item(deadline=asyncio.get_running_loop().time() + 1000)
    timers.update(item)
    reference = weakref.ref(item)

    del item
    gc.collect()

    assert reference() is None
    timers.close()
