"""Segments: how several transfers share one data stream (security.md, section 3.8).

``epoch u32 | transfer id 16 | length u32 | bytes of the transfer's sealed message``; a length
of 0 ends the transfer. Pieces of a segment are handed on as they arrive, so what is held back
is never more than a part of one header.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from protocol import limits
from protocol.errors import FrameTooLarge, RemoteProtocolError

_HEADER: Final = struct.Struct(">I16sI")

HEADER: Final = _HEADER.size
"""Bytes before a segment's own: 24."""

MAX_SEGMENT: Final = 4 * limits.MIB
"""Bytes of one segment: other transfers of the stream wait no longer than this."""


def header(epoch: int, transfer: bytes, length: int) -> bytes:
    """Return what stands before *length* bytes of *transfer*; a length of 0 ends it."""
    assert length <= MAX_SEGMENT
    return _HEADER.pack(epoch, transfer, length)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one transfer, in order; a segment may arrive in several pieces."""

    epoch: int
    transfer: bytes
    data: memoryview
    """Into what was fed: read it before the next ``feed`` if the buffer is reused."""


@dataclass(frozen=True, slots=True)
class End:
    """A transfer's last segment has passed."""

    epoch: int
    transfer: bytes


class SegmentReader:
    """Cuts one data stream into pieces of transfers, whatever the splits it arrives in.

    Args:
        agreed: Whether a transfer of that id was agreed on the control channel.
    """

    def __init__(self, agreed: Callable[[bytes], bool]) -> None:
        self._agreed = agreed
        self._partial = b""
        self._epoch = 0
        self._transfer = b""
        self._remaining = 0

    def feed(self, data: bytes | memoryview) -> Iterator[Piece | End]:
        """Take *data* and yield what it holds.

        Raises:
            FrameTooLarge: If a header announces more than ``MAX_SEGMENT`` bytes.
            RemoteProtocolError: If a transfer was not agreed on.
        """
        view = memoryview(data)
        offset = 0
        while offset < len(view):
            if self._remaining:
                part = view[offset : offset + self._remaining]
                self._remaining -= len(part)
                offset += len(part)
                yield Piece(self._epoch, self._transfer, part)
                continue
            wanted = HEADER - len(self._partial)
            self._partial += view[offset : offset + wanted].tobytes()
            offset += wanted
            if len(self._partial) < HEADER:
                return
            self._epoch, self._transfer, self._remaining = _HEADER.unpack(self._partial)
            self._partial = b""
            if self._remaining > MAX_SEGMENT:
                raise FrameTooLarge(self._remaining, MAX_SEGMENT)
            if not self._agreed(self._transfer):
                raise RemoteProtocolError("a transfer nobody asked for")
            if not self._remaining:
                yield End(self._epoch, self._transfer)

    @property
    def between_segments(self) -> bool:
        """Whether nothing is missing: a stream that ends elsewhere was cut off."""
        return not self._partial and not self._remaining
