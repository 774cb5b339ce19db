"""What a session needs of a link to another member; ``peer.net.mesh.Link`` is one.

The other is a folder of this computer in a local session (``peer.daemon.local_link``).
"""

from typing import Protocol

from peer.daemon.datalink import DataLink
from peer.net.mesh import OnMessage, OnStream
from protocol.errors import CloseCode, LinkClosed, QuintetError
from protocol.messages.base import Message


class MemberLink(DataLink, Protocol):
    """A link to one other member, authenticated."""

    def send(self, message: Message) -> None:
        """Queue *message*; silently nothing when the link has ended."""

    def switch(self, epoch: int) -> None:
        """Send under *epoch* from now on."""

    def violated(self, error: QuintetError) -> None:
        """End the link: the other member broke the protocol."""

    async def drained(self) -> None:
        """Wait until few messages are under way.

        Raises:
            LinkClosed: If the link ended.
        """

    async def run(self, on_message: OnMessage, on_stream: OnStream) -> LinkClosed:
        """Hand on messages and incoming data streams until the link ends."""
        ...

    def close(self, code: CloseCode = CloseCode.NORMAL) -> None:
        """End the link."""

    async def finish(self, patience: float = 1.0) -> None:
        """Wait until the other side has everything sent to it, *patience* seconds at most."""
