"""One connection to a rendezvous node: dialled, greeted, and proven to be that node."""

import asyncio
import datetime as dt
import re
import socket
import ssl
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final, Self

from cryptography import x509

from peer.errors import SettingInvalid
from protocol.codec import RENDEZVOUS_FRAME, decode, encode
from protocol.credentials import SHORT_FINGERPRINT, fingerprint_symbols
from protocol.crypto import node_certificate, node_proof
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Address as SocketAddress
from protocol.endpoint.streams import Stream
from protocol.errors import (
    CloseCode,
    LinkClosed,
    LocalProtocolError,
    MalformedMessage,
    NodeRefused,
    SealBroken,
)
from protocol.framing import FrameReader, frame
from protocol.idle import Keys
from protocol.limits import MAX_RENDEZVOUS_FRAME
from protocol.messages.rendezvous import (
    Address,
    Hello,
    NodeMessage,
    PeerMessage,
    Refused,
    Resume,
    Resumed,
    Welcome,
)
from protocol.versions import RENDEZVOUS_ALPN, RENDEZVOUS_VERSION

DEFAULT_PORT: Final = 47555
"""UDP port of a node that names none (node.md, section 1)."""

DIAL_TIMEOUT: Final = 3.0
"""Seconds one address of a node may take for handshake and greeting, before the next is tried."""

MAX_NODES: Final = 8
"""Nodes one setting may name."""

PUBLIC: Final = "ca"
"""Stands for the fingerprint of a node that shows a public certificate."""

_NODE: Final = re.compile(
    r"""(?: \[ (?P<v6> [0-9A-Fa-f:.]+ ) \] | (?P<host> [^\[\]:\#\s]+ ) )
        (?: : (?P<port> \d{1,5} ) )?
        (?: \# (?P<fingerprint> [0-9A-HJKMNP-TV-Z]{16} | ca ) )?""",
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node is, and how it is recognised."""

    host: str
    port: int = DEFAULT_PORT
    fingerprint: str = ""
    """First symbols of the fingerprint of its key; ``ca``: a public authority vouches for its
    host; empty: whoever answers there is it."""
    access: str = field(default="", repr=False)
    """The access token of a private node; empty where none is asked for."""
    others: "tuple[NodeAddress, ...]" = ()
    """Nodes to try if this one does not answer, in order."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the node of ``HOST[:PORT][#FINGERPRINT]``, an IPv6 host in brackets.

        ``#ca`` in place of the fingerprint asks for a certificate of a public authority.
        Several, separated by commas, are tried in turn.

        Raises:
            SettingInvalid: If *text* is not of this form.
        """
        nodes = [cls._parse_one(each) for each in text.split(",")]
        if len(nodes) > MAX_NODES:
            raise SettingInvalid("rendezvous", f"≤ {MAX_NODES}")
        return replace(nodes[0], others=tuple(nodes[1:]))

    @property
    def all(self) -> "list[NodeAddress]":
        """This node and the others."""
        return [replace(self, others=()), *self.others]

    @classmethod
    def _parse_one(cls, text: str) -> Self:
        match = _NODE.fullmatch(text.strip())
        port = int(match["port"] or DEFAULT_PORT) if match else 0
        if match is None or not 0 < port < 2**16:
            raise SettingInvalid("rendezvous", "HOST[:PORT][#FINGERPRINT]")
        return cls(match["v6"] or match["host"], port, match["fingerprint"] or "")

    async def resolve(self) -> list[SocketAddress]:
        """Return the numeric addresses behind the host, the system's favourite first.

        Raises:
            OSError: If the name means nothing.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)
        return list(dict.fromkeys((str(each[4][0]), self.port) for each in found))


class NodeLink:
    """A greeted connection; made by ``NodeLink.open``.

    Attributes:
        remote: The node's address, numeric.
        observed: Ours, as the node sees it.
        fingerprint: Of the node's key, as proven.
    """

    def __init__(self, connection: Connection, stream: Stream, remote: SocketAddress) -> None:
        self._connection = connection
        self._stream = stream
        self._frames = FrameReader(MAX_RENDEZVOUS_FRAME)
        self._received: deque[tuple[int, bytes]] = deque()
        self.remote = remote
        self.observed: Address | None = None
        self.fingerprint = ""
        self.exporter = b""
        """32 bytes that only this connection's two ends know."""
        self.began = asyncio.get_running_loop().time()
        """Loop time of its beginning."""
        self.is_resumed = False
        """Whether the node knows us from before a rest."""

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        remote: SocketAddress,
        *,
        fingerprint: str = "",
        name: str = "",
        access: str = "",
        within: float = DIAL_TIMEOUT,
    ) -> Self:
        """Return a link to the node at *remote*.

        Args:
            endpoint: Dials from the socket that offers are about.
            remote: Numeric host and port.
            fingerprint: What the node's must be; empty: any; ``ca``: that of *name*.
            name: The host it is known by.
            access: The access token, where the node asks for one.
            within: Seconds for handshake and greeting.

        Raises:
            LinkClosed: If nobody answers, or it ends meanwhile.
            NodeRefused: If the node does not serve us.
            SealBroken: If somebody else answers than who should.
            MalformedMessage: If it does not speak our protocol.
        """
        try:
            async with asyncio.timeout(within):
                try:
                    connection = await endpoint.connect(remote, alpn=RENDEZVOUS_ALPN)
                except LocalProtocolError as error:  # no socket of that family
                    raise LinkClosed(CloseCode.TIMEOUT, "unreachable", by_us=True) from error
                link = cls(connection, connection.open_stream(), remote)
                try:
                    await link._greet(fingerprint, name, access)
                except BaseException:
                    connection.close()
                    raise
        except TimeoutError:
            raise LinkClosed(CloseCode.TIMEOUT, "no answer", by_us=True) from None
        return link

    async def _greet(self, fingerprint: str, name: str, access: str) -> None:
        self.send(Hello(version=RENDEZVOUS_VERSION, access=access))
        message = await self.receive()
        if isinstance(message, Refused):
            raise NodeRefused(message.reason, message.retry_after)
        if not isinstance(message, Welcome):
            raise MalformedMessage("not a greeting")
        self.exporter = self._connection.export(
            node_proof.EXPORTER_LABEL, b"", node_proof.EXPORTER_SIZE
        )
        node_proof.check(message.node_key, self.exporter, message.proof)
        self.fingerprint = fingerprint_symbols(message.node_key)[:SHORT_FINGERPRINT]
        if fingerprint == PUBLIC:
            node_certificate.check(
                message.chain,
                message.chain_proof,
                self.exporter,
                name=name,
                roots=public_roots(),
                at=dt.datetime.now(dt.UTC),
            )
        elif fingerprint and self.fingerprint != fingerprint:
            raise SealBroken
        self.observed = message.observed
        # The node is known now, but needs no more room than a stranger.
        self._connection.authenticated(widen=False)

    async def resume(self, handle: bytes, keys: Keys, *, within: float) -> None:
        """Show the node that it was us that rested.

        Raises:
            NodeRefused: If it does not remember.
            LinkClosed, StreamReset, RemoteProtocolError, TimeoutError: If the link fails.
        """
        self.send(Resume(request_id=0, handle=handle, proof=keys.proof(self.exporter)))
        async with asyncio.timeout(within):
            message = await self.receive()
        if isinstance(message, Refused):
            raise NodeRefused(message.reason, message.retry_after)
        if not isinstance(message, Resumed):
            raise MalformedMessage("not the answer to a return")
        self.is_resumed = True

    def send(self, message: PeerMessage) -> None:
        """Send *message*.

        Raises:
            LinkClosed: If the connection ended.
        """
        self._stream.write_nowait(frame(RENDEZVOUS_FRAME, encode(message)))

    async def receive(self) -> NodeMessage:
        """Return the node's next message; to be used by one task only.

        Raises:
            LinkClosed: If the connection or the node's side of the stream ended.
            StreamReset: If the node abandoned the stream.
            MalformedMessage, FrameTooLarge: If the node breaks the protocol.
        """
        while not self._received:
            data = await self._stream.read()
            if not data:
                raise LinkClosed(CloseCode.LEAVING, "the node ended the stream")
            self._received.extend(self._frames.feed(data))
        kind, body = self._received.popleft()
        if kind != RENDEZVOUS_FRAME:
            raise MalformedMessage("not a frame of the rendezvous protocol")
        message: NodeMessage = decode(body, NodeMessage)
        return message

    def keep_alive(self, interval: float) -> None:
        """Ask for a sign of life after *interval* seconds of silence."""
        self._connection.keepalive(interval)

    @property
    def last_received(self) -> float:
        """Loop time of the last packet of the node."""
        return self._connection.path.last_received

    @property
    def round_trip(self) -> float:
        """Seconds to the node and back; 0.0 before it was measured."""
        return self._connection.round_trip or 0.0

    def close(self) -> None:
        self._connection.close(CloseCode.LEAVING)


def public_roots() -> list[x509.Certificate]:
    """Return the authorities this system trusts.

    Raises:
        SealBroken: If it names none.
    """
    context = ssl.create_default_context()
    ders = context.get_ca_certs(binary_form=True)
    if not ders:
        raise SealBroken
    return [x509.load_der_x509_certificate(each) for each in ders]
