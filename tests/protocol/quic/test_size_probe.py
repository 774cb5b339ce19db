"""Datagrams grow as far as the path carries them, and shrink when it no longer does."""

import pytest
from aioquic.quic.connection import QuicConnection

from protocol.limits import MAX_DATAGRAM, MIN_DATAGRAM
from tests.harness.quic_pair import QuicPair


@pytest.fixture
def pair() -> QuicPair:
    """Two ends that know each other."""
    connected = QuicPair()
    connected.connect()
    connected.client.authenticated()
    connected.server.authenticated()
    connected.run()
    return connected


def narrow(pair: QuicPair, size: int) -> None:
    """Let the network lose everything larger than *size*."""

    def lose(sender: QuicConnection, data: bytes) -> bool:
        return len(data) > size

    pair.drop = lose


@pytest.mark.parametrize(
    ("carries", "found"), [(1500, 1452), (9000, 8952), (65_535, MAX_DATAGRAM), (1400, 1200)]
)
def test_the_largest_size_that_arrives_is_used(pair: QuicPair, carries: int, found: int) -> None:
    """Each end finds its own; a lost probe costs no speed."""
    narrow(pair, carries)
    window = pair.client.congestion_window

    pair.client.probe_sizes()
    pair.run(300)

    assert pair.client.datagram_size == found
    assert pair.server.datagram_size == MIN_DATAGRAM
    assert pair.client.congestion_window >= window
    assert pair.client.bytes_in_flight == 0


def test_one_lost_probe_is_not_the_end(pair: QuicPair) -> None:
    """Every size has a second try."""
    seen: list[int] = []

    def lose_first(sender: QuicConnection, data: bytes) -> bool:
        if len(data) > MIN_DATAGRAM and sender is pair.client:
            seen.append(len(data))
            return len(seen) == 1
        return False

    pair.drop = lose_first

    pair.client.probe_sizes((1452,))
    pair.run(100)

    assert seen == [1452, 1452]
    assert pair.client.datagram_size == 1452


def test_bulk_goes_on_while_sizes_are_tried_and_uses_what_is_found(pair: QuicPair) -> None:
    """Nothing is lost when the size changes in the middle."""
    pair.client.probe_sizes()
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(400_000))

    pair.run(200)

    assert pair.received(pair.server) == 400_000
    assert pair.sizes[pair.client] == MAX_DATAGRAM


def test_a_path_that_narrows_is_noticed(pair: QuicPair) -> None:
    """Back to what every path carries, and everything arrives."""
    pair.client.probe_sizes()
    pair.run(100)
    wide = pair.client.datagram_size

    narrow(pair, 1400)
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(60_000))
    pair.run(400, step=0.02)

    assert wide == MAX_DATAGRAM
    assert pair.client.datagram_size == MIN_DATAGRAM
    assert pair.received(pair.server) == 60_000


def test_a_peer_that_was_away_gets_large_datagrams_again(pair: QuicPair) -> None:
    """Silence is no proof that the path is narrow."""
    pair.client.probe_sizes()
    pair.run(100)
    narrow(pair, 0)
    pair.client.send_ping(1)
    pair.run(100, step=0.02)
    during = pair.client.datagram_size

    narrow(pair, 65_535)
    pair.run(300, step=0.02)

    assert during == MIN_DATAGRAM
    assert pair.client.datagram_size == MAX_DATAGRAM


def test_nothing_is_tried_before_the_handshake_or_after_the_end() -> None:
    """There is nobody to answer."""
    pair = QuicPair()
    pair.client.probe_sizes()
    pair.client.connect("peer", pair.now)

    first = pair.client.send_batch(pair.now)
    pair.client.close()
    last = pair.client.send_batch(pair.now)

    assert {train.size for train in first} == {1200}
    assert all(train.size <= 1200 for train in last)


def test_the_owner_may_end_it(pair: QuicPair) -> None:
    """Even a probe under way changes nothing any more."""
    pair.client.probe_sizes()
    pair.client.send_batch(pair.now)

    pair.client.probe_sizes(())
    pair.run(30)

    assert pair.client.datagram_size == MIN_DATAGRAM


def test_sizes_in_use_already_are_not_tried(pair: QuicPair) -> None:
    """Only growth needs a proof."""
    pair.client.set_datagram_size(8952)

    pair.client.probe_sizes((1452, 8952))
    pair.run(20)

    assert pair.sizes[pair.client] <= MIN_DATAGRAM
