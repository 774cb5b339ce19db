"""What kind of datagram this is, by its first byte, and whom a QUIC packet is for.

Ranges: RFC 9443, with 32 to 47 for our probes (network.md, section 6.1). No input
without the fixed bit is ever QUIC: nobody negotiates its greasing here.
"""

import enum
from typing import Final

from aioquic._buffer import Buffer
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    pull_quic_header,
)

from protocol.limits import MIN_DATAGRAM
from protocol.quic.connection import CID_SIZE

LONG: Final = 0x80
"""Set in a packet with a long header."""

FIXED: Final = 0x40
"""Set in every QUIC packet."""

MIN_INITIAL_CID: Final = 8
"""Bytes of the destination a client must choose at least (RFC 9000, section 7.2)."""

_CID_LENGTH_AT: Final = 5


class Kind(enum.Enum):
    """What a datagram is."""

    QUIC = "quic"
    STUN = "stun"
    PROBE = "probe"
    NONE = "none"


def kind_of(first: int) -> Kind:
    """Return the kind of a datagram whose first byte is *first*."""
    if first & FIXED:
        return Kind.QUIC
    if first <= 0x03:  # noqa: PLR2004  # RFC 9443
        return Kind.STUN
    if 0x20 <= first <= 0x2F:  # noqa: PLR2004  # network.md, section 6.4
        return Kind.PROBE
    return Kind.NONE


def destination_of(data: bytes) -> bytes:
    """Return the connection ID a QUIC datagram is for; empty if it has none."""
    if not data[0] & LONG:
        return data[1 : 1 + CID_SIZE]
    if len(data) <= _CID_LENGTH_AT:
        return b""
    return data[_CID_LENGTH_AT + 1 : _CID_LENGTH_AT + 1 + data[_CID_LENGTH_AT]]


def initial_header(data: bytes) -> QuicHeader | None:
    """Return the header of a datagram that may open a connection, else None."""
    if len(data) < MIN_DATAGRAM or not data[0] & LONG:
        return None
    try:
        header = pull_quic_header(Buffer(data=data), host_cid_length=CID_SIZE)
    except ValueError:
        return None
    if (
        header.version != QuicProtocolVersion.VERSION_1
        or header.packet_type is not QuicPacketType.INITIAL
        or len(header.destination_cid) < MIN_INITIAL_CID
    ):
        return None
    return header
