"""How a member tells what it found: entries as columns, cut into messages that fit a record."""

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from protocol import limits
from protocol.messages.inventory import (
    EntriesFound,
    EntriesSkipped,
    Entry,
    Kind,
    RelPath,
    Skip,
    SourcePosition,
)

MAX_TOLD: Final = limits.MAX_CONTROL_PLAINTEXT // 2
"""Bytes of names, paths and targets in one message; what else an entry needs fits beside them."""


class Teller:
    """Makes the messages of one member's identification.

    Args:
        run: Number of the inventory.
    """

    def __init__(self, run: int) -> None:
        self._run = run
        self._told = 0
        self._directories: dict[tuple[SourcePosition, RelPath], int] = {}

    def entries(self, found: Sequence[Entry]) -> Iterator[EntriesFound]:
        """Yield messages that tell *found*; every entry comes after its directory.

        Raises:
            KeyError: If one does not.
        """
        sizes = [len(entry.target) + len(entry.path[-1]) if entry.path else 0 for entry in found]
        for start, end in _cuts(sizes):
            yield self._columns(found[start:end])

    def skips(self, found: Sequence[Skip]) -> Iterator[EntriesSkipped]:
        """Yield messages that tell *found*."""
        sizes = [sum(map(len, skip.path)) + 2 * len(skip.path) for skip in found]
        for start, end in _cuts(sizes):
            yield EntriesSkipped(run=self._run, skips=list(found[start:end]))

    def _columns(self, found: Sequence[Entry]) -> EntriesFound:
        directories = self._directories
        above, roots = [], []
        folder: RelPath | None = None
        source = at = -1
        for number, entry in enumerate(found, self._told):
            path = entry.path
            if path:
                # Mostly the next one lies beside the last one.
                if path[:-1] != folder or entry.source != source:
                    folder, source = path[:-1], entry.source
                    at = directories[source, folder]
                above.append(number - at)
            else:
                above.append(0)
                roots.append(entry.source)
            if entry.kind is Kind.DIRECTORY:
                directories[entry.source, path] = number
        self._told += len(found)
        return EntriesFound(
            run=self._run,
            above=above,
            names=[entry.path[-1] if entry.path else b"" for entry in found],
            kinds=bytes([entry.kind for entry in found]),
            sizes=[entry.size for entry in found],
            mtimes=[entry.mtime_ns for entry in found],
            modes=struct.pack(f">{len(found)}H", *[entry.mode for entry in found]),
            roots=roots,
            targets=[entry.target for entry in found if entry.kind is Kind.LINK],
        )


def _cuts(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield where to cut, so that no message holds too many or too much."""
    if len(sizes) <= limits.MAX_BATCH and sum(sizes) <= MAX_TOLD:
        if sizes:
            yield 0, len(sizes)
        return
    start = size = 0
    for end, more in enumerate(sizes):
        if end > start and (end - start >= limits.MAX_BATCH or size + more > MAX_TOLD):
            yield start, end
            start, size = end, 0
        size += more
    yield start, len(sizes)
