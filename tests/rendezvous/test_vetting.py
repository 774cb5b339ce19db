import pytest

from protocol.address import from_sockaddr
from protocol.limits import MAX_ADDRESSES
from protocol.messages.rendezvous import AddressKind, Offer, OfferedAddress
from rendezvous.vetting import vetted

OBSERVED = from_sockaddr(("8.8.8.8", 1000))
LOOPBACK = from_sockaddr(("127.0.0.1", 1000))


def offering(*hosts: str) -> Offer:
    addresses = tuple(
        OfferedAddress(kind=AddressKind.HOST, address=from_sockaddr((host, 4000))) for host in hosts
    )
    return Offer(generation=1, tag=b"tag!", probe_key=bytes(32), addresses=addresses)


def hosts(offer: Offer) -> list[bytes]:
    return [each.address.host for each in offer.addresses]


def test_the_observed_address_comes_first_and_once() -> None:
    """It is the one the node knows to be true."""
    offered = offering("192.168.1.2")
    own = OfferedAddress(kind=AddressKind.HOST, address=OBSERVED)
    offer = Offer(
        generation=1, tag=b"tag!", probe_key=bytes(32), addresses=(own, *offered.addresses)
    )

    kept = vetted(offer, OBSERVED, loopback_allowed=False)

    assert kept.addresses == (
        OfferedAddress(kind=AddressKind.REFLEXIVE, address=OBSERVED),
        *offered.addresses,
    )
    assert (kept.generation, kept.tag) == (1, b"tag!")


def test_only_three_public_addresses_are_passed_on() -> None:
    """The observed one is one of them; private ones are not counted."""
    offer = offering("9.9.9.1", "9.9.9.2", "10.0.0.1", "9.9.9.3", "10.0.0.2")

    kept = vetted(offer, OBSERVED, loopback_allowed=False)

    assert hosts(kept)[1:] == hosts(offering("9.9.9.1", "9.9.9.2", "10.0.0.1", "10.0.0.2"))


@pytest.mark.parametrize("host", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "::1", "fe80::1"])
def test_nobody_is_sent_where_no_single_stranger_is(host: str) -> None:
    """T7, at the node already."""
    assert hosts(vetted(offering(host), OBSERVED, loopback_allowed=True)) == [OBSERVED.host]


def test_loopback_is_passed_on_among_peers_of_one_machine() -> None:
    """Both conditions hold: the node is for it, and the peer itself came that way."""
    offer = offering("127.0.0.1")

    assert len(hosts(vetted(offer, LOOPBACK, loopback_allowed=True))) == 2
    assert len(hosts(vetted(offer, LOOPBACK, loopback_allowed=False))) == 1


def test_an_offer_stays_within_its_bound() -> None:
    """The observed address takes the place of the last one."""
    offer = offering(*[f"10.0.0.{number}" for number in range(MAX_ADDRESSES)])

    assert len(vetted(offer, OBSERVED, loopback_allowed=False).addresses) == MAX_ADDRESSES
