import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from blake3 import blake3

import peer.daemon.inventorying
from peer.daemon.inventorying import InventoryTaking, SourceProbe
from peer.fs.confine import Root
from peer.inventory.entries import MemberInventory, State
from peer.inventory.stamp import Stamp
from peer.session.session_settings import SessionSettings, parse_assignments
from protocol import codec, limits
from protocol.errors import RemoteProtocolError
from protocol.messages.inventory import (
    EntriesFound,
    HashesComputed,
    InventoryBegun,
    InventoryMessage,
    Kind,
    RelPath,
)
from protocol.messages.session import Activity, Progress
from tests.harness.peers import fill
from tests.harness.waiting import turns, until

SETTINGS = SessionSettings()


class MemoryCache:
    """Known digests in memory, and how often they were asked for."""

    def __init__(self) -> None:
        self.known: dict[RelPath, tuple[Stamp, bytes]] = {}
        self.answered = 0
        self.fault: Exception | None = None

    def get_many(self, root: Root, asked: Sequence[tuple[RelPath, Stamp]]) -> list[bytes | None]:
        del root
        if self.fault is not None:
            raise self.fault
        found = [
            known[1] if (known := self.known.get(path)) and known[0] == stamp else None
            for path, stamp in asked
        ]
        self.answered += sum(each is not None for each in found)
        return found

    def put_many(
        self, root: Root, found: Sequence[tuple[RelPath, Stamp, bytes]], *, read_at_ns: int
    ) -> None:
        del root, read_at_ns
        self.known |= {path: (stamp, digest) for path, stamp, digest in found}


class Member:
    """One member that takes its inventory; what it tells goes to the others as on the wire."""

    def __init__(
        self,
        index: int,
        folders: Sequence[Path],
        sources: dict[int, int],
        settings: SessionSettings = SETTINGS,
        cache: MemoryCache | None = None,
        *,
        rehash: bool = False,
    ) -> None:
        self.others: list[Member] = []
        self.told: list[InventoryMessage] = []
        self.reports: list[tuple[Activity, Progress]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.on_tell: Callable[[InventoryMessage], None] = lambda message: None
        self.cache = cache or MemoryCache()
        self.roots = [Root(folder, kind=Kind.DIRECTORY) for folder in folders]
        self.taking = InventoryTaking(
            me=index,
            run=1,
            sources=sources,
            probes=[SourceProbe(root, False, 1) for root in self.roots],  # a column
            settings=settings,
            cache=self.cache,
            outlet=self,
            rehash=rehash,
        )
        self.index = index

    def broadcast(self, message: InventoryMessage) -> None:
        self.told.append(message)
        self.on_tell(message)
        for other in self.others:
            other.hear(self.index, message)

    def hear(self, peer: int, message: InventoryMessage) -> None:
        decoded: InventoryMessage = codec.decode(codec.encode(message), InventoryMessage)
        self.taking.receive(peer, decoded)

    async def drained(self) -> None:
        await self.gate.wait()

    def report(self, activity: Activity, progress: Progress) -> None:
        self.reports.append((activity, progress))

    @property
    def activities(self) -> list[Activity]:
        """What was reported, without repetitions."""
        names = [activity for activity, _ in self.reports]
        return [name for at, name in enumerate(names) if at == 0 or names[at - 1] is not name]

    def of(self, index: int) -> MemberInventory:
        return self.taking.inventories[index]


class Company:
    """Members that hear each other, with the folders of a test."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.members: list[Member] = []

    def add(self, files: dict[str, str], count: int = 2, **options: object) -> Member:
        """Add a member of *count* with one folder that holds *files*."""
        index = len(self.members)
        folder = fill(self.base / f"member {index}", files)
        sources = dict.fromkeys(range(count), 1)
        member = Member(index, [folder], sources, **options)  # type: ignore[arg-type]
        for other in self.members:
            other.others.append(member)
            member.others.append(other)
        self.members.append(member)
        return member

    async def take(self) -> list[bool]:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            taken = [tasks.create_task(member.taking.take()) for member in self.members]
        return [task.result() for task in taken]

    def close(self) -> None:
        for member in self.members:
            for root in member.roots:
                root.close()


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    """Nobody yet."""
    company = Company(tmp_path)
    yield company
    company.close()


def digests(inventory: MemberInventory) -> dict[str, bytes | None]:
    """Return the digest of every file by path, None where it is not known."""
    return {
        b"/".join(inventory.path(number)).decode(): inventory.digest_of(number)
        for number in range(len(inventory))
        if inventory.kind(number) is Kind.FILE
    }


def of(text: str) -> bytes:
    return blake3(text.encode()).digest()


# --- a run ---------------------------------------------------------------------


async def test_all_members_end_with_the_same_inventories(company: Company) -> None:
    """What may be equal is hashed on both sides; what nobody else has, on neither."""
    one = company.add({"same.txt": "same", "d/mine.txt": "only here!"})
    other = company.add({"same.txt": "same", "other.txt": "only there"})

    taken = await company.take()

    assert taken == [True, True]
    for member in (one, other):
        assert digests(member.of(0))["same.txt"] == of("same")
        assert digests(member.of(1))["same.txt"] == of("same")
    assert [digests(one.of(index)) for index in (0, 1)] == [
        digests(other.of(index)) for index in (0, 1)
    ]


async def test_a_member_tells_what_it_is_doing(company: Company) -> None:
    """Identifying, waiting for the slower one, analysing, done; with figures that end right."""
    one = company.add({"a.txt": "same", "b/c.txt": "12345"})
    other = company.add({"a.txt": "same"})
    other.gate.clear()
    one.on_tell = lambda message: None

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for member in company.members:
            tasks.create_task(member.taking.take())
        await until(lambda: Activity.WAITING_IDENTIFICATION in one.activities)
        other.gate.set()

    assert one.activities == [
        Activity.IDENTIFYING,
        Activity.WAITING_IDENTIFICATION,
        Activity.ANALYSING,
        Activity.INVENTORY_DONE,
    ]
    progress = one.reports[-1][1]
    assert (progress.files, progress.size) == (2, 9)
    assert progress.directories == 2
    assert (progress.to_hash_files, progress.hashed_files) == (1, 1)
    assert (progress.to_hash_size, progress.hashed_size) == (4, 4)


async def test_hashing_goes_in_slices_of_one_source_each(
    company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two slices the loop looks at what else there is; all files are hashed once."""
    monkeypatch.setattr(peer.daemon.inventorying, "HASH_FILES", 2)
    monkeypatch.setattr(limits, "MAX_BATCH", 3)
    files = {f"{number}.txt": "x" * number for number in range(7)}
    folders = [fill(tmp_path / name, files) for name in ("first", "second")]
    settings = parse_assignments(["analysis=checksum"], SETTINGS)
    member = Member(0, folders, {0: 2, 1: 2}, settings)
    double = Member(1, folders, {0: 2, 1: 2}, settings)
    member.others, double.others = [double], [member]
    company.members += [member, double]

    taken = await company.take()

    assert taken == [True, True]
    hashed = [
        each
        for message in member.told
        if isinstance(message, HashesComputed)
        for each in message.hashes
    ]
    assert len(hashed) == len({each.number for each in hashed}) == 14
    assert max(len(m.hashes) for m in member.told if isinstance(m, HashesComputed)) <= 3


async def test_large_files_make_slices_of_their_own(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice has so many bytes, unless one file has more."""
    monkeypatch.setattr(peer.daemon.inventorying, "HASH_BYTES", 10)
    files = {f"{number}.txt": "x" * 11 for number in range(4)}
    one = company.add(files)
    company.add(files)

    await company.take()

    told = [message for message in one.told if isinstance(message, HashesComputed)]
    assert [len(message.hashes) for message in told] == [1, 1, 1, 1]


async def test_what_is_known_is_not_read_again(company: Company) -> None:
    """Unless it is asked for: digests can be mistrusted."""
    first = company.add({"a.txt": "same"}, count=2)
    company.add({"a.txt": "same"}, count=2)
    await company.take()
    again = Company(company.base)
    second = again.add({}, cache=first.cache)
    again.add({})
    mistrusting = Company(company.base)
    third = mistrusting.add({}, cache=first.cache, rehash=True)
    mistrusting.add({})

    await again.take()
    known = first.cache.answered
    await mistrusting.take()

    assert known == 1
    assert first.cache.answered == 1
    assert digests(second.of(0)) == digests(third.of(0)) == {"a.txt": of("same")}
    again.close()
    mistrusting.close()


async def test_what_is_left_out_is_counted_and_told(company: Company) -> None:
    """By its reason, at every member."""
    settings = parse_assignments(["exclude_hidden=true"], SETTINGS)
    one = company.add({"a.txt": "1", ".hidden": "2"}, settings=settings)
    other = company.add({"a.txt": "1"}, settings=settings)

    await company.take()

    assert one.reports[-1][1].skipped == {"hidden": 1}
    assert other.of(0).skipped == one.of(0).skipped


# --- what goes wrong ---------------------------------------------------------------


async def test_a_file_that_vanishes_before_it_is_read_is_unreadable(company: Company) -> None:
    """It is known to have been there; what was in it is not."""
    one = company.add({"a.txt": "same", "b.txt": "also same"})
    other = company.add({"a.txt": "same", "b.txt": "also same"})

    def take_away(message: InventoryMessage) -> None:
        if isinstance(message, EntriesFound):
            (company.base / "member 0" / "a.txt").unlink()
            one.on_tell = lambda _: None

    one.on_tell = take_away
    taken = await company.take()

    assert taken == [True, True]
    for member in (one, other):
        assert digests(member.of(0)) == {"a.txt": None, "b.txt": of("also same")}
        assert len(member.of(0).unreadable) == 1
    assert one.reports[-1][1].errors == 1


async def test_a_file_that_cannot_be_hashed_is_unreadable(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changed into something else between being looked at and being opened."""
    one = company.add({"a.txt": "same"})
    company.add({"a.txt": "same"})
    hash_file = peer.daemon.inventorying.hash_file

    def swap(root: Root, path: RelPath, **options: object) -> object:
        if root is one.roots[0]:
            (root.path / "a.txt").unlink()
        return hash_file(root, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(peer.daemon.inventorying, "hash_file", swap)
    await company.take()

    assert digests(one.of(0)) == {"a.txt": None}


async def test_a_source_that_vanished_does_not_hold_the_others_up(company: Company) -> None:
    """Its member says so, and everybody compares without it."""
    one = company.add({"a.txt": "same"})
    other = company.add({"a.txt": "same"})
    one.roots[0].close()

    taken = await company.take()

    assert taken == [True, True]
    assert one.activities[-1] is Activity.INVENTORY_FAILED
    assert other.of(0).state is State.FAILED
    assert other.of(0).failure == one.of(0).failure


async def test_a_removed_folder_is_empty(company: Company) -> None:
    """The handle is still open; nothing is in it any more."""
    one = company.add({"a.txt": "same"})
    company.add({"a.txt": "same"})
    shutil.rmtree(company.base / "member 0")

    taken = await company.take()

    assert taken == [True, True]
    assert digests(one.of(0)) == {}


async def test_a_fault_of_our_own_is_told_like_any_other(company: Company) -> None:
    """The others wait for a word of this member, whatever it is."""
    one = company.add({"a.txt": "same"})
    other = company.add({"a.txt": "same"})
    one.cache.fault = ZeroDivisionError()

    taken = await company.take()

    assert taken == [True, True]
    assert other.of(0).state is State.FAILED
    assert other.of(0).failure == "internal"


async def test_a_member_that_is_gone_is_not_waited_for(company: Company) -> None:
    """Its entries count as unknown, in whichever state it went."""
    one = company.add({"a.txt": "same"})
    taking = asyncio.get_running_loop().create_task(one.taking.take())
    await until(lambda: Activity.WAITING_IDENTIFICATION in one.activities)

    one.taking.fail(1)
    one.taking.fail(7)
    taken = await asyncio.wait_for(taking, 10)
    one.taking.fail(0)

    assert taken
    assert one.of(1).failure == "member.unreachable"
    assert one.of(0).state is State.HASHED


async def test_a_cancelled_run_ends_soon(company: Company) -> None:
    """Wherever it is: waiting for others, or in the middle of its own files."""
    waiting = company.add({"a.txt": "same"})
    taking = asyncio.get_running_loop().create_task(waiting.taking.take())
    await until(lambda: Activity.WAITING_IDENTIFICATION in waiting.activities)

    waiting.taking.cancel()
    taken = await asyncio.wait_for(taking, 10)

    assert not taken
    assert Activity.INVENTORY_DONE not in waiting.activities


async def test_a_run_cancelled_while_it_looks_around_tells_no_end(company: Company) -> None:
    """What it has not seen is not said to be absent."""
    one = company.add({"a.txt": "same"})
    one.on_tell = lambda message: (
        one.taking.cancel() if isinstance(message, InventoryBegun) else None
    )

    taken = await asyncio.wait_for(one.taking.take(), 10)

    assert not taken
    assert one.of(0).state is State.IDENTIFYING


async def test_a_run_cancelled_while_it_hashes_stops_reading(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a large file, too."""
    one = company.add({"a.txt": "same", "b.txt": "also same"})
    company.add({"a.txt": "same", "b.txt": "also same"})
    hash_file = peer.daemon.inventorying.hash_file
    reading = threading.Event()

    def cancel_then_hash(root: Root, path: RelPath, **options: object) -> object:
        if root is one.roots[0]:
            reading.set()
            one.taking.cancel()
        return hash_file(root, path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(peer.daemon.inventorying, "hash_file", cancel_then_hash)
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(member.taking.take()) for member in company.members]
    done, _ = await asyncio.wait([tasks[0]], timeout=10)
    company.members[1].taking.cancel()
    await asyncio.wait(tasks)

    assert reading.is_set()
    assert done
    assert not tasks[0].result()
    assert one.of(0).state is State.IDENTIFIED


# --- links that come and go -----------------------------------------------------------


async def test_a_link_that_came_back_is_told_everything_again(company: Company) -> None:
    """At any moment of the run: both forget what they had of each other."""
    settings = SETTINGS
    for moment in range(1, 7):
        rerun = Company(company.base / str(moment))
        one = rerun.add({"a.txt": "same", "d/b.txt": "b", ".h": "h"}, settings=settings)
        other = rerun.add({"a.txt": "same", "c.txt": "c"}, settings=settings)
        count = iter(range(100))

        def flap(_: InventoryMessage, one: Member = one, other: Member = other) -> None:
            if next(count) != moment:  # noqa: B023  # read at once
                return
            there: list[InventoryMessage] = []
            back: list[InventoryMessage] = []
            one.taking.repeat(1, there.append)
            other.taking.repeat(0, back.append)
            for message in there:
                other.hear(0, message)
            for message in back:
                one.hear(1, message)

        # Both sides notice together, between two messages: neither hears old ones afterwards.
        one.on_tell = lambda message: asyncio.get_running_loop().call_soon(flap, message)
        async with asyncio.timeout(20):
            taken = await rerun.take()

        assert taken == [True, True], moment
        assert digests(other.of(0))["a.txt"] == of("same")
        assert digests(one.of(1))["a.txt"] == of("same")
        rerun.close()


async def test_nothing_is_repeated_to_strangers_or_before_the_beginning(
    company: Company,
) -> None:
    """A member that came after the start belongs to no run."""
    one = company.add({"a.txt": "same"})
    said: list[InventoryMessage] = []

    one.taking.repeat(5, said.append)
    one.taking.repeat(1, said.append)
    one.taking.receive(5, InventoryBegun(run=1, case_insensitive=False, date_resolution_ns=1))
    await turns()

    assert said == []
    assert sorted(one.taking.inventories) == [0, 1]


async def test_a_failed_member_repeats_that_it_failed(company: Company) -> None:
    """Who comes back must not wait for its files."""
    one = company.add({"a.txt": "same"})
    one.roots[0].close()
    taking = asyncio.get_running_loop().create_task(one.taking.take())
    await until(lambda: one.of(0).state is State.FAILED)
    hearer = MemberInventory(0, 1, sources=1)

    one.taking.repeat(1, hearer.receive)
    one.taking.cancel()
    await taking

    assert hearer.state is State.FAILED


async def test_what_cannot_be_true_is_the_caller_to_punish(company: Company) -> None:
    """Nothing of it is taken."""
    one = company.add({})

    with pytest.raises(RemoteProtocolError):
        one.taking.receive(1, HashesComputed(run=1, hashes=[]))

    assert one.of(1).state is State.WAITING
