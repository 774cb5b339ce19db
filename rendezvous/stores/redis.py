"""The store several nodes share: Redis or Valkey, with the extra ``[redis]`` installed.

A session is one key that expires; to borrow it means a second key that expires soon, so that
a node that dies with a loan holds nobody up for long. Notes go over one channel per node.
"""

import asyncio
import contextlib
import random
from typing import Any, Final

import redis.asyncio as client
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from rendezvous.notes import MAX_NOTE
from rendezvous.records import (
    Kept,
    Record,
    StoreUnavailable,
    decode_record,
    encode_record,
)

LOAN: Final = 2.0
"""Seconds after which a loan is over, though the borrower did not say so."""

PATIENCE: Final = 3.0
"""Seconds to wait for a loan: longer than a dead node's."""

RETRY: Final = 0.01
"""Seconds between attempts to borrow, on average."""

TIMEOUT: Final = 2.0
"""Seconds the server has for one answer."""

CONNECTIONS: Final = 32
"""Connections to the server at a time; requests on top wait."""

_BORROW: Final = """
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {0} end
return {1, redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
"""

_GIVE_BACK: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
redis.call('DEL', KEYS[2])
return 1
"""

_PUT_BACK: Final = """
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
"""


class RedisStore:
    """One node's access to the records of all.

    Args:
        url: Of the server, ``redis://`` or ``rediss://`` or ``unix://``.
    """

    def __init__(self, url: str) -> None:
        pool: client.BlockingConnectionPool = client.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=TIMEOUT,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
        )
        self._client: client.Redis = client.Redis.from_pool(pool)
        self._borrow: Any = self._client.register_script(_BORROW)
        self._give_back: Any = self._client.register_script(_GIVE_BACK)
        self._put_back: Any = self._client.register_script(_PUT_BACK)
        # Waiting for notes has no end, so this one has no time limit.
        self._listener: client.Redis = client.Redis.from_url(
            url, socket_timeout=None, socket_connect_timeout=TIMEOUT
        )
        self._notes: PubSub | None = None
        self._node = ""

    async def open(self, node: str) -> None:
        self._node = node
        await self._listen()

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            await self._stop_listening()
        await self._client.aclose()
        await self._listener.aclose()

    async def read(self, session_id: str) -> Kept | None:
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.get(_keys(session_id)[0])
                pipeline.pttl(_keys(session_id)[0])
                data, remaining = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return _kept(data, remaining)

    async def borrow(self, session_id: str) -> Kept | None:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        try:
            # The driver has time limits of its own; cutting into them loses its connections.
            while loop.time() < until:
                answer = await self._borrow(
                    keys=_keys(session_id), args=[self._node, int(LOAN * 1000)]
                )
                if answer[0]:
                    return _kept(*answer[1:])
                await asyncio.sleep(RETRY * random.uniform(0.5, 1.5))  # noqa: S311  # no secret
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        raise StoreUnavailable("another node keeps it")

    async def give_back(self, session_id: str, record: Record | None, lifetime: float) -> None:
        data = b"" if record is None else encode_record(record)
        args = [self._node, data, max(int(lifetime * 1000), 1)]
        try:
            was_ours = await self._give_back(keys=_keys(session_id), args=args)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        if not was_ours:
            raise StoreUnavailable("the loan was over before it was given back")

    async def put_back(self, session_id: str) -> None:
        try:
            await self._put_back(keys=_keys(session_id), args=[self._node])
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    def expire(self) -> None:
        """Do nothing: the server forgets by itself."""

    async def tell(self, node: str, note: bytes) -> bool:
        try:
            heard: int = await self._client.publish(_channel(node), note)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        return heard > 0

    async def next_note(self) -> bytes:
        try:
            if self._notes is None:
                await self._listen()
            assert self._notes is not None
            while True:
                message = await self._notes.get_message(
                    ignore_subscribe_messages=True, timeout=None
                )
                if message is not None and len(message["data"]) <= MAX_NOTE:
                    note: bytes = message["data"]
                    return note
        except (RedisError, OSError) as error:
            with contextlib.suppress(RedisError, OSError):
                await self._stop_listening()
            raise _unavailable(error) from error

    async def _listen(self) -> None:
        notes = self._listener.pubsub()
        try:
            await notes.subscribe(_channel(self._node))
        except (RedisError, OSError) as error:
            await notes.aclose()  # type: ignore[no-untyped-call]
            raise _unavailable(error) from error
        self._notes = notes

    async def _stop_listening(self) -> None:
        notes, self._notes = self._notes, None
        if notes is not None:
            await notes.aclose()  # type: ignore[no-untyped-call]


def _keys(session_id: str) -> list[str]:
    # The braces keep both in one slot of a cluster.
    return [f"quintet:{{{session_id}}}:record", f"quintet:{{{session_id}}}:loan"]


def _channel(node: str) -> str:
    return f"quintet:node:{node}"


def _kept(data: bytes | None, remaining: int) -> Kept | None:
    record = decode_record(data) if data else None
    return Kept(record, remaining / 1000) if record is not None and remaining > 0 else None


def _unavailable(error: Exception) -> StoreUnavailable:
    # Only its kind: the text of a driver's error may hold the server's address.
    return StoreUnavailable(type(error).__name__)
