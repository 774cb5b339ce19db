"""One QUIC connection with bounded windows and a TLS exporter, without I/O.

The library's receive windows double whenever half of one is *received*, so eleven
tiny frames at growing offsets make it allocate gigabytes, before anybody is
authenticated. Here a window is what the application has *consumed* plus a fixed size,
small until the owner says who the peer is. That is the back-pressure, too: who reads
slowly is sent slowly.

The library is pinned: this class overrides private methods of one version, and
``protocol.quic.selftest`` refuses any other.

Drain ``next_event()`` after every input and before every ``send_batch()``.
"""

import datetime as dt
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.congestion.base import create_congestion_control
from aioquic.quic.connection import (
    Limit,
    QuicConnection,
    QuicConnectionError,
    QuicReceiveContext,
    stream_is_client_initiated,
    stream_is_unidirectional,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, QuicProtocolVersion
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from protocol.errors import LocalProtocolError
from protocol.limits import (
    CONNECTION_WINDOW,
    LINK_IDLE,
    MAX_BIDI_STREAMS,
    MAX_CRYPTO_BUFFER,
    MAX_DATAGRAM,
    MAX_STREAM_GAPS,
    MAX_UNI_STREAMS,
    MIN_DATAGRAM,
    PRE_AUTH_IDLE,
    PRE_AUTH_WINDOW,
    STREAM_WINDOW,
)
from protocol.quic.trains import Train, couple

CID_SIZE: Final = 8
"""Bytes of every connection ID this side chooses."""


class Identity:
    """A throw-away TLS certificate: possession is proven, nobody trusts it.

    Who the peer is, the link handshake decides, bound to this connection by the
    exporter (security.md, D6 and D10).

    Args:
        random_bytes: Source of the private key.
    """

    __slots__ = ("certificate", "key")

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(random_bytes(32))
        # The name says nothing and the dates never matter: nothing checks either.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "-")])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
            .not_valid_after(dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
            .sign(self.key, None)
        )


def quic_configuration(
    *,
    alpn: str,
    identity: Identity | None = None,
    idle_timeout: float = LINK_IDLE,
    datagram_size: int = MIN_DATAGRAM,
) -> QuicConfiguration:
    """Return the one configuration every connection uses: one version, ALPN and suite.

    Args:
        alpn: The only application protocol offered or accepted (T26).
        identity: The server's certificate; None makes a client's configuration.
        idle_timeout: Seconds of silence after which the connection is given up.
        datagram_size: Bytes of UDP payload to send at most; can be changed later.
    """
    configuration = QuicConfiguration(
        alpn_protocols=[alpn],
        cipher_suites=[tls.CipherSuite.AES_256_GCM_SHA384],
        connection_id_length=CID_SIZE,
        idle_timeout=idle_timeout,
        is_client=identity is None,
        max_data=PRE_AUTH_WINDOW,
        max_datagram_size=datagram_size,
        max_stream_data=PRE_AUTH_WINDOW,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        verify_mode=ssl.CERT_NONE,
    )
    if identity is not None:
        configuration.certificate = identity.certificate
        configuration.private_key = identity.key
    return configuration


class _Credit:
    """What the application has taken of one stream, and what it still holds."""

    __slots__ = ("consumed", "unread")

    def __init__(self) -> None:
        self.consumed = 0
        self.unread = 0


class BoundedQuicConnection(QuicConnection):
    """A QUIC connection that holds no more than its windows, whatever the peer sends.

    Until ``authenticated()``: 64 KiB, one bidirectional stream, 15 s of silence.

    Attributes:
        is_fast: Whether batches are taken and made in few steps (``protocol.quic.fastpath``).
        accepted: Packets that decrypted, were no duplicates and counted.
    """

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self.is_fast = False
        self.accepted = 0
        self._exporter_secret: bytes | None = None
        self._connection_window = PRE_AUTH_WINDOW
        self._stream_window = PRE_AUTH_WINDOW
        self._idle_limit = min(PRE_AUTH_IDLE, configuration.idle_timeout)
        self._consumed = 0
        self._credits: dict[int, _Credit] = {}
        self._max_bidi = 1
        self._max_uni = 0
        self._done_bidi = 0
        self._done_uni = 0
        for limit, value in ((self._local_max_streams_bidi, 1), (self._local_max_streams_uni, 0)):
            limit.value = limit.sent = value

    # --- what the owner tells -----------------------------------------------------

    def authenticated(self, *, widen: bool = True) -> None:
        """Raise the limits: from now on the peer is known to be who it should be.

        Args:
            widen: Whether to raise the windows, too; a node that serves strangers does not.
        """
        self._idle_limit = self._configuration.idle_timeout
        if not widen:
            return
        self._connection_window = CONNECTION_WINDOW
        self._stream_window = STREAM_WINDOW
        self._max_bidi = MAX_BIDI_STREAMS
        self._max_uni = MAX_UNI_STREAMS

    def consumed(self, stream_id: int, count: int) -> None:
        """Take back *count* delivered bytes of a stream: the application has used them."""
        credit = self._credits.get(stream_id)
        if credit is None:
            # The stream was reset, which consumed the rest of it.
            return
        count = min(count, credit.unread)
        credit.unread -= count
        credit.consumed += count
        self._consumed += count
        stream = self._streams.get(stream_id)
        if not credit.unread and (stream is None or stream.receiver.is_finished):
            del self._credits[stream_id]

    def stream_done(self, stream_id: int) -> None:
        """Let the peer open another stream: the application is done with this one."""
        if stream_is_client_initiated(stream_id) == self._is_client:
            return
        if stream_is_unidirectional(stream_id):
            self._done_uni += 1
        else:
            self._done_bidi += 1

    def set_datagram_size(self, size: int) -> None:
        """Send datagrams of at most *size* bytes from now on.

        Packets lost at a larger size are sent again in smaller ones.
        """
        assert MIN_DATAGRAM <= size <= MAX_DATAGRAM
        self._max_datagram_size = size
        self._loss._pacer._max_datagram_size = size
        controller: Any = self._loss._cc
        controller._max_datagram_size = size

    def forget_path(self) -> None:
        """Start congestion control and round-trip times anew: the path has changed.

        Source: RFC 9000, section 9.4.
        """
        loss = self._loss
        in_flight = loss._cc.bytes_in_flight
        loss._cc = create_congestion_control(
            self._configuration.congestion_control_algorithm,
            max_datagram_size=self._max_datagram_size,
        )
        loss._cc.bytes_in_flight = in_flight
        loss._pacer = type(loss._pacer)(max_datagram_size=self._max_datagram_size)
        loss._rtt_initialized = False
        loss._rtt_min = float("inf")
        loss._pto_count = 0

    # --- what the owner asks -------------------------------------------------------

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """Return *length* bytes that only the two ends of this connection know.

        Raises:
            LocalProtocolError: Before the handshake completed; a server knows the
                secret earlier, but not yet that the client does.

        Source: RFC 8446, section 7.5.
        """
        if self._exporter_secret is None or not self._handshake_complete:
            raise LocalProtocolError("no exporter before the handshake completed")
        schedule = self.tls.key_schedule
        assert schedule is not None
        digest = hashes.Hash(schedule.algorithm)
        digest.update(context)
        secret = tls.hkdf_expand_label(
            algorithm=schedule.algorithm,
            secret=self._exporter_secret,
            label=label,
            hash_value=schedule.hash_empty_value,
            length=schedule.algorithm.digest_size,
        )
        return tls.hkdf_expand_label(
            algorithm=schedule.algorithm,
            secret=secret,
            label=b"exporter",
            hash_value=digest.finalize(),
            length=length,
        )

    def send_buffered(self, stream_id: int) -> int:
        """Return how many bytes of a stream are not sent or not acknowledged."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else len(stream.sender._buffer)

    def send_refused(self, stream_id: int) -> int | None:
        """Return the error code a stream's sending side was reset with, or None.

        0 also stands for a stream that is over and forgotten, however it ended.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return 0 if self._stream_is_discarded(stream_id) else None
        return stream.sender._reset_error_code

    @property
    def window_step(self) -> int:
        """Bytes to consume before it pays to tell the peer."""
        return self._stream_window // 2

    @property
    def unread(self) -> int:
        """Bytes delivered to the application and not consumed yet."""
        return sum(credit.unread for credit in self._credits.values())

    @property
    def congestion_window(self) -> int:
        """Bytes that may be in flight."""
        return self._loss.congestion_window

    @property
    def bytes_in_flight(self) -> int:
        """Bytes sent and not acknowledged."""
        return self._loss.bytes_in_flight

    @property
    def probe_timeout(self) -> float:
        """Seconds after which unacknowledged packets are probed for."""
        return self._loss.get_probe_timeout()

    @property
    def round_trip(self) -> float | None:
        """Seconds, smoothed; None before the first measurement."""
        return self._loss._rtt_smoothed if self._loss._rtt_initialized else None

    @property
    def termination(self) -> events.ConnectionTerminated | None:
        """Why the connection ended, known before the library's event of that name.

        The event waits for the closing period; nothing else useful does.
        """
        return self._close_event

    @property
    def closed_by_us(self) -> bool:
        """Whether the close, if any, began on this side."""
        return self._state.name != "DRAINING"

    # --- batches: what the fast path takes over --------------------------------------

    def receive_batch(self, datagrams: Sequence[bytes], peer: object, now: float) -> None:
        """Take datagrams that arrived together."""
        for data in datagrams:
            self.receive_datagram(data, peer, now)
            self._refuse_gaps()

    def send_batch(self, now: float) -> list[Train]:
        """Return what must be sent now."""
        return couple([data for data, _ in self.datagrams_to_send(now)])

    def _refuse_gaps(self) -> None:
        """Close if a stream came in too many pieces.

        Every range costs memory and every insertion walks them all.
        """
        for stream in self._streams.values():
            if len(stream.receiver._ranges) > MAX_STREAM_GAPS:
                self.close(QuicErrorCode.PROTOCOL_VIOLATION, QuicFrameType.STREAM_BASE)

    # --- windows ---------------------------------------------------------------------

    def _raise_limits(self) -> None:
        """Let the connection's limits follow what was consumed and what is done."""
        limit = self._local_max_data
        wanted = self._consumed + self._connection_window
        if wanted - limit.value >= self._connection_window // 2:
            limit.value = wanted
        self._local_max_streams_bidi.value = self._max_bidi + self._done_bidi
        self._local_max_streams_uni.value = self._max_uni + self._done_uni

    def _is_limit_due(self) -> bool:
        """Raise the connection's limits; return whether the peer must be told."""
        self._raise_limits()
        limit = self._local_max_data
        return limit.value != limit.sent or any(
            # The library tells of streams when it pays.
            limit.value != limit.sent and limit.sent - limit.used < limit.value - limit.sent
            for limit in (self._local_max_streams_bidi, self._local_max_streams_uni)
        )

    @staticmethod
    def _may_have_limit(stream: QuicStream) -> bool:
        # To the peer a blocked one does not exist yet: naming it would break its limit.
        return bool(
            stream.max_stream_data_local
            and not stream.receiver.is_finished
            and not stream.is_blocked
        )

    def _raise_stream_limit(self, stream: QuicStream) -> None:
        """Let a stream's limit follow what was consumed."""
        assert stream.stream_id is not None
        credit = self._credits.get(stream.stream_id)
        wanted = (0 if credit is None else credit.consumed) + self._stream_window
        if wanted - stream.max_stream_data_local >= self._stream_window // 2:
            stream.max_stream_data_local = wanted

    def _is_stream_limit_due(self, stream: QuicStream) -> bool:
        """Raise a stream's limit; return whether the peer must be told."""
        if not self._may_have_limit(stream):
            return False
        self._raise_stream_limit(stream)
        return stream.max_stream_data_local != stream.max_stream_data_local_sent

    # --- overrides -------------------------------------------------------------------

    def next_event(self) -> events.QuicEvent | None:
        event = super().next_event()
        if event is None:
            return None
        if isinstance(event, events.StreamDataReceived):
            credit = self._credits.get(event.stream_id)
            if credit is None:
                if not event.data:
                    return event
                credit = self._credits[event.stream_id] = _Credit()
            credit.unread += len(event.data)
            if not credit.unread and event.end_stream:
                del self._credits[event.stream_id]
        elif isinstance(event, events.StreamReset):
            credit = self._credits.pop(event.stream_id, None)
            # Still there: streams are discarded in send_batch, after this was drained.
            receiver = self._streams[event.stream_id].receiver
            # What was sent and will never be delivered counts as consumed.
            taken = 0 if credit is None else credit.consumed
            self._consumed += receiver.highest_offset - taken
        elif isinstance(event, events.HandshakeCompleted) and (
            event.session_resumed
            or event.alpn_protocol not in (self._configuration.alpn_protocols or ())
        ):
            # T26: neither side may have been talked out of the protocol, and nothing
            # of an earlier connection may be reused.
            self.close(
                QuicErrorCode.CRYPTO_ERROR + tls.AlertDescription.no_application_protocol,
                QuicFrameType.CRYPTO,
            )
            return None
        return event

    def _update_traffic_key(
        self,
        direction: tls.Direction,
        epoch: tls.Epoch,
        cipher_suite: tls.CipherSuite,
        secret: bytes,
    ) -> None:
        if epoch == tls.Epoch.ONE_RTT and self._exporter_secret is None:
            # The first 1-RTT key is the server's on both sides, and at this moment the
            # transcript is exactly ClientHello to server Finished (RFC 8446, 7.1).
            assert self.tls.key_schedule is not None
            self._exporter_secret = self.tls.key_schedule.derive_secret(b"exp master")
        super()._update_traffic_key(direction, epoch, cipher_suite, secret)

    def _idle_timeout(self) -> float:
        return min(super()._idle_timeout(), self._idle_limit)

    def _payload_received(
        self,
        context: QuicReceiveContext,
        plain: bytes,
        crypto_frame_required: bool = False,  # noqa: FBT001, FBT002  # the library's signature
    ) -> tuple[bool, bool]:
        self.accepted += 1
        return super()._payload_received(context, plain, crypto_frame_required)

    def _handle_crypto_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        start = buf.tell()
        end = buf.pull_uint_var() + buf.pull_uint_var()
        buf.seek(start)
        receiver = self._crypto_streams[context.epoch].receiver
        if end - receiver.starting_offset() > MAX_CRYPTO_BUFFER:
            raise QuicConnectionError(
                error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
                frame_type=frame_type,
                reason_phrase="too much handshake data",
            )
        super()._handle_crypto_frame(context, frame_type, buf)

    def _stream_limit(self, stream_id: int) -> Limit:
        # The library counts a stream as gone when its bytes have arrived; a queue of
        # streams nobody has looked at would then grow without bound.
        limit = super()._stream_limit(stream_id)
        if limit is self._local_max_streams_uni:
            limit.value = self._max_uni + self._done_uni
        else:
            limit.value = self._max_bidi + self._done_bidi
        return limit

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        self._raise_limits()
        # With nothing used the library finds no reason to double the window.
        used, limit.used = limit.used, 0
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        receiver = stream.receiver
        if not self._may_have_limit(stream):
            return
        self._raise_stream_limit(stream)
        offset, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = offset
