"""Rates, allowances and acknowledgements of trains."""

from typing import Any

import pytest
from aioquic import tls
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.recovery import QuicPacketRecovery

from protocol.quic.fast_recovery import BURST_TIME, MIN_BURST, MIN_PAUSE, BatchPacer, SentData
from tests.harness.quic_pair import QuicPair


@pytest.fixture
def pacer() -> BatchPacer:
    """A pacer at 10 MB/s: 1200 bytes in 96 microseconds, a quarter more than the window."""
    made = BatchPacer(max_datagram_size=1200)
    made.update_rate(congestion_window=100_000, smoothed_rtt=0.01)
    return made


def test_the_rate_is_a_little_more_than_a_window_per_round_trip(pacer: BatchPacer) -> None:
    """RFC 9002, section 7.7."""
    assert pacer.packet_time == pytest.approx(1200 / 12_500_000)


def test_two_milliseconds_may_leave_at_once_or_sixteen_packets(pacer: BatchPacer) -> None:
    """What a late timer needs at a high rate, what the library grants at a low one."""
    fast = pacer.bucket_max
    pacer.update_rate(congestion_window=12_000, smoothed_rtt=0.1)
    assert pacer.packet_time is not None

    assert fast == BURST_TIME
    assert pacer.bucket_max == pytest.approx(MIN_BURST * pacer.packet_time)


def test_an_allowance_is_used_up_and_grows_again(pacer: BatchPacer) -> None:
    """No faster than the rate, whatever leaves at once."""
    pacer.update_bucket(now=1.0)
    allowed = pacer.allowance()
    assert allowed is not None

    pacer.update_after_train(allowed + 5)
    again_at = pacer.next_send_time(1.0)
    assert again_at is not None
    soon = pacer.next_send_time(again_at)

    assert allowed == int(BURST_TIME / (1200 / 12_500_000))
    assert again_at == pytest.approx(1.0 + MIN_PAUSE)
    assert soon is None


def test_without_a_measurement_nothing_is_held_back() -> None:
    """The first window leaves as the library lets it."""
    pacer = BatchPacer(max_datagram_size=1200)

    pacer.update_after_train(10)

    assert pacer.allowance() is None
    assert pacer.next_send_time(1.0) is None


def test_a_record_looks_like_a_packet_of_the_library() -> None:
    """Whatever the library may ask when a packet is lost or expires."""
    pair = QuicPair()
    pair.connect()
    sender = pair.client._crypto_streams[tls.Epoch.ONE_RTT].sender
    record = SentData(7, 1.5, 1200, sender, 10, 20, fin=False)

    ((handler, arguments),) = record.delivery_handlers

    assert (record.packet_number, record.sent_time, record.sent_bytes) == (7, 1.5, 1200)
    assert record.in_flight
    assert record.is_ack_eliciting
    assert not record.is_crypto_packet
    assert record.epoch == tls.Epoch.ONE_RTT
    assert (handler, arguments) == (sender.on_data_delivery, (10, 20, False))


def busy_pair() -> QuicPair:
    """A client with forty packets of two streams in flight."""
    pair = QuicPair()
    pair.connect()
    pair.server.authenticated()
    pair.run()
    pair.client._loss._cc.congestion_window = 1 << 20
    pair.client._loss._pacer.packet_time = None
    for _ in range(2):
        stream_id = pair.client.get_next_available_stream_id()
        pair.client.send_stream_data(stream_id, bytes(24_000), end_stream=True)
    pair.client.send_batch(pair.now)
    return pair


def acknowledge(pair: QuicPair, ranges: list[range]) -> Any:
    """Let the client hear that *ranges* arrived; return what it has in flight."""
    space = pair.client._spaces[tls.Epoch.ONE_RTT]
    pair.client._loss.on_ack_received(
        ack_rangeset=RangeSet(ranges), ack_delay=0.0, now=pair.now + 0.01, space=space
    )
    return space


def test_everything_acknowledged_at_once_settles_both_streams() -> None:
    """One call for each run of a stream, the ends included."""
    pair = busy_pair()
    last = pair.client._packet_number

    space = acknowledge(pair, [range(last)])

    assert space.sent_packets == {}
    assert space.ack_eliciting_in_flight == 0
    assert pair.client.bytes_in_flight == 0
    assert all(stream.sender.is_finished for stream in pair.client._streams.values())


def test_ranges_beyond_what_was_sent_cost_nothing() -> None:
    """The peer chooses the numbers; only what is tracked is looked at."""
    pair = busy_pair()
    last = pair.client._packet_number

    space = acknowledge(pair, [range(last - 3, 1 << 60)])

    assert last - 3 not in space.sent_packets


def test_widely_scattered_numbers_are_left_to_the_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its search does not depend on how far apart they are."""
    pair = busy_pair()
    space = pair.client._spaces[tls.Epoch.ONE_RTT]
    number, packet = space.sent_packets.popitem()
    space.sent_packets[number + 1_000_000] = packet._replace(packet_number=number + 1_000_000)
    seen: list[int] = []
    usual = QuicPacketRecovery.on_ack_received

    def count(self: QuicPacketRecovery, **arguments: Any) -> None:
        seen.append(len(arguments["space"].sent_packets))
        usual(self, **arguments)

    monkeypatch.setattr(QuicPacketRecovery, "on_ack_received", count)
    before = len(space.sent_packets)

    acknowledge(pair, [range(number + 2_000_000)])

    assert seen == [before]
    assert space.sent_packets == {}


def test_only_what_is_still_under_way_can_be_acknowledged() -> None:
    """Numbers acknowledged already change nothing."""
    pair = busy_pair()
    number = pair.client._packet_number - 2
    space = acknowledge(pair, [range(number, number + 1)])
    before = dict(space.sent_packets)

    acknowledge(pair, [range(number, number + 1)])

    assert number - 1 in before
    assert number + 1 in before
    assert space.sent_packets == before


def test_the_newest_is_looked_for_below_a_gap() -> None:
    """The topmost range may hold nothing that is still tracked."""
    pair = busy_pair()
    number = pair.client._packet_number - 2
    space = acknowledge(pair, [range(number, number + 1)])

    acknowledge(pair, [range(number - 2, number - 1), range(number, number + 1)])

    assert number - 2 not in space.sent_packets
    assert number - 1 in space.sent_packets
