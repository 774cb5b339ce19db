"""Waiting for a condition on real sockets, threads and disks: never for a time."""

import asyncio
from collections.abc import Callable

WITHIN = 15.0
"""Seconds for what takes milliseconds on a quiet machine."""


async def until(condition: Callable[[], object], *, within: float = WITHIN) -> None:
    """Return as soon as *condition* holds.

    Raises:
        TimeoutError: If it does not within so many seconds.
    """
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # any condition, not one event
            await asyncio.sleep(0.002)


async def turns(count: int = 5) -> None:
    """Let everything that is ready run, *count* times."""
    for _ in range(count):
        await asyncio.sleep(0)
