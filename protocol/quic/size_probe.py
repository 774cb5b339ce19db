"""How large a datagram may be: tried on the connection itself, one padded ping a size.

A probe is no data: its loss tells something about the path's size and nothing about
congestion. What is larger than the path carries simply never arrives; when, later, even
what used to arrive does not any more, the size falls back to what every path carries.

Source: RFC 8899 (probing on the packetization layer) and RFC 9000, section 14.3.
"""

from collections.abc import Sequence
from typing import Any, Final

from aioquic import tls
from aioquic.quic.connection import QuicConnectionState
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder

from protocol.limits import MAX_DATAGRAM, MIN_DATAGRAM
from protocol.quic.connection import BoundedQuicConnection
from protocol.quic.trains import Train

SIZES: Final = (1452, 8952, MAX_DATAGRAM)
"""Bytes of UDP payload: Ethernet under IPv6, jumbo frames under IPv6, loopback."""

TRIES: Final = 2
"""Probes of one size: a single loss may have been bad luck."""

BLACK_HOLE: Final = 3
"""Probe timeouts in a row after which the size may be the reason."""


class SizeProber(BoundedQuicConnection):
    """Finds out how large datagrams may be, and notices when they no longer may."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._wanted: frozenset[int] = frozenset()
        self._untried: list[int] = []
        self._is_probing = False

    @property
    def datagram_size(self) -> int:
        """Bytes of UDP payload sent at most."""
        return self._max_datagram_size

    def probe_sizes(self, sizes: Sequence[int] = SIZES) -> None:
        """Try *sizes*, ascending, until one does not arrive; take over what does.

        None at all ends what is being tried: the owner knows better.
        """
        self._wanted = frozenset(sizes)
        self._untried = [size for size in sizes if size > self._max_datagram_size] * TRIES
        self._untried.sort()

    def send_batch(self, now: float) -> list[Train]:
        trains = super().send_batch(now)
        if self._untried and not self._is_probing and self._may_probe():
            trains.append(self._size_probe(self._untried.pop(0), now))
        return trains

    def handle_timer(self, now: float) -> None:
        super().handle_timer(now)
        if self._loss._pto_count >= BLACK_HOLE and self._max_datagram_size > MIN_DATAGRAM:
            self.set_datagram_size(MIN_DATAGRAM)
            # If it was something else, the way up is open again once the peer answers.
            self.probe_sizes()

    def _may_probe(self) -> bool:
        return (
            self._state is QuicConnectionState.CONNECTED
            and self._handshake_confirmed
            and not self._close_pending
            and not self._loss._pto_count
        )

    def _size_probe(self, size: int, now: float) -> Train:
        builder = QuicPacketBuilder(
            host_cid=self.host_cid,
            is_client=self._is_client,
            max_datagram_size=size,
            packet_number=self._packet_number,
            peer_cid=self._peer_cid.cid,
            peer_token=self._peer_token,
            spin_bit=self._spin_bit,
            version=self._version or 0,
        )
        builder.start_packet(QuicPacketType.ONE_RTT, self._cryptos[tls.Epoch.ONE_RTT])
        buffer = builder.start_frame(
            QuicFrameType.PING, handler=self._on_size_probe, handler_args=(size,)
        )
        buffer.push_bytes(bytes(builder.remaining_buffer_space))
        packet = builder._packet
        assert packet is not None
        # Its loss must not slow the connection down (RFC 9000, section 14.4).
        packet.in_flight = False
        self._is_probing = True
        ((data, _),) = self._flush_builder(
            builder=builder,
            network_path=self._network_paths[0],
            peer_cid=self._peer_cid.cid,
            now=now,
        )
        return Train([data], len(data), 1, len(data))

    def _on_size_probe(self, delivery: QuicDeliveryState, size: int) -> None:
        self._is_probing = False
        if delivery is QuicDeliveryState.ACKED:
            self._untried = [other for other in self._untried if other > size]
            if size > self._max_datagram_size and size in self._wanted:
                self.set_datagram_size(size)
        elif size not in self._untried:
            # The last try of this size; larger ones are in vain.
            self._untried.clear()
