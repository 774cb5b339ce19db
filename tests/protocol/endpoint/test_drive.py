"""The endpoint: who gets in, what goes where, peers that move, other implementations."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator

import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Path, Remote, Via
from protocol.endpoint.udp import UdpSocket
from protocol.errors import CloseCode, LinkClosed, LocalProtocolError
from protocol.limits import MAX_UNAUTHENTICATED, MAX_UNAUTHENTICATED_PER_SOURCE, MIB
from protocol.quic.connection import Identity, quic_configuration
from tests.harness.endpoints import (
    ALPN,
    RecordingSocket,
    endpoints,
    link,
    linked,
    noise,
    raised_by,
    read_all,
    send_all,
    until,
)


def initial() -> bytes:
    """A client's first datagram, for a connection of its own."""
    client = QuicConnection(configuration=quic_configuration(alpn=ALPN))
    client.connect("peer", 0.0)
    return client.datagrams_to_send(0.0)[0][0]


@pytest.fixture
async def watched() -> AsyncIterator[tuple[Endpoint, RecordingSocket]]:
    """An endpoint that serves, with a socket that counts and sends nothing."""
    udp = RecordingSocket(("127.0.0.1", 0))
    udp.silent = True
    endpoint = Endpoint([udp], alpn_served=ALPN)
    yield endpoint, udp
    await endpoint.close()


# --- who gets in ----------------------------------------------------------------------------


async def test_only_allowed_addresses_get_in() -> None:
    """Everybody else meets silence until the own deadline."""
    async with endpoints() as (near, far):
        far.disallow(near.addresses[0])

        failure = await raised_by(near.connect(far.addresses[0], alpn=ALPN, timeout=0.1))

        assert isinstance(failure, LinkClosed)
        assert (failure.error_code, failure.by_us) == (CloseCode.TIMEOUT, True)
        assert far.connections == []


async def test_a_stranger_gets_in_by_retry() -> None:
    """One round trip more, and the address is proven."""
    async with endpoints(retry=True) as (near, far):
        ends = await link(near, far)

        assert ends.client.quic._retry_count == 1


async def test_an_endpoint_that_serves_nothing_lets_nobody_in() -> None:
    """A client only."""
    async with endpoints() as (near, far):
        far._alpn_served = None

        assert isinstance(
            await raised_by(near.connect(far.addresses[0], alpn=ALPN, timeout=0.1)), LinkClosed
        )


async def test_another_protocol_is_refused_at_once() -> None:
    """The answer is an alert, not a timeout."""
    async with endpoints() as (near, far):
        failure = await raised_by(near.connect(far.addresses[0], alpn="other"))

        assert isinstance(failure, LinkClosed)
        assert failure.transport


@pytest.mark.slow
async def test_ten_thousand_spoofed_initials_leave_nothing_behind() -> None:
    """T23: fewer bytes out than in, and not one connection object."""
    udp = RecordingSocket(("127.0.0.1", 0))
    udp.silent = True
    endpoint = Endpoint([udp], alpn_served=ALPN, retry=True)
    data = initial()

    for number in range(10_000):
        source = (f"10.0.{number // 250}.{number % 250}", 1024 + number)
        endpoint._take_runs([(source, [data])])

    assert endpoint.connections == []
    assert 0 < udp.bytes_out <= 10_000 * len(data)
    assert udp.datagrams_out <= 10_000
    await endpoint.close()


async def test_strangers_without_retry_get_not_one_byte(
    watched: tuple[Endpoint, RecordingSocket],
) -> None:
    """A peer is no mirror."""
    endpoint, udp = watched

    for port in range(100):
        endpoint._take_runs([(("192.0.2.1", port), [initial()])])

    assert udp.bytes_out == 0
    assert endpoint.connections == []


async def test_half_open_connections_are_limited(
    watched: tuple[Endpoint, RecordingSocket],
) -> None:
    """4 of one source, 32 in total; and no more out than three times what came in."""
    endpoint, udp = watched
    loop = asyncio.get_running_loop()
    sources: list[Remote] = [("192.0.2.1", port) for port in range(6)]
    sources += [(f"198.51.100.{host}", 1) for host in range(40)]

    counts = []
    for source in sources:
        endpoint.allow(source, loop.time() + 60)
        endpoint._take_runs([(source, [initial()])])
        counts.append(len(endpoint.connections))

    assert counts[5] == MAX_UNAUTHENTICATED_PER_SOURCE
    assert counts[-1] == MAX_UNAUTHENTICATED
    assert udp.bytes_out <= 3 * 1200 * MAX_UNAUTHENTICATED


async def test_what_nobody_can_have_encrypted_takes_no_place(
    watched: tuple[Endpoint, RecordingSocket],
) -> None:
    """An Initial's header alone opens nothing."""
    endpoint, udp = watched
    source = ("192.0.2.1", 1)
    endpoint.allow(source, asyncio.get_running_loop().time() + 60)
    data = initial()

    endpoint._take_runs([(source, [data[:100] + os.urandom(len(data) - 100)])])

    assert endpoint.connections == []
    assert udp.bytes_out == 0
    assert endpoint._admission.unauthenticated == 0


async def test_a_fault_of_the_library_ends_its_own_connection_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is reported; the rest of the batch, and everybody else, goes on."""
    async with endpoints() as (near, far):
        pairs = [await link(near, far) for _ in range(2)]
        seen: list[bytes] = []
        far.on_stun = lambda data, source: seen.append(data)
        reports: list[dict[str, object]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: reports.append(context))

        def broken(datagrams: object, peer: object, now: float) -> None:
            raise KeyError("no such frame")

        monkeypatch.setattr(pairs[0].server.quic, "receive_batch", broken)
        (connection_id, *_) = pairs[0].server.connection_ids

        far._take_runs([(near.addresses[0], [b"\x40" + connection_id + bytes(40), b"\x00stun"])])

        assert seen == [b"\x00stun"]
        assert len(reports) == 1
        assert (await pairs[0].server.wait_closed()).error_code == CloseCode.INTERNAL
        assert far.connections == [pairs[1].server]
        assert not pairs[1].server.is_closed


async def test_packets_for_nobody_are_dropped(
    watched: tuple[Endpoint, RecordingSocket],
) -> None:
    """Short, long, cut short, without the fixed bit."""
    endpoint, udp = watched
    packets = [b"\x40", b"\x40" + bytes(30), b"\xc0", b"\xc0" + bytes(1300), b"\x80" * 40, b"\x10"]

    endpoint._take_runs([(("192.0.2.1", 1), packets)])

    assert udp.bytes_out == 0
    assert endpoint.connections == []


# --- other datagrams on the same socket --------------------------------------------------------


async def test_stun_and_probes_go_to_their_owners() -> None:
    """By their first byte; answers leave from the same socket."""
    async with endpoints() as (near, far):
        seen: list[tuple[str, bytes, Remote]] = []
        far.on_stun = lambda data, source: seen.append(("stun", data, source))
        far.on_probe = lambda data, source: seen.append(("probe", data, source))
        for data in (b"\x00stun", b"\x21probe", b"\x7fquic", b"\x13none"):
            assert near.send_datagram(data, far.addresses[0])
        assert near.send_datagram(b"\x22low", far.addresses[0], ttl=5)

        await until(lambda: len(seen) == 3)

        here = near.addresses[0]
        assert seen == [
            ("stun", b"\x00stun", here),
            ("probe", b"\x21probe", here),
            ("probe", b"\x22low", here),
        ]


async def test_nothing_is_sent_where_no_socket_reaches() -> None:
    """An IPv4 endpoint and an IPv6 address."""
    async with endpoints() as (near, _):
        assert not near.send_datagram(b"x", ("::1", 9))
        with pytest.raises(LocalProtocolError):
            await near.connect(("::1", 9), alpn=ALPN)


async def test_both_families_share_a_port_where_it_is_free() -> None:
    """And one family alone will do."""
    both = Endpoint.open([("127.0.0.1", 0), ("::1", 0)])
    ports = [port for _, port in both.addresses]
    assert len(ports) == 2

    one = Endpoint.open([("127.0.0.1", ports[0]), ("::1", 0)])

    assert [host for host, _ in one.addresses] == ["::1"]
    with pytest.raises(OSError, match="in use"):
        Endpoint.open([("127.0.0.1", ports[0])])
    with pytest.raises(OSError, match="nothing"):
        Endpoint.open([])
    await both.close()
    await one.close()


# --- peers that move ----------------------------------------------------------------------------


@pytest.mark.parametrize("mover", ["client", "server"])
async def test_either_side_may_change_its_address(mover: str) -> None:
    """QUIC notices nothing; the owner sees where packets come from and follows."""
    async with linked() as ends:
        moving, staying = (
            (ends.client, ends.server) if mover == "client" else (ends.server, ends.client)
        )
        endpoint = ends.near if mover == "client" else ends.far
        stream = moving.open_stream()
        stream.write_nowait(b"before")
        theirs = await staying.accept_stream()
        assert await theirs.read() == b"before"
        old = staying.path.remote
        assert staying.path.seen_from == old

        elsewhere = UdpSocket(("127.0.0.1", 0))
        endpoint.attach(elsewhere)
        moving.path.remote = Via(moving.path.remote, socket=elsewhere)  # type: ignore[arg-type]
        stream.write_nowait(b"after")

        assert await theirs.read() == b"after"
        assert staying.path.seen_from == elsewhere.address
        assert staying.path.remote == old

        staying.path.remote = elsewhere.address
        theirs.write_nowait(noise(100_000))
        theirs.finish()
        assert len(await read_all(stream)) == 100_000
        assert isinstance(moving.path.seen_from, Via)
        assert moving.path.bytes_received > 100_000
        assert staying.path.last_received > 0
        assert len(staying.quic._network_paths) == 1
        moving.path.remote = old
        endpoint.detach(elsewhere)


async def test_a_forged_packet_moves_nobody() -> None:
    """Connection IDs can be read on the wire; only a genuine packet is a hint."""
    async with linked() as ends:
        (connection_id, *_) = ends.server.connection_ids
        before = (ends.server.path.seen_from, ends.server.path.last_received)

        ends.far._take_runs([(("192.0.2.66", 6), [b"\x40" + connection_id + os.urandom(60)])])

        assert (ends.server.path.seen_from, ends.server.path.last_received) == before


async def test_quic_crosses_a_relay_that_forwards_what_it_cannot_read() -> None:
    """A header before every packet, and the packets handed in without it."""
    async with endpoints() as (near, far):
        loop = asyncio.get_running_loop()
        up, down = Via(far.addresses[0], b"\x28up.."), Via(near.addresses[0], b"\x28down")
        far.on_probe = lambda data, source: far.inject(data[5:], down)
        near.on_probe = lambda data, source: near.inject(data[5:], up)
        far.inject(b"", down)
        far.inject(b"\x00", down)
        far.disallow(near.addresses[0])
        far.allow(down, loop.time() + 60)

        ends = await link(near, far, Path(up))
        stream = ends.client.open_stream()
        data = noise(200_000)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send_all(stream, data))
            received = await read_all(await ends.server.accept_stream())

        assert received == data
        assert ends.server.path.remote == down


async def test_a_stranger_behind_a_relay_gets_its_retry_there() -> None:
    """The header goes before that packet, too."""
    async with endpoints(retry=True) as (near, far):
        up, down = Via(far.addresses[0], b"\x28up.."), Via(near.addresses[0], b"\x28down")
        far.on_probe = lambda data, source: far.inject(data[5:], down)
        near.on_probe = lambda data, source: near.inject(data[5:], up)

        ends = await link(near, far, Path(up))

        assert ends.client.quic._retry_count == 1


async def test_a_run_of_several_connections_is_sorted_out() -> None:
    """One address, two connections, one batch."""
    async with endpoints() as (near, far):
        pairs = [await link(near, far) for _ in range(2)]
        packets: list[bytes] = []
        for pair in (*pairs, pairs[0]):
            pair.client.quic.send_ping(1)
            packets += [
                b"".join(train.buffers)
                for train in pair.client.quic.send_batch(asyncio.get_running_loop().time())
            ]
        before = [pair.server.quic.accepted for pair in pairs]

        far._take_runs([(near.addresses[0], packets)])

        after = [pair.server.quic.accepted for pair in pairs]
        assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1]


async def test_a_connection_that_ended_unseen_is_not_accepted() -> None:
    """Nobody is handed what is already over."""
    async with endpoints() as (near, far):
        client = await near.connect(far.addresses[0], alpn=ALPN)
        await until(lambda: len(far._accepted) == 1)

        client.close()
        await until(lambda: not far.connections)

        assert not far._accepted


# --- its end -------------------------------------------------------------------------------------


async def test_closing_the_endpoint_tells_every_peer() -> None:
    """And everybody who waits here; closing twice is harmless."""
    async with linked() as ends:
        async with asyncio.TaskGroup() as tasks:
            accepting = tasks.create_task(raised_by(ends.far.accept()))
            await asyncio.sleep(0)
            await ends.far.close(CloseCode.LEAVING, "bye")
        await ends.far.close()

        assert isinstance(accepting.result(), LinkClosed)
        theirs = await ends.client.wait_closed()
        assert (theirs.error_code, theirs.reason) == (CloseCode.LEAVING, "bye")
        assert not ends.far.send_datagram(b"x", ends.near.addresses[0])
        assert isinstance(
            await raised_by(ends.far.connect(ends.near.addresses[0], alpn=ALPN)),
            LocalProtocolError,
        )


async def test_a_cancelled_connect_leaves_no_connection() -> None:
    """The peer is told, too."""
    async with endpoints() as (near, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await near.connect(("127.0.0.1", 9), alpn=ALPN)

        assert all(connection.is_closed for connection in near.connections)


async def test_a_full_kernel_buffer_delays_and_loses_nothing() -> None:
    """Transmitting resumes where it stopped."""
    async with linked() as ends:
        udp = ends.near._own[False]
        kernel = udp._socket
        udp._socket = Choking(kernel)  # type: ignore[assignment]
        stream = ends.client.open_stream()
        data = noise(300_000)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send_all(stream, data))
            received = await read_all(await ends.server.accept_stream())

        assert received == data
        assert udp.lost == 0
        udp._socket = kernel


async def test_closing_waits_for_a_full_buffer_a_moment_only() -> None:
    """What cannot be sent in a quarter of a second is not worth waiting for."""
    async with endpoints() as (near, far):
        for stays_full in (False, True):
            ends = await link(near, far)
            udp = near._own[False]
            kernel = udp._socket
            udp._socket = Full(kernel)  # type: ignore[assignment]
            ends.client.close()
            assert udp.is_full
            if not stays_full:
                udp._socket = kernel
                assert (await ends.server.wait_closed()).error_code == CloseCode.NORMAL
        await near.close()
        assert not ends.server.is_closed


class Full:
    """A kernel socket whose buffer stays full."""

    def __init__(self, kernel: object) -> None:
        self._kernel = kernel

    def __getattr__(self, name: str) -> object:
        if name in {"sendmsg", "sendto"}:
            return self._refuse
        return getattr(self._kernel, name)

    def _refuse(self, *args: object) -> int:
        raise BlockingIOError


class Choking:
    """A kernel socket whose buffer is full two times out of three."""

    def __init__(self, kernel: object) -> None:
        self._kernel = kernel
        self._calls = 0

    def __getattr__(self, name: str) -> object:
        if name in {"sendmsg", "sendto"}:
            self._calls += 1
            if self._calls % 3:
                return self._refuse
        return getattr(self._kernel, name)

    def _refuse(self, *args: object) -> int:
        raise BlockingIOError


# --- other implementations ----------------------------------------------------------------------


def stock_configuration(*, is_client: bool) -> QuicConfiguration:
    """The library's own defaults, both QUIC versions and all suites."""
    configuration = QuicConfiguration(
        alpn_protocols=[ALPN], is_client=is_client, verify_mode=ssl.CERT_NONE
    )
    if not is_client:
        identity = Identity(os.urandom)
        configuration.certificate = identity.certificate
        configuration.private_key = identity.key
    return configuration


async def test_a_stock_client_talks_to_us() -> None:
    """Two mebibytes each way, by Retry."""
    far = Endpoint.open([("127.0.0.1", 0)], alpn_served=ALPN, retry=True)
    data = noise(2 * MIB)
    async with (
        asyncio.timeout(20),
        connect(*far.addresses[0], configuration=stock_configuration(is_client=True)) as client,
        asyncio.TaskGroup() as tasks,
    ):
        server = await far.accept()
        server.authenticated()
        reader, writer = await client.create_stream()
        writer.write(data)
        writer.write_eof()
        stream = await server.accept_stream()
        assert await read_all(stream) == data

        tasks.create_task(send_all(stream, data))
        assert await reader.read() == data
    await far.close()


async def test_we_talk_to_a_stock_server() -> None:
    """It echoes what it is sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.write_eof()

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        server = await serve(
            "127.0.0.1",
            0,
            configuration=stock_configuration(is_client=False),
            create_protocol=QuicConnectionProtocol,
            retry=True,
            stream_handler=lambda reader, writer: tasks.create_task(echo(reader, writer)),
        )
        assert server._transport is not None
        address = server._transport.get_extra_info("sockname")
        near = Endpoint.open([("127.0.0.1", 0)])
        connection = await near.connect(address, alpn=ALPN)
        connection.authenticated()
        stream = connection.open_stream()
        data = noise(2 * MIB)
        tasks.create_task(send_all(stream, data))

        assert await read_all(stream) == data

        await near.close()
        server.close()
