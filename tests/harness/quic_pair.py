"""Two QUIC machines whose datagrams are handed over directly, in virtual time."""

import os
from collections.abc import Callable
from typing import Any

from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.rangeset import RangeSet

from protocol.quic.connection import BoundedQuicConnection, Identity, quic_configuration
from protocol.quic.fastpath import FastQuicConnection
from protocol.quic.trains import datagrams

ALPN = "quintet-test"
PEER = "peer"


class QuicPair:
    """A client and a server.

    Attributes:
        now: Virtual time, seconds.
        events: Events of each machine since the last look.
        drop: Decides which datagrams are lost; takes the sender and the bytes.
    """

    def __init__(
        self,
        *,
        client_alpn: str = ALPN,
        client: QuicConnection | None = None,
        datagram_size: int = 1200,
        idle_timeout: float = 30.0,
    ) -> None:
        self.now = 0.0
        self.drop: Callable[[QuicConnection, bytes], bool] = lambda sender, data: False
        # Mostly ours; some tests bring a client of the library as it is.
        self.client: Any = client or FastQuicConnection(
            configuration=quic_configuration(
                alpn=client_alpn, datagram_size=datagram_size, idle_timeout=idle_timeout
            )
        )
        self.server = FastQuicConnection(
            configuration=quic_configuration(
                alpn=ALPN,
                identity=Identity(os.urandom),
                datagram_size=datagram_size,
                idle_timeout=idle_timeout,
            ),
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self.events: dict[QuicConnection, list[events.QuicEvent]] = {
            self.client: [],
            self.server: [],
        }
        self.sizes: dict[QuicConnection, int] = {self.client: 0, self.server: 0}

    def connect(self) -> None:
        """Run the handshake."""
        self.client.connect(PEER, self.now)
        self.run()

    def run(self, rounds: int = 12, step: float = 0.01) -> None:
        """Hand datagrams over, *step* seconds a round."""
        for _ in range(rounds):
            self.now += step
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                timer = sender.get_timer()
                if timer is not None and timer <= self.now:
                    sender.handle_timer(self.now)
                if not sender._network_paths:
                    continue
                for data in sent_by(sender, self.now):
                    self.sizes[sender] = max(self.sizes[sender], len(data))
                    if not self.drop(sender, data):
                        deliver(receiver, data, self.now)
                self._drain(sender)
                self._drain(receiver)

    def received(self, receiver: QuicConnection) -> int:
        """Bytes of stream data *receiver* got as events."""
        return sum(
            len(event.data)
            for event in self.events[receiver]
            if isinstance(event, events.StreamDataReceived)
        )

    def _drain(self, machine: QuicConnection) -> None:
        while (event := machine.next_event()) is not None:
            self.events[machine].append(event)


def sent_by(sender: QuicConnection, now: float) -> list[bytes]:
    """Return the datagrams *sender* has to send now."""
    if isinstance(sender, BoundedQuicConnection):
        return [data for train in sender.send_batch(now) for data in datagrams(train)]
    return [data for data, _ in sender.datagrams_to_send(now)]


def deliver(receiver: QuicConnection, data: bytes, now: float) -> None:
    """Hand one datagram over."""
    if isinstance(receiver, BoundedQuicConnection):
        receiver.receive_batch([data], PEER, now)
    else:
        receiver.receive_datagram(data, PEER, now)


def stock_client() -> QuicConnection:
    """A client of the library as it is: it takes whatever windows it is told."""
    configuration = quic_configuration(alpn=ALPN)
    return QuicConnection(configuration=configuration)


def stock_server(client: QuicConnection) -> QuicConnection:
    """A server of the library as it is, with its own generous windows."""
    bounded = quic_configuration(alpn=ALPN, identity=Identity(os.urandom))
    configuration = QuicConfiguration(
        alpn_protocols=[ALPN],
        is_client=False,
        certificate=bounded.certificate,
        private_key=bounded.private_key,
    )
    return QuicConnection(
        configuration=configuration,
        original_destination_connection_id=client.original_destination_connection_id,
    )


def send_at(client: QuicConnection, stream_id: int, offset: int, data: bytes = b"x") -> None:
    """Make *client* send *data* at *offset* of a stream, whatever it is allowed."""
    client.send_stream_data(stream_id, b"")
    stream = client._streams[stream_id]
    sender = stream.sender
    sender._buffer = bytearray(data)
    sender._buffer_start = offset
    sender._buffer_stop = offset + len(data)
    sender._pending = RangeSet([range(offset, offset + len(data))])
    sender.highest_offset = offset
    sender.buffer_is_empty = False
    stream.is_blocked = False
    stream.max_stream_data_remote = 1 << 60
    client._remote_max_data = 1 << 60
