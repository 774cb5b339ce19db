"""Folders to synchronise: many files, large ones, and everything a file name may be."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ODD_NAMES: Final = (
    b"with space", b" leading", b"trailing ", b"'single'", b'"double"', b"new\nline", b"tab\there",
    b"back\\slash", b"-dash", b"--delete", b"*?[x]", b"$HOME", b"`id`", b"#hash", b"a;b&c|d",
    b"\xff\xfe not utf-8 \x80", b"latin-1 \xe9t\xe9", "ünïcödé 日本 🎻".encode(),
    "decomposed e\u0301".encode(), b"L" * 255, "é".encode() * 127, b"\x01\x1b[31m", b"%s%n", b"~",
    b"name.", b"con.txt", b"a:b",
)  # fmt: skip
"""Names that programs stumble over; all are possible on Linux."""

DATES: Final = (
    -1,                              # the last nanosecond before 1970
    -2_000_000_000_123_456_789,      # 1906
    0,
    1,
    999_999_999,
    1_700_000_000_000_000_001,
    2_208_988_800_123_456_789,       # 2040
    4_102_444_800_999_999_999,       # 2100
)  # fmt: skip
"""Nanoseconds since 1970."""

DEPTH: Final = 60
"""Folders one inside the other."""


def write(path: Path, content: bytes, mtime_ns: int) -> None:
    """Make a file with this content and date."""
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def odd_tree(root: Path, seed: int = 1) -> None:
    """Fill *root* with odd names, dates and depths, empty files and folders."""
    chance = random.Random(seed)
    for number, raw in enumerate(ODD_NAMES):
        name, date = os.fsdecode(raw), DATES[number % len(DATES)]
        folder = root / "folders" / name
        folder.mkdir(parents=True)
        write(folder / name, chance.randbytes(number * 37), date)
        write(root / name, chance.randbytes(chance.randrange(3000)), date)
    for number, date in enumerate(DATES):
        write(root / f"date {number}", b"dated", date)
    deep = root.joinpath(*(f"d{level}" for level in range(DEPTH - 1)))
    deep.mkdir(parents=True)
    write(deep / "at the bottom", b"deep", DATES[1])
    for number in range(5):
        (root / "empty folders" / str(number) / "inner").mkdir(parents=True)
        write(root / f"empty file {number}", b"", DATES[5])
    write(root / "twin 1", b"twin" * 1000, DATES[5])
    write(root / "twin 2", b"twin" * 1000, DATES[6])


def many_files(root: Path, *, files: int, folders: int, seed: int = 2) -> int:
    """Fill *root* with *files* small files in *folders* folders; return their bytes."""
    chance = random.Random(seed)
    supply = chance.randbytes(1 << 20)
    total = 0
    places = []
    for number in range(folders):
        # Some inside others.
        parent = places[number // 7] if number % 3 == 0 and places else root
        place = parent / f"folder {number}"
        place.mkdir(parents=True)
        places.append(place)
    for number in range(files):
        size = chance.choice((0, 10, 100, 1000, 4000, 9000))
        start = chance.randrange(len(supply) - size)
        content = b"%d" % number + supply[start : start + size] if size else b""
        write(
            places[number % folders] / f"file {number}.bin",
            content,
            1_500_000_000_000_000_000 + number * 1_000_000_007,
        )
        total += len(content)
    return total


def large_file(path: Path, size: int) -> None:
    """Write *size* random bytes: nothing of it can be compressed, and no part is sparse."""
    with path.open("wb") as stream:
        left = size
        while left:
            left -= stream.write(os.urandom(min(left, 1 << 22)))
    os.utime(path, ns=(DATES[5], DATES[5]))


def change(root: Path, seed: int, *, share: float = 0.2) -> None:
    """Change, remove and add some of the files in *root*, later than they were made."""
    chance = random.Random(seed)
    for number, path in enumerate(files_in(root)):
        date = 1_800_000_000_000_000_000 + seed * 1_000_000_000_000 + number * 1_000_003
        kind = chance.random()
        if kind < share / 2:
            write(path, chance.randbytes(chance.randrange(5000)), date)
        elif kind < share:
            path.unlink()
        elif kind < share * 1.5:
            write(path.with_name(f"added {seed} {number}"), b"new", date)


def files_in(root: Path) -> list[Path]:
    """Return every file below *root*, in order; not our own."""
    return sorted(path for path in _walk(root) if path.is_file() and not path.is_symlink())


def contents(root: Path) -> dict[Path, tuple[bytes, int] | None]:
    """Return content and date of every file below *root*, None for folders; not our own."""
    return {
        path.relative_to(root): (path.read_bytes(), path.stat().st_mtime_ns)
        if path.is_file()
        else None
        for path in _walk(root)
    }


def _walk(root: Path) -> Iterator[Path]:
    for place in root.iterdir():
        if place.name == ".quintet":
            continue
        yield place
        if place.is_dir() and not place.is_symlink():
            yield from _walk(place)
