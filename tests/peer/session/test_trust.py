"""Wrong tries are counted, delayed and paused."""

import pytest

from peer.session.trust import (
    FREE_TRIES,
    LONGEST_WAIT,
    MAX_SOURCES,
    PAUSE,
    TOTAL_TRIES,
    WINDOW,
    WINDOW_TRIES,
    OwnTries,
    Throttle,
)
from protocol.errors import JoinFailed, JoinOutcome

HOME, OTHER = b"home", b"othr"


def refusal(throttle: Throttle, source: bytes, now: float) -> JoinFailed:
    with pytest.raises(JoinFailed) as caught:
        throttle.check(source, now=now)
    return caught.value


def test_the_sixth_try_of_a_source_must_wait_and_says_how_long() -> None:
    """T10: five are free, then E05 with the remaining time; another source goes on."""
    throttle = Throttle()
    for _ in range(FREE_TRIES):
        throttle.check(HOME, now=0.0)
        throttle.charge(HOME, now=0.0)

    refused = refusal(throttle, HOME, 1.0)

    assert (refused.outcome, refused.retry_after) == (JoinOutcome.THROTTLED, 30)
    assert throttle.tries_left(HOME) == 0
    throttle.check(OTHER, now=1.0)
    throttle.check(HOME, now=30.0)


def test_each_further_wrong_try_doubles_the_wait_up_to_a_quarter_of_an_hour() -> None:
    """A guesser slows down; nobody is locked out for ever."""
    throttle, now, waits = Throttle(), 0.0, []
    for number in range(FREE_TRIES + 6):
        throttle.charge(HOME, now=now)
        if number >= FREE_TRIES - 1:
            waits.append(refusal(throttle, HOME, now).retry_after - 1)
            now += LONGEST_WAIT

    assert waits == [30, 60, 120, 240, 480, 900, 900]


def test_a_right_password_takes_the_charge_back_and_forgives_its_source() -> None:
    """A typo of the day before does not make the next one wait."""
    throttle = Throttle()
    for _ in range(FREE_TRIES):
        throttle.charge(HOME, now=0.0)

    throttle.undo(HOME)

    throttle.check(HOME, now=0.0)
    assert throttle.tries_left(HOME) == FREE_TRIES


def test_many_wrong_tries_of_all_sources_pause_joining_for_a_minute() -> None:
    """Thirty in ten minutes, whoever they are."""
    throttle = Throttle()
    for number in range(WINDOW_TRIES):
        throttle.charge(bytes([number]), now=0.0)

    refused = refusal(throttle, OTHER, 0.0)

    assert (refused.outcome, refused.retry_after) == (JoinOutcome.PAUSED, int(PAUSE) + 1)
    throttle.check(OTHER, now=PAUSE)


def test_slow_wrong_tries_do_not_pause_joining() -> None:
    """What is older than the window does not count."""
    throttle = Throttle()
    for number in range(WINDOW_TRIES + 5):
        throttle.charge(bytes([number]), now=number * WINDOW / 10)

    throttle.check(OTHER, now=WINDOW * 4)


def test_a_hundred_wrong_tries_pause_joining_until_a_member_reopens_it() -> None:
    """T10: at most a hundred guesses without a person noticing."""
    throttle = Throttle()
    for number in range(TOTAL_TRIES):
        throttle.charge(number.to_bytes(2, "big"), now=number * WINDOW)

    assert refusal(throttle, OTHER, 1e9).outcome is JoinOutcome.PAUSED
    assert throttle.is_paused

    throttle.reopen()
    throttle.check(OTHER, now=1e9)


def test_what_everybody_is_told_of_wrong_tries() -> None:
    """How many in all, how often a source was wrong, how long joining pauses."""
    throttle = Throttle()
    for number in range(WINDOW_TRIES):
        throttle.charge(HOME if number % 2 else OTHER, now=0.0)

    assert throttle.total == WINDOW_TRIES
    assert throttle.wrong(HOME) == WINDOW_TRIES // 2
    assert throttle.wrong(b"nobd") == 0
    assert throttle.pause(now=0.5) == PAUSE
    assert throttle.pause(now=PAUSE) == 0


def test_undoing_what_was_forgotten_is_harmless_and_memory_is_bounded() -> None:
    """Sources come and go; the table does not grow."""
    throttle = Throttle()
    for number in range(MAX_SOURCES + 10):
        throttle.charge(number.to_bytes(2, "big"), now=number * WINDOW)
        throttle.undo(number.to_bytes(2, "big"))
        throttle.charge(number.to_bytes(2, "big"), now=number * WINDOW)
        throttle.reopen() if number % 50 == 0 else None
    throttle.reopen()
    throttle.charge(HOME, now=0.0)
    throttle.reopen()
    throttle.undo(HOME)

    throttle.check(HOME, now=0.0)


def test_the_longest_unseen_source_is_forgotten_first() -> None:
    """An attacker with a /32 of addresses does not fill the memory."""
    throttle = Throttle()
    for number in range(MAX_SOURCES + 1):
        throttle.charge(number.to_bytes(2, "big"), now=0.0)

    assert throttle.tries_left((0).to_bytes(2, "big")) == FREE_TRIES
    assert throttle.tries_left((1).to_bytes(2, "big")) == FREE_TRIES - 1


def test_after_five_wrong_passwords_of_its_own_a_peer_waits_by_itself() -> None:
    """Counted per session; a right password clears it; memory is bounded."""
    tries = OwnTries()
    for _ in range(FREE_TRIES):
        tries.check("ONE", now=0.0)
        tries.wrong("ONE", now=0.0)

    with pytest.raises(JoinFailed) as caught:
        tries.check("ONE", now=10.0)

    assert (caught.value.outcome, caught.value.retry_after) == (JoinOutcome.THROTTLED, 21)
    tries.check("TWO", now=10.0)
    tries.check("ONE", now=30.0)
    tries.clear("ONE")
    tries.check("ONE", now=10.0)
    for number in range(MAX_SOURCES + 1):
        for _ in range(FREE_TRIES):
            tries.wrong(str(number), now=0.0)
    tries.check("0", now=0.0)
