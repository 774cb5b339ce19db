"""Opens QUIC connections to peers that sent an offer: the agents of the traversal, on sockets.

Both sides run the same: each probe opens the way for the other's, the side with the lower
probe key dials as soon as an address answers, the other lets connections in from wherever an
authentic probe came from.
"""

import asyncio
import os
from typing import Any, Final

import structlog

from peer.traversal.agent import Agent, PathFailed, PathOpened, Reachable
from peer.traversal.candidates import offered
from protocol.address import from_sockaddr, to_sockaddr
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Path, Remote, address_of
from protocol.errors import CloseCode, JoinFailed, JoinOutcome, LinkClosed
from protocol.limits import STEP_TIMEOUT
from protocol.messages.rendezvous import Address, Offer
from protocol.probe import ProbeKeys, tag_of
from protocol.versions import PEER_ALPN

log = structlog.get_logger()

PROBE_VALIDITY: Final = 30.0
"""Seconds after an authentic probe in which a connection from its source is let in
(network.md, section 6.4)."""


class MyOffer:
    """An offer of this peer and the key that opens the probes it invites."""

    def __init__(self, generation: int, hosts: list[Address], reflexive: list[Address]) -> None:
        self.keys: Final = ProbeKeys(os.urandom, generation)
        self.offer: Final = Offer(
            generation=generation,
            tag=os.urandom(4),
            probe_key=self.keys.public,
            addresses=offered(hosts, reflexive),
        )


class Paths:
    """All attempts to reach peers on one endpoint.

    Args:
        endpoint: Serves ``PEER_ALPN``; its probes are taken over.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._generation = 0
        self._agents: dict[bytes, list[_Attempt]] = {}
        endpoint.on_probe = self._take_probe

    def make_offer(self, hosts: list[Address], reflexive: list[Address]) -> MyOffer:
        """Return a new offer that names these addresses."""
        self._generation += 1
        return MyOffer(self._generation, hosts, reflexive)

    async def open(
        self,
        mine: MyOffer,
        theirs: Offer,
        *,
        delay: float = 0.0,
        loopback_allowed: bool,
        mix: bytes = b"",
    ) -> Connection:
        """Return a connection to the peer that made *theirs* and was given *mine*.

        Raises:
            JoinFailed: UNREACHABLE, if no address of theirs answered.
            LinkClosed: If one did, and no connection came of it.
        """
        agent = Agent(
            mine=mine.offer,
            keys=mine.keys,
            theirs=theirs,
            random_bytes=os.urandom,
            loopback_allowed=loopback_allowed,
            mix=mix,
        )
        attempt = _Attempt(self._endpoint, agent)
        self._agents.setdefault(agent.tag, []).append(attempt)
        connection: Connection | None = None
        try:
            attempt.start(delay)
            connection = await self._connected(attempt, is_client=agent.is_client)
        finally:
            attempt.close(keep=connection)
            self._agents[agent.tag].remove(attempt)
            if not self._agents[agent.tag]:
                del self._agents[agent.tag]
        return connection

    async def _connected(self, attempt: "_Attempt", *, is_client: bool) -> Connection:
        if is_client:
            opened = await attempt.opened
            path = Path(to_sockaddr(opened.address))
            return await self._endpoint.connect(path, alpn=PEER_ALPN, timeout=STEP_TIMEOUT)
        # The peer may have had its answer, and dialled, before we have ours.
        either: set[asyncio.Future[Any]] = {attempt.opened, attempt.accepted}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not attempt.accepted.done():
            await attempt.opened
        try:
            async with asyncio.timeout(STEP_TIMEOUT):
                return await attempt.accepted
        except TimeoutError:
            raise LinkClosed(CloseCode.TIMEOUT, "no connection came") from None

    async def run(self) -> None:
        """Hand every connection that comes in to the attempt it belongs to, for ever."""
        while True:
            connection = await self._endpoint.accept()
            source = from_sockaddr(address_of(connection.path.remote))
            attempt = next(
                (
                    attempt
                    for attempts in self._agents.values()
                    for attempt in attempts
                    if attempt.awaits(source)
                ),
                None,
            )
            if attempt is None:
                connection.close(CloseCode.REFUSED, "nobody expected")
            else:
                attempt.accepted.set_result(connection)

    def _take_probe(self, data: bytes, source: Remote) -> None:
        address = from_sockaddr(address_of(source))
        for attempt in list(self._agents.get(tag_of(data), ())):
            attempt.take(data, address)


class _Attempt:
    """One agent, its timer and what it leads to."""

    def __init__(self, endpoint: Endpoint, agent: Agent) -> None:
        self._endpoint = endpoint
        self._agent = agent
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._reachable: set[Address] = set()
        self.opened: asyncio.Future[PathOpened] = self._loop.create_future()
        self.accepted: asyncio.Future[Connection] = self._loop.create_future()

    def start(self, delay: float) -> None:
        self._agent.start(now=self._loop.time(), delay=delay)
        self._drain()

    def take(self, data: bytes, source: Address) -> None:
        self._agent.receive_probe(data, source, now=self._loop.time())
        self._drain()

    def awaits(self, source: Address) -> bool:
        """Whether a connection from *source* is this attempt's."""
        return not self._agent.is_client and source in self._reachable and not self.accepted.done()

    def close(self, *, keep: Connection | None) -> None:
        """End the attempt, and whatever connection came of it besides *keep*."""
        if self._timer is not None:
            self._timer.cancel()
        if self.accepted.done() and not self.accepted.cancelled():
            accepted = self.accepted.result()
            if accepted is not keep:
                # It came when nobody waited for it any more.
                accepted.close(CloseCode.REFUSED)
        if self.opened.done() and not self.opened.cancelled():
            self.opened.exception()  # seen: nobody waits for it any more
        self.opened.cancel()
        self.accepted.cancel()

    def _drain(self) -> None:
        now = self._loop.time()
        while (event := self._agent.next_event()) is not None:
            match event:
                case Reachable(address=address):
                    self._reachable.add(address)
                    self._endpoint.allow(to_sockaddr(address), now + PROBE_VALIDITY)
                case PathOpened(kind=kind, round_trip=round_trip):
                    log.info("paths.opened", kind=kind.value, round_trip=round(round_trip, 4))
                    if not self.opened.done():
                        self.opened.set_result(event)
                case PathFailed(tried=tried):
                    log.info("paths.failed", tried=len(tried))
                    if not self.opened.done():
                        self.opened.set_exception(JoinFailed(JoinOutcome.UNREACHABLE))
        for out in self._agent.datagrams_to_send():
            self._endpoint.send_datagram(out.data, to_sockaddr(out.address))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._agent.get_timer()
        if due is not None:
            self._timer = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._agent.handle_timer(now=self._loop.time())
        self._drain()
