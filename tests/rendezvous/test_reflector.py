import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.address import (
    AMPLIFICATION,
    BindingAnswer,
    BindingRefusal,
    BindingRequest,
    decode_answer,
    encode_request,
    from_sockaddr,
)
from protocol.messages.rendezvous import Address
from rendezvous.quota import Rate
from rendezvous.reflector import Reflector
from tests.harness.strategies import ADDRESSES

FIRST, SECOND = from_sockaddr(("192.0.2.1", 47555)), from_sockaddr(("192.0.2.1", 47556))
SOURCE = from_sockaddr(("198.51.100.7", 4000))
TRANSACTION = bytes(range(12))


def two_ports(rate: Rate | None = None) -> Reflector:
    return Reflector([SECOND, FIRST], rate or Rate(1e6, 1e6))


def ask(reflector: Reflector, port: int = 0, *, ip: bool = False, change: bool = False) -> object:
    request = BindingRequest(TRANSACTION, change_ip=ip, change_port=change)
    reply = reflector.receive_datagram(encode_request(request), SOURCE, port, now=0.0)
    return reply and (decode_answer(reply.data), reply.port)


@pytest.mark.parametrize(("port", "other"), [(0, SECOND), (1, FIRST)])
def test_each_port_answers_with_the_source_and_names_the_other(port: int, other: Address) -> None:
    """Two questions tell whether the mapping depends on the destination."""
    assert ask(two_ports(), port) == (BindingAnswer(TRANSACTION, SOURCE, other), port)


def test_the_other_port_answers_when_asked_to() -> None:
    """What arrives then came from where nothing was sent to."""
    assert ask(two_ports(), 0, change=True) == (BindingAnswer(TRANSACTION, SOURCE, SECOND), 1)
    assert ask(two_ports(), 1, change=True) == (BindingAnswer(TRANSACTION, SOURCE, FIRST), 0)


def test_what_the_node_has_not_is_refused_rather_than_left_unanswered() -> None:
    """Silence would be taken for a filter."""
    refusal = BindingRefusal(TRANSACTION)

    assert ask(two_ports(), ip=True) == (refusal, 0)
    assert ask(Reflector([]), change=True) == (refusal, 0)
    assert ask(Reflector([])) == (BindingAnswer(TRANSACTION, SOURCE), 0)


BARE = struct.pack(">HHI", 1, 0, 0x2112A442) + TRANSACTION
QUESTIONS = st.just(BARE) | st.builds(
    BindingRequest, st.just(TRANSACTION), change_ip=st.booleans(), change_port=st.booleans()
).map(encode_request)


@given(QUESTIONS, st.integers(0, 1), ADDRESSES, ADDRESSES)
def test_no_answer_exceeds_three_times_its_question(
    datagram: bytes, port: int, source: Address, other: Address
) -> None:
    """The bound of node.md, section 2, for every family and flag, even the shortest question."""
    reply = Reflector([other, other]).receive_datagram(datagram, source, port, now=0.0)

    assert reply is not None
    assert len(reply.data) <= AMPLIFICATION * len(datagram)


def test_a_greedy_source_gets_silence() -> None:
    """A refusal would be traffic to a forged source, too."""
    reflector = two_ports(Rate(2, 1))

    answers = [ask(reflector) is not None for _ in range(4)]

    assert answers == [True, True, False, False]
    assert (reflector.answered, reflector.dropped) == (2, 2)


def test_other_datagrams_get_silence() -> None:
    """They are counted, no more."""
    reflector = two_ports()

    assert reflector.receive_datagram(b"\x00" * 40, SOURCE, 0, now=0.0) is None
    assert reflector.dropped == 1
