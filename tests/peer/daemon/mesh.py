"""Members of a synchronisation in one process: links in memory, real folders."""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from blake3 import blake3

from peer.daemon.synchronise import Result, Synchronisation
from peer.fs.confine import Root
from peer.plan.steps import AnyStep, CopyFile, CreateDirectory
from peer.transfer.proof import Outcome
from protocol import codec
from protocol.credentials import Secret
from protocol.crypto.records import TrafficClass, TrafficKeys, traffic_keys
from protocol.errors import LinkClosed, RemoteProtocolError, SealBroken
from protocol.messages.inventory import Entry, Kind, RelPath
from protocol.messages.session import Progress
from protocol.messages.transfer import TransferMessage

SYNC = b"synchronisation!"
EPOCH = 3
WINDOW = 1 << 20


class MemoryStream:
    """A unidirectional stream that holds so much and then makes its writer wait."""

    def __init__(self, alter: Callable[[bytes], bytes]) -> None:
        self.written = 0
        self._alter = alter
        self._held: deque[bytes] = deque()
        self._size = 0
        self._closed = False
        self._changed = asyncio.Event()

    async def write(self, data: bytes) -> None:
        while self._size > WINDOW and not self._closed:
            await self._change()
        self.write_nowait(data)

    def write_nowait(self, data: bytes) -> None:
        if self._closed:
            raise LinkClosed
        self.written += len(data)
        self._held.append(self._alter(data))
        self._size += len(data)
        self._changed.set()

    async def read(self, limit: int) -> bytes:
        while not self._held:
            if self._closed:
                raise LinkClosed
            await self._change()
        data = self._held.popleft()
        if len(data) > limit:
            self._held.appendleft(data[limit:])
            data = data[:limit]
        self._size -= len(data)
        self._changed.set()
        return data

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def _change(self) -> None:
        # Several may wait: each looks again.
        self._changed.clear()
        await self._changed.wait()


class MemoryLink:
    """One end of a link; what is sent goes through the codec to the other end."""

    def __init__(self, me: "Member", other: "Member") -> None:
        self.peer = other.index
        self.epoch = EPOCH
        self.streams: list[MemoryStream] = []
        self.violations: list[RemoteProtocolError] = []
        self.alter: Callable[[bytes], bytes] = lambda data: data
        self._me = me
        self._other = other
        self._up = True

    def send(self, message: TransferMessage) -> None:
        if not self._up:
            return
        data = codec.encode(message)
        asyncio.get_running_loop().call_soon(self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if not self._up:
            return
        message: TransferMessage = codec.decode(data, TransferMessage)
        try:
            self._other.synchronisation.receive_message(self._me.index, message)
        except RemoteProtocolError as error:
            self._other.links[self._me.index].violated(error)

    def file_keys(self, epoch: int, *, outgoing: bool) -> TrafficKeys:
        if epoch != EPOCH:
            raise SealBroken
        ends = (self._me.index, self.peer)
        sender, receiver = ends if outgoing else ends[::-1]
        link_key, epoch_key = (Secret(bytes([n] * 32)) for n in (sum(ends), 77))
        return traffic_keys(
            link_key,
            epoch_key,
            epoch,
            sender=sender,
            receiver=receiver,
            traffic=TrafficClass.FILE,
        )

    async def open_data_stream(self) -> MemoryStream:
        if not self._up:
            raise LinkClosed
        stream = MemoryStream(self.alter)
        self.streams.append(stream)
        self._other.synchronisation.accept_data_stream(self._me.index, stream)
        return stream

    def violated(self, error: RemoteProtocolError) -> None:
        self.violations.append(error)
        if self._me.links.get(self.peer) is self:
            disconnect(self._me, self._other)

    def close(self) -> None:
        self._up = False
        for stream in self.streams:
            stream.close()


class Member:
    """One member with one folder."""

    synchronisation: Synchronisation

    def __init__(self, index: int, folder: Path) -> None:
        self.index = index
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.root = Root(folder)
        self.links: dict[int, MemoryLink] = {}
        self.inventory = inventory(folder)
        self.progress: list[Progress] = []


def inventory(folder: Path) -> dict[RelPath, Entry]:
    """What a scan of *folder* would find, staging and trash left out."""
    found: dict[RelPath, Entry] = {}
    for path in sorted(folder.rglob("*")):
        relative = tuple(os.fsencode(part) for part in path.relative_to(folder).parts)
        if relative[0] == b".quintet":
            continue
        status = path.lstat()
        kind = Kind.LINK if path.is_symlink() else Kind.DIRECTORY if path.is_dir() else Kind.FILE
        size = status.st_size if kind is Kind.FILE else 0
        target = os.fsencode(path.readlink()) if kind is Kind.LINK else b""
        found[relative] = Entry(
            0, relative, kind, size, status.st_mtime_ns, status.st_mode & 0o777, target
        )
    return found


def contents(folder: Path) -> dict[str, tuple[bytes | None, int]]:
    """Content and date of every file; None for directories, whose dates are their own."""
    return {
        path.relative_to(folder).as_posix(): (
            (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else (None, 0)
        )
        for path in sorted(folder.rglob("*"))
        if path.relative_to(folder).parts[0] != ".quintet"
    }


def write(
    folder: Path, name: str, content: bytes, mtime_ns: int = 1_600_000_000_123_456_789
) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def fill(source: Member, targets: Iterable[Member], *, hashed: bool = True) -> list[AnyStep]:
    """Steps that give each target what *source* has, held by everybody who has the same."""
    steps: list[AnyStep] = []
    everybody = [source, *targets]
    for target in everybody[1:]:
        for path, entry in source.inventory.items():
            there = target.inventory.get(path)
            if entry.kind is Kind.DIRECTORY:
                if there is None:
                    steps.append(
                        CreateDirectory(member=target.index, source=0, path=path, mode=entry.mode)
                    )
            elif there is None or (there.size, there.mtime_ns) != (entry.size, entry.mtime_ns):
                content = (source.folder / os.fsdecode(b"/".join(path))).read_bytes()
                holders = tuple(
                    (member.index, 0, path)
                    for member in everybody
                    if (held := member.inventory.get(path)) is not None
                    and (held.size, held.mtime_ns) == (entry.size, entry.mtime_ns)
                )
                steps.append(
                    CopyFile(
                        member=target.index,
                        source=0,
                        path=path,
                        expected=there,
                        holders=holders,
                        origin=entry,
                        digest=blake3(content).digest() if hashed else None,
                        mtime_ns=entry.mtime_ns,
                    )
                )
    return steps


def connect(one: Member, other: Member) -> None:
    """Give both a new link."""
    one.links[other.index] = MemoryLink(one, other)
    other.links[one.index] = MemoryLink(other, one)


def reconnect(one: Member, other: Member) -> None:
    connect(one, other)
    one.synchronisation.link_up(other.index)
    other.synchronisation.link_up(one.index)


def disconnect(one: Member, other: Member) -> None:
    """Break the link between them, if there is one."""
    for mine, theirs in ((one, other), (other, one)):
        link = mine.links.pop(theirs.index, None)
        if link is not None:
            link.close()
            mine.synchronisation.link_down(theirs.index)


def leftovers(member: Member) -> list[Path]:
    """What is in staging."""
    staging = member.folder / ".quintet" / "staging"
    return sorted(staging.rglob("*")) if staging.exists() else []


@contextlib.asynccontextmanager
async def mesh(members: Sequence[Member], steps: Sequence[AnyStep]) -> AsyncIterator[None]:
    """Link all members and let them serve one another."""
    with ThreadPoolExecutor(4) as executor:
        for place, one in enumerate(members):
            for other in members[:place]:
                connect(one, other)
        for member in members:
            member.synchronisation = Synchronisation(
                SYNC,
                member.index,
                steps,
                {0: member.root},
                member.links,
                members=[each.index for each in members],
                inventoried=lambda _source, path, member=member: member.inventory.get(path),  # type: ignore[misc]
                report=member.progress.append,
                executor=executor,
                now_ns=time.time_ns,
            )
        try:
            async with asyncio.TaskGroup() as group:
                for member in members:
                    group.create_task(member.synchronisation.serve())
                try:
                    yield
                finally:
                    for member in members:
                        await member.synchronisation.close()
        finally:
            for member in members:
                for link in member.links.values():
                    link.close()
                member.root.close()


async def run_all(members: Sequence[Member]) -> list[Result]:
    """Let every member carry out its part."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(member.synchronisation.run()) for member in members]
    return [task.result() for task in tasks]


async def prove_all(members: Sequence[Member]) -> list[Outcome]:
    """Let every member prove."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(member.synchronisation.prove(patience=20)) for member in members]
    return [task.result() for task in tasks]


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as *condition* holds; looks whenever the loop has done something."""
    while not condition():  # noqa: ASYNC110  # what is waited for has no event of its own
        await asyncio.sleep(0.0005)
