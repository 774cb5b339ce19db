"""Every UDP datagram of a program: QUIC connections, probes and STUN on the same sockets.

The API in short; everything runs on one asyncio loop::

    endpoint = Endpoint.open([("0.0.0.0", 0), ("::", 0)], alpn_served=PEER_ALPN,
                             retry=False, on_stun=..., on_probe=...)
    endpoint.addresses                      # bound (host, port), one per socket
    endpoint.allow(remote, until)           # admit Initials from there without Retry
    endpoint.send_datagram(data, remote, ttl=None)
    endpoint.inject(data, Via(...))         # a QUIC packet that came through a relay
    connection = await endpoint.connect(path_or_address, alpn=..., timeout=10.0)
    connection = await endpoint.accept()    # after its handshake; LinkClosed at the end
    await endpoint.close()

    connection.path, .alpn, .is_client, .round_trip, .is_closed
    connection.authenticated()              # raises the windows, stops the deadline
    connection.extend(seconds)              # moves the deadline of 10 s
    connection.export(label, context, length)
    stream = connection.open_stream(unidirectional=False)
    stream = await connection.accept_stream()
    connection.keepalive(seconds); connection.set_datagram_size(1452)
    connection.close(code, reason); how = await connection.wait_closed()

    await stream.write(data); stream.write_nowait(data); stream.finish()
    data = await stream.read(limit)         # b"" at the end
    data = await stream.read_exactly(count)
    await stream.drained()                  # everything written was acknowledged
    stream.reset(code); stream.stop(code)

Awaiting ends with ``LinkClosed`` when the connection ended (what was received before
can still be read) and ``StreamReset`` when one stream was abandoned.

Timers below a millisecond need an event loop on ``select``: epoll rounds up, and the
pacing of packets then waits ten times too long. Use
``asyncio.SelectorEventLoop(selectors.SelectSelector())`` where throughput matters.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Self

from protocol.endpoint.admission import Admission, Challenge
from protocol.endpoint.connections import Connection
from protocol.endpoint.demux import FIXED, LONG, Kind, destination_of, initial_header, kind_of
from protocol.endpoint.machines import machine
from protocol.endpoint.paths import Address, Path, Remote, Via, address_of
from protocol.endpoint.streams import Signal
from protocol.endpoint.timers import Timers
from protocol.endpoint.udp import UdpSocket, open_sockets
from protocol.errors import CloseCode, LinkClosed, LocalProtocolError
from protocol.limits import LINK_IDLE, STEP_TIMEOUT
from protocol.quic.connection import (
    CID_SIZE,
    Identity,
    quic_configuration,
)
from protocol.quic.trains import Train, prefixed

RECEIVE_BATCH: Final = 64
"""Datagrams taken before anything is sent: one acknowledgement then covers them all."""

CLOSING_TIME: Final = 0.25
"""Seconds ``close`` waits for a full kernel buffer."""

Receiver = Callable[[bytes, Remote], None]
"""Takes a datagram and where it came from."""


def ignore(data: bytes, source: Remote) -> None:
    """Take a datagram nobody asked for."""
    del data, source


class Endpoint:
    """All roles of one program on its UDP sockets.

    Args:
        sockets: At most one per address family; this endpoint closes them.
        alpn_served: The protocol incoming connections must speak; None: none come in.
        retry: Whether strangers may connect, after a Retry (T23).
        on_stun: Takes datagrams that begin with 0 to 3.
        on_probe: Takes datagrams that begin with 32 to 47.
        idle_timeout: Seconds of silence after which a connection is given up.
    """

    def __init__(
        self,
        sockets: Sequence[UdpSocket],
        *,
        alpn_served: str | None = None,
        retry: bool = False,
        on_stun: Receiver = ignore,
        on_probe: Receiver = ignore,
        idle_timeout: float = LINK_IDLE,
    ) -> None:
        self.on_stun = on_stun
        self.on_probe = on_probe
        self._loop = asyncio.get_running_loop()
        self._alpn_served = alpn_served
        self._idle_timeout = idle_timeout
        self._identity = Identity(os.urandom)
        self._admission = Admission(retry=retry, random_bytes=os.urandom)
        self._connections: dict[Connection, Remote | None] = {}
        self._routes: dict[bytes, Connection] = {}
        self._timers: Timers[Connection] = Timers(self._loop, self._expired)
        self._dirty: dict[Connection, None] = {}
        self._flush_handle: asyncio.Handle | None = None
        self._accepted: deque[Connection] = deque()
        self._changed = Signal()
        self._is_closed = False
        self._own: dict[bool, UdpSocket] = {}
        self._sockets: list[UdpSocket] = []
        for udp in sockets:
            assert udp.is_ipv6 not in self._own
            self._own[udp.is_ipv6] = udp
            self._read_from(udp, None)

    @classmethod
    def open(
        cls,
        binds: Sequence[Address],
        *,
        alpn_served: str | None = None,
        retry: bool = False,
        on_stun: Receiver = ignore,
        on_probe: Receiver = ignore,
        idle_timeout: float = LINK_IDLE,
        offload: bool = True,
    ) -> Self:
        """Return an endpoint bound to *binds*, at most one per address family.

        A second family takes the port the first got, where that is free.

        Raises:
            OSError: If not even one of them can be bound.
        """
        return cls(
            open_sockets(binds, offload=offload),
            alpn_served=alpn_served,
            retry=retry,
            on_stun=on_stun,
            on_probe=on_probe,
            idle_timeout=idle_timeout,
        )

    # --- what the owner asks --------------------------------------------------------------

    @property
    def addresses(self) -> list[Address]:
        """Where the endpoint's own sockets are bound."""
        return [udp.address for udp in self._own.values()]

    @property
    def connections(self) -> list[Connection]:
        """All connections, those being closed included."""
        return list(self._connections)

    @property
    def admission(self) -> Admission:
        """Who may open a connection, and how many were turned away."""
        return self._admission

    def allow(self, remote: Remote, until: float) -> None:
        """Admit connections from *remote* without Retry until the loop time *until*."""
        self._admission.allow(remote, until, self._loop.time())

    def disallow(self, remote: Remote) -> None:
        """Forget that *remote* was allowed."""
        self._admission.disallow(remote)

    def send_datagram(self, data: bytes, remote: Remote, *, ttl: int | None = None) -> bool:
        """Send one datagram that is no QUIC packet; return False if nothing can reach there."""
        udp = self._socket_to(remote)
        if udp is None or self._is_closed:
            return False
        udp.send_one(data, address_of(remote), ttl)
        return True

    def inject(self, data: bytes, source: Via) -> None:
        """Take a QUIC packet that came wrapped in something else, from *source*."""
        if data and kind_of(data[0]) is Kind.QUIC:
            self._take_runs([(source, [data])])

    def attach(self, udp: UdpSocket) -> None:
        """Read from another socket, too: its datagrams come ``Via`` it."""
        self._read_from(udp, udp)

    def detach(self, udp: UdpSocket) -> None:
        """Close a socket that was attached."""
        self._sockets.remove(udp)
        self._loop.remove_reader(udp)
        self._loop.remove_writer(udp)
        udp.close()

    async def connect(
        self,
        remote: Path | Remote,
        *,
        alpn: str,
        timeout: float = STEP_TIMEOUT,  # noqa: ASYNC109  # the handshake's own deadline closes the connection, too
    ) -> Connection:
        """Return a connection to *remote* once its handshake has completed.

        Raises:
            LinkClosed: If it failed; with ``CloseCode.TIMEOUT`` if it took too long.
        """
        path = remote if isinstance(remote, Path) else Path(remote)
        if self._is_closed or self._socket_to(path.remote) is None:
            raise LocalProtocolError(f"no socket reaches {path}")
        configuration = quic_configuration(
            alpn=alpn, idle_timeout=self._idle_timeout, datagram_size=path.datagram_size
        )
        quic = machine()(configuration=configuration)
        connection = Connection(self, quic, path, alpn=alpn, is_client=True)
        self._connections[connection] = None
        self.issued(connection, quic.host_cid)
        now = self._loop.time()
        quic.connect(path, now)
        self.transmit(connection, now)
        try:
            async with asyncio.timeout(timeout):
                await connection.wait_established()
        except TimeoutError:
            connection.close(CloseCode.TIMEOUT, "handshake")
            raise LinkClosed(CloseCode.TIMEOUT, "handshake", by_us=True) from None
        except asyncio.CancelledError:
            connection.close()
            raise
        return connection

    async def accept(self) -> Connection:
        """Return the next connection that came in, after its handshake.

        Raises:
            LinkClosed: If the endpoint was closed.
        """
        while not self._accepted:
            if self._is_closed:
                raise LinkClosed(CloseCode.NORMAL, "endpoint closed", by_us=True)
            await self._changed.wait()
        return self._accepted.popleft()

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close every connection, tell the peers, and close the sockets."""
        if self._is_closed:
            return
        for connection in list(self._connections):
            connection.close(code, reason)
        self._is_closed = True
        self._changed.give()
        try:
            async with asyncio.timeout(CLOSING_TIME):
                while any(udp.is_full for udp in self._sockets):
                    await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self._timers.close()
            if self._flush_handle is not None:
                self._flush_handle.cancel()
            for udp in list(self._sockets):
                self.detach(udp)
            self._connections.clear()
            self._routes.clear()
            self._dirty.clear()

    # --- receiving ------------------------------------------------------------------------

    def _read_from(self, udp: UdpSocket, via: UdpSocket | None) -> None:
        self._sockets.append(udp)
        self._loop.add_reader(udp, self._readable, udp, via)

    def _readable(self, udp: UdpSocket, via: UdpSocket | None) -> None:
        batch = udp.recv_batch(RECEIVE_BATCH)
        if via is None:
            self._take_runs(batch)
        else:
            self._take_runs([(Via(address, b"", via), run) for address, run in batch])

    def _take_runs(self, batch: Sequence[tuple[Remote, list[bytes]]]) -> None:
        now = self._loop.time()
        touched: dict[Connection, None] = {}
        for source, datagrams in batch:
            current: Connection | None = None
            run: list[bytes] = []
            for data in datagrams:
                first = data[0]
                if first & (FIXED | LONG) == FIXED:
                    connection = self._routes.get(data[1 : 1 + CID_SIZE])
                elif first & FIXED:
                    connection = self._routes.get(destination_of(data))
                    if connection is None:
                        connection = self._admit(data, source, now)
                        if connection is not None:
                            touched[connection] = None
                        continue
                else:
                    self._take_other(data, source)
                    continue
                if connection is None:
                    continue
                if connection is not current:
                    if current is not None:
                        self._feed(current, run, source, now)
                    current = connection
                    run = []
                    touched[connection] = None
                run.append(data)
            if current is not None:
                self._feed(current, run, source, now)
        for connection in touched:
            self.transmit(connection, now)

    def _take_other(self, data: bytes, source: Remote) -> None:
        kind = kind_of(data[0])
        if kind is Kind.STUN:
            self.on_stun(data, source)
        elif kind is Kind.PROBE:
            self.on_probe(data, source)

    def _feed(self, connection: Connection, run: list[bytes], source: Remote, now: float) -> None:
        path = connection.path
        path.bytes_received += sum(map(len, run))
        try:
            genuine = connection.receive(run, now)
        except Exception as exc:  # noqa: BLE001  # see below
            # A fault in the library's parsers. One peer's packet may end that peer's
            # connection, never another's batch.
            self._loop.call_exception_handler(
                {"message": f"{connection} broke on a packet", "exception": exc}
            )
            connection.break_off()
            return
        if genuine:
            path.last_received = now
            path.seen_from = source

    def _admit(self, data: bytes, source: Remote, now: float) -> Connection | None:
        if self._alpn_served is None or self._is_closed:
            return None
        header = initial_header(data)
        if header is None:
            return None
        verdict = self._admission.judge(header, source, now)
        if verdict is None:
            return None
        if isinstance(verdict, Challenge):
            prefix = source.prefix if isinstance(source, Via) else b""
            self.send_datagram(prefix + verdict.packet, source)
            return None
        quic = machine()(
            configuration=quic_configuration(
                alpn=self._alpn_served, identity=self._identity, idle_timeout=self._idle_timeout
            ),
            original_destination_connection_id=verdict.original,
            retry_source_connection_id=verdict.retry_source,
        )
        connection = Connection(self, quic, Path(source), alpn=self._alpn_served, is_client=False)
        self._connections[connection] = source
        self._admission.opened(address_of(source))
        self.issued(connection, header.destination_cid)
        self.issued(connection, quic.host_cid)
        self._feed(connection, [data], source, now)
        if not quic.accepted and not connection.is_closed:
            # Nobody who can make a packet sent this: it may not take a place.
            connection.break_off()
        if connection.is_closed:
            return None
        return connection

    # --- sending --------------------------------------------------------------------------

    def time(self) -> float:
        return self._loop.time()

    def transmit(self, connection: Connection, now: float) -> None:
        """Send what *connection* has to send, and set its timer."""
        if connection not in self._connections:
            return
        path = connection.path
        udp = self._socket_to(path.remote)
        if udp is not None and udp.is_full and not connection.is_closed:
            # Sending on would only fill our own queue; the writer callback resumes.
            self._dirty[connection] = None
        else:
            trains = connection.quic.send_batch(now)
            if trains and udp is not None:
                if isinstance(path.remote, Via) and path.remote.prefix:
                    trains = [prefixed(train, path.remote.prefix) for train in trains]
                self._send(udp, trains, address_of(path.remote))
                path.bytes_sent += sum(train.size for train in trains)
                path.last_sent = now
                if connection.is_closed:
                    self._keep_close(connection, trains)
            connection.drain()
        connection.deadline = connection.next_deadline()
        self._timers.update(connection)

    def transmit_soon(self, connection: Connection) -> None:
        """Transmit once the code running now has finished."""
        if self._is_closed:
            return
        self._dirty[connection] = None
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        now = self._loop.time()
        dirty, self._dirty = self._dirty, {}
        for connection in dirty:
            self.transmit(connection, now)

    def _send(self, udp: UdpSocket, trains: list[Train], address: Address) -> None:
        udp.send(trains, address)
        if udp.is_full:
            self._loop.add_writer(udp, self._writable, udp)

    def _writable(self, udp: UdpSocket) -> None:
        if udp.flush():
            self._loop.remove_writer(udp)
            self._changed.give()
            self._flush()

    def _keep_close(self, connection: Connection, trains: list[Train]) -> None:
        packets = [b"".join(train.buffers) for train in trains]

        def repeat() -> None:
            for data in packets:
                self.send_datagram(data, connection.path.remote)

        connection.keep_close(repeat)

    def _socket_to(self, remote: Remote) -> UdpSocket | None:
        if isinstance(remote, Via) and remote.socket is not None:
            return remote.socket
        return self._own.get(":" in address_of(remote)[0])

    def _expired(self, due: list[Connection], now: float) -> None:
        for connection in due:
            connection.handle_timer(now)
        for connection in due:
            self.transmit(connection, now)

    # --- what connections tell ------------------------------------------------------------

    def established(self, connection: Connection) -> None:
        """Offer a connection that came in to ``accept``."""
        if not connection.is_client:
            self._accepted.append(connection)
            self._changed.give()

    def authenticated(self, connection: Connection) -> None:
        """Stop counting it among the strangers."""
        source = self._connections.get(connection)
        if source is not None:
            self._connections[connection] = None
            self._admission.settled(address_of(source))

    def issued(self, connection: Connection, connection_id: bytes) -> None:
        """Route *connection_id* to *connection*."""
        connection.connection_ids.add(connection_id)
        self._routes[connection_id] = connection

    def retired(self, connection: Connection, connection_id: bytes) -> None:
        """Route it no more."""
        connection.connection_ids.discard(connection_id)
        self._routes.pop(connection_id, None)

    def terminated(self, connection: Connection) -> None:
        """Forget the connection."""
        if connection not in self._connections:
            return
        if connection in self._accepted:
            self._accepted.remove(connection)
        self.authenticated(connection)
        del self._connections[connection]
        for connection_id in list(connection.connection_ids):
            self.retired(connection, connection_id)
        connection.deadline = None
