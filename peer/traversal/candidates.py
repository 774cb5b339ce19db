"""Which addresses an offer names, and in which order they are tried."""

from collections.abc import Iterable

from protocol.address import is_loopback, is_probeable
from protocol.limits import MAX_ADDRESSES
from protocol.messages.rendezvous import Address, AddressKind, OfferedAddress

MAX_PUBLIC = 3
"""Reflexive or mapped addresses probed of one offer (security.md, T7)."""


def offered(hosts: Iterable[Address], reflexive: Iterable[Address]) -> tuple[OfferedAddress, ...]:
    """Return what an offer shall name, best first, without repeats.

    Args:
        hosts: Addresses of this machine's interfaces, each with the port of our socket.
        reflexive: What others saw our socket as.
    """
    found: dict[Address, AddressKind] = {}
    # A loopback address reaches only this machine: it helps when the others are on it too.
    ranked = sorted(hosts, key=lambda address: (is_loopback(address), len(address.host), address))
    for address in ranked:
        found.setdefault(address, AddressKind.HOST)
    for address in reflexive:
        found.setdefault(address, AddressKind.REFLEXIVE)
    named = tuple(OfferedAddress(kind=kind, address=address) for address, kind in found.items())
    return named[:MAX_ADDRESSES]


def to_probe(
    theirs: Iterable[OfferedAddress], *, loopback_allowed: bool
) -> tuple[OfferedAddress, ...]:
    """Return the addresses of another's offer that may be probed, in its order.

    At most ``MAX_PUBLIC`` of those that anybody could have put there to harm a third party.
    """
    chosen: list[OfferedAddress] = []
    public = 0
    for candidate in theirs:
        if not is_probeable(candidate.address, loopback_allowed=loopback_allowed):
            continue
        if candidate.kind is not AddressKind.HOST:
            public += 1
            if public > MAX_PUBLIC:
                continue
        chosen.append(candidate)
    return tuple(chosen)
