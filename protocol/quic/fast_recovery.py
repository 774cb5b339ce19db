"""What was sent, acknowledged and paced by the train instead of by the packet.

The library's bookkeeping stays the judge: it measures round trips, detects losses and
ends up in the same state. It is only spared work that is the same for a whole run of
packets: one small record each, one delivery call per contiguous run of a stream.
"""

from typing import Any, Final, NamedTuple

from aioquic import tls
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicDeliveryHandler, QuicDeliveryState
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import QuicPacketPacer, QuicPacketRecovery, QuicPacketSpace
from aioquic.quic.stream import QuicStreamSender

MIN_BURST: Final = 16
"""Datagrams that may leave at once whatever the rate: the library's own allowance."""

BURST_TIME: Final = 0.002
"""Seconds of the rate that may leave at once: a timer is a millisecond late by nature."""

MIN_PAUSE: Final = 0.001
"""Seconds to wait at most for a used-up allowance to grow before looking again."""

GAIN: Final = 1.25
"""How much faster than a window per round trip to send (RFC 9002, section 7.7)."""

SCATTERED: Final = 64
"""Missing packet numbers among those tracked above which the library walks them itself."""


class _SentFields(NamedTuple):
    packet_number: int
    sent_time: float
    sent_bytes: int
    sender: QuicStreamSender
    start: int
    stop: int
    fin: bool


class SentData(_SentFields):
    """A packet that holds one frame of one stream, with all the library asks of a packet.

    Args:
        packet_number: Its number.
        sent_time: When it left.
        sent_bytes: Its size.
        sender: The sending half of the stream.
        start: Offset of the frame's first byte.
        stop: Offset after its last.
        fin: Whether the frame ends the stream.
    """

    __slots__ = ()

    epoch = tls.Epoch.ONE_RTT
    in_flight = True
    is_ack_eliciting = True
    is_crypto_packet = False
    packet_type = QuicPacketType.ONE_RTT

    @property
    def delivery_handlers(self) -> list[tuple[QuicDeliveryHandler, Any]]:
        """What to call when the packet's fate is known."""
        return [(self.sender.on_data_delivery, (self.start, self.stop, self.fin))]


class Departed(NamedTuple):
    """What a congestion controller must know of packets that left together."""

    sent_time: float
    sent_bytes: int


class BatchPacer(QuicPacketPacer):
    """Lets as much leave at once as a train holds, at the same rate over time.

    The library's pacer allows 16 packets, then waits for a timer that cannot be shorter
    than a millisecond: 23 MB/s and no more.
    """

    def next_send_time(self, now: float) -> float | None:  # type: ignore[override]  # the library returns None, too
        if self.packet_time is None:
            return None
        self.update_bucket(now=now)
        if self.bucket_time > 0:
            return None
        return now + max(self.packet_time, min(self.bucket_max / 2, MIN_PAUSE))

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        super().update_rate(int(GAIN * congestion_window), smoothed_rtt)
        assert self.packet_time is not None
        self.bucket_max = max(MIN_BURST * self.packet_time, BURST_TIME)
        self.bucket_time = min(self.bucket_time, self.bucket_max)

    def allowance(self) -> int | None:
        """Return how many datagrams may leave now; None: any number."""
        if self.packet_time is None:
            return None
        return max(1, int(self.bucket_time / self.packet_time))

    def update_after_train(self, count: int) -> None:
        """Take notice that *count* datagrams left."""
        if self.packet_time is not None:
            self.bucket_time = max(0.0, self.bucket_time - count * self.packet_time)


class BatchRecovery(QuicPacketRecovery):
    """Takes acknowledgements of whole runs; all but the newest packet of each."""

    def on_ack_received(
        self, *, ack_rangeset: RangeSet, ack_delay: float, now: float, space: QuicPacketSpace
    ) -> None:
        if len(space.sent_packets) > 1:
            self._take_acknowledged(ack_rangeset, now, space)
        # What is left is the newest packet: round-trip time, loss detection, timers.
        super().on_ack_received(
            ack_rangeset=ack_rangeset, ack_delay=ack_delay, now=now, space=space
        )

    def _take_acknowledged(  # noqa: C901  # one loop over packets
        self, ranges: RangeSet, now: float, space: QuicPacketSpace
    ) -> None:
        sent = space.sent_packets
        first = next(iter(sent))
        last = next(reversed(sent)) + 1
        if last - first > len(sent) + SCATTERED:
            return
        # The peer chooses the ranges; clipped, all of them together are no more than
        # what is tracked.
        spans = [
            (max(r.start, first), min(r.stop, last))
            for r in ranges
            if r.start < last and r.stop > first
        ]
        newest = _newest(spans, sent)
        if newest is None or not sent[newest].is_ack_eliciting:
            # Whether a round trip may be measured depends on more than one packet.
            return
        acknowledge: Any = self._cc.on_packet_acked
        take = sent.pop
        eliciting = 0
        # A contiguous run of one stream, not reported yet.
        sender: QuicStreamSender | None = None
        start = stop = 0
        fin = False
        for low, high in spans:
            for number in range(low, min(high, newest)):
                packet: Any = take(number, None)
                if packet is None:
                    continue
                if packet.__class__ is SentData:
                    eliciting += 1
                    acknowledge(packet=packet, now=now)
                    _, _, _, its_sender, its_start, its_stop, its_fin = packet
                    if its_sender is sender and its_start == stop:
                        stop = its_stop
                        fin = fin or its_fin
                        continue
                    if sender is not None:
                        sender.on_data_delivery(QuicDeliveryState.ACKED, start, stop, fin)
                    sender, start, stop, fin = its_sender, its_start, its_stop, its_fin
                    continue
                if packet.is_ack_eliciting:
                    eliciting += 1
                if packet.in_flight:
                    acknowledge(packet=packet, now=now)
                for handler, arguments in packet.delivery_handlers:
                    handler(QuicDeliveryState.ACKED, *arguments)
        if sender is not None:
            sender.on_data_delivery(QuicDeliveryState.ACKED, start, stop, fin)
        space.ack_eliciting_in_flight -= eliciting


def _newest(spans: list[tuple[int, int]], sent: dict[int, Any]) -> int | None:
    for low, high in reversed(spans):
        for number in range(high - 1, low - 1, -1):
            if number in sent:
                return number
    return None
