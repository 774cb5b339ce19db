"""Which addresses are named and probed."""

from peer.traversal.candidates import MAX_PUBLIC, offered, to_probe
from protocol.limits import MAX_ADDRESSES
from protocol.messages.rendezvous import Address, AddressKind, OfferedAddress

LAN = Address(bytes([192, 168, 1, 7]), 47557)
LOOPBACK = Address(bytes([127, 0, 0, 1]), 47557)
SEEN = Address(bytes([203, 0, 113, 7]), 31000)


def named(kind: AddressKind, *addresses: Address) -> list[OfferedAddress]:
    return [OfferedAddress(kind=kind, address=address) for address in addresses]


def test_the_machine_itself_comes_last_among_its_hosts_and_repeats_go() -> None:
    """Hosts before what others saw; an address stands once."""
    assert offered([LOOPBACK, LAN], [SEEN, LAN]) == (
        *named(AddressKind.HOST, LAN, LOOPBACK),
        *named(AddressKind.REFLEXIVE, SEEN),
    )


def test_an_offer_is_bounded() -> None:
    """However many interfaces there are."""
    hosts = [Address(bytes([10, 0, 0, n]), 1) for n in range(1, 60)]

    assert len(offered(hosts, [SEEN])) == MAX_ADDRESSES


def test_loopback_is_probed_only_when_allowed() -> None:
    """T7: nobody makes us talk to ourselves."""
    theirs = named(AddressKind.HOST, LOOPBACK, LAN)

    assert to_probe(theirs, loopback_allowed=False) == tuple(theirs[1:])
    assert to_probe(theirs, loopback_allowed=True) == tuple(theirs)


def test_few_public_addresses_are_probed() -> None:
    """T7: an offer is no list of victims."""
    theirs = named(
        AddressKind.REFLEXIVE, *(Address(bytes([203, 0, 113, n]), 9) for n in range(1, 9))
    )

    assert to_probe(theirs, loopback_allowed=False) == tuple(theirs[:MAX_PUBLIC])


def test_addresses_that_are_no_hosts_are_never_probed() -> None:
    """T7: multicast, broadcast, nothing."""
    bad = [bytes([224, 0, 0, 1]), bytes([255, 255, 255, 255]), bytes(4), bytes(15) + b"\x01"]
    theirs = named(AddressKind.HOST, *(Address(host, 9) for host in bad))

    assert to_probe(theirs, loopback_allowed=False) == ()
