"""Batches: runs and events, when an acknowledgement is due, and what attackers cost."""

import gc
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.crypto import next_key_phase
from aioquic.quic.recovery import QuicPacketNumberWindow
from hypothesis import given
from hypothesis import strategies as st

from protocol.limits import MIB
from protocol.quic import fast_receive
from protocol.quic.fast_receive import ACK_THRESHOLD, note_received, stream_frame
from tests.harness.quic_pair import PEER, QuicPair, sent_by

VARIABLE = st.integers(0, (1 << 62) - 1)


@pytest.fixture
def pair() -> QuicPair:
    """Two ends that know each other; the client may send as much as it likes at once."""
    connected = QuicPair()
    connected.connect()
    connected.client.authenticated()
    connected.server.authenticated()
    connected.client.send_stream_data(0, b"")
    connected.run()
    connected.client._loss._cc.congestion_window = 8 * MIB
    connected.client._loss._pacer.packet_time = None
    return connected


def bulk(pair: QuicPair, count: int) -> list[bytes]:
    """Return *count* datagrams full of one stream's data."""
    pair.client.send_stream_data(0, bytes(count * 1200))
    found: list[bytes] = []
    for _ in range(count):
        found += sent_by(pair.client, pair.now)
    return found[:count]


# --- parts ------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200)), max_size=12),
    st.sets(st.integers(0, 200), max_size=20),
)
def test_runs_of_numbers_are_noted_as_if_one_by_one(
    runs: list[tuple[int, int]], before: set[int]
) -> None:
    """What the window holds and where it begins, whatever came before."""
    ours, theirs = QuicPacketNumberWindow(), QuicPacketNumberWindow()
    for number in sorted(before):
        ours.add(number)
        theirs.add(number)

    for start, length in runs:
        note_received(ours, start, start + length)
        for number in range(start, start + length):
            theirs.add(number)

    assert ours._lower == theirs._lower
    for number in range(700):
        assert (number in ours) == (number in theirs)


@given(VARIABLE, VARIABLE, st.integers(24, 200), st.booleans(), st.booleans())
def test_a_frame_of_data_is_read_as_the_library_reads_it(
    stream_id: int, offset: int, size: int, explicit: bool, with_offset: bool
) -> None:
    """All forms of the numbers, with and without offset and length."""
    data = os.urandom(size)
    buffer = Buffer(capacity=300)
    buffer.push_uint_var(0x08 | explicit << 1 | with_offset << 2)
    buffer.push_uint_var(stream_id)
    if with_offset:
        buffer.push_uint_var(offset)
    if explicit:
        buffer.push_uint_var(size)
    head = buffer.tell()
    buffer.push_bytes(data)

    found = stream_frame(buffer.data)

    expected = (stream_id, offset if with_offset else 0, head)
    assert found == (expected if len(buffer.data) >= fast_receive.WORTHWHILE else None)


@given(st.binary(max_size=60))
def test_any_other_payload_is_none_of_its_business(payload: bytes) -> None:
    """It never raises, and what it finds lies within."""
    found = stream_frame(payload)

    if found is not None:
        assert payload[0] & 0xF9 == 0x08
        assert 2 <= found[2] < len(payload)


def test_more_frames_behind_the_data_are_for_the_library() -> None:
    """So are a length that lies, an end, and a payload too short to be safe."""
    frame = b"\x0a\x00" + bytes((40,)) + bytes(40)

    assert stream_frame(frame) == (0, 0, 3)
    assert stream_frame(frame + b"\x01") is None
    assert stream_frame(frame[:-1]) is None
    assert stream_frame(b"\x0b" + frame[1:]) is None
    assert stream_frame(b"\x08\x00" + bytes(20)) is None


# --- batches ----------------------------------------------------------------------------


def test_a_batch_makes_one_event_and_one_range(pair: QuicPair) -> None:
    """And every packet counts."""
    packets = bulk(pair, 40)
    before = pair.server.accepted

    pair.server.receive_batch(packets, PEER, pair.now)

    (event,) = list(pair.server._events)
    assert isinstance(event, events.StreamDataReceived)
    assert len(event.data) > 40 * 1100
    assert len(pair.server._spaces[tls.Epoch.ONE_RTT].ack_queue) == 1
    assert pair.server.accepted == before + 40
    assert pair.server.taken_fast == 40


def test_two_streams_in_turn_make_events_in_their_order(pair: QuicPair) -> None:
    """Neighbours of one stream are one event, others are kept apart."""
    pair.client.send_stream_data(4, b"")
    packets: list[bytes] = []
    for stream_id in (0, 0, 4, 0):
        pair.client.send_stream_data(stream_id, bytes(1000))
        packets += sent_by(pair.client, pair.now)
        pair.now += 0.001

    pair.server.receive_batch(packets, PEER, pair.now)

    found = [
        (event.stream_id, len(event.data))
        for event in pair.server._events
        if isinstance(event, events.StreamDataReceived)
    ]
    assert found == [(0, 2000), (4, 1000), (0, 1000)]


def test_an_acknowledgement_waits_a_moment_or_for_many_packets(pair: QuicPair) -> None:
    """Whichever is first."""
    packets = bulk(pair, ACK_THRESHOLD)
    space: Any = pair.server._spaces[tls.Epoch.ONE_RTT]
    space.ack_at = None
    pair.server._since_ack = 0

    pair.server.receive_batch(packets[:-1], PEER, pair.now)
    few: float | None = space.ack_at
    pair.server.receive_batch(packets[-1:], PEER, pair.now)
    many: float | None = space.ack_at
    (answer,) = pair.server.send_batch(pair.now)

    assert few == pair.now + pair.server._ack_delay
    assert many == pair.now
    assert answer.size < 100
    assert (space.ack_at, pair.server._since_ack) == (None, 0)


@pytest.mark.parametrize("data", [b"", b"\x40", b"\x40" * 28, b"\xc0" * 100, b"\x00" * 100])
def test_rubbish_among_the_packets_disturbs_nothing(pair: QuicPair, data: bytes) -> None:
    """Too short, of a long header, of no QUIC at all."""
    packets = bulk(pair, 3)

    pair.server.receive_batch([packets[0], data, *packets[1:]], PEER, pair.now)

    assert pair.server.taken_fast == 3


def test_batches_before_the_handshake_are_left_to_the_library() -> None:
    """There are no keys yet."""
    pair = QuicPair()
    pair.client.connect(PEER, pair.now)

    pair.server.receive_batch(sent_by(pair.client, pair.now), PEER, pair.now)

    assert pair.server.accepted == 1
    assert pair.server.taken_fast == 0


def test_a_pretended_change_of_keys_derives_them_once(
    pair: QuicPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library would for every such packet, whoever made it."""
    made: list[object] = []
    usual = next_key_phase

    def count(context: Any) -> Any:
        made.append(context)
        return usual(context)

    monkeypatch.setattr(fast_receive, "next_key_phase", count)
    flipped = [bytes((data[0] ^ 0x04,)) + data[1:] for data in bulk(pair, 50)]

    pair.server.receive_batch(flipped, PEER, pair.now)

    assert len(made) == 1
    assert pair.server.taken_fast == 0


# --- what it costs ----------------------------------------------------------------------


def cost(pair: QuicPair, packets: list[bytes]) -> float:
    """Return the CPU time of *packets*, in batches as they come from a socket."""
    begun = time.process_time()
    for at in range(0, len(packets), 64):
        pair.server.receive_batch(packets[at : at + 64], PEER, pair.now)
    return time.process_time() - begun


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "damaged": lambda data: data[:-1] + bytes((data[-1] ^ 1,)),
    "random": lambda data: data[:9] + os.urandom(len(data) - 9),
    "key phase": lambda data: bytes((data[0] ^ 0x04,)) + data[1:],
    "reserved": lambda data: bytes((data[0] ^ 0x18,)) + data[1:],
    "short": lambda data: data[:29],
    "long header": lambda data: (b"\xc0\0\0\0\x01\x08" + data[1:9] + b"\0\0\x44\x00" + data[30:])[
        : len(data)
    ],
    "replayed": lambda data: data,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORGERIES)
def test_a_strangers_packet_costs_little_more_than_a_friends(kind: str) -> None:
    """At most three times; the best of several rounds, as the machine has other work."""
    ratios: list[float] = []
    for _ in range(5):
        pair = QuicPair()
        pair.connect()
        pair.server.authenticated()
        pair.client.authenticated()
        pair.client.send_stream_data(0, b"")
        pair.run()
        pair.client._loss._cc.congestion_window = 8 * MIB
        pair.client._loss._pacer.packet_time = None
        friendly = bulk(pair, 1280)
        hostile = [FORGERIES[kind](data) for data in friendly]
        gc.collect()
        honest = cost(pair, friendly)
        ratios.append(cost(pair, hostile) / honest)

    assert min(ratios) <= 3.0
    print(f"{kind}: {min(ratios):.2f}")
