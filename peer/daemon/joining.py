"""The candidate's side of a join: one attempt on one connection."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from peer.net.pump import HandshakePump
from peer.session.membership import Membership
from protocol.credentials import Password, Secret, SessionId
from protocol.crypto import password as stretching
from protocol.crypto.identity import NodeIdentity
from protocol.crypto.rsa_seal import CandidateKey
from protocol.endpoint.connections import Connection
from protocol.epochs import Commit, check_welcome
from protocol.errors import JoinFailed, JoinOutcome, RemoteProtocolError
from protocol.join.candidate import Candidate, CandidateEvent, SponsorAuthenticated, Welcomed
from protocol.join.dialog import Failed
from protocol.versions import EXPORTER_SIZE, JOIN_EXPORTER


@dataclass(frozen=True, slots=True)
class Credentials:
    """What both sides of a join know, stretched; made once per password and session."""

    session_id: SessionId
    password: Password = field(repr=False)
    prs: Secret = field(repr=False)
    tag_key: Secret = field(repr=False)

    @classmethod
    def derive(cls, session_id: SessionId, password: Password) -> "Credentials":
        """Stretch ID and password: about 0.4 s of one core, so call it in a thread."""
        return cls(
            session_id,
            password,
            stretching.derive_prs(password, session_id),
            stretching.derive_tag_key(session_id),
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """What a successful join gives."""

    membership: Membership
    sponsor: int
    """Index of the member that let this one in; the first link is with it."""
    digits: str
    """What both people may compare."""


async def join_through(
    connection: Connection,
    credentials: Credentials,
    *,
    key: CandidateKey,
    node: NodeIdentity,
    name: str,
    email: str,
    on_sponsor: Callable[[SponsorAuthenticated], None] = lambda _sponsor: None,
) -> Admission:
    """Join through the member at the other end of *connection*.

    Args:
        connection: Leads to a member, or to somebody who says so.
        credentials: What the candidate knows.
        key: The RSA pair of this join dialog.
        node: This device's identity.
        name: What this machine is called.
        email: Its person's address, or empty.
        on_sponsor: Called when the other side has proven the password; people may compare now.

    Raises:
        JoinFailed: With the outcome people are told.
        LinkClosed: If the connection ended before.
    """
    loop = asyncio.get_running_loop()
    machine = Candidate(
        session_id=credentials.session_id,
        prs=credentials.prs,
        tag_key=credentials.tag_key,
        exporter=connection.export(JOIN_EXPORTER, credentials.session_id.encoded, EXPORTER_SIZE),
        key=key,
        node=node,
        name=name,
        email=email,
        random_bytes=os.urandom,
    )
    machine.start(now=loop.time())
    stream = connection.open_stream()
    pump: HandshakePump[CandidateEvent] = HandshakePump(machine, stream)
    sponsor: SponsorAuthenticated | None = None
    try:
        while True:
            match await pump.event():
                case SponsorAuthenticated() as authenticated:
                    sponsor = authenticated
                    # It has proven the password: from now on people may take their time.
                    connection.authenticated()
                    on_sponsor(authenticated)
                case Failed(failure=failure):
                    raise failure
                case Welcomed(epoch_key=epoch_key, commit=encoded):
                    assert sponsor is not None, "the machine admits no other order"
                    membership = _membership(node, encoded, epoch_key)
                    pump.flush()
                    return Admission(membership, sponsor.index, sponsor.digits)
    except RemoteProtocolError as error:
        raise JoinFailed(JoinOutcome.PROTOCOL) from error


def _membership(node: NodeIdentity, encoded: bytes, epoch_key: Secret) -> Membership:
    commit = Commit.decode(encoded)
    check_welcome(commit, epoch_key)
    if commit.roster.find(node.node_key) is None:
        raise RemoteProtocolError("a welcome for somebody else")
    return Membership(node, commit, epoch_key, random_bytes=os.urandom)
