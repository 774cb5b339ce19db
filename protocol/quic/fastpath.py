"""The fast path: a QUIC connection whose bulk data moves by the batch.

It is the library's connection in everything but the two cases that make up nearly all
packets of a transfer: the next bytes of a stream, received or sent. On the wire nothing
differs. It reads and writes private state of one version of the library, so
``protocol.quic.fast_trial`` looks at start-up whether it does what the library does;
where it does not, ``BoundedQuicConnection`` serves alone.
"""

from aioquic.quic.configuration import QuicConfiguration

from protocol.quic.fast_receive import BatchReceiver
from protocol.quic.fast_send import BatchSender
from protocol.quic.size_probe import SizeProber


class FastQuicConnection(SizeProber, BatchReceiver, BatchSender):
    """A bounded connection with the fast path on; see ``BoundedQuicConnection``."""

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
        self.is_fast = True
