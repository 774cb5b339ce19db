"""Streams on real sockets: bulk, back-pressure, ends of every kind, cancellation."""

import asyncio
import hashlib

import pytest

from protocol.endpoint.streams import HIGH_WATER, Stream
from protocol.errors import CloseCode, LinkClosed, LocalProtocolError, StreamReset
from protocol.limits import MIB, STREAM_WINDOW
from tests.harness.endpoints import (
    Linked,
    linked,
    noise,
    raised_by,
    read_all,
    send_all,
    until,
)


async def exchange(ends: Linked, size: int) -> None:
    """Send *size* bytes each way at once and compare."""
    up, down = noise(size), noise(size)
    mine = ends.client.open_stream()
    mine.write_nowait(up[:1])
    theirs = await ends.server.accept_stream()

    async with asyncio.TaskGroup() as tasks:
        got_up = tasks.create_task(read_all(theirs))
        got_down = tasks.create_task(read_all(mine))
        tasks.create_task(send_all(mine, up[1:]))
        tasks.create_task(send_all(theirs, down))

    assert hashlib.sha256(got_up.result()).digest() == hashlib.sha256(up).digest()
    assert hashlib.sha256(got_down.result()).digest() == hashlib.sha256(down).digest()


@pytest.mark.slow
@pytest.mark.parametrize("offload", [True, False], ids=["offload", "plain"])
async def test_sixteen_mebibytes_cross_both_ways_at_once(offload: bool) -> None:
    """With the kernel's batching and without, every byte arrives."""
    async with linked(offload=offload) as ends:
        await exchange(ends, 16 * MIB)


async def test_ipv6_carries_the_same() -> None:
    """The v6 socket of loopback."""
    async with linked("::1") as ends:
        await exchange(ends, MIB // 2)


async def test_many_streams_share_a_connection() -> None:
    """More than the peer may have open at once: they take turns."""
    async with linked() as ends:

        async def send(index: int) -> None:
            stream = ends.client.open_stream(unidirectional=True)
            await send_all(stream, bytes([index]) * 2000)

        async with asyncio.TaskGroup() as tasks:
            for index in range(100):
                tasks.create_task(send(index))
            received = [await read_all(await ends.server.accept_stream()) for _ in range(100)]

        assert sorted(received) == [bytes([i]) * 2000 for i in range(100)]
        await until(lambda: not ends.server._streams)
        assert not ends.client._streams


async def test_a_slow_reader_stops_the_writer_and_holds_only_a_window() -> None:
    """Back-pressure: bounded memory on both sides, nothing lost when reading resumes."""
    async with linked() as ends:
        stream = ends.client.open_stream()
        data = noise(STREAM_WINDOW + 6 * MIB)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(send_all(stream, data))
            theirs = await ends.server.accept_stream()
            await until(lambda: ends.server.quic.unread == STREAM_WINDOW)
            assert stream.buffered >= HIGH_WATER
            assert stream.buffered <= STREAM_WINDOW + 65_536
            assert not writer.done()

            received = await read_all(theirs)

        assert received == data
        await stream.drained()
        assert stream.buffered == 0


async def test_reads_end_with_the_stream_and_keep_ending() -> None:
    """An empty read is the end, again and again; the other direction lives on."""
    async with linked() as ends:
        mine = ends.client.open_stream()
        mine.write_nowait(b"question")
        mine.finish()
        mine.finish()
        theirs = await ends.server.accept_stream()

        assert [await theirs.read(5), await theirs.read(), await theirs.read()] == [
            b"quest",
            b"ion",
            b"",
        ]
        assert await theirs.read() == b""
        await theirs.write(b"answer")
        theirs.finish()
        assert await read_all(mine) == b"answer"
        assert mine.is_finished
        with pytest.raises(LocalProtocolError):
            mine.write_nowait(b"more")


async def test_exact_reads_join_and_split_what_arrives() -> None:
    """Whatever the datagrams; a stream that ends early is no short read."""
    async with linked() as ends:
        stream = ends.client.open_stream(unidirectional=True)
        data = noise(5000)
        await send_all(stream, data, piece=700)
        theirs = await ends.server.accept_stream()

        parts = [await theirs.read_exactly(n) for n in (1, 2999, 1900)]

        assert b"".join(parts) == data[:4900]
        assert isinstance(await raised_by(theirs.read_exactly(101)), LinkClosed)
        assert await theirs.read_exactly(100) == data[4900:]
        assert isinstance(await raised_by(theirs.read_exactly(STREAM_WINDOW)), LocalProtocolError)


async def test_a_cancelled_read_loses_nothing() -> None:
    """Also one that waits for more than has arrived."""
    async with linked() as ends:
        stream = ends.client.open_stream()
        stream.write_nowait(b"abc")
        theirs = await ends.server.accept_stream()
        for read in (theirs.read_exactly(6), theirs.read_exactly(6)):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await read

        stream.write_nowait(b"def")

        assert await theirs.read_exactly(6) == b"abcdef"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await theirs.read()


async def test_a_cancelled_write_took_nothing() -> None:
    """And one that returned took everything."""
    async with linked() as ends:
        stream = ends.client.open_stream()
        stream.write_nowait(bytes(STREAM_WINDOW + HIGH_WATER))
        theirs = await ends.server.accept_stream()
        await until(lambda: ends.server.quic.unread == STREAM_WINDOW)
        stream.write_nowait(bytes(STREAM_WINDOW))

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await stream.write(b"never")
        stream.finish()

        received = await read_all(theirs)
        assert len(received) == 2 * STREAM_WINDOW + HIGH_WATER
        assert b"never" not in received


async def test_a_reset_stream_fails_its_readers() -> None:
    """With the code; what was not read is gone; the connection lives on."""
    async with linked() as ends:
        stream = ends.client.open_stream()
        stream.write_nowait(b"abc")
        theirs = await ends.server.accept_stream()

        stream.reset(7)
        stream.reset(8)
        await until(lambda: theirs._stopped is not None)

        failure = await raised_by(theirs.read())
        assert isinstance(failure, StreamReset)
        assert (failure.error_code, failure.by_us) == (7, False)
        assert isinstance(await raised_by(theirs.read_exactly(1)), StreamReset)
        assert isinstance(await raised_by(stream.write(b"x")), StreamReset)
        assert not ends.client.is_closed
        theirs.finish()
        await until(lambda: not ends.server._streams)


async def test_a_stopped_stream_fails_its_writers_and_frees_the_window() -> None:
    """What still arrives is consumed unseen; our readers get our own code."""
    async with linked() as ends:
        stream = ends.client.open_stream()
        stream.write_nowait(bytes(3 * STREAM_WINDOW))
        theirs = await ends.server.accept_stream()
        await until(lambda: ends.server.quic.unread == STREAM_WINDOW)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(raised_by(stream.write(b"x")))
            waiter = tasks.create_task(raised_by(stream.drained()))
            await asyncio.sleep(0)
            theirs.stop(9)
            theirs.stop(10)

        for failure in (writer.result(), waiter.result()):
            assert isinstance(failure, StreamReset)
            assert (failure.error_code, failure.by_us) == (9, False)
        mine = await raised_by(theirs.read())
        assert isinstance(mine, StreamReset)
        assert (mine.error_code, mine.by_us) == (9, True)
        assert ends.server.quic.unread == 0
        assert isinstance(await raised_by(stream.write(b"x")), StreamReset)


async def test_what_crosses_a_stop_is_consumed_unseen() -> None:
    """The writer may end a stream it was told to stop; both sides forget it."""
    async with linked() as ends:
        stream = ends.client.open_stream()
        stream.write_nowait(b"first")
        theirs = await ends.server.accept_stream()
        assert await theirs.read() == b"first"

        stream.write_nowait(b"crossing")
        theirs.stop(4)
        theirs.finish()
        await until(lambda: stream._refused is not None)
        stream.finish()

        await until(lambda: not ends.server._streams and not ends.client._streams)
        assert ends.server.quic.unread == 0
        assert ends.server.quic._consumed == len(b"firstcrossing")


async def test_a_stream_refused_before_it_was_known_cannot_be_written() -> None:
    """The peer opens it, wants no answer, and is done."""
    async with linked() as ends:
        for stays in (True, False):
            stream = ends.client.open_stream()
            stream.write_nowait(b"x")
            ends.client.quic.stop_stream(stream.stream_id, 5)
            if not stays:
                stream.finish()
            theirs = await ends.server.accept_stream()
            await until(lambda s=theirs: ends.server.quic.send_refused(s.stream_id) is not None)

            failure = await raised_by(theirs.write(b"answer"))

            assert isinstance(failure, StreamReset)
            theirs.finish()


async def test_stopping_what_has_ended_is_harmless() -> None:
    """So is resetting what can only be read."""
    async with linked() as ends:
        stream = ends.client.open_stream(unidirectional=True)
        await send_all(stream, b"abc")
        theirs = await ends.server.accept_stream()
        assert await read_all(theirs) == b"abc"

        theirs.stop()
        theirs.reset()
        stream.stop()

        assert await theirs.read() == b""
        assert repr(theirs) == "<Stream 2>"
        assert isinstance(await raised_by(theirs.write(b"x")), LocalProtocolError)


async def test_what_was_received_before_the_close_can_still_be_read() -> None:
    """The close may overtake the reader, not the bytes."""
    async with linked() as ends:
        whole, part = (ends.client.open_stream() for _ in range(2))
        await send_all(whole, b"whole")
        await part.write(b"part")
        theirs = [await ends.server.accept_stream() for _ in range(2)]
        await until(lambda: bool(theirs[0]._chunks and theirs[1]._chunks))

        ends.client.close(CloseCode.LEAVING, "bye")
        await ends.server.wait_closed()

        assert await read_all(theirs[0]) == b"whole"
        assert await theirs[1].read() == b"part"
        failure = await raised_by(theirs[1].read())
        assert isinstance(failure, LinkClosed)
        assert (failure.error_code, failure.reason, failure.by_us) == (13, "bye", False)


async def test_everybody_who_waits_learns_of_the_close() -> None:
    """Readers, writers, those who drain and those who accept, on both sides."""
    async with linked() as ends:
        stream = ends.client.open_stream()
        stream.write_nowait(bytes(3 * STREAM_WINDOW))
        theirs = await ends.server.accept_stream()
        await until(lambda: ends.server.quic.unread == STREAM_WINDOW)

        async with asyncio.TaskGroup() as tasks:
            waiting = [
                tasks.create_task(raised_by(awaitable))
                for awaitable in (
                    stream.read(),
                    stream.read_exactly(1),
                    stream.write(b"x"),
                    stream.drained(),
                    ends.client.accept_stream(),
                    ends.server.accept_stream(),
                    theirs.read_exactly(1 + STREAM_WINDOW // 4),
                )
            ]
            await asyncio.sleep(0.02)
            ends.server.close(CloseCode.BUSY)

        failures = [task.result() for task in waiting]
        assert [type(failure) for failure in failures[:6]] == [LinkClosed] * 6
        assert failures[6] is None
        closed = [f for f in failures if isinstance(f, LinkClosed)]
        assert [f.by_us for f in closed] == [False] * 5 + [True]
        stream.finish()
        stream.reset()
        theirs.stop()
        assert isinstance(await raised_by(stream.drained()), LinkClosed)
        with pytest.raises(LinkClosed):
            ends.client.open_stream()


async def test_small_writes_are_read_together() -> None:
    """One read takes several datagrams' worth, up to its limit."""
    async with linked() as ends:
        stream = ends.client.open_stream()
        theirs: Stream | None = None
        for at in range(10):
            stream.write_nowait(bytes([at]) * 3000)
        theirs = await ends.server.accept_stream()
        await until(lambda: sum(map(len, theirs._chunks)) == 30_000)

        sizes = [len(await theirs.read(12_000)) for _ in range(2)]

        assert all(9_000 < size <= 12_000 for size in sizes)
