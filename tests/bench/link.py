"""How fast one stream of one connection is: ours against the library's own asyncio API.

Two processes on loopback. The machine drifts, so rounds are interleaved and ratios are
to be trusted, not megabytes per second::

    python -m tests.bench.link --rounds 5 --mebibytes 64
    python -m tests.bench.link --variants stock:1452 select:1452 epoll:1452 thread:1452
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import selectors
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent, StreamDataReceived

from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Path
from protocol.endpoint.streams import Stream
from protocol.limits import MIB
from protocol.quic.connection import Identity

ALPN = "bench"
PIECE = 256 * 1024
BUFFERED = 4 * MIB
VARIANTS = ["stock:1200", "select:1200", "stock:1452", "select:1452"]


class Meter:
    """Wall and CPU time from now on."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = self._used()

    def stop(self) -> dict[str, float]:
        """Return the seconds since the start."""
        return {"wall": time.perf_counter() - self._wall, "cpu": self._used() - self._cpu}

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
    path = Path(("127.0.0.1", port), datagram_size=size)
    connection = await endpoint.connect(path, alpn=ALPN)
    connection.authenticated()
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


# --- processes ------------------------------------------------------------------------------------


async def nothing(data: bytes) -> None:
    del data


def child(role: str, kind: str, size: int, port: int, count: int) -> None:
    """Be one end."""
    gc.collect()
    gc.freeze()
    job: Awaitable[None]
    if kind == "stock":
        job = stock_receive(size) if role == "receive" else stock_send(port, size, count)
    elif kind == "thread":
        job = thread_receive(size) if role == "receive" else thread_send(port, size, count)
    elif role == "receive":
        job = our_receive(size, nothing)
    else:
        job = our_send(port, size, count)

    def new_loop() -> asyncio.AbstractEventLoop:
        selector: selectors.BaseSelector = selectors.DefaultSelector()
        if kind == "select":
            selector.close()
            selector = selectors.SelectSelector()
        return asyncio.SelectorEventLoop(selector)

    async def run() -> None:
        await job

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())


def measure(variant: str, count: int) -> tuple[float, float, float]:
    """Return MB/s and the CPU seconds per GiB of the sender and the receiver."""
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
    gibibytes = count / 2**30
    return count / 1e6 / out["wall"], out["cpu"] / gibibytes, inn["cpu"] / gibibytes


def main() -> None:
    """Interleave the variants, print medians and ratios to the first of each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=64)
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--child", nargs=5)
    arguments = parser.parse_args()
    if arguments.child:
        role, kind, size, port, count = arguments.child
        child(role, kind, int(size), int(port), int(count))
        return
    results: dict[str, list[tuple[float, float, float]]] = {v: [] for v in arguments.variants}
    for _ in range(arguments.rounds):
        for variant in arguments.variants:
            results[variant].append(measure(variant, arguments.mebibytes * MIB))
    yardsticks: dict[str, float] = {}
    for variant, rounds in results.items():
        speed, send, receive = (statistics.median(column) for column in zip(*rounds, strict=True))
        yardstick = yardsticks.setdefault(variant.partition(":")[2], speed)
        print(
            f"{variant:12} {speed:7.1f} MB/s  CPU s/GiB send {send:5.1f} receive {receive:5.1f}"
            f"  x{speed / yardstick:.2f}"
        )


if __name__ == "__main__":
    main()
