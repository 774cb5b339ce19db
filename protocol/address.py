"""UDP addresses, and the datagrams that discover them: a subset of RFC 8489 and RFC 5780.

A peer asks the rendezvous node from the very socket it will be reached at, and learns from
the answers which address others see and what kind of mapping its NAT keeps. The parser is
strict: anything that is not exactly one of these datagrams is None, and dropped.

Source: RFC 8489, sections 5 (header), 14.1 and 14.2 (addresses), 14.7 (FINGERPRINT), 14.8
(ERROR-CODE); RFC 5780, sections 7.2 (CHANGE-REQUEST) and 7.4 (OTHER-ADDRESS).
"""

import ipaddress
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from protocol.messages.rendezvous import IPV4_BYTES, Address

MAGIC_COOKIE: Final = 0x2112A442
HEADER: Final = 20
"""Bytes before the attributes: type, length, cookie, transaction identifier."""

MAX_DATAGRAM: Final = 548
"""Bytes a datagram of this kind may have: RFC 8489, section 6.1, where the MTU is unknown."""

BINDING_REQUEST: Final = 0x0001
BINDING_SUCCESS: Final = 0x0101
BINDING_ERROR: Final = 0x0111

CHANGE_REQUEST: Final = 0x0003
ERROR_CODE: Final = 0x0009
UNKNOWN_ATTRIBUTES: Final = 0x000A
XOR_MAPPED_ADDRESS: Final = 0x0020
FINGERPRINT: Final = 0x8028
OTHER_ADDRESS: Final = 0x802C

FIRST_OPTIONAL: Final = 0x8000
"""Attributes below this number must be understood (RFC 8489, section 14)."""

CHANGE_IP: Final = 0x4
CHANGE_PORT: Final = 0x2
FINGERPRINT_MASK: Final = 0x5354554E
FAMILY_IPV4: Final = 1
FAMILY_IPV6: Final = 2
UNKNOWN_ATTRIBUTE_CODE: Final = 420

AMPLIFICATION: Final = 3
"""Times its question an answer may be long before the source is validated (node.md, 2)."""


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """Which address do you see? Answer from another address or port if so asked."""

    transaction_id: bytes
    change_ip: bool = False
    change_port: bool = False
    size: int = 0
    """Bytes it came in; the answer is measured against it."""


@dataclass(frozen=True, slots=True)
class BindingAnswer:
    """The address the node saw, and the other one it answers at."""

    transaction_id: bytes
    mapped: Address
    other: Address | None = None


@dataclass(frozen=True, slots=True)
class BindingRefusal:
    """The node cannot do what the request demands, such as answer from elsewhere."""

    transaction_id: bytes


def is_discovery(datagram: bytes) -> bool:
    """Whether the first byte says STUN: 0x00 to 0x03 (RFC 9443)."""
    return len(datagram) >= HEADER and datagram[0] <= 0x03  # noqa: PLR2004  # the RFC's range


def encode_request(request: BindingRequest) -> bytes:
    """Return *request* with a FINGERPRINT, which also makes room for a longer answer."""
    flags = CHANGE_IP * request.change_ip | CHANGE_PORT * request.change_port
    attributes = _attribute(CHANGE_REQUEST, struct.pack(">I", flags)) if flags else b""
    return _with_fingerprint(_datagram(BINDING_REQUEST, request.transaction_id, attributes))


def decode_request(datagram: bytes) -> BindingRequest | None:
    """Return the binding request that *datagram* is, or None.

    One that demands something unknown here is None too.
    """
    parsed = _parse(datagram)
    if parsed is None:
        return None
    kind, transaction_id, attributes = parsed
    if kind != BINDING_REQUEST:
        return None
    if any(each < FIRST_OPTIONAL and each != CHANGE_REQUEST for each in attributes):
        return None
    change = attributes.get(CHANGE_REQUEST, bytes(4))
    if len(change) != 4:  # noqa: PLR2004  # the attribute's fixed length
        return None
    flags = int.from_bytes(change, "big")
    return BindingRequest(
        transaction_id,
        change_ip=bool(flags & CHANGE_IP),
        change_port=bool(flags & CHANGE_PORT),
        size=len(datagram),
    )


def encode_answer(answer: BindingAnswer, *, most: int) -> bytes:
    """Return *answer* in at most *most* bytes; what is optional is left out to fit."""
    mapped = _attribute(XOR_MAPPED_ADDRESS, _packed(_masked(answer.mapped, answer.transaction_id)))
    datagram = _datagram(BINDING_SUCCESS, answer.transaction_id, mapped)
    if answer.other is not None:
        other = _attribute(OTHER_ADDRESS, _packed(answer.other))
        if len(datagram) + len(other) <= most:
            datagram = _datagram(BINDING_SUCCESS, answer.transaction_id, mapped + other)
    return datagram


def encode_refusal(refusal: BindingRefusal) -> bytes:
    """Return the error answer 420 that names CHANGE-REQUEST (RFC 5780, section 6.1)."""
    hundreds, rest = divmod(UNKNOWN_ATTRIBUTE_CODE, 100)
    attributes = _attribute(ERROR_CODE, struct.pack(">HBB", 0, hundreds, rest))
    attributes += _attribute(UNKNOWN_ATTRIBUTES, struct.pack(">H", CHANGE_REQUEST))
    return _datagram(BINDING_ERROR, refusal.transaction_id, attributes)


def decode_answer(datagram: bytes) -> BindingAnswer | BindingRefusal | None:
    """Return the answer that *datagram* is, or None; the caller knows its transactions."""
    parsed = _parse(datagram)
    if parsed is None:
        return None
    kind, transaction_id, attributes = parsed
    if kind == BINDING_ERROR:
        return BindingRefusal(transaction_id)
    if kind != BINDING_SUCCESS:
        return None
    masked = _unpacked(attributes.get(XOR_MAPPED_ADDRESS, b""))
    if masked is None:
        return None
    mapped = _masked(masked, transaction_id)
    other = _unpacked(attributes.get(OTHER_ADDRESS, b""))
    if mapped.port == 0 or (other is not None and other.port == 0):
        return None
    return BindingAnswer(transaction_id, mapped, other)


# --- addresses ----------------------------------------------------------------------


def from_sockaddr(sockaddr: Any) -> Address:
    """Return the address of ``(host, port, ...)``; an IPv4-mapped one becomes IPv4.

    Raises:
        ValueError: If the host is a name.
    """
    parsed = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return Address(parsed.packed, sockaddr[1])


def to_sockaddr(address: Address) -> tuple[str, int]:
    """Return ``(host, port)`` as sockets take it."""
    return str(_ip(address)), address.port


def to_text(address: Address) -> str:
    """Return ``host:port``, an IPv6 host in brackets."""
    host, port = to_sockaddr(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: Address) -> bool:
    return _ip(address).is_loopback


def is_public(address: Address) -> bool:
    """Whether the address is routed on the Internet."""
    return _ip(address).is_global


def is_probeable(address: Address, *, loopback_allowed: bool, scoped: bool = False) -> bool:
    """Whether a datagram may be sent to *address* on another's word (security.md, T7).

    Args:
        address: What an offer names.
        loopback_allowed: Whether both sides are on this machine.
        scoped: Whether the interface of a link-local address is known.
    """
    ip = _ip(address)
    # An IPv4 address in an IPv6 coat would carry anything past the checks below.
    if isinstance(ip, ipaddress.IPv6Address) and (ip.ipv4_mapped or ip.sixtofour or ip.teredo):
        return False
    if ip.is_loopback:
        return loopback_allowed
    if ip.is_link_local:
        return scoped
    return not (ip.is_multicast or any(ip in network for network in _NOWHERE))


def source_prefix(address: Address) -> bytes:
    """Return what per-source limits count by: the IPv4 /32 or the IPv6 /64."""
    return address.host[: IPV4_BYTES if len(address.host) == IPV4_BYTES else 8]


def blurred(address: Address) -> str:
    """Return the network of *address* for a log: IPv4 /24, IPv6 /48."""
    bits = 24 if len(address.host) == IPV4_BYTES else 48
    return str(ipaddress.ip_network((address.host, bits), strict=False))


_NOWHERE: Final = (
    ipaddress.ip_network("0.0.0.0/8"),  # unspecified, "this network"
    ipaddress.ip_network("240.0.0.0/4"),  # reserved, and the limited broadcast
    ipaddress.ip_network("::/96"),  # unspecified, and the obsolete IPv4-compatible
    ipaddress.ip_network("64:ff9b::/96"),  # NAT64: an IPv4 address of the sender's choice
)


def _ip(address: Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address.host)


# --- the layout of STUN -------------------------------------------------------------------


def _datagram(kind: int, transaction_id: bytes, attributes: bytes) -> bytes:
    head = struct.pack(">HHI", kind, len(attributes), MAGIC_COOKIE)
    return head + transaction_id + attributes


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def _with_fingerprint(datagram: bytes) -> bytes:
    # The length the checksum covers already includes the attribute itself.
    length = len(datagram) - HEADER + 8
    covered = datagram[:2] + struct.pack(">H", length) + datagram[4:]
    return covered + _attribute(FINGERPRINT, _checksum(covered))


def _checksum(covered: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(covered) ^ FINGERPRINT_MASK)


def _parse(datagram: bytes) -> tuple[int, bytes, Mapping[int, bytes]] | None:
    if not HEADER <= len(datagram) <= MAX_DATAGRAM:
        return None
    kind, length, cookie = struct.unpack_from(">HHI", datagram)
    if cookie != MAGIC_COOKIE or length != len(datagram) - HEADER or length % 4:
        return None
    attributes: dict[int, bytes] = {}
    offset = HEADER
    while offset < len(datagram):
        if FINGERPRINT in attributes:
            return None  # nothing follows the FINGERPRINT
        name, size = struct.unpack_from(">HH", datagram, offset)
        end = offset + 4 + size
        if end > len(datagram):
            return None
        value = datagram[offset + 4 : end]
        if name == FINGERPRINT and value != _checksum(datagram[:offset]):
            return None
        attributes.setdefault(name, value)
        offset = end + -size % 4
    return kind, datagram[8:HEADER], attributes


def _packed(address: Address) -> bytes:
    family = FAMILY_IPV4 if len(address.host) == IPV4_BYTES else FAMILY_IPV6
    return struct.pack(">BBH", 0, family, address.port) + address.host


def _unpacked(value: bytes) -> Address | None:
    sizes = {FAMILY_IPV4: 8, FAMILY_IPV6: 20}
    if len(value) < 4 or len(value) != sizes.get(value[1]):  # noqa: PLR2004  # family and port
        return None
    return Address(value[4:], int.from_bytes(value[2:4], "big"))


def _masked(address: Address, transaction_id: bytes) -> Address:
    """Return *address* XORed as RFC 8489, section 14.2, says; the same both ways."""
    mask = struct.pack(">I", MAGIC_COOKIE) + transaction_id
    host = bytes(a ^ b for a, b in zip(address.host, mask, strict=False))
    return Address(host, address.port ^ (MAGIC_COOKIE >> 16))
