"""Packets of an established connection, taken by the batch.

What makes the library slow on bulk data is not the cryptography but what it does
around it for each packet. Here one AES call unmasks the headers of a whole batch, and a
packet that holds nothing but the next bytes of a known stream adds them to a run; the
run becomes one event and one range of received packet numbers.

Everything else goes to the library, packet by packet, with the state as if it had
handled all packets before: any packet of another form, a new key phase, a frame out of
order, at the end of a stream or at the edge of a window.
"""

from collections.abc import Sequence
from typing import Any, Final

from aioquic import tls
from aioquic.quic import events
from aioquic.quic.connection import (
    END_STATES,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.crypto import CryptoContext, next_key_phase
from aioquic.quic.packet import decode_packet_number
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketNumberWindow, QuicPacketSpace
from aioquic.quic.stream import QuicStream
from cryptography.exceptions import InvalidTag

from protocol.quic.connection import CID_SIZE, BoundedQuicConnection

ACK_THRESHOLD: Final = 64
"""Packets after which an acknowledgement is due at once: half of what the peer may
reorder before we lose track of duplicates."""

SAMPLE: Final = 16
"""Bytes of a packet that mask its header (RFC 9001, section 5.4.2)."""

NUMBER_AT: Final = 1 + CID_SIZE
"""Where the packet number begins in a short header."""

SAMPLE_AT: Final = NUMBER_AT + 4
"""Where the sample begins: as if the packet number had its greatest size."""

PAYLOAD_AT: Final = NUMBER_AT + 2
"""Where the payload begins behind a packet number of two bytes, the only size sent here."""

SHORTEST: Final = SAMPLE_AT + SAMPLE
"""Bytes of the shortest packet that can be unmasked."""

FORM: Final = 0xC0
SHORT: Final = 0x40
SPIN: Final = 0x20
PHASE: Final = 0x04
TWO_BYTES: Final = 0x01
"""Of a short header's first byte (RFC 9000, section 17.3.1)."""

STREAM_FRAMES: Final = 0xF8
STREAM: Final = 0x08
HAS_OFFSET: Final = 0x04
HAS_LENGTH: Final = 0x02
HAS_FIN: Final = 0x01
"""Of a STREAM frame's type (RFC 9000, section 19.8)."""

WORTHWHILE: Final = 32
"""Bytes of payload below which the library may parse it: no header is longer."""


def note_received(window: QuicPacketNumberWindow, start: int, stop: int) -> None:
    """Add the packet numbers from *start* to before *stop* to *window*."""
    received = window._received
    received.update(range(max(start, window._lower), stop))
    lower = stop - window._size
    if lower > window._lower:
        window._lower = lower
        if len(received) > 2 * window._size:
            window._received = {number for number in received if number >= lower}


def stream_frame(plain: bytes) -> tuple[int, int, int] | None:
    """Return stream, offset and where the data begins, if *plain* is one frame of data.

    None also stands for the last frame of a stream and for payloads so short that a
    header could reach beyond their end.

    Source: RFC 9000, sections 16 and 19.8.
    """
    if len(plain) < WORTHWHILE:
        return None
    kind = plain[0]
    if kind & (STREAM_FRAMES | HAS_FIN) != STREAM:
        return None
    stream_id = plain[1]
    head = 2
    if stream_id & 0xC0:
        size = 1 << (stream_id >> 6)
        head = 1 + size
        stream_id = int.from_bytes(plain[1:head], "big") & ((1 << 8 * size - 2) - 1)
    offset = 0
    if kind & HAS_OFFSET:
        size = 1 << (plain[head] >> 6)
        offset = int.from_bytes(plain[head : head + size], "big") & ((1 << 8 * size - 2) - 1)
        head += size
    if kind & HAS_LENGTH:
        size = 1 << (plain[head] >> 6)
        length = int.from_bytes(plain[head : head + size], "big") & ((1 << 8 * size - 2) - 1)
        head += size
        if head + length != len(plain):
            # More frames follow, or the length is a lie.
            return None
    return (stream_id, offset, head) if head < len(plain) else None


class BatchReceiver(BoundedQuicConnection):
    """Takes batches of packets in few steps; see the module.

    Attributes:
        taken_fast: Packets that went past the library's parser.
        ack_threshold: Packets after which an acknowledgement is due at once.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.taken_fast = 0
        self._since_ack = 0
        self.ack_threshold = ACK_THRESHOLD
        self._next_phase: tuple[bytes, CryptoContext] | None = None

    def receive_batch(self, datagrams: Sequence[bytes], peer: object, now: float) -> None:
        masks: bytes | None = None
        at = 0
        count = len(datagrams)
        while at < count:
            if not self._may_take(peer):
                super().receive_batch(datagrams[at:], peer, now)
                return
            if masks is None:
                masks = self._masks_of(datagrams)
            at, irregular = self._take_run(datagrams, at, masks, now)
            if irregular:
                super().receive_batch(datagrams[at : at + 1], peer, now)
                at += 1

    # --- whether ----------------------------------------------------------------------

    def _may_take(self, peer: object) -> bool:
        if (
            not self.is_fast
            or self._state is not QuicConnectionState.CONNECTED
            or not self._handshake_confirmed
            or self._close_pending
            or len(self._network_paths) != 1
            or self._quic_logger is not None
        ):
            return False
        path = self._network_paths[0]
        receive = self._cryptos[tls.Epoch.ONE_RTT].recv
        return (
            path.is_validated
            and path.addr == peer
            and receive.cipher_suite is tls.CipherSuite.AES_256_GCM_SHA384
            and not self._cryptos[tls.Epoch.ZERO_RTT].recv.is_valid()
        )

    def _masks_of(self, datagrams: Sequence[bytes]) -> bytes:
        """Return 16 bytes for each datagram, of which five mask its header."""
        protection = self._cryptos[tls.Epoch.ONE_RTT].recv.hp
        assert protection is not None
        samples = b"".join([data[SAMPLE_AT:SHORTEST] for data in datagrams])
        if len(samples) != SAMPLE * len(datagrams):
            # Some are too short; they are never unmasked, but keep their place.
            samples = b"".join(
                [data[SAMPLE_AT:SHORTEST].ljust(SAMPLE, b"\0") for data in datagrams]
            )
        return protection._encryptor.update(samples)

    def _destinations(self) -> set[bytes]:
        """Return the connection IDs a packet may have without changing anything."""
        issued = {connection_id.cid for connection_id in self._host_cids}
        # A server follows its client to another connection ID.
        return issued if self._is_client else issued & {self.host_cid}

    def _is_genuine(self, packet: bytes, mask: bytes, expected: int) -> bool:
        """Whether a packet of unusual form comes from somebody who has the keys.

        Anybody can make a packet look as if the key phase had changed. The library
        then derives the next keys, for each such packet anew; here it is done once.
        """
        first = packet[0] ^ (mask[0] & 0x1F)
        size = (first & 0x03) + 1
        number = bytes(a ^ b for a, b in zip(packet[NUMBER_AT:], mask[1 : 1 + size], strict=False))
        receive: CryptoContext = self._cryptos[tls.Epoch.ONE_RTT].recv
        if (first & PHASE) >> 2 != receive.key_phase:
            assert receive.secret is not None
            if self._next_phase is None or self._next_phase[0] != receive.secret:
                self._next_phase = receive.secret, next_key_phase(receive)
            receive = self._next_phase[1]
        assert receive.aead is not None
        try:
            receive.aead._aead.decrypt(
                receive.aead._nonce(
                    decode_packet_number(int.from_bytes(number, "big"), 8 * size, expected)
                ),
                packet[NUMBER_AT + size :],
                bytes((first,)) + packet[1:NUMBER_AT] + number,
            )
        except InvalidTag:
            return False
        return True

    # --- a run --------------------------------------------------------------------------

    def _take_run(  # noqa: C901, PLR0912, PLR0915  # one loop over packets: a call each would cost as much again
        self, datagrams: Sequence[bytes], at: int, masks: bytes, now: float
    ) -> tuple[int, bool]:
        """Take packets from *at* on; return where it stopped, and whether that is irregular.

        Stops behind a packet whose frames may have changed anything, and before one
        that the library must take from its first byte.
        """
        receive = self._cryptos[tls.Epoch.ONE_RTT].recv
        assert receive.aead is not None
        decrypt = receive.aead._aead.decrypt
        nonce = receive.aead._iv
        regular = receive.key_phase << 2 | TWO_BYTES
        destinations = self._destinations()
        space = self._spaces[tls.Epoch.ONE_RTT]
        window = space.received_packets
        limit = self._local_max_data
        expected = space.expected_packet_number
        largest = space.largest_received_packet
        spin_number = self._spin_highest_pn
        spin = 0
        # Consecutive packet numbers not in the library's books yet.
        start = stop = -1
        # Consecutive bytes of one stream not reported yet.
        stream_id = -1
        stream: QuicStream | None = None
        parts: list[bytes] = []
        taken = 0
        number = -1
        plain: bytes | None = None
        irregular = False
        index = at
        for index in range(at, len(datagrams)):
            packet = datagrams[index]
            if (
                len(packet) < SHORTEST
                or packet[0] & FORM != SHORT
                or packet[1:NUMBER_AT] not in destinations
            ):
                irregular = True
                break
            mask_at = index * SAMPLE
            first = packet[0] ^ (masks[mask_at] & 0x1F)
            if first & 0x1F != regular:
                if not self._is_genuine(packet, masks[mask_at : mask_at + 5], expected):
                    continue
                irregular = True
                break
            short = (packet[NUMBER_AT] ^ masks[mask_at + 1]) << 8 | (
                packet[NUMBER_AT + 1] ^ masks[mask_at + 2]
            )
            if stop & 0xFFFF == short and stop > largest:
                number = stop
            else:
                number = decode_packet_number(short, 16, expected)
                if stop > start:
                    space.ack_queue.add(start, stop)
                    note_received(window, start, stop)
                    start = stop = -1
                if number in window:
                    continue
            try:
                plain = decrypt(
                    (nonce ^ number).to_bytes(12, "big"),
                    packet[PAYLOAD_AT:],
                    b"%c%b%c%c" % (first, packet[1:NUMBER_AT], short >> 8, short & 0xFF),
                )
            except InvalidTag:
                continue
            if number > expected:
                expected = number + 1
            if number > spin_number:
                spin_number = number
                spin = first & SPIN
            frame = stream_frame(plain)
            if frame is None:
                break
            wanted, offset, head = frame
            if wanted != stream_id:
                if parts:
                    self._deliver(stream_id, parts)
                    parts = []
                stream_id = wanted
                stream = self._streams.get(wanted)
            if stream is None:
                break
            receiver = stream.receiver
            length = len(plain) - head
            end = offset + length
            if (
                # Nothing lies beyond what was delivered, so nothing is held, and the end
                # is not known either.
                offset != receiver._buffer_start
                or offset != receiver.highest_offset
                or receiver.is_finished
                or end > stream.max_stream_data_local
                or limit.used + length > limit.value
            ):
                break
            receiver._buffer_start = receiver.highest_offset = end
            limit.used += length
            parts.append(plain[head:])
            plain = None
            taken += 1
            if number == stop:
                stop += 1
            else:
                start = number
                stop = number + 1
                space.ack_queue.add(number)
                if len(space.ack_queue) > MAX_ACK_RANGES:
                    # As the library does: the oldest are duplicates from now on.
                    space.ack_queue.shift()
            largest = max(largest, number)
        # What ended the run must find all books up to date.
        if parts:
            self._deliver(stream_id, parts)
        if stop > start:
            space.ack_queue.add(start, stop)
            note_received(window, start, stop)
        space.expected_packet_number = expected
        if largest > space.largest_received_packet:
            space.largest_received_packet = largest
            space.largest_received_time = now
        if spin_number > self._spin_highest_pn:
            self._spin_highest_pn = spin_number
            self._spin_bit = bool(spin) != self._is_client
        if taken:
            self._enter_run(taken, space, now)
        if irregular:
            return index, True
        if plain is not None:
            self._take_payload(packet[1:NUMBER_AT], number, plain, now)
        return index + 1, False

    def _deliver(self, stream_id: int, parts: list[bytes]) -> None:
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._events.append(
            events.StreamDataReceived(data=data, end_stream=False, stream_id=stream_id)
        )

    def _enter_run(self, count: int, space: QuicPacketSpace, now: float) -> None:
        """Note that *count* packets arrived that want an acknowledgement."""
        self.accepted += count
        self.taken_fast += count
        self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        self._since_ack += count
        if self._since_ack >= self.ack_threshold:
            space.ack_at = now
        elif space.ack_at is None:
            space.ack_at = now + self._ack_delay

    # --- one packet ---------------------------------------------------------------------

    def _take_payload(self, destination: bytes, number: int, plain: bytes, now: float) -> None:
        """Take a decrypted packet of any frames, as the library would."""
        space = self._spaces[tls.Epoch.ONE_RTT]
        context = QuicReceiveContext(
            epoch=tls.Epoch.ONE_RTT,
            host_cid=destination,
            network_path=self._network_paths[0],
            quic_logger_frames=None,
            time=now,
            version=None,
        )
        eliciting = False
        try:
            eliciting, _ = self._payload_received(context, plain)
        except QuicConnectionError as exc:
            self.close(exc.error_code, exc.frame_type, exc.reason_phrase)
        if self._state in END_STATES or self._close_pending:
            return
        self._close_at = now + self._idle_timeout()
        self._ack_eliciting_sent_since_receipt = False
        if number > space.largest_received_packet:
            space.largest_received_packet = number
            space.largest_received_time = now
        space.ack_queue.add(number)
        space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if eliciting:
            self._since_ack += 1
            if space.ack_at is None:
                space.ack_at = now + self._ack_delay
        self._refuse_gaps()

    def _write_ack_frame(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float
    ) -> None:
        self._since_ack = 0
        super()._write_ack_frame(builder, space, now)
