import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from rendezvous.records import Claim, Presence, Record, Store, StoreUnavailable
from rendezvous.stores.redis import RedisStore
from tests.harness.redis_server import RedisServer, running_redis

HERE, THERE = "1" * 16, "2" * 16
SESSION = "ABCDEFGHJ"


def record() -> Record:
    return Record(Claim(SESSION, b"t" * 32, 0), {HERE: Presence(2, 1, 3)})


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real server for the whole module."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


async def eventually(ask: Callable[[], Awaitable[object]], answer: object) -> None:
    async with asyncio.timeout(5):
        while await ask() != answer:  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.01)


async def keep(store: Store, kept: Record | None) -> None:
    await store.borrow(SESSION)
    await store.give_back(SESSION, kept, 600.0)


async def test_a_node_that_died_with_a_loan_holds_nobody_up(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loan ends by itself, and what it would have brought back is refused."""
    monkeypatch.setattr("rendezvous.stores.redis.LOAN", 0.05)
    here, there = RedisStore(redis_server.url), RedisStore(redis_server.url)
    await here.open(HERE)
    await there.open(THERE)
    await here.borrow(SESSION)

    async with asyncio.timeout(2):
        await there.borrow(SESSION)
    with pytest.raises(StoreUnavailable, match="over"):
        await here.give_back(SESSION, record(), 600.0)

    await there.put_back(SESSION)
    await here.close()
    await there.close()


async def test_a_loan_that_does_not_come_back_is_given_up(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is refused instead of waiting for ever."""
    monkeypatch.setattr("rendezvous.stores.redis.PATIENCE", 0.05)
    here, there = RedisStore(redis_server.url), RedisStore(redis_server.url)
    await here.open(HERE)
    await there.open(THERE)
    await here.borrow(SESSION)

    with pytest.raises(StoreUnavailable):
        await there.borrow(SESSION)

    await here.put_back(SESSION)
    await here.close()
    await there.close()


async def test_a_server_that_is_away_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    """Every call says so with one kind of error that names no address."""
    with running_redis(tmp_path) as server:
        store = RedisStore(server.url)
        await store.open(HERE)
        server.kill()
        calls = [
            lambda: store.read(SESSION),
            lambda: store.borrow(SESSION),
            lambda: store.give_back(SESSION, record(), 1.0),
            lambda: store.put_back(SESSION),
            lambda: store.tell(THERE, b""),
            store.next_note,
            store.next_note,
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable) as error:
                await call()
            assert "127.0.0.1" not in str(error.value)
        server.start()
        await keep(store, record())
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(store.next_note())
            await eventually(lambda: store.tell(HERE, b"note"), True)
        again = await store.read(SESSION)
        await store.close()

    assert again is not None
    assert waiting.result() == b"note"


async def test_a_record_of_another_version_is_as_good_as_none(redis_server: RedisServer) -> None:
    """Neither garbage nor something huge is taken in."""
    store = RedisStore(redis_server.url)
    await store.open(HERE)
    found = []
    for data in (b"\xff", bytes(100_000)):
        await store._client.set(f"quintet:{{{SESSION}}}:record", data, px=60_000)
        found.append(await store.read(SESSION))
    await keep(store, None)
    await store.close()

    assert found == [None, None]
