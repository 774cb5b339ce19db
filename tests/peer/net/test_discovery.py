import asyncio
from pathlib import Path

from peer.net.discovery import Discovery
from protocol.address import BindingAnswer, encode_answer, from_sockaddr
from tests.harness.nodes import LOOPBACK, running_endpoint, running_node


async def test_both_ports_of_the_node_see_the_same_socket(tmp_path: Path) -> None:
    """Without a NAT all answers name the endpoint's own address."""
    async with running_node(tmp_path) as node, running_endpoint() as endpoint:
        discovery = Discovery(endpoint)

        first = await discovery.ask((LOOPBACK, node.port))
        second = await discovery.ask((LOOPBACK, node.discovery_port))
        crossed = await discovery.ask((LOOPBACK, node.port), change_port=True)
        observed = await discovery.observed((LOOPBACK, node.port))
        own = from_sockaddr(endpoint.addresses[0])

    assert isinstance(first, BindingAnswer)
    assert isinstance(second, BindingAnswer)
    assert isinstance(crossed, BindingAnswer)
    assert first.other is not None
    assert second.other is not None
    assert first.other.port != second.other.port
    assert own == observed == first.mapped == second.mapped == crossed.mapped


async def test_silence_is_none_after_a_third_of_a_second() -> None:
    """Three datagrams were sent meanwhile."""
    received = 0

    def count(*_: object) -> None:
        nonlocal received
        received += 1

    async with running_endpoint() as endpoint, running_endpoint() as silent:
        silent.on_stun = count

        answer = await Discovery(endpoint).ask(silent.addresses[0])

    assert answer is None
    assert received == 3


async def test_answers_nobody_asked_for_are_dropped() -> None:
    """Of another transaction, no answer at all, or once more."""

    def answer(transaction: bytes, port: int) -> bytes:
        return encode_answer(BindingAnswer(transaction, from_sockaddr((LOOPBACK, port))), most=1000)

    async with running_endpoint() as endpoint, running_endpoint() as liar:

        def lie(data: bytes, source: object) -> None:
            genuine = answer(data[8:20], 7)
            for datagram in (b"\x00" * 30, answer(bytes(12), 9), genuine, answer(data[8:20], 8)):
                liar.send_datagram(datagram, endpoint.addresses[0])

        liar.on_stun = lie
        observed = await Discovery(endpoint).observed(liar.addresses[0])
        await asyncio.sleep(0)

    assert observed == from_sockaddr((LOOPBACK, 7))
