"""The node's shell: sockets, clock and randomness around the broker and the reflector.

It awaits and passes on; who is served and introduced, the broker decides.
"""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import itertools
import os
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, Self

import structlog
from aiohttp import web

from protocol.address import blurred, from_sockaddr, is_loopback, is_public, to_sockaddr, to_text
from protocol.codec import RENDEZVOUS_FRAME, decode, encode
from protocol.crypto.node_proof import EXPORTER_LABEL, EXPORTER_SIZE
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.machines import fast_path_fault
from protocol.endpoint.paths import Remote, Via, address_of
from protocol.endpoint.streams import Stream
from protocol.endpoint.udp import UdpSocket
from protocol.errors import (
    CloseCode,
    LinkClosed,
    MalformedMessage,
    RemoteProtocolError,
    StreamReset,
)
from protocol.framing import FrameReader, frame
from protocol.limits import KIB, MAX_RENDEZVOUS_FRAME
from protocol.messages.rendezvous import Address, PeerMessage, Welcome
from protocol.versions import RENDEZVOUS_ALPN
from rendezvous.broker import Broker, Limits
from rendezvous.certificate import PublicCertificate
from rendezvous.events import ConnectionRefused, Event
from rendezvous.identity import NodeIdentity
from rendezvous.metrics import Metrics
from rendezvous.quota import Rate
from rendezvous.records import Store, StoreUnavailable
from rendezvous.reflector import Reflector
from rendezvous.registry import Leases, Registry
from rendezvous.settings import Settings
from rendezvous.sharing import Sharing
from rendezvous.stores.memory import MemoryStore

MAX_UNSENT: Final = 64 * KIB
"""Bytes kept for a peer that does not take what it is sent."""

REFUSAL_TIME: Final = 2.0
"""Seconds a refused peer has to acknowledge the reason before the connection is closed."""

log = structlog.get_logger("rendezvous")


class _Link:
    """One peer's connection and the stream its messages go over."""

    def __init__(self, connection: Connection, stream: Stream, source: Address) -> None:
        self.connection = connection
        self.stream = stream
        self.source = source
        self.refused: CloseCode | None = None


class Server:
    """One running node; made by ``Server.open``.

    Attributes:
        broker: Decides.
        metrics: Counts.
    """

    def __init__(
        self,
        settings: Settings,
        identity: NodeIdentity,
        endpoint: Endpoint,
        second_sockets: Sequence[UdpSocket],
        store: Store,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._endpoint = endpoint
        self._second_sockets = {udp.is_ipv6: udp for udp in second_sockets}
        self._loop = loop = asyncio.get_running_loop()
        offset = dt.datetime.now(dt.UTC).timestamp() - loop.time()
        leases = Leases(identity.sign, identity.verify, offset)
        self.name = os.urandom(8).hex()
        registry = Registry(leases, max_sessions=settings.max_sessions, node=self.name)
        self.broker = Broker(
            registry,
            _limits(settings),
            node_key=identity.public_key,
            sign=identity.sign,
            random_bytes=os.urandom,
        )
        self.sharing = Sharing(store, registry, self.broker, clock=loop.time, drain=self._drain)
        questions = settings.questions_per_second
        self._reflector = Reflector(
            # The host is left open: the node does not know by which of its names it was asked.
            [Address(bytes(4), self.discovery_port), Address(bytes(4), self.port)],
            Rate(questions * 10, questions),
        )
        self.metrics = Metrics(self.broker, self._reflector, endpoint.admission, self.sharing)
        self._links: dict[int, _Link] = {}
        self._numbers = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._public_seen = self._bridge_seen = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, settings: Settings, identity: NodeIdentity, *, store: Store | None = None
    ) -> AsyncIterator[Self]:
        """Serve until the block is left.

        Args:
            settings: What the operator chose.
            identity: The node's key.
            store: Where sessions are kept; None: where the settings say.

        Raises:
            OSError: If an address cannot be bound.
            StoreUnavailable: If the store is not there.
            CertificateUnusable: If the certificate is not one.
        """
        if store is None:
            store = open_store(settings)
        endpoint = Endpoint.open(
            [(host, settings.port) for host in settings.hosts],
            alpn_served=RENDEZVOUS_ALPN,
            retry=True,
        )
        fault = fast_path_fault()
        if fault is not None:
            log.warning("link.fast_path_off", reason=fault)
        endpoint.admission.most = settings.max_half_open
        endpoint.admission.most_per_source = settings.max_half_open_per_source
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(endpoint.close, CloseCode.LEAVING, "the node stops")
            second_sockets: list[UdpSocket] = []
            port = settings.discovery_port
            for host, _ in endpoint.addresses:
                udp = UdpSocket((host, port))
                endpoint.attach(udp)
                second_sockets.append(udp)
                port = udp.address[1]
            server = cls(settings, identity, endpoint, second_sockets, store)
            server.reload(settings)
            stack.push_async_callback(store.close)
            await store.open(server.name)
            endpoint.on_stun = server._take_question
            endpoint.on_probe = server._take_keepalive
            stack.callback(server._stop_timer)
            if settings.health_port:
                await stack.enter_async_context(server._health_listener(settings.health_port))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            accepting = tasks.create_task(server._accept(tasks))
            sharing = tasks.create_task(server.sharing.run())
            try:
                yield server
            finally:
                server.broker.stop()
                server._drain()
                accepting.cancel()
                sharing.cancel()
                # Ends the tasks of all connections, which the group waits for.
                await endpoint.close(CloseCode.LEAVING, "the node stops")

    @property
    def port(self) -> int:
        """The UDP port peers connect to."""
        return self._endpoint.addresses[0][1]

    @property
    def discovery_port(self) -> int:
        """The second UDP port."""
        return next(iter(self._second_sockets.values())).address[1]

    @property
    def address(self) -> str:
        """``host:port#fingerprint``, as peers are given it."""
        host = self._settings.public_host or self._endpoint.addresses[0][0]
        try:
            shown = to_text(from_sockaddr((host, self.port)))
        except ValueError:  # a name
            shown = f"{host}:{self.port}"
        return f"{shown}#{self._identity.fingerprint}"

    def reload(self, settings: Settings) -> None:
        """Let changed access tokens and a renewed certificate count; the rest needs a restart.

        Raises:
            CertificateUnusable: If the new one cannot be used; the old one stays.
        """
        certificate = None
        if settings.certificate:
            chain, key = Path(settings.certificate), Path(settings.certificate_key)
            certificate = PublicCertificate.read(chain, key)
        self.broker.greeter.certify(certificate)
        self.broker.greeter.admit(settings.access_tokens)

    # --- connections --------------------------------------------------------------------

    async def _accept(self, tasks: asyncio.TaskGroup) -> None:
        with contextlib.suppress(LinkClosed):
            while True:
                connection = await self._endpoint.accept()
                if len(self._links) >= self._settings.max_connections:
                    connection.close(CloseCode.BUSY, "too many connections")
                    self.metrics.turned_away("too_many")
                else:
                    tasks.create_task(self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(LinkClosed, StreamReset):
            stream = await connection.accept_stream()
            source = from_sockaddr(address_of(connection.path.remote))
            self._notice(source)
            number = next(self._numbers)
            link = self._links[number] = _Link(connection, stream, source)
            self.metrics.connections.set(len(self._links))
            exporter = connection.export(EXPORTER_LABEL, b"", EXPORTER_SIZE)
            self.broker.connected(number, source, exporter, now=self._loop.time())
            self._drain()
            try:
                await self._read(number, link)
            except RemoteProtocolError as error:
                connection.close(error.close_code, "protocol")
                self.metrics.turned_away("malformed")
            finally:
                del self._links[number]
                self.metrics.connections.set(len(self._links))
                self.broker.disconnected(number, now=self._loop.time())
                self._drain()
        connection.close()

    async def _read(self, number: int, link: _Link) -> None:
        reader = FrameReader(MAX_RENDEZVOUS_FRAME)
        while data := await link.stream.read():
            self._follow(number, link)
            for kind, body in reader.feed(data):
                if kind != RENDEZVOUS_FRAME:
                    raise MalformedMessage("not a frame of the rendezvous protocol")
                message: PeerMessage = decode(body, PeerMessage)
                await self.sharing.receive(number, message)
            if link.refused is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFUSAL_TIME):
                        await link.stream.drained()
                link.connection.close(link.refused, "refused")
                return

    def _follow(self, number: int, link: _Link) -> None:
        """Answer a peer whose NAT gave it another port.

        Another host would be unproven: nothing shows that it wants our packets. A peer that
        changed its network connects anew.
        """
        seen = link.connection.path.seen_from
        if seen is None or seen == link.connection.path.remote:
            return
        source = from_sockaddr(address_of(seen))
        if source.host == link.source.host:
            link.connection.path.remote = seen
            link.source = source
            self.broker.moved(number, source)

    def _drain(self) -> None:
        """Carry out what the broker decided; one input, then this."""
        for number, message in self.broker.messages_to_send():
            link = self._links.get(number)
            if link is None or link.connection.is_closed:
                continue
            if isinstance(message, Welcome):
                # Greeted, but still a stranger: its windows stay as narrow as they are.
                link.connection.authenticated(widen=False)
            with contextlib.suppress(LinkClosed, StreamReset):
                link.stream.write_nowait(frame(RENDEZVOUS_FRAME, encode(message)))
            if link.stream.buffered > MAX_UNSENT:
                link.connection.close(CloseCode.BUSY, "does not read")
                self.metrics.turned_away("does_not_read")
        for data, address in self.broker.datagrams_to_send():
            self._endpoint.send_datagram(data, to_sockaddr(address))
        while (event := self.broker.next_event()) is not None:
            self.metrics.count(event)
            self._act(event)
        self.sharing.pass_on()
        self._set_timer()

    def _act(self, event: Event) -> None:
        log.debug(event_name(event), **dataclasses.asdict(event))
        if not isinstance(event, ConnectionRefused):
            return
        link = self._links.get(event.connection_id)
        if link is None:
            return
        if event.close_code is CloseCode.REFUSED:
            link.refused = event.close_code  # after the peer has heard why
        else:
            link.connection.close(event.close_code)

    def _set_timer(self) -> None:
        due = self.broker.get_timer()
        if self._timer is not None:
            if due == self._timer.when():
                return
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self._time_passed)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _time_passed(self) -> None:
        self._timer = None
        self.broker.handle_timer(now=self._loop.time())
        self.sharing.expire()
        self._drain()

    # --- address discovery ----------------------------------------------------------------

    def _take_question(self, data: bytes, remote: Remote) -> None:
        source = address_of(remote)
        port = int(isinstance(remote, Via))
        reply = self._reflector.receive_datagram(
            data, from_sockaddr(source), port, now=self._loop.time()
        )
        if reply is None:
            return
        way: Remote = source
        if reply.port:
            way = Via(source, b"", self._second_sockets[":" in source[0]])
        self._endpoint.send_datagram(reply.data, way)

    def _take_keepalive(self, data: bytes, remote: Remote) -> None:
        if isinstance(remote, Via):
            return  # members rest at the first port
        self.broker.receive_datagram(data, from_sockaddr(remote), now=self._loop.time())
        self._drain()

    # --- the operator ----------------------------------------------------------------------

    def _notice(self, source: Address) -> None:
        """Remember what a container's bridge looks like: everybody comes from one private host."""
        log.debug("node.connected", source=blurred(source))
        if is_public(source):
            self._public_seen = True
        elif not is_loopback(source) and source.host[0] == 172 and source.host[-1] == 1:  # noqa: PLR2004  # the gateway of a container network
            self._bridge_seen = True

    @contextlib.asynccontextmanager
    async def _health_listener(self, port: int) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/metrics", self._figures)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield
        finally:
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        del request
        warning = ""
        if self._bridge_seen and not self._public_seen and not self._settings.loopback:
            warning = "clients appear from a container bridge; use host networking"
        values = {
            "status": "ok",
            "sessions": self.broker.sessions,
            "connections": len(self._links),
            "warning": warning or ("" if self.sharing.is_reached else "the store is not reached"),
        }
        return web.json_response(values)

    async def _figures(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=self.metrics.render(), content_type="text/plain")


def event_name(event: Event) -> str:
    """Return ``node.session_opened`` for ``SessionOpened``."""
    noun = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return f"node.{noun}"


def open_store(settings: Settings) -> Store:
    """Return the store the settings name.

    Raises:
        StoreUnavailable: If what it needs is not installed.
    """
    if settings.store == "memory":
        return MemoryStore(asyncio.get_running_loop().time)
    try:
        from rendezvous.stores.redis import RedisStore
    except ModuleNotFoundError:
        raise StoreUnavailable("a shared store needs the extra: quintet[redis]") from None
    return RedisStore(settings.store)


def _limits(settings: Settings) -> Limits:
    return Limits(
        look_ups=Rate.per_minute(settings.look_ups_per_minute),
        registrations=Rate.per_minute(settings.registrations_per_minute),
        loopback=settings.loopback,
        keepalive_interval=settings.keepalive_seconds,
        max_resting=settings.max_resting,
        access=frozenset(settings.access_tokens),
    )
