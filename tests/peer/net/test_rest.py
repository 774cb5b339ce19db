import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from peer.net.broker_client import BrokerClient
from peer.net.broker_events import Introduced, NodeDown, NodeUp
from protocol.errors import NodeRefused
from rendezvous.server import Server
from tests.harness.endpoints import until
from tests.harness.nodes import (
    QUICK,
    Clients,
    an_offer,
    running_clients,
    running_node,
)

SESSION = "ABCDEFGHJ"
TOKEN, NEW_TOKEN = b"t" * 32, b"n" * 32
RESTLESS = replace(QUICK, rest=0.02)
"""Goes to rest as soon as there is nothing to say."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.net.rest.REPEATS", (0.1, 0.1, 0.1))
    monkeypatch.setattr("peer.net.rest.SPREAD", 0.01)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Server]:
    """A node whose resting members say something every second."""
    async with running_node(tmp_path, keepalive_seconds=1) as server:
        yield server


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Starts clients and ends them."""
    async with running_clients() as clients:
        yield clients


async def resting_member(clients: Clients, node: Server, name: bytes = b"memb") -> BrokerClient:
    before = node.broker.resting
    member = await clients.start(node.address, name=name, pace=RESTLESS)
    await member.wait_connected()
    await member.register(SESSION, TOKEN)
    await until(lambda: node.broker.resting == before + 1 and member.round_trip == 0.0)
    return member


async def test_a_member_with_nothing_to_say_gives_up_its_connection(
    node: Server, clients: Clients
) -> None:
    """It stays registered, and knows its address."""
    member = await resting_member(clients, node)
    await until(lambda: not node._links)

    assert member.is_connected
    assert member.observed is not None
    assert (node.broker.sessions, node.broker.members) == (1, 1)


async def test_a_resting_member_is_woken_to_be_introduced(node: Server, clients: Clients) -> None:
    """The seeker notices nothing of it, and the member rests again."""
    member = await resting_member(clients, node)
    seeker = await clients.start(node.address)
    await seeker.wait_connected()

    for _ in range(2):
        starts = [start async for start in seeker.look_up(SESSION, an_offer(b"seek"))]
        assert [start.offer.tag for start in starts] == [b"memb"]
        await until(lambda: node.broker.resting == 1)

    events = [await member.next_event() for _ in range(3)]
    assert [type(each) for each in events] == [NodeUp, Introduced, Introduced]


async def test_a_resting_member_wakes_to_ask(node: Server, clients: Clients) -> None:
    """Whatever it asks, the connection comes back first."""
    member = await resting_member(clients, node)

    await member.rotate(SESSION, NEW_TOKEN, 2)
    await until(lambda: node.broker.resting == 1)
    with pytest.raises(NodeRefused):
        _ = [start async for start in member.look_up("000000000", an_offer())]

    assert node.broker.members == 1


async def test_a_resting_member_that_leaves_says_so(node: Server, clients: Clients) -> None:
    """Without coming back for it."""
    member = await resting_member(clients, node)

    member.unregister(SESSION)

    await until(lambda: node.broker.sessions == 0)
    assert node.broker.resting == 0


async def test_a_resting_member_finds_the_restarted_node(tmp_path: Path, clients: Clients) -> None:
    """It notices by the silence, and registers again with its lease."""
    async with contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(tmp_path, keepalive_seconds=1))
        port = node.port
        member = await resting_member(clients, node)
        node.broker._resting.stop = lambda: None  # type: ignore[method-assign]  # as in a crash
    async with asyncio.timeout(10), running_node(tmp_path, port=port) as restarted:
        await until(lambda: restarted.broker.members == 1)

    events = [await member.next_event() for _ in range(3)]
    assert [type(each) for each in events] == [NodeUp, NodeDown, NodeUp]


async def test_a_node_that_stops_tells_those_who_rest(tmp_path: Path, clients: Clients) -> None:
    """They are at the other node long before they would have noticed."""
    async with running_node(tmp_path / "2") as second:
        async with running_node(tmp_path / "1", keepalive_seconds=60) as first:
            member = await clients.start(first.address, second.address, pace=RESTLESS)
            await member.wait_connected()
            await member.register(SESSION, TOKEN)
            await until(lambda: first.broker.resting == 1 and member.round_trip == 0.0)
        await until(lambda: second.broker.members == 1)


async def test_a_node_that_forgot_a_member_takes_it_anew(node: Server, clients: Clients) -> None:
    """A return it does not recognise is refused, and followed by a registration."""
    member = await resting_member(clients, node)
    (connection_id,) = node.broker._resting._by_connection
    node.broker._resting._forget(node.broker._resting._by_connection[connection_id])
    node.broker.disconnected(connection_id, now=0.0)

    with contextlib.suppress(NodeRefused):
        _ = [start async for start in member.look_up("000000000", an_offer())]

    await until(lambda: node.broker.members == 1)


async def test_nobody_rests_for_ever(
    node: Server, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease lasts an hour, so a new one is fetched before."""
    monkeypatch.setattr("peer.net.rest.MAX_REST", 0.0)
    member = await resting_member(clients, node)
    before = next(iter(node.broker._resting._by_connection))

    await until(lambda: before not in node.broker._resting)

    assert member.is_connected


async def test_a_node_without_room_keeps_the_connection(tmp_path: Path, clients: Clients) -> None:
    """It says so, and the member stays as it is."""
    async with running_node(tmp_path, max_resting=0) as node:
        member = await clients.start(node.address, pace=RESTLESS)
        await member.wait_connected()
        await member.register(SESSION, TOKEN)
        refused = node.metrics.render
        await until(lambda: b'reason="full",request="Rest"' in refused())
        clients.stop()

        assert node.broker.members == 1
