import pytest

from peer.session.runs import CROSSING_TIME, MAX_AHEAD, Runs
from protocol.errors import RemoteProtocolError


def test_a_run_nobody_cancelled_begins() -> None:
    """The number is what late messages are told apart by."""
    runs = Runs()

    assert runs.begin(1)
    assert runs.number == 1


def test_a_run_cancelled_before_it_was_heard_of_does_not_begin() -> None:
    """Nor does one before it: runs follow one another."""
    runs = Runs()
    runs.void(3)

    assert [runs.begin(number) for number in (2, 3, 4)] == [False, False, True]


def test_the_latest_cancellation_counts() -> None:
    """They may come in any order."""
    runs = Runs()
    runs.void(3)
    runs.void(2)

    assert not runs.begin(3)


def test_nobody_cancels_runs_far_ahead() -> None:
    """One member must not void all inventories to come."""
    runs = Runs()
    runs.begin(5)
    runs.void(5 + MAX_AHEAD)

    with pytest.raises(RemoteProtocolError):
        runs.void(6 + MAX_AHEAD)


def test_a_cancellation_may_cross_for_a_moment() -> None:
    """While the inventory runs, and shortly into the comparison."""
    runs = Runs()
    runs.begin(1)
    assert runs.may_cross(now=1000.0)

    runs.compared(now=1000.0)

    assert runs.may_cross(now=1000.0 + CROSSING_TIME)
    assert not runs.may_cross(now=1000.1 + CROSSING_TIME)


def test_the_next_run_may_be_cancelled_again() -> None:
    """The moment belongs to its run."""
    runs = Runs()
    runs.begin(1)
    runs.compared(now=0.0)

    runs.begin(2)

    assert runs.may_cross(now=1000.0)
