import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.daemon import publishing
from peer.daemon.incoming import Staged
from peer.daemon.own_sources import OwnSources
from peer.daemon.publishing import Publisher, narrowed
from peer.fs.errors import ChangedSince, FileError
from peer.plan.steps import AnyStep, CreateDirectory, Delete, SetDate
from tests.peer.daemon.mesh import SYNC, Member, contents, leftovers, write
from tests.peer.daemon.transfers import step
from tests.peer.transfer.plans import path


class Bench:
    def __init__(self, member: Member, executor: ThreadPoolExecutor) -> None:
        self.member = member
        self.done: dict[int, FileError | None] = {}
        self.changed = asyncio.Event()
        known = member.inventory
        self.sources = OwnSources(SYNC, {0: member.root}, lambda _source, path: known.get(path))
        self.executor = executor

    def publisher(self, *steps: AnyStep) -> Publisher:
        return Publisher(
            SYNC,
            steps,
            self.sources,
            executor=self.executor,
            now_ns=time.time_ns,
            on_done=self.take,
        )

    def take(self, number: int, error: FileError | None) -> None:
        self.done[number] = error
        self.changed.set()

    def staged(self, number: int, content: bytes) -> Staged:
        file = self.sources.staging(0).new_file()
        file.write(content)
        return Staged(number, file, file.digest())

    async def until_done(self, count: int) -> None:
        while len(self.done) < count:
            self.changed.clear()
            await self.changed.wait()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    write(tmp_path, "m0/old", b"old")
    member = Member(0, tmp_path / "m0")
    with ThreadPoolExecutor(2) as executor, member.root:
        yield Bench(member, executor)


async def test_staged_files_take_their_places_together(bench: Bench) -> None:
    """One that finds something else there fails alone, and stays nowhere."""
    write(bench.member.folder, "b", b"mine")
    publisher = bench.publisher(step("a", b"aaa"), step("b", b"bbb"), step("c", b"ccc"))

    async with asyncio.TaskGroup() as group:
        group.create_task(publisher.run())
        for number, content in enumerate((b"aaa", b"bbb", b"ccc")):
            await publisher.put(bench.staged(number, content))
        await bench.until_done(3)
        await publisher.close()

    assert bench.done[0] is bench.done[2] is None
    assert isinstance(bench.done[1], ChangedSince)
    found = {name: content for name, (content, _) in contents(bench.member.folder).items()}
    assert found == {"a": b"aaa", "b": b"mine", "c": b"ccc", "old": b"old"}
    assert all(place.is_dir() for place in leftovers(bench.member))
    entry = bench.sources.entry(0, (b"a",))
    assert entry is not None
    assert (entry.size, entry.mtime_ns) == (3, 5)


async def test_a_full_backlog_makes_its_filler_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until a group is out of the way."""
    monkeypatch.setattr(publishing, "BACKLOG", 2)
    monkeypatch.setattr(publishing, "GROUP_SIZE", 1)
    publisher = bench.publisher(*(step(f"{n}", b"x") for n in range(3)))
    await publisher.put(bench.staged(0, b"x"))

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(publisher.put(bench.staged(1, b"x")))
        await asyncio.sleep(0)
        assert not waiting.done()
        group.create_task(publisher.run())
        await waiting
        await bench.until_done(2)
        await publisher.close()

    assert list(bench.done.values()) == [None, None]


async def test_stopped_nothing_more_takes_its_place(bench: Bench) -> None:
    """What waits is discarded, what comes too; who waits for room is let go."""
    publisher = bench.publisher(step("a", b"aaa"), step("b", b"bbb"))
    await publisher.put(bench.staged(0, b"aaa"))

    publisher.stop()
    await publisher.put(bench.staged(1, b"bbb"))
    await publisher.run()
    left = await publisher.apply([0])
    await publisher.close()

    assert bench.done == {}
    assert left == []
    assert sorted(contents(bench.member.folder)) == ["old"]
    assert all(place.is_dir() for place in leftovers(bench.member))


async def test_other_steps_are_carried_out_in_order(bench: Bench) -> None:
    """Each with its outcome; one of no source of ours fails."""
    old = bench.member.inventory[b"old",]
    steps: list[AnyStep] = [
        CreateDirectory(member=0, source=0, path=path("d"), mode=0o500),
        SetDate(member=0, source=0, path=path("old"), expected=old, mtime_ns=77),
        Delete(member=0, source=5, path=path("old"), expected=old),
        CreateDirectory(member=0, source=0, path=path("d/e"), mode=0o755),
    ]
    publisher = bench.publisher(*steps)

    outcomes = dict(await publisher.apply(range(4)))
    narrow = dict(await publisher.apply([0], narrowed))
    await publisher.close()

    assert [number for number, error in outcomes.items() if error is not None] == [2]
    assert narrow == {0: None}
    assert (bench.member.folder / "d").stat().st_mode & 0o777 == 0o500
    entry = bench.sources.entry(0, (b"old",))
    assert entry is not None
    assert entry.mtime_ns == 77


def test_only_directories_are_narrowed() -> None:
    """Everything else in that phase is what it is."""
    date = SetDate(member=0, source=0, path=path("d"), mtime_ns=1)

    assert narrowed(date) is date
