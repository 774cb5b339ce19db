"""Calls of Linux that Python does not offer."""

import contextlib
import ctypes
import errno
import os
from pathlib import Path
from typing import Final

from peer.fs.errors import file_error

NOREPLACE: Final = 1
EXCHANGE: Final = 2
"""Flags of renameat2(2), linux/fs.h."""

_KEEP_SIZE: Final = 1
"""Flag of fallocate(2), linux/falloc.h."""

_STRICT_MASK: Final = 0o077

_libc: Final = ctypes.CDLL(None, use_errno=True)


def renameat2(source: int, name: bytes, target: int, new: bytes, flags: int) -> None:
    """Move *name* of the directory *source* to *new* in *target*.

    Args:
        source: A directory's descriptor.
        name: A name therein.
        target: A directory's descriptor.
        new: A name therein.
        flags: ``NOREPLACE`` or ``EXCHANGE``.

    Raises:
        OSError: EINVAL where the file system cannot.
    """
    if _libc.renameat2(source, name, target, new, flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_file_system(handle: int) -> None:
    """Return when everything written to the file system of an open file is on the disk.

    Raises:
        FileError: If any of it could not be written, whosever it was.
    """
    if _libc.syncfs(handle):
        number = ctypes.get_errno()
        raise file_error(OSError(number, os.strerror(number)))


def reserve_space(handle: int, size: int) -> None:
    """Take *size* bytes of the disk for an open file without making it longer.

    Raises:
        NoSpace: If there are not so many.
    """
    result = _libc.fallocate(handle, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size))
    number = ctypes.get_errno() if result else 0
    # Not every file system can promise; then lack of space shows on writing.
    if number and number not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise file_error(OSError(number, os.strerror(number)))


def process_mask() -> int:
    """Return the bits new files do not get, without setting them for a moment."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return _STRICT_MASK
