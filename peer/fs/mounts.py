"""Which file systems are mounted where, from ``/proc/self/mountinfo`` (proc(5))."""

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

PSEUDO: Final = frozenset(
    {
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "sysfs",
        "tracefs",
    }
)
"""File systems that hold the system itself, no content of people."""

NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "davfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "virtiofs",
    }
)
"""File systems whose change times and file numbers another machine makes up."""

_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mounted file system."""

    device: int
    """As ``st_dev``; some file systems (btrfs) show other numbers on their files."""
    place: bytes
    """Where it is mounted."""
    kind: str
    """Such as ``ext4``, ``nfs4``, ``fuse.sshfs``."""


def mounts(table: Path = _MOUNTINFO) -> list[Mount]:
    """Return what is mounted, in the order mounted; nothing where the system does not tell."""
    try:
        lines = table.read_bytes().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        left, _, right = line.partition(b" - ")
        fields = left.split()
        major, _, minor = fields[2].partition(b":")
        place = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
        kind = right.split(b" ", 1)[0].decode("ascii", "replace")
        found.append(Mount(os.makedev(int(major), int(minor)), place, kind))
    return found


def mount_of(path: Path, device: int, table: list[Mount]) -> Mount | None:
    """Return the mount that *path*, whose files have *device*, lies on."""
    raw = os.fsencode(path)
    around = [
        mount
        for mount in table
        if raw == mount.place or raw.startswith(mount.place.rstrip(b"/") + b"/")
    ]
    same = [mount for mount in around if mount.device == device] or around
    # Of two mounted at one place the later one covers the earlier.
    return max(reversed(same), key=lambda mount: len(mount.place), default=None)


def is_network(kind: str) -> bool:
    """Whether change times and file numbers are not to be trusted: network and FUSE."""
    return kind in NETWORK or kind == "fuse" or kind.startswith("fuse.")
