"""Bulk data of an established connection, sent by the train.

A train is up to 64 packets of one stream, all of the same size but the last: encrypted
one by one, their headers masked by one AES call, counted once. The streams take turns,
a train each; a stream with no more than a packet's worth goes first, so that a control
message never waits behind bulk data for longer than what has already left.

Everything that is not data of a stream is left to the library, which writes it in
packets of its own: acknowledgements, limits, pings, resets, the bare end of a stream.
"""

from typing import Any, Final

from aioquic import tls
from aioquic.quic.connection import QuicConnectionState
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

from protocol.limits import MIN_DATAGRAM
from protocol.quic.connection import BoundedQuicConnection
from protocol.quic.fast_recovery import BatchPacer, BatchRecovery, Departed, SentData
from protocol.quic.trains import MAX_TRAIN_BYTES, MAX_TRAIN_DATAGRAMS, Train

BUDGET: Final = 4 * MAX_TRAIN_BYTES
"""Bytes one call returns at most: then what has arrived is looked at first."""

TAG: Final = 16
"""Bytes AES-GCM adds to a payload."""

OFFSET_SIZE: Final = 8
"""Bytes of a frame's offset: always the longest form, so that all packets are alike."""

OFFSET_FORM: Final = 0xC0 << 56
"""Says so in its first two bits (RFC 9000, section 16)."""

FRAME: Final = b"\x0c"
LAST_FRAME: Final = b"\x0d"
"""STREAM with an offset, to the end of the packet; the second also ends the stream."""

NUMBER_SIZE: Final = 2
"""Bytes of a packet number, as the library sends them."""

SAMPLE: Final = slice(2, 18)
"""What masks the header of a packet, counted from the end of a two-byte number."""


def variable(number: int) -> bytes:
    """Return *number* as a variable-length integer.

    Source: RFC 9000, section 16.
    """
    for form, size in enumerate((1, 2, 4, 8)):
        if number < 1 << (8 * size - 2):
            return (number | form << (8 * size - 2)).to_bytes(size, "big")
    raise AssertionError("stream numbers are smaller")


class BatchSender(BoundedQuicConnection):
    """Makes trains in few steps; see the module.

    Attributes:
        sent_fast: Packets that were not built by the library.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.sent_fast = 0
        self._without_data = False
        self._went_first: set[QuicStream] = set()
        self._loss = BatchRecovery(
            congestion_control_algorithm=self._configuration.congestion_control_algorithm,
            initial_rtt=self._configuration.initial_rtt,
            max_datagram_size=self._max_datagram_size,
            peer_completed_address_validation=not self._is_client,
            quic_logger=self._quic_logger,
            send_probe=self._send_probe,
            logger=self._logger,
        )
        self._loss._pacer = BatchPacer(max_datagram_size=self._max_datagram_size)

    def send_batch(self, now: float) -> list[Train]:
        if not self._may_send():
            return super().send_batch(now)
        trains: list[Train] = []
        self._pacing_at = None
        if self._is_control_due(now):
            self._without_data = True
            try:
                trains = super().send_batch(now)
            finally:
                self._without_data = False
            pacing_at: float | None = self._pacing_at
            if pacing_at is not None:
                return trains
        ready = [
            stream
            for stream in self._streams_queue
            if not stream.is_blocked
            and not stream.sender.buffer_is_empty
            and len(stream.sender._pending)
        ]
        if ready:
            trains += self._data_trains(ready, now)
        return trains

    # --- whether ----------------------------------------------------------------------

    def _may_send(self) -> bool:
        if (
            not self.is_fast
            or self._state is not QuicConnectionState.CONNECTED
            or not self._handshake_confirmed
            or self._close_pending
            # A probe may exceed the congestion window; the library knows how.
            or self._probe_pending
            or len(self._network_paths) != 1
            or not self._network_paths[0].is_validated
            or self._quic_logger is not None
        ):
            return False
        pair = self._cryptos[tls.Epoch.ONE_RTT]
        return (
            pair.send.cipher_suite is tls.CipherSuite.AES_256_GCM_SHA384
            and not pair._update_key_requested
        )

    def _is_control_due(self, now: float) -> bool:
        """Whether the library would write anything but data of streams."""
        ack_at = self._spaces[tls.Epoch.ONE_RTT].ack_at
        return bool(
            (ack_at is not None and ack_at <= now)
            or self._ping_pending
            or self._datagrams_pending
            or self._retire_connection_ids
            or self._streams_blocked_pending
            or self._handshake_done_pending
            or self._network_paths[0].remote_challenges
            or not self._crypto_streams[tls.Epoch.ONE_RTT].sender.buffer_is_empty
            or any(not connection_id.was_sent for connection_id in self._host_cids)
            or self._is_limit_due()
            or any(self._is_stream_due(stream) for stream in self._streams.values())
        )

    def _is_stream_due(self, stream: QuicStream) -> bool:
        sender = stream.sender
        receiver = stream.receiver
        return (
            receiver.stop_pending
            or sender.reset_pending
            or (receiver.is_finished and sender.is_finished)
            or (
                # The bare end of a stream.
                sender._pending_eof and not len(sender._pending) and not sender.buffer_is_empty
            )
            or self._is_stream_limit_due(stream)
        )

    def _write_stream_frame(
        self,
        builder: QuicPacketBuilder,
        space: QuicPacketSpace,
        stream: QuicStream,
        max_offset: int,
    ) -> int:
        if self._without_data and len(stream.sender._pending):
            return 0
        return super()._write_stream_frame(builder, space, stream, max_offset)

    # --- trains -------------------------------------------------------------------------

    def _data_trains(self, ready: list[QuicStream], now: float) -> list[Train]:
        """Return trains of *ready*, as many as the windows, the rate and the budget allow."""
        trains: list[Train] = []
        served: list[QuicStream] = []
        budget = BUDGET
        self._put_small_first(ready)
        while ready and budget > 0:
            stream = ready.pop(0)
            train = self._data_train(stream, now, budget)
            if train is None:
                if self._pacing_at is not None:
                    break
                continue
            trains.append(train)
            budget -= train.size
            if stream not in served:
                served.append(stream)
            if len(stream.sender._pending):
                ready.append(stream)
        if budget <= 0 and ready and self._pacing_at is None:
            # Call again, after a look at what has arrived.
            self._pacing_at = now
        if served:
            # Whoever was served stands behind whoever was not.
            self._streams_queue = [
                stream for stream in self._streams_queue if stream not in served
            ] + served
            self._note_departure(sum(train.size for train in trains), now)
        return trains

    def _put_small_first(self, ready: list[QuicStream]) -> None:
        """Move streams with little to say to the front, but not twice in a row."""
        small = {
            stream
            for stream in ready
            if stream.sender._buffer_stop - stream.sender._pending[0].start <= MIN_DATAGRAM
        }
        first = small - self._went_first
        ready.sort(key=lambda stream: stream not in first)
        self._went_first = first if len(ready) > len(first) else set()

    def _data_train(self, stream: QuicStream, now: float, budget: int) -> Train | None:
        """Return one train of *stream*, or None if nothing may be sent now."""
        sender = stream.sender
        pending = sender._pending[0]
        start = pending.start
        stop = min(
            pending.stop,
            sender.highest_offset + self._remote_max_data - self._remote_max_data_used,
            stream.max_stream_data_remote,
        )
        if stop <= start:
            return None
        pacer = self._loss._pacer
        assert isinstance(pacer, BatchPacer)
        pause = pacer.next_send_time(now)
        if pause is not None:
            self._pacing_at = pause
            return None
        # With nothing in flight there is always room: a datagram larger than the whole
        # window would wait for ever.
        window = self._loss.congestion_window
        size = min(self._max_datagram_size, window)
        room = window - self._loss.bytes_in_flight
        frame_head = 1 + len(variable(stream.stream_id or 0)) + OFFSET_SIZE
        overhead = 1 + len(self._peer_cid.cid) + NUMBER_SIZE + frame_head + TAG
        if room < min(size, overhead + stop - start):
            return None
        allowed = pacer.allowance()
        count = max(1, min(room // size, budget // size, MAX_TRAIN_BYTES // size))
        count = min(count, MAX_TRAIN_DATAGRAMS, allowed or MAX_TRAIN_DATAGRAMS)
        stop = min(stop, start + count * (size - overhead))
        train = self._encrypted(stream, start, stop, size - overhead, now)
        pacer.update_after_train(train.count)
        sender._pending.subtract(start, stop)
        if stop > sender.highest_offset:
            self._remote_max_data_used += stop - sender.highest_offset
            sender.highest_offset = stop
        if stop == sender._buffer_fin:
            sender._pending_eof = False
        if not len(sender._pending) and not sender._pending_eof:
            sender.buffer_is_empty = True
        return train

    def _encrypted(self, stream: QuicStream, start: int, stop: int, step: int, now: float) -> Train:
        """Return the bytes from *start* to before *stop* as packets of *step* bytes each."""
        sender = stream.sender
        pair = self._cryptos[tls.Epoch.ONE_RTT]
        context = pair.send
        assert context.aead is not None
        assert context.hp is not None
        encrypt = context.aead._aead.encrypt
        nonce = context.aead._iv
        first = 0x40 | self._spin_bit << 5 | pair.key_phase << 2 | (NUMBER_SIZE - 1)
        destination = self._peer_cid.cid
        prefix = bytes((first,)) + destination
        overhead = len(prefix) + NUMBER_SIZE
        identity = variable(stream.stream_id or 0)
        head = FRAME + identity
        sent = self._spaces[tls.Epoch.ONE_RTT].sent_packets
        new: Any = tuple.__new__
        payloads: list[bytes] = []
        number = begin = self._packet_number
        size = 0
        whole: Any
        with memoryview(sender._buffer) as whole:
            base = sender._buffer_start
            for at in range(start, stop, step):
                end = at + step
                fin = False
                if end >= stop:
                    end = stop
                    fin = end == sender._buffer_fin
                    if fin:
                        head = LAST_FRAME + identity
                payload = encrypt(
                    (nonce ^ number).to_bytes(12, "big"),
                    b"%b%b%b"
                    % (head, (OFFSET_FORM | at).to_bytes(8, "big"), whole[at - base : end - base]),
                    prefix + (number & 0xFFFF).to_bytes(2, "big"),
                )
                payloads.append(payload)
                length = overhead + len(payload)
                size += length
                sent[number] = new(SentData, (number, now, length, sender, at, end, fin))
                number += 1
        masks = context.hp._encryptor.update(b"".join([payload[SAMPLE] for payload in payloads]))
        buffers: list[bytes] = []
        at = 0
        for short, payload in enumerate(payloads, begin):
            buffers.append(
                b"%c%b%c%c"
                % (
                    first ^ (masks[at] & 0x1F),
                    destination,
                    (short >> 8 & 0xFF) ^ masks[at + 1],
                    (short & 0xFF) ^ masks[at + 2],
                )
            )
            buffers.append(payload)
            at += 16
        self._packet_number = number
        count = number - begin
        self.sent_fast += count
        self._spaces[tls.Epoch.ONE_RTT].ack_eliciting_in_flight += count
        departed: Any = Departed(now, size)
        self._loss._cc.on_packet_sent(packet=departed)
        return Train(buffers, overhead + len(payloads[0]), count, size)

    def _note_departure(self, size: int, now: float) -> None:
        self._loss._time_of_last_sent_ack_eliciting_packet = now
        self._network_paths[0].bytes_sent += size
        if not self._ack_eliciting_sent_since_receipt:
            # RFC 9000, section 10.1.
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = True
