"""What one rendezvous node carries, beside the targets of node.md, section 5.

The node is a process of its own, the load generator is this one; both share the machine, so
each figure stands beside the processor time either of them took::

    python -m tests.bench.node                 # everything, a few minutes at most
    python -m tests.bench.node --only discovery restart --scale 0.1

Where Debian's ``coturn`` is installed, it answers the same questions as the yardstick.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from peer.net.node_link import NodeLink
from peer.net.pace import Pace
from protocol.address import BindingRequest, encode_request
from protocol.endpoint.drive import Endpoint
from protocol.idle import Keys, Wish, keys_of, seal_question
from protocol.limits import MIB
from protocol.messages.rendezvous import (
    Answer,
    Introduce,
    LookUp,
    Refused,
    Register,
    Registered,
    Rest,
    Resting,
    Start,
)
from tests.harness.node_process import NodeProcess
from tests.harness.nodes import an_offer, running_clients
from tests.harness.ports import free_port

TOKEN = b"t" * 32
ROOT = str(Path(__file__).resolve().parents[2])
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GREETING = 24
"""Connections opened at a time: a new one costs a handshake of a millisecond or two."""

QUESTIONS_SECONDS = 5.0
INTRODUCTION_RATE = 200
INTRODUCTION_SECONDS = 8.0


@dataclass
class Share:
    """Processor time of both sides over one measurement."""

    node: float
    load: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"node {self.node / self.seconds:4.0%} of a core, load {self.load / self.seconds:4.0%}"
        )


@contextlib.contextmanager
def shared_time(pid: int) -> Iterator[Share]:
    """Measure what both sides take during the block."""
    node, share = psutil.Process(pid), Share(0, 0, 0)
    before, own, began = node.cpu_times(), time.process_time(), time.perf_counter()
    yield share
    after = node.cpu_times()
    share.node = after.user + after.system - before.user - before.system
    share.load, share.seconds = time.process_time() - own, time.perf_counter() - began


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[NodeProcess]:
    """Run a node whose limits do not stop one busy host."""
    generous: dict[str, Any] = {
        "questions_per_second": 10_000_000,
        "max_half_open": 4096,
        "max_half_open_per_source": 4096,
        "max_connections": 100_000,
        "keepalive_seconds": 60,
    }
    with tempfile.TemporaryDirectory() as folder:
        node = NodeProcess(Path(folder), **(generous | settings))
        node.start()
        try:
            yield node
        finally:
            node.kill()


def resident(node: NodeProcess) -> float:
    return float(psutil.Process(node.pid).memory_info().rss)


def session_name(number: int) -> str:
    symbols = ""
    for _ in range(9):
        number, symbol = divmod(number, 32)
        symbols = ALPHABET[symbol] + symbols
    return symbols


def row(what: str, figure: str, target: str, *, good: bool, share: object = "") -> None:
    print(f"{'ok  ' if good else 'MISS'} {what:34} {figure:>28}   target {target:20} {share}")
    sys.stdout.flush()


def remote(node: NodeProcess) -> tuple[str, int]:
    host, _, rest = node.address.partition(":")
    return host, int(rest.partition("#")[0])


@contextlib.asynccontextmanager
async def endpoints(count: int) -> AsyncIterator[list[Endpoint]]:
    """Sockets of this process, so that not one of them has all the work."""
    opened = [Endpoint.open([("127.0.0.1", 0)], idle_timeout=300.0) for _ in range(count)]
    try:
        yield opened
    finally:
        for endpoint in opened:
            await endpoint.close()


async def many(count: int, work: Callable[[int], Awaitable[None]], at_once: int = GREETING) -> None:
    """Do *work* for each number, a few at a time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(worker())


async def registered(endpoint: Endpoint, node: NodeProcess, number: int) -> NodeLink:
    link = await NodeLink.open(endpoint, remote(node), within=30.0)
    link.send(Register(request_id=1, session_id=session_name(number), token=TOKEN))
    answer = await link.receive()
    assert isinstance(answer, Registered), answer
    return link


# --- measurements -----------------------------------------------------------------------------


async def idle(scale: float) -> None:
    """10,000 sessions of two members each, at rest."""
    sessions = int(10_000 * scale)
    rested: list[tuple[Keys, bytes, int]] = []
    with running() as node:
        empty = resident(node)
        async with endpoints(8) as sockets:
            with shared_time(node.pid) as share:

                async def member(number: int) -> None:
                    link = await registered(sockets[number % 8], node, number // 2)
                    link.send(Rest(request_id=2))
                    answer = await link.receive()
                    assert isinstance(answer, Resting), answer
                    rested.append((keys_of(link.exporter), answer.handle, number % 8))
                    link.close()

                await many(2 * sessions, member)
            row(
                "members that register and rest",
                f"{2 * sessions / share.seconds:,.0f} a second", "-", good=True, share=share,
            )  # fmt: skip
            await asyncio.sleep(2.0)  # the last connections are forgotten
            taken = resident(node)
            with shared_time(node.pid) as share:
                for position, (keys, handle, index) in enumerate(rested):
                    question = seal_question(keys.member, handle, 1, Wish.NONE)
                    sockets[index].send_datagram(question, remote(node))
                    if position % 64 == 63:
                        await asyncio.sleep(0.001)
                await asyncio.sleep(0.2)
    row(
        f"{sessions:,} idle sessions of two",
        f"{taken / MIB:.0f} MiB ({(taken - empty) / 2 / sessions:,.0f} B each)",
        "<= 256 MiB", good=taken <= 256 * MIB,
    )  # fmt: skip
    each = share.node / len(rested)
    row("a keepalive", f"{each * 1e6:.0f} us of the node", "-", good=True)


async def live(scale: float) -> None:
    """2,000 members with their connections."""
    count = int(2000 * scale)
    with running() as node:
        empty = resident(node)
        async with endpoints(8) as sockets:
            links: list[NodeLink] = []

            async def member(number: int) -> None:
                links.append(await registered(sockets[number % 8], node, number // 2))

            with shared_time(node.pid) as share:
                await many(count, member)
            taken = resident(node)
    row(
        f"{count:,} members with connections",
        f"{taken / MIB:.0f} MiB ({(taken - empty) / count / 1024:.0f} KiB each)",
        "<= 512 MiB", good=taken <= 512 * MIB, share=share,
    )  # fmt: skip


QUESTIONER = """
import os, select, socket, sys, time
sys.path.insert(0, sys.argv[1])
from protocol.address import BindingRequest, encode_request
port, seconds, window = int(sys.argv[2]), float(sys.argv[3]), 128
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
udp.connect(("127.0.0.1", port))
udp.setblocking(False)
question = encode_request(BindingRequest(os.urandom(12)))
end, answers, open_ = time.perf_counter() + seconds, 0, 0
while time.perf_counter() < end:
    while open_ < window:
        udp.send(question); open_ += 1
    ready = select.select([udp], [], [], 0.05)[0]
    if not ready:
        open_ = 0
    try:
        while ready:
            udp.recv(2048); answers += 1; open_ -= 1
    except BlockingIOError:
        pass
print(answers, time.process_time())
"""


async def ask(port: int, pid: int) -> tuple[float, Share]:
    """Ask for addresses from one process; return answers a second."""
    with shared_time(pid) as share:
        done = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", QUESTIONER, ROOT, str(port), str(QUESTIONS_SECONDS)),
            stdout=subprocess.PIPE,
        )
        output, _ = await done.communicate()
    answers, load = output.split()
    share.load = float(load)
    return int(answers) / QUESTIONS_SECONDS, share


@contextlib.contextmanager
def coturn() -> Iterator[tuple[int, int]]:
    """Run a plain coturn on one thread: port and process."""
    port = free_port()
    options = ["-S", "-n", "-L", "127.0.0.1", "-p", str(port), "-m", "1", "--no-cli"]
    options += ["--no-tls", "--no-dtls", "--log-file", "/dev/null", "--pidfile", os.devnull]
    options += ["--no-software-attribute"]
    process = subprocess.Popen(
        ["turnserver", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.2)
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    udp.sendto(encode_request(BindingRequest(bytes(12))), ("127.0.0.1", port))
                    udp.recv(100)
                    break
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


async def discovery(scale: float) -> None:
    """Address discovery, and the same of coturn."""
    del scale
    with running() as node:
        rate, share = await ask(remote(node)[1], node.pid)
    # On a machine that others use, too, the processor time of the node says what a core gives.
    of_a_core = rate / max(share.node / share.seconds, 0.01)
    row("address discovery", f"{rate:,.0f} answers a second", "-", good=True, share=share)
    row(
        "  by the node's processor time", f"{of_a_core:,.0f} a core-second",
        ">= 20,000", good=of_a_core >= 20_000,
    )  # fmt: skip
    if shutil.which("turnserver") is None:
        print("     no turnserver here: no yardstick")
        return
    with coturn() as (port, pid):
        yardstick, share = await ask(port, pid)
    of_a_core = yardstick / max(share.node / share.seconds, 0.01)
    row("  coturn by its processor time", f"{of_a_core:,.0f} a core-second", "-", good=True)
    row(
        "  coturn at the same", f"{yardstick:,.0f} answers a second",
        "yardstick", good=True, share=share,
    )  # fmt: skip


async def introductions(scale: float) -> None:
    """Register, look up and introduce, 200 times a second, with the delay each took."""
    rate, seconds = int(INTRODUCTION_RATE * scale) or 1, INTRODUCTION_SECONDS
    delays: list[float] = []
    failures = 0
    with running() as node:
        async with endpoints(4) as sockets, asyncio.TaskGroup() as tasks:
            members = [await registered(sockets[n % 4], node, n) for n in range(50)]
            seekers = [await NodeLink.open(sockets[n % 4], remote(node)) for n in range(50)]

            async def answer(link: NodeLink) -> None:
                while True:
                    message = await link.receive()
                    if isinstance(message, Introduce):
                        name = message.introduction_id
                        link.send(Answer(introduction_id=name, offer=an_offer()))

            waiting: dict[int, asyncio.Future[bool]] = {}

            async def listen(link: NodeLink) -> None:
                while True:
                    message = await link.receive()
                    if isinstance(message, Start | Refused) and message.request_id in waiting:
                        waiting.pop(message.request_id).set_result(isinstance(message, Start))

            serving = [tasks.create_task(answer(each)) for each in members]
            serving += [tasks.create_task(listen(each)) for each in seekers]
            loop = asyncio.get_running_loop()

            async def one(number: int) -> None:
                nonlocal failures
                seeker, which = seekers[number % 50], number * 7 % 50
                waiting[number] = loop.create_future()
                heard = waiting[number]
                began = loop.time()
                members[which].send(
                    Register(request_id=number, session_id=session_name(which), token=TOKEN)
                )
                seeker.send(
                    LookUp(request_id=number, session_id=session_name(which), offer=an_offer())
                )
                try:
                    async with asyncio.timeout(10):
                        failures += not await heard
                except TimeoutError:
                    failures += 1
                delays.append(loop.time() - began)

            with shared_time(node.pid) as share:
                began = loop.time()
                async with asyncio.TaskGroup() as requests:
                    for number in range(int(rate * seconds)):
                        await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
                        requests.create_task(one(number))
            for task in serving:
                task.cancel()
            await asyncio.sleep(0)
            done = len(delays) / share.seconds
    delays.sort()
    p99 = delays[int(len(delays) * 0.99)]
    row(
        f"introductions, {rate} a second asked",
        f"{done:.0f} a second, p99 {p99 * 1000:.0f} ms", "200, p99 <= 300 ms",
        good=done > 0.95 * rate and p99 <= 0.3 and not failures, share=share,
    )  # fmt: skip
    each = share.node / len(delays)
    row("  one of them", f"{each * 1000:.2f} ms of the node, {failures} failed", "-", good=True)


async def restart(scale: float) -> None:
    """1,000 sessions with connections when the node crashes and starts again."""
    count = int(1000 * scale)
    health = free_port()
    with running(health_port=health) as node:
        async with running_clients() as clients, aiohttp.ClientSession() as http:

            async def member(number: int) -> None:
                client = await clients.start(node.address, pace=Pace())
                await client.wait_connected(30.0)
                await client.register(session_name(number), TOKEN, create=True)

            await many(count, member)
            node.kill()
            node.start()
            began, back = time.perf_counter(), 0
            with shared_time(node.pid) as share:
                while back < count and time.perf_counter() < began + 60:
                    await asyncio.sleep(0.2)
                    async with http.get(f"http://127.0.0.1:{health}/healthz") as answer:
                        back = (await answer.json())["sessions"]
            took = time.perf_counter() - began
    row(
        f"{count:,} sessions back after a crash", f"{took:.1f} s, {back:,} back",
        "<= 15 s", good=took <= 15 and back == count, share=share,
    )  # fmt: skip


MEASUREMENTS = {each.__name__: each for each in (discovery, introductions, live, idle, restart)}


async def main() -> None:
    """Print one row per figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sorted(MEASUREMENTS), default=[])
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full numbers")
    arguments = parser.parse_args()
    for name in arguments.only or MEASUREMENTS:
        await MEASUREMENTS[name](arguments.scale)


if __name__ == "__main__":
    asyncio.run(main())
