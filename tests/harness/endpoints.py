"""Endpoints on loopback and linked connections for tests with real sockets."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Path, Remote
from protocol.endpoint.streams import Stream
from protocol.endpoint.udp import UdpSocket
from protocol.errors import QuintetError
from protocol.quic.trains import Train

ALPN = "quintet-test"
PATIENCE = 20.0
"""Seconds a test waits for a condition before it fails."""


class RecordingSocket(UdpSocket):
    """A socket that notes what it sends; ``silent`` sends nothing."""

    silent = False

    def __init__(self, address: tuple[str, int], *, offload: bool = True) -> None:
        super().__init__(address, offload=offload)
        self.bytes_out = 0
        self.datagrams_out = 0

    def send(self, trains: list[Train], address: tuple[str, int]) -> None:
        self.bytes_out += sum(train.size for train in trains)
        self.datagrams_out += sum(train.count for train in trains)
        if not self.silent:
            super().send(trains, address)


@dataclass
class Linked:
    """Two connected ends, both authenticated."""

    client: Connection
    server: Connection
    near: Endpoint
    far: Endpoint


@contextlib.asynccontextmanager
async def endpoints(
    host: str = "127.0.0.1", *, offload: bool = True, retry: bool = False
) -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    """Two endpoints; the second lets the first in."""
    near = Endpoint.open([(host, 0)], alpn_served=ALPN, offload=offload)
    far = Endpoint.open([(host, 0)], alpn_served=ALPN, offload=offload, retry=retry)
    if not retry:
        far.allow(near.addresses[0], asyncio.get_running_loop().time() + 60)
    try:
        async with asyncio.timeout(PATIENCE):
            yield near, far
    finally:
        await near.close()
        await far.close()


async def link(near: Endpoint, far: Endpoint, remote: Path | Remote | None = None) -> Linked:
    """Connect *near* to *far*, both ends vouched for."""
    client = await near.connect(remote or far.addresses[0], alpn=ALPN)
    server = await far.accept()
    client.authenticated()
    server.authenticated()
    return Linked(client, server, near, far)


@contextlib.asynccontextmanager
async def linked(host: str = "127.0.0.1", *, offload: bool = True) -> AsyncIterator[Linked]:
    """Two connected ends, both authenticated."""
    async with endpoints(host, offload=offload) as (near, far):
        yield await link(near, far)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for *condition*; the surrounding time limit ends a vain wait."""
    while not condition():  # noqa: ASYNC110  # any condition, not one event
        await asyncio.sleep(0.005)


async def send_all(stream: Stream, data: bytes, piece: int = 65_536) -> None:
    """Write *data* in pieces, and end the stream."""
    for at in range(0, len(data), piece):
        await stream.write(data[at : at + piece])
    stream.finish()


async def read_all(stream: Stream) -> bytes:
    """Read to the end."""
    parts = []
    while part := await stream.read():
        parts.append(part)
    return b"".join(parts)


async def raised_by(awaitable: Awaitable[object]) -> QuintetError | None:
    """Return which error of ours *awaitable* raises, or None."""
    try:
        await awaitable
    except QuintetError as exc:
        return exc
    return None


def noise(size: int) -> bytes:
    """Bytes no transfer can confuse with others."""
    return os.urandom(size)
