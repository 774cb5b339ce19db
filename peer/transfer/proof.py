"""The final proof: every member re-reads what it wrote, and all agree on one end state.

Each member states, step by step, what stands on its disk (``StepProof``); holders state what
they read of what they sent. Digests are BLAKE3-256: of the content for a file; of a name of the
kind and its value for everything else, so that every kind of step has one; None where nothing
is there. A written file must carry the planned digest or, where the plan had none (files
matched by size and date), the one its holders stated.
"""

import enum
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from blake3 import blake3

from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from protocol.crypto.transcript import lv
from protocol.errors import RemoteProtocolError
from protocol.messages.transfer import ProofStated

_NUMBER: Final = struct.Struct(">q")


PERMISSIONS: Final = 0o777
"""The bits that are synchronised; those that lend rights never are."""


class Finding(enum.StrEnum):
    """What the proof says of one step that is not as planned; the value is a reason code."""

    DIFFERS = "proof.differs"
    """Something else stands there."""
    ABSENT = "proof.absent"
    """Nothing stands there."""
    UNSTATED = "proof.unstated"
    """Its member did not say."""
    UNKNOWN = "proof.unknown"
    """The plan had no digest and no holder stated one."""
    CONTRADICTED = "proof.contradicted"
    """Two holders stated different contents for it."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One step whose end state is not proved."""

    step: int
    member: int
    finding: Finding


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the proof says of the whole plan."""

    deviations: tuple[Deviation, ...]
    files: int
    """Copies whose content is proved."""
    digest: bytes
    """BLAKE3-256 of the end state; equal on all members whose proofs are equal."""

    @property
    def equal(self) -> bool:
        """Whether everything that was not reported as failed stands as planned."""
        return not self.deviations


def directory_digest() -> bytes:
    """Return what is stated where a directory stands."""
    return blake3(lv(b"directory")).digest()


def link_digest(target: bytes) -> bytes:
    """Return what is stated where a link to *target* stands."""
    return blake3(lv(b"link", target)).digest()


def date_digest(mtime_ns: int) -> bytes:
    """Return what is stated where something with this modification time stands."""
    return blake3(lv(b"date", _NUMBER.pack(mtime_ns))).digest()


def mode_digest(mode: int) -> bytes:
    """Return what is stated where something with these permission bits stands."""
    return blake3(lv(b"mode", _NUMBER.pack(mode & PERMISSIONS))).digest()


def planned_digest(step: AnyStep) -> bytes | None:
    """Return what must be stated once *step* is done; None for nothing, or not known."""
    match step:
        case CopyFile():
            return step.digest
        case CreateDirectory():
            return directory_digest()
        case CopyLink():
            return link_digest(step.target)
        case SetDate():
            return date_digest(step.mtime_ns)
        case SetMode():
            return mode_digest(step.mode)
        case Delete() | DeleteDirectory():
            return None
        case _:
            assert_never(step)


class Proof:
    """Collects all members' statements about one plan and judges them.

    Args:
        steps: The whole plan.
        members: Who takes part; each must state its last part.
    """

    def __init__(self, steps: Sequence[AnyStep], members: Iterable[int]) -> None:
        self._steps = steps
        self._members = frozenset(members)
        self.round = 0
        self._written: dict[int, bytes | None] = {}
        self._sent: dict[int, set[bytes]] = {}
        self._complete: set[int] = set()
        self._failed: set[int] = set()
        made = {
            (step.member, step.source, step.path)
            for step in steps
            if isinstance(step, CreateDirectory | CopyFile | CopyLink)
        }
        self._superseded = {
            number
            for number, step in enumerate(steps)
            if isinstance(step, Delete | DeleteDirectory)
            and (step.member, step.source, step.path) in made
        }
        """Deletions that made room: what stands there now is another step's."""

    def begin_round(self, number: int) -> bool:
        """Forget every statement if *number* is new: all members read back once more.

        Returns:
            Whether it is.
        """
        if number <= self.round:
            return False
        self.round = number
        self._written.clear()
        self._sent.clear()
        self._complete.clear()
        return True

    def step_failed(self, member: int, number: int) -> None:
        """Take note that *member* said this step of its own failed: it proves nothing.

        Raises:
            RemoteProtocolError: If it is no step of that member.
        """
        if number >= len(self._steps) or self._steps[number].member != member:
            raise RemoteProtocolError("failure of a step of somebody else")
        self._failed.add(number)

    def receive_message(self, member: int, message: ProofStated) -> None:
        """Take one part of *member*'s statement.

        Raises:
            RemoteProtocolError: If it states what is not its to state, or changes its mind.
        """
        if message.round < self.round:
            # Stated before it heard of this round.
            return
        # Who hears of a round before us states before we are asked.
        self.begin_round(message.round)
        if member not in self._members:
            raise RemoteProtocolError("a statement of somebody who takes no part")
        if member in self._complete:
            # Said again when a link came back.
            return
        for stated in message.steps:
            if stated.step >= len(self._steps):
                raise RemoteProtocolError("no step of this plan")
            step = self._steps[stated.step]
            if step.member == member:
                if self._written.setdefault(stated.step, stated.digest) != stated.digest:
                    raise RemoteProtocolError("two statements about one step")
            elif isinstance(step, CopyFile) and any(h[0] == member for h in step.holders):
                if stated.digest is not None:
                    self._sent.setdefault(stated.step, set()).add(stated.digest)
            else:
                raise RemoteProtocolError("a statement about somebody else's step")
        if message.last:
            self._complete.add(member)

    def member_lost(self, member: int) -> None:
        """Take note that *member* will state nothing more."""
        self._complete.add(member)

    @property
    def complete(self) -> bool:
        """Whether every member has stated its last part."""
        return self._members <= self._complete

    def missing(self) -> tuple[int, ...]:
        """Return who has not stated its last part."""
        return tuple(sorted(self._members - self._complete))

    def outcome(self) -> Outcome:
        """Judge what has been stated so far."""
        deviations: list[Deviation] = []
        known: dict[int, bytes] = {}
        for number, step in enumerate(self._steps):
            if number in self._failed or number in self._superseded:
                continue
            finding = self._judge(number, step)
            if finding is not None:
                deviations.append(Deviation(number, step.member, finding))
            elif isinstance(step, CopyFile):
                known[number] = self._written[number] or b""
        return Outcome(
            deviations=tuple(deviations),
            files=len(known),
            digest=_end_state(self._steps, known, self._failed),
        )

    def _judge(self, number: int, step: AnyStep) -> Finding | None:
        if number not in self._written:
            return Finding.UNSTATED
        written = self._written[number]
        planned = planned_digest(step)
        if isinstance(step, CopyFile) and written is None:
            return Finding.ABSENT
        if isinstance(step, CopyFile) and planned is None:
            sent = self._sent.get(number, set())
            if len(sent) > 1:
                return Finding.CONTRADICTED
            if sent:
                (planned,) = sent
            elif any(holder[0] == step.member for holder in step.holders):
                # Copied from its own file, on its own word.
                planned = written
            else:
                return Finding.UNKNOWN
        if written == planned:
            return None
        return Finding.ABSENT if written is None else Finding.DIFFERS


def _end_state(
    steps: Sequence[AnyStep], known: Mapping[int, bytes], failed: frozenset[int] | set[int]
) -> bytes:
    """Return BLAKE3 over ``(member, source, path, digest, size, mtime)``, sorted."""
    rows = sorted(
        lv(
            struct.pack(">BI", step.member, step.source),
            lv(*step.path),
            b"failed" if number in failed else known.get(number) or planned_digest(step) or b"",
            _NUMBER.pack(step.origin.size) if isinstance(step, CopyFile) else b"",
            _NUMBER.pack(step.mtime_ns) if isinstance(step, CopyFile | CopyLink) else b"",
        )
        for number, step in enumerate(steps)
    )
    return blake3(b"".join(rows)).digest()
