"""The receiver's side of a transfer: what comes is opened and checked on its way to disk.

A file has *landed* when as many bytes came as the plan says, and their BLAKE3-256 is both what
the holder states and what the plan says, where it does (security.md, T19). The hash is taken
where the bytes are written; ``judge`` compares.
"""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


Landing = FileBegun | FileData | FileEnded | Refused


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

    def feed(self, data: bytes | memoryview) -> Iterator[Landing]:
        """Take the next bytes of the sealed message and yield what they bring.

        Raises:
            RemoteProtocolError: If the seal, or the order of things, is broken.
        """
        for chunk in self._opener.feed(data):
            yield from map(_landing, self._reader.feed(chunk))

    def finish(self) -> Iterator[Landing]:
        """Take the end of the message and yield what it brings.

        Raises:
            RemoteProtocolError: If anything is missing.
        """
        for chunk in self._opener.finish():
            yield from map(_landing, self._reader.feed(chunk))
        self._reader.finish()

    @property
    def unanswered(self) -> tuple[int, ...]:
        """The steps that neither landed nor were refused."""
        return tuple(ask.step for ask in self._reader.remaining)

    def judge(self, ended: FileEnded, found: bytes) -> Landed | Refused:
        """Return whether the content that came, whose BLAKE3-256 is *found*, is what was agreed."""
        planned = self._planned[ended.step]
        agreed = hmac.compare_digest(found, ended.digest) and (
            planned is None or hmac.compare_digest(found, planned)
        )
        return Landed(ended.step, found) if agreed else Refused(ended.step, Reason.CONTENT_MISMATCH)


def _landing(record: Record) -> Landing:
    return Refused(record.step, record.code) if isinstance(record, FileFailed) else record
