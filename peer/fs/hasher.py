"""Hashing one file: read once, and known to have held still meanwhile."""

import contextlib
import os
from collections.abc import Callable
from typing import Final, NamedTuple

from blake3 import blake3

from peer.fs.confine import Root, kind_of
from peer.fs.errors import ChangedSince, file_error
from peer.inventory.stamp import Stamp
from protocol.ids import Digest
from protocol.limits import MIB
from protocol.messages.inventory import RelPath

BLOCK: Final = MIB
"""Bytes read at a time: large enough that the interpreter does not count."""


class Hashed(NamedTuple):
    """The content of one file at one time."""

    digest: Digest
    """BLAKE3-256."""
    stamp: Stamp
    """What the file was before and after."""


class HashingCancelled(Exception):
    """The caller's ``progress`` asked to stop."""


def stamp_of(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def hash_file(
    root: Root, path: RelPath, *, progress: Callable[[int], bool] | None = None
) -> Hashed:
    """Return the digest of the file at *path* and what the file was.

    Args:
        root: The source it lies in.
        path: Its place there.
        progress: Called with the bytes of each block read; returns whether to go on.

    Raises:
        ChangedSince: If it was written, replaced or cut while it was read.
        SpecialFile: If it is no regular file; nothing else is ever opened.
        HashingCancelled: If *progress* said so.
        FileError: If it cannot be read.
    """
    handle = root.open_file(path)
    try:
        return hash_handle(handle, progress=progress)
    finally:
        os.close(handle)


def hash_handle(handle: int, *, progress: Callable[[int], bool] | None = None) -> Hashed:
    """Return the digest of an open regular file, from its beginning."""
    hasher = blake3()
    try:
        before = stamp_of(os.fstat(handle))
        if before.size > BLOCK:
            # A hint; what the system does with it is its own affair.
            with contextlib.suppress(OSError):
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        _read(handle, hasher, before.size, progress)
        status = os.fstat(handle)
    except OSError as error:
        raise file_error(error) from None
    if stamp_of(status) != before:
        kind = kind_of(status)
        raise ChangedSince("special" if kind is None else kind.name.lower())
    return Hashed(hasher.digest(), before)


def _read(handle: int, hasher: blake3, size: int, progress: Callable[[int], bool] | None) -> None:
    # One byte more than the file has, so that most files need a single read to meet their end.
    buffer = bytearray(min(size, BLOCK) + 1)
    view = memoryview(buffer)
    offset = 0
    while True:
        count = os.preadv(handle, [buffer], offset)
        if count:
            hasher.update(view[:count])
            offset += count
            if progress is not None and not progress(count):
                raise HashingCancelled
        # A file that grows meanwhile is not followed: its stamp differs anyhow.
        if count < len(buffer) or offset > size:
            return
