"""How a session is entered: created, or joined through one of its members."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from peer.daemon.attending import Attending
from peer.daemon.joining import Credentials, join_through
from peer.daemon.meeting import Meeting
from peer.net.node_link import NodeAddress
from peer.net.paths import MyOffer, Paths
from peer.session.membership import Membership
from protocol.credentials import Password, SessionId
from protocol.crypto.identity import NodeIdentity
from protocol.crypto.rsa_seal import CandidateKey
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.errors import CloseCode, JoinFailed, JoinOutcome, LinkClosed, QuintetError
from protocol.join.candidate import SponsorAuthenticated
from protocol.limits import APPROVAL_TIMEOUT, STEP_TIMEOUT
from protocol.messages.rendezvous import Start

log = structlog.get_logger()

CONNECT_TIME: Final = 15.0
"""Seconds to reach any member (security.md, section 4.1)."""

TRY_NEXT: Final = frozenset(
    {JoinOutcome.UNREACHABLE, JoinOutcome.TIMEOUT, JoinOutcome.MEMBERS_UNREACHABLE}
)
"""Outcomes after which another member may do better."""


OnSponsor = Callable[[SponsorAuthenticated], None]
"""Takes note of who has proven the password."""


@dataclass(slots=True)
class Entrance:
    """What entering needs, and what it leaves behind: the line to the node.

    Args:
        node: The rendezvous node.
        endpoint: This peer's sockets.
        paths: Opens connections.
        identity: This device's key.
        name: What this machine is called.
        email: Its person's address, or empty.
        spawn: Starts a task.
        changed: Called when something that people see has changed.
    """

    node: NodeAddress
    endpoint: Endpoint
    paths: Paths
    identity: NodeIdentity
    name: str
    email: str
    spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
    changed: Callable[[], None]
    meeting: Meeting = field(init=False)
    attending: Attending | None = field(init=False, default=None)
    sponsor: SponsorAuthenticated | None = field(init=False, default=None)
    """Who has proven the password and asks the others, or its people, to let this peer in."""
    _running: "asyncio.Task[None] | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.meeting = Meeting(
            self.endpoint,
            self.paths,
            self.node,
            spawn=self.spawn,
            on_connection=self._take_connection,
            changed=self.changed,
        )

    async def connect(self) -> None:
        """Reach the node and keep the line to it."""
        self._running = self.spawn(self.meeting.run())
        await self.meeting.connect()

    def close(self) -> None:
        """Give up the line to the node."""
        if self._running is not None:
            self._running.cancel()

    def attend(self, membership: Membership, credentials: Credentials) -> Attending:
        """Return the session this peer is now in."""
        self.attending = Attending(
            membership,
            credentials,
            node=self.identity,
            name=self.name,
            paths=self.paths,
            meeting=self.meeting,
            make_offer=self.meeting.make_offer,
            loopback_allowed=self.meeting.loopback_allowed,
            spawn=self.spawn,
            changed=self.changed,
        )
        return self.attending

    def _take_connection(self, connection: Connection) -> None:
        if self.attending is None:
            connection.close(CloseCode.REFUSED)
        else:
            self.attending.take_connection(connection)


async def enter_by_creating(entrance: Entrance) -> Attending:
    """Create a session and register it at the node.

    Raises:
        JoinFailed: RENDEZVOUS_DOWN.
        NodeRefused: If the node declines.
    """
    session_id = SessionId.generate(os.urandom)
    password = Password.generate(os.urandom)
    await entrance.connect()
    credentials = await asyncio.to_thread(Credentials.derive, session_id, password)
    membership = Membership.create(
        entrance.identity, entrance.name, entrance.email, random_bytes=os.urandom
    )
    attending = entrance.attend(membership, credentials)
    try:
        await attending.create_at_node()
    except BaseException as error:
        await _unattend(entrance, attending)
        if isinstance(error, TimeoutError | LinkClosed):
            raise JoinFailed(JoinOutcome.RENDEZVOUS_DOWN) from None
        raise
    return attending


async def enter_by_joining(
    entrance: Entrance, session_id: SessionId, password: Password
) -> Attending:
    """Join a session through whichever member answers first.

    Raises:
        JoinFailed: With the outcome people are told.
    """
    loop = asyncio.get_running_loop()
    # Both take their time in threads while the node is reached.
    made = loop.run_in_executor(None, CandidateKey.generate)
    derived = loop.run_in_executor(None, Credentials.derive, session_id, password)
    await entrance.connect()
    found: asyncio.Queue[_Found] = asyncio.Queue()
    searching = entrance.spawn(_search(entrance, session_id, found))
    try:
        credentials, key = await derived, await made
        async with asyncio.timeout(CONNECT_TIME + STEP_TIMEOUT) as limit:

            def wait_for_people(sponsor: SponsorAuthenticated) -> None:
                entrance.sponsor = sponsor
                entrance.changed()
                if sponsor.needs_approval:
                    limit.reschedule(loop.time() + APPROVAL_TIMEOUT + STEP_TIMEOUT)

            return await _join_first(entrance, credentials, key, found, wait_for_people)
    except TimeoutError:
        raise JoinFailed(JoinOutcome.TIMEOUT) from None
    finally:
        searching.cancel()
        await asyncio.wait([searching])
        while not found.empty():
            unused = found.get_nowait()
            if isinstance(unused, Connection):
                unused.close()


_Found = Connection | QuintetError | None
"""A member reached, why nobody can be, or the end of the search."""


async def _join_first(
    entrance: Entrance,
    credentials: Credentials,
    key: CandidateKey,
    found: "asyncio.Queue[_Found]",
    on_sponsor: OnSponsor,
) -> Attending:
    last: QuintetError = JoinFailed(JoinOutcome.UNREACHABLE)
    while (reached := await found.get()) is not None:
        if isinstance(reached, QuintetError):
            raise reached
        try:
            return await _join_on(reached, entrance, credentials, key, on_sponsor)
        except JoinFailed as failed:
            reached.close()
            if failed.outcome not in TRY_NEXT:
                raise
            last = failed
        except QuintetError as error:
            reached.close()
            log.info("entering.member_lost", code=error.code)
        except BaseException:
            reached.close()
            raise
    raise last


async def _join_on(
    connection: Connection,
    entrance: Entrance,
    credentials: Credentials,
    key: CandidateKey,
    on_sponsor: OnSponsor,
) -> Attending:
    admission = await join_through(
        connection,
        credentials,
        key=key,
        node=entrance.identity,
        name=entrance.name,
        email=entrance.email,
        on_sponsor=on_sponsor,
    )
    attending = entrance.attend(admission.membership, credentials)
    sponsor = admission.membership.roster.entry(admission.sponsor)
    if sponsor is not None:
        attending.session.digits[sponsor.node_key] = admission.digits
    try:
        await attending.enter(connection, admission.sponsor)
    except BaseException as error:
        await _unattend(entrance, attending)
        if isinstance(error, QuintetError):
            raise JoinFailed(JoinOutcome.LINK_FAILED) from error
        raise
    return attending


async def _unattend(entrance: Entrance, attending: Attending) -> None:
    """Forget a session that did not come to be."""
    entrance.attending = None
    await attending.close()


async def _search(
    entrance: Entrance, session_id: SessionId, found: "asyncio.Queue[_Found]"
) -> None:
    """Put a connection to each member that can be reached into *found*, then None."""
    opening: list[asyncio.Task[None]] = []
    try:
        async for mine, start in entrance.meeting.look_up(session_id):
            opening.append(entrance.spawn(_open(entrance, mine, start, found)))
        for task in opening:
            await task
        found.put_nowait(None)
    except QuintetError as error:
        found.put_nowait(error)
    finally:
        for task in opening:
            task.cancel()
        if opening:
            await asyncio.wait(opening)


async def _open(
    entrance: Entrance, mine: MyOffer, start: Start, found: "asyncio.Queue[_Found]"
) -> None:
    found.put_nowait(await entrance.meeting.open(mine, start))
