"""One non-blocking UDP socket, read and written in batches.

With the kernel's help one call carries up to 64 datagrams (UDP_SEGMENT, UDP_GRO:
0.7 and 0.14 microseconds each instead of 4.5 and 1.5); without it, one at a time.
"""

import errno
import socket
import struct
import sys
from collections import deque
from collections.abc import Sequence
from typing import Final

from protocol.endpoint.paths import Address
from protocol.limits import MIB
from protocol.quic.trains import Train

SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104
"""Linux, include/uapi/linux/udp.h; Python 3.11 does not name them."""

SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33
"""Linux, include/uapi/asm-generic/socket.h."""

IP_MTU_DISCOVER: Final = 10
IPV6_MTU_DISCOVER: Final = 23
PMTUDISC_PROBE: Final = 3
"""Linux: set the don't-fragment bit and ignore what the kernel believes about the path."""

BUFFER_SIZE: Final = 8 * MIB
"""Bytes asked for each way: 40 ms of a gigabit while this process does something else."""

LARGEST: Final = 65_535
"""Bytes one receive call may return, merged datagrams included."""

MAX_PENDING: Final = 4096
"""Trains kept while the kernel's buffer is full; what comes on top is lost, as on any wire."""

LINUX: Final = sys.platform == "linux"
"""Elsewhere these numbers mean other options."""

_GRO_SPACE: Final = socket.CMSG_SPACE(4) if hasattr(socket, "CMSG_SPACE") else 0
_BUGS: Final = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EDESTADDRREQ})
"""Errors of this program; every other is what the network or a firewall did to a datagram,
which is lost then like any other."""


def open_sockets(binds: Sequence[Address], *, offload: bool = True) -> list["UdpSocket"]:
    """Return sockets bound to *binds*; one that cannot be bound is left out.

    A second family takes the port the first got, where that is free.

    Raises:
        OSError: If not even one of them can be bound.
    """
    sockets: list[UdpSocket] = []
    failure: OSError | None = None
    for host, wanted in binds:
        ports = [sockets[0].address[1], 0] if sockets and not wanted else [wanted]
        for port in ports:
            try:
                sockets.append(UdpSocket((host, port), offload=offload))
            except OSError as exc:
                failure = exc
            else:
                break
    if not sockets:
        raise failure or OSError("nothing to bind")
    return sockets


class UdpSocket:
    """A bound UDP socket of one address family.

    Args:
        address: Host and port to bind; port 0 lets the system choose.
        offload: Whether to use UDP_SEGMENT and UDP_GRO where the kernel has them.

    Attributes:
        address: Where it is bound.
        lost: Datagrams the system refused to send.
    """

    def __init__(self, address: Address, *, offload: bool = True) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._pending: deque[tuple[Train, Address]] = deque()
        self.lost = 0
        self.is_ipv6 = family == socket.AF_INET6
        try:
            self._prepare()
            self.gro = offload and LINUX and self._try(SOL_UDP, UDP_GRO, 1)
            self.gso = offload and LINUX and self._try(SOL_UDP, UDP_SEGMENT, 0)
            self._socket.bind(self._wire(address))
        except BaseException:
            self._socket.close()
            raise
        self.address: Address = self._socket.getsockname()[:2]

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._pending.clear()
        self._socket.close()

    def recv_batch(self, limit: int) -> list[tuple[Address, list[bytes]]]:
        """Return what has arrived: runs of datagrams that came from one address.

        Args:
            limit: Datagrams after which no further run is begun.
        """
        batch: list[tuple[Address, list[bytes]]] = []
        receive = self._socket.recvmsg
        space = _GRO_SPACE if self.gro else 0
        count = 0
        while count < limit:
            try:
                data, ancillary, _flags, source = receive(LARGEST, space)
            except BlockingIOError:
                break
            except OSError:
                # An earlier datagram's fate, reported late; nothing was received.
                count += 1
                continue
            if not data:
                count += 1
                continue
            segment = 0
            for level, kind, value in ancillary:
                if level == SOL_UDP and kind == UDP_GRO:
                    segment = struct.unpack_from("=i", value)[0]
            if 0 < segment < len(data):
                run = [data[at : at + segment] for at in range(0, len(data), segment)]
            else:
                run = [data]
            count += len(run)
            batch.append((self._plain(source) if self.is_ipv6 else source, run))
        return batch

    def send(self, trains: list[Train], address: Address) -> None:
        """Send *trains*, or keep them until ``flush`` when the kernel's buffer is full."""
        if self._pending:
            self._keep(trains, address)
            return
        for index, train in enumerate(trains):
            if not self._send_train(train, address):
                self._keep(trains[index:], address)
                return

    def send_one(self, data: bytes, address: Address, ttl: int | None = None) -> None:
        """Send one datagram, with its own time to live if one is given; may lose it."""
        if ttl is None:
            self.send([Train([data], len(data), 1, len(data))], address)
            return
        level, option = (
            (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)
            if self.is_ipv6
            else (socket.IPPROTO_IP, socket.IP_TTL)
        )
        usual = self._socket.getsockopt(level, option)
        self._socket.setsockopt(level, option, ttl)
        try:
            self._socket.sendto(data, self._wire(address))
        except OSError:
            self.lost += 1
        finally:
            self._socket.setsockopt(level, option, usual)

    def flush(self) -> bool:
        """Send what was kept; return whether nothing is left."""
        while self._pending:
            if not self._send_train(*self._pending[0]):
                return False
            self._pending.popleft()
        return True

    @property
    def is_full(self) -> bool:
        """Whether datagrams wait for the kernel's buffer."""
        return bool(self._pending)

    def _send_train(self, train: Train, address: Address) -> bool:
        wire = self._wire(address)
        if train.count > 1 and not self.gso:
            return self._send_singly(train, address)
        try:
            if train.count > 1:
                control = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", train.segment))]
                self._socket.sendmsg(train.buffers, control, 0, wire)
            elif len(train.buffers) == 1:
                self._socket.sendto(train.buffers[0], wire)
            else:
                self._socket.sendmsg(train.buffers, (), 0, wire)
        except BlockingIOError:
            return False
        except OSError as exc:
            if train.count > 1 and exc.errno in {errno.EIO, errno.EINVAL}:
                lost = self.lost
                sent = self._send_singly(train, address)
                # Singly it went: this device cannot cut trains.
                self.gso = self.lost > lost
                return sent
            if exc.errno in _BUGS:
                raise
            self.lost += train.count
        return True

    def _send_singly(self, train: Train, address: Address) -> bool:
        wire = self._wire(address)
        parts = len(train.buffers) // train.count
        while train.buffers:
            head = train.buffers[:parts]
            try:
                self._socket.sendmsg(head, (), 0, wire)
            except BlockingIOError:
                return False
            except OSError as exc:
                if exc.errno in _BUGS:
                    raise
                self.lost += 1
            # What was sent leaves the train, so that a full buffer resumes in the middle.
            del train.buffers[:parts]
            train.count -= 1
        return True

    def _keep(self, trains: list[Train], address: Address) -> None:
        for train in trains:
            if len(self._pending) < MAX_PENDING:
                self._pending.append((train, address))
            else:
                self.lost += train.count

    def _wire(self, address: Address) -> tuple[str, int] | tuple[str, int, int, int]:
        """Return *address* as the system wants it: the interface beside the host."""
        host, percent, zone = address[0].partition("%")
        if not percent:
            return address
        scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
        return host, address[1], 0, scope

    @staticmethod
    def _plain(source: tuple[str, int, int, int]) -> Address:
        host, port, _flow, scope = source
        if scope:
            host = f"{host.partition('%')[0]}%{scope}"
        return host, port

    def _prepare(self) -> None:
        self._socket.setblocking(False)
        if self.is_ipv6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if LINUX:
            level, option = (
                (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER)
                if self.is_ipv6
                else (socket.IPPROTO_IP, IP_MTU_DISCOVER)
            )
            self._try(level, option, PMTUDISC_PROBE)
        for forced, usual in (
            (SO_RCVBUFFORCE, socket.SO_RCVBUF),
            (SO_SNDBUFFORCE, socket.SO_SNDBUF),
        ):
            # The first needs a privilege; the second is cut to the system's maximum.
            if not (LINUX and self._try(socket.SOL_SOCKET, forced, BUFFER_SIZE)):
                self._try(socket.SOL_SOCKET, usual, BUFFER_SIZE)

    def _try(self, level: int, option: int, value: int) -> bool:
        try:
            self._socket.setsockopt(level, option, value)
        except OSError:
            return False
        return True
