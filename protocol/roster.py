"""Who is in a session: the roster, and its canonical bytes (security.md, 3.7).

A letter is the rank of an index among the roster; it is computed, never stored or sent.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from protocol.crypto import identity
from protocol.crypto.transcript import lv, number, text, unlv, unnumber
from protocol.errors import MalformedMessage
from protocol.limits import MAX_EMAIL, MAX_MEMBERS, MAX_NAME

MAX_INDEX: Final = 255


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One member.

    Args:
        index: Its number, never reused in the session.
        node_key: Its Ed25519 public key.
        name: What its machine is called: 1 to 64 characters.
        email: Its person's address, or empty.
        present: Whether the committer had a path to it, or counts it as away.
    """

    index: int
    node_key: bytes
    name: str
    email: str = ""
    present: bool = True

    def __post_init__(self) -> None:
        if not (
            0 <= self.index <= MAX_INDEX
            and len(self.node_key) == identity.KEY_SIZE
            and 1 <= len(self.name) <= MAX_NAME
            and self.name.isprintable()
            # In bytes, so that five entries fit a frame twice (RFC 5321 counts bytes too).
            and len(self.email.encode()) <= MAX_EMAIL
            and self.email.isprintable()
        ):
            raise ValueError(f"member {self.index}")

    def encode(self) -> bytes:
        return lv(
            number(self.index, 1),
            self.node_key,
            self.name.encode(),
            self.email.encode(),
            number(self.present, 1),
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        index, node_key, name, email, present = unlv(data, 5)
        flag = unnumber(present, 1)
        if flag > 1:
            raise MalformedMessage("presence")
        return cls(
            unnumber(index, 1),
            node_key,
            text(name, MAX_NAME),
            text(email, MAX_EMAIL),
            present=bool(flag),
        )


@dataclass(frozen=True, slots=True)
class Roster:
    """The members of a session, by ascending index: one to five, each key once."""

    members: tuple[RosterEntry, ...]

    def __post_init__(self) -> None:
        indices = self.indices
        if not 1 <= len(indices) <= MAX_MEMBERS or list(indices) != sorted(set(indices)):
            raise ValueError("indices of a roster")
        if len({entry.node_key for entry in self.members}) != len(indices):
            raise ValueError("two members with one key")

    @property
    def indices(self) -> tuple[int, ...]:
        return tuple(entry.index for entry in self.members)

    @property
    def present(self) -> tuple[int, ...]:
        """Indices of those present, ascending."""
        return tuple(entry.index for entry in self.members if entry.present)

    def entry(self, index: int) -> RosterEntry | None:
        """Return the member of this *index*, or None."""
        return next((entry for entry in self.members if entry.index == index), None)

    def find(self, node_key: bytes) -> RosterEntry | None:
        """Return the member with this *node_key*, or None."""
        return next((entry for entry in self.members if entry.node_key == node_key), None)

    def encode(self) -> bytes:
        return lv(*(entry.encode() for entry in self.members))

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: what links and welcomes are bound to."""
        return hashlib.sha256(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the roster that *data* is the canonical form of.

        Raises:
            MalformedMessage: If it is none.
        """
        entries: list[RosterEntry] = []
        try:
            while data:
                end = 4 + int.from_bytes(data[:4], "big")
                (entry,) = unlv(data[:end], 1)
                entries.append(RosterEntry.decode(entry))
                data = data[end:]
                if len(entries) > MAX_MEMBERS:
                    raise MalformedMessage("too many members")
            return cls(tuple(entries))
        except ValueError as error:
            raise MalformedMessage(str(error)) from None
