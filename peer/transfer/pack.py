"""Packs: what stands inside a transfer, many small files or one large one.

Records, ``type u8 | length u24 | body``, in the order of the steps asked for::

    FILE_BEGIN   step u32 | size u64
    DATA         the next bytes of the file, any number of records
    FILE_END     BLAKE3-256 of what was sent
    FILE_FAILED  step u32 | reason code      in place of a file, or of the rest of one

The reader admits nothing else: not another step, not another size than the plan's, not a byte
more or less than announced (security.md, T19). What it passes on is bounded before it arrives.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from protocol.crypto.chunked import transfer_context
from protocol.crypto.transcript import lv
from protocol.errors import RemoteProtocolError
from protocol.framing import HEADER, MAX_BODY, frame

FILE_BEGIN: Final = 1
DATA: Final = 2
FILE_END: Final = 3
FILE_FAILED: Final = 4

_BEGIN: Final = struct.Struct(">IQ")
_STEP: Final = struct.Struct(">I")

DIGEST: Final = 32
"""Bytes of a BLAKE3-256."""

MAX_CODE: Final = 64
"""Bytes of a reason code, as on the control channel."""

MAX_DATA: Final = MAX_BODY
"""Bytes of one DATA record."""

_BOUNDS: Final = {
    FILE_BEGIN: (_BEGIN.size, _BEGIN.size),
    FILE_END: (DIGEST, DIGEST),
    FILE_FAILED: (_STEP.size + 1, _STEP.size + MAX_CODE),
}
"""Least and most bytes of each record that is held until it is whole."""

_CODE: Final = re.compile(rb"[a-zA-Z0-9_.]+\Z")


@dataclass(frozen=True, slots=True)
class Asked:
    """One step of a transfer, in the order it was asked for."""

    step: int
    size: int
    """Bytes the plan says the content has."""
    digest: bytes | None = None
    """Its BLAKE3-256, where the plan knows it."""


@dataclass(frozen=True, slots=True)
class FileBegun:
    """The content of *step* follows."""

    step: int
    size: int


@dataclass(frozen=True, slots=True)
class FileData:
    """The next bytes of the file that has begun."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class FileEnded:
    """All announced bytes have come; the sender states their BLAKE3-256."""

    step: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class FileFailed:
    """The sender gives up this step, for its own reason."""

    step: int
    code: str


Record = FileBegun | FileData | FileEnded | FileFailed


def context_of(sync: bytes, transfer: bytes, asked: Sequence[Asked]) -> bytes:
    """Return what binds a transfer to these steps of this synchronisation, in this order.

    Sizes and hashes are the plan's, which all members agreed on by its digest; a transfer for
    anything else does not open.
    """
    numbers = b"".join(_STEP.pack(ask.step) for ask in asked)
    digests = blake3(lv(*(ask.digest or b"" for ask in asked))).digest()
    size = sum(ask.size for ask in asked)
    return transfer_context(transfer, lv(sync, numbers), digests, size=size, offset=0, length=size)


def begin(step: int, size: int) -> bytes:
    """Return the record that announces *size* bytes of content for *step*."""
    return frame(FILE_BEGIN, _BEGIN.pack(step, size))


def data_header(length: int) -> bytes:
    """Return what stands before *length* bytes of content, 1 to ``MAX_DATA``."""
    assert 0 < length <= MAX_DATA
    return struct.pack(">I", DATA << 24 | length)


def end(digest: bytes) -> bytes:
    """Return the record that ends a file whose content has this BLAKE3-256."""
    assert len(digest) == DIGEST
    return frame(FILE_END, digest)


def failed(step: int, code: str) -> bytes:
    """Return the record that gives up *step* for the reason *code*."""
    return frame(FILE_FAILED, _STEP.pack(step) + code.encode("ascii"))


class PackReader:
    """Reads the plaintext of one transfer, in whatever parts it comes.

    Args:
        asked: The steps of the transfer in the order asked for.
    """

    def __init__(self, asked: Sequence[Asked]) -> None:
        self._asked = asked
        self._next = 0
        self._begun = False
        self._missing = 0
        """Bytes of the file that has begun not yet announced in a DATA record."""
        self._data = 0
        """Bytes of the present DATA record still to come."""
        self._partial = b""

    def feed(self, data: bytes | memoryview) -> Iterator[Record]:
        """Take *data* and yield what it holds.

        Raises:
            RemoteProtocolError: As soon as anything but what was asked for appears.
        """
        view = memoryview(data)
        offset = 0
        while offset < len(view):
            if self._data:
                part = view[offset : offset + self._data]
                self._data -= len(part)
                offset += len(part)
                yield FileData(part)
                continue
            head = (self._partial + view[offset : offset + HEADER].tobytes())[:HEADER]
            if len(head) < HEADER:
                self._partial = head
                return
            kind, length = head[0], int.from_bytes(head[1:], "big")
            self._check(kind, length)
            if kind == DATA:
                offset += HEADER - len(self._partial)
                self._partial = b""
                self._missing -= length
                self._data = length
                continue
            wanted = HEADER + length - len(self._partial)
            record = self._partial + view[offset : offset + wanted].tobytes()
            offset += wanted
            if len(record) < HEADER + length:
                self._partial = record
                return
            self._partial = b""
            yield self._record(kind, record[HEADER:])

    def finish(self) -> None:
        """Take the end of the plaintext.

        Raises:
            RemoteProtocolError: If a step was left unanswered.
        """
        if self._next != len(self._asked) or self._partial:
            raise RemoteProtocolError("a transfer ended before its last file")

    @property
    def remaining(self) -> Sequence[Asked]:
        """The steps not yet answered, the one under way included."""
        return self._asked[self._next :]

    def _check(self, kind: int, length: int) -> None:
        if self._next == len(self._asked):
            raise RemoteProtocolError("more than was asked for")
        if kind == DATA:
            if not self._begun or not 0 < length <= self._missing:
                raise RemoteProtocolError("more bytes than announced")
            return
        least, most = _BOUNDS.get(kind, (1, 0))
        if not least <= length <= most:
            raise RemoteProtocolError("no record of a transfer")

    def _record(self, kind: int, body: bytes) -> Record:
        asked = self._asked[self._next]
        if kind == FILE_BEGIN:
            step, size = _BEGIN.unpack(body)
            if self._begun or step != asked.step or size != asked.size:
                raise RemoteProtocolError("not the file that was asked for")
            self._begun = True
            self._missing = size
            return FileBegun(step, size)
        if kind == FILE_END:
            if not self._begun or self._missing:
                raise RemoteProtocolError("fewer bytes than announced")
            self._answered()
            return FileEnded(asked.step, body)
        (step,) = _STEP.unpack_from(body)
        code = body[_STEP.size :]
        if step != asked.step or not _CODE.match(code):
            raise RemoteProtocolError("no reason for the step that was asked for")
        self._answered()
        return FileFailed(step, code.decode("ascii"))

    def _answered(self) -> None:
        self._next += 1
        self._begun = False
        self._missing = 0
