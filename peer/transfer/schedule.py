"""Which content is asked of whom, and when.

Every copy of this member is in one state::

    WAITING -asked of a holder-> ASKED -published-> DONE
       ^                           |
       |<--- another holder -------+
       |<--- once more, at the end-+--> PARKED, then FAILED

Whoever has a free place and the fewest bytes outstanding is asked next, so a fast holder serves
more than a slow one without being measured. Small files travel in packs; large ones alone, and
never in all places of a link, so that small ones keep moving. A copy that failed at one holder
goes to the next; one that failed at all of them is tried once more when everything else is
settled. A copy whose holders are all away waits; when nothing else is left to do, it waits
``PATIENCE`` and fails.

A holder whose own entry is about to be changed by the plan is asked last: it may have done so
already. Content this member holds itself is copied locally, and costs no bytes.
"""

import enum
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from peer.plan.steps import AnyStep, CopyFile, Delete, DeleteDirectory, SetDate
from peer.transfer.phases import Phases
from peer.transfer.reasons import Reason
from protocol import limits
from protocol.errors import LocalProtocolError
from protocol.messages.inventory import RelPath

SMALL: Final = 256 * limits.KIB
"""Bytes up to which a file travels in a pack: one sealed chunk holds it."""

PACK_SIZE: Final = 8 * limits.MIB
"""Content bytes of one pack: a fraction of a second on a LAN, many round trips on a WAN."""

PACK_STEPS: Final = 1000
"""Files of one pack; keeps a ``Fetch`` small and a failed transfer cheap."""

LARGE_PLACES: Final = 2
"""Large files asked of one holder at once: one arrives while the next is being opened."""

SMALL_PLACES: Final = 3
"""Packs asked of one holder at once; hides the round trip between them."""

LOCAL_PLACES: Final = 2
"""Local copies at once: the disk, not the processor, is the bound."""

PATIENCE: Final = 60.0
"""Seconds to wait for a holder when nothing else is left to do."""

STALL: Final = 120.0
"""Seconds without a byte after which a holder counts as stuck; LINK_IDLE finds dead links."""

assert LARGE_PLACES + SMALL_PLACES <= limits.MAX_TRANSFERS_PER_LINK


class Again(enum.Enum):
    """What a failed copy is worth."""

    ELSEWHERE = "elsewhere"
    """Another holder may do better."""
    LATER = "later"
    """The trouble is on this side and may pass: once more at the end."""
    NEVER = "never"
    """What stands at the destination forbids it."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Command: ask *peer* for these steps, in this order."""

    transfer: bytes
    peer: int
    steps: tuple[int, ...]
    size: int
    """Content bytes in all."""
    large: bool
    """Whether it is one large file; else a pack."""


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """Command: this member holds the content of *step* itself, here."""

    step: int
    source: int
    path: RelPath


@dataclass(frozen=True, slots=True)
class Cancel:
    """Command: end this transfer; its holder is stuck."""

    transfer: bytes
    peer: int


Command = Transfer | LocalCopy | Cancel


class _State(enum.Enum):
    WAITING = "waiting"
    ASKED = "asked"
    PARKED = "parked"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class _Copy:
    number: int
    size: int
    holders: tuple[int, ...]
    """Who may be asked now, decided origin first; this member itself among them."""
    reserve: tuple[int, ...]
    """Holders whose own entry the plan changes: asked when the others could not serve."""
    local: tuple[tuple[int, RelPath], ...]
    """Places of this member that hold the content."""
    state: _State = _State.WAITING
    tried: set[int] = field(default_factory=set)
    code: str = ""
    retried: bool = False
    asked_of: int = -1


@dataclass(slots=True)
class _Holder:
    """What one holder, or this member itself, is asked for and could be asked for."""

    up: bool = False
    small: deque[_Copy] = field(default_factory=deque)
    large: deque[_Copy] = field(default_factory=deque)
    open_small: int = 0
    open_large: int = 0
    outstanding: int = 0


class Schedule:
    """Decides who is asked for the contents of one member's part of a plan.

    Args:
        me: This member's index.
        steps: The whole plan.
        phases: This member's part of it.
        random_bytes: Returns that many random bytes, for transfer ids.
    """

    def __init__(
        self,
        me: int,
        steps: Sequence[AnyStep],
        phases: Phases,
        *,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._me = me
        self._random_bytes = random_bytes
        self._holders: dict[int, _Holder] = {me: _Holder(up=True)}
        self._copies: dict[int, _Copy] = {}
        self._open: dict[bytes, tuple[Transfer, float]] = {}
        self._commands: deque[Command] = deque()
        self._counts = dict.fromkeys(_State, 0)
        self._deadline: float | None = None
        disturbed = _disturbed(steps, me, phases)
        for number in phases.contents:
            step = steps[number]
            assert isinstance(step, CopyFile)
            self._take(number, step, disturbed)

    def _take(self, number: int, step: CopyFile, disturbed: set[tuple[int, int, RelPath]]) -> None:
        quiet = [place for place in step.holders if place not in disturbed]
        own = [(place[1], place[2]) for place in quiet if place[0] == self._me]
        # The plan says where this content stays until all copies are done: a file that was
        # moved is taken from where it was.
        local = tuple(dict.fromkeys([*([] if step.reuse is None else [step.reuse]), *own]))
        holders = tuple(dict.fromkeys([self._me] * bool(local) + [place[0] for place in quiet]))
        others = dict.fromkeys(place[0] for place in step.holders)
        reserve = tuple(peer for peer in others if peer not in holders and peer != self._me)
        copy = _Copy(number, step.origin.size, holders, reserve, local)
        if not holders:
            _call_reserve(copy)
        self._copies[number] = copy
        self._counts[copy.state] += 1
        self._queue(copy)

    # --- inputs -------------------------------------------------------------------

    def link_up(self, peer: int) -> None:
        """Take note that *peer* can be asked."""
        self._holder(peer).up = True
        self._deadline = None

    def link_down(self, peer: int) -> None:
        """Take note that *peer* is away; whoever receives its transfers ends them."""
        self._holder(peer).up = False

    def progress(self, transfer: bytes, *, now: float) -> None:
        """Take note that bytes of *transfer* came and were digested."""
        if transfer in self._open:
            self._open[transfer] = (self._open[transfer][0], now + STALL)

    def transfer_ended(self, transfer: bytes, unanswered: Iterable[int], code: str) -> None:
        """Take note that *transfer* is over; *unanswered* steps of it go to another holder.

        The others stay with whoever publishes them, until ``step_done`` or ``step_failed``.
        """
        if transfer not in self._open:
            return
        command, _ = self._open.pop(transfer)
        holder = self._holders[command.peer]
        holder.outstanding -= command.size
        if command.large:
            holder.open_large -= 1
        else:
            holder.open_small -= 1
        asked = set(command.steps)
        for number in unanswered:
            copy = self._copies[number]
            if number in asked and copy.state is _State.ASKED:
                self._failed(copy, code, Again.ELSEWHERE)

    def step_done(self, number: int) -> None:
        """Take note that the content of *number* stands at its place."""
        copy = self._copies[number]
        if copy.state is not _State.ASKED:
            raise LocalProtocolError(f"step {number} is {copy.state.value}")
        self._local_place_freed(copy)
        self._move(copy, _State.DONE)

    def step_failed(self, number: int, code: str, again: Again) -> None:
        """Take note that *number* failed."""
        copy = self._copies[number]
        if copy.state is not _State.ASKED:
            raise LocalProtocolError(f"step {number} is {copy.state.value}")
        self._local_place_freed(copy)
        self._failed(copy, code, again)

    def handle_timer(self, *, now: float) -> None:
        """Give up what is stuck, and what nobody holds any more."""
        for transfer, deadline in list(self._open.values()):
            if now >= deadline:
                self._commands.append(Cancel(transfer.transfer, transfer.peer))
                self._open[transfer.transfer] = (transfer, math.inf)
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            for copy in self._copies.values():
                if copy.state is not _State.WAITING:
                    continue
                if copy.reserve:
                    _call_reserve(copy)
                    self._queue(copy)
                else:
                    copy.code = copy.code or Reason.UNREACHABLE
                    self._move(copy, _State.FAILED)

    # --- outputs ------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """Return the moment ``handle_timer`` must be called, or None."""
        deadlines = [deadline for _, deadline in self._open.values() if deadline < math.inf]
        if self._deadline is not None:
            deadlines.append(self._deadline)
        return min(deadlines, default=None)

    def commands(self, *, now: float) -> Iterator[Command]:
        """Yield what is to be asked now, in order, once."""
        self._fill(now)
        if not self._counts[_State.ASKED] and self._counts[_State.PARKED]:
            # Everything else is settled or out of reach: this is "once more at the end".
            for copy in self._copies.values():
                if copy.state is _State.PARKED:
                    copy.retried = True
                    copy.tried.clear()
                    self._move(copy, _State.WAITING)
                    self._queue(copy)
            self._fill(now)
        if self._counts[_State.ASKED] or not self._counts[_State.WAITING]:
            self._deadline = None
        elif self._deadline is None:
            self._deadline = now + PATIENCE
        while self._commands:
            yield self._commands.popleft()

    @property
    def finished(self) -> bool:
        """Whether every copy is done or has failed for good."""
        settled = self._counts[_State.DONE] + self._counts[_State.FAILED]
        return settled == len(self._copies)

    def failures(self) -> dict[int, str]:
        """Return the code of each step that failed for good."""
        return {
            copy.number: copy.code for copy in self._copies.values() if copy.state is _State.FAILED
        }

    # --- decisions ----------------------------------------------------------------

    def _holder(self, peer: int) -> _Holder:
        return self._holders.setdefault(peer, _Holder())

    def _move(self, copy: _Copy, state: _State) -> None:
        self._counts[copy.state] -= 1
        self._counts[state] += 1
        copy.state = state

    def _failed(self, copy: _Copy, code: str, again: Again) -> None:
        copy.code = code
        copy.tried.add(copy.asked_of)
        if again is Again.ELSEWHERE and copy.tried.issuperset(copy.holders):
            _call_reserve(copy)
        if again is Again.ELSEWHERE and not copy.tried.issuperset(copy.holders):
            self._move(copy, _State.WAITING)
            self._queue(copy)
        elif again is Again.NEVER or copy.retried:
            self._move(copy, _State.FAILED)
        else:
            self._move(copy, _State.PARKED)

    def _queue(self, copy: _Copy) -> None:
        """Offer *copy* to its holders: to this member alone while it may do it locally."""
        if self._me in copy.holders and self._me not in copy.tried:
            peers: Sequence[int] = (self._me,)
        else:
            peers = [peer for peer in copy.holders if peer not in copy.tried]
        for peer in peers:
            holder = self._holder(peer)
            (holder.small if copy.size <= SMALL else holder.large).append(copy)

    def _local_place_freed(self, copy: _Copy) -> None:
        if copy.asked_of == self._me:
            self._holders[self._me].open_large -= 1

    def _fill(self, now: float) -> None:
        while True:
            ranked = sorted(
                (holder.outstanding, peer) for peer, holder in self._holders.items() if holder.up
            )
            if not any(self._ask(peer, now) for _, peer in ranked):
                return

    def _ask(self, peer: int, now: float) -> bool:
        """Make the next command for *peer*, if it has a place and anything to be asked for."""
        holder = self._holders[peer]
        if peer == self._me:
            return self._copy_locally(holder)
        steps: tuple[_Copy, ...] = ()
        if holder.open_small < SMALL_PLACES:
            steps = tuple(self._pack(peer, holder.small))
        large = not steps
        if large and holder.open_large < LARGE_PLACES:
            steps = tuple(self._next(peer, holder.large))
        if not steps:
            return False
        for copy in steps:
            self._move(copy, _State.ASKED)
            copy.asked_of = peer
        command = Transfer(
            transfer=self._random_bytes(16),
            peer=peer,
            steps=tuple(copy.number for copy in steps),
            size=sum(copy.size for copy in steps),
            large=large,
        )
        holder.outstanding += command.size
        if large:
            holder.open_large += 1
        else:
            holder.open_small += 1
        self._open[command.transfer] = (command, now + STALL)
        self._commands.append(command)
        return True

    def _copy_locally(self, holder: _Holder) -> bool:
        if holder.open_large >= LOCAL_PLACES:
            return False
        copies = [*self._next(self._me, holder.small)] or [*self._next(self._me, holder.large)]
        for copy in copies:
            self._move(copy, _State.ASKED)
            copy.asked_of = self._me
            holder.open_large += 1
            self._commands.append(LocalCopy(copy.number, *copy.local[0]))
        return bool(copies)

    def _next(self, peer: int, queue: deque[_Copy]) -> Iterator[_Copy]:
        """Take the next copy *peer* can still be asked for, passing over those taken since."""
        while queue:
            copy = queue.popleft()
            if copy.state is _State.WAITING and peer not in copy.tried:
                yield copy
                return

    def _pack(self, peer: int, queue: deque[_Copy]) -> Iterator[_Copy]:
        steps = size = 0
        # Another of SMALL bytes still fits.
        while steps < PACK_STEPS and size <= PACK_SIZE - SMALL:
            copies = [*self._next(peer, queue)]
            if not copies:
                return
            steps += 1
            size += copies[0].size
            yield copies[0]


def _call_reserve(copy: _Copy) -> None:
    copy.holders += copy.reserve
    copy.reserve = ()


def _disturbed(steps: Sequence[AnyStep], me: int, phases: Phases) -> set[tuple[int, int, RelPath]]:
    """Return the places the plan changes before, or while, they may be read.

    Of our own only what is replaced, or cleared away, matters: the rest is changed after all
    contents are in (``peer.transfer.phases``).
    """
    early = set(phases.clearing)
    return {
        (step.member, step.source, step.path)
        for number, step in enumerate(steps)
        if isinstance(step, CopyFile)
        or (
            isinstance(step, Delete | DeleteDirectory | SetDate)
            and (step.member != me or number in early)
        )
    }
