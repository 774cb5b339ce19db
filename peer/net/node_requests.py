"""Requests to the rendezvous node that wait for their answers."""

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from typing import Final, TypeAlias

from protocol.errors import LinkClosed, NodeRefused
from protocol.messages.rendezvous import LookedUp, Refused, Registered, Resting, Start

MAX_REPLIES: Final = 16
"""Replies to one request kept until they are taken; none has more than six."""

MAX_REQUEST_ID: Final = 2**32

Reply: TypeAlias = Registered | LookedUp | Resting | Refused | Start


class Replies:
    """What the node answers to one request."""

    def __init__(self, request_id: int) -> None:
        self.request_id = request_id
        self._queue: asyncio.Queue[Reply | LinkClosed] = asyncio.Queue(MAX_REPLIES)

    async def next(self) -> Reply:
        """Return the next answer.

        Raises:
            NodeRefused: If the node declines.
            LinkClosed: If it was lost meanwhile.
        """
        reply = await self._queue.get()
        if isinstance(reply, LinkClosed):
            raise reply
        if isinstance(reply, Refused):
            raise NodeRefused(reply.reason, reply.retry_after)
        return reply

    def put(self, reply: Reply | LinkClosed) -> None:
        """Keep an answer; one too many is lost."""
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(reply)


class Requests:
    """All requests of one line."""

    def __init__(self) -> None:
        self._open: dict[int, Replies] = {}
        self._ids = itertools.count()

    def __len__(self) -> int:
        return len(self._open)

    def next_id(self) -> int:
        """Return a number for a request."""
        return next(self._ids) % MAX_REQUEST_ID

    @contextlib.contextmanager
    def open(self, request_id: int | None = None) -> Iterator[Replies]:
        """Collect the answers to a request until the block is left."""
        replies = Replies(self.next_id() if request_id is None else request_id)
        self._open[replies.request_id] = replies
        try:
            yield replies
        finally:
            del self._open[replies.request_id]

    def take(self, reply: Reply) -> None:
        """Pass an answer on to who waits for it, if anybody does."""
        replies = None if reply.request_id is None else self._open.get(reply.request_id)
        if replies is not None:
            replies.put(reply)

    def fail(self) -> None:
        """Tell all that wait that the node was lost."""
        for replies in self._open.values():
            replies.put(LinkClosed(reason="the node was lost"))
