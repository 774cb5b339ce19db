"""Tasks of a test that end with its block."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def serving(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run *work* beside the block and cancel it at the end, if it is still running."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        try:
            yield
        finally:
            task.cancel()
