"""The door of a session, as one member knows it: who waits, who lets in, whether joining pauses.

Every member holds one. A candidate waits at the member that sponsors it; that member tells all,
and where the leader wants to be asked, the first answer of any member counts. Wrong passwords
are counted where they are tried (``peer.session.trust``); everybody hears of it, and anybody
may forget them for all (security.md, section 4.2).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from peer.session.errors import CandidateUnknown
from peer.session.phases import Phase
from peer.session.rights import Act, check
from protocol.errors import JoinOutcome, RemoteProtocolError
from protocol.limits import MAX_JOINS
from protocol.messages import admission as wire
from protocol.messages.admission import AdmissionMessage


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody who has proven the password and is not in yet.

    Args:
        sponsor: The member it waits at.
        proposal: What that member calls its wish.
        name: What its machine is called.
        email: Its person's address, or empty.
        digits: What both people may compare.
        asks: Whether a member must let it in.
    """

    sponsor: int
    proposal: bytes
    name: str
    email: str
    digits: str
    asks: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Nobody can join through one member.

    Args:
        until: When that ends; None: once a member allows it.
    """

    until: float | None


@dataclass(frozen=True, slots=True)
class Decided:
    """A member let in, or declined, a candidate that waits here."""

    proposal: bytes
    admitted: bool
    by: int


@dataclass(frozen=True, slots=True)
class Arrived:
    """Somebody waits at a member; people may want to answer."""

    waiting: Waiting


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody who waited at another member was not let in.

    Args:
        name: What its machine is called.
        outcome: Why.
        by: Who declined it, if somebody did.
    """

    name: str
    outcome: JoinOutcome
    by: int | None


@dataclass(frozen=True, slots=True)
class SourceWaits:
    """Somebody tried so many wrong passwords that it must wait."""

    source: str
    wrong: int


@dataclass(frozen=True, slots=True)
class JoiningPaused:
    """So many wrong passwords were tried at a member that nobody can join through it."""

    member: int
    seconds: int
    """0: until somebody allows it."""


@dataclass(frozen=True, slots=True)
class JoiningReopened:
    """A member allowed joining again: forget the wrong tries."""

    by: int


DoorEvent = Decided | Arrived | Refused | SourceWaits | JoiningPaused | JoiningReopened

MAX_EVENTS: Final = 64
"""Events kept for the owner between two looks; it looks after every input."""


class Door:
    """What one member knows of who wants to come in.

    Args:
        me: This member's index.
    """

    def __init__(self, me: int) -> None:
        self.me: Final = me
        self._waiting: dict[tuple[int, bytes], Waiting] = {}
        self._pauses: dict[int, Pause] = {}
        self._totals: dict[int, int] = {}
        self._told: wire.TriesReported | None = None
        self._outbox: list[tuple[int | None, AdmissionMessage]] = []
        self._events: deque[DoorEvent] = deque(maxlen=MAX_EVENTS)

    @property
    def waiting(self) -> Sequence[Waiting]:
        """Who waits anywhere, the longest first."""
        return list(self._waiting.values())

    @property
    def wrong_tries(self) -> int:
        """Wrong passwords tried at all members since joining was last reopened."""
        return sum(self._totals.values())

    def pauses(self, *, now: float) -> dict[int, Pause]:
        """Return through which members nobody can join just now."""
        return {
            member: pause
            for member, pause in sorted(self._pauses.items())
            if pause.until is None or now < pause.until
        }

    # --- as the sponsor ---------------------------------------------------------------

    def candidate_waits(
        self, proposal: bytes, name: str, email: str, digits: str, *, asks: bool
    ) -> None:
        """Tell all that somebody waits here."""
        waiting = Waiting(self.me, proposal, name, email, digits, asks)
        self._waiting[self.me, proposal] = waiting
        self._outbox.append((None, _announcement(waiting)))
        self._events.append(Arrived(waiting))

    def candidate_gone(
        self, proposal: bytes, outcome: JoinOutcome | None = None, by: int | None = None
    ) -> None:
        """Tell all that it waits no more: refused with *outcome*, let in, or gone."""
        if self._waiting.pop((self.me, proposal), None) is not None:
            gone = wire.CandidateGone(proposal=proposal, outcome=outcome or 0, by=by)
            self._outbox.append((None, gone))

    def activated(self) -> None:
        """Ask nobody any more: the inventory has started, and the committer tells who waits so."""
        for waiting in self.waiting:
            if waiting.sponsor == self.me and waiting.asks:
                self._events.append(Decided(waiting.proposal, admitted=True, by=self.me))

    def tries(
        self, total: int, *, source: str, wrong: int, pause: int, closed: bool, now: float
    ) -> None:
        """Tell all that wrong passwords were tried here.

        Args:
            total: How many in all.
            source: Who must wait now; empty if nobody must.
            wrong: How often it was wrong.
            pause: Seconds for which nobody can join here.
            closed: Whether nobody can until a member allows it.
            now: Monotonic seconds.
        """
        report = wire.TriesReported(
            total=total, source=source, wrong=wrong, pause=pause, closed=closed
        )
        self._told = report
        self._outbox.append((None, report))
        self._take_tries(self.me, report, now=now)

    # --- as any member ------------------------------------------------------------------

    def decide(self, name: str, *, admit: bool, phase: Phase) -> None:
        """Let in, or send away, whoever of this name waits for an answer.

        Raises:
            WrongPhase: If nobody is let in any more.
            CandidateUnknown: If nobody of this name waits for an answer.
        """
        check(Act.DECLINE, actor=self.me, leader=self.me, phase=phase)
        same = name.casefold()
        found = [each for each in self.waiting if each.asks and each.name.casefold() == same]
        if not found:
            raise CandidateUnknown(name)
        # Two of one name cannot be told apart by it: who waits longest is meant.
        waiting = found[0]
        if waiting.sponsor == self.me:
            self._events.append(Decided(waiting.proposal, admit, self.me))
        else:
            answer = wire.CandidateDecided(proposal=waiting.proposal, admitted=admit)
            self._outbox.append((waiting.sponsor, answer))

    def reopen(self, *, phase: Phase) -> None:
        """Allow joining again, at every member.

        Raises:
            WrongPhase: If nobody can join anyway.
        """
        check(Act.REOPEN_JOINING, actor=self.me, leader=self.me, phase=phase)
        self._outbox.append((None, wire.JoiningReopened()))
        self._reopened(self.me)

    # --- links and messages -----------------------------------------------------------------

    def link_up(self, member: int) -> None:
        """Repeat to *member* what it may have missed."""
        for waiting in self.waiting:
            if waiting.sponsor == self.me:
                self._outbox.append((member, _announcement(waiting)))
        if self._told is not None:
            # Who must wait now is no news by then.
            told = msgspec.structs.replace(self._told, source="", wrong=0)
            self._outbox.append((member, told))

    def link_down(self, member: int) -> None:
        """Forget what only *member* can keep us informed of; it repeats it on its return."""
        self._waiting = {key: each for key, each in self._waiting.items() if key[0] != member}
        self._pauses.pop(member, None)
        self._totals.pop(member, None)

    def receive_message(
        self, sender: int, message: AdmissionMessage, *, phase: Phase, now: float
    ) -> None:
        """Take one message of member *sender*.

        Raises:
            WrongPhase: If it has no right to that now; nothing has changed.
            RemoteProtocolError: If it says more than anybody needs to.
        """
        match message:
            case wire.CandidateWaiting():
                self._take_waiting(sender, message)
            case wire.CandidateGone():
                self._take_gone(sender, message)
            case wire.CandidateDecided():
                check(Act.DECLINE, actor=sender, leader=sender, phase=phase)
                waiting = self._waiting.get((self.me, message.proposal))
                # Somebody else may have answered before.
                if waiting is not None and waiting.asks:
                    self._events.append(Decided(message.proposal, message.admitted, sender))
            case wire.TriesReported():
                self._take_tries(sender, message, now=now)
            case _:
                # JoiningReopened: the union has nothing else.
                check(Act.REOPEN_JOINING, actor=sender, leader=sender, phase=phase)
                self._reopened(sender)

    def messages_to_send(self) -> list[tuple[int | None, AdmissionMessage]]:
        """Return ``(receiver, message)`` pairs, in order; None: to all."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> DoorEvent | None:
        return self._events.popleft() if self._events else None

    # --- one message each ---------------------------------------------------------------------

    def _take_waiting(self, sender: int, message: wire.CandidateWaiting) -> None:
        key = sender, message.proposal
        if key in self._waiting:
            return  # a link came up again
        if sum(sponsor == sender for sponsor, _ in self._waiting) >= MAX_JOINS:
            raise RemoteProtocolError("more candidates than one member answers at once")
        waiting = Waiting(
            sender, message.proposal, message.name, message.email, message.digits, message.asks
        )
        self._waiting[key] = waiting
        self._events.append(Arrived(waiting))

    def _take_gone(self, sender: int, message: wire.CandidateGone) -> None:
        waiting = self._waiting.pop((sender, message.proposal), None)
        if waiting is not None and message.outcome:
            self._events.append(Refused(waiting.name, JoinOutcome(message.outcome), message.by))

    def _take_tries(self, member: int, report: wire.TriesReported, *, now: float) -> None:
        if report.source:
            self._events.append(SourceWaits(report.source, report.wrong))
        self._totals[member] = report.total
        was_paused = member in self.pauses(now=now)
        if report.closed:
            self._pauses[member] = Pause(None)
        elif report.pause:
            self._pauses[member] = Pause(now + report.pause)
        if member in self.pauses(now=now) and not was_paused:
            seconds = 0 if report.closed else report.pause
            self._events.append(JoiningPaused(member, seconds))

    def _reopened(self, by: int) -> None:
        self._pauses.clear()
        self._totals.clear()
        self._told = None
        self._events.append(JoiningReopened(by))


def _announcement(waiting: Waiting) -> wire.CandidateWaiting:
    return wire.CandidateWaiting(
        proposal=waiting.proposal,
        name=waiting.name,
        email=waiting.email,
        digits=waiting.digits,
        asks=waiting.asks,
    )
