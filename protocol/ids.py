"""Names of things on the wire: member indices, the letters people see, random identifiers."""

from collections.abc import Sequence
from typing import Annotated, Final, NewType

from msgspec import Meta

LETTERS: Final = "ABCDE"
"""What people call the members, by rank of their index (product.md, section 1)."""

MemberIndex = Annotated[int, Meta(ge=0, le=255)]
"""A member's number, never reused within one session; everything stored or sent names it."""

Epoch = Annotated[int, Meta(ge=1, le=2**63 - 1)]
"""Number of the session key in force; grows by one with every commit."""

TransferId = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""Random name of one transfer between two members."""

NodeKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A member's long-term Ed25519 public key, 32 bytes."""

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""A BLAKE3-256 or SHA-256 value; which of the two stands at the field."""

Letter = NewType("Letter", str)
"""One of ``LETTERS``: rendered for people, never stored or sent."""


def letter_of(index: int, indices: Sequence[int]) -> Letter:
    """Return the letter of member *index*: its rank among *indices*.

    Raises:
        ValueError: If *index* is not among them.
    """
    return Letter(LETTERS[sorted(indices).index(index)])


def index_of(letter: str, indices: Sequence[int]) -> int:
    """Return the member index that *letter* stands for among *indices*.

    Raises:
        ValueError: If no member has this letter.
    """
    rank = LETTERS.find(letter.upper()) if len(letter) == 1 else -1
    ranked = sorted(indices)
    if not 0 <= rank < len(ranked):
        raise ValueError(f"no member {letter!r}")
    return ranked[rank]
