"""Where a peer is: addresses, and the one opaque object a connection knows its peer by.

QUIC's own migration follows a moving client and loses a moving server; between two
NATs it loses both. So QUIC is told one unchanging object per peer, and the owner of
the connection changes the address inside (network.md, sections 2.5 and 4.1).
"""

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from protocol.limits import MIN_DATAGRAM

if TYPE_CHECKING:
    from protocol.endpoint.udp import UdpSocket

Address = tuple[str, int]
"""A UDP address: numeric host, with ``%`` and the interface where it is link-local; port."""


class Via(NamedTuple):
    """An address reached in a special way.

    Args:
        address: Where the datagrams go.
        prefix: Bytes put before every QUIC packet: the header of a relaying member.
        socket: The socket to use instead of the endpoint's own.
    """

    address: Address
    prefix: bytes = b""
    socket: "UdpSocket | None" = None


Remote = Address | Via
"""Where datagrams go to or came from."""


class Path:
    """A peer as QUIC knows it; the owner may change ``remote`` at any time.

    Attributes:
        remote: Where datagrams are sent now.
        datagram_size: Bytes of UDP payload sent at most; set it with
            ``Connection.set_datagram_size``.
        last_received: Loop time of the last packet that authenticated; 0.0 before.
        last_sent: Loop time of the last transmission; 0.0 before.
        bytes_received: UDP payload bytes taken for this peer.
        bytes_sent: UDP payload bytes sent to it.
        seen_from: Where the last packet that authenticated came from. Another place
            than ``remote`` is a hint that the peer has moved, for the owner to check.
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "datagram_size",
        "last_received",
        "last_sent",
        "remote",
        "seen_from",
    )

    def __init__(self, remote: Remote, *, datagram_size: int = MIN_DATAGRAM) -> None:
        self.remote = remote
        self.datagram_size = datagram_size
        self.last_received = 0.0
        self.last_sent = 0.0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.seen_from: Remote | None = None

    def __repr__(self) -> str:
        return f"<Path to {address_of(self.remote)}>"


def address_of(remote: Remote) -> Address:
    """Return the UDP address of *remote*."""
    return remote.address if isinstance(remote, Via) else remote


def source_of(address: Address) -> bytes:
    """Return what limits count as one source: an IPv4 address or an IPv6 /64."""
    host = ipaddress.ip_address(address[0])
    return host.packed if host.version == 4 else host.packed[:8]  # noqa: PLR2004  # IP version
