"""The receiver's side of a transfer: what comes is opened, checked and hashed on its way to disk.

A file is *verified* when as many bytes came as the plan says, and their BLAKE3-256 is both what
the holder states and what the plan says, where it does (security.md, T19).
"""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from blake3 import blake3

from peer.transfer.pack import (
    Asked,
    FileBegun,
    FileData,
    FileEnded,
    FileFailed,
    PackReader,
    Record,
    context_of,
)
from peer.transfer.reasons import Reason
from protocol.credentials import Secret
from protocol.crypto.chunked import ChunkOpener


@dataclass(frozen=True, slots=True)
class Landed:
    """All of the content of *step* came and is what was agreed."""

    step: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """*step* failed at the holder, or what came is not what was agreed."""

    step: int
    code: str


Landing = FileBegun | FileData | Landed | Refused


class Receiver:
    """Opens and checks one transfer.

    Args:
        sync: The synchronisation it belongs to.
        transfer: Its id.
        asked: Its steps in the order asked for.
        key: The transfer's key.
    """

    def __init__(self, sync: bytes, transfer: bytes, asked: Sequence[Asked], key: Secret) -> None:
        self._opener = ChunkOpener(key, context_of(sync, transfer, asked), None)
        self._reader = PackReader(asked)
        self._planned = {ask.step: ask.digest for ask in asked}
        self._hash = blake3()

    def feed(self, data: bytes | memoryview) -> Iterator[Landing]:
        """Take the next bytes of the sealed message and yield what they bring.

        Raises:
            RemoteProtocolError: If the seal, or the order of things, is broken.
        """
        for chunk in self._opener.feed(data):
            yield from map(self._landing, self._reader.feed(chunk))

    def finish(self) -> Iterator[Landing]:
        """Take the end of the message and yield what it brings.

        Raises:
            RemoteProtocolError: If anything is missing.
        """
        for chunk in self._opener.finish():
            yield from map(self._landing, self._reader.feed(chunk))
        self._reader.finish()

    @property
    def unanswered(self) -> tuple[int, ...]:
        """The steps that neither landed nor were refused."""
        return tuple(ask.step for ask in self._reader.remaining)

    def _landing(self, record: Record) -> Landing:
        match record:
            case FileBegun():
                self._hash = blake3()
                return record
            case FileData(data=data):
                self._hash.update(data)
                return record
            case FileFailed(step=step, code=code):
                return Refused(step, code)
            case FileEnded(step=step, digest=stated):
                found = self._hash.digest()
                planned = self._planned[step]
                if planned is None:
                    planned = stated
                agreed = hmac.compare_digest(found, stated) and hmac.compare_digest(found, planned)
                return Landed(step, found) if agreed else Refused(step, Reason.CONTENT_MISMATCH)
            case _:
                assert_never(record)
