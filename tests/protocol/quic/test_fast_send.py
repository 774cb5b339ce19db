"""Trains: what they hold, what holds them back, who goes first, what the library still does."""

from typing import Any

import pytest
from aioquic.quic.connection import QuicConnection
from hypothesis import given
from hypothesis import strategies as st

from protocol.limits import KIB
from protocol.quic.connection import BoundedQuicConnection
from protocol.quic.fast_send import variable
from protocol.quic.trains import MAX_TRAIN_BYTES, MAX_TRAIN_DATAGRAMS
from tests.harness.quic_pair import QuicPair, deliver, sent_by, stock_client

OPEN = 0
"""A stream the client has opened: its limits are known, so its data travels alone."""

WIDE = 1 << 20
"""Bytes of a congestion window that holds nothing back."""


@pytest.fixture
def pair() -> QuicPair:
    """Two ends that know each other, all tickets and limits exchanged."""
    connected = QuicPair()
    connected.connect()
    connected.client.authenticated()
    connected.server.authenticated()
    connected.client.send_stream_data(OPEN, b"")
    connected.run()
    connected.client._loss._cc.congestion_window = WIDE
    connected.now += 1.0
    # The last acknowledgement.
    sent_by(connected.client, connected.now)
    return connected


def unpaced(machine: BoundedQuicConnection) -> None:
    """Let the rate hold nothing back."""
    machine._loss._pacer.packet_time = None


@given(st.integers(0, (1 << 62) - 1))
def test_variable_integers_are_those_of_the_library(number: int) -> None:
    """RFC 9000, section 16, each in its shortest form."""
    from aioquic._buffer import Buffer

    buffer = Buffer(capacity=8)
    buffer.push_uint_var(number)

    assert variable(number) == buffer.data


def test_there_is_no_larger_variable_integer() -> None:
    """A programming error, not one of the wire."""
    with pytest.raises(AssertionError):
        variable(1 << 62)


def test_bulk_data_leaves_in_trains(pair: QuicPair) -> None:
    """Equal datagrams of the full size but the last, within what one call carries."""
    unpaced(pair.client)
    pair.client.send_stream_data(OPEN, bytes(200 * KIB))

    trains = pair.client.send_batch(pair.now)

    assert pair.client.sent_fast == sum(train.count for train in trains)
    assert all(train.segment == 1200 for train in trains)
    assert max(train.count for train in trains) <= MAX_TRAIN_DATAGRAMS
    assert max(train.size for train in trains) <= MAX_TRAIN_BYTES
    assert all(train.size == sum(map(len, train.buffers)) for train in trains)


def test_a_short_message_and_the_end_share_a_packet(pair: QuicPair) -> None:
    """And the stream is over at both ends afterwards."""
    pair.client.send_stream_data(OPEN, b"hello", end_stream=True)

    (data,) = sent_by(pair.client, pair.now)
    deliver(pair.server, data, pair.now)
    pair.run()

    assert pair.received(pair.server) == 5
    assert pair.server._streams[OPEN].receiver.is_finished
    assert pair.client._streams[OPEN].sender.is_finished


def test_the_bare_end_of_a_stream_is_sent_by_the_library(pair: QuicPair) -> None:
    """It was written after all data had left."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, b"hello")
    pair.run()
    pair.client.send_stream_data(stream_id, b"", end_stream=True)

    pair.run()

    assert pair.client._streams[stream_id].sender.is_finished


@pytest.mark.parametrize("every", [2, 3, 7])
def test_what_is_lost_is_sent_again(pair: QuicPair, every: int) -> None:
    """All bytes arrive, and the books are settled."""
    seen = 0

    def lose(sender: QuicConnection, data: bytes) -> bool:
        nonlocal seen
        seen += sender is pair.client and len(data) > 100
        return sender is pair.client and len(data) > 100 and seen % every == 0

    pair.drop = lose
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(100_000), end_stream=True)

    pair.run(300)

    assert pair.received(pair.server) == 100_000
    assert pair.client._streams[stream_id].sender.is_finished
    assert pair.client.bytes_in_flight == 0


def test_the_peers_windows_are_kept(pair: QuicPair) -> None:
    """Nothing leaves beyond the stream's or the connection's."""
    unpaced(pair.client)
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(100_000))
    pair.client._streams[stream_id].max_stream_data_remote = 30_000
    pair.client._remote_max_data = pair.client._remote_max_data_used + 20_000

    pair.client.send_batch(pair.now)
    by_connection = pair.client._streams[stream_id].sender.highest_offset
    pair.client._remote_max_data += 50_000
    pair.client.send_batch(pair.now)

    assert by_connection == 20_000
    assert pair.client._streams[stream_id].sender.highest_offset == 30_000


def test_the_congestion_window_is_kept(pair: QuicPair) -> None:
    """To the byte; and a window smaller than one datagram still lets something out."""
    unpaced(pair.client)
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(100_000))
    pair.client._loss._cc.congestion_window = 5000

    pair.client.send_batch(pair.now)
    first = pair.client.bytes_in_flight
    again = pair.client.send_batch(pair.now)

    assert 3600 < first <= 5000
    assert again == []


def test_a_datagram_larger_than_the_window_does_not_wait_for_ever(pair: QuicPair) -> None:
    """Raised while the window is small: smaller datagrams go, then larger ones."""
    pair.client._loss._cc.congestion_window = 2400
    pair.client.set_datagram_size(16_383)
    pair.server.authenticated()
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(400_000))

    pair.run(200)

    assert pair.received(pair.server) == 400_000
    assert pair.sizes[pair.client] == 16_383


def test_the_datagram_size_may_fall_while_trains_are_under_way(pair: QuicPair) -> None:
    """What was lost in large packets is sent again in small ones."""
    pair.client.set_datagram_size(8952)
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(100_000))
    large = sent_by(pair.client, pair.now)

    pair.client.set_datagram_size(1200)
    pair.sizes[pair.client] = 0
    pair.run(200)

    assert max(map(len, large)) == 8952
    assert pair.sizes[pair.client] == 1200
    assert pair.received(pair.server) == 100_000


def test_a_short_message_overtakes_bulk_data(pair: QuicPair) -> None:
    """Control messages wait for nothing but what has left."""
    unpaced(pair.client)
    bulk = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(bulk, bytes(WIDE))
    pair.client.send_batch(pair.now)
    control = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(control, b"now")

    first, *_ = pair.client.send_batch(pair.now)

    assert pair.client._streams[control].sender.highest_offset == 3
    assert first.size < 100


def test_streams_of_bulk_data_share_alike(pair: QuicPair) -> None:
    """A train each, in turn."""
    unpaced(pair.client)
    pair.client._loss._cc.congestion_window = 8 * WIDE
    streams = []
    for _ in range(3):
        stream_id = pair.client.get_next_available_stream_id()
        pair.client.send_stream_data(stream_id, bytes(WIDE))
        streams.append(pair.client._streams[stream_id])

    for _ in range(6):
        pair.client.send_batch(pair.now)

    offsets = [stream.sender.highest_offset for stream in streams]
    assert min(offsets) > 0
    assert max(offsets) - min(offsets) <= MAX_TRAIN_BYTES


def test_many_short_messages_do_not_starve_bulk_data(pair: QuicPair) -> None:
    """A window of two datagrams, and two streams that always have one to send."""
    unpaced(pair.client)
    pair.client._loss._cc.congestion_window = 2400
    ids = []
    for _ in range(3):
        ids.append(pair.client.get_next_available_stream_id())
        pair.client.send_stream_data(ids[-1], b"")
    pair.client.send_stream_data(ids[0], bytes(100_000))

    for _ in range(6):
        for chatty in ids[1:]:
            pair.client.send_stream_data(chatty, bytes(1100))
        pair.client.send_batch(pair.now)
        pair.client._loss._cc.bytes_in_flight = 0

    assert pair.client._streams[ids[0]].sender.highest_offset >= 2000


def test_the_rate_is_kept_and_the_timer_says_when_to_go_on(pair: QuicPair) -> None:
    """A used-up allowance holds data back, not for ever."""
    pacer: Any = pair.client._loss._pacer
    pacer.packet_time = 0.001
    pacer.bucket_max = 0.016
    pacer.bucket_time = 0.016
    pacer.evaluation_time = pair.now
    pair.client.send_stream_data(OPEN, bytes(100_000))

    (train,) = pair.client.send_batch(pair.now)
    timer = pair.client.get_timer()
    held = pair.client.send_batch(pair.now)
    pair.now += 0.004
    later = sum(train.count for train in pair.client.send_batch(pair.now))

    assert train.count == 16
    assert timer is not None
    assert pair.now - 0.004 < timer <= pair.now
    assert held == []
    assert 4 <= later <= 5


def test_control_frames_go_before_the_data(pair: QuicPair) -> None:
    """In a packet of the library's own, even while streams have data."""
    unpaced(pair.client)
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(10_000))
    pair.client.send_ping(1)

    first, *_ = pair.client.send_batch(pair.now)

    assert first.size < 100
    assert pair.client._ping_pending == []
    assert pair.client._streams[stream_id].sender.highest_offset == 10_000


def test_a_stock_peer_understands_every_train() -> None:
    """On the wire it is QUIC: the library's own client talks to our server."""
    client = stock_client()
    pair = QuicPair(client=client)
    pair.connect()
    client.send_stream_data(0, bytes(30_000))
    pair.server.send_stream_data(1, bytes(60_000))

    pair.run(100)

    assert pair.received(pair.server) == 30_000
    assert pair.received(client) == 60_000
    assert pair.server.sent_fast > 40
    assert pair.server.taken_fast > 20


def test_new_keys_in_mid_stream(pair: QuicPair) -> None:
    """Both ends change them in turn; nothing is lost."""
    for side in (pair.client, pair.server, pair.client):
        stream_id = side.get_next_available_stream_id()
        side.send_stream_data(stream_id, bytes(40_000))
        pair.run(1)
        side.request_key_update()
        pair.run(40)

    assert pair.received(pair.server) == 80_000
    assert pair.received(pair.client) == 40_000
