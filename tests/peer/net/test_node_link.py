import pytest

from peer.errors import SettingInvalid
from peer.net.node_link import DEFAULT_PORT, MAX_NODES, NodeAddress, NodeLink
from protocol.codec import RENDEZVOUS_FRAME, encode
from protocol.endpoint.drive import Endpoint
from protocol.errors import LinkClosed, MalformedMessage, SealBroken
from protocol.framing import frame
from protocol.messages.rendezvous import Address, KeepAlive, Welcome
from protocol.versions import RENDEZVOUS_ALPN
from tests.harness.nodes import LOOPBACK, running_endpoint
from tests.harness.tasks import serving

FINGERPRINT = "0123456789ABCDEF"


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("example.org", NodeAddress("example.org")),
        ("example.org:443", NodeAddress("example.org", 443)),
        (
            f"127.0.0.1:1#{FINGERPRINT}",
            NodeAddress("127.0.0.1", 1, FINGERPRINT),
        ),
        (f" [2001:db8::1]#{FINGERPRINT} ", NodeAddress("2001:db8::1", DEFAULT_PORT, FINGERPRINT)),
    ],
)
def test_a_node_is_written_as_people_write_it(text: str, node: NodeAddress) -> None:
    """Port and fingerprint may be left out."""
    assert NodeAddress.parse(text) == node


@pytest.mark.parametrize(
    "text",
    ["", ":1", "a:0", "a:65536", "a#short", "2001:db8::1", "a b", "a:x", f"a#{FINGERPRINT}0"],
)
def test_anything_else_is_no_node(text: str) -> None:
    """The setting is named, its value not repeated."""
    with pytest.raises(SettingInvalid):
        NodeAddress.parse(text)


async def test_a_name_is_resolved_to_numbers() -> None:
    """The endpoint dials numeric addresses only."""
    assert (LOOPBACK, 7) in await NodeAddress("localhost", 7).resolve()


GARBAGE = frame(RENDEZVOUS_FRAME, b"\xc1")
OTHER_FRAME = frame(RENDEZVOUS_FRAME + 1, b"")
NO_GREETING = frame(RENDEZVOUS_FRAME, encode(KeepAlive(nonce=1)))
FORGED = frame(
    RENDEZVOUS_FRAME,
    encode(Welcome(version=1, observed=Address(bytes(4), 1), node_key=bytes(32), proof=bytes(64))),
)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (GARBAGE, MalformedMessage),
        (OTHER_FRAME, MalformedMessage),
        (NO_GREETING, MalformedMessage),
        (FORGED, SealBroken),
        (b"", LinkClosed),
    ],
)
async def test_whoever_does_not_greet_as_a_node_is_left(
    answer: bytes, error: type[Exception]
) -> None:
    """Each has its error; the connection is closed."""

    async def answer_once(endpoint: Endpoint) -> None:
        connection = await endpoint.accept()
        stream = await connection.accept_stream()
        await stream.read()
        stream.write_nowait(answer)
        stream.finish()
        await connection.wait_closed()

    impostor = Endpoint.open([(LOOPBACK, 0)], alpn_served=RENDEZVOUS_ALPN, retry=True)
    try:
        async with serving(answer_once(impostor)), running_endpoint() as endpoint:
            with pytest.raises(error):
                await NodeLink.open(endpoint, impostor.addresses[0])
            assert all(each.is_closed for each in endpoint.connections)
    finally:
        await impostor.close()


async def test_nobody_there_is_a_closed_link() -> None:
    """And so is an address of a family the endpoint has no socket for."""
    async with running_endpoint() as endpoint:
        with pytest.raises(LinkClosed):
            await NodeLink.open(endpoint, (LOOPBACK, 1), within=0.05)
        with pytest.raises(LinkClosed):
            await NodeLink.open(endpoint, ("::1", 1), within=0.05)


def test_several_nodes_are_tried_in_turn() -> None:
    """One setting names them all; a mistake in any of them is a mistake."""
    node = NodeAddress.parse("one:1, [::1]:2#0123456789ABCDEF ,three")

    assert [(each.host, each.port) for each in node.all] == [
        ("one", 1),
        ("::1", 2),
        ("three", DEFAULT_PORT),
    ]
    assert node.all[1].fingerprint == "0123456789ABCDEF"
    for text in ("one,", ",".join(["n"] * (MAX_NODES + 1))):
        with pytest.raises(SettingInvalid):
            NodeAddress.parse(text)


def test_the_access_token_is_not_shown() -> None:
    """Addresses come into logs."""
    assert "sesame" not in repr(NodeAddress("host", access="sesame"))
