import pytest

from peer.session.proposals import MAX_PROPOSALS, Act, Proposal, Proposals, Sponsored
from protocol.errors import RemoteProtocolError


def join(name: int, sponsor: int = 0) -> Proposal:
    return Proposal(Act.JOIN, bytes([name]) * 16, sponsor)


def leave(index: int) -> Proposal:
    return Proposal(Act.LEAVE, leaver=index)


def taken(proposals: Proposals) -> list[Proposal]:
    """Everything that waits, in order."""
    found = []
    while (first := proposals.find(lambda each: True)) is not None:
        proposals.take(first)
        found.append(first)
    return found


def queue(*waiting: Proposal) -> Proposals:
    proposals = Proposals()
    for each in waiting:
        proposals.add(each)
    return proposals


def test_proposals_wait_in_order() -> None:
    """First come, first served."""
    proposals = queue(join(1), leave(2), join(3))

    assert taken(proposals) == [join(1), leave(2), join(3)]


def test_the_joins_that_wait_are_bounded() -> None:
    """Leaves always find room: there are no more of them than members."""
    proposals = queue(*[join(number) for number in range(MAX_PROPOSALS - 1)], leave(1))
    assert not proposals.is_full

    proposals.add(join(99))

    assert proposals.is_full


def test_joins_are_taken_out_all_or_those_of_one_sponsor() -> None:
    """What is left keeps its order."""
    proposals = queue(join(1), join(2, sponsor=3), leave(3), join(4))

    assert proposals.take_joins(sponsor=3) == [join(2, sponsor=3)]
    assert proposals.take_joins() == [join(1), join(4)]
    assert taken(proposals) == [leave(3)]


def test_a_leave_is_done_once_its_member_is_no_longer_there() -> None:
    """Whoever committed it."""
    proposals = queue(leave(1), join(2), leave(3))

    proposals.keep_leaves_of({0, 3})

    assert taken(proposals) == [join(2), leave(3)]


def test_an_answer_counts_once_and_from_who_was_asked() -> None:
    """Nobody else decides about a candidate."""
    sponsored = Sponsored()
    sponsored.add(b"p", 0)

    with pytest.raises(RemoteProtocolError):
        sponsored.answer(b"p", 1)
    assert sponsored.answer(b"p", 0)
    assert not sponsored.answer(b"p", 0)
    assert not sponsored.answer(None, 0)


def test_what_somebody_will_not_answer_any_more_is_given_up_but_for_the_one_in_doubt() -> None:
    """A commit that this member acknowledged may be in force."""
    sponsored = Sponsored()
    for proposal, committer in [(b"p", 0), (b"q", 0), (b"r", 1)]:
        sponsored.add(proposal, committer)

    assert sponsored.give_up(0, in_doubt=b"q") == [b"p"]
    assert sponsored.answer(b"q", 0)
    assert sponsored.answer(b"r", 1)
    assert not sponsored.answer(b"p", 0)
