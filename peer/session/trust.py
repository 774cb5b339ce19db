"""How often a password may be tried at this member: wrong tries counted, delayed, paused.

A try counts as soon as the sponsor has given its share (J4), so that a candidate that goes away
before it proves anything has tried too; a good proof takes the charge back and forgives its
source (security.md, T10). A source is one IPv4 address or one IPv6 /64.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from protocol.errors import JoinFailed, JoinOutcome

FREE_TRIES: Final = 5
"""Wrong tries of one source before it must wait."""

FIRST_WAIT: Final = 30.0
"""Seconds to wait after the last free try; each further wrong try doubles it."""

LONGEST_WAIT: Final = 900.0
"""Seconds a source waits at most."""

WINDOW: Final = 600.0
"""Seconds in which wrong tries of all sources together are counted."""

WINDOW_TRIES: Final = 30
"""Wrong tries in one window before joining pauses at this member."""

PAUSE: Final = 60.0
"""Seconds of that pause."""

TOTAL_TRIES: Final = 100
"""Wrong tries in all before joining stays paused until a member reopens it."""

MAX_SOURCES: Final = 1024
"""Sources remembered; the longest unseen is forgotten first."""


@dataclass(slots=True)
class _Source:
    wrong: int = 0
    free_at: float = 0.0


class Throttle:
    """Decides whether another try may begin."""

    def __init__(self) -> None:
        self._sources: OrderedDict[bytes, _Source] = OrderedDict()
        self._recent: deque[float] = deque()
        self._total = 0
        self._paused_until = 0.0

    def check(self, source: bytes, *, now: float) -> None:
        """Let a try of *source* begin.

        Raises:
            JoinFailed: THROTTLED or PAUSED, with the seconds to wait.
        """
        if self._total >= TOTAL_TRIES:
            raise JoinFailed(JoinOutcome.PAUSED)
        if now < self._paused_until:
            raise JoinFailed(JoinOutcome.PAUSED, _whole(self._paused_until - now))
        known = self._sources.get(source)
        if known is not None and now < known.free_at:
            raise JoinFailed(JoinOutcome.THROTTLED, _whole(known.free_at - now))

    def charge(self, source: bytes, *, now: float) -> None:
        """Count a try of *source* as wrong until ``undo`` says otherwise."""
        known = self._sources.setdefault(source, _Source())
        self._sources.move_to_end(source)
        while len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        known.wrong += 1
        if known.wrong >= FREE_TRIES:
            # The exponent is bounded before it is used: a flood must not make a huge number.
            doubled = min(known.wrong - FREE_TRIES, 10)
            known.free_at = now + min(FIRST_WAIT * 2**doubled, LONGEST_WAIT)
        self._total += 1
        self._recent.append(now)
        while self._recent and self._recent[0] <= now - WINDOW:
            self._recent.popleft()
        if len(self._recent) >= WINDOW_TRIES:
            self._paused_until = now + PAUSE
            self._recent.clear()

    def undo(self, source: bytes) -> None:
        """Take the last charge of *source* back and forgive it: it knows the password."""
        self._sources.pop(source, None)
        self._total = max(0, self._total - 1)
        if self._recent:
            self._recent.pop()

    def reopen(self) -> None:
        """Allow joining again: a member pressed the button."""
        self._sources.clear()
        self._recent.clear()
        self._total = 0
        self._paused_until = 0.0

    @property
    def is_paused(self) -> bool:
        """Whether joining stays paused until it is reopened."""
        return self._total >= TOTAL_TRIES

    @property
    def total(self) -> int:
        """Wrong tries in all since joining was last reopened."""
        return self._total

    def wrong(self, source: bytes) -> int:
        """Return how often *source* was wrong since it was last right."""
        known = self._sources.get(source)
        return 0 if known is None else known.wrong

    def pause(self, *, now: float) -> int:
        """Return for how many seconds nobody can join; 0 if that is not so, or not for a time."""
        return 0 if now >= self._paused_until else _whole(self._paused_until - now)

    def tries_left(self, source: bytes) -> int:
        """Return how many tries *source* has before it must wait."""
        known = self._sources.get(source)
        return FREE_TRIES if known is None else max(0, FREE_TRIES - known.wrong)


def _whole(seconds: float) -> int:
    return int(seconds) + 1


class OwnTries:
    """How often this peer itself sent a password that was not accepted, by session.

    A person who retypes the wrong password over and over should notice before the session's
    members are asked to pause joining (security.md, section 4.1).
    """

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, _Source] = OrderedDict()

    def check(self, session_id: str, *, now: float) -> None:
        """Let another try begin.

        Raises:
            JoinFailed: THROTTLED, with the seconds to wait.
        """
        known = self._wrong.get(session_id)
        if known is not None and now < known.free_at:
            raise JoinFailed(JoinOutcome.THROTTLED, _whole(known.free_at - now))

    def wrong(self, session_id: str, *, now: float) -> None:
        """Count a password that was not accepted."""
        known = self._wrong.setdefault(session_id, _Source())
        self._wrong.move_to_end(session_id)
        while len(self._wrong) > MAX_SOURCES:
            self._wrong.popitem(last=False)
        known.wrong += 1
        if known.wrong % FREE_TRIES == 0:
            known.free_at = now + FIRST_WAIT

    def clear(self, session_id: str) -> None:
        """Forget the tries of a session: the password was right."""
        self._wrong.pop(session_id, None)
