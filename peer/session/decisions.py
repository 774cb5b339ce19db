"""The rules and targeted actions in force, encoded, and how they travel in parts."""

from typing import Final

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import MAX_CONTROL_PLAINTEXT
from protocol.messages.session import DecisionsChanged

DECISION_PART: Final = MAX_CONTROL_PLAINTEXT // 4
"""Bytes of the rules and actions in one message."""

MAX_PARTS: Final = 4096
"""Messages of one set of decisions: 256 MiB, some hundred bytes for every possible entry."""


class Decisions:
    """What the leader has decided.

    Attributes:
        revision: Grows with every change, through restarts.
        data: The rules and actions, encoded.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.data = b""
        self._parts: list[bytes] = []
        self._expected = (0, 0)
        """Revision and number of parts of what is coming in."""

    def replace(self, data: bytes) -> list[bytes]:
        """Put *data* in force under the next revision; return it cut into parts.

        Raises:
            LocalProtocolError: If it is too much to be sent.
        """
        if len(data) > MAX_PARTS * DECISION_PART:
            raise LocalProtocolError("too many decisions")
        self.revision, self.data = self.revision + 1, data
        self._parts = []
        return self.parts()

    def parts(self) -> list[bytes]:
        """Return what is in force, cut into parts: one at least."""
        starts = range(0, len(self.data), DECISION_PART)
        return [self.data[start : start + DECISION_PART] for start in starts] or [b""]

    def check(self, message: DecisionsChanged) -> None:
        """Check that *message* begins a set or is the next part of the one that has begun.

        Raises:
            RemoteProtocolError: If not.
        """
        if len(message.data) > DECISION_PART:
            raise RemoteProtocolError("a part of the decisions is too long")
        expected = (len(self._parts), *self._expected)
        if message.part and (message.part, message.revision, message.parts) != expected:
            raise RemoteProtocolError("a part of the decisions is missing")

    def take(self, message: DecisionsChanged) -> bool:
        """Take a part that was checked; return whether the set is whole and not in force yet."""
        if message.part == 0:
            self._parts, self._expected = [], (message.revision, message.parts)
        self._parts.append(message.data)
        if len(self._parts) < message.parts:
            return False
        before = (self.revision, self.data)
        self.revision, self.data = message.revision, b"".join(self._parts)
        self._parts = []
        return (self.revision, self.data) != before

    def forget(self) -> None:
        """Have none any more; the revision stays."""
        self.data = b""
        self._parts = []
