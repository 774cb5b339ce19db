"""One transfer on its way out: files are read, hashed and sealed; everything here blocks.

A file is read only if it still is what was inventoried, and counts only if it stayed so until
its last byte was read. Belongs in a worker thread, slice by slice.
"""

import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Final

from peer.daemon.own_sources import OpenFile, OwnSources, Reader
from peer.fs.errors import ChangedSince, FileError
from peer.plan.steps import CopyFile
from peer.transfer.reasons import Reason
from peer.transfer.sender import PackWriter, Served
from protocol.crypto.chunked import ChunkSealer
from protocol.limits import MIB

SLICE: Final = MIB
"""Bytes sealed in one go, at least: worth a change of threads, small enough to wait for."""


class Outgoing:
    """Reads and seals what one transfer asks for.

    Args:
        served: Its steps, in the order asked for.
        steps: Those steps of the plan, by number.
        sources: Where the content lies.
        sealer: Seals this transfer alone.
    """

    def __init__(
        self,
        served: Sequence[Served],
        steps: dict[int, CopyFile],
        sources: OwnSources,
        sealer: ChunkSealer,
    ) -> None:
        self.stated: dict[int, bytes] = {}
        """BLAKE3-256 of what was sent, by step."""
        self._steps = steps
        self._sources = sources
        self._reader = Reader(sources.roots)
        self._writer = PackWriter(sealer)
        self._begun = False
        """Whether the announcement of the present file is out."""
        self._lock = threading.Lock()
        self._parts = self._run(served)

    def slice(self) -> list[bytes]:
        """Return the next parts of the sealed message; none when it has ended."""
        with self._lock:
            for _ in self._parts:
                break
            return self._writer.sealed()

    def close(self) -> None:
        """Let go of whatever is open; waits for a slice being made."""
        with self._lock:
            self._parts.close()

    def _run(self, served: Sequence[Served]) -> Generator[None, None, None]:
        try:
            for one in served:
                yield from self._file(one)
            self._writer.finish()
        finally:
            self._reader.close()

    def _file(self, served: Served) -> Iterator[None]:
        code: str = Reason.NOT_HELD
        for number, (source, path) in enumerate(served.places):
            origin = self._steps[served.step].origin if served.first and number == 0 else None
            entry = self._sources.entry(source, path) or origin
            if entry is None or entry.size != served.size:
                continue
            try:
                with self._reader.open(source, path, entry) as file:
                    yield from self._content(served, file)
            except FileError as error:
                code = error.code
                if self._begun:
                    break
            else:
                return
        self._begun = False
        self._writer.failed(served.step, code)

    def _content(self, served: Served, file: OpenFile) -> Iterator[None]:
        self._begun = True
        self._writer.begin(served.step, served.size)
        offset = 0
        while room := self._writer.room():
            count = file.read_into(room, offset)
            if not count:
                raise ChangedSince("file")
            offset += count
            self._writer.filled(count)
            if self._writer.size >= SLICE:
                yield
        file.check_unchanged()
        digest = self._writer.digest
        if served.digest is not None and digest != served.digest:
            # Same size, same date, other content: what was inventoried is gone.
            raise ChangedSince("file")
        self._writer.end()
        self._begun = False
        self.stated[served.step] = digest
        if self._writer.size >= SLICE:
            yield
