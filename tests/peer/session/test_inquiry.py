from peer.session.inquiry import Doubt, Inquiry, latest_doubt, seen
from protocol.messages.session import EpochStated

ACTIVE, LATEST, OTHER = b"a" * 32, b"l" * 32, b"o" * 32


def states(
    pending: bytes | None = None, awaited: tuple[int, ...] = (), attempt: int = 0
) -> EpochStated:
    return EpochStated(
        epoch=3, active=ACTIVE, pending=pending, awaited=list(awaited), attempt=attempt, sees=[7]
    )


def test_it_is_over_when_all_who_can_have_answered_or_the_time_is() -> None:
    """Who has lost its link cannot answer any more."""
    inquiry = Inquiry(frozenset({1, 2}), deadline=10.0)
    assert not inquiry.is_over({1, 2}, now=0.0)
    inquiry.answers[1] = states()

    assert not inquiry.is_over({1, 2}, now=0.0)
    assert inquiry.is_over({1}, now=0.0)
    assert inquiry.is_over({1, 2}, now=10.0)


def test_what_the_others_see_is_put_together() -> None:
    """A path over another member is a path."""
    assert seen({1: states(), 2: states()}) == {7}
    assert seen({}) == frozenset()


def test_without_a_pending_commit_nothing_is_in_doubt() -> None:
    """Nobody has acknowledged anything."""
    assert latest_doubt({1: states(), 2: states()}) is None
    assert latest_doubt({1: states(LATEST)}) is None, "a statement that says nothing"


def test_what_all_who_had_to_have_acknowledged_may_be_in_force() -> None:
    """Its committer may have seen their answers, and so may who is out of reach."""
    answers = {1: states(LATEST, (0, 1, 2, 3), 1), 2: states(LATEST, (0, 1, 2, 3), 1)}

    assert latest_doubt(answers) == Doubt(LATEST, frozenset({1, 2}))


def test_what_somebody_had_to_acknowledge_and_has_not_is_not_in_force() -> None:
    """The next attempt may take its place."""
    assert latest_doubt({1: states(LATEST, (0, 1, 2), 1), 2: states()}) is None


def test_a_committer_that_is_here_speaks_for_itself() -> None:
    """It would have said so."""
    assert latest_doubt({0: states(), 1: states(LATEST, (0, 1), 1)}) is None


def test_only_the_latest_can_be_in_force() -> None:
    """Whoever acknowledged it has given up the one before."""
    answers = {1: states(OTHER, (5, 1, 2), 1), 2: states(LATEST, (0, 2), 2)}

    assert latest_doubt(answers) == Doubt(LATEST, frozenset({2}))
