"""How fast a synchronisation is: whole files between two peers, fsync on, proof excluded.

Two processes on loopback with the real endpoint, beside one stream of the stock library and a
plain copy that is synced. Rounds are interleaved; ratios are to be trusted, not MB/s::

    python -m tests.bench.transfer --mebibytes 64 --rounds 3
    python -m tests.bench.transfer --small 20000 --profile receive
"""

import argparse
import asyncio
import cProfile
import gc
import json
import pstats
import random
import resource
import selectors
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from peer.daemon.synchronise import Synchronisation
from peer.fs.confine import Root
from peer.fs.hasher import hash_file
from peer.plan.steps import AnyStep, CopyFile, CreateDirectory
from protocol import codec, limits
from protocol.credentials import Secret
from protocol.crypto.records import TrafficClass, TrafficKeys, traffic_keys
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Path as NetworkPath
from protocol.endpoint.streams import Stream
from protocol.errors import LinkClosed, RemoteProtocolError
from protocol.framing import FrameReader, frame
from protocol.limits import MIB
from protocol.messages.inventory import Kind
from protocol.messages.transfer import TransferMessage
from tests.bench import link
from tests.peer.daemon.mesh import SYNC, inventory

ALPN = "bench"
THREADS = 3
HOLDER, RECEIVER = 0, 1


class QuicLink:
    """A link whose control channel is a plain stream: only file data is sealed here."""

    epoch = 1

    def __init__(self, connection: Connection, control: Stream, me: int) -> None:
        self.peer = 1 - me
        self._me = me
        self._connection = connection
        self._control = control

    def send(self, message: TransferMessage) -> None:
        self._control.write_nowait(frame(0, codec.encode(message)))

    def file_keys(self, epoch: int, *, outgoing: bool) -> TrafficKeys:
        sender = self._me if outgoing else self.peer
        key = Secret(bytes(32))
        return traffic_keys(
            key, key, epoch, sender=sender, receiver=1 - sender, traffic=TrafficClass.FILE
        )

    async def open_data_stream(self) -> Stream:
        return self._connection.open_stream(unidirectional=True)

    def violated(self, error: RemoteProtocolError) -> None:
        raise error


def plan_of(folder: Path) -> list[AnyStep]:
    """Everything the holder has goes to the receiver."""
    steps: list[AnyStep] = []
    for path, entry in inventory(folder).items():
        if entry.kind is Kind.DIRECTORY:
            steps.append(CreateDirectory(member=RECEIVER, source=0, path=path, mode=0o755))
            continue
        # Read in pieces: the peak of memory is measured, too.
        with Root(folder) as root:
            digest = hash_file(root, path).digest
        steps.append(
            CopyFile(
                member=RECEIVER,
                source=0,
                path=path,
                holders=((HOLDER, 0, path),),
                origin=entry,
                digest=digest,
                mtime_ns=entry.mtime_ns,
            )
        )
    return steps


async def take_messages(synchronisation: Synchronisation, peer: int, control: Stream) -> None:
    reader = FrameReader(limits.MAX_CONTROL_PLAINTEXT)
    try:
        while data := await control.read():
            for _, body in reader.feed(data):
                message: TransferMessage = codec.decode(body, TransferMessage)
                synchronisation.receive_message(peer, message)
    except LinkClosed:
        pass


async def take_streams(synchronisation: Synchronisation, peer: int, connection: Connection) -> None:
    try:
        while True:
            synchronisation.accept_data_stream(peer, await connection.accept_stream())
    except LinkClosed:
        pass


async def be_member(
    me: int, connection: Connection, control: Stream, holder: Path, own: Path
) -> None:
    steps = plan_of(holder)
    known = inventory(holder) if me == HOLDER else {}
    bench_link = QuicLink(connection, control, me)
    with ThreadPoolExecutor(THREADS) as executor, Root(own) as root:
        synchronisation = Synchronisation(
            SYNC,
            me,
            steps,
            {0: root},
            {1 - me: bench_link},
            members=[HOLDER, RECEIVER],
            inventoried=lambda _source, path: known.get(path),
            report=lambda progress: None,
            executor=executor,
            now_ns=time.time_ns,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(synchronisation.serve())
            group.create_task(take_messages(synchronisation, 1 - me, control))
            group.create_task(take_streams(synchronisation, 1 - me, connection))
            gc.collect()
            gc.freeze()
            meter = link.Meter()
            if me == RECEIVER:
                result = await synchronisation.run()
                assert not result.failures, result.failures
                connection.close()
            await connection.wait_closed()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            link.say(**meter.stop(), peak_mib=peak / 1024)
            await synchronisation.close()


async def hold(folder: Path, own: Path, size: int) -> None:
    endpoint = Endpoint.open([("127.0.0.1", 0)], alpn_served=ALPN, retry=True)
    link.say(port=endpoint.addresses[0][1])
    connection = await endpoint.accept()
    connection.authenticated()
    connection.set_datagram_size(size)
    control = await connection.accept_stream()
    await control.read_exactly(1)
    await be_member(HOLDER, connection, control, folder, own)
    await endpoint.close()


async def receive(folder: Path, own: Path, size: int, port: int) -> None:
    endpoint = Endpoint.open([("127.0.0.1", 0)])
    path = NetworkPath(("127.0.0.1", port), datagram_size=size)
    connection = await endpoint.connect(path, alpn=ALPN)
    connection.authenticated()
    control = connection.open_stream()
    await control.write(b"k")
    await be_member(RECEIVER, connection, control, folder, own)
    await endpoint.close()


def child(arguments: argparse.Namespace) -> None:
    """Be one end."""
    role, folder, own, port = arguments.child
    job: Awaitable[None]
    if role == "hold":
        job = hold(Path(folder), Path(own), arguments.datagram)
    else:
        job = receive(Path(folder), Path(own), arguments.datagram, int(port))

    def new_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.SelectSelector())

    async def run() -> None:
        await job

    profile = cProfile.Profile() if arguments.profile == role else None
    with asyncio.Runner(loop_factory=new_loop) as runner:
        if profile is None:
            runner.run(run())
        else:
            profile.runcall(runner.run, run())
            pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(25)


def synchronise(folder: Path, arguments: argparse.Namespace) -> tuple[float, float, float, float]:
    """Return seconds, CPU seconds of holder and receiver, the receiver's peak memory."""
    own = Path(tempfile.mkdtemp(dir=arguments.folder))
    base = [sys.executable, "-m", "tests.bench.transfer"]
    if arguments.profile:
        base += ["--profile", arguments.profile]
    base += ["--datagram", str(arguments.datagram), "--child"]
    holder = subprocess.Popen([*base, "hold", folder, folder, "0"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    port = json.loads(holder.stdout.readline())["port"]
    received = subprocess.run(
        [*base, "receive", folder, own, str(port)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=900,
    )
    out, inn = json.loads(holder.stdout.readline()), json.loads(received.stdout)
    holder.wait(10)
    holder.stdout.close()
    shutil.rmtree(own)
    return inn["wall"], out["cpu"], inn["cpu"], max(inn["peak_mib"], out["peak_mib"])


def copy_and_sync(folder: Path, arguments: argparse.Namespace) -> float:
    """Return the seconds ``cp`` and ``sync`` take."""
    own = Path(tempfile.mkdtemp(dir=arguments.folder))
    start = time.perf_counter()
    subprocess.run(["cp", "-r", "--reflink=never", f"{folder}/.", own], check=True)
    subprocess.run(["sync", "-f", own], check=True)
    seconds = time.perf_counter() - start
    shutil.rmtree(own)
    return seconds


def fill(folder: Path, arguments: argparse.Namespace) -> int:
    """Make what is to be synchronised and return its bytes."""
    chance = random.Random(7)
    if arguments.small:
        for number in range(arguments.small):
            place = folder / f"d{number // 500}"
            place.mkdir(exist_ok=True)
            (place / f"f{number}").write_bytes(chance.randbytes(chance.randint(1024, 16384)))
    else:
        with (folder / "large").open("wb") as file:
            for _ in range(arguments.mebibytes):
                file.write(chance.randbytes(MIB))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Interleave the three, print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--small", type=int, default=0, help="that many files of 1 to 16 KiB")
    parser.add_argument("--datagram", type=int, default=1452)
    parser.add_argument("--folder", default=None, help="where the trees are made")
    parser.add_argument("--profile", choices=["hold", "receive"])
    parser.add_argument("--child", nargs=4)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        size = fill(folder, arguments)
        rows = []
        for _ in range(arguments.rounds):
            stock = size / 1e6 / link.measure(f"stock:{arguments.datagram}", size)[0]
            rows.append((*synchronise(folder, arguments), stock, copy_and_sync(folder, arguments)))
        ours, sends, receives, peak, stock, copied = (
            statistics.median(column) for column in zip(*rows, strict=True)
        )
        gibibytes = size / 2**30
        print(f"{size / 1e6:.0f} MB, medians of {arguments.rounds}")
        print(
            f"synchronisation  {size / 1e6 / ours:7.1f} MB/s"
            f"  CPU s/GiB holder {sends / gibibytes:5.1f} receiver {receives / gibibytes:5.1f}"
            f"  peak {peak:.0f} MiB"
        )
        print(f"stock stream     {size / 1e6 / stock:7.1f} MB/s  x{stock / ours:.2f}")
        print(f"cp and sync      {size / 1e6 / copied:7.1f} MB/s  x{copied / ours:.2f}")
        if arguments.small:
            print(f"                 {arguments.small / ours:7.0f} files/s")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
