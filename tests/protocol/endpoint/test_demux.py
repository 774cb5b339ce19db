"""Every first byte has one meaning; only a whole Initial can open a connection."""

import pytest
from aioquic.quic.packet import QuicPacketType

from protocol.endpoint.demux import Kind, destination_of, initial_header, kind_of
from tests.harness.quic_pair import PEER, QuicPair


def initial() -> bytes:
    """The first datagram of a client."""
    pair = QuicPair()
    pair.client.connect(PEER, 0.0)
    return pair.client.datagrams_to_send(0.0)[0][0]


def test_every_first_byte_has_one_kind() -> None:
    """RFC 9443, with 32 to 47 for probes; everything else is dropped."""
    kinds = {
        **dict.fromkeys(range(256), Kind.NONE),
        **dict.fromkeys(range(4), Kind.STUN),
        **dict.fromkeys(range(0x20, 0x30), Kind.PROBE),
        **dict.fromkeys([b for b in range(256) if b & 0x40], Kind.QUIC),
    }

    assert {first: kind_of(first) for first in range(256)} == kinds


def test_the_destination_is_found_in_both_headers() -> None:
    """Eight bytes of ours after a short header, whatever the long one says."""
    assert destination_of(b"\x40" + bytes(range(1, 20))) == bytes(range(1, 9))
    assert destination_of(b"\xc0\0\0\0\1\x03abcdef") == b"abc"
    assert destination_of(b"\xc0\0\0\0\1") == b""
    assert destination_of(b"\x40") == b""


def test_an_initial_is_recognised() -> None:
    """The client's first datagram opens a connection."""
    header = initial_header(initial())

    assert header is not None
    assert header.packet_type is QuicPacketType.INITIAL


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:1199],
        lambda data: b"\x40" + data[1:],
        lambda data: data[:1] + b"\x6b\x33\x43\xcf" + data[5:],
        lambda data: data[:1] + bytes(4) + data[5:],
        lambda data: bytes([data[0] | 0x30]) + data[1:],
        lambda data: bytes([data[0] | 0x20]) + data[1:],
        lambda data: data[:5] + b"\x07" + data[6:13] + data[14:] + b"\0",
        lambda data: data[:5] + b"\xff" + data[6:],
        lambda data: data[0:1] * 1200,
    ],
    ids=[
        "too small",
        "short header",
        "version 2",
        "version negotiation",
        "retry",
        "handshake",
        "destination of seven bytes",
        "destination of 255 bytes",
        "nonsense",
    ],
)
def test_nothing_else_opens_a_connection(spoil) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  # a table of lambdas
    """Another size, version, type or length is no Initial of ours."""
    assert initial_header(spoil(initial())) is None
