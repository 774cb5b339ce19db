"""Which addresses of an offer the node passes on (security.md, T7).

Nobody can be made to send datagrams to a third party by what a stranger offers: where the
node itself received packets from is certain, of the rest little is believed.
"""

from typing import Final

import msgspec

from protocol.address import is_loopback, is_probeable, is_public
from protocol.limits import MAX_ADDRESSES
from protocol.messages.rendezvous import Address, AddressKind, Offer, OfferedAddress

MAX_PUBLIC_ADDRESSES: Final = 3
"""Public addresses of an offer that are passed on (security.md, T7)."""


def vetted(offer: Offer, observed: Address, *, loopback_allowed: bool) -> Offer:
    """Return *offer* with what others may be sent to.

    Args:
        offer: As the peer sent it.
        observed: Where the node sees the peer, validated by QUIC; always the first address.
        loopback_allowed: Whether this node serves the peers of its own machine.
    """
    loopback = loopback_allowed and is_loopback(observed)
    kept = [OfferedAddress(kind=AddressKind.REFLEXIVE, address=observed)]
    public = int(is_public(observed))
    for each in offer.addresses:
        if each.address == observed or not is_probeable(each.address, loopback_allowed=loopback):
            continue
        public += is_public(each.address)
        if is_public(each.address) and public > MAX_PUBLIC_ADDRESSES:
            continue
        kept.append(each)
    return msgspec.structs.replace(offer, addresses=tuple(kept[:MAX_ADDRESSES]))
