"""Who is being introduced to whom, here and across the nodes of one store.

Each introduction is one seeker and one member, under a random name. If they are at two nodes,
each node keeps its half, and they tell each other in notes what the other half needs.
"""

import hmac
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.errors import NodeRefusal, NodeRefused
from protocol.limits import STEP_TIMEOUT
from protocol.messages.base import Message
from protocol.messages.rendezvous import (
    Address,
    Answer,
    Introduce,
    LookedUp,
    LookUp,
    NodeMessage,
    Offer,
    Refused,
    Start,
)
from rendezvous.events import Event, IntroductionEnded, Outcome, RequestRefused
from rendezvous.notes import Ask, Note, Told
from rendezvous.registry import Session
from rendezvous.vetting import vetted

INTRODUCED_MEMBERS: Final = 3
"""Members asked about one seeker: enough that one is awake, few enough to stay quiet."""

MAX_PENDING_PER_SESSION: Final = 10
"""Introductions of one session not answered yet (security.md, T7)."""

MAX_BARRIER: Final = 500
"""Milliseconds one side is made to wait at most, whatever round trips are claimed."""


@dataclass(slots=True)
class Served:
    """One connection of the node."""

    source: Address
    exporter: bytes
    deadline: float | None
    """Until when ``Hello`` must come; None once it came."""
    sessions: set[str] = field(default_factory=set)
    introductions: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Outputs:
    """What the broker has decided and its shell has not taken yet."""

    messages: list[tuple[int, NodeMessage]] = field(default_factory=list)
    notes: list[tuple[str, Note]] = field(default_factory=list)
    events: deque[Event] = field(default_factory=deque)


@dataclass(slots=True)
class _Search:
    """One look-up: a seeker and the members asked about it."""

    session_id: str
    seeker: int | None
    """None if it is at another node."""
    request_id: int
    offer: Offer
    begun: float
    asked: int
    """Members whose answer is awaited."""
    node: str = ""
    """Where the seeker is, if not here."""
    started: bool = False
    """Whether one of them answered with an offer."""


@dataclass(frozen=True, slots=True)
class _Introduction:
    search: _Search
    member: int | None
    """None if it is at another node."""


class Introductions:
    """All introductions of one node.

    Args:
        node: Its name among those that share a store.
        connections: Those the broker serves.
        out: Where decisions go.
        loopback_allowed: Whether loopback addresses are passed on.
        random_bytes: Returns so many random bytes.
    """

    def __init__(
        self,
        node: str,
        connections: dict[int, Served],
        out: Outputs,
        *,
        loopback_allowed: bool,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._node = node
        self._connections = connections
        self._out = out
        self._loopback_allowed = loopback_allowed
        self._random_bytes = random_bytes
        self._introductions: OrderedDict[bytes, _Introduction] = OrderedDict()
        self._pending: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._introductions)

    def look_up(self, connection_id: int, message: LookUp, session: Session, *, now: float) -> None:
        """Ask members of *session*, here first, about a seeker.

        Raises:
            NodeRefused: NOT_FOUND if nobody is there, THROTTLED if too many are sought.
        """
        connection = self._connections[connection_id]
        members = self._members_of(session, but=connection_id)
        away = _asked_elsewhere(session, INTRODUCED_MEMBERS - len(members))
        asked = len(members) + sum(away.values())
        if not asked:
            raise NodeRefused(NodeRefusal.NOT_FOUND)
        pending = self._pending.get(message.session_id, 0)
        if pending == MAX_PENDING_PER_SESSION:
            raise NodeRefused(NodeRefusal.THROTTLED, round(STEP_TIMEOUT))
        self._pending[message.session_id] = pending + 1
        offer = self._vetted(message.offer, connection)
        search = _Search(message.session_id, connection_id, message.request_id, offer, now, asked)
        looked_up = LookedUp(
            request_id=message.request_id, members=asked, expires_in=round(STEP_TIMEOUT)
        )
        self._out.messages.append((connection_id, looked_up))
        for member in members:
            self._introduce(self._random_bytes(16), search, member)
        for node, count in away.items():
            names = tuple(self._random_bytes(16) for _ in range(count))
            for name in names:
                self._introductions[name] = _Introduction(search, None)
                connection.introductions.add(name)
            ask = Ask(
                introductions=names,
                session_id=message.session_id,
                token_hash=session.claim.token_hash,
                node=self._node,
                offer=offer,
            )
            self._out.notes.append((node, ask))

    def _members_of(self, session: Session, *, but: int | None = None) -> list[int]:
        """Return the connections that are asked about one seeker."""
        listeners = (each for each in session.listeners if each != but)
        here = [each for each in listeners if each in self._connections]
        return here[:INTRODUCED_MEMBERS]

    def _introduce(self, introduction_id: bytes, search: _Search, member: int) -> None:
        self._introductions[introduction_id] = _Introduction(search, member)
        for each in (search.seeker, member):
            if each is not None:
                self._connections[each].introductions.add(introduction_id)
        introduce = Introduce(
            introduction_id=introduction_id, session_id=search.session_id, offer=search.offer
        )
        self._out.messages.append((member, introduce))

    def answer(
        self, connection_id: int, connection: Served, message: Answer, *, now: float
    ) -> None:
        """Start both sides, or note that the member declines."""
        introduction = self._introductions.get(message.introduction_id)
        if introduction is None or introduction.member != connection_id:
            return  # too late, or guessed
        if message.offer is None:
            self._end(message.introduction_id, Outcome.DECLINED, now=now)
            return
        search = introduction.search
        search.started = True
        offer = self._vetted(message.offer, connection)
        # Both leave the node now. The nearer side would begin earlier by half the difference
        # of the round trips, and its first packet find the other's router still closed.
        lead = (offer.round_trip - search.offer.round_trip) // 2
        self._start_seeker(message.introduction_id, search, offer, min(max(lead, 0), MAX_BARRIER))
        to_member = Start(
            introduction_id=message.introduction_id,
            offer=search.offer,
            observed=connection.source,
            delay=min(max(-lead, 0), MAX_BARRIER),
        )
        self._out.messages.append((connection_id, to_member))
        self._end(message.introduction_id, Outcome.STARTED, now=now)

    def _start_seeker(
        self, introduction_id: bytes, search: _Search, offer: Offer, delay: int
    ) -> None:
        if search.seeker is None:
            self._out.notes.append((search.node, Told(introduction_id, offer, delay)))
            return
        to_seeker = Start(
            introduction_id=introduction_id,
            request_id=search.request_id,
            offer=offer,
            observed=self._connections[search.seeker].source,
            delay=delay,
        )
        self._out.messages.append((search.seeker, to_seeker))

    # --- halves at other nodes ----------------------------------------------------------------

    def asked(self, ask: Ask, session: Session | None, *, now: float) -> None:
        """Introduce another node's seeker to members here, and tell of those there are not."""
        members: list[int] = []
        if session is not None and hmac.compare_digest(session.claim.token_hash, ask.token_hash):
            members = self._members_of(session)
        names = [each for each in ask.introductions if each not in self._introductions]
        members = members[: len(names)]
        pending = self._pending.get(ask.session_id, 0)
        if pending == MAX_PENDING_PER_SESSION:
            members = []
        if members:
            self._pending[ask.session_id] = pending + 1
        search = _Search(ask.session_id, None, 0, ask.offer, now, len(members), ask.node)
        for name, member in zip(names, members, strict=False):
            self._introduce(name, search, member)
        for name in names[len(members) :]:
            self._out.notes.append((ask.node, Told(name, None)))

    def told(self, told: Told, *, now: float) -> None:
        """Start the seeker, or note that a member elsewhere declines."""
        introduction = self._introductions.get(told.introduction_id)
        if introduction is None or introduction.member is not None:
            return  # too late
        if told.offer is None:
            self._end(told.introduction_id, Outcome.DECLINED, now=now)
            return
        search = introduction.search
        search.started = True
        delay = min(told.delay, MAX_BARRIER)
        self._start_seeker(told.introduction_id, search, told.offer, delay)
        self._end(told.introduction_id, Outcome.STARTED, now=now)

    def move(self, former: int, connection_id: int) -> None:
        """Let a member that comes back on another connection answer what waits for it."""
        names = self._connections[former].introductions
        for name in sorted(names):
            introduction = self._introductions[name]
            if introduction.member == former:
                self._introductions[name] = replace(introduction, member=connection_id)
            else:
                introduction.search.seeker = connection_id
        self._connections[connection_id].introductions |= names
        names.clear()

    # --- ends -------------------------------------------------------------------------------

    def disconnected(self, connection: Served, *, now: float) -> None:
        """A side of these is gone."""
        for introduction_id in sorted(connection.introductions):
            self._end(introduction_id, Outcome.ABANDONED, now=now)

    def undelivered(self, ask: Ask, *, now: float) -> None:
        """The node asked is gone, and its members with it."""
        for introduction_id in ask.introductions:
            if introduction_id in self._introductions:
                self._end(introduction_id, Outcome.ABANDONED, now=now)

    def expire(self, *, now: float) -> None:
        """End those nobody answered in time."""
        while self._introductions:
            introduction_id, introduction = next(iter(self._introductions.items()))
            if introduction.search.begun + STEP_TIMEOUT > now:
                break
            self._end(introduction_id, Outcome.UNANSWERED, now=now)

    def next_expiry(self) -> float | None:
        """Return when the oldest has waited long enough."""
        oldest = next(iter(self._introductions.values()), None)
        return None if oldest is None else oldest.search.begun + STEP_TIMEOUT

    def _vetted(self, offer: Offer, connection: Served) -> Offer:
        return vetted(offer, connection.source, loopback_allowed=self._loopback_allowed)

    def _end(self, introduction_id: bytes, outcome: Outcome, *, now: float) -> None:
        introduction = self._introductions.pop(introduction_id)
        search = introduction.search
        for each in (search.seeker, introduction.member):
            if each is not None and each in self._connections:
                self._connections[each].introductions.discard(introduction_id)
        if search.seeker is None and outcome is not Outcome.STARTED:
            self._out.notes.append((search.node, Told(introduction_id, None)))
        self._out.events.append(IntroductionEnded(outcome, now - search.begun))
        search.asked -= 1
        if search.asked:
            return
        left = self._pending.pop(search.session_id) - 1
        if left:
            self._pending[search.session_id] = left
        seeker = search.seeker
        if not search.started and seeker is not None and seeker in self._connections:
            error = NodeRefused(NodeRefusal.NOT_FOUND)
            refuse(self._out, seeker, LookUp, search.request_id, error)


def refuse(
    out: Outputs,
    connection_id: int,
    request: type[Message],
    request_id: int | None,
    error: NodeRefused,
) -> None:
    """Tell a peer that, and why, its request is declined."""
    refused = Refused(request_id=request_id, reason=error.refusal, retry_after=error.retry_after)
    out.messages.append((connection_id, refused))
    out.events.append(RequestRefused(request.__name__, error.refusal))


def _asked_elsewhere(session: Session, most: int) -> dict[str, int]:
    """Return how many members to ask at which other node, *most* in all."""
    asked: dict[str, int] = {}
    for node, presence in sorted(session.elsewhere.items()):
        count = min(presence.listeners, most - sum(asked.values()))
        if count > 0:
            asked[node] = count
    return asked
