"""Looking around on this computer's disks, to choose a folder or a file as a data source.

Shows what the user of this peer may list and nothing else. Every answer names the place it is
about without links, so that following one never hides where it led.
"""

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from peer.fs.errors import SourceMissing, file_error
from peer.inventory.names import shown_name

MAX_ENTRIES: Final = 2000
"""Entries of one answer; whoever has more types the beginning of a name."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One folder or file that may be chosen."""

    name: str
    """As people may see it."""
    path: str | None
    """What names it; None where its name cannot be written as text."""
    kind: str
    """``directory`` or ``file``."""
    link: bool
    """Whether it is a symbolic link: opening it leads elsewhere."""
    readable: bool


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in one folder."""

    path: str
    """The folder, without links."""
    parent: str | None
    entries: list[Place]
    hidden: int
    """Entries left out because their names begin with a dot."""
    more: bool
    """Whether there are more than are told."""
    free: int | None
    """Bytes that can still be written there."""
    size: int | None
    """Bytes of the whole disk."""
    beginning: str
    """What the names begin with, where a name is being typed; empty for the whole folder."""


def look(path: str, *, hidden: bool) -> Listing:
    """Return what stands in the folder *path*, or what a half-typed path may become.

    Args:
        path: Absolute, or beginning with ``~``; empty for the user's home.
        hidden: Whether to tell names that begin with a dot.

    Raises:
        SourceMissing: If neither it nor its parent is a folder.
        FileError: If it cannot be read.
    """
    folder, beginning = _folder_of(path)
    folded = beginning.casefold()
    entries: list[Place] = []
    left_out = 0
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if not entry.name.casefold().startswith(folded):
                    continue
                if entry.name.startswith(".") and not hidden and not folded.startswith("."):
                    left_out += 1
                    continue
                if (place := _place(folder, entry)) is not None:
                    entries.append(place)
    except OSError as error:
        raise file_error(error) from error
    entries.sort(key=lambda place: (place.kind != "directory", place.name.casefold(), place.name))
    free, size = _space(folder)
    return Listing(
        path=_text(folder) or "/",
        parent=None if folder.parent == folder else _text(folder.parent),
        entries=entries[:MAX_ENTRIES],
        hidden=left_out,
        more=len(entries) > MAX_ENTRIES,
        free=free,
        size=size,
        beginning=beginning,
    )


def _folder_of(path: str) -> tuple[Path, str]:
    """Return the folder to list and what its names must begin with."""
    try:
        asked = Path(path or "~").expanduser()
        if not asked.is_absolute():
            raise SourceMissing
        whole = asked.resolve()
        if whole.is_dir():
            return whole, ""
        parent = asked.parent.resolve()
        if parent.is_dir():
            return parent, asked.name
    except (OSError, RuntimeError, ValueError):
        # A loop of links, an unknown user's home, a NUL.
        raise SourceMissing from None
    raise SourceMissing


def _place(folder: Path, entry: "os.DirEntry[str]") -> Place | None:
    """Return *entry* as something to choose; None for devices, sockets and what vanished."""
    try:
        mode = entry.stat().st_mode
    except OSError:
        # A link to nowhere, or gone meanwhile.
        return None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return None
    kind = "directory" if stat.S_ISDIR(mode) else "file"
    wanted = os.R_OK | os.X_OK if kind == "directory" else os.R_OK
    return Place(
        name=shown_name(os.fsencode(entry.name)),
        path=_text(folder / entry.name),
        kind=kind,
        link=entry.is_symlink(),
        readable=os.access(entry.path, wanted),
    )


def _text(path: Path) -> str | None:
    """Return *path* as text; None where it is no UTF-8, since JSON could not carry it back."""
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _space(folder: Path) -> tuple[int | None, int | None]:
    try:
        told = os.statvfs(folder)
    except OSError:
        return None, None
    return told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize
