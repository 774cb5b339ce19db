"""A rendezvous node in this process, and clients of it, on real sockets of the loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from peer.net.broker_client import BrokerClient
from peer.net.node_link import NodeAddress
from peer.net.pace import Pace
from protocol.endpoint.drive import Endpoint
from protocol.messages.rendezvous import Introduce, Offer
from rendezvous.identity import NodeIdentity
from rendezvous.records import Store
from rendezvous.server import Server
from rendezvous.settings import DEVELOPMENT

LOOPBACK = "127.0.0.1"
QUICK = Pace(keep_alive=0.05, silence=0.4, first_delay=0.02, last_delay=0.05, dial=0.5)
"""Notices within half a second what a real client notices within ten."""


@contextlib.asynccontextmanager
async def running_node(
    state: Path, *, store: Store | None = None, **changes: Any
) -> AsyncIterator[Server]:
    """Serve a development node on free ports, settings changed as named."""
    settings = msgspec.structs.replace(DEVELOPMENT, **{"port": 0, **changes})
    async with Server.open(settings, NodeIdentity.open(state), store=store) as server:
        yield server


@contextlib.asynccontextmanager
async def running_endpoint() -> AsyncIterator[Endpoint]:
    """Open an endpoint on a free port of the loopback."""
    endpoint = Endpoint.open([(LOOPBACK, 0)])
    try:
        yield endpoint
    finally:
        await endpoint.close()


def an_offer(name: bytes = b"tag!") -> Offer:
    """Return an offer recognisable by its tag."""
    return Offer(generation=1, tag=name, probe_key=name * 8)


class Clients:
    """Starts clients of one or more nodes and ends them all."""

    def __init__(self, tasks: asyncio.TaskGroup, stack: contextlib.AsyncExitStack) -> None:
        self._tasks = tasks
        self._stack = stack
        self._running: list[asyncio.Task[None]] = []

    async def start(
        self, *nodes: str, name: bytes = b"tag!", pace: Pace = QUICK, access: str = ""
    ) -> BrokerClient:
        """Return a running client that answers introductions with ``an_offer(name)``."""

        async def provide(introduce: Introduce) -> Offer | None:
            return an_offer(name) if name else None

        endpoint = await self._stack.enter_async_context(running_endpoint())
        client = BrokerClient(
            endpoint, [NodeAddress.parse(node) for node in nodes], provide, access=access, pace=pace
        )
        self._running.append(self._tasks.create_task(client.run()))
        return client

    def stop(self) -> None:
        for task in self._running:
            task.cancel()


@contextlib.asynccontextmanager
async def running_clients() -> AsyncIterator[Clients]:
    """Let clients be started, and end them at the end of the block."""
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        clients = Clients(tasks, stack)
        try:
            yield clients
        finally:
            clients.stop()
