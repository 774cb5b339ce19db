"""The paths of all items as one text, so that a million of them are searched at once.

Kept as UTF-8: a name in any script takes the bytes it takes on disk, and finding bytes in it
finds characters.
"""

import array
import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

END: Final = b"\0"
"""Between two paths: no name has it."""

_PART: Final = 50_000
"""Paths turned into text at a time."""


class Texts:
    """Paths without case, by the numbers of the items.

    Args:
        paths: Each item's path as people look for it: components joined by slashes.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        whole = bytearray()
        self._starts = array.array("Q")
        """Where every path begins, and the end of the last."""
        self._names = array.array("H")
        """How far into the path the last component begins."""
        for part in _parts(paths):
            encoded = [path.encode("utf-8", "surrogateescape") for path in part]
            lengths = [len(path) + 1 for path in encoded]
            begins = itertools.accumulate(lengths, initial=len(whole))
            self._starts.extend(itertools.islice(begins, len(encoded)))
            self._names.extend([path.rfind(b"/") + 1 for path in encoded])
            whole += END.join(encoded) + END
        self._starts.append(len(whole))
        self._whole = bytes(whole)

    def __len__(self) -> int:
        return len(self._names)

    def containing(self, wanted: str, *, whole: bool) -> bytearray:
        """Return a byte for every item: whether *wanted* is in its path, or its name.

        Args:
            wanted: A text without case.
            whole: Whether to look at the whole path or at the last component alone.
        """
        flags = bytearray(len(self))
        needle = wanted.encode("utf-8", "surrogateescape")
        if END in needle:
            return flags
        text, starts, names = self._whole, self._starts, self._names
        number, at = -1, 0
        while (at := text.find(needle, at)) >= 0 and at < len(text):
            number += 1
            if at >= starts[number + 1]:
                number = bisect.bisect_right(starts, at, number) - 1
            name = starts[number] + names[number]
            if not whole and at < name:
                at, number = name, number - 1
                continue
            flags[number] = 1
            at = starts[number + 1]
        return flags

    def matching(self, test: Callable[[str], bool], *, whole: bool) -> bytes:
        """Return a byte for every item: whether *test* holds for its path, or its name."""
        return bytes(map(test, self._all(whole=whole)))

    def _all(self, *, whole: bool) -> Iterator[str]:
        starts = self._starts
        for first in range(0, len(self), _PART):
            end = min(first + _PART, len(self))
            part = self._whole[starts[first] : starts[end]].decode("utf-8", "surrogateescape")
            paths = part.split("\0")[: end - first]
            yield from paths if whole else (path.rpartition("/")[2] for path in paths)


def _parts(paths: Iterable[str]) -> Iterator[Sequence[str]]:
    left = iter(paths)
    while part := list(itertools.islice(left, _PART)):
        yield part
