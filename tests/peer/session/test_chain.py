"""Who counts, and how many are enough."""

from peer.session.membership import Membership
from peer.session.reports import EpochActivated, ForkSeen
from protocol.epochs import Reason
from protocol.limits import GRACE_TIME
from tests.harness.session_net import session_of


def test_half_is_enough_with_the_leader_and_not_without() -> None:
    """Of two sides only one goes on."""
    net = session_of(4)
    net.divide({0, 1}, {2, 3})

    net.drive(GRACE_TIME + 30.0)

    assert net[0].membership.roster.indices == net[1].membership.roster.indices == (0, 1)
    assert net[2].membership.roster.indices == (0, 1, 2, 3)


def test_who_said_that_it_leaves_does_not_count() -> None:
    """Two of the three that are left are enough."""
    net = session_of(5)
    net.leave(3)
    net.leave(4)
    net.settle()
    net.die(0)

    net.drive(GRACE_TIME + 30.0)

    assert net[1].membership.roster.indices == (1, 2)


def test_a_session_whose_every_process_died_is_recovered() -> None:
    """Chained to the newest commit; every place is kept; half is not enough."""
    net = session_of(2)
    newest, identity = net[0].membership.commit, net[0].identity

    again = Membership.recover(identity, newest, random_bytes=net.random_bytes)

    assert again.commit.reason is Reason.RECOVER
    assert again.commit.epoch == newest.epoch + 1
    assert again.roster.present == (0,)
    assert again.roster.indices == (0, 1)
    assert again.may_return
    again.handle_timer(now=0.0)
    again.handle_timer(now=2 * GRACE_TIME)
    assert again.frozen


def test_another_way_at_the_same_epoch_is_said_once() -> None:
    """Nobody merges two sessions silently."""
    net = session_of(3)
    one = net[0].membership
    other = session_of(2, seed=9)[0].membership.commit

    one.link_refused(1, one.epoch, now=0.0)
    one.link_refused(1, 99, now=0.0)
    one.link_refused(9, one.epoch, now=0.0)
    one.link_refused(1, one.epoch, now=GRACE_TIME)
    one.link_refused(1, one.epoch, now=GRACE_TIME)
    assert one.is_fork(other)

    assert net[0].events(EpochActivated) != []
    events = []
    while (event := one.next_event()) is not None:
        events.append(event)
    assert events == [ForkSeen(3), ForkSeen(2)]
    assert not one.is_fork(one.commit)
