import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from peer.net.node_link import NodeAddress, NodeLink
from protocol.codec import RENDEZVOUS_FRAME, encode
from protocol.endpoint.connections import Connection
from protocol.endpoint.streams import Stream
from protocol.errors import CloseCode, LinkClosed, NodeRefusal, NodeRefused
from protocol.framing import frame
from protocol.messages.rendezvous import (
    Address,
    Answer,
    Hello,
    Introduce,
    KeepAlive,
    LookUp,
    PeerMessage,
    Refused,
    Register,
    Registered,
    Start,
)
from protocol.versions import RENDEZVOUS_ALPN, RENDEZVOUS_VERSION
from rendezvous.server import Server
from tests.harness.endpoints import until
from tests.harness.nodes import LOOPBACK, an_offer, running_endpoint, running_node
from tests.harness.ports import free_port

SESSION = "ABCDEFGHJ"
TOKEN = b"t" * 32


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Server]:
    """A node on the loopback."""
    async with running_node(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def greeted(node: Server) -> AsyncIterator[NodeLink]:
    """A peer that has greeted and been welcomed."""
    async with running_endpoint() as endpoint:
        address = NodeAddress.parse(node.address)
        link = await NodeLink.open(
            endpoint, (address.host, address.port), fingerprint=address.fingerprint
        )
        yield link
        link.close()


@contextlib.asynccontextmanager
async def stranger(node: Server) -> AsyncIterator[tuple[Connection, Stream]]:
    """A connection on which nothing was said yet."""
    async with running_endpoint() as endpoint:
        connection = await endpoint.connect((LOOPBACK, node.port), alpn=RENDEZVOUS_ALPN)
        yield connection, connection.open_stream()


def framed(message: PeerMessage) -> bytes:
    return frame(RENDEZVOUS_FRAME, encode(message))


async def test_seeker_and_member_meet_through_the_node(node: Server) -> None:
    """Registration, look-up, introduction and start over real connections."""
    async with greeted(node) as member, greeted(node) as seeker:
        member.send(Register(request_id=1, session_id=SESSION, token=TOKEN, create=True))
        registered = await member.receive()
        seeker.send(LookUp(request_id=2, session_id=SESSION, offer=an_offer(b"seek")))
        looked_up = await seeker.receive()
        introduce = await member.receive()
        assert isinstance(introduce, Introduce)
        member.send(Answer(introduction_id=introduce.introduction_id, offer=an_offer(b"memb")))
        to_seeker, to_member = await seeker.receive(), await member.receive()
        sessions = node.broker.sessions

    assert isinstance(registered, Registered)
    assert (registered.request_id, registered.expires_in) == (1, 600)
    assert not isinstance(looked_up, Refused)
    assert isinstance(to_seeker, Start)
    assert isinstance(to_member, Start)
    assert (to_seeker.offer.tag, to_member.offer.tag) == (b"memb", b"seek")
    assert sessions == 1


async def test_what_is_no_message_closes_the_connection(node: Server) -> None:
    """Other frames, broken messages, and frames beyond the bound before they are read."""
    wrong = {
        frame(RENDEZVOUS_FRAME + 1, b""): CloseCode.PROTOCOL,
        frame(RENDEZVOUS_FRAME, b"\xc1"): CloseCode.PROTOCOL,
        framed(KeepAlive(nonce=1)): CloseCode.PROTOCOL,
        bytes([RENDEZVOUS_FRAME]) + b"\xff\xff\xff": CloseCode.FRAME_TOO_LARGE,
    }
    how: dict[bytes, int] = {}
    for data in wrong:
        async with stranger(node) as (connection, stream):
            stream.write_nowait(data)
            how[data] = (await connection.wait_closed()).error_code

    assert how == wrong
    await until(lambda: not node._links)


async def test_a_refused_peer_hears_the_reason_before_the_end(tmp_path: Path) -> None:
    """The message arrives although the connection is closed."""
    async with running_node(tmp_path, access_tokens=("open sesame",)) as node:
        with pytest.raises(NodeRefused) as refused:
            async with greeted(node):
                pass
        async with stranger(node) as (connection, stream):
            stream.write_nowait(framed(Hello(version=RENDEZVOUS_VERSION)))
            ended = await connection.wait_closed()

    assert refused.value.refusal is NodeRefusal.ACCESS
    assert ended.error_code == CloseCode.REFUSED


async def test_a_full_node_turns_connections_away(tmp_path: Path) -> None:
    """Those it serves go on."""
    async with running_node(tmp_path, max_connections=1) as node, greeted(node) as served:
        async with stranger(node) as (connection, _):
            ended = await connection.wait_closed()
        served.send(KeepAlive(nonce=5))
        alive = await served.receive()

    assert ended.error_code == CloseCode.BUSY
    assert alive == KeepAlive(nonce=5)


async def test_a_peer_that_does_not_read_is_dropped(
    node: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept for it is bounded."""
    monkeypatch.setattr("rendezvous.server.MAX_UNSENT", 4096)
    async with stranger(node) as (connection, stream):
        stream.write_nowait(framed(Hello(version=RENDEZVOUS_VERSION)))
        stream.write_nowait(framed(KeepAlive(nonce=5)) * 1000)
        ended = await connection.wait_closed()

    assert ended.error_code == CloseCode.BUSY


async def test_the_timer_of_the_broker_is_kept(
    node: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that does not greet ends when the broker says so."""
    monkeypatch.setattr("rendezvous.broker.STEP_TIMEOUT", 0.05)
    async with stranger(node) as (connection, stream):
        stream.write_nowait(b"\x20")
        ended = await connection.wait_closed()

    assert ended.error_code == CloseCode.TIMEOUT


async def test_a_peer_whose_port_changed_is_answered_there(node: Server) -> None:
    """A NAT that forgot the mapping made another one; the host is the same."""
    async with greeted(node) as link:
        (served,) = node._links.values()
        before = served.source
        # As if everything so far had come from another port.
        served.connection.path.remote = (LOOPBACK, 1)
        link.send(KeepAlive(nonce=7))
        answer = await link.receive()
        after = served.source

    assert answer == KeepAlive(nonce=7)
    assert before == after == link.observed


async def test_a_peer_on_another_host_is_not_followed(node: Server) -> None:
    """Nothing shows that the other host wants our packets."""
    async with greeted(node) as link:
        (served,) = node._links.values()
        served.connection.path.remote = ("127.0.0.2", 1)
        served.source = Address(bytes([127, 0, 0, 2]), 1)
        link.send(KeepAlive(nonce=7))
        await until(lambda: served.connection.path.seen_from is not None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await link.receive()
        remote = served.connection.path.remote
        served.connection.path.remote = served.connection.path.seen_from or remote

    assert remote == ("127.0.0.2", 1)


async def test_a_stopping_node_says_goodbye(tmp_path: Path) -> None:
    """So that members look for another one at once."""
    async with contextlib.AsyncExitStack() as stack:
        async with running_node(tmp_path) as node:
            link = await stack.enter_async_context(greeted(node))
        with pytest.raises(LinkClosed) as closed:
            await link.receive()

    assert closed.value.error_code == CloseCode.LEAVING


async def test_a_taken_port_is_an_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    """The operator reads it at once."""
    async with running_node(tmp_path / "1") as node:
        with pytest.raises(OSError, match="in use"):
            async with running_node(tmp_path / "2", discovery_port=node.port):
                pass


async def get(port: int, path: str) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://{LOOPBACK}:{port}{path}") as response,
    ):
        assert response.status == 200
        return await response.text()


async def test_health_and_figures_are_served_on_the_loopback(tmp_path: Path) -> None:
    """Numbers only."""
    port = free_port()
    async with running_node(tmp_path, health_port=port) as node, greeted(node) as member:
        member.send(Register(request_id=1, session_id=SESSION, token=TOKEN))
        await member.receive()
        health = json.loads(await get(port, "/healthz"))
        figures = await get(port, "/metrics")

    assert health == {"status": "ok", "sessions": 1, "connections": 1, "warning": ""}
    assert "quintet_rendezvous_sessions 1.0" in figures
    assert "quintet_rendezvous_connections 1.0" in figures
    assert SESSION not in figures


async def test_clients_behind_a_bridge_are_warned_about(tmp_path: Path) -> None:
    """A container with a bridge sees its gateway instead of its clients."""
    port = free_port()
    async with running_node(tmp_path, health_port=port, loopback=False) as node:
        gateway = Address(bytes([172, 17, 0, 1]), 4000)
        node._notice(gateway)
        warned = json.loads(await get(port, "/healthz"))["warning"]
        node._notice(Address(bytes([8, 8, 8, 8]), 4000))
        calm = json.loads(await get(port, "/healthz"))["warning"]

    assert "host networking" in warned
    assert calm == ""


async def test_the_log_names_neither_session_nor_address(node: Server) -> None:
    """Addresses are blurred, IDs and tokens absent (node.md, section 4)."""
    with capture_logs() as lines:
        async with greeted(node) as member:
            member.send(Register(request_id=1, session_id=SESSION, token=TOKEN))
            await member.receive()
            member.send(LookUp(request_id=2, session_id=SESSION, offer=an_offer()))
            await member.receive()

    text = str(lines)
    assert [each["event"] for each in lines] == [
        "node.connected", "node.session_opened", "node.request_refused",
    ]  # fmt: skip
    assert "127.0.0.0/24" in text
    assert "127.0.0.1" not in text
    assert SESSION not in text
    assert str(TOKEN) not in text


async def test_the_address_names_the_public_host(tmp_path: Path) -> None:
    """A name, an IPv6 address in brackets, or where it is bound."""
    for host, shown in (("node.example", "node.example"), ("2001:db8::1", "[2001:db8::1]")):
        async with running_node(tmp_path, public_host=host) as node:
            assert node.address.startswith(f"{shown}:{node.port}#")
    async with running_node(tmp_path) as node:
        assert node.address.startswith(f"{LOOPBACK}:{node.port}#")
