"""The folders of the demonstration, and the look at them that trusts nobody.

Every member begins with the same tree; then each loses, edits, renames and adds something. Dates
are fixed, so that *newest wins* has one outcome.
"""

import hashlib
import os
import random
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

OLD: Final = 1_750_000_000
"""Date of what is the same everywhere, seconds since 1970: June 2025."""

DAY: Final = 86_400

LARGE: Final = 3 * 1024 * 1024
"""Bytes of the file into which a few bytes are inserted: large enough that a delta shows."""

OWN_PREFIX: Final = ".quintet"
"""What the peers keep for themselves in a folder; no part of the comparison."""

COMMON: Final = {
    "Read me.txt": "The same on every computer.\n",
    "Reports/2024.txt": "Figures of 2024\n" * 40,
    "Reports/2025.txt": "Figures of 2025, first draft\n" * 40,
    "Reports/Old/notes.txt": "To be renamed somewhere\n" * 10,
    "Musique/Été à Orléans.txt": "Paroles\n" * 20,
    "写真/花.txt": "花\n" * 20,
    "emoji 🎻.txt": "Five strings\n",
    "Letters/one.txt": "1\n",
    "Letters/two.txt": "2\n",
    "Letters/three.txt": "3\n",
    "empty file.txt": "",
}

SMALL_FILES: Final = 200
"""Files of some bytes each: they travel in batches."""


class Seen(NamedTuple):
    """What stands at a path: a directory has neither content nor a date that counts."""

    kind: str
    digest: str = ""
    size: int = 0
    modified: int = 0
    """Nanoseconds since 1970."""


def make(roots: Sequence[Path], seed: int = 5) -> None:
    """Fill *roots* with trees that differ."""
    source = random.Random(seed)  # noqa: S311  # sample content, no secret
    large = source.randbytes(LARGE)
    small = [source.randbytes(source.randrange(1, 400)) for _ in range(SMALL_FILES)]
    for root in roots:
        for path, text in COMMON.items():
            _write(root / path, text.encode(), OLD)
        _write(root / "Large.bin", large, OLD)
        for number, content in enumerate(small):
            _write(root / "Many" / f"{number % 10}" / f"{number:03}.dat", content, OLD)
        (root / "Empty" / "inside").mkdir(parents=True)
    for place, root in enumerate(roots):
        _differ(place, root, large)


def _differ(place: int, root: Path, large: bytes) -> None:
    """Change what member number *place* has."""
    later = OLD + (place + 1) * DAY
    _write(root / f"Only here {place + 1}" / "note.txt", f"From {place + 1}\n".encode(), later)
    match place:
        case 0:
            _write(root / "Reports/2025.txt", b"Figures of 2025, final\n" * 50, later)
            (root / "Letters/two.txt").unlink()
            (root / "New and empty").mkdir()
        case 1:
            middle = len(large) // 2
            grown = large[:middle] + b"some bytes in the middle" + large[middle:]
            _write(root / "Large.bin", grown, later)
            for number in range(0, SMALL_FILES, 4):
                (root / "Many" / f"{number % 10}" / f"{number:03}.dat").unlink()
        case 2:
            (root / "Reports/Old/notes.txt").rename(root / "Reports/Old/notes renamed.txt")
            _write(root / "写真/花.txt", "花と木\n".encode() * 20, later)
        case 3:
            (root / "Empty/inside").rmdir()
            _touch(root / "Read me.txt", later)
        case _:
            (root / "Letters/three.txt").unlink()
            _write(root / "Letters/five.txt", b"5\n", later)


def _write(path: Path, content: bytes, modified: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    _touch(path, modified)


def _touch(path: Path, modified: int) -> None:
    os.utime(path, (modified, modified))


def look(root: Path) -> dict[str, Seen]:
    """Return what stands below *root*, read anew and by nothing of the program that wrote it."""
    seen: dict[str, Seen] = {}
    for folder, directories, files in os.walk(root):
        directories[:] = sorted(name for name in directories if not name.startswith(OWN_PREFIX))
        for name in directories:
            seen[str((Path(folder) / name).relative_to(root))] = Seen("directory")
        for name in files:
            path = Path(folder) / name
            if name.startswith(OWN_PREFIX):
                continue
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                seen[str(path.relative_to(root))] = Seen("other")
                continue
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            seen[str(path.relative_to(root))] = Seen(
                "file", digest, found.st_size, found.st_mtime_ns
            )
    return seen


def differences(looks: Sequence[dict[str, Seen]]) -> list[str]:
    """Return the paths that are not the same in all *looks*."""
    paths = sorted({path for look in looks for path in look})
    return [path for path in paths if len({look.get(path) for look in looks}) > 1]
