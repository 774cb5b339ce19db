import pytest

from protocol.address import from_sockaddr
from protocol.idle import Wish, keys_of, open_answer, seal_question
from protocol.messages.rendezvous import KeepAlive
from rendezvous.resting import MAX_HELD, SILENT_INTERVALS, WAKE_DELAYS, Lost, Resting

HANDLE, OTHER = b"h" * 8, b"o" * 8
KEYS = keys_of(b"e" * 32)
HERE, THERE = from_sockaddr(("192.0.2.1", 1)), from_sockaddr(("192.0.2.2", 2))
INTERVAL = 10.0


@pytest.fixture
def resting() -> Resting:
    """One member that rests, as connection 5."""
    resting = Resting(INTERVAL, most=2)
    resting.rest(5, HANDLE, KEYS, HERE, now=0.0)
    return resting


def ask(
    resting: Resting,
    counter: int,
    wish: Wish = Wish.NONE,
    *,
    now: float = 1.0,
    handle: bytes = HANDLE,
) -> int | Lost | None:
    data = seal_question(KEYS.member, handle, counter, wish)
    return resting.receive_datagram(handle, data, THERE, now=now)


def wishes(resting: Resting) -> list[Wish]:
    opened = [open_answer(KEYS.node, each.data, 0) for each in resting.datagrams_to_send()]
    return [each[1] for each in opened if each is not None]


def test_a_datagram_is_answered_with_the_address_it_came_from(resting: Resting) -> None:
    """To where it came from, so a member that moved is followed."""
    known = ask(resting, 1)

    (datagram,) = resting.datagrams_to_send()
    assert known == 5
    assert datagram.address == THERE
    assert open_answer(KEYS.node, datagram.data, 0) == (1, Wish.NONE, THERE)
    assert resting.datagrams_to_send() == []


def test_forged_and_repeated_datagrams_get_no_answer(resting: Resting) -> None:
    """Nobody is sent anything for what a stranger wrote."""
    ask(resting, 1)
    resting.datagrams_to_send()

    results = [
        ask(resting, 1),
        ask(resting, 1, handle=OTHER),
        resting.receive_datagram(HANDLE, bytes(34), HERE, now=1.0),
    ]

    assert results == [None] * 3
    assert (resting.forged, resting.datagrams_to_send()) == (3, [])


def test_a_silent_member_is_lost_after_three_intervals(resting: Resting) -> None:
    """Counted from its last datagram."""
    ask(resting, 1, now=7.0)
    due = 7.0 + SILENT_INTERVALS * INTERVAL

    early = resting.handle_timer(now=due - 0.1)
    timer = resting.get_timer()
    late = resting.handle_timer(now=due)

    assert (early, timer, late) == ([], due, [Lost(5, left=False)])
    assert (len(resting), resting.get_timer(), 5 in resting) == (0, None, False)


def test_a_member_that_leaves_is_forgotten_at_once(resting: Resting) -> None:
    """Its second goodbye is nobody's."""
    assert ask(resting, 1, Wish.LEAVE) == Lost(5, left=True)
    assert ask(resting, 2, Wish.LEAVE) is None


def test_who_is_woken_gets_what_was_held_when_it_comes_back(resting: Resting) -> None:
    """Woken again and again until then, with longer pauses."""
    for nonce in range(MAX_HELD + 2):
        resting.wake(5, KeepAlive(nonce=nonce), now=0.0)
    first = wishes(resting)
    timer = resting.get_timer()
    resting.handle_timer(now=WAKE_DELAYS[0])
    second = wishes(resting)
    ask(resting, 1)
    third = wishes(resting)

    resumed = resting.resume(HANDLE, KEYS.proof(b"new"), b"new")

    assert (first, second, third) == ([Wish.WAKE],) * 3
    assert timer == WAKE_DELAYS[0]
    assert resumed == (5, [KeepAlive(nonce=nonce) for nonce in range(MAX_HELD)])
    assert len(resting) == 0


def test_who_does_not_come_back_is_not_woken_for_ever(resting: Resting) -> None:
    """What was held is worth nothing then; the next thing wakes again."""
    resting.wake(5, KeepAlive(nonce=1), now=0.0)
    for moment in (0.5, 1.5, 3.5, 7.5):
        resting.handle_timer(now=moment)
    sent = wishes(resting)
    resting.wake(5, KeepAlive(nonce=2), now=20.0)

    assert sent == [Wish.WAKE] * len(WAKE_DELAYS)
    assert wishes(resting) == [Wish.WAKE]
    assert resting.resume(HANDLE, KEYS.proof(b"new"), b"new") == (5, [KeepAlive(nonce=2)])


def test_only_who_rested_can_come_back(resting: Resting) -> None:
    """The proof belongs to this member and this connection."""
    assert resting.resume(HANDLE, KEYS.proof(b"other"), b"new") is None
    assert resting.resume(OTHER, KEYS.proof(b"new"), b"new") is None
    assert 5 in resting


def test_all_are_told_that_the_node_stops(resting: Resting) -> None:
    """They look for another one before they would have noticed."""
    resting.stop()

    assert wishes(resting) == [Wish.LEAVE]


def test_a_member_may_change_its_mind(resting: Resting) -> None:
    """It gets what was held meanwhile."""
    resting.wake(5, KeepAlive(nonce=1), now=0.0)

    assert resting.cancel(5) == [KeepAlive(nonce=1)]
    assert 5 not in resting


def test_there_is_room_for_so_many(resting: Resting) -> None:
    """The node says when it is full."""
    before = resting.is_full
    resting.rest(6, OTHER, KEYS, HERE, now=0.0)

    assert (before, resting.is_full) == (False, True)
