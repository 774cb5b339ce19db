"""Paths are opaque to QUIC and compare by identity."""

from protocol.endpoint.paths import Path, Via, address_of, source_of


def test_two_paths_to_one_address_are_two_paths() -> None:
    """QUIC keeps them by equality; a peer's address may change inside."""
    first, second = Path(("192.0.2.1", 1)), Path(("192.0.2.1", 1))
    known = {first}

    first.remote = ("192.0.2.2", 2)

    assert first in known
    assert second not in known
    assert "192.0.2.2" in repr(first)


def test_the_address_behind_a_relay_is_the_relays() -> None:
    """That is where the datagrams go."""
    assert address_of(Via(("192.0.2.1", 1), b"x")) == ("192.0.2.1", 1)
    assert address_of(("192.0.2.1", 1)) == ("192.0.2.1", 1)


def test_sources_are_ipv4_addresses_and_ipv6_networks() -> None:
    """A host has 2**64 IPv6 addresses, and one /64."""
    assert source_of(("192.0.2.1", 1)) == source_of(("192.0.2.1", 2))
    assert source_of(("192.0.2.1", 1)) != source_of(("192.0.2.2", 1))
    assert source_of(("2001:db8::1", 1)) == source_of(("2001:db8::2", 1))
    assert source_of(("2001:db8::1", 1)) != source_of(("2001:db8:0:1::1", 1))
    assert source_of(("fe80::1%3", 1)) == source_of(("fe80::2%3", 1))
