"""Keeps a link to every member: offers exchanged over common members, paths opened, again.

Of two members without a link the one that came later asks; the other answers. Both then open
the path at the same time, and the QUIC client of the pair begins the link handshake.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from peer.daemon.session import Session, Spawn
from peer.net.paths import MyOffer, Paths
from protocol.crypto.transcript import expand
from protocol.endpoint.connections import Connection
from protocol.errors import QuintetError
from protocol.messages.rendezvous import Offer
from protocol.messages.session import PathOffered

log = structlog.get_logger()

ANSWER_TIME: Final = 5.0
"""Seconds the other member has to answer an offer."""

RETRIES: Final = (0.3, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each further try; the last one repeats."""

Establish = Callable[[Connection, int], Awaitable[None]]
"""Runs the link handshake with a member on a connection and gives the link to the session."""


class Reaching:
    """Opens the links that are missing.

    Args:
        session: Whose links.
        paths: Opens connections from offers.
        make_offer: Makes a new offer of this peer.
        establish: Makes a link of a connection.
        loopback_allowed: Whether members may be on this machine.
        spawn: Starts a task.
    """

    def __init__(
        self,
        session: Session,
        paths: Paths,
        *,
        make_offer: Callable[[], MyOffer],
        establish: Establish,
        loopback_allowed: bool,
        spawn: Spawn,
    ) -> None:
        self._session = session
        self._paths = paths
        self._make_offer = make_offer
        self._establish = establish
        self._loopback_allowed = loopback_allowed
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._under_way: set[int] = set()
        self._answers: dict[int, asyncio.Future[Offer]] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}
        """The newest opening of each member that asked; one at a time."""

    def reach_missing(self) -> None:
        """Begin to reach every member this one has no link to and should ask."""
        for index in self._session.membership.roster.present:
            if index < self._session.me and index not in self._under_way and self._lacks(index):
                self._under_way.add(index)
                self._spawn(self._reach(index))

    def take(self, message: PathOffered, via: int) -> None:
        """Take an offer another member made to this one, handed on by member *via*."""
        if not message.wanted:
            answer = self._answers.get(message.origin)
            if answer is not None and not answer.done():
                answer.set_result(message.offer)
            return
        origin = message.origin
        if origin == self._session.me or origin not in self._session.membership.roster.present:
            return
        if origin in self._answering:
            # It has given up on its offer before.
            self._answering.pop(origin).cancel()
        mine = self._make_offer()
        # Back the way it came: who handed it on has a link to both.
        self._send(origin, mine, via=via, wanted=False)
        self._answering[origin] = self._spawn(self._open(origin, mine, message.offer))

    def _lacks(self, index: int) -> bool:
        session = self._session
        return (
            not session.ended.is_set()
            and index not in session.links
            and index in session.membership.roster.present
        )

    async def _reach(self, index: int) -> None:
        tries = 0
        try:
            while self._lacks(index):
                await self._ask(index, tries)
                if self._lacks(index):
                    await asyncio.sleep(RETRIES[min(tries, len(RETRIES) - 1)])
                tries += 1
        finally:
            self._under_way.discard(index)

    async def _ask(self, index: int, tries: int) -> None:
        """Ask once, over another common member each time: not all have a link to *index*."""
        links = sorted(self._session.links)
        if not links:
            return
        answer: asyncio.Future[Offer] = self._loop.create_future()
        self._answers[index] = answer
        mine = self._make_offer()
        try:
            self._send(index, mine, via=links[tries % len(links)], wanted=True)
            async with asyncio.timeout(ANSWER_TIME):
                theirs = await answer
        except TimeoutError:
            log.info("reaching.no_answer", member=index)
        else:
            await self._open(index, mine, theirs)
        finally:
            del self._answers[index]

    async def _open(self, index: int, mine: MyOffer, theirs: Offer) -> None:
        key = self._session.membership.epoch_key(self._session.membership.epoch)
        assert key is not None, "the key in force is always known"
        try:
            connection = await self._paths.open(
                mine,
                theirs,
                loopback_allowed=self._loopback_allowed,
                mix=expand(key.reveal(), b"probe"),
            )
            try:
                await self._establish(connection, index)
            except BaseException:
                connection.close()
                raise
        except QuintetError as error:
            log.info("reaching.failed", member=index, code=error.code)

    def _send(self, index: int, mine: MyOffer, *, via: int, wanted: bool) -> None:
        offered = PathOffered(
            origin=self._session.me, destination=index, offer=mine.offer, wanted=wanted
        )
        self._session.send(via, offered)
