"""Who waits at the door, who answers, and what everybody hears of wrong passwords."""

import pytest

from peer.errors import WrongPhase
from peer.session.door import (
    Arrived,
    Decided,
    Door,
    DoorEvent,
    JoiningPaused,
    JoiningReopened,
    Pause,
    Refused,
    SourceWaits,
    Waiting,
)
from peer.session.errors import CandidateUnknown
from peer.session.phases import Phase
from protocol.errors import JoinOutcome, RemoteProtocolError
from protocol.limits import MAX_JOINS
from protocol.messages import admission as wire
from protocol.messages.admission import AdmissionMessage

WISH, SECOND = b"w" * 16, b"s" * 16
DIGITS = "4821 0937 5512"
EARLY = Phase.PREPARATION


class Doors:
    """The doors of some members, with messages carried between them at once."""

    def __init__(self, count: int) -> None:
        self.doors = [Door(index) for index in range(count)]
        self.now = 0.0

    def __getitem__(self, index: int) -> Door:
        return self.doors[index]

    def carry(self) -> None:
        for door in self.doors:
            for receiver, message in door.messages_to_send():
                for other in self.doors:
                    if other is not door and receiver in (None, other.me):
                        other.receive_message(door.me, message, phase=EARLY, now=self.now)

    def events(self, index: int) -> list[DoorEvent]:
        found = []
        while (event := self.doors[index].next_event()) is not None:
            found.append(event)
        return found


@pytest.fixture
def doors() -> Doors:
    """Three members; somebody waits at the second for an answer, and all have heard of it."""
    doors = Doors(3)
    doors[1].candidate_waits(WISH, "Laptop", "l@example.org", DIGITS, asks=True)
    doors.carry()
    return doors


def tried(door: Door, *, now: float, **report: object) -> None:
    values = {"total": 1, "source": "", "wrong": 0, "pause": 0, "closed": False} | report
    door.tries(now=now, **values)  # type: ignore[arg-type]


def test_everybody_sees_who_waits(doors: Doors) -> None:
    """With the digits, so that whoever answers can compare them."""
    waiting = Waiting(1, WISH, "Laptop", "l@example.org", DIGITS, asks=True)

    assert [list(door.waiting) for door in doors.doors] == [[waiting]] * 3
    assert [doors.events(index) for index in range(3)] == [[Arrived(waiting)]] * 3


@pytest.mark.parametrize("by", range(3))
@pytest.mark.parametrize("admit", [True, False])
def test_any_member_may_answer(doors: Doors, by: int, admit: bool) -> None:
    """The sponsor hears who did; a name is found however it is written."""
    doors.events(1)

    doors[by].decide("LAPTOP", admit=admit, phase=EARLY)
    doors.carry()

    assert doors.events(1) == [Decided(WISH, admit, by)]


def test_who_is_let_in_waits_nowhere(doors: Doors) -> None:
    """Nobody hears of a refusal."""
    for index in range(3):
        doors.events(index)

    doors[1].candidate_gone(WISH)
    doors[1].candidate_gone(WISH)
    doors.carry()

    assert [list(door.waiting) for door in doors.doors] == [[]] * 3
    assert [doors.events(index) for index in range(3)] == [[]] * 3


def test_who_is_declined_waits_nowhere_and_the_others_hear_by_whom(doors: Doors) -> None:
    """The sponsor knows it already."""
    for index in range(3):
        doors.events(index)

    doors[1].candidate_gone(WISH, JoinOutcome.DECLINED, by=2)
    doors.carry()

    assert doors.events(0) == doors.events(2) == [Refused("Laptop", JoinOutcome.DECLINED, 2)]
    assert doors.events(1) == []


def test_of_two_of_one_name_the_one_that_waits_longest_is_meant(doors: Doors) -> None:
    """They cannot be told apart by it."""
    doors[1].candidate_waits(SECOND, "laptop", "", DIGITS, asks=True)
    doors.carry()
    doors.events(1)

    doors[0].decide("laptop", admit=True, phase=EARLY)
    doors.carry()

    assert doors.events(1) == [Decided(WISH, True, 0)]


def test_who_does_not_wait_for_an_answer_gets_none(doors: Doors) -> None:
    """The leader's commit lets it in; or nobody of that name is there."""
    doors[1].candidate_waits(SECOND, "Tablet", "", DIGITS, asks=False)
    doors.carry()

    for name in ("Tablet", "nobody"):
        with pytest.raises(CandidateUnknown):
            doors[0].decide(name, admit=True, phase=EARLY)
    doors.events(1)
    answer = wire.CandidateDecided(proposal=SECOND, admitted=False)
    doors[1].receive_message(0, answer, phase=EARLY, now=0)
    late = wire.CandidateDecided(proposal=b"?" * 16, admitted=False)
    doors[1].receive_message(0, late, phase=EARLY, now=0)
    assert doors.events(1) == []


@pytest.mark.parametrize("phase", set(Phase) - {EARLY})
def test_nobody_is_let_in_once_the_inventory_has_started(doors: Doors, phase: Phase) -> None:
    """By no member, and by no message of one."""
    doors.events(1)
    messages: list[AdmissionMessage] = [
        wire.CandidateDecided(proposal=WISH, admitted=True),
        wire.JoiningReopened(),
    ]

    with pytest.raises(WrongPhase):
        doors[0].decide("Laptop", admit=True, phase=phase)
    with pytest.raises(WrongPhase):
        doors[0].reopen(phase=phase)
    for message in messages:
        with pytest.raises(WrongPhase):
            doors[1].receive_message(0, message, phase=phase, now=0)
    assert doors.events(1) == []


def test_once_the_inventory_has_started_nobody_is_asked_any_more(doors: Doors) -> None:
    """The committer refuses who still waits; each sponsor sends its own on."""
    doors[1].candidate_waits(SECOND, "Tablet", "", DIGITS, asks=False)
    for index in range(3):
        doors.events(index)

    for door in doors.doors:
        door.activated()

    assert [doors.events(index) for index in range(3)] == [[], [Decided(WISH, True, 1)], []]


def test_one_member_cannot_fill_the_others_screens(doors: Doors) -> None:
    """It answers so many at once and no more; a repetition is none."""
    for number in range(MAX_JOINS):
        wish = bytes([number]) * 16
        message = wire.CandidateWaiting(
            proposal=wish, name="x", email="", digits=DIGITS, asks=False
        )
        doors[0].receive_message(2, message, phase=EARLY, now=0)
        doors[0].receive_message(2, message, phase=EARLY, now=0)

    one_more = wire.CandidateWaiting(
        proposal=b"!" * 16, name="x", email="", digits=DIGITS, asks=False
    )
    with pytest.raises(RemoteProtocolError):
        doors[0].receive_message(2, one_more, phase=EARLY, now=0)


def test_what_was_missed_while_there_was_no_link_is_repeated(doors: Doors) -> None:
    """Who waits, and that joining is paused; nothing of other sponsors."""
    tried(doors[1], now=0, total=100, closed=True)
    doors.carry()
    doors[0].link_down(1)
    assert list(doors[0].waiting) == []
    assert doors[0].pauses(now=0) == {}

    doors[1].link_up(0)
    doors[2].link_up(0)
    doors.carry()

    assert [each.name for each in doors[0].waiting] == ["Laptop"]
    assert doors[0].pauses(now=0) == {1: Pause(None)}


def test_somebody_who_must_wait_is_named_everywhere(doors: Doors) -> None:
    """And the first wrong try of a source is no news."""
    for index in range(3):
        doors.events(index)

    tried(doors[1], now=0, total=1)
    tried(doors[1], now=0, total=5, source="203.0.113.7", wrong=5)
    doors.carry()

    assert [doors.events(index) for index in range(3)] == [[SourceWaits("203.0.113.7", 5)]] * 3
    assert doors[0].pauses(now=0) == {}
    assert [door.wrong_tries for door in doors.doors] == [5, 5, 5]


def test_the_tries_at_all_members_are_added_up(doors: Doors) -> None:
    """Repeated on a new link, they are not counted twice, and are no news."""
    tried(doors[1], now=0, total=5, source="203.0.113.7", wrong=5)
    tried(doors[2], now=0, total=2)
    doors.carry()
    doors.events(0)
    doors[1].link_up(0)
    doors.carry()
    together = doors[0].wrong_tries
    doors[0].link_down(1)

    assert together == 7
    assert doors[0].wrong_tries == 2
    assert doors.events(0) == []


def test_a_pause_is_said_once_and_ends_by_itself(doors: Doors) -> None:
    """60 seconds, as the member that pauses counts them."""
    for index in range(3):
        doors.events(index)
    doors.now = 100.0

    tried(doors[1], now=100.0, total=30, pause=60)
    tried(doors[1], now=100.0, total=31, pause=59)
    doors.carry()

    assert [doors.events(index) for index in range(3)] == [[JoiningPaused(1, 60)]] * 3
    assert doors[0].pauses(now=158.9) == {1: Pause(159.0)}
    assert doors[0].pauses(now=159.0) == {}


@pytest.mark.parametrize("by", range(3))
def test_any_member_may_allow_joining_again_everywhere(doors: Doors, by: int) -> None:
    """Every member forgets the wrong tries it counted, and repeats no old word of them."""
    tried(doors[1], now=0, total=100, closed=True)
    doors.carry()
    for index in range(3):
        doors.events(index)

    doors[by].reopen(phase=EARLY)
    doors.carry()

    assert [doors.events(index) for index in range(3)] == [[JoiningReopened(by)]] * 3
    assert [door.pauses(now=0) for door in doors.doors] == [{}] * 3
    assert [door.wrong_tries for door in doors.doors] == [0, 0, 0]
    doors[1].link_up(0)
    repeated = [message for _, message in doors[1].messages_to_send()]
    assert not any(isinstance(message, wire.TriesReported) for message in repeated)
