import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from rendezvous.records import Claim, Presence, Record, Store
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
