import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from rendezvous.records import Claim, Presence, Record, Store, StoreUnavailable
from rendezvous.stores.memory import MemoryStore, SharedMemory
from rendezvous.stores.redis import RedisStore
from tests.harness.redis_server import RedisServer, running_redis

HERE, THERE, NOWHERE = "1" * 16, "2" * 16, "3" * 16
SESSION = "ABCDEFGHJ"

Open = Callable[[], Store]


def record(epoch: int = 0) -> Record:
    claim = Claim(SESSION, b"t" * 32, 1_800_000_000, epoch, b"k" * 32)
    return Record(claim, {HERE: Presence(2, 1, 3)}, key_seen=5)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real server for the whole module."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def opener(request: pytest.FixtureRequest) -> Open:
    """Makes stores of one kind that share what they keep."""
    if request.param == "memory":
        shared = SharedMemory()
        return lambda: MemoryStore(asyncio.get_running_loop().time, shared)
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda: RedisStore(server.url)


@pytest.fixture
async def stores(opener: Open) -> AsyncIterator[tuple[Store, Store]]:
    """Two nodes' access to one store, empty of our session."""
    here, there = opener(), opener()
    await here.open(HERE)
    await there.open(THERE)
    await here.borrow(SESSION)
    await here.give_back(SESSION, None, 0.0)
    yield here, there
    await here.close()
    await there.close()


async def eventually(ask: Callable[[], Awaitable[object]], answer: object) -> None:
    async with asyncio.timeout(5):
        while await ask() != answer:  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.01)


async def keep(store: Store, kept: Record | None, lifetime: float = 600.0) -> None:
    await store.borrow(SESSION)
    await store.give_back(SESSION, kept, lifetime)


async def test_what_one_node_keeps_the_other_reads(stores: tuple[Store, Store]) -> None:
    """Whole, with the time it has left."""
    here, there = stores
    unknown = await there.read(SESSION)

    await keep(here, record())
    kept = await there.read(SESSION)

    assert unknown is None
    assert kept is not None
    assert kept.record == record()
    assert 590 < kept.remaining <= 600


async def test_a_forgotten_session_is_gone_for_all(stores: tuple[Store, Store]) -> None:
    """And forgetting twice harms nothing."""
    here, there = stores
    await keep(here, record())

    await keep(there, None)
    await keep(there, None)

    assert await here.read(SESSION) is None


async def test_a_record_expires(stores: tuple[Store, Store]) -> None:
    """By itself, or when the store is told to look."""
    here, there = stores
    await keep(here, record(), 0.03)

    await eventually(lambda: there.read(SESSION), None)
    here.expire()

    assert await here.borrow(SESSION) is None
    await here.put_back(SESSION)


async def test_one_node_borrows_at_a_time(stores: tuple[Store, Store]) -> None:
    """The other gets what the first gave back; reading needs no loan."""
    here, there = stores
    await keep(here, record())
    order: list[str] = []

    async def second() -> int:
        kept = await there.borrow(SESSION)
        order.append("borrowed")
        await there.put_back(SESSION)
        assert kept is not None
        return kept.record.claim.epoch

    await here.borrow(SESSION)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(second())
        await asyncio.sleep(0.03)
        read = await there.read(SESSION)
        order.append("given back")
        await here.give_back(SESSION, record(epoch=7), 600.0)

    assert read is not None
    assert order == ["given back", "borrowed"]
    assert waiting.result() == 7


async def test_what_is_put_back_is_unchanged(stores: tuple[Store, Store]) -> None:
    """And can be borrowed at once."""
    here, there = stores
    await keep(here, record())

    await here.borrow(SESSION)
    await here.put_back(SESSION)
    kept = await there.borrow(SESSION)
    await there.put_back(SESSION)

    assert kept is not None
    assert kept.record == record()


async def test_a_note_reaches_the_node_it_is_for(stores: tuple[Store, Store]) -> None:
    """In order, and to nobody else; whether there is such a node is known."""
    here, there = stores

    told = [await here.tell(THERE, b"first"), await here.tell(THERE, b"second")]
    nobody = await here.tell(NOWHERE, b"lost")
    async with asyncio.timeout(5):
        notes = [await there.next_note(), await there.next_note()]

    assert told == [True, True]
    assert not nobody
    assert notes == [b"first", b"second"]


async def test_a_node_that_closed_takes_no_notes(stores: tuple[Store, Store]) -> None:
    """Its members are not asked in vain."""
    here, there = stores

    await there.close()
    await eventually(lambda: here.tell(THERE, b"note"), False)

    assert not await here.tell(THERE, b"note")


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


async def test_notes_for_a_node_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node does not take is lost at last."""
    monkeypatch.setattr("rendezvous.stores.memory.MAX_NOTES", 1)
    store = MemoryStore(lambda: 0.0)
    await store.open(HERE)

    await store.tell(HERE, b"first")
    await store.tell(HERE, b"lost")

    assert await store.next_note() == b"first"


async def test_records_in_memory_leave_in_the_order_they_expire() -> None:
    """One that changed without a refresh does not outlive its time."""
    now = 0.0
    store = MemoryStore(lambda: now)
    for name, lifetime in (("first", 10.0), ("second", 20.0), ("first", 9.0)):
        await store.borrow(name)
        await store.give_back(name, record(), lifetime)

    now = 15.0
    store.expire()

    assert len(store) == 1
    assert await store.read("second") is not None
