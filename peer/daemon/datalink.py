"""What a synchronisation needs of a link to another member; the session gives it.

Data streams are few and long-lived, opened when first needed: one for packs of small files, one
for large files, in each direction.
"""

from typing import Protocol

from protocol.crypto.records import TrafficKeys
from protocol.errors import RemoteProtocolError
from protocol.messages.transfer import TransferMessage


class OutgoingStream(Protocol):
    """The writing end of a data stream; ``protocol.endpoint.streams.Stream`` is one."""

    async def write(self, data: bytes) -> None:
        """Send *data* after waiting until little enough is under way; all of it or nothing.

        Raises:
            StreamReset: If the stream was abandoned.
            LinkClosed: If the link ended.
        """

    def write_nowait(self, data: bytes) -> None:
        """Send *data* however much is under way."""


class IncomingStream(Protocol):
    """The reading end of a data stream."""

    async def read(self, limit: int) -> bytes:
        """Return the next bytes; empty at the end.

        Raises:
            StreamReset: If the stream was abandoned.
            LinkClosed: If the link ended.
        """


class DataLink(Protocol):
    """A link to one other member, authenticated, in the present epoch."""

    @property
    def peer(self) -> int:
        """The other member's index."""

    @property
    def epoch(self) -> int:
        """The epoch outgoing transfers begin in."""

    def send(self, message: TransferMessage) -> None:
        """Send *message* on the control channel; nothing happens if the link has ended."""

    def file_keys(self, epoch: int, *, outgoing: bool) -> TrafficKeys:
        """Return the keys of file data in one direction.

        Raises:
            SealBroken: If the epoch's key is not known.
        """

    async def open_data_stream(self) -> OutgoingStream:
        """Open a unidirectional stream.

        Raises:
            LinkClosed: If the link ended.
        """

    def violated(self, error: RemoteProtocolError) -> None:
        """End the link: the other member broke the protocol."""
