"""The start-up check that the fast path does what the library does.

``protocol.quic.selftest`` decides whether a program may run at all; this decides only
how fast. The same damaged batches go to a fast and to a plain receiver, the same data
leaves a fast and a plain sender; whatever a peer could notice must be equal.
"""

import importlib.metadata
from collections.abc import Callable
from typing import Any, Final

from aioquic import tls
from aioquic.quic import events

from protocol.quic.connection import BoundedQuicConnection, Identity, quic_configuration
from protocol.quic.fastpath import FastQuicConnection
from protocol.quic.selftest import PINNED
from protocol.quic.trains import datagrams

SIZE: Final = 48_000
"""Bytes the trial sends: forty datagrams and less than the first window."""

_ALPN: Final = "trial"
_PEER: Final = "peer"
_ROUNDS: Final = 24
_STEP: Final = 0.01


def fault_of_fast_path(random_bytes: Callable[[int], bytes]) -> str | None:
    """Return why the fast path may not be used, or None if it may.

    Args:
        random_bytes: Source of a throw-away key.
    """
    installed = importlib.metadata.version("aioquic")
    if installed != PINNED:
        return f"aioquic {installed} is installed, {PINNED} was examined"
    try:
        identity = Identity(random_bytes)
        data = random_bytes(SIZE)
        fast, plain = FastQuicConnection, BoundedQuicConnection
        usual = _Trial(identity, plain, plain).run(data)
        receiving = _Trial(identity, fast, fast).run(data)
        sending = _Trial(identity, fast, plain).run(data)
    except Exception as exc:  # noqa: BLE001  # whatever breaks here would break a transfer
        return f"the trial broke: {type(exc).__name__}"
    if receiving.received != sending.received:
        return "batches are received differently"
    if not receiving.taken_fast or not sending.sent_fast:
        return "the fast path was not taken"
    if not usual.ended == receiving.ended == sending.ended:
        return "a transfer ends differently"
    return None


class _Findings:
    """What one trial showed."""

    def __init__(self) -> None:
        self.received: list[Any] = []
        self.ended: list[Any] = []
        self.taken_fast = 0
        self.sent_fast = 0


class _Trial:
    """A client that sends and a server that receives, in memory."""

    def __init__(
        self,
        identity: Identity,
        sender: type[BoundedQuicConnection],
        receiver: type[BoundedQuicConnection],
    ) -> None:
        self._now = 0.0
        self._data: list[bytes] = []
        self.sender = sender(configuration=quic_configuration(alpn=_ALPN))
        self.receiver = receiver(
            configuration=quic_configuration(alpn=_ALPN, identity=identity),
            original_destination_connection_id=self.sender.original_destination_connection_id,
        )

    def run(self, data: bytes) -> _Findings:
        """Connect, send *data* over a bad network, and look at both ends."""
        found = _Findings()
        self.sender.connect(_PEER, self._now)
        self._exchange()
        # More than the congestion window lets out at first, so that the end is a part.
        stream_id = self.sender.get_next_available_stream_id()
        self.sender.send_stream_data(stream_id, data, end_stream=True)
        begun = self.sender._packet_number
        batch: list[bytes] = []
        for _ in range(_ROUNDS):
            # The rate does not let out a whole window at once.
            self._now += _STEP
            batch += self._packets()
        damaged = bytes((batch[5][0],)) + batch[5][1:-1] + bytes((batch[5][-1] ^ 1,))
        self.receiver.receive_batch(
            [*batch[:2], batch[3], batch[3], damaged, batch[4], *batch[6:]], _PEER, self._now
        )
        found.received = self._books(begun)
        self._exchange()
        found.ended = [b"".join(self._data) == data, *self._accounts(stream_id)]
        found.taken_fast = getattr(self.receiver, "taken_fast", 0)
        found.sent_fast = getattr(self.sender, "sent_fast", 0)
        return found

    def _books(self, begun: int) -> list[Any]:
        """Return what the receiver has noted, packets numbered from *begun*."""
        space = self.receiver._spaces[tls.Epoch.ONE_RTT]
        window = space.received_packets
        (stream,) = self.receiver._streams.values()
        self._drain()
        return [
            [(r.start - begun, r.stop - begun) for r in space.ack_queue if r.start >= begun],
            [number in window for number in range(begun, begun + 12)],
            space.expected_packet_number - begun,
            space.largest_received_packet - begun,
            space.ack_at is None,
            stream.receiver.highest_offset,
            stream.receiver.starting_offset(),
            self.receiver._local_max_data.used,
            self.receiver.accepted,
            len(b"".join(self._data)),
        ]

    def _accounts(self, stream_id: int) -> list[Any]:
        """Return what must be settled at both ends."""
        stream = self.sender._streams[stream_id]
        space = self.sender._spaces[tls.Epoch.ONE_RTT]
        return [
            stream.sender.is_finished,
            len(stream.sender._buffer),
            stream.sender.highest_offset,
            self.sender._remote_max_data_used,
            self.sender.bytes_in_flight,
            space.ack_eliciting_in_flight,
            self.receiver._streams[stream_id].receiver.is_finished,
            self.receiver._local_max_data.used,
            self.receiver.unread,
        ]

    def _packets(self) -> list[bytes]:
        """Return what the sender sends now, a datagram each."""
        return [data for train in self.sender.send_batch(self._now) for data in datagrams(train)]

    def _drain(self) -> None:
        for machine in (self.sender, self.receiver):
            while (event := machine.next_event()) is not None:
                if isinstance(event, events.StreamDataReceived):
                    self._data.append(event.data)

    def _exchange(self) -> None:
        for _ in range(_ROUNDS):
            self._now += _STEP
            for machine in (self.sender, self.receiver):
                timer = machine.get_timer()
                if timer is not None and timer <= self._now:
                    machine.handle_timer(self._now)
            self.receiver.receive_batch(self._packets(), _PEER, self._now)
            self._drain()
            for train in self.receiver.send_batch(self._now):
                self.sender.receive_batch(train.buffers, _PEER, self._now)
            self._drain()
