"""What strangers may try, at a real node on the loopback (security.md, T5 to T7, T23, T25)."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest
from aioquic.quic.packet import QuicProtocolVersion

from protocol.address import BindingRequest, encode_request
from protocol.errors import NodeRefusal, NodeRefused
from protocol.limits import MIB, MIN_DATAGRAM
from rendezvous.server import Server
from tests.harness.endpoints import until
from tests.harness.nodes import an_offer, running_clients, running_endpoint, running_node

pytestmark = pytest.mark.slow

FLOOD: Final = 10_000
SESSION, TOKEN, WRONG = "ABCDEFGHJ", b"t" * 32, b"w" * 32
MAX_GROWTH: Final = 16 * MIB
"""Bytes the process may grow by under a flood: its tables of sources, and noise."""


class Strangers:
    """Sockets of many hosts of 127.0.0.0/8, which on the loopback need no privilege."""

    def __init__(self, count: int) -> None:
        self.sockets = []
        for number in range(count):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setblocking(False)
            udp.bind((f"127.{number // 250 + 1}.{number % 250}.1", 0))
            self.sockets.append(udp)
        self.sent = self.received = 0

    def send(self, number: int, data: bytes, port: int) -> None:
        udp = self.sockets[number % len(self.sockets)]
        self.sent += udp.sendto(data, ("127.0.0.1", port))

    def hear(self) -> list[int]:
        """Take what came back, and return the sizes."""
        sizes = []
        for udp in self.sockets:
            with contextlib.suppress(BlockingIOError):
                while data := udp.recv(4096):
                    sizes.append(len(data))
        self.received += sum(sizes)
        return sizes


@pytest.fixture
def strangers() -> Iterator[Strangers]:
    """A hundred of them."""
    strangers = Strangers(100)
    yield strangers
    for udp in strangers.sockets:
        udp.close()


def initial(token: bytes = b"") -> bytes:
    """Return a first packet of nobody: well-formed outside, noise inside."""
    header = bytes([0xC3]) + QuicProtocolVersion.VERSION_1.to_bytes(4, "big")
    header += bytes([8]) + os.urandom(8) + bytes([8]) + os.urandom(8)
    header += bytes([0x40, len(token)]) + token
    rest = MIN_DATAGRAM - len(header) - 2
    return header + (0x4000 | rest).to_bytes(2, "big") + os.urandom(rest)


def growth_since(before: int) -> int:
    return psutil.Process().memory_info().rss - before


async def flood(node: Server, strangers: Strangers, port: int, datagrams: Iterator[bytes]) -> None:
    for number, data in enumerate(datagrams):
        strangers.send(number, data, port)
        if number % 50 == 49:  # let the node keep up, or the kernel drops what we count
            await asyncio.sleep(0.001)
            strangers.hear()
    await asyncio.sleep(0.05)
    strangers.hear()


@contextlib.asynccontextmanager
async def served_member(node: Server) -> AsyncIterator[None]:
    """A member whose session must not notice anything."""
    async with running_clients() as clients:
        member = await clients.start(node.address)
        await member.wait_connected()
        await member.register(SESSION, TOKEN, create=True)
        yield
        await member.register(SESSION, TOKEN)
        assert node.broker.sessions >= 1


async def test_spoofed_first_packets_cost_no_more_than_they_bring(
    tmp_path: Path, strangers: Strangers
) -> None:
    """T23: fewer bytes out than in, no connection, no memory."""
    async with running_node(tmp_path) as node, served_member(node):
        before = psutil.Process().memory_info().rss
        connections = len(node._endpoint.connections)

        await flood(node, strangers, node.port, (initial() for _ in range(FLOOD)))

        challenged = node._endpoint.admission.challenged
        assert challenged > FLOOD // 2, "the flood arrived"
        assert strangers.received <= strangers.sent
        assert len(node._endpoint.connections) == connections
        assert growth_since(before) < MAX_GROWTH
        print(f"{challenged} Retries, {strangers.received / strangers.sent:.2f} bytes out per byte")


async def test_made_up_retry_tokens_open_nothing(tmp_path: Path, strangers: Strangers) -> None:
    """Silence: a wrong token is not worth an answer."""
    async with running_node(tmp_path) as node, served_member(node):
        await flood(node, strangers, node.port, (initial(os.urandom(60)) for _ in range(2000)))

        assert node._endpoint.admission.forged > 1000
        assert strangers.received == 0
        assert node._endpoint.admission.unauthenticated == 0


async def test_spoofed_questions_are_answered_briefly_and_seldom(
    tmp_path: Path, strangers: Strangers
) -> None:
    """At most three bytes for one, and at most the quota of one source."""
    async with running_node(tmp_path, questions_per_second=20) as node, served_member(node):
        before = psutil.Process().memory_info().rss
        questions = (encode_request(BindingRequest(os.urandom(12))) for _ in range(3 * FLOOD))

        await flood(node, strangers, node.port, questions)

        answered, dropped = node._reflector.answered, node._reflector.dropped
        assert answered > 100
        assert dropped > 1000, "a hundred sources asked far more than their share"
        assert strangers.received <= 3 * strangers.sent
        assert growth_since(before) < MAX_GROWTH


async def test_connections_that_say_nothing_take_few_places_for_a_short_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T23: four of one source; they are closed, and others are served meanwhile."""
    monkeypatch.setattr("rendezvous.broker.STEP_TIMEOUT", 0.3)
    limits = {"max_half_open": 32, "max_half_open_per_source": 4}
    async with running_node(tmp_path, **limits) as node, running_endpoint() as slow:
        opened = 0
        for _ in range(6):
            with contextlib.suppress(Exception):
                await slow.connect(("127.0.0.1", node.port), alpn="quintet-rv/1", timeout=0.1)
                opened += 1
        held = node._endpoint.admission.unauthenticated
        turned_away = node._endpoint.admission.turned_away
        await until(lambda: node._endpoint.admission.unauthenticated == 0)

    assert opened == held == 4
    assert turned_away >= 2


async def test_ten_thousand_look_ups_learn_nothing(tmp_path: Path) -> None:
    """T5: twenty answers, all alike for locked and unknown IDs, then typed refusals."""
    async with (
        running_node(tmp_path, look_ups_per_minute=20) as node,
        served_member(node),
        running_clients() as clients,
    ):
        seeker = await clients.start(node.address)
        await seeker.wait_connected()
        reasons = []
        for number in range(1000):
            with pytest.raises(NodeRefused) as refused:
                _ = [each async for each in seeker.look_up(f"{number:09}", an_offer())]
            reasons.append(refused.value.refusal)

    assert reasons[:20] == [NodeRefusal.NOT_FOUND] * 20
    assert set(reasons[25:]) == {NodeRefusal.THROTTLED}


async def test_nobody_registers_another_sessions_id(tmp_path: Path) -> None:
    """T6: a wrong token is refused, and refused again, and the session is as it was."""
    async with (
        running_node(tmp_path) as node,
        served_member(node),
        running_clients() as clients,
    ):
        squatter = await clients.start(node.address)
        await squatter.wait_connected()
        for create in (True, False):
            with pytest.raises(NodeRefused) as refused:
                await squatter.register(SESSION, WRONG, create=create)
            assert refused.value.refusal in {NodeRefusal.TAKEN, NodeRefusal.BAD_TOKEN}


async def test_at_the_cap_of_memory_new_sessions_are_refused(tmp_path: Path) -> None:
    """T25: typed, and the sessions there are go on."""
    async with (
        running_node(tmp_path, max_sessions=1) as node,
        served_member(node),
        running_clients() as clients,
    ):
        late = await clients.start(node.address)
        await late.wait_connected()
        with pytest.raises(NodeRefused) as refused:
            await late.register("000000000", TOKEN, create=True)

    assert refused.value.refusal is NodeRefusal.FULL


async def test_a_forged_keepalive_moves_nobody(tmp_path: Path, strangers: Strangers) -> None:
    """Without the key of the connection that rested there is no answer and no effect."""
    async with running_node(tmp_path) as node, served_member(node):
        noise = (bytes([0x2E]) + os.urandom(33) for _ in range(FLOOD))

        await flood(node, strangers, node.port, noise)

        assert node.broker.forged > FLOOD // 2
        assert strangers.received == 0
