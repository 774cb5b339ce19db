"""What the file system under a root can do: tried, not guessed from the system's name."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from peer.fs import mounts
from peer.fs.confine import RESERVED, Folder, Root
from peer.fs.errors import FileError, Missing

_PROBE: Final = b"probe"
_NAME: Final = b"quintet-Probe"

_ODD_TIME: Final = 1_000_000_001_123_456_789
"""A date that every coarser resolution changes: an odd second and nine different digits."""

_RESOLUTIONS: Final = (1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
"""Nanoseconds: most, NTFS, network protocols, others, exFAT, HFS+ and ext3, FAT."""

_ODD_NAME: Final = b"quintet:probe?"
"""A name that file systems with the rules of Windows refuse."""

_WINDOWS: Final = frozenset({"vfat", "msdos", "exfat", "cifs", "smb3"})
"""What has such rules, for what cannot be written to or drops characters without a word."""

_KNOWN_RESOLUTIONS: Final = {"vfat": 2_000_000_000, "msdos": 2_000_000_000, "exfat": 10_000_000}
"""For what cannot be written to."""


class Probe(NamedTuple):
    """What was found."""

    writable: bool
    case_insensitive: bool
    date_resolution_ns: int
    """Coarsest step of a modification time, nanoseconds."""
    windows_names: bool
    """Whether names that Windows refuses cannot be had here."""
    hard_links: bool
    exchange: bool
    """Whether two names can change places in one step."""
    file_system: str
    """Its name, such as ``ext4`` or ``fuse.sshfs``; empty if the system does not tell."""
    network: bool
    """Whether change times and file numbers are another machine's, and not to be trusted."""
    free_bytes: int
    """Space this user may still take."""
    device: int
    inode: int
    """Of the root's directory: another pair in a later session means another disk."""


def probe(root: Root) -> Probe:
    """Try what the file system under *root* can do; leaves nothing behind.

    Raises:
        FileError: If the root itself cannot be looked at.
    """
    table = mounts.mounts()
    mount = mounts.mount_of(root.path, root.device, table)
    kind = "" if mount is None else mount.kind
    space = os.fstatvfs(root.top.handle)
    writable, links, exchange = False, False, False
    windows_names = kind in _WINDOWS
    resolution = _KNOWN_RESOLUTIONS.get(kind, 1)
    insensitive = _sees_other_case(root.top)
    with contextlib.suppress(FileError), _trial(root) as folder:
        insensitive = folder.find(_NAME.swapcase()) is not None
        resolution = _resolution(folder)
        windows_names = windows_names or not _can(lambda: _create(folder, _ODD_NAME))
        links = _can(lambda: folder.link(_NAME, folder, b"link"))
        exchange = _can(lambda: folder.exchange(_NAME, folder, b"other"))
        writable = True
    return Probe(
        writable=writable,
        case_insensitive=insensitive,
        date_resolution_ns=resolution,
        windows_names=windows_names,
        hard_links=links,
        exchange=exchange,
        file_system=kind,
        network=mounts.is_network(kind),
        free_bytes=space.f_bavail * space.f_frsize,
        device=root.device,
        inode=root.inode,
    )


@contextlib.contextmanager
def _trial(root: Root) -> Iterator[Folder]:
    """A folder of our own with two files in it, removed afterwards."""
    reserved = root.reserved(create=True)
    with reserved:
        with contextlib.suppress(Missing):
            # Of a peer that was killed while probing.
            reserved.remove_tree(_PROBE)
        try:
            with reserved.ensure_folder(_PROBE) as folder:
                for name in (_NAME, b"other"):
                    os.close(folder.create_file(name))
                yield folder
        finally:
            with contextlib.suppress(Missing):
                reserved.remove_tree(_PROBE)
            root.top.drop_folder(RESERVED)


def _can(act: Callable[[], None]) -> bool:
    try:
        act()
    except FileError:
        return False
    return True


def _create(folder: Folder, name: bytes) -> None:
    os.close(folder.create_file(name))


def _resolution(folder: Folder) -> int:
    folder.set_date(_NAME, _ODD_TIME)
    off = abs(folder.stat(_NAME).st_mtime_ns - _ODD_TIME)
    # What was rounded away is less than one step, and more than the next finer step allows.
    return next((step for step in _RESOLUTIONS if off < step), _RESOLUTIONS[-1])


def _sees_other_case(folder: Folder) -> bool:
    """Whether a name that is there is also found in other case, where nothing may be made."""
    names = folder.names()
    for name in names:
        other = name.swapcase()
        if other != name and other not in names:
            found, same = folder.find(other), folder.find(name)
            return found is not None and same is not None and found.st_ino == same.st_ino
    return False
