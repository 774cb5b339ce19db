"""Blocking work in threads, so that nothing of it is lost when its waiter is cancelled."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, wait
from typing import TypeVar

ResultT = TypeVar("ResultT")


async def in_worker(
    executor: Executor,
    work: Callable[[], ResultT],
    *,
    late: Callable[[ResultT], None] | None = None,
) -> ResultT:
    """Return what *work* returns, done in a thread.

    Cancelled, this still waits for work that has begun, so that what it uses may be closed
    afterwards. Work belongs cut into slices of milliseconds.

    Args:
        executor: Gives the thread.
        work: What to do.
        late: Takes the result nobody waits for any more.
    """
    job = executor.submit(work)
    try:
        return await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        if not job.cancel():
            wait([job])
            if late is not None and job.exception() is None:
                late(job.result())
        raise
