"""What members are told of the others' presence."""

import pytest

from peer.errors import RightMissing
from peer.session.errors import SideTooLarge
from peer.session.reports import Frozen, MemberBack, MemberLost, Thawed
from protocol.epochs import Reason
from protocol.errors import RemoteProtocolError
from protocol.limits import GRACE_TIME, UNREACHABLE_AFTER
from protocol.messages import session as wire
from tests.harness.session_net import compare, session_of


def test_all_show_as_unreachable_who_the_leader_does_not_reach() -> None:
    """After ten seconds, and until it is back."""
    net = session_of(3)
    compare(net)
    net.divide({0}, {2})

    net.drive(UNREACHABLE_AFTER - 1.0)
    assert net[1].membership.unreachable == frozenset()
    net.drive(2.0)
    assert [net[index].membership.unreachable for index in (0, 1)] == [{2}, {2}]
    net.link(0, 2)
    net.settle()

    assert [net[index].membership.unreachable for index in (0, 1)] == [set(), set()]
    assert net[1].events(MemberLost) == [MemberLost(2)]
    assert net[1].events(MemberBack) == [MemberBack(2)]


def test_who_comes_later_is_told_who_is_missing() -> None:
    """With the first word of the leader."""
    net = session_of(3)
    net.die(2)
    net.drive(UNREACHABLE_AFTER + 1.0)

    net.join()

    assert net[3].membership.unreachable == {2}


def test_the_smaller_side_freezes_and_thaws() -> None:
    """It shows so, commits nothing, and goes on when the others are back in time."""
    net = session_of(4)
    compare(net)
    net.divide({0, 1}, {2, 3})

    net.drive(GRACE_TIME + 30.0)
    assert [net[index].membership.frozen for index in range(4)] == [False, False, True, True]
    assert net[2].membership.epoch == net[0].membership.epoch
    assert net[2].membership.may_return
    for left, right in ((0, 2), (0, 3), (1, 2), (1, 3)):
        net.link(left, right)
    net.settle()

    assert not net[2].membership.frozen
    assert net[2].events(Frozen) == [Frozen()]
    assert net[2].events(Thawed) == [Thawed()]


def test_a_frozen_side_goes_on_when_a_person_says_so() -> None:
    """The first of it leads; the places of the others are gone; the two never merge."""
    net = session_of(4)
    net.divide({0, 1}, {2, 3})
    with pytest.raises(SideTooLarge):
        net[2].membership.take_over(now=net.now)
    net.drive(GRACE_TIME + 30.0)
    with pytest.raises(RightMissing):
        net[3].membership.take_over(now=net.now)

    net[2].membership.take_over(now=net.now)
    net.drain(net[2])
    net.settle()

    for index in (2, 3):
        membership = net[index].membership
        assert membership.roster.indices == (2, 3)
        assert membership.leader == 2
        assert membership.commit.reason is Reason.TAKE_OVER
        assert membership.took_over
        assert not membership.frozen
        assert not membership.may_return


def test_only_the_leader_states_who_is_there() -> None:
    """Word of another epoch has crossed a commit."""
    net = session_of(3)
    now = wire.MembersStated(epoch=net[0].membership.epoch, unreachable=[2])

    with pytest.raises(RemoteProtocolError):
        net.tell(2, 1, now)
    net.tell(2, 1, wire.MembersStated(epoch=1, unreachable=[2]))

    assert net[1].membership.unreachable == frozenset()
