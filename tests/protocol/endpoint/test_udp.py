"""The socket sends and receives in batches, with the kernel's help and without."""

import errno
import select
import socket
from typing import Any

import pytest

from protocol.endpoint.paths import Address
from protocol.endpoint.udp import LINUX, MAX_PENDING, UdpSocket
from protocol.quic.trains import Train, couple

IP_RECVTTL = 12
"""Linux; Python 3.11 does not name it."""

offload = pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])


def receive(udp: UdpSocket, count: int) -> list[tuple[Address, bytes]]:
    """Return *count* datagrams and where they came from."""
    found: list[tuple[Address, bytes]] = []
    while len(found) < count:
        readable, _, _ = select.select([udp], [], [], 5)
        assert readable, f"{len(found)} of {count} datagrams arrived"
        for source, run in udp.recv_batch(64):
            found += [(source, data) for data in run]
    return found


class FullSocket:
    """A kernel socket that takes *room* datagrams and then none."""

    def __init__(self, room: int, error: int = errno.EAGAIN) -> None:
        self.room = room
        self.error = error
        self.taken: list[bytes] = []

    def sendmsg(self, buffers: list[bytes], ancillary: Any, flags: int, address: Any) -> None:
        if self.room == 0:
            raise OSError(self.error, "no")
        self.room -= 1
        self.taken.append(b"".join(buffers))

    def sendto(self, data: bytes, address: Any) -> None:
        self.sendmsg([data], (), 0, address)

    def close(self) -> None:
        pass


def with_kernel(udp: UdpSocket, kernel: Any) -> None:
    """Put *kernel* in the place of the real socket."""
    udp._socket.close()
    udp._socket = kernel


@offload
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_trains_arrive_as_the_datagrams_they_were(host: str, offload: bool) -> None:
    """Boundaries, order and source survive segmentation on both sides."""
    sender, receiver = (UdpSocket((host, 0), offload=offload) for _ in range(2))
    datagrams = [bytes([i]) * 1200 for i in range(100)] + [b"short"]

    sender.send(couple(list(datagrams)), receiver.address)
    found = receive(receiver, len(datagrams))

    assert [data for _, data in found] == datagrams
    assert {source for source, _ in found} == {sender.address}
    assert receiver.recv_batch(64) == []
    sender.close()
    receiver.close()


@pytest.mark.skipif(not LINUX, reason="UDP_SEGMENT is Linux's")
def test_the_kernels_help_is_used_where_it_is_wanted() -> None:
    """And only there."""
    helped, plain = UdpSocket(("127.0.0.1", 0)), UdpSocket(("127.0.0.1", 0), offload=False)

    assert (helped.gso, helped.gro) == (True, True)
    assert (plain.gso, plain.gro) == (False, False)
    helped.close()
    plain.close()


@offload
def test_a_batch_ends_at_its_limit(offload: bool) -> None:
    """So that sending gets its turn; the rest stays for the next call."""
    sender, receiver = (UdpSocket(("127.0.0.1", 0), offload=offload) for _ in range(2))
    for i in range(10):
        sender.send_one(bytes([i]) * (10 + i), receiver.address)

    batch = receiver.recv_batch(4)

    assert sum(len(run) for _, run in batch) == 4
    assert len(receive(receiver, 6)) == 6
    sender.close()
    receiver.close()


@offload
def test_what_a_full_buffer_refuses_is_sent_later_in_order(offload: bool) -> None:
    """Nothing is lost, nothing twice, also in the middle of a train."""
    udp = UdpSocket(("127.0.0.1", 0), offload=offload)
    kernel = FullSocket(room=2)
    with_kernel(udp, kernel)
    datagrams = [bytes([i]) * 100 for i in range(130)]

    udp.send(couple(list(datagrams)), ("127.0.0.1", 9))
    assert udp.is_full
    udp.send_one(b"last", ("127.0.0.1", 9))
    assert not udp.flush()
    kernel.room = 1000
    assert udp.flush()

    assert not udp.is_full
    assert b"".join(kernel.taken) == b"".join(datagrams) + b"last"
    assert udp.lost == 0


def test_the_queue_of_a_full_buffer_is_bounded() -> None:
    """What comes on top is lost, as on any wire."""
    udp = UdpSocket(("127.0.0.1", 0))
    with_kernel(udp, FullSocket(room=0))

    for _ in range(MAX_PENDING + 3):
        udp.send_one(b"x", ("127.0.0.1", 9))

    assert udp.lost == 3
    udp.close()


@offload
def test_what_the_network_refuses_is_lost_and_counted(offload: bool) -> None:
    """A datagram too large for the interface, no route, a firewall: QUIC repeats it."""
    udp = UdpSocket(("127.0.0.1", 0), offload=offload)
    with_kernel(udp, FullSocket(room=0, error=errno.EMSGSIZE))

    udp.send(couple([bytes(1400)] * 3), ("127.0.0.1", 9))
    udp.send_one(b"x", ("127.0.0.1", 9))

    assert udp.lost == 4
    assert not udp.is_full


@offload
def test_an_error_that_is_no_loss_is_raised(offload: bool) -> None:
    """A closed socket is a bug."""
    udp = UdpSocket(("127.0.0.1", 0), offload=offload)
    with_kernel(udp, FullSocket(room=0, error=errno.EBADF))

    with pytest.raises(OSError, match="no"):
        udp.send(couple([bytes(100)] * 2), ("127.0.0.1", 9))
    with pytest.raises(OSError, match="no"):
        udp.send_one(b"x", ("127.0.0.1", 9))


class NoSegmentation(FullSocket):
    """A device that cannot cut trains."""

    def sendmsg(self, buffers: list[bytes], ancillary: Any, flags: int, address: Any) -> None:
        if ancillary:
            raise OSError(errno.EIO, "no")
        super().sendmsg(buffers, ancillary, flags, address)


@pytest.mark.skipif(not LINUX, reason="UDP_SEGMENT is Linux's")
def test_a_device_that_cannot_cut_trains_gets_single_datagrams() -> None:
    """From the first refusal on, and without losing that train."""
    udp = UdpSocket(("127.0.0.1", 0))
    kernel = NoSegmentation(room=10)
    with_kernel(udp, kernel)

    udp.send([Train([b"h1", b"body", b"h2", b"end"], 6, 2, 11)], ("127.0.0.1", 9))

    assert kernel.taken == [b"h1body", b"h2end"]
    assert not udp.gso


def test_a_single_datagram_may_come_in_parts() -> None:
    """Header and body, sent without joining."""
    sender, receiver = UdpSocket(("127.0.0.1", 0)), UdpSocket(("127.0.0.1", 0))

    sender.send([Train([b"head", b"body"], 8, 1, 8)], receiver.address)

    assert receive(receiver, 1) == [(sender.address, b"headbody")]
    sender.close()
    receiver.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_datagram_can_have_its_own_time_to_live(host: str) -> None:
    """A low one opens the own router and dies before the other (network.md, 6.5)."""
    udp, receiver = UdpSocket((host, 0)), UdpSocket((host, 0))
    level, option, cmsg, report = (
        (socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TTL, IP_RECVTTL)
        if host == "127.0.0.1"
        else (
            socket.IPPROTO_IPV6,
            socket.IPV6_UNICAST_HOPS,
            socket.IPV6_HOPLIMIT,
            socket.IPV6_RECVHOPLIMIT,
        )
    )
    receiver._socket.setsockopt(level, report, 1)
    usual = udp._socket.getsockopt(level, option)

    udp.send_one(b"open", receiver.address, ttl=3)
    udp.send_one(b"ping", receiver.address)

    seen = []
    for _ in range(2):
        select.select([receiver], [], [], 5)
        data, ancillary, _, _ = receiver._socket.recvmsg(100, 100)
        ttl = [int.from_bytes(v[:4], "little") for _, kind, v in ancillary if kind == cmsg]
        seen.append((data, ttl))
    assert seen == [(b"open", [3]), (b"ping", [usual])]
    udp.close()
    receiver.close()


def test_a_refused_low_time_to_live_is_a_lost_datagram() -> None:
    """The usual one is restored all the same."""
    udp = UdpSocket(("127.0.0.1", 0))

    udp.send_one(b"x", ("255.255.255.255", 9), ttl=3)

    assert udp.lost == 1
    assert udp._socket.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) != 3
    udp.close()


def test_ipv6_sockets_leave_ipv4_alone() -> None:
    """One socket per family on the same port."""
    four = UdpSocket(("0.0.0.0", 0))  # noqa: S104  # all interfaces on purpose
    six = UdpSocket(("::", four.address[1]))

    assert four.address[1] == six.address[1]
    assert (four.is_ipv6, six.is_ipv6) == (False, True)
    four.close()
    six.close()


def test_link_local_addresses_keep_their_interface() -> None:
    """The zone stands in the host, and beside it for the system."""
    udp = UdpSocket(("::1", 0))
    index, name = socket.if_nameindex()[0]

    assert udp._wire((f"fe80::1%{index}", 7)) == ("fe80::1", 7, 0, index)
    assert udp._wire((f"fe80::1%{name}", 7)) == ("fe80::1", 7, 0, index)
    assert udp._plain(("fe80::1%eth0", 7, 0, 3)) == ("fe80::1%3", 7)
    assert udp._plain(("::1", 7, 0, 0)) == ("::1", 7)
    udp.close()


def test_empty_datagrams_and_late_errors_are_passed_over() -> None:
    """Neither is anything to anybody; a flood of them ends the batch like any other."""
    sender, receiver = UdpSocket(("127.0.0.1", 0)), UdpSocket(("127.0.0.1", 0))
    for data in (b"", b"", b"x"):
        sender.send_one(data, receiver.address)
    select.select([receiver], [], [], 5)

    assert receiver.recv_batch(2) == []
    assert receive(receiver, 1) == [(sender.address, b"x")]
    sender.close()
    receiver.close()


class Refused:
    """A kernel socket that reports an old datagram's fate."""

    def recvmsg(self, size: int, space: int) -> Any:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "no")


def test_a_reported_fate_is_no_datagram() -> None:
    """ICMP errors of earlier datagrams end nothing."""
    udp = UdpSocket(("127.0.0.1", 0))
    with_kernel(udp, Refused())

    assert udp.recv_batch(3) == []


def test_an_address_in_use_leaves_no_socket_open() -> None:
    """The error says so; nothing leaks (warnings are errors here)."""
    first = UdpSocket(("127.0.0.1", 0))

    with pytest.raises(OSError, match="in use"):
        UdpSocket(first.address)

    first.close()
