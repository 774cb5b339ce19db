"""Frames on a QUIC stream: ``type u8 | length u24 | body``.

The length is checked against the bound of the state before anything is buffered
(security.md, T18).
"""

import struct
from collections.abc import Iterator
from typing import Final

from protocol.errors import FrameTooLarge

HEADER: Final = 4
"""Bytes before the body."""

MAX_BODY: Final = 2**24 - 1
"""Bytes a u24 can announce."""


def frame(kind: int, body: bytes) -> bytes:
    """Return *body* as one frame of type *kind* (0 to 255)."""
    assert len(body) <= MAX_BODY
    return struct.pack(">I", kind << 24 | len(body)) + body


class FrameReader:
    """Cuts a byte stream into frames, whatever the splits it arrives in.

    Args:
        limit: Most bytes one body may have; may be changed between frames.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take *data* and yield every frame now complete as ``(type, body)``.

        Raises:
            FrameTooLarge: As soon as a header announces more than ``limit`` bytes.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER:
            word = int.from_bytes(self._buffer[:HEADER], "big")
            kind, length = word >> 24, word & 0xFFFFFF
            if length > self.limit:
                raise FrameTooLarge(length, self.limit)
            if len(self._buffer) < HEADER + length:
                return
            body = bytes(self._buffer[HEADER : HEADER + length])
            del self._buffer[: HEADER + length]
            yield kind, body

    @property
    def buffered(self) -> int:
        """Bytes held of an incomplete frame; never more than ``limit`` plus the header."""
        return len(self._buffer)

    def rest(self) -> bytes:
        """Return the bytes not yet cut, once: something else than frames follows them."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest
