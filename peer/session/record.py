"""What a member keeps of its session so that it can come back to it: never a key.

It holds the Session ID and the password, with which a new process joins again, and the newest
commit, which says whose place it takes. The session's keys and the links' keys are never
written: a member that comes back gets new ones (security.md, section 3.7).
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from peer.session.phases import Phase
from protocol.credentials import Password, SessionId
from protocol.epochs import Commit
from protocol.errors import MalformedMessage, SecretUnusable
from protocol.limits import MAX_JOIN_FRAME
from protocol.roster import Roster

VERSION: Final = 1

MAX_RECORD: Final = 3 * MAX_JOIN_FRAME
"""Bytes of a record; a commit of five members fits a frame of the join."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    session_id: Annotated[str, Meta(max_length=32)]
    password: Annotated[str, Meta(max_length=32)]
    commit: Annotated[bytes, Meta(max_length=MAX_JOIN_FRAME)]
    bound: Annotated[bytes, Meta(max_length=MAX_JOIN_FRAME)]
    phase: Phase
    run: Annotated[int, Meta(ge=0, le=2**32 - 1)]


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session, as one member could return to it.

    Args:
        session_id: Its name.
        password: The one in force.
        commit: The newest commit this member has put in force.
        bound: The newest of those that bind it: neither a return nor a recovery, which a side
            too small to decide anything may make. A recovery is chained to the newest of these.
        phase: Where the session stood.
        run: The last inventory begun; 0 before the first.
    """

    session_id: SessionId
    password: Password = field(repr=False)
    commit: Commit
    bound: Commit
    phase: Phase
    run: int

    def followed_by(self, commit: Commit, *, binds: bool) -> Self:
        """Return the record once *commit* is in force, as ``EpochActivated`` says."""
        return replace(self, commit=commit, bound=commit if binds else self.bound)

    @property
    def roster(self) -> Roster:
        """Who was in the session."""
        return self.commit.roster

    def accepts(self, welcome: Commit, node_key: bytes) -> bool:
        """Whether *welcome* leads on from what this member knows, to its own place.

        A side that has fallen behind this record is not the session any more: who followed it
        would forget what others were promised.
        """
        was, now = self.roster.find(node_key), welcome.roster.find(node_key)
        is_same = was is not None and now is not None and was.index == now.index
        return is_same and welcome.epoch > self.bound.epoch

    def encode(self) -> bytes:
        """Return the bytes to keep, in a file that only its owner can read."""
        return msgspec.msgpack.encode(
            _Stored(
                version=VERSION,
                session_id=str(self.session_id),
                password=self.password.normalised.decode("ascii"),
                commit=self.commit.encode(),
                bound=self.bound.encode(),
                phase=self.phase,
                run=self.run,
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the record that was kept.

        Raises:
            MalformedMessage: If it is none, or not of this version.
        """
        if len(data) > MAX_RECORD:
            raise MalformedMessage("a record too long")
        try:
            stored = msgspec.msgpack.decode(data, type=_Stored)
            return cls(
                session_id=SessionId.parse(stored.session_id),
                password=Password.parse(stored.password),
                commit=Commit.decode(stored.commit),
                bound=Commit.decode(stored.bound),
                phase=stored.phase,
                run=stored.run,
            )
        except (msgspec.MsgspecError, SecretUnusable, ValueError) as error:
            raise MalformedMessage("no session record") from error
