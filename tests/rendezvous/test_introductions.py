from dataclasses import replace

import pytest

from protocol.address import from_sockaddr
from protocol.errors import NodeRefusal, NodeRefused
from protocol.limits import STEP_TIMEOUT
from protocol.messages.rendezvous import Answer, Introduce, LookedUp, LookUp, Refused, Start
from rendezvous.events import IntroductionEnded, Outcome
from rendezvous.introductions import (
    MAX_BARRIER,
    MAX_PENDING_PER_SESSION,
    Introductions,
    Outputs,
    Served,
)
from rendezvous.notes import Ask, Note, Told
from rendezvous.records import Claim, Presence
from rendezvous.registry import Session
from tests.harness.nodes import an_offer

SEEKERS, MEMBERS = "5" * 16, "6" * 16
SESSION = "ABCDEFGHJ"
SEEKER, MEMBER = 1, 2
LOOK_UP = LookUp(request_id=7, session_id=SESSION, offer=an_offer(b"seek"))


class Half:
    """One of two nodes, with one connection and what it says."""

    def __init__(self, name: str, connection: int, session: Session) -> None:
        self.name = name
        self.session: Session | None = session
        self.out = Outputs()
        source = from_sockaddr((f"10.0.0.{connection}", 4000))
        self.connections = {connection: Served(source, b"", None)}
        numbers = iter(range(1000))
        self.introductions = Introductions(
            name,
            self.connections,
            self.out,
            loopback_allowed=False,
            random_bytes=lambda size: next(numbers).to_bytes(size, "big"),
        )

    def receive(self, note: Note, now: float = 0.0) -> None:
        match note:
            case Ask():
                self.introductions.asked(note, self.session, now=now)
            case Told():
                self.introductions.told(note, now=now)

    def messages(self) -> list[object]:
        messages, self.out.messages = self.out.messages, []
        return [message for _, message in messages]

    def notes(self) -> list[Note]:
        notes, self.out.notes = self.out.notes, []
        return [note for _, note in notes]

    def outcomes(self) -> list[Outcome]:
        events = list(self.out.events)
        return [each.outcome for each in events if isinstance(each, IntroductionEnded)]


@pytest.fixture
def halves() -> tuple[Half, Half]:
    """A seeker's node and a member's, which knows one listener there."""
    claim = Claim(SESSION, b"t" * 32, 0)
    here = Session(claim, 0.0, elsewhere={MEMBERS: Presence(1, 1, 0)})
    there = Session(claim, 0.0, connections={MEMBER: True})
    return Half(SEEKERS, SEEKER, here), Half(MEMBERS, MEMBER, there)


def look_up(half: Half, now: float = 0.0) -> Ask:
    assert half.session is not None
    half.introductions.look_up(SEEKER, LOOK_UP, half.session, now=now)
    (ask,) = half.notes()
    assert isinstance(ask, Ask)
    return ask


def answer(half: Half, ask: Ask, message: Answer | None = None) -> list[Note]:
    offer = an_offer(b"memb")
    message = message or Answer(introduction_id=ask.introductions[0], offer=offer)
    half.introductions.answer(MEMBER, half.connections[MEMBER], message, now=0.0)
    return half.notes()


def test_both_halves_start_with_the_other_sides_offer(halves: tuple[Half, Half]) -> None:
    """Each node speaks to its own side only."""
    here, there = halves
    ask = look_up(here)
    there.receive(ask)
    introduced = there.messages()
    for note in answer(there, ask):
        here.receive(note)

    looked_up, to_seeker = here.messages()
    (to_member,) = there.messages()
    assert isinstance(introduced[0], Introduce)
    assert isinstance(looked_up, LookedUp)
    assert isinstance(to_seeker, Start)
    assert isinstance(to_member, Start)
    assert (to_seeker.offer.tag, to_member.offer.tag) == (b"memb", b"seek")
    assert (to_seeker.request_id, to_member.request_id) == (7, None)
    assert (here.outcomes(), there.outcomes()) == ([Outcome.STARTED], [Outcome.STARTED])
    assert len(here.introductions) == len(there.introductions) == 0


def test_a_member_elsewhere_that_declines_ends_the_search(halves: tuple[Half, Half]) -> None:
    """The seeker hears that there is no such session."""
    here, there = halves
    ask = look_up(here)
    there.receive(ask)
    for note in answer(there, ask, Answer(introduction_id=ask.introductions[0], offer=None)):
        here.receive(note)

    assert here.messages()[1:] == [Refused(request_id=7, reason=NodeRefusal.NOT_FOUND)]


def test_where_nobody_listens_any_more_the_other_node_is_told(halves: tuple[Half, Half]) -> None:
    """Locked, left, or rotated to another token."""
    here, there = halves
    ask = look_up(here)
    assert there.session is not None
    rotated = replace(there.session, claim=replace(there.session.claim, token_hash=b"n" * 32))

    told = []
    for session in (None, rotated):
        there.session = session
        there.receive(ask)
        told.append(there.notes())

    assert told == [[Told(ask.introductions[0], None)]] * 2
    assert there.messages() == []


def test_one_session_is_asked_for_by_few_nodes_at_a_time(halves: tuple[Half, Half]) -> None:
    """The cap of pending introductions holds for seekers elsewhere (T7)."""
    here, there = halves
    asks = [look_up(here) for _ in range(MAX_PENDING_PER_SESSION)]
    for ask in asks:
        there.receive(ask)
    with pytest.raises(NodeRefused):
        look_up(here)
    there.out.notes.clear()
    there.receive(Ask((b"x" * 16,), SESSION, b"t" * 32, SEEKERS, an_offer()))

    assert there.notes() == [Told(b"x" * 16, None)]


def test_an_ask_that_comes_twice_is_answered_once(halves: tuple[Half, Half]) -> None:
    """Its names are in use."""
    here, there = halves
    ask = look_up(here)
    there.receive(ask)
    there.receive(ask)

    assert len(there.messages()) == 1
    assert there.notes() == []


def test_silence_ends_both_halves(halves: tuple[Half, Half]) -> None:
    """Each by its own clock; what comes later moves nothing."""
    here, there = halves
    ask = look_up(here)
    there.receive(ask)
    timers = [here.introductions.next_expiry(), there.introductions.next_expiry()]

    here.introductions.expire(now=STEP_TIMEOUT)
    there.introductions.expire(now=STEP_TIMEOUT)
    late = there.notes()
    for note in late:
        here.receive(note)
    here.receive(Told(ask.introductions[0], an_offer()))

    assert timers == [STEP_TIMEOUT, STEP_TIMEOUT]
    assert late == [Told(ask.introductions[0], None)]
    assert here.outcomes() == there.outcomes() == [Outcome.UNANSWERED]
    assert here.introductions.next_expiry() is None


def test_a_node_that_is_gone_ends_what_it_was_asked(halves: tuple[Half, Half]) -> None:
    """At once, and once."""
    here, _ = halves
    ask = look_up(here)

    here.introductions.undelivered(ask, now=0.0)
    here.introductions.undelivered(ask, now=0.0)

    assert here.outcomes() == [Outcome.ABANDONED]
    assert here.messages()[1:] == [Refused(request_id=7, reason=NodeRefusal.NOT_FOUND)]


def test_a_seeker_that_left_is_told_nothing(halves: tuple[Half, Half]) -> None:
    """Its half ended with it."""
    here, there = halves
    ask = look_up(here)
    there.receive(ask)
    gone = here.connections.pop(SEEKER)
    here.introductions.disconnected(gone, now=0.0)
    here.messages()
    for note in answer(there, ask):
        here.receive(note)

    assert here.messages() == []


def test_a_node_cannot_answer_for_a_member_here(halves: tuple[Half, Half]) -> None:
    """Nor make the seeker wait for long."""
    here, there = halves
    ask = look_up(here)
    there.receive(ask)
    there.receive(Told(ask.introductions[0], an_offer()))
    here.receive(Told(ask.introductions[0], an_offer(), 60_000))

    (_, start) = here.messages()
    assert len(there.messages()) == 1, "only the introduction"
    assert isinstance(start, Start)
    assert start.delay == MAX_BARRIER


def test_few_members_of_many_nodes_are_asked(halves: tuple[Half, Half]) -> None:
    """Three in all, the nodes in a fixed order."""
    here, _ = halves
    assert here.session is not None
    nodes = {f"{n}" * 16: Presence(2, 2, 0) for n in (9, 7, 8)}
    here.session.elsewhere = nodes | {"0" * 16: Presence(1, 0, 0)}

    here.introductions.look_up(SEEKER, LOOK_UP, here.session, now=0.0)

    asks = [(node, len(note.introductions)) for node, note in here.out.notes]
    assert asks == [("7" * 16, 2), ("8" * 16, 1)]
