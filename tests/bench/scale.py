"""A million entries on two members: identification, exchange, comparison, filters, sorts, plan.

``python tests/bench/scale.py [--files 1000000] [--folder DIR]`` makes two trees of that many
files in folders of fifty, lets one process play each member as a peer does (its own walk, the
other's messages, the comparison, what people ask for) and prints each figure beside its
target. ``find -printf`` and ``rsync -n`` over the same trees, in the same run, say what the
machine can do.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from peer.daemon.deciding import Deciding
from peer.daemon.inventorying import InventoryTaking, SourceProbe
from peer.fs.confine import Root
from peer.session.session_settings import SessionSettings
from protocol import codec
from protocol.messages import session as wire
from protocol.messages.inventory import HashingEnded, InventoryMessage, Kind

IN_FOLDER: Final = 50
CHANGED_EVERY, NEW_EVERY = 100, 1_000
DATE: Final = 1_700_000_000
WINDOW: Final = 200

TARGETS: Final = {
    "rescan entries/s": (">=", 150_000),
    "bytes an entry": ("<=", 60),
    "comparison s": ("<=", 15),
    "filter s": ("<=", 1),
    "sort s": ("<=", 1),
    "window ms": ("<=", 20),
    "peak MiB": ("<=", 600),
}
"""What the figures whose names begin so are held against."""


def make(root: Path, files: int) -> int:
    """Make the tree; return how many entries it has."""
    entries = 1
    for folder in range(files // IN_FOLDER):
        place = root / f"project{folder // 100:04}" / f"folder{folder % 100:02}"
        if folder % 100 == 0:
            place.parent.mkdir(parents=True)
            entries += 1
        place.mkdir()
        entries += 1 + IN_FOLDER
        handle = os.open(place, os.O_RDONLY)
        try:
            for number in range(folder * IN_FOLDER, (folder + 1) * IN_FOLDER):
                name = f"document-{number:07}.txt"
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=handle))
                date = DATE + number * 37 % 10_000_000
                os.utime(name, (date, date), dir_fd=handle)
        finally:
            os.close(handle)
    return entries


def diverge(root: Path) -> None:
    """Change one file in a hundred, rename one in a thousand."""
    number = 0
    for place, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            number += 1
            path = os.path.join(place, name)  # noqa: PTH118  # a million of them
            if number % NEW_EVERY == 0:
                os.rename(path, path + ".new")  # noqa: PTH104
            elif number % CHANGED_EVERY == 0:
                os.unlink(path)  # noqa: PTH108
                with open(path, "w") as file:  # noqa: PTH123
                    file.write("changed")


class Wire:
    """Counts what one member tells, and keeps it for the other."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")
        self.size = 0

    def broadcast(self, message: InventoryMessage) -> None:
        data = codec.encode(message)
        self.size += len(data)
        self._file.write(len(data).to_bytes(4, "big") + data)

    async def drained(self) -> None:
        await asyncio.sleep(0)

    def report(self, activity: wire.Activity, progress: wire.Progress) -> None:
        del activity, progress

    def close(self) -> None:
        self._file.close()


class NoCache:
    """Nothing is known of any file."""

    def get_many(self, root: object, asked: list[object]) -> list[None]:
        del root
        return [None] * len(asked)

    def put_many(self, root: object, found: object, *, read_at_ns: int) -> None:
        del root, found, read_at_ns


def told_by(file: Path) -> Iterator[InventoryMessage]:
    with file.open("rb") as stream:
        while head := stream.read(4):
            yield codec.decode(stream.read(int.from_bytes(head, "big")), InventoryMessage)


async def take(me: int, root: Path, to: Path, other: Path | None) -> dict[str, float]:
    """Play one member; return its figures."""
    figures: dict[str, float] = {}
    outlet = Wire(to)
    with contextlib.closing(Root(root, kind=Kind.DIRECTORY)) as held:
        taking = InventoryTaking(
            me=me,
            run=1,
            sources={0: 1, 1: 1},
            probes=[SourceProbe(held, case_insensitive=False, date_resolution_ns=1)],
            settings=SessionSettings(),
            cache=NoCache(),  # type: ignore[arg-type]  # it asks nothing of the root
            outlet=outlet,
        )
        began = time.perf_counter()
        running = asyncio.get_running_loop().create_task(taking.take())
        mine = taking.inventories[me]
        while not mine.known:  # noqa: ASYNC110  # figures are nobody's event
            await asyncio.sleep(0.05)
        figures["rescan entries/s"] = len(mine) / (time.perf_counter() - began)
        figures["bytes an entry on the wire"] = outlet.size / len(mine)
        if other is None:
            taking.cancel()
            await running
            outlet.close()
            return figures
        began = time.perf_counter()
        for message in told_by(other):
            taking.receive(1 - me, message)
            await asyncio.sleep(0)
        figures["exchange s (decoded and checked)"] = time.perf_counter() - began
        began = time.perf_counter()
        taking.receive(1 - me, HashingEnded(run=1))
        await running
        figures["hashing what differs s"] = time.perf_counter() - began
    outlet.close()
    figures |= look(list(taking.inventories.values()))
    return figures


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def look(inventories: list[object]) -> dict[str, float]:
    """Compare, and do what people do with a comparison."""
    figures: dict[str, float] = {}
    began = time.perf_counter()
    deciding = Deciding.compare(inventories, SessionSettings(), (0, 1))  # type: ignore[arg-type]
    figures["comparison s"] = time.perf_counter() - began
    for text in ("is:different", "document-00042", "path:*project001*", "A.date > B.date",
                 "missing:B or not on:A", "name:=~7[0-9]+5\\.txt"):  # fmt: skip
        figures[f"filter s {text}"] = timed(lambda text=text: deciding.window(text, "path", 0, 1))
    for column in ("size", "-date", "status"):
        figures[f"sort s {column}"] = timed(lambda by=column: deciding.window("", by, 0, 1))
    middle = len(deciding.comparison) // 2
    # Behind the first one of each order, which is the sort measured above.
    deciding.window("", "path", 0, 1)
    figures["window ms of 200 rows"] = 1_000 * max(
        timed(lambda by=by: deciding.window("", by, middle, WINDOW))
        for by in ("path", "size", "-date")
    )
    figures["plan s (mirror)"] = timed(
        lambda: deciding.take(deciding.decide(deciding.with_rules("mirror A", ())))
    )
    figures["steps planned"] = len(deciding.decided.plan.steps) if deciding.decided else 0
    return figures


def member(me: int, root: Path, to: Path, other: Path | None) -> None:
    figures = asyncio.run(take(me, root, to, other))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**figures, "peak MiB": peak / 1024}))


def verdict(name: str, value: float) -> str:
    for head, (sign, bound) in TARGETS.items():
        if name.startswith(head):
            held = value >= bound if sign == ">=" else value <= bound
            return f"{sign} {bound:<9,} {'held' if held else 'MISSED'}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--member", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.member:
        me, root, to, other = given.member
        member(int(me), Path(root), Path(to), Path(other) if other else None)
        return 0
    missed = False
    with tempfile.TemporaryDirectory(dir=given.folder) as base:
        left, right = Path(base, "left"), Path(base, "right")
        left.mkdir()
        entries = make(left, given.files)
        # Hard links: another tree of names for half the time to make it.
        subprocess.run(["cp", "-al", left, right], check=True)
        diverge(right)
        print(f"{entries:,} entries on each of two members")
        for what, command in (
            ("find -printf", ["find", left, "-printf", "%P %s %T@ %m %y\\n"]),
            ("rsync -n", ["rsync", "-rtn", "--out-format=%n", f"{left}/", f"{right}/"]),
        ):
            if shutil.which(command[0]):
                took = timed(
                    lambda command=command: subprocess.run(
                        command, check=True, stdout=subprocess.DEVNULL
                    )
                )
                print(f"{what:42} {took:>12,.2f} s {entries / took:>12,.0f} entries/s")
        streams = [Path(base, "0"), Path(base, "1")]
        for me, root, other in ((1, right, ""), (0, left, streams[1])):
            command = [sys.executable, __file__, "--member", str(me), root, streams[me], other]
            told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            print(f"member {'AB'[me]}")
            for name, value in told.items():
                judged = verdict(name, value)
                missed = missed or "MISSED" in judged
                print(f"  {name:40} {value:>12,.2f}  {judged}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
