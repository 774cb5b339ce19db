"""Checking a path that somebody offers as a data source (product.md, section 4)."""

import contextlib
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from peer.fs import mounts
from peer.fs.confine import is_reserved, kind_of
from peer.fs.errors import (
    SourceAlreadyGiven,
    SourceAroundAnother,
    SourceInsideAnother,
    SourceMissing,
    SourceNotReadable,
    SourceOwnState,
    SourceSpecial,
    SourceSystemLocation,
    file_error,
)
from protocol.messages.inventory import Kind, RelPath

SYSTEM: Final = tuple(map(Path, ("/proc", "/sys", "/dev", "/run")))
"""Where the system shows itself as files."""

NOT_SYSTEM: Final = tuple(map(Path, ("/run/media", "/dev/shm")))  # noqa: S108  # a place to allow
"""What holds content of people nevertheless: desktops mount removable disks there."""

_Identity = tuple[int, int]


class Source(NamedTuple):
    """A path that can be a data source."""

    path: Path
    """Canonical and absolute."""
    kind: Kind
    """``FILE`` or ``DIRECTORY``."""
    closed: tuple[RelPath, ...]
    """What within it is never entered: the peer's own state, where it lies there."""


def check_source(path: Path, *, given: Sequence[Path], state: Path, create: bool = False) -> Source:
    """Return *path* as a data source.

    Args:
        path: As offered, absolute (``~`` stands for the user's home).
        given: Canonical paths of the sources this member has already.
        state: The peer's own state folder.
        create: Whether to make a directory that does not exist, with its parents.

    Raises:
        SourceRefused: Saying why; nothing was made then.
        FileError: If the directory cannot be made.
    """
    canonical = _canonical(path)
    if _is_system(canonical):
        raise SourceSystemLocation
    state = state.resolve()
    if _within(canonical, state):
        raise SourceOwnState
    for position, other in enumerate(given):
        inside, around = _within(canonical, other), _within(other, canonical)
        if inside and around:
            raise SourceAlreadyGiven(position)
        if inside:
            raise SourceInsideAnother(position)
        if around:
            raise SourceAroundAnother(position)
    kind = _kind(canonical, create=create)
    closed: tuple[RelPath, ...] = ()
    if kind is Kind.DIRECTORY and state.is_relative_to(canonical):
        closed = (tuple(map(os.fsencode, state.relative_to(canonical).parts)),)
    return Source(canonical, kind, closed)


def _canonical(path: Path) -> Path:
    try:
        expanded = path.expanduser()
        canonical = expanded.resolve()
    except (OSError, RuntimeError, ValueError):
        # A loop of links, an unknown user's home, a NUL: whatever it names, nothing is there.
        raise SourceMissing from None
    if not expanded.is_absolute():
        raise SourceMissing
    if any(is_reserved(os.fsencode(name)) for name in canonical.parts):
        raise SourceOwnState
    return canonical


def _is_system(path: Path) -> bool:
    if any(path.is_relative_to(place) for place in NOT_SYSTEM):
        return False
    if any(path.is_relative_to(place) or place.is_relative_to(path) for place in SYSTEM):
        return True
    mount = mounts.mount_of(path, _device(path), mounts.mounts())
    return mount is not None and mount.kind in mounts.PSEUDO


def _device(path: Path) -> int:
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            return place.stat().st_dev
    raise SourceMissing


def _kind(path: Path, *, create: bool) -> Kind:
    try:
        if create and not path.exists():
            path.mkdir(parents=True)
        kind = kind_of(path.lstat())
    except PermissionError:
        raise SourceNotReadable from None
    except (FileNotFoundError, NotADirectoryError):
        raise SourceMissing from None
    except OSError as error:
        raise file_error(error) from None
    if kind not in (Kind.FILE, Kind.DIRECTORY):
        raise SourceSpecial
    wanted = os.R_OK if kind is Kind.FILE else os.R_OK | os.X_OK
    if not os.access(path, wanted, effective_ids=True):
        raise SourceNotReadable
    return kind


def _within(inner: Path, outer: Path) -> bool:
    """Whether *inner* is *outer* or lies in it, by name or, past mounts and case, by number."""
    if inner.is_relative_to(outer):
        return True
    identity = _identity(outer)
    return identity is not None and identity in _identities((inner, *inner.parents))


def _identities(paths: Iterable[Path]) -> set[_Identity]:
    return {identity for path in paths if (identity := _identity(path)) is not None}


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    # Two names of one file are two sources: whoever replaces one leaves the other.
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
