import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import address
from protocol.address import (
    AMPLIFICATION,
    BindingAnswer,
    BindingRefusal,
    BindingRequest,
    decode_answer,
    decode_request,
    encode_answer,
    encode_refusal,
    encode_request,
    from_sockaddr,
    is_probeable,
)
from protocol.messages.rendezvous import Address
from tests.harness.strategies import ADDRESSES

TRANSACTION = bytes(range(12))

RFC5769_RESPONSE = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
"""The sample IPv4 response of RFC 5769, section 2.2; it maps 192.0.2.1 port 32853."""

RFC5769_IPV6_RESPONSE = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
"""The sample IPv6 response of RFC 5769, section 2.3."""


def at(host: str, port: int = 4000) -> Address:
    return from_sockaddr((host, port))


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (RFC5769_RESPONSE, at("192.0.2.1", 32853)),
        (RFC5769_IPV6_RESPONSE, at("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_the_published_samples_are_understood(datagram: bytes, expected: Address) -> None:
    """Masked address and FINGERPRINT agree with RFC 5769."""
    answer = decode_answer(datagram)

    assert isinstance(answer, BindingAnswer)
    assert answer.mapped == expected


@given(st.binary(min_size=12, max_size=12), st.booleans(), st.booleans())
def test_a_request_survives_the_wire(transaction: bytes, ip: bool, port: bool) -> None:
    """Flags and transaction come back; the size is what was sent."""
    datagram = encode_request(BindingRequest(transaction, change_ip=ip, change_port=port))

    assert decode_request(datagram) == BindingRequest(transaction, ip, port, len(datagram))
    assert address.is_discovery(datagram)


@given(st.binary(min_size=12, max_size=12), ADDRESSES, st.none() | ADDRESSES)
def test_an_answer_survives_the_wire(
    transaction: bytes, mapped: Address, other: Address | None
) -> None:
    """Both addresses come back where there is room."""
    answer = BindingAnswer(transaction, mapped, other)

    assert decode_answer(encode_answer(answer, most=1000)) == answer


def test_what_does_not_fit_the_bound_is_left_out() -> None:
    """The bare question of 20 bytes gets an IPv6 answer within 60 bytes."""
    answer = BindingAnswer(TRANSACTION, at("2001:db8::1"), at("2001:db8::2"))

    datagram = encode_answer(answer, most=AMPLIFICATION * address.HEADER)

    assert len(datagram) <= AMPLIFICATION * address.HEADER
    assert decode_answer(datagram) == BindingAnswer(TRANSACTION, at("2001:db8::1"))


def test_a_refusal_survives_the_wire() -> None:
    """The client learns that the node has no other address."""
    assert decode_answer(encode_refusal(BindingRefusal(TRANSACTION))) == BindingRefusal(TRANSACTION)


@given(st.integers(0, 27), st.integers(1, 255))
def test_a_changed_byte_never_gives_the_same_request(at_byte: int, change: int) -> None:
    """The FINGERPRINT catches it, or the header does."""
    datagram = bytearray(encode_request(BindingRequest(TRANSACTION)))
    datagram[at_byte] ^= change

    request = decode_request(bytes(datagram))

    # A changed transaction or attribute name is caught by the FINGERPRINT, which alone may
    # turn into an unknown optional attribute.
    assert request is None or 20 <= at_byte < 22


@given(st.binary(max_size=80))
def test_other_bytes_are_nothing(data: bytes) -> None:
    """The parsers return None; they never raise."""
    prefix = struct.pack(">HHI", 1, max(0, len(data) - 12), address.MAGIC_COOKIE)
    for datagram in (data, prefix + data):
        decode_request(datagram)
        decode_answer(datagram)
    assert decode_request(data) is None


def stun(kind: int, *attributes: bytes) -> bytes:
    body = b"".join(attributes)
    head = struct.pack(">HHI", kind, len(body), address.MAGIC_COOKIE)
    return head + TRANSACTION + body


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def followed_fingerprint() -> bytes:
    """A FINGERPRINT right for the whole length, but not the last attribute."""
    head = struct.pack(">HHI", 1, 16, address.MAGIC_COOKIE) + TRANSACTION
    checksum = struct.pack(">I", zlib.crc32(head) ^ address.FINGERPRINT_MASK)
    return head + attribute(address.FINGERPRINT, checksum) + attribute(0x8022, b"more")


def test_the_bare_question_of_other_clients_is_understood() -> None:
    """FINGERPRINT is optional, and so is whatever is marked so."""
    assert decode_request(stun(1)) == BindingRequest(TRANSACTION, size=20)
    assert decode_request(stun(1, attribute(0x8022, b"abc"))) is not None


@pytest.mark.parametrize(
    "datagram",
    [
        stun(1)[:-1],
        stun(2),
        stun(1, attribute(0x0006, b"name")),
        stun(1, attribute(address.CHANGE_REQUEST, b"\x00")),
        stun(1, b"\x80\x22\x00\x09abcd"),
        stun(1) + b"\x00",
        stun(1).replace(b"\x21\x12\xa4\x42", b"\x21\x12\xa4\x43"),
        stun(1, attribute(address.FINGERPRINT, bytes(4))),
        followed_fingerprint(),
        stun(1, *[attribute(0x8022, bytes(100))] * 6),
    ],
)
def test_a_request_that_is_not_exactly_one_is_none(datagram: bytes) -> None:
    """Cut, of another kind, demanding the unknown, padded, forged, followed, too long."""
    assert decode_request(datagram) is None


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        stun(address.BINDING_REQUEST),
        stun(address.BINDING_SUCCESS),
        stun(address.BINDING_SUCCESS, attribute(address.XOR_MAPPED_ADDRESS, bytes(8))),
        stun(
            address.BINDING_SUCCESS, attribute(address.XOR_MAPPED_ADDRESS, b"\x00\x02" + bytes(6))
        ),
        stun(
            address.BINDING_SUCCESS,
            attribute(address.XOR_MAPPED_ADDRESS, b"\x00\x01\x21\x12" + bytes(4)),
        ),
        stun(
            address.BINDING_SUCCESS,
            attribute(address.XOR_MAPPED_ADDRESS, b"\x00\x01\x21\x13" + bytes(4)),
            attribute(address.OTHER_ADDRESS, b"\x00\x01\x00\x00" + bytes(4)),
        ),
    ],
)
def test_an_answer_that_is_not_exactly_one_is_none(datagram: bytes) -> None:
    """Missing, of no family, of the wrong length, with port 0."""
    assert decode_answer(datagram) is None


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104  # not bound to
        "0.1.2.3", "224.0.0.1", "239.255.255.255", "255.255.255.255", "240.0.0.1",
        "::", "ff02::1", "ff0e::1", "::1.2.3.4", "64:ff9b::7f00:1", "2002:7f00:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)  # fmt: skip
def test_no_probe_goes_where_no_single_host_is(host: str) -> None:
    """Multicast, broadcast, reserved and unspecified addresses, in either coat."""
    assert not is_probeable(at(host), loopback_allowed=True, scoped=True)


def test_an_ipv4_address_in_an_ipv6_coat_is_not_probed() -> None:
    """``::ffff:127.0.0.1`` would reach the loopback of a dual-stack socket."""
    mapped = Address(bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1]), 4000)

    assert not is_probeable(mapped, loopback_allowed=True)
    assert from_sockaddr(("::ffff:192.0.2.1", 4000, 0, 0)) == at("192.0.2.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_probed_only_on_one_machine(host: str) -> None:
    """Another machine's word never makes us talk to ourselves."""
    assert not is_probeable(at(host), loopback_allowed=False)
    assert is_probeable(at(host), loopback_allowed=True)


@pytest.mark.parametrize("host", ["169.254.1.1", "fe80::1"])
def test_link_local_is_probed_only_with_its_interface(host: str) -> None:
    """Without a scope it names nobody."""
    assert not is_probeable(at(host), loopback_allowed=True)
    assert is_probeable(at(host), loopback_allowed=False, scoped=True)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "8.8.8.8", "10.0.0.1", "100.64.1.1", "192.168.1.1", "2a00::1", "fd00::1"]
)
def test_unicast_addresses_are_probed(host: str) -> None:
    """Public, private, carrier-grade, global and unique local ones."""
    assert is_probeable(at(host), loopback_allowed=False)


def test_addresses_read_as_people_write_them() -> None:
    """Brackets around IPv6; a scope is dropped; a log blurs."""
    assert address.to_text(at("192.0.2.7", 80)) == "192.0.2.7:80"
    assert address.to_text(from_sockaddr(("fe80::1%eth0", 80, 0, 2))) == "[fe80::1]:80"
    assert address.to_sockaddr(at("192.0.2.7", 80)) == ("192.0.2.7", 80)
    assert address.blurred(at("192.0.2.7")) == "192.0.2.0/24"
    assert address.blurred(at("2001:db8:1:2::3")) == "2001:db8:1::/48"


def test_limits_count_an_ipv4_host_and_an_ipv6_network() -> None:
    """One subscriber has a whole /64."""
    assert address.source_prefix(at("192.0.2.7")) == bytes([192, 0, 2, 7])
    assert address.source_prefix(at("2001:db8::1")) == address.source_prefix(at("2001:db8::2"))


def test_an_address_knows_its_reach() -> None:
    """Loopback, private, public."""
    assert address.is_loopback(at("127.0.0.1"))
    assert not address.is_public(at("10.0.0.1"))
    assert address.is_public(at("8.8.8.8"))


@pytest.mark.parametrize("datagram", [b"\x00" * 19, b"\x40" + bytes(30), b"\x20" + bytes(30)])
def test_other_datagrams_are_not_discovery(datagram: bytes) -> None:
    """QUIC and probes share the socket (RFC 9443)."""
    assert not address.is_discovery(datagram)
