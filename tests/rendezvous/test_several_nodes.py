"""Nodes as processes on one real Redis: any of them may be killed (node.md, section 3)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from peer.net.broker_client import BrokerClient
from peer.net.broker_events import RegistrationLost
from peer.net.pace import Pace
from protocol.errors import LinkClosed, NodeRefused
from tests.harness.node_process import NodeProcess
from tests.harness.nodes import Clients, an_offer, running_clients
from tests.harness.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.slow

SESSION = "ABCDEFGHJ"
TOKEN = b"t" * 32
WITHIN = 15.0
"""Seconds after which joins work again (node.md, section 2)."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A real server."""
    with running_redis(tmp_path) as server:
        yield server


@pytest.fixture
def nodes(tmp_path: Path, redis: RedisServer) -> Iterator[list[NodeProcess]]:
    """Two running nodes on it, with an identity each."""
    nodes = [NodeProcess(tmp_path / name, store=redis.url) for name in ("one", "two")]
    for node in nodes:
        node.start()
    yield nodes
    for node in nodes:
        node.kill()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Starts clients and ends them."""
    async with running_clients() as clients:
        yield clients


async def start(
    clients: Clients, nodes: list[NodeProcess], name: bytes, pace: Pace
) -> BrokerClient:
    client = await clients.start(*(node.address for node in nodes), name=name, pace=pace)
    await client.wait_connected()
    return client


async def met(seeker: BrokerClient) -> set[bytes]:
    """Return whom the seeker is introduced to now."""
    with contextlib.suppress(NodeRefused, LinkClosed, TimeoutError):
        return {each.offer.tag async for each in seeker.look_up(SESSION, an_offer(b"seek"))}
    return set()


async def meets_again(seeker: BrokerClient, names: set[bytes]) -> float:
    """Return the seconds until the seeker meets all of *names*."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(WITHIN):
        while await met(seeker) != names:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.1)
    return loop.time() - began


def lost(client: BrokerClient) -> bool:
    events = []
    while not client._events.empty():
        events.append(client._events.get_nowait())
    return any(isinstance(each, RegistrationLost) for each in events)


@pytest.mark.parametrize("killed", [0, 1], ids=["of-the-members", "of-the-candidate"])
async def test_joins_work_again_soon_after_a_node_was_killed(
    nodes: list[NodeProcess], clients: Clients, killed: int
) -> None:
    """Members at node 1, one of them at rest; the candidate at node 2."""
    names = {b"awke", b"rest"}
    awake = await start(clients, nodes, b"awke", Pace())
    resting = await start(clients, nodes, b"rest", Pace(rest=0.2))
    seeker = await start(clients, nodes[::-1], b"seek", Pace())
    await awake.register(SESSION, TOKEN, create=True)
    await resting.register(SESSION, TOKEN)
    before = await met(seeker)
    await asyncio.sleep(1.0)  # one of the two goes to rest

    nodes[killed].kill()
    took = await meets_again(seeker, names)

    print(f"joins again after {took:.1f} s")
    assert before == names
    assert not lost(awake)
    assert not lost(resting)


async def test_a_redis_that_restarts_empty_is_filled_by_the_nodes(
    nodes: list[NodeProcess], redis: RedisServer, clients: Clients
) -> None:
    """Sessions live in the nodes that serve them, too."""
    member = await start(clients, nodes, b"memb", Pace())
    seeker = await start(clients, nodes[::-1], b"seek", Pace())
    await member.register(SESSION, TOKEN, create=True)
    redis.kill()
    await asyncio.sleep(0.5)
    away = await met(seeker)

    redis.start()
    took = await meets_again(seeker, {b"memb"})

    print(f"joins again after {took:.1f} s")
    assert away == set()
    assert not lost(member)
