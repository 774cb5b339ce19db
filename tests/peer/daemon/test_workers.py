import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from peer.daemon.workers import in_worker


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def test_a_result_or_an_error_comes_back(executor: ThreadPoolExecutor) -> None:
    """As if it had been called here."""
    assert await in_worker(executor, lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await in_worker(executor, lambda: 1 // 0)


async def test_cancelled_work_that_has_begun_is_waited_for(executor: ThreadPoolExecutor) -> None:
    """What it made is handed to whoever cleans up."""
    begun, go, late = threading.Event(), threading.Event(), list[str]()

    def work() -> str:
        begun.set()
        go.wait(5)
        return "made"

    task = asyncio.get_running_loop().create_task(in_worker(executor, work, late=late.append))
    await asyncio.to_thread(begun.wait, 5)
    asyncio.get_running_loop().call_soon(go.set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert late == ["made"]


async def test_cancelled_work_that_has_not_begun_never_does(executor: ThreadPoolExecutor) -> None:
    """A thread that is busy elsewhere does not hold up the end."""
    go, done = threading.Event(), list[str]()
    executor.submit(go.wait, 5)

    task = asyncio.get_running_loop().create_task(in_worker(executor, lambda: done.append("x")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    executor.shutdown()

    assert done == []
