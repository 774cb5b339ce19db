"""Reading back what stands on this member's disk, for the final proof; everything here blocks."""

import contextlib
import os
import stat
from collections.abc import Sequence
from typing import Final

from peer.daemon.own_sources import OwnSources
from peer.fs.confine import Root, kind_of
from peer.fs.errors import FileError, Missing, NotADirectory, Outside, file_error
from peer.fs.hasher import hash_handle
from peer.fs.scanner import clamped
from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from peer.transfer import proof
from protocol.messages.inventory import Kind
from protocol.messages.transfer import StepProof

UNREADABLE: Final = bytes(32)
"""Stated where something stands that cannot be read, or is of another kind: no content has it."""


def read_back(
    numbers: Sequence[int], steps: Sequence[AnyStep], sources: OwnSources
) -> list[tuple[StepProof, bool]]:
    """Return what stands where the steps *numbers* took effect, read from the disk.

    With each, whether its date is the planned one, where the step has one.
    """
    return [_stated(number, steps[number], sources) for number in numbers]


def _stated(number: int, step: AnyStep, sources: OwnSources) -> tuple[StepProof, bool]:
    try:
        if step.source not in sources.roots:
            raise Outside
        digest, date = _read(step, sources.roots[step.source])
    except (Missing, NotADirectory):
        return StepProof(step=number, digest=None), True
    except FileError:
        return StepProof(step=number, digest=UNREADABLE), True
    dated = not isinstance(step, CopyFile | CopyLink) or date == step.mtime_ns
    return StepProof(step=number, digest=digest), dated


def _read(step: AnyStep, root: Root) -> tuple[bytes, int]:
    status = root.stat(step.path)
    date = clamped(status.st_mtime_ns)
    kind = kind_of(status)
    match step:
        case CopyFile() if kind is Kind.FILE:
            return _content(step, root), date
        case CreateDirectory() if kind is Kind.DIRECTORY:
            return proof.directory_digest(), date
        case CopyLink() if kind is Kind.LINK:
            folder, name = root.parent(step.path)
            with folder:
                return proof.link_digest(folder.read_link(name)), date
        case SetDate():
            return proof.date_digest(date), date
        case SetMode():
            return proof.mode_digest(stat.S_IMODE(status.st_mode)), date
        case Delete() | DeleteDirectory() | CopyFile() | CreateDirectory() | CopyLink():
            return UNREADABLE, date


def _content(step: CopyFile, root: Root) -> bytes:
    handle = root.open_file(step.path)
    try:
        # What the disk holds is asked for, not what memory still does.
        with contextlib.suppress(OSError):
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        return hash_handle(handle).digest
    except OSError as error:
        raise file_error(error) from None
    finally:
        os.close(handle)
