import asyncio
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from peer.transfer import sender
from peer.transfer.proof import Finding
from protocol.limits import KIB, MIB
from tests.peer.daemon.mesh import (
    Member,
    contents,
    disconnect,
    fill,
    leftovers,
    mesh,
    prove_all,
    reconnect,
    run_all,
    until,
    write,
)

RANDOM = random.Random(5)
BLOCK = RANDOM.randbytes(3 * MIB + 77)


def mixed(folder: Path) -> None:
    """Empty, tiny, chunk-sized and large files, at several depths."""
    sizes = [0, 1, 255 * KIB, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 600 * KIB, 3 * MIB + 77]
    for number, size in enumerate(sizes):
        write(
            folder, f"d{number % 3}/e/f{number}", BLOCK[:size], 1_500_000_000_000_000_001 + number
        )
    for number in range(200):
        write(folder, f"small/s{number}", BLOCK[number : 2 * number], -5_000_000_007 + number)
    (folder / "empty").mkdir()


def members(folder: Path, count: int, prepare: Callable[[Path], None] = mixed) -> list[Member]:
    (folder / "m0").mkdir()
    prepare(folder / "m0")
    return [Member(number, folder / f"m{number}") for number in range(count)]


@pytest.mark.parametrize("hashed", [True, False])
async def test_a_tree_arrives_whole_with_its_dates_and_is_proved(
    tmp_path: Path, hashed: bool
) -> None:
    """Large and small together; both members compute the same digest of the end state."""
    a, b = both = members(tmp_path, 2)
    steps = fill(a, [b], hashed=hashed)

    async with mesh(both, steps):
        results = await run_all(both)
        outcomes = await prove_all(both)

    assert contents(b.folder) == contents(a.folder)
    assert results[1].done == len(steps)
    assert not results[1].failures
    assert [outcome.deviations for outcome in outcomes] == [(), ()]
    assert outcomes[0].digest == outcomes[1].digest
    assert outcomes[0].files == 208
    assert leftovers(b) == []
    assert b.progress[-1].content_done == b.progress[-1].content > 4 * MIB


async def test_five_members_all_to_all(tmp_path: Path) -> None:
    """Each has files of its own; in the end all have all."""
    five = []
    for number in range(5):
        folder = tmp_path / f"m{number}"
        folder.mkdir()
        for place in range(12):
            write(folder, f"of{number}/{place}", BLOCK[number : place * 40_000 + number])
        five.append(Member(number, folder))
    steps = [
        step for one in five for step in fill(one, [other for other in five if other is not one])
    ]

    async with mesh(five, steps):
        results = await run_all(five)
        outcomes = await prove_all(five)

    assert all(contents(one.folder) == contents(five[0].folder) for one in five)
    assert all(not result.failures for result in results)
    assert len({outcome.digest for outcome in outcomes}) == 1
    assert all(outcome.equal for outcome in outcomes)


async def test_every_kind_of_step_is_carried_out(tmp_path: Path) -> None:
    """Clashes of kind, links, dates, modes, deletions, a directory closed to its owner."""
    a, b = both = members(tmp_path, 2, lambda folder: write(folder, "new/clash", b"file"))
    for name in ("file", "old/inner/f", "clash/g", "dated", "moded"):
        write(b.folder, name, b"old")
    b = both[1] = Member(1, b.folder)
    at = b.inventory

    def here(kind: type, name: str, **fields: object) -> AnyStep:
        path = tuple(name.encode().split(b"/"))
        # What makes room is a step of its own: nothing is expected where something is made.
        expected = None if kind in (CreateDirectory, CopyLink) else at.get(path)
        step: AnyStep = kind(member=1, source=0, path=path, expected=expected, **fields)
        return step

    steps: list[AnyStep] = [
        here(DeleteDirectory, "old"),
        here(DeleteDirectory, "old/inner"),
        here(Delete, "old/inner/f"),
        here(CreateDirectory, "file", mode=0o555),
        here(CopyLink, "file/link", target=b"nowhere", mtime_ns=7_000_000_001),
        here(Delete, "file"),
        replace(fill(a, [b])[-1], path=(b"clash",)),
        here(Delete, "clash/g"),
        here(DeleteDirectory, "clash"),
        here(SetDate, "dated", mtime_ns=9_000_000_009),
        here(SetMode, "moded", mode=0o600),
    ]

    async with mesh(both, steps):
        _, result = await run_all(both)
        outcomes = await prove_all(both)

    assert result.failures == {}
    assert sorted(contents(b.folder)) == ["clash", "dated", "file", "file/link", "moded"]
    assert (b.folder / "clash").read_bytes() == b"file"
    assert (b.folder / "file/link").lstat().st_mtime_ns == 7_000_000_001
    assert (b.folder / "file").stat().st_mode & 0o777 == 0o555
    assert (b.folder / "dated").stat().st_mtime_ns == 9_000_000_009
    assert (b.folder / "moded").stat().st_mode & 0o777 == 0o600
    assert [outcome.deviations for outcome in outcomes] == [(), ()]


async def test_a_move_costs_no_bytes(tmp_path: Path) -> None:
    """The content is copied from the old place, then that goes to the trash."""
    a, b = both = members(tmp_path, 2, lambda folder: write(folder, "new", BLOCK))
    write(b.folder, "old", BLOCK, 55)
    b = both[1] = Member(1, b.folder)
    (copy,) = fill(a, [b])
    assert isinstance(copy, CopyFile)
    steps: list[AnyStep] = [
        replace(copy, holders=(*copy.holders, (1, 0, (b"old",)))),
        Delete(member=1, source=0, path=(b"old",), expected=b.inventory[b"old",]),
    ]

    async with mesh(both, steps):
        _, result = await run_all(both)

    assert result.received == 0
    assert contents(b.folder) == contents(a.folder)


async def test_what_a_failed_copy_needs_is_not_deleted(tmp_path: Path) -> None:
    """A move whose copy fails leaves the old place alone."""
    a, b = both = members(tmp_path, 2, lambda folder: write(folder, "new", b"new"))
    write(b.folder, "old", b"new", 55)
    b = both[1] = Member(1, b.folder)
    (copy,) = fill(a, [b])
    assert isinstance(copy, CopyFile)
    steps: list[AnyStep] = [
        replace(copy, holders=((1, 0, (b"old",)),)),
        Delete(member=1, source=0, path=(b"old",), expected=b.inventory[b"old",]),
    ]
    write(b.folder, "new", b"mine", 66)

    async with mesh(both, steps):
        _, result = await run_all(both)

    assert result.failures == {0: "fs.changed_since", 1: "transfer.still_needed"}
    assert (b.folder / "old").exists()
    assert (b.folder / "new").read_bytes() == b"mine"


# --- what changed meanwhile -------------------------------------------------------


async def test_a_changed_source_is_not_sent_and_a_changed_destination_not_overwritten(
    tmp_path: Path,
) -> None:
    """Each fails with its reason; the rest arrives."""

    def prepare(folder: Path) -> None:
        for name in ("a", "b", "c"):
            write(folder, name, b"new " + name.encode())

    a, b = both = members(tmp_path, 2, prepare)
    steps = fill(a, [b])
    write(a.folder, "a", b"newer", 99)
    write(b.folder, "b", b"mine", 99)

    async with mesh(both, steps):
        _, result = await run_all(both)
        outcomes = await prove_all(both)

    assert result.failures == {0: "fs.changed_since", 1: "fs.changed_since"}
    assert {path: content for path, (content, _) in contents(b.folder).items()} == {
        "b": b"mine",
        "c": b"new c",
    }
    assert all(outcome.equal for outcome in outcomes)
    assert outcomes[0].digest == outcomes[1].digest


async def test_content_that_changed_under_the_same_date_is_not_sent(tmp_path: Path) -> None:
    """The plan's digest tells, at the holder already."""
    a, b = both = members(tmp_path, 2, lambda folder: write(folder, "f", b"agreed"))
    steps = fill(a, [b])
    write(a.folder, "f", b"other!")

    async with mesh(both, steps):
        _, result = await run_all(both)

    assert result.failures == {0: "fs.changed_since"}
    assert contents(b.folder) == {}


# --- holders that lie, stop or vanish ---------------------------------------------


class LyingWriter(sender.PackWriter):
    """Puts something else than the file into the message, under a good seal."""

    lie: Callable[[bytes], bytes]

    def _put(self, data: bytes) -> None:
        super()._put(type(self).lie(data))


LIES: dict[str, Callable[[bytes], bytes]] = {
    "wrong digest": lambda record: record[:4] + bytes(32) if record[0] == 3 else record,
    "wrong step": lambda record: (
        record[:4] + b"\0\0\0\7" + record[8:] if record[0] == 1 else record
    ),
    "wrong size": lambda record: record[:-1] + b"\1" if record[0] == 1 else record,
    "fewer bytes": lambda record: record if record[0] != 3 else b"",
    "more bytes": lambda record: b"\2\0\0\1x" + record if record[0] == 3 else record,
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_lying_holder_leaves_the_target_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: Callable[[bytes], bytes]
) -> None:
    """Whatever is wrong, nothing takes its place and nothing stays behind (T19)."""
    a, b = both = members(tmp_path, 2, lambda folder: write(folder, "f", b"agreed"))
    write(b.folder, "f", b"old", 77)
    b = both[1] = Member(1, b.folder)
    steps = fill(a, [b])
    monkeypatch.setattr(LyingWriter, "lie", staticmethod(lie), raising=False)
    monkeypatch.setattr("peer.daemon.outgoing.PackWriter", LyingWriter)
    monkeypatch.setattr("peer.transfer.schedule.PATIENCE", 0.01)

    async with mesh(both, steps):
        _, result = await run_all(both)

    assert set(result.failures) == {0}
    assert contents(b.folder) == {"f": (b"old", 77)}
    assert leftovers(b) == []


async def test_an_altered_byte_on_the_way_is_found_and_the_link_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seal breaks; another holder is asked."""
    a, b, c = three = members(tmp_path, 3, lambda folder: write(folder, "f", BLOCK))
    write(c.folder, "f", BLOCK)
    c = three[2] = Member(2, c.folder)
    steps = fill(a, [c, b])
    monkeypatch.setattr("peer.transfer.schedule.PATIENCE", 0.01)

    def flip(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1]) if len(data) > 100_000 else data

    async with mesh(three, steps):
        links = [a.links[1], c.links[1]]
        for link in links[:1]:
            link.alter = flip
        _, result, _ = await run_all(three)

    assert result.failures == {}
    assert contents(b.folder) == contents(a.folder)
    assert not a.links.get(1) or not links[0].streams


async def test_a_holder_lost_on_the_way_is_replaced_by_another(tmp_path: Path) -> None:
    """What it was sending is discarded and asked of whoever else holds it."""
    a, b, c = three = members(tmp_path, 3)
    for path, (content, date) in contents(a.folder).items():
        if content is None:
            (c.folder / path).mkdir(parents=True, exist_ok=True)
        else:
            write(c.folder, path, content, date)
    c = three[2] = Member(2, c.folder)
    steps = fill(a, [c, b])

    async with mesh(three, steps):

        async def cut() -> None:
            await until(lambda: any(stream.written for stream in a.links[1].streams))
            disconnect(a, b)

        async with asyncio.TaskGroup() as group:
            group.create_task(cut())
            task = group.create_task(run_all(three))
        result = task.result()[1]

    assert result.failures == {}
    assert contents(b.folder) == contents(a.folder)
    assert 1 not in a.links
    assert leftovers(b) == []


async def test_a_holder_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    """The only one who has it; the link is lost once."""
    a, b = both = members(tmp_path, 2)
    steps = fill(a, [b])

    async with mesh(both, steps):

        async def flap() -> None:
            await until(lambda: any(s.written > MIB for s in a.links[1].streams))
            disconnect(a, b)
            await asyncio.sleep(0)
            reconnect(a, b)

        async with asyncio.TaskGroup() as group:
            group.create_task(flap())
            task = group.create_task(run_all(both))
        outcomes = await prove_all(both)

    assert task.result()[1].failures == {}
    assert contents(b.folder) == contents(a.folder)
    assert all(outcome.equal for outcome in outcomes)


async def test_a_holder_that_never_comes_fails_its_steps_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason that it was not reached."""
    a, b = both = members(tmp_path, 2)
    steps = fill(a, [b])
    monkeypatch.setattr("peer.transfer.schedule.PATIENCE", 0.01)

    async with mesh(both, steps):
        disconnect(a, b)
        _, result = await run_all(both)

    assert set(result.failures.values()) == {"transfer.unreachable"}
    assert len(result.failures) == 208


# --- abort ------------------------------------------------------------------------


async def test_an_abort_leaves_only_whole_files(tmp_path: Path) -> None:
    """Each path holds its old content or its whole new one; staging is empty."""
    a, b = both = members(tmp_path, 2)
    for path, (content, _) in contents(a.folder).items():
        if content is not None:
            write(b.folder, path, b"old", 88)
    b = both[1] = Member(1, b.folder)
    steps = fill(a, [b])
    new = contents(a.folder)

    async with mesh(both, steps):

        async def abort() -> None:
            await until(lambda: b.synchronisation.result().done >= 40)
            for member in both:
                member.synchronisation.abort()

        async with asyncio.TaskGroup() as group:
            group.create_task(abort())
            task = group.create_task(run_all(both))
        result = task.result()[1]

    assert result.aborted
    assert 40 <= result.done < result.steps
    assert set(result.failures.values()) == {"transfer.aborted"}
    for path, found in contents(b.folder).items():
        assert found in ((b"old", 88), new[path]) or found[0] is None
    assert leftovers(b) == []


async def test_an_abort_before_the_first_byte_changes_nothing(tmp_path: Path) -> None:
    """Nothing is made, nothing stays behind."""
    a, b = both = members(tmp_path, 2)
    steps = fill(a, [b])

    async with mesh(both, steps):
        b.synchronisation.abort()
        _, result = await run_all(both)

    assert result.done == 0
    assert contents(b.folder) == {}
    assert leftovers(b) == []


# --- disks that refuse --------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of six megabytes."""
    place = tmp_path / "m1"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.root
async def test_what_does_not_fit_fails_and_the_rest_arrives(
    tmp_path: Path, small_disk: Path
) -> None:
    """A full disk costs the file that is too large, not its neighbours."""

    def prepare(folder: Path) -> None:
        for name, size in (("a", 900), ("b", 8 * MIB), ("c", MIB), ("d", 0)):
            write(folder, name, bytes(size))

    a, b = both = members(tmp_path, 2, prepare)
    steps = fill(a, [b])

    async with mesh(both, steps):
        _, result = await run_all(both)

    assert result.failures == {1: "fs.no_space"}
    assert sorted(contents(b.folder)) == ["a", "c", "d"]
    assert leftovers(b) == []


@pytest.mark.root
async def test_a_read_only_disk_refuses_everything_and_nothing_breaks(
    tmp_path: Path, small_disk: Path
) -> None:
    """Every step fails with that reason."""
    a, b = both = members(tmp_path, 2)
    steps = fill(a, [b])
    remount = ["mount", "-o", "remount,ro", small_disk]
    await asyncio.to_thread(subprocess.run, remount, check=True)

    async with mesh(both, steps):
        _, result = await run_all(both)

    assert result.done == 0
    assert "fs.read_only" in set(result.failures.values())
    assert len(result.failures) == len(steps)


# --- the proof -----------------------------------------------------------------------


async def test_a_file_altered_after_the_synchronisation_is_named(tmp_path: Path) -> None:
    """Every member hears of it; asked again after a repair, all is well."""
    a, b = both = members(tmp_path, 2)
    steps = fill(a, [b])
    (place,) = (n for n, step in enumerate(steps) if step.path[-1] == b"s150")

    async with mesh(both, steps):
        await run_all(both)
        content = (b.folder / "small/s150").read_bytes()
        date = (b.folder / "small/s150").stat().st_mtime_ns
        write(b.folder, "small/s150", content[:-1] + b"!", date)
        outcomes = await prove_all(both)
        write(b.folder, "small/s150", content, date)
        again = await a.synchronisation.prove(again=True, patience=20)

    named = [(d.step, d.member, d.finding) for outcome in outcomes for d in outcome.deviations]
    assert named == [(place, 1, Finding.DIFFERS)] * 2
    assert again.equal


async def test_a_member_that_says_nothing_is_not_waited_for_when_it_left(tmp_path: Path) -> None:
    """Its steps show as unstated."""
    a, b = both = members(tmp_path, 2, lambda folder: write(folder, "f", b"x"))
    steps = fill(a, [b])

    async with mesh(both, steps):
        await run_all(both)
        disconnect(a, b)
        a.synchronisation.member_left(1)
        outcome = await a.synchronisation.prove()

    assert [d.finding for d in outcome.deviations] == [Finding.UNSTATED]
