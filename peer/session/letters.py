"""Where letters move when members come and go: rules follow people, not letters.

A letter is the rank of an index; what is stored names the node key. Whoever shows or saves
text with letters rewrites it with the moves that these functions find.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from protocol.ids import LETTERS

_CODE: Final = re.compile(r"([A-E])([1-9][0-9]{0,2})?\Z")


def moves(before: Sequence[bytes], after: Sequence[bytes]) -> Mapping[str, str | None]:
    """Return the new letter of every old one, None standing for who is gone.

    Args:
        before: Node keys in the order of their letters.
        after: The same, now.
    """
    ranks = {key: LETTERS[rank] for rank, key in enumerate(after)}
    return {LETTERS[rank]: ranks.get(key) for rank, key in enumerate(before)}


def have_moved(before: Sequence[bytes], after: Sequence[bytes]) -> bool:
    """Whether any letter means somebody else now, or nobody."""
    return any(old != new for old, new in moves(before, after).items())


def follow(code: str, moved: Mapping[str, str | None]) -> str | None:
    """Return what a letter or a source code (A, B2) is called now, or None if it is gone.

    What is neither is returned as it is.
    """
    match = _CODE.match(code)
    if match is None or match[1] not in moved:
        return code
    letter = moved[match[1]]
    return None if letter is None else letter + (match[2] or "")
