"""This peer at the rendezvous node: registered as a member, introduced, looking members up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Final

import structlog

from peer.daemon.session import Spawn
from peer.net.broker_client import BrokerClient
from peer.net.broker_events import Introduced, NodeDown, NodeUp, RegistrationLost
from peer.net.interfaces import host_addresses
from peer.net.node_link import NodeAddress
from peer.net.paths import MyOffer, Paths
from protocol.address import is_loopback
from protocol.credentials import Secret, SessionId
from protocol.crypto.transcript import expand
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.errors import (
    JoinFailed,
    JoinOutcome,
    LinkClosed,
    NodeRefusal,
    NodeRefused,
    QuintetError,
)
from protocol.messages.rendezvous import Address, Introduce, Offer, Start

log = structlog.get_logger()

MAX_OFFERS: Final = 32
"""Offers whose key is kept; the oldest goes first."""

REGISTER_AGAIN: Final = (0.3, 0.7, 1.5, 3.0, 6.0, 12.0, 25.0, 50.0, 60.0, 60.0)
"""Seconds between tries while the leader's new token has not reached the node. Whoever follows
a leader that vanished may change the token after three minutes only (security.md, T6)."""

PATIENT_TRIES: Final = 5
"""Tries after which the person is shown that the node does not know us."""


class Meeting:
    """One peer's dealings with the rendezvous node.

    Args:
        endpoint: Whose socket the offers are about.
        paths: Makes offers and opens connections.
        node: Where the node is, and which ones to try in its place.
        spawn: Starts a task.
        on_connection: Takes a connection that an introduction led to.
        changed: Called when ``state`` has changed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        paths: Paths,
        node: NodeAddress,
        *,
        spawn: Spawn,
        on_connection: Callable[[Connection], None],
        changed: Callable[[], None],
    ) -> None:
        self.node = node
        self.fingerprint = node.fingerprint
        self.state = "connecting"
        self._endpoint = endpoint
        self._paths = paths
        self._spawn = spawn
        self._on_connection = on_connection
        self._changed = changed
        self._offers: dict[bytes, MyOffer] = {}
        self._client = BrokerClient(endpoint, node.all, self._provide_offer, access=node.access)
        self._session_id: SessionId | None = None
        self._token = b""
        self._newest = b""
        """The token of the newest epoch known here; another's is not asked for any more."""

    # --- for both roles ------------------------------------------------------------------

    async def connect(self) -> None:
        """Reach the node.

        Raises:
            JoinFailed: RENDEZVOUS_DOWN, if it does not answer.
            NodeRefused: If it does not serve us.
            SealBroken: If another node answers than the one we were told.
        """
        try:
            await self._client.wait_connected()
        except TimeoutError:
            raise JoinFailed(JoinOutcome.RENDEZVOUS_DOWN) from None

    async def run(self) -> None:
        """Keep the line to the node and take what it says, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._client.run())
            tasks.create_task(self._take_events())

    def make_offer(self) -> MyOffer:
        """Return a new offer of this peer's present addresses."""
        observed = self._client.observed
        hosts: list[Address] = []
        for _, port in self._endpoint.addresses:
            hosts += [address for address in host_addresses(port) if address not in hosts]
        mine = self._paths.make_offer(hosts, [observed] if observed is not None else [])
        self._offers[mine.offer.tag] = mine
        while len(self._offers) > MAX_OFFERS:
            del self._offers[next(iter(self._offers))]
        return mine

    @property
    def loopback_allowed(self) -> bool:
        """Whether the node sees us on its own machine: then all may be there."""
        return self._client.observed is not None and is_loopback(self._client.observed)

    @property
    def observed(self) -> Address | None:
        """This peer's address as the node sees it."""
        return self._client.observed

    # --- members ----------------------------------------------------------------------------

    async def register(self, session_id: SessionId, token: bytes, *, create: bool) -> None:
        """Register as a member of a session.

        Raises:
            NodeRefused: If the node declines.
        """
        self._session_id, self._token = session_id, token
        await self._client.register(session_id.value, token, create=create)
        self._set("registered")

    async def register_again(self, session_id: SessionId, token: bytes) -> None:
        """Register with the token of a new epoch, once the leader has told it to the node."""
        self._newest = token
        for tries, wait in enumerate(REGISTER_AGAIN):
            if self._newest != token:
                return  # of an epoch that is past, or of a session that was left
            if tries == PATIENT_TRIES:
                self._set("down")
            try:
                await self.register(session_id, token, create=False)
            except (NodeRefused, LinkClosed, TimeoutError) as refused:
                log.debug("meeting.register_again", error=type(refused).__name__)
                await asyncio.sleep(wait)
            else:
                return
        self._set("down")

    async def rotate(self, token: bytes, epoch: int) -> None:
        """Let the token of a new epoch count at the node."""
        self._newest = token
        for wait in REGISTER_AGAIN:
            if self._session_id is None or self._newest != token:
                return
            try:
                await self._client.rotate(self._session_id.value, token, epoch)
            except (NodeRefused, LinkClosed, TimeoutError) as refused:
                # The other members wait for it: without it nobody finds them any more.
                log.debug("meeting.rotate_again", error=type(refused).__name__)
                await asyncio.sleep(wait)
            else:
                self._token = token
                return

    def leave(self) -> None:
        """Have the node forget this member."""
        if self._session_id is not None:
            self._client.unregister(self._session_id.value)
        self._session_id, self._newest = None, b""

    # --- candidates ---------------------------------------------------------------------------

    async def look_up(self, session_id: SessionId) -> AsyncIterator[tuple[MyOffer, Start]]:
        """Yield an introduction to each member that answers.

        Raises:
            JoinFailed: NOT_FOUND, THROTTLED or RENDEZVOUS_DOWN.
        """
        mine = self.make_offer()
        try:
            async for start in self._client.look_up(session_id.value, mine.offer):
                yield mine, start
        except NodeRefused as refused:
            raise _outcome(refused) from refused
        except (LinkClosed, TimeoutError) as lost:
            raise JoinFailed(JoinOutcome.RENDEZVOUS_DOWN) from lost

    async def open(self, mine: MyOffer, start: Start) -> Connection:
        """Open a path to whom *start* introduces.

        Raises:
            JoinFailed: UNREACHABLE.
            LinkClosed: If a path opened and no connection came of it.
        """
        return await self._paths.open(
            mine,
            start.offer,
            delay=start.delay / 1000,
            loopback_allowed=self.loopback_allowed,
        )

    # --- what the node says ---------------------------------------------------------------------

    async def _provide_offer(self, introduce: Introduce) -> Offer | None:
        del introduce  # whoever asks gets the same answer
        return self.make_offer().offer

    async def _take_events(self) -> None:
        while True:
            match await self._client.next_event():
                case NodeUp(node=node, fingerprint=fingerprint):
                    # Invitations name the node that answers.
                    self.node = replace(node, access=self.node.access)
                    self.fingerprint = fingerprint
                    self._set("registered" if self._session_id is not None else "connected")
                case NodeDown():
                    self._set("down")
                case Introduced(own=own, start=start):
                    mine = self._offers.get(own.tag)
                    if mine is not None:
                        self._spawn(self._meet(mine, start))
                case RegistrationLost(error=error):
                    log.warning("meeting.registration_lost", code=error.code)
                    if self._session_id is not None:
                        self._spawn(self.register_again(self._session_id, self._token))

    async def _meet(self, mine: MyOffer, start: Start) -> None:
        try:
            self._on_connection(await self.open(mine, start))
        except QuintetError as error:
            log.info("meeting.not_met", code=error.code)

    def _set(self, state: str) -> None:
        self.state = state
        self._changed()


def registration_token(epoch_key: Secret) -> bytes:
    """Return the token that members of an epoch show the node: former members lack it (T6)."""
    return expand(epoch_key.reveal(), b"rendezvous token")


def _outcome(refused: NodeRefused) -> QuintetError:
    """Return what a refused look-up means for whoever wants to join."""
    outcomes = {
        NodeRefusal.NOT_FOUND: JoinOutcome.NOT_FOUND,
        NodeRefusal.THROTTLED: JoinOutcome.THROTTLED,
        NodeRefusal.VERSION: JoinOutcome.VERSION,
    }
    outcome = outcomes.get(refused.refusal)
    return refused if outcome is None else JoinFailed(outcome, refused.retry_after)
