"""Makes a link of a connection between two members: the link handshake on its stream."""

import os
from collections.abc import Mapping
from typing import Any

from peer.daemon.session import Session
from peer.net.mesh import Link
from peer.net.pump import HandshakePump
from protocol.channel import ControlChannel
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.endpoint.streams import Stream
from protocol.errors import CloseCode, LinkClosed
from protocol.framing import FrameReader
from protocol.link import EpochSecrets, LinkDialler, LinkEvent, LinkListener, LinkUp
from protocol.versions import EXPORTER_SIZE, LINK_EXPORTER


async def dial(
    connection: Connection, session: Session, node: NodeIdentity, peer: int
) -> tuple[Link, Secret]:
    """Return the link to member *peer* at the other end of *connection*, and its key.

    Raises:
        RemoteProtocolError: If the other side does not prove to be that member.
        LinkClosed: If the connection ended, or nothing came in time.
    """
    stream = connection.open_stream()
    machine = LinkDialler(
        peer_index=peer, epoch=session.membership.epoch, **_common(connection, session, node)
    )
    machine.start(now=session.now)
    pump: HandshakePump[LinkEvent] = HandshakePump(machine, stream)
    return await _finish(pump, connection, stream, session)


async def listen(
    connection: Connection,
    stream: Stream,
    reader: FrameReader,
    first: tuple[int, bytes],
    *,
    session: Session,
    node: NodeIdentity,
) -> tuple[Link, Secret]:
    """Return the link to whichever member dialled, and its key.

    Raises:
        RemoteProtocolError: If the other side does not prove to be a member.
        LinkClosed: If the connection ended, or nothing came in time.
    """
    machine = LinkListener(**_common(connection, session, node))
    machine.start(now=session.now)
    pump: HandshakePump[LinkEvent] = HandshakePump(machine, stream)
    pump.adopt(reader)
    pump.take(first)
    return await _finish(pump, connection, stream, session)


def _common(connection: Connection, session: Session, node: NodeIdentity) -> Mapping[str, Any]:
    membership = session.membership
    secrets: dict[int, EpochSecrets] = {}
    roster: dict[int, bytes] = {}
    for epoch, known in sorted(membership.rosters().items()):
        key = membership.epoch_key(epoch)
        if key is not None:
            secrets[epoch] = EpochSecrets(key, known.digest)
            roster |= {entry.index: entry.node_key for entry in known.members}
    return {
        "epochs": secrets,
        "roster": roster,
        "own_index": membership.me,
        "node": node,
        "exporter": connection.export(LINK_EXPORTER, b"", EXPORTER_SIZE),
        "random_bytes": os.urandom,
    }


async def _finish(
    pump: HandshakePump[LinkEvent], connection: Connection, stream: Stream, session: Session
) -> tuple[Link, Secret]:
    event = await pump.event()
    if not isinstance(event, LinkUp):
        connection.close(CloseCode.TIMEOUT)
        raise LinkClosed(CloseCode.TIMEOUT, "link handshake", by_us=True)
    channel = ControlChannel(
        me=session.me,
        peer=event.peer_index,
        link_key=event.link_key,
        epoch=event.epoch,
        epoch_keys=session.membership.epoch_key,
    )
    return Link(connection, stream, channel, leftover=pump.rest()), event.link_key
