"""The bounded connection: exporter, windows, limits, and what the library would do instead."""

import dataclasses
import os
from typing import Any

import psutil
import pytest
from aioquic import tls
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from cryptography.hazmat.primitives import hashes

from protocol.errors import LocalProtocolError
from protocol.limits import (
    CONNECTION_WINDOW,
    MAX_BIDI_STREAMS,
    MAX_STREAM_GAPS,
    MAX_UNI_STREAMS,
    MIB,
    PRE_AUTH_IDLE,
    PRE_AUTH_WINDOW,
    STREAM_WINDOW,
)
from protocol.quic.connection import BoundedQuicConnection, Identity, quic_configuration
from tests.harness.quic_pair import (
    ALPN,
    PEER,
    QuicPair,
    deliver,
    send_at,
    sent_by,
    stock_client,
    stock_server,
)


@pytest.fixture
def pair() -> QuicPair:
    """Two ends whose handshake has completed; nobody is authenticated."""
    connected = QuicPair()
    connected.connect()
    return connected


# --- exporter ---------------------------------------------------------------------------


class FixedTranscript:
    """A running hash that stands at a known value."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def copy(self) -> "FixedTranscript":
        return self

    def finalize(self) -> bytes:
        return self._digest


@dataclasses.dataclass
class KnownTls:
    """A TLS context whose key schedule stands where RFC 8448 says."""

    key_schedule: tls.KeySchedule


def test_the_exporter_secret_of_rfc_8448_is_reproduced() -> None:
    """Section 3: master secret and transcript at server Finished give "exp master"."""
    schedule = tls.KeySchedule(tls.CipherSuite.AES_128_GCM_SHA256)
    schedule.secret = bytes.fromhex(
        "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919"
    )
    transcript: Any = FixedTranscript(
        bytes.fromhex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13")
    )
    schedule.hash = transcript
    pair = QuicPair()
    pair.client.connect(PEER, 0.0)
    pair.client.tls = KnownTls(schedule)

    pair.client._update_traffic_key(
        tls.Direction.DECRYPT,
        tls.Epoch.ONE_RTT,
        tls.CipherSuite.AES_128_GCM_SHA256,
        bytes(32),
    )

    assert pair.client._exporter_secret == bytes.fromhex(
        "fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50"
    )


def test_both_ends_export_the_same_and_only_for_the_same_question(pair: QuicPair) -> None:
    """Label, context and length all matter; 64 bytes are no extension of 32."""
    ends = (pair.client, pair.server)

    exported = [end.export_keying_material(b"EXPORTER-a", b"context", 32) for end in ends]
    other_label = pair.client.export_keying_material(b"EXPORTER-b", b"context", 32)
    other_context = pair.client.export_keying_material(b"EXPORTER-a", b"", 32)
    longer = pair.client.export_keying_material(b"EXPORTER-a", b"context", 64)

    assert exported[0] == exported[1]
    assert len({exported[0], other_label, other_context, longer[:32]}) == 4


def test_the_exporter_follows_rfc_8446_section_7_5(pair: QuicPair) -> None:
    """Derive-Secret with the empty hash, then expand "exporter" with the context's hash."""
    secret = pair.server._exporter_secret
    assert secret is not None
    algorithm = hashes.SHA384()

    def digest(data: bytes) -> bytes:
        running = hashes.Hash(algorithm)
        running.update(data)
        return running.finalize()

    derived = tls.hkdf_expand_label(algorithm, secret, b"label", digest(b""), 48)

    exported = pair.server.export_keying_material(b"label", b"context", 20)

    assert exported == tls.hkdf_expand_label(
        algorithm, derived, b"exporter", digest(b"context"), 20
    )


def test_nothing_is_exported_before_the_handshake_completed() -> None:
    """A server has the secret before it has seen the client's Finished."""
    pair = QuicPair()
    pair.client.connect(PEER, 0.0)
    for data, _ in pair.client.datagrams_to_send(0.0):
        pair.server.receive_datagram(data, PEER, 0.0)

    assert pair.server._exporter_secret is not None
    for end in (pair.client, pair.server):
        with pytest.raises(LocalProtocolError):
            end.export_keying_material(b"label", b"", 32)


# --- one version, suite and protocol ------------------------------------------------------


def test_the_handshake_ends_with_aes_256_and_the_one_protocol(pair: QuicPair) -> None:
    """Both layers are AES-256; nothing was resumed; no ticket was issued."""
    completed = [e for e in pair.events[pair.client] if isinstance(e, events.HandshakeCompleted)]

    assert [(e.alpn_protocol, e.session_resumed) for e in completed] == [(ALPN, False)]
    schedule = pair.client.tls.key_schedule
    assert schedule is not None
    assert schedule.cipher_suite is tls.CipherSuite.AES_256_GCM_SHA384


def test_another_protocol_is_refused() -> None:
    """T26: no common ALPN, no connection."""
    pair = QuicPair(client_alpn="quintet/2")

    pair.connect()

    assert pair.client.termination is not None
    assert not pair.client._handshake_complete


def test_a_client_without_alpn_is_refused() -> None:
    """T26: leaving the protocol out is no way round it."""
    configuration = quic_configuration(alpn=ALPN)
    configuration.alpn_protocols = None
    pair = QuicPair(client=QuicConnection(configuration=configuration))

    pair.connect()

    assert pair.server.termination is not None
    assert not any(isinstance(e, events.HandshakeCompleted) for e in pair.events[pair.server])


def test_another_cipher_suite_is_refused() -> None:
    """A client that offers AES-128 only gets no connection."""
    configuration = quic_configuration(alpn=ALPN)
    configuration.cipher_suites = [tls.CipherSuite.AES_128_GCM_SHA256]
    pair = QuicPair(client=QuicConnection(configuration=configuration))

    pair.connect()

    assert pair.server.termination is not None


def test_every_identity_is_another_throw_away() -> None:
    """Nothing in a certificate names the machine or survives the run."""
    first, second = Identity(os.urandom), Identity(os.urandom)

    assert first.certificate.public_key() != second.certificate.public_key()
    assert first.certificate.subject.rfc4514_string() == "CN=-"


# --- windows --------------------------------------------------------------------------------


def test_an_unread_stream_gets_no_more_than_the_first_window(pair: QuicPair) -> None:
    """Receiving opens nothing."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(MIB))

    pair.run(30)

    assert pair.received(pair.server) == PRE_AUTH_WINDOW
    assert pair.server.unread == PRE_AUTH_WINDOW


def test_consuming_opens_the_window_by_as_much(pair: QuicPair) -> None:
    """Before authentication, 64 KiB at a time."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(MIB))
    pair.run(30)

    pair.server.consumed(stream_id, 40_000)
    pair.run(30)

    assert pair.received(pair.server) == PRE_AUTH_WINDOW + 40_000


def test_nobody_can_consume_more_than_was_delivered(pair: QuicPair) -> None:
    """A caller's slip must not open the window without end."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(1000))
    pair.run()

    pair.server.consumed(stream_id, 10**9)
    pair.server.consumed(stream_id + 4, 10**9)

    assert pair.server._consumed == 1000


def test_authentication_raises_windows_and_stream_counts(pair: QuicPair) -> None:
    """4 MiB a stream, 16 MiB a connection, and more than one stream."""
    stream_ids = []
    for _ in range(2):
        stream_ids.append(pair.client.get_next_available_stream_id())
        pair.client.send_stream_data(stream_ids[-1], bytes(MIB))
    pair.run(20)
    opened_before = set(pair.server._streams)

    pair.server.authenticated()
    pair.run(200)

    assert opened_before == {stream_ids[0]}
    assert pair.received(pair.server) == 2 * MIB
    told = [pair.client._streams[i].max_stream_data_remote for i in stream_ids]
    assert told == [STREAM_WINDOW, STREAM_WINDOW]
    assert pair.client._remote_max_data == CONNECTION_WINDOW


def test_a_node_vouches_without_widening(pair: QuicPair) -> None:
    """Its clients stay strangers in all but the time they may be silent."""
    pair.client.send_stream_data(0, bytes(MIB))

    pair.server.authenticated(widen=False)
    pair.run(30)

    assert pair.received(pair.server) == PRE_AUTH_WINDOW
    assert pair.server._idle_timeout() == 30.0


def test_no_unidirectional_stream_opens_before_authentication(pair: QuicPair) -> None:
    """T24: 1 bidirectional stream, 0 others."""
    stream_id = pair.client.get_next_available_stream_id(is_unidirectional=True)
    pair.client.send_stream_data(stream_id, b"x")
    pair.run()
    assert pair.received(pair.server) == 0

    pair.server.authenticated()
    pair.run()

    assert pair.received(pair.server) == 1


def test_what_a_reset_stream_will_never_deliver_counts_as_consumed(pair: QuicPair) -> None:
    """Else every reset would shrink the connection's window for ever."""
    pair.server.authenticated()
    for _ in range(3):
        stream_id = pair.client.get_next_available_stream_id()
        pair.client.send_stream_data(stream_id, bytes(10_000))
        pair.run()
        pair.server.consumed(stream_id, 2_000)
        pair.client.reset_stream(stream_id, 7)
        pair.run()
        pair.server.consumed(stream_id, 8_000)

    assert pair.server._consumed == 30_000
    assert pair.server.unread == 0


def test_a_reset_before_any_data_consumes_the_announced_size(pair: QuicPair) -> None:
    """The final size counts against the window even if no byte arrived."""
    pair.server.authenticated()
    stream_id = pair.client.get_next_available_stream_id()
    send_at(pair.client, stream_id, 5_000)
    pair.client._streams[stream_id].sender.reset(1)

    pair.run()

    assert pair.server._consumed == 5_000


def test_finished_streams_leave_no_account_behind(pair: QuicPair) -> None:
    """Ended and read: forgotten; ended and unread: kept until read."""
    pair.server.authenticated()
    pair.run()
    stream_ids = []
    for data in (b"", b"abc"):
        stream_ids.append(pair.client.get_next_available_stream_id(is_unidirectional=True))
        pair.client.send_stream_data(stream_ids[-1], data, end_stream=True)
    pair.run()
    assert list(pair.server._credits) == [stream_ids[1]]

    pair.server.consumed(stream_ids[1], 3)

    assert pair.server._credits == {}


def test_an_end_after_everything_was_read_closes_the_account(pair: QuicPair) -> None:
    """The end of a stream may come alone."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, b"abc")
    pair.run()
    pair.server.consumed(stream_id, 3)
    assert list(pair.server._credits) == [stream_id]

    pair.client.send_stream_data(stream_id, b"", end_stream=True)
    pair.run()

    assert pair.server._credits == {}


def test_the_peer_opens_another_stream_only_when_one_is_done(pair: QuicPair) -> None:
    """Streams nobody has looked at must not queue up without bound."""
    pair.server.authenticated()
    pair.run()
    for _ in range(MAX_BIDI_STREAMS + 10):
        stream_id = pair.client.get_next_available_stream_id(is_unidirectional=True)
        pair.client.send_stream_data(stream_id, b"x", end_stream=True)
    pair.run(30)
    assert pair.received(pair.server) == MAX_BIDI_STREAMS

    for stream_id in range(2, 2 + 4 * 10, 4):
        pair.server.stream_done(stream_id)
    pair.server.stream_done(pair.server.get_next_available_stream_id())
    pair.run(30)

    assert pair.received(pair.server) == MAX_BIDI_STREAMS + 10


def test_more_streams_than_were_granted_are_refused_even_if_others_have_gone() -> None:
    """The library grants one more for each that has come and gone, read or not."""
    pair = QuicPair(client=stock_client())
    pair.connect()
    pair.server.authenticated()
    pair.run()
    pair.server._local_max_streams_uni.value += 10
    pair.client._remote_max_streams_uni = 100

    pair.client.send_stream_data(2 + 4 * MAX_UNI_STREAMS, b"x")
    pair.run()

    assert pair.server.termination is not None
    assert pair.server.termination.error_code == QuicErrorCode.STREAM_LIMIT_ERROR


def test_a_stranger_may_use_one_stream_after_the_other(pair: QuicPair) -> None:
    """One at a time: the second opens when the application is done with the first."""
    for _ in range(2):
        stream_id = pair.client.get_next_available_stream_id()
        pair.client.send_stream_data(stream_id, b"x", end_stream=True)
    pair.run()
    assert pair.received(pair.server) == 1

    pair.server.stream_done(0)
    pair.run()

    assert pair.received(pair.server) == 2


def test_a_lost_window_update_is_sent_again(pair: QuicPair) -> None:
    """The transfer goes on whatever single packets the wire loses."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(100_000))
    pair.run(30)
    pair.server.consumed(stream_id, PRE_AUTH_WINDOW)
    pair.drop = lambda sender, data: sender is pair.server
    pair.run(3)
    pair.drop = lambda sender, data: False

    pair.run(100)

    assert pair.received(pair.server) == 100_000


# --- attacks --------------------------------------------------------------------------------


def grow_sparsely(pair: QuicPair, server: QuicConnection, frames: int) -> int:
    """Send tiny frames just below a window that doubles; return the bytes RSS grew by."""
    process = psutil.Process()
    before = process.memory_info().rss
    stream_id = pair.client.get_next_available_stream_id()
    offset = PRE_AUTH_WINDOW if server is pair.server else MIB
    for _ in range(frames):
        send_at(pair.client, stream_id, offset - 1)
        for data in sent_by(pair.client, pair.now):
            deliver(server, data, pair.now)
        pair.now += 0.01
        for data in sent_by(server, pair.now):
            deliver(pair.client, data, pair.now)
        offset *= 2
    return process.memory_info().rss - before


@pytest.mark.parametrize("authenticated", [False, True])
def test_sparse_frames_at_growing_offsets_are_refused(authenticated: bool) -> None:
    """T24: eleven datagrams cost the stock library 1.5 GiB; here under 32 MiB."""
    pair = QuicPair(client=stock_client())
    pair.connect()
    if authenticated:
        pair.server.authenticated()
        pair.run()

    grown = grow_sparsely(pair, pair.server, 11)

    assert grown < 32 * MIB
    assert pair.server.termination is not None
    assert pair.server.termination.error_code == QuicErrorCode.FLOW_CONTROL_ERROR


def test_the_same_frames_inflate_the_stock_library() -> None:
    """The canary: were the attack wrong, the test above would prove nothing."""
    client = stock_client()
    pair = QuicPair(client=client)
    server = stock_server(client)
    client.connect(PEER, 0.0)
    for _ in range(6):
        pair.now += 0.01
        for sender, receiver in ((client, server), (server, client)):
            for data, _ in sender.datagrams_to_send(pair.now) if sender._network_paths else ():
                receiver.receive_datagram(data, PEER, pair.now)

    grow_sparsely(pair, server, 4)

    assert server._close_event is None
    assert server._local_max_data.value >= 16 * MIB


def test_a_stream_of_many_gaps_is_refused(pair: QuicPair) -> None:
    """Each gap costs memory, and time for every later frame."""
    pair.server.authenticated()
    stream_id = pair.client.get_next_available_stream_id()
    for gap in range(MAX_STREAM_GAPS + 1):
        assert pair.server.termination is None
        send_at(pair.client, stream_id, 2 + 2 * gap)
        pair.client._loss._cc.congestion_window = 1 << 30
        for data, _ in pair.client.datagrams_to_send(pair.now):
            pair.server.receive_batch([data], PEER, pair.now)
        pair.now += 0.001

    assert pair.server.termination is not None
    assert pair.server.termination.error_code == QuicErrorCode.PROTOCOL_VIOLATION


def test_handshake_data_far_ahead_is_refused() -> None:
    """Thirty-two strangers with half a megabyte each would be worth an attack."""
    client = stock_client()
    pair = QuicPair(client=client)
    client.connect(PEER, 0.0)
    stream = client._crypto_streams[tls.Epoch.INITIAL]
    hello = bytes(stream.sender._buffer)
    stream.sender.write(bytes(17 * 1024))
    stream.sender._pending.subtract(len(hello), 17 * 1024)

    for _ in range(4):
        for data, _ in client.datagrams_to_send(pair.now):
            pair.server.receive_datagram(data, PEER, pair.now)

    assert pair.server.termination is not None
    assert pair.server.termination.error_code == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED


def test_strangers_may_be_silent_for_a_short_time_only(pair: QuicPair) -> None:
    """15 s before, the configured time after authentication."""
    pair.client.authenticated()
    start = pair.now

    pair.drop = lambda sender, data: True
    pair.run(rounds=30, step=1.0)

    ended = pair.server.termination
    assert ended is not None
    assert ended.reason_phrase == "Idle timeout"
    assert pair.server._idle_timeout() == PRE_AUTH_IDLE
    assert pair.client._idle_timeout() == 30.0
    assert pair.now > start + PRE_AUTH_IDLE


# --- what the owner sees ----------------------------------------------------------------------


def test_the_close_is_known_at_once_and_says_who_began_it(pair: QuicPair) -> None:
    """The library's own event waits for the closing period."""
    pair.client.close(error_code=12, reason_phrase="bye")

    pair.run(1)

    assert pair.server.termination is not None
    assert (pair.server.termination.error_code, pair.server.termination.frame_type) == (12, None)
    assert pair.client.closed_by_us
    assert not pair.server.closed_by_us
    assert pair.server.next_event() is None


def test_figures_of_the_path_are_there_after_the_handshake(pair: QuicPair) -> None:
    """A round trip is measured, a window is open, nothing is in flight for ever."""
    fresh = QuicPair()

    assert fresh.client.round_trip is None
    assert pair.client.round_trip is not None
    assert pair.client.congestion_window >= 12_000
    assert pair.client.bytes_in_flight == 0
    assert 0 < pair.client.probe_timeout < 1


def test_a_stream_tells_what_is_under_way(pair: QuicPair) -> None:
    """Unsent and unacknowledged bytes count; unknown streams have none."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(5000))
    before = pair.client.send_buffered(stream_id)

    pair.run()

    assert (before, pair.client.send_buffered(stream_id)) == (5000, 0)
    assert pair.client.send_buffered(stream_id + 4) == 0
    assert pair.client.send_refused(stream_id) is None
    assert pair.client.send_refused(stream_id + 4) is None
    assert pair.client.window_step == PRE_AUTH_WINDOW // 2


def test_the_peer_can_refuse_to_be_sent_more(pair: QuicPair) -> None:
    """STOP_SENDING shows as the code the sending side was reset with."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(500))
    pair.run()
    pair.server.stop_stream(stream_id, 9)

    pair.server.send_stream_data(stream_id, b"x")
    pair.run(1)

    assert pair.client.send_refused(stream_id) == 9
    pair.server.send_stream_data(stream_id, b"", end_stream=True)
    pair.run()
    assert stream_id not in pair.client._streams
    assert pair.client.send_refused(stream_id) == 0


def test_the_datagram_size_changes_while_data_flows(pair: QuicPair) -> None:
    """Up to 1452, and back to 1200 when the path turns out to lose the larger ones."""
    pair.server.authenticated()
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.set_datagram_size(1452)
    pair.client.send_stream_data(stream_id, bytes(50_000))
    pair.run(2)
    largest = pair.sizes[pair.client]

    pair.client.set_datagram_size(1200)
    pair.drop = lambda sender, data: len(data) > 1200
    pair.client.send_stream_data(stream_id, bytes(50_000))
    pair.run(100)

    assert largest == 1452
    assert pair.received(pair.server) == 100_000


def test_a_new_path_starts_with_a_new_congestion_window(pair: QuicPair) -> None:
    """RFC 9000, section 9.4; what is in flight stays counted."""
    pair.server.authenticated()
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(300_000))
    pair.run(20)
    assert pair.client.congestion_window > 12_000
    in_flight = pair.client.bytes_in_flight

    pair.client.forget_path()

    assert pair.client.congestion_window == 12_000
    assert pair.client.bytes_in_flight == in_flight
    assert pair.client.round_trip is None
    pair.run(200)
    assert pair.received(pair.server) == 300_000


def test_packets_count_once_and_only_if_they_are_genuine(pair: QuicPair) -> None:
    """What a stranger injects, or repeats, proves nothing about the path."""
    pair.client.send_ping(1)
    (data, _), *_ = pair.client.datagrams_to_send(pair.now)
    forged = data[:-1] + bytes([data[-1] ^ 1])
    before = pair.server.accepted

    pair.server.receive_batch([forged, data, data], PEER, pair.now)

    assert pair.server.accepted == before + 1


def test_a_batch_goes_out_as_trains(pair: QuicPair) -> None:
    """Full datagrams first, the short one last."""
    stream_id = pair.client.get_next_available_stream_id()
    pair.client.send_stream_data(stream_id, bytes(3000))

    (train,) = pair.client.send_batch(pair.now)

    assert (train.segment, train.count) == (1200, 3)
    assert train.size == sum(map(len, train.buffers))


def test_a_resumed_session_is_refused() -> None:
    """D9: no tickets, no early data; whoever offers a resumption is turned away."""
    connection = BoundedQuicConnection(configuration=quic_configuration(alpn=ALPN))
    connection._events.append(
        events.HandshakeCompleted(
            alpn_protocol=ALPN, early_data_accepted=False, session_resumed=True
        )
    )

    event = connection.next_event()

    assert event is None
    assert connection.termination is not None


def test_every_configuration_is_the_one_configuration() -> None:
    """Version 1, no verification by certificate, small windows, eight-byte IDs."""
    configuration = quic_configuration(alpn=ALPN)

    assert isinstance(configuration, QuicConfiguration)
    assert configuration.supported_versions == [1]
    assert configuration.connection_id_length == 8
    assert (configuration.max_data, configuration.max_stream_data) == (65_536, 65_536)
    assert configuration.session_ticket is None
