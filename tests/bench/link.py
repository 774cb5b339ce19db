"""How fast one stream of one connection is, beside what else could carry it.

Two processes on loopback. The machine drifts, so rounds are interleaved and ratios are
to be trusted, not megabytes per second::

    python -m tests.bench.link --rounds 5 --mebibytes 256
    python -m tests.bench.link --variants stock:1452 select:1452 epoll:1452 thread:1452
    python -m tests.bench.link --control --mebibytes 512
    python -m tests.bench.link --stock-peer --mebibytes 256

``stock`` is the library's own asyncio API, ``tls`` TLS over TCP; of ours, ``select``,
``epoll`` and ``thread`` name the loop, ``plain`` does without the fast path, and with
size 0 the link finds out by itself how large its datagrams may be. With
``--control`` one byte goes there and back all the time beside the bulk; with
``--stock-peer`` a client and a server of the library each take part, hashes compared.
"""

import argparse
import asyncio
import gc
import hashlib
import json
import os
import resource
import selectors
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from protocol.endpoint import machines
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Path
from protocol.endpoint.streams import Stream
from protocol.limits import MIB
from protocol.quic.connection import Identity

ALPN = "bench"
PIECE = 256 * 1024
BUFFERED = 4 * MIB
VARIANTS = [
    *(f"{kind}:{size}" for size in (1200, 1452, 8952, 16383) for kind in ("stock", "select")),
    "select:0",
    "tls:0",
]
"""16383 bytes is the most a datagram of the library may have, instead of 16384."""

STOCK_SHARE = 0.25
"""Part of the bytes a slow variant moves: the same time, the same figure per byte."""


class Meter:
    """Wall and CPU time from now on."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = self._used()

    def stop(self) -> dict[str, float]:
        """Return the seconds since the start, and the most MiB held so far."""
        return {
            "wall": time.perf_counter() - self._wall,
            "cpu": self._used() - self._cpu,
            "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }

    @staticmethod
    def _used() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime


def say(**fields: object) -> None:
    """Print one line for the parent."""
    print(json.dumps(fields), flush=True)


# --- the library's own API ------------------------------------------------------------------


def stock_configuration(size: int, *, is_client: bool) -> QuicConfiguration:
    """The library's defaults, with our datagram size."""
    configuration = QuicConfiguration(
        alpn_protocols=[ALPN],
        is_client=is_client,
        max_datagram_size=size,
        verify_mode=ssl.CERT_NONE,
    )
    if not is_client:
        identity = Identity(os.urandom)
        configuration.certificate = identity.certificate
        configuration.private_key = identity.key
    return configuration


class StockReceiver(QuicConnectionProtocol):
    """Counts, and answers at the end."""

    done: asyncio.Future[dict[str, float]]
    meter: Meter | None = None

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            self.meter = self.meter or Meter()
            if event.end_stream:
                self._quic.send_stream_data(event.stream_id, b"k", end_stream=True)
                self.transmit()
                self.done.set_result(self.meter.stop())


class StockSender(QuicConnectionProtocol):
    """Keeps a bounded buffer filled."""

    room: asyncio.Future[None] | None = None
    finished: asyncio.Future[None]

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived) and event.end_stream:
            self.finished.set_result(None)

    def transmit(self) -> None:
        super().transmit()
        if self.room is not None and self.buffered() < BUFFERED // 2:
            self.room.set_result(None)
            self.room = None

    def buffered(self) -> int:
        stream = self._quic._streams.get(0)
        return 0 if stream is None else len(stream.sender._buffer)


async def stock_receive(size: int) -> None:
    loop = asyncio.get_running_loop()
    StockReceiver.done = loop.create_future()
    server = await serve(
        "127.0.0.1",
        0,
        configuration=stock_configuration(size, is_client=False),
        create_protocol=StockReceiver,
    )
    assert server._transport is not None
    say(port=server._transport.get_extra_info("sockname")[1])
    result = await StockReceiver.done
    say(**result)
    await asyncio.sleep(0.3)
    server.close()


async def stock_send(port: int, size: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    piece = os.urandom(PIECE)
    configuration = stock_configuration(size, is_client=True)
    async with connect(
        "127.0.0.1", port, configuration=configuration, create_protocol=StockSender
    ) as sender:
        assert isinstance(sender, StockSender)
        sender.finished = loop.create_future()
        meter = Meter()
        for at in range(0, count, PIECE):
            sender._quic.send_stream_data(0, piece, end_stream=at + PIECE >= count)
            sender._transmit_soon()
            if sender.buffered() > BUFFERED:
                sender.room = loop.create_future()
                await sender.room
        await sender.finished
        say(**meter.stop())


# --- ours ---------------------------------------------------------------------------------------


async def our_receive(size: int, take: Callable[[bytes], Awaitable[None]]) -> None:
    endpoint = Endpoint.open([("127.0.0.1", 0)], alpn_served=ALPN, retry=True)
    say(port=endpoint.addresses[0][1])
    connection = await endpoint.accept()
    connection.authenticated()
    if size:
        connection.set_datagram_size(size)
    stream = await connection.accept_stream()
    meter = Meter()
    while data := await stream.read():
        await take(data)
    await stream.write(b"k")
    stream.finish()
    say(**meter.stop())
    await connection.wait_closed()
    await endpoint.close()


async def our_dial(port: int, size: int) -> tuple[Endpoint, Connection]:
    endpoint = Endpoint.open([("127.0.0.1", 0)])
    path = Path(("127.0.0.1", port))
    connection = await endpoint.connect(path, alpn=ALPN)
    connection.authenticated()
    if size:
        # This size and no other; without one the link finds out by itself.
        connection.set_datagram_size(size)
    return endpoint, connection


async def our_send(port: int, size: int, count: int) -> None:
    endpoint, connection = await our_dial(port, size)
    stream = connection.open_stream()
    piece = os.urandom(PIECE)
    meter = Meter()
    for _ in range(0, count, PIECE):
        await stream.write(piece)
    stream.finish()
    await stream.read()
    say(**meter.stop())
    await endpoint.close()


# --- ours, in a thread of its own -------------------------------------------------------------


class LoopThread:
    """An event loop on ``select`` in another thread."""

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    async def call(self, awaitable: Awaitable[object]) -> object:
        """Await in the thread."""

        async def run() -> object:
            return await awaitable

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run(), self.loop))

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def thread_receive(size: int) -> None:
    """The application's loop gets every piece handed over."""
    thread = LoopThread()
    main = asyncio.get_running_loop()
    taken: list[int] = []

    async def take(data: bytes) -> None:
        main.call_soon_threadsafe(taken.append, len(data))

    await thread.call(our_receive(size, take))
    thread.stop()


async def thread_send(port: int, size: int, count: int) -> None:
    """The application's loop hands every piece over."""
    thread = LoopThread()
    found: list[tuple[Endpoint, Connection]] = []

    async def dial() -> None:
        found.append(await our_dial(port, size))

    await thread.call(dial())
    endpoint, connection = found[0]

    async def open_stream() -> None:
        streams.append(connection.open_stream())

    streams: list[Stream] = []
    await thread.call(open_stream())
    (stream,) = streams
    piece = os.urandom(PIECE)
    meter = Meter()
    for _ in range(0, count, PIECE):
        await thread.call(stream.write(piece))

    async def end() -> None:
        stream.finish()
        await stream.read()

    await thread.call(end())
    say(**meter.stop())
    await thread.call(endpoint.close())
    thread.stop()


# --- TLS over TCP -----------------------------------------------------------------------------


def tls_context(*, is_client: bool) -> ssl.SSLContext:
    """The same suite, with a throw-away certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if is_client else ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if is_client:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    identity = Identity(os.urandom)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(
            identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + identity.certificate.public_bytes(Encoding.PEM)
        )
        file.flush()
        context.load_cert_chain(file.name)
    return context


async def tls_receive() -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        meter = Meter()
        left = int.from_bytes(await reader.readexactly(8), "big")
        while left:
            left -= len(await reader.read(PIECE))
        say(**meter.stop())
        writer.write(b"k")
        await writer.drain()
        writer.close()
        done.set_result(None)

    server = await asyncio.start_server(
        take, "127.0.0.1", 0, ssl=tls_context(is_client=False), limit=BUFFERED
    )
    say(port=server.sockets[0].getsockname()[1])
    await done
    server.close()


async def tls_send(port: int, count: int) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls_context(is_client=True)
    )
    piece = os.urandom(PIECE)
    meter = Meter()
    writer.write(count.to_bytes(8, "big"))
    for _ in range(0, count, PIECE):
        writer.write(piece)
        await writer.drain()
    await reader.read(1)
    say(**meter.stop())
    writer.close()


# --- a control message beside the bulk -----------------------------------------------------


async def control_receive(size: int) -> None:
    endpoint = Endpoint.open([("127.0.0.1", 0)], alpn_served=ALPN, retry=True)
    say(port=endpoint.addresses[0][1])
    connection = await endpoint.accept()
    connection.authenticated()
    connection.set_datagram_size(size)
    bulk = await connection.accept_stream()
    control = await connection.accept_stream()

    async def echo() -> None:
        while data := await control.read():
            await control.write(data)
        control.finish()

    meter = Meter()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(echo())
        while await bulk.read():
            pass
        await bulk.write(b"k")
        bulk.finish()
    say(**meter.stop())
    await connection.wait_closed()
    await endpoint.close()


async def control_send(port: int, size: int, count: int) -> None:
    endpoint, connection = await our_dial(port, size)
    bulk = connection.open_stream()
    control = connection.open_stream()
    trips: list[float] = []
    piece = os.urandom(PIECE)
    bulk.write_nowait(piece)
    control.write_nowait(b"x")
    await control.read_exactly(1)
    meter = Meter()

    async def fill() -> None:
        for _ in range(PIECE, count, PIECE):
            await bulk.write(piece)
        bulk.finish()
        await bulk.read()

    async with asyncio.TaskGroup() as tasks:
        filling = tasks.create_task(fill())
        while not filling.done():
            begun = time.perf_counter()
            control.write_nowait(b"x")
            await control.read_exactly(1)
            trips.append(time.perf_counter() - begun)
            await asyncio.sleep(0.005)
    control.finish()
    await control.read()
    trips.sort()
    middle, late = (trips[int(len(trips) * part)] * 1e3 for part in (0.5, 0.99))
    say(**meter.stop(), trips=len(trips), median_ms=middle, p99_ms=late, worst_ms=trips[-1] * 1e3)
    await endpoint.close()


# --- the library at one end --------------------------------------------------------------------


class HashingReceiver(StockReceiver):
    """Answers with the hash of what came."""

    digest = hashlib.sha256()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived):
            self.digest.update(event.data)
            if event.end_stream:
                self._quic.send_stream_data(event.stream_id, self.digest.digest(), end_stream=True)
                self.transmit()


async def with_stock_server(count: int) -> bool:
    """Send to a server of the library; return whether it got the same."""
    HashingReceiver.digest = hashlib.sha256()
    server = await serve(
        "127.0.0.1",
        0,
        configuration=stock_configuration(1452, is_client=False),
        create_protocol=HashingReceiver,
    )
    assert server._transport is not None
    endpoint, connection = await our_dial(server._transport.get_extra_info("sockname")[1], 1452)
    stream = connection.open_stream()
    digest = hashlib.sha256()
    for _ in range(0, count, PIECE):
        piece = os.urandom(PIECE)
        digest.update(piece)
        await stream.write(piece)
    stream.finish()
    theirs = await stream.read_exactly(32)
    fast = connection.is_fast
    await endpoint.close()
    server.close()
    return fast and theirs == digest.digest()


async def with_stock_client(count: int) -> bool:
    """Let a client of the library send; return whether the same came."""
    endpoint = Endpoint.open([("127.0.0.1", 0)], alpn_served=ALPN, retry=True)
    sent = hashlib.sha256()
    came = hashlib.sha256()

    async def send() -> None:
        async with connect(
            "127.0.0.1",
            endpoint.addresses[0][1],
            configuration=stock_configuration(1452, is_client=True),
            create_protocol=StockSender,
        ) as sender:
            assert isinstance(sender, StockSender)
            sender.finished = asyncio.get_running_loop().create_future()
            for at in range(0, count, PIECE):
                piece = os.urandom(PIECE)
                sent.update(piece)
                sender._quic.send_stream_data(0, piece, end_stream=at + PIECE >= count)
                sender._transmit_soon()
                if sender.buffered() > BUFFERED:
                    sender.room = asyncio.get_running_loop().create_future()
                    await sender.room
            await sender.finished

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        connection = await endpoint.accept()
        connection.authenticated()
        stream = await connection.accept_stream()
        while data := await stream.read():
            came.update(data)
        await stream.write(b"k")
        stream.finish()
    fast = connection.is_fast
    await endpoint.close()
    return fast and sent.digest() == came.digest()


# --- processes ------------------------------------------------------------------------------------


async def nothing(data: bytes) -> None:
    del data


def child(role: str, kind: str, size: int, port: int, count: int) -> None:
    """Be one end."""
    gc.collect()
    gc.freeze()
    job: Awaitable[None]
    if kind == "plain":
        machines.fast_path_fault = lambda: "switched off"  # type: ignore[assignment]
    if kind == "tls":
        job = tls_receive() if role == "receive" else tls_send(port, count)
    elif kind == "control":
        job = control_receive(size) if role == "receive" else control_send(port, size, count)
    elif kind == "stock":
        job = stock_receive(size) if role == "receive" else stock_send(port, size, count)
    elif kind == "thread":
        job = thread_receive(size) if role == "receive" else thread_send(port, size, count)
    elif role == "receive":
        job = our_receive(size, nothing)
    else:
        job = our_send(port, size, count)

    def new_loop() -> asyncio.AbstractEventLoop:
        selector: selectors.BaseSelector = selectors.DefaultSelector()
        if kind in {"select", "plain", "control"}:
            selector.close()
            selector = selectors.SelectSelector()
        return asyncio.SelectorEventLoop(selector)

    async def run() -> None:
        await job

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())


def run_both(variant: str, count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return what the sender and the receiver measured."""
    kind, _, size = variant.partition(":")
    base = [sys.executable, "-m", "tests.bench.link", "--child"]
    receiver = subprocess.Popen(
        [*base, "receive", kind, size, "0", str(count)], stdout=subprocess.PIPE
    )
    assert receiver.stdout is not None
    port = json.loads(receiver.stdout.readline())["port"]
    sent = subprocess.run(
        [*base, "send", kind, size, str(port), str(count)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    out = json.loads(sent.stdout)
    inn = json.loads(receiver.stdout.readline())
    receiver.wait(10)
    receiver.stdout.close()
    return out, inn


def measure(variant: str, mebibytes: int) -> tuple[float, ...]:
    """Return MB/s, CPU seconds per GiB of both sides, and MiB of both sides."""
    slow = variant.startswith(("stock", "plain"))
    pieces = int(mebibytes * MIB * (STOCK_SHARE if slow else 1)) // PIECE
    count = max(1, pieces) * PIECE
    out, inn = run_both(variant, count)
    gibibytes = count / 2**30
    return (
        count / 1e6 / out["wall"],
        out["cpu"] / gibibytes,
        inn["cpu"] / gibibytes,
        out["rss"],
        inn["rss"],
    )


def report(results: dict[str, list[tuple[float, ...]]]) -> None:
    """Print medians, and ratios to the stock variant of the same size."""
    print("                  MB/s      CPU s/GiB        MiB held       beside stock")
    print("                        send   receive   send  receive   speed     CPU")
    medians = {
        variant: [statistics.median(column) for column in zip(*rounds, strict=True)]
        for variant, rounds in results.items()
    }
    for variant, (speed, send, receive, rss_out, rss_in) in medians.items():
        line = f"{variant:14}{speed:8.1f}{send:6.1f}{receive:10.1f}{rss_out:7.0f}{rss_in:9.0f}"
        stock = medians.get("stock:" + variant.partition(":")[2])
        if stock is not None and not variant.startswith("stock"):
            cheaper = (stock[1] + stock[2]) / (send + receive)
            line += f"   x{speed / stock[0]:<7.1f}1/{cheaper:.1f}"
        print(line)
    print("targets at 1452: speed >= x6 (aim x9), CPU <= 1/5 (aim 1/8), 100 MiB a side")


def main() -> None:
    """Interleave the variants, print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--stock-peer", action="store_true")
    parser.add_argument("--child", nargs=5)
    arguments = parser.parse_args()
    if arguments.child:
        role, kind, size, port, count = arguments.child
        child(role, kind, int(size), int(port), int(count))
        return
    if arguments.control:
        out, _ = run_both("control:1452", arguments.mebibytes * MIB)
        print(
            f"{out['trips']} round trips beside the bulk: median {out['median_ms']:.1f} ms,"
            f" p99 {out['p99_ms']:.1f} ms, worst {out['worst_ms']:.1f} ms (target: p99 <= 50 ms)"
        )
        return
    if arguments.stock_peer:
        count = arguments.mebibytes * MIB
        print("a stock server got the same:", asyncio.run(with_stock_server(count)))
        print("a stock client sent the same:", asyncio.run(with_stock_client(count)))
        return
    results: dict[str, list[tuple[float, ...]]] = {v: [] for v in arguments.variants}
    for _ in range(arguments.rounds):
        for variant in arguments.variants:
            results[variant].append(measure(variant, arguments.mebibytes))
    report(results)


if __name__ == "__main__":
    main()
