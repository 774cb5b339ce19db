"""Folders to synchronise: many files, large ones, and everything a file name may be."""

import os
import random
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


def write(path: bytes | Path, content: bytes, mtime_ns: int) -> None:
    """Make a file with this content and date."""
    Path(os.fsdecode(path)).write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def odd_tree(root: Path, seed: int = 1) -> int:
    """Fill *root* with odd names, dates, depths, empty files and folders; return how many files."""
    chance = random.Random(seed)
    base = os.fsencode(root)
    files = 0
    for number, name in enumerate(ODD_NAMES):
        date = DATES[number % len(DATES)]
        folder = os.path.join(base, b"folders", name)
        os.makedirs(folder)
        write(os.path.join(folder, name), chance.randbytes(number * 37), date)
        write(os.path.join(base, name), chance.randbytes(chance.randrange(3000)), date)
        files += 2
    for number, date in enumerate(DATES):
        write(os.path.join(base, b"date %d" % number), b"dated", date)
        files += 1
    deep = base
    for level in range(DEPTH - 1):
        deep = os.path.join(deep, b"d%d" % level)
    os.makedirs(deep)
    write(os.path.join(deep, b"at the bottom"), b"deep", DATES[1])
    for number in range(5):
        os.makedirs(os.path.join(base, b"empty folders", b"%d" % number, b"inner"))
        write(os.path.join(base, b"empty file %d" % number), b"", DATES[5])
        files += 1
    # The same content twice, and two names of one file.
    write(os.path.join(base, b"twin 1"), b"twin" * 1000, DATES[5])
    write(os.path.join(base, b"twin 2"), b"twin" * 1000, DATES[6])
    return files + 3


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
    files = sorted(
        (os.path.join(place, name))
        for place, _, names in os.walk(os.fsencode(root))
        for name in names
    )
    for number, path in enumerate(files):
        date = 1_800_000_000_000_000_000 + seed * 1_000_000_000_000 + number * 1_000_003
        kind = chance.random()
        if kind < share / 2:
            write(path, chance.randbytes(chance.randrange(5000)), date)
        elif kind < share:
            os.unlink(path)
        elif kind < share * 1.5:
            write(path + b"~%d" % seed if len(path) < 200 else path, b"new", date)


def contents(root: Path) -> dict[bytes, tuple[bytes, int] | None]:
    """Return content and date of every file below *root*, None for folders; not our own."""
    base = os.fsencode(root)
    found: dict[bytes, tuple[bytes, int] | None] = {}
    for place, folders, names in os.walk(base):
        folders[:] = [name for name in folders if name != b".quintet"]
        for name in folders:
            found[os.path.relpath(os.path.join(place, name), base)] = None
        for name in names:
            path = os.path.join(place, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, base)] = stream.read(), os.stat(path).st_mtime_ns
    return found
