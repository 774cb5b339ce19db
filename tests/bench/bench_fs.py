"""How fast a source is walked, read and written to; run it on the file system in question.

``python tests/bench/bench_fs.py [folder]`` prints rates and the ratios that matter: walking
against ``os.walk`` with ``os.stat``, landing in groups against landing one by one.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from peer.fs.apply import BATCH, Applier
from peer.fs.confine import Root
from peer.fs.hasher import hash_file
from peer.fs.scanner import scan
from peer.fs.staging import Staging
from peer.fs.trash import Trash
from peer.inventory.stamp import Stamp
from peer.plan.steps import CopyFile
from peer.store.index import Index
from protocol.messages.inventory import Entry, Kind, RelPath

FOLDERS, FILES, ROUNDS = 200, 100, 3
LANDED = 2048
SMALL = os.urandom(4096)
LARGE = 512 * 1024 * 1024


def seconds(act: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - start)
    return best


def show(what: str, count: float, unit: str, took: float) -> float:
    print(f"{what:42} {count / took:>14,.0f} {unit}/s")
    return took


def step(path: RelPath, expected: Entry | None) -> CopyFile:
    origin = Entry(0, path, Kind.FILE, len(SMALL), 1, 0o644)
    return CopyFile(
        member=0, source=0, path=path, expected=expected, origin=origin,
        holders=((1, 0, path),), digest=None, mtime_ns=1,
    )  # fmt: skip


def walk_plainly(place: Path) -> None:
    for folder, _, files in os.walk(place):
        for name in files:
            os.stat(os.path.join(folder, name), follow_symlinks=False)  # noqa: PTH116, PTH118


def land(place: Path, group: int, *, replace: bool) -> None:
    paths = [(b"landed", b"%d" % number) for number in range(LANDED)]
    with Root(place) as root, Staging(root, b"\x01") as staging, Trash(root, b"\x01") as trash:
        applier = Applier(root, staging, trash)
        held = {}
        if replace:
            held = {e.path: e for batch in scan(root) for e in batch.entries}
        for start in range(0, LANDED, group):
            steps = []
            for path in paths[start : start + group]:
                staged = staging.new_file()
                staged.write(SMALL)
                steps.append((step(path, held.get(path)), staged))
            assert set(applier.apply_all(steps, now_ns=2)) == {None}


def main() -> None:
    base = Path(tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        for number in range(FOLDERS):
            (base / "tree" / f"{number:04}").mkdir(parents=True)
            for file in range(FILES):
                (base / "tree" / f"{number:04}" / f"{file:04}").write_bytes(SMALL[:1024])
        count = FOLDERS * FILES
        with Root(base / "tree") as root:
            ours = show("walked", count, "entries", seconds(lambda: list(scan(root))))
            plain = seconds(lambda: walk_plainly(base / "tree"))
            print(f"{'  against os.walk and os.stat':42} {plain / ours:>14.2f} x")
            paths = [e.path for b in scan(root) for e in b.entries if e.kind is Kind.FILE]
            show(
                "hashed, 1 KiB",
                count,
                "files",
                seconds(lambda: [*(hash_file(root, p) for p in paths)]),
            )
        (base / "large").write_bytes(os.urandom(1024 * 1024) * (LARGE // 1024 // 1024))
        with Root(base / "large") as root:
            show("hashed, one large file", LARGE / 1e6, "MB", seconds(lambda: hash_file(root, ())))
        (base / "large").unlink()

        took = {}
        for group in (1, BATCH):
            (base / "landed").mkdir()
            for replace in (False, True):
                start = time.perf_counter()
                land(base, group, replace=replace)
                name = f"landed, {'replacing' if replace else 'new'}, in groups of {group}"
                took[group] = show(name, LANDED, "files", time.perf_counter() - start)
            shutil.rmtree(base / "landed")
            shutil.rmtree(base / ".quintet")
        print(f"{'  groups against one by one':42} {took[1] / took[BATCH]:>14.2f} x")

        stamp = Stamp(1, 1, 1, 1)
        known = [((b"folder", b"%07d" % number), stamp, bytes(32)) for number in range(200_000)]
        with Index(base / "index.sqlite") as index:
            part = index.root(1, 1, base)
            now = 10**18
            show(
                "digests kept", len(known), "rows", seconds(lambda: part.put(known, read_at_ns=now))
            )
            show(
                "digests looked up, 2000 at a time", len(known), "rows",
                seconds(lambda: [
                    part.get([(p, s) for p, s, _ in known[i : i + 2000]], now_ns=now)
                    for i in range(0, len(known), 2000)
                ]),
            )  # fmt: skip
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
