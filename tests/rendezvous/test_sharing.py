import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from peer.net.broker_events import Introduced
from protocol.errors import NodeRefusal, NodeRefused
from rendezvous.records import Kept, Record, StoreUnavailable
from rendezvous.server import Server
from rendezvous.stores.memory import MemoryStore, SharedMemory
from tests.harness.endpoints import until
from tests.harness.nodes import Clients, an_offer, running_clients, running_node

SESSION = "ABCDEFGHJ"
TOKEN = b"t" * 32


class MoodyStore(MemoryStore):
    """A store that can be away."""

    def __init__(self, shared: SharedMemory) -> None:
        super().__init__(asyncio.get_running_loop().time, shared)
        self.is_away = self.loses_returns = False
        self.came_back = asyncio.Event()

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")

    async def read(self, session_id: str) -> Kept | None:
        self._check()
        return await super().read(session_id)

    async def borrow(self, session_id: str) -> Kept | None:
        self._check()
        return await super().borrow(session_id)

    async def give_back(self, session_id: str, record: Record | None, lifetime: float) -> None:
        if self.loses_returns:
            await self.put_back(session_id)
            raise StoreUnavailable("lost")
        await super().give_back(session_id, record, lifetime)

    async def tell(self, node: str, note: bytes) -> bool:
        self._check()
        return await super().tell(node, note)

    async def next_note(self) -> bytes:
        self._check()
        return await super().next_note()


class World(NamedTuple):
    """Two nodes on one store, and clients."""

    one: Server
    two: Server
    clients: Clients
    shared: SharedMemory
    store: MoodyStore
    """The second node's."""


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """Two nodes in this process that share what they keep."""
    monkeypatch.setattr("rendezvous.sharing.STORE_PAUSE", 0.01)
    shared = SharedMemory()
    stores = [MoodyStore(shared), MoodyStore(shared)]
    async with (
        running_node(tmp_path, store=stores[0]) as one,
        running_node(tmp_path, store=stores[1]) as two,
        running_clients() as clients,
    ):
        yield World(one, two, clients, shared, stores[1])


async def test_a_member_at_one_node_meets_a_seeker_at_the_other(world: World) -> None:
    """Both start, each with the other's offer."""
    member = await world.clients.start(world.one.address, name=b"memb")
    seeker = await world.clients.start(world.two.address, name=b"seek")
    await member.wait_connected()
    await seeker.wait_connected()
    await member.next_event()
    await member.register(SESSION, TOKEN, create=True)

    starts = [start async for start in seeker.look_up(SESSION, an_offer(b"seek"))]
    introduced = await member.next_event()

    assert [start.offer.tag for start in starts] == [b"memb"]
    assert isinstance(introduced, Introduced)
    assert introduced.start.offer.tag == b"seek"
    assert world.two.broker.sessions == 0, "a look-up leaves nothing behind"


async def test_members_at_both_nodes_are_asked(world: World) -> None:
    """Those at the seeker's own node first."""
    for node, name in ((world.one, b"mem1"), (world.two, b"mem2"), (world.one, b"mem3")):
        member = await world.clients.start(node.address, name=name)
        await member.wait_connected()
        await member.register(SESSION, TOKEN)
    seeker = await world.clients.start(world.two.address)
    await seeker.wait_connected()

    starts = [start async for start in seeker.look_up(SESSION, an_offer())]

    assert sorted(start.offer.tag for start in starts) == [b"mem1", b"mem2", b"mem3"]


async def test_a_member_elsewhere_that_declines_is_as_good_as_none(world: World) -> None:
    """The seeker hears that the session is not found."""
    member = await world.clients.start(world.one.address, name=b"")
    seeker = await world.clients.start(world.two.address)
    await member.wait_connected()
    await seeker.wait_connected()
    await member.register(SESSION, TOKEN)

    with pytest.raises(NodeRefused) as refused:
        _ = [start async for start in seeker.look_up(SESSION, an_offer())]

    assert refused.value.refusal is NodeRefusal.NOT_FOUND


async def test_an_id_is_unique_across_nodes_and_free_again_afterwards(world: World) -> None:
    """Two creators at two nodes cannot both have it."""
    first = await world.clients.start(world.one.address)
    second = await world.clients.start(world.two.address)
    await first.wait_connected()
    await second.wait_connected()
    await first.register(SESSION, TOKEN, create=True)

    with pytest.raises(NodeRefused) as refused:
        await second.register(SESSION, b"x" * 32, create=True)
    first.unregister(SESSION)
    await until(lambda: not world.shared.records)
    await second.register(SESSION, b"x" * 32, create=True)

    assert refused.value.refusal is NodeRefusal.TAKEN


async def test_a_lost_connection_is_known_at_the_other_node(world: World) -> None:
    """Nobody is asked where nobody is."""
    async with running_clients() as leaving:
        member = await leaving.start(world.one.address)
        await member.wait_connected()
        await member.register(SESSION, TOKEN)
    await until(lambda: world.shared.records[SESSION][0].presence[world.one.name].listeners == 0)
    seeker = await world.clients.start(world.two.address)
    await seeker.wait_connected()

    with pytest.raises(NodeRefused) as refused:
        _ = [start async for start in seeker.look_up(SESSION, an_offer())]

    assert refused.value.refusal is NodeRefusal.NOT_FOUND
    assert world.one.broker.sessions == 1, "it may come back"


async def test_a_node_that_died_is_not_waited_for(world: World) -> None:
    """Its members are with another by the time the seeker tries again."""
    member = await world.clients.start(world.one.address)
    await member.wait_connected()
    await member.register(SESSION, TOKEN)
    del world.shared.notes[world.one.name]  # as the channel of a dead node
    seeker = await world.clients.start(world.two.address)
    await seeker.wait_connected()

    with pytest.raises(NodeRefused) as refused:
        async with asyncio.timeout(1):
            _ = [start async for start in seeker.look_up(SESSION, an_offer())]
    await until(lambda: world.one.name not in world.shared.records[SESSION][0].presence)
    world.shared.notes[world.one.name] = asyncio.Queue()

    assert refused.value.refusal is NodeRefusal.NOT_FOUND


async def test_a_store_that_is_away_refuses_requests_and_disturbs_nobody(world: World) -> None:
    """Peers are told to try again; what was known comes back with the store."""
    member = await world.clients.start(world.two.address)
    await member.wait_connected()
    await member.register(SESSION, TOKEN)
    world.store.is_away = True

    with pytest.raises(NodeRefused) as refused:
        _ = [start async for start in member.look_up(SESSION, an_offer())]
    with pytest.raises(NodeRefused) as unregistered:
        await member.register("000000000", TOKEN)
    failures, reached = world.two.sharing.failures, world.two.sharing.is_reached
    world.store.is_away = False
    await member.register("000000000", TOKEN)

    assert (refused.value.refusal, refused.value.retry_after) == (NodeRefusal.THROTTLED, 2)
    assert unregistered.value.refusal is NodeRefusal.THROTTLED
    assert failures >= 2
    assert not reached
    assert world.two.sharing.is_reached


async def test_what_the_store_did_not_take_is_given_again(world: World) -> None:
    """The member was told that it is registered, so it will be."""
    member = await world.clients.start(world.two.address)
    await member.wait_connected()
    world.store.loses_returns = True
    await member.register(SESSION, TOKEN)
    lost = SESSION not in world.shared.records
    await until(lambda: world.two.sharing.failures >= 2)

    world.store.loses_returns = False

    assert lost
    await until(lambda: SESSION in world.shared.records)


async def test_a_store_that_forgot_everything_is_told_again(world: World) -> None:
    """A Redis that restarted keeps nothing."""
    member = await world.clients.start(world.two.address)
    await member.wait_connected()
    await member.register(SESSION, TOKEN)
    world.store.is_away = True
    world.shared.notes[world.two.name].put_nowait(b"wakes the listener")
    await until(lambda: not world.two.sharing.is_reached)
    world.shared.records.clear()

    world.store.is_away = False

    await until(lambda: SESSION in world.shared.records)


async def test_an_asked_note_for_nobody_is_told_back(world: World) -> None:
    """When the store cannot carry it, the seeker is refused at once."""
    member = await world.clients.start(world.one.address)
    seeker = await world.clients.start(world.two.address)
    await member.wait_connected()
    await seeker.wait_connected()
    await member.register(SESSION, TOKEN)
    with contextlib.ExitStack() as stack:
        tell = world.store.tell

        async def fail(node: str, note: bytes) -> bool:
            raise StoreUnavailable("away")

        world.store.tell = fail  # type: ignore[method-assign]
        stack.callback(setattr, world.store, "tell", tell)
        with pytest.raises(NodeRefused) as refused:
            _ = [start async for start in seeker.look_up(SESSION, an_offer())]

    assert refused.value.refusal is NodeRefusal.NOT_FOUND
