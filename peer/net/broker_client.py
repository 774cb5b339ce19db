"""The peer's line to the rendezvous: registers, looks up, is introduced, comes back.

::

    async with asyncio.TaskGroup() as tasks:
        client = BrokerClient(endpoint, [NodeAddress.parse("host:47555#FINGERPRINT")], offer)
        running = tasks.create_task(client.run())
        await client.wait_connected()
        await client.register(session_id, token, create=True)
        event = await client.next_event()                     # Introduced, ...
        async for start in client.look_up(session_id, offer):
            ...
        running.cancel()

After half a minute with nothing to say the connection gives way to a datagram now and then
(``peer.net.rest``); it comes back by itself when either side has something to say.

Registrations are kept up: refreshed every two minutes, and repeated with the same token at
whichever node the client connects to next.
"""

import asyncio
import contextlib
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from peer.net.broker_events import Event, Introduced, NodeDown, NodeUp, RegistrationLost
from peer.net.node_link import NodeAddress, NodeLink
from peer.net.node_requests import Requests
from peer.net.pace import Pace
from peer.net.registration import Registration
from peer.net.rest import Rest
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.streams import Signal
from protocol.errors import (
    LinkClosed,
    NodeRefusal,
    NodeRefused,
    QuintetError,
    RemoteProtocolError,
    SealBroken,
    StreamReset,
)
from protocol.limits import STEP_TIMEOUT
from protocol.messages.rendezvous import (
    Address,
    Answer,
    Introduce,
    KeepAlive,
    LookedUp,
    LookUp,
    NodeMessage,
    Offer,
    Refused,
    Register,
    Registered,
    Resting,
    Resumed,
    Rotate,
    Start,
    Unregister,
    Welcome,
)
from protocol.messages.rendezvous import Rest as RestRequest

MAX_EVENTS: Final = 256
"""Events kept for an owner that does not take them; what comes on top is lost."""

MAX_ANSWERING: Final = 10
"""Introductions answered at a time (security.md, T7); more are declined."""

RETRY_DELAY: Final = 1.0
"""Seconds before a registration is repeated that the node did not answer."""

_LASTING: Final = (NodeRefusal.ACCESS, NodeRefusal.VERSION)
"""Refusals of a greeting that another attempt does not change."""


OfferProvider: TypeAlias = Callable[[Introduce], Awaitable[Offer | None]]
"""Makes our offer for an introduction, or None to decline."""


class BrokerClient:
    """Keeps one link to one of several nodes.

    Args:
        endpoint: Dials from the socket that offers are about.
        nodes: Tried in turn.
        provide_offer: Answers introductions.
        access: The access token of a private node.
        pace: How fast it notices and repeats.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        nodes: Sequence[NodeAddress],
        provide_offer: OfferProvider,
        *,
        access: str = "",
        pace: Pace | None = None,
    ) -> None:
        assert nodes
        self._endpoint = endpoint
        self._nodes = list(nodes)
        self._provide_offer = provide_offer
        self._access = access
        self._pace = pace or Pace()
        self._loop = asyncio.get_running_loop()
        self._link: NodeLink | None = None
        self._failure: QuintetError | None = None
        self._changed = Signal()
        self._events: asyncio.Queue[Event] = asyncio.Queue(MAX_EVENTS)
        self._registrations: dict[str, Registration] = {}
        self._requests = Requests()
        self._rest: Rest | None = None
        self._last_use = 0.0
        self._answered: OrderedDict[bytes, tuple[str, Offer]] = OrderedDict()
        self._answering = 0

    # --- for the owner ----------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether a node serves us now, or will when it is asked to."""
        return self._link is not None or self._rest is not None

    @property
    def observed(self) -> Address | None:
        """Our address as the node sees it; None while there is none."""
        line = self._link or self._rest
        return None if line is None else line.observed

    @property
    def round_trip(self) -> float:
        """Seconds to the node and back; 0.0 where unknown."""
        return 0.0 if self._link is None else self._link.round_trip

    async def next_event(self) -> Event:
        """Return what happened next."""
        return await self._events.get()

    async def wait_connected(self, within: float = STEP_TIMEOUT) -> None:
        """Wait until a node serves us.

        Raises:
            NodeRefused: If none does for a reason that lasts.
            SealBroken: If none is the one it should be.
            TimeoutError: If none is reached.
        """
        async with asyncio.timeout(within):
            while not self.is_connected:
                if isinstance(self._failure, NodeRefused | SealBroken):
                    raise self._failure
                await self._changed.wait()

    async def register(
        self, session_id: str, token: bytes, *, create: bool = False, listening: bool = True
    ) -> None:
        """Register as a member, and keep it up until ``unregister``.

        Called again it changes whether we listen.

        Args:
            session_id: Nine symbols without hyphens.
            token: The session's 32 bytes.
            create: Whether the session is new, so that an ID in use is TAKEN.
            listening: Whether to be introduced to those who look for the session.

        Raises:
            NodeRefused: If the node declines; the registration is not kept then.
            TimeoutError: If the node does not answer; the registration is kept and repeated.
        """
        known = self._registrations.get(session_id)
        registration = Registration.following(
            known, session_id, token, create=create, listening=listening
        )
        registration.due = self._loop.time() + STEP_TIMEOUT
        self._registrations[session_id] = registration
        async with asyncio.timeout(STEP_TIMEOUT):
            while True:
                try:
                    await self._register(registration)
                except LinkClosed:
                    await self.wait_connected()
                except NodeRefused:
                    self._forget(registration)
                    raise
                else:
                    return

    async def rotate(self, session_id: str, new_token: bytes, new_epoch: int) -> None:
        """Let another token count from now on, at the node and here.

        Raises:
            NodeRefused: If the node declines.
            LinkClosed, TimeoutError: If it is not known whether it does.
        """
        registration = self._registrations.get(session_id)
        if registration is None:
            return  # left meanwhile
        rotate = registration.propose(self._requests.next_id(), new_token, new_epoch)
        registered = await self._ask(rotate)
        registration.rotated(registered.lease)

    def unregister(self, session_id: str) -> None:
        """Leave the session, and say so if a node is reached."""
        if self._registrations.pop(session_id, None) is None:
            return
        if self._rest is not None and not self._registrations:
            self._rest.leave()
        elif self._link is not None:
            with contextlib.suppress(LinkClosed, StreamReset):
                self._link.send(Unregister(session_id=session_id))

    async def look_up(self, session_id: str, offer: Offer) -> AsyncIterator[Start]:
        """Ask for a session's members, and yield a ``Start`` for each that answers.

        Raises:
            NodeRefused: If the node declines, or no member answers.
            LinkClosed: If the node is not reached, or lost meanwhile.
            TimeoutError: If it does not answer at all.
        """
        link = await self._usable()
        with self._requests.open() as replies:
            timed = self._timed(offer)
            link.send(LookUp(request_id=replies.request_id, session_id=session_id, offer=timed))
            async with asyncio.timeout(STEP_TIMEOUT):
                looked_up = await replies.next()
            if not isinstance(looked_up, LookedUp):
                raise RemoteProtocolError("a look-up is answered first")
            until = self._loop.time() + looked_up.expires_in
            for _ in range(looked_up.members):
                try:
                    async with asyncio.timeout_at(until):
                        start = await replies.next()
                except TimeoutError:
                    return
                if isinstance(start, Start):
                    yield start

    # --- the link ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a link to a node until cancelled."""
        delay = self._pace.first_delay
        while True:
            link = await self._connect()
            if link is None:
                # Spread out, so that the members of a restarted node do not return at once.
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
                delay = min(2 * delay, self._pace.last_delay)
                continue
            delay = self._pace.first_delay
            while link is not None:
                link = await self._use_and_rest(link)
            self._tell(NodeDown())

    async def _use_and_rest(self, link: NodeLink) -> NodeLink | None:
        """Use a link until it is lost, or rest after it; then return the one that follows."""
        try:
            await self._use(link)
        finally:
            link.close()
            self._lose()
        if self._rest is None:
            return None
        try:
            resumed = await self._rest.until_resumed(
                access=self._access, within=self._pace.dial, pace=self._pace.keep_alive
            )
        finally:
            self._rest.end()
            self._rest = None
            self._changed.give()
        if resumed is not None:
            self._link = resumed
            self._last_use = self._loop.time()
        return resumed

    async def _connect(self) -> NodeLink | None:
        failures: list[QuintetError] = []
        for number, node in enumerate(list(self._nodes)):
            try:
                remotes = await node.resolve()
            except OSError:
                continue
            for remote in remotes:
                try:
                    link = await NodeLink.open(
                        self._endpoint,
                        remote,
                        fingerprint=node.fingerprint,
                        name=node.host,
                        access=self._access,
                        within=self._pace.dial,
                    )
                except (LinkClosed, StreamReset, NodeRefused, RemoteProtocolError) as error:
                    failures.append(error)
                    continue
                assert link.observed is not None
                link.keep_alive(self._pace.keep_alive)
                self._link, self._failure = link, None
                # Once it is lost, whoever comes after it is the likelier to answer.
                self._nodes = self._nodes[number + 1 :] + self._nodes[: number + 1]
                self._tell(NodeUp(node, link.fingerprint, link.observed))
                self._changed.give()
                return link
        # What lasts is worth telling at once; what may pass is tried again.
        lasting = [each for each in failures if _lasts(each)]
        self._failure = lasting[0] if lasting and len(lasting) == len(failures) else None
        self._changed.give()
        return None

    async def _use(self, link: NodeLink) -> None:
        if not link.is_resumed:
            for registration in self._registrations.values():
                registration.due = 0.0
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_registered())
                tasks.create_task(self._watch(link))
                tasks.create_task(self._go_to_rest(link))
                while True:
                    self._take(await link.receive(), link, tasks)
        except* (LinkClosed, StreamReset, RemoteProtocolError):
            pass

    async def _watch(self, link: NodeLink) -> None:
        """Close a link that has been silent for too long, which ends its use."""
        while True:
            left = link.last_received + self._pace.silence - self._loop.time()
            if left <= 0:
                link.close()
                return
            await asyncio.sleep(left)

    async def _go_to_rest(self, link: NodeLink) -> None:
        """Let the node forget the connection, but not us, once there is nothing to say."""
        while True:
            idle = self._loop.time() - max(self._last_use, link.began)
            if idle >= self._pace.rest and self._may_rest():
                asked = self._loop.time()
                with self._requests.open() as replies:
                    link.send(RestRequest(request_id=replies.request_id))
                    try:
                        async with asyncio.timeout(STEP_TIMEOUT):
                            reply = await replies.next()
                    except (NodeRefused, TimeoutError):
                        return  # a node that has no room for it
                if isinstance(reply, Resting) and self._last_use < asked and self._may_rest():
                    self._rest = Rest(self._endpoint, link, reply.handle, reply.interval)
                    self._link = None
                    link.close()
                    return
                link.send(KeepAlive(nonce=0))  # there is something to say after all
            await asyncio.sleep(max(self._pace.rest - idle, self._pace.rest / 8))

    def _may_rest(self) -> bool:
        return bool(self._registrations) and not self._answering and not self._requests

    def _lose(self) -> None:
        self._link = None
        self._answered.clear()
        self._requests.fail()
        self._changed.give()

    def _take(self, message: NodeMessage, link: NodeLink, tasks: asyncio.TaskGroup) -> None:
        match message:
            case Introduce():
                self._last_use = self._loop.time()
                tasks.create_task(self._answer(message, link))
            case Start(request_id=None):
                own = self._answered.pop(message.introduction_id, None)
                if own is not None:
                    self._tell(Introduced(*own, message))
            case Registered() | LookedUp() | Refused() | Start() | Resting():
                self._requests.take(message)
            case KeepAlive() | Resumed():
                pass
            case Welcome():
                raise RemoteProtocolError("greeted twice")

    async def _answer(self, introduce: Introduce, link: NodeLink) -> None:
        offer = None
        listening = introduce.session_id in self._registrations
        if listening and self._answering < MAX_ANSWERING:
            self._answering += 1
            try:
                offer = await self._provide_offer(introduce)
            finally:
                self._answering -= 1
        if offer is not None:
            offer = self._timed(offer)
            self._answered[introduce.introduction_id] = (introduce.session_id, offer)
            if len(self._answered) > MAX_ANSWERING:
                self._answered.popitem(last=False)
        with contextlib.suppress(LinkClosed, StreamReset):
            link.send(Answer(introduction_id=introduce.introduction_id, offer=offer))

    # --- requests --------------------------------------------------------------------------------

    async def _keep_registered(self) -> None:
        while True:
            now = self._loop.time()
            for registration in list(self._registrations.values()):
                if registration.due <= now:
                    await self._refresh(registration)
            due = min((each.due for each in self._registrations.values()), default=None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._changed.wait()

    async def _refresh(self, registration: Registration) -> None:
        token = registration.token
        registration.due = self._loop.time() + RETRY_DELAY
        try:
            await self._register(registration)
        except (LinkClosed, StreamReset, TimeoutError):
            pass  # the watch decides whether the node is gone
        except NodeRefused as error:
            if error.retry_after:
                registration.due = self._loop.time() + error.retry_after
            elif registration.token == token and self._forget(registration):
                self._tell(RegistrationLost(registration.session_id, error))

    async def _register(self, registration: Registration) -> None:
        message = registration.message(self._requests.next_id())
        registered = await self._ask(message)
        registration.lease = registered.lease
        registration.create = False
        registration.due = self._loop.time() + (self._pace.refresh or registered.refresh_in)
        self._changed.give()

    async def _ask(self, request: Register | Rotate) -> Registered:
        link = await self._usable()
        with self._requests.open(request.request_id) as replies:
            link.send(request)
            async with asyncio.timeout(STEP_TIMEOUT):
                reply = await replies.next()
        if not isinstance(reply, Registered):
            raise RemoteProtocolError("a registration is answered with one")
        return reply

    async def _usable(self) -> NodeLink:
        """Return the link, after waking this side up if it rests."""
        self._last_use = self._loop.time()
        if self._rest is not None:
            self._rest.wake()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STEP_TIMEOUT):
                    while self._link is None:
                        await self._changed.wait()
        if self._link is None:
            raise LinkClosed(reason="no node is reached")
        return self._link

    def _forget(self, registration: Registration) -> bool:
        if self._registrations.get(registration.session_id) is not registration:
            return False
        del self._registrations[registration.session_id]
        return True

    def _timed(self, offer: Offer) -> Offer:
        milliseconds = min(round(self.round_trip * 1000), 60_000)
        return msgspec.structs.replace(offer, round_trip=milliseconds)

    def _tell(self, event: Event) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._events.put_nowait(event)


def _lasts(error: QuintetError) -> bool:
    return isinstance(error, SealBroken) or (
        isinstance(error, NodeRefused) and error.refusal in _LASTING
    )
