"""A member at rest: a datagram to the node now and then in place of a connection.

::

    resting --interval--> asked --answer--> resting
       |                    +--no answer, four times--> lost
       +--woken by the node, or by ourselves--> dials and resumes
"""

import asyncio
import random
from typing import Final

from peer.net.node_link import NodeLink
from protocol.address import from_sockaddr
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Remote
from protocol.endpoint.streams import Signal
from protocol.errors import LinkClosed, NodeRefused, RemoteProtocolError, StreamReset
from protocol.idle import Wish, handle_of, keys_of, open_answer, seal_question
from protocol.messages.rendezvous import Address

REPEATS: Final = (0.5, 1.0, 1.5)
"""Seconds between questions the node does not answer; then it counts as gone. With an interval
of 10 s that is 13 s after a crash at the latest, and a restarted node answers by then."""

MAX_REST: Final = 1200.0
"""Seconds after which a member comes back by itself: for a new lease, which lasts an hour."""

GOODBYES: Final = 2
"""How often a member says that it leaves: it does not wait for an answer."""

SPREAD: Final = 2.0
"""Seconds over which the members of a node that stops look for another one."""


class Rest:
    """One member's rest; begins at once.

    Args:
        endpoint: Its probes are listened to until ``end``.
        link: The link that rests; still open.
        handle: What the node calls this member.
        interval: Seconds between datagrams, as the node wants it.
    """

    def __init__(self, endpoint: Endpoint, link: NodeLink, handle: bytes, interval: float) -> None:
        self._endpoint = endpoint
        self._remote = link.remote
        self._fingerprint = link.fingerprint
        self._node = from_sockaddr(link.remote)
        self._keys = keys_of(link.exporter)
        self._handle = handle
        self._interval = interval
        self._sent = self._received = 0
        self._wish = Wish.NONE
        self._changed = Signal()
        self._others = endpoint.on_probe
        endpoint.on_probe = self._take
        self.observed: Address | None = link.observed
        """Our address as the node sees it."""

    def wake(self) -> None:
        """Come back, for there is something to say."""
        self._wish = max(self._wish, Wish.WAKE)
        self._changed.give()

    def leave(self) -> None:
        """Tell the node to forget this member."""
        for _ in range(GOODBYES):
            self._ask(Wish.LEAVE)

    def end(self) -> None:
        """Listen no more."""
        if self._endpoint.on_probe == self._take:
            self._endpoint.on_probe = self._others

    async def until_resumed(self, *, access: str, within: float, pace: float) -> NodeLink | None:
        """Rest until either side wants otherwise; return the new link, or None without one.

        Args:
            access: The access token, where the node asks for one.
            within: Seconds the node has to greet us again.
            pace: The link asks for a sign of life as often.
        """
        await self._rest()
        if self._wish is Wish.LEAVE:
            # Everybody who was at this node looks for another now.
            await asyncio.sleep(random.uniform(0.0, SPREAD))  # noqa: S311  # no secret
            return None
        if self._wish is Wish.NONE:
            return None  # it does not answer
        try:
            link = await NodeLink.open(
                self._endpoint,
                self._remote,
                fingerprint=self._fingerprint,
                access=access,
                within=within,
            )
        except (LinkClosed, StreamReset, NodeRefused, RemoteProtocolError):
            return None
        try:
            await link.resume(self._handle, self._keys, within=within)
        except (LinkClosed, StreamReset, NodeRefused, RemoteProtocolError, TimeoutError):
            link.close()
            return None
        except BaseException:
            link.close()
            raise
        link.keep_alive(pace)
        return link

    async def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + MAX_REST
        while self._wish is Wish.NONE:
            if loop.time() >= until:
                self.wake()
                return
            answered = self._received
            for wait in REPEATS:
                self._ask(Wish.NONE)
                await self._wait(wait, answered)
                if self._wish is not Wish.NONE or self._received > answered:
                    break
            else:
                return
            await self._wait(self._interval - REPEATS[0], None)

    async def _wait(self, seconds: float, answered: int | None) -> None:
        """Wait until a wish, an answer after *answered*, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while self._wish is Wish.NONE and (answered is None or self._received <= answered):
                    await self._changed.wait()
        except TimeoutError:
            pass

    def _ask(self, wish: Wish) -> None:
        self._sent += 1
        data = seal_question(self._keys.member, self._handle, self._sent, wish)
        self._endpoint.send_datagram(data, self._remote)

    def _take(self, data: bytes, remote: Remote) -> None:
        if handle_of(data) != self._handle:
            self._others(data, remote)
            return
        opened = open_answer(self._keys.node, data, self._received)
        if opened is None:
            return
        self._received, wish, self.observed = opened
        self._wish = max(self._wish, wish)
        self._changed.give()
