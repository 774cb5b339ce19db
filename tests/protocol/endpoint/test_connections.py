"""Connections on real sockets: who vouches, how they end, what both ends share."""

import asyncio

import pytest

from protocol.errors import CloseCode, LinkClosed, LocalProtocolError
from protocol.limits import MAX_DATAGRAM, MIB, MIN_DATAGRAM, PRE_AUTH_WINDOW
from protocol.quic.size_probe import SizeProber
from tests.harness.endpoints import ALPN, endpoints, link, linked, raised_by, until


async def test_both_ends_export_the_same() -> None:
    """And know their roles, their protocol and a round trip."""
    async with linked() as ends:
        exported = [c.export(b"EXPORTER-x", b"c", 32) for c in (ends.client, ends.server)]

        assert exported[0] == exported[1]
        assert (ends.client.is_client, ends.server.is_client) == (True, False)
        assert (ends.client.alpn, ends.server.alpn) == (ALPN, ALPN)
        assert ends.client.round_trip is not None
        assert ends.client.is_authenticated
        assert "client" in repr(ends.client)


async def test_a_stranger_sends_no_more_than_the_first_window() -> None:
    """Until somebody vouches; then the rest arrives."""
    async with endpoints() as (near, far):
        client = await near.connect(far.addresses[0], alpn=ALPN)
        server = await far.accept()
        stream = client.open_stream()
        stream.write_nowait(bytes(MIB))
        theirs = await server.accept_stream()
        await until(lambda: server.quic.unread == PRE_AUTH_WINDOW)
        assert not server.is_authenticated

        server.authenticated()
        server.authenticated()

        assert len(await theirs.read_exactly(MIB)) == MIB


async def test_a_connection_nobody_vouches_for_is_closed() -> None:
    """Even if it keeps sending: a byte now and then buys no time (T23)."""
    async with endpoints() as (near, far):
        client = await near.connect(far.addresses[0], alpn=ALPN)
        client.authenticated()
        server = await far.accept()
        server.extend(0.15)
        stream = client.open_stream()

        sent = 0
        while not client.is_closed:
            stream.write_nowait(b"x")
            sent += 1
            await asyncio.sleep(0.01)

        ended = await client.wait_closed()
        assert (ended.error_code, ended.by_us) == (CloseCode.TIMEOUT, False)
        assert sent > 5
        assert far._admission.unauthenticated == 1
        await until(lambda: not far.connections)
        assert far._admission.unauthenticated == 0


async def test_the_owner_can_give_more_time() -> None:
    """People decide slowly; the deadline moves, until somebody vouches."""
    async with endpoints() as (near, far):
        client = await near.connect(far.addresses[0], alpn=ALPN)
        server = await far.accept()
        for end in (client, server):
            end.extend(0.05)
        server.extend(60)
        client.extend(0.1)

        ended = await client.wait_closed()
        assert ended.by_us
        server.extend(0.0)
        assert (await server.wait_closed()).error_code == CloseCode.TIMEOUT
        server.authenticated()
        assert not server.is_authenticated
        client.extend(1)


async def test_a_close_says_who_and_why_on_both_sides() -> None:
    """Once; a second close changes nothing; a long reason is cut."""
    async with linked() as ends:
        ends.client.close(CloseCode.REPLACED, "r" * 1000)
        ends.client.close(CloseCode.INTERNAL, "later")

        theirs = await ends.server.wait_closed()
        mine = await ends.client.wait_closed()

        assert (theirs.error_code, theirs.reason, theirs.by_us) == (12, "r" * 200, False)
        assert (mine.error_code, mine.by_us, mine.transport) == (12, True, False)
        assert ends.server.ended is theirs
        await until(lambda: not ends.near.connections)
        await until(lambda: not ends.far.connections)
        assert not ends.near._routes
        assert not ends.far._routes


async def test_a_lost_close_is_repeated_to_who_goes_on_sending() -> None:
    """RFC 9000, section 10.2.1: the answer to late packets, ever more rarely."""
    async with linked() as ends:
        elsewhere = ends.server.path.remote
        ends.server.path.remote = ("127.0.0.1", 9)
        ends.server.close(CloseCode.LEAVING)
        ends.server.path.remote = elsewhere
        assert not ends.client.is_closed

        ends.client.open_stream().write_nowait(b"anybody there?")

        ended = await ends.client.wait_closed()
        assert ended.error_code == CloseCode.LEAVING


async def test_a_protocol_violation_of_the_library_is_a_transport_close() -> None:
    """Its codes are not ours, and are marked."""
    async with linked() as ends:
        ends.client.quic.close(error_code=0x0A, frame_type=0x08, reason_phrase="violation")
        ends.client.transmit_soon()

        theirs = await ends.server.wait_closed()
        mine = await ends.client.wait_closed()

        assert (theirs.error_code, theirs.transport, theirs.by_us) == (10, True, False)
        assert (mine.transport, mine.by_us) == (True, True)


async def test_silence_ends_a_connection_unless_it_is_kept_alive() -> None:
    """Pings go out only when nothing arrives."""
    async with endpoints() as (near, far):
        near._idle_timeout = far._idle_timeout = 0.3
        quiet = await link(near, far)
        kept = await link(near, far)
        kept.client.keepalive(0.05)

        ended = await quiet.client.wait_closed()
        await quiet.server.wait_closed()

        assert (ended.reason, ended.transport) == ("Idle timeout", True)
        assert not kept.client.is_closed
        assert not kept.server.is_closed
        kept.client.keepalive(None)
        await kept.server.wait_closed()


async def test_connection_ids_follow_the_machine() -> None:
    """Issued ones lead here; a retired one leads nowhere; the client may change its own."""
    async with linked() as ends:
        await until(lambda: bool(ends.client.quic._peer_cid_available))
        before = set(ends.server.connection_ids)

        ends.client.quic.change_connection_id()
        ends.client.transmit_soon()
        await until(lambda: ends.server.connection_ids != before)

        stream = ends.client.open_stream()
        stream.write_nowait(b"still here")
        theirs = await ends.server.accept_stream()
        assert await theirs.read() == b"still here"
        assert set(ends.far._routes) == ends.server.connection_ids


async def test_a_cancelled_accept_loses_no_stream() -> None:
    """It stays for the next who asks."""
    async with linked() as ends:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await ends.server.accept_stream()

        ends.client.open_stream().write_nowait(b"x")

        assert (await ends.server.accept_stream()).stream_id == 0


async def test_datagrams_grow_when_the_owner_says_so() -> None:
    """After a padded check passed; they shrink the same way."""
    async with linked() as ends:
        ends.client.set_datagram_size(1452)
        stream = ends.client.open_stream()
        stream.write_nowait(bytes(20_000))
        theirs = await ends.server.accept_stream()
        await theirs.read_exactly(20_000)

        assert ends.client.path.datagram_size == 1452
        assert ends.client.quic._max_datagram_size == 1452


async def test_a_link_finds_out_how_large_datagrams_may_be() -> None:
    """Loopback carries the largest; a new path begins where every path does."""
    async with linked() as ends:
        quic = ends.client.quic
        assert isinstance(quic, SizeProber)
        await until(lambda: quic.datagram_size == MAX_DATAGRAM)

        ends.client.forget_path()
        after = quic.datagram_size

        assert after == MIN_DATAGRAM
        await until(lambda: quic.datagram_size == MAX_DATAGRAM)


async def test_a_new_path_is_measured_anew() -> None:
    """The owner decides when it is one."""
    async with linked() as ends:
        ends.client.forget_path()

        assert ends.client.round_trip is None
        ends.client.quic.send_ping(1)
        ends.client.transmit_soon()
        await until(lambda: ends.client.round_trip is not None)


async def test_nothing_is_exported_from_a_handshake_that_failed() -> None:
    """The error is ours: the caller asked too early."""
    async with endpoints() as (near, _):
        near_failure = await raised_by(near.connect(("127.0.0.1", 9), alpn=ALPN, timeout=0.05))

        assert isinstance(near_failure, LinkClosed)
        (connection,) = near.connections
        with pytest.raises(LocalProtocolError):
            connection.export(b"x", b"", 32)
