from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import decode, encode, members_of
from protocol.errors import MalformedMessage
from protocol.messages.rendezvous import KeepAlive, NodeMessage, PeerMessage
from tests.harness.strategies import messages

UNIONS = [PeerMessage, NodeMessage]


@given(st.sampled_from(UNIONS).flatmap(lambda union: st.tuples(st.just(union), messages(union))))
def test_every_message_survives_the_wire(drawn: tuple[Any, Any]) -> None:
    """The strategy is read off the declarations, so this covers messages not yet written."""
    union, message = drawn

    assert decode(encode(message), union) == message


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_malformed_and_nothing_else(data: bytes) -> None:
    """No other error leaves the decoder, whatever arrives."""
    try:
        decoded = decode(data, PeerMessage)
    except MalformedMessage:
        return
    assert isinstance(decoded, members_of(PeerMessage))


@given(messages(PeerMessage), st.integers(0, 2000), st.integers(1, 255))
def test_a_changed_byte_gives_a_message_or_malformed(message: Any, at: int, change: int) -> None:
    """Bytes close to a message reach deeper into the decoder than random ones."""
    data = bytearray(encode(message))
    data[at % len(data)] ^= change

    try:
        decoded = decode(bytes(data), PeerMessage)
    except MalformedMessage:
        return
    assert isinstance(decoded, members_of(PeerMessage))


@pytest.mark.parametrize(
    "content",
    [
        {"type": "rv.unknown", "nonce": 1},
        {"nonce": 1},
        {"type": "rv.keep_alive"},
        {"type": "rv.keep_alive", "nonce": -1},
        {"type": "rv.keep_alive", "nonce": 2**32},
        {"type": "rv.welcome", "nonce": 1},
        [],
        None,
    ],
)
def test_what_breaks_a_declaration_is_malformed(content: object) -> None:
    """Unknown tags, missing fields, bounds and the other side's messages are refused."""
    with pytest.raises(MalformedMessage):
        decode(msgspec.msgpack.encode(content), PeerMessage)


def test_trailing_bytes_are_malformed() -> None:
    """One frame holds one message."""
    with pytest.raises(MalformedMessage):
        decode(encode(KeepAlive(nonce=1)) + b"\xc0", PeerMessage)


def test_text_that_is_no_utf8_is_malformed() -> None:
    """Msgspec raises another error for it; it must not escape."""
    data = b"\x83\xa4type\xa8rv.hello\xa7version\x01\xa6access\xa2\xff\xfe"

    with pytest.raises(MalformedMessage):
        decode(data, PeerMessage)


def test_endless_nesting_under_an_unknown_key_is_malformed() -> None:
    """An unknown key is skipped, but not to any depth."""
    head = b"\x83\xa4type\xadrv.keep_alive\xa5nonce\x01\xa1x"

    assert decode(head + b"\x91" * 8 + b"\xc0", PeerMessage) == KeepAlive(nonce=1)
    with pytest.raises(MalformedMessage):
        decode(head + b"\x91" * 100_000 + b"\xc0", PeerMessage)


def test_the_members_of_one_class_are_that_class() -> None:
    """A union of one is written without a bar."""
    assert members_of(KeepAlive) == (KeepAlive,)
    assert decode(encode(KeepAlive(nonce=7)), KeepAlive) == KeepAlive(nonce=7)
