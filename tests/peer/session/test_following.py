"""What members accept of a committer, and of others."""

import pytest

from peer.session.proposals import Act, Proposal
from protocol.errors import RemoteProtocolError
from protocol.limits import GRACE_TIME
from tests.harness.session_net import session_of


def test_nobody_follows_a_successor_while_it_sees_the_leader() -> None:
    """The majority goes on; who still sees the leader stays with it, and comes back later."""
    net = session_of(5)
    net.divide({0}, {1, 2, 3})

    net.drive(2 * GRACE_TIME)

    assert net[1].membership.leader == 0, "somebody sees it: there is a path"
    net.unlink(0, 4)
    net.drive(2 * GRACE_TIME)
    assert {net[index].membership.leader for index in (1, 2, 3, 4)} == {1}


def test_too_few_do_not_put_anybody_out() -> None:
    """However they call it."""
    net = session_of(4)
    net.divide({0, 1}, {2, 3})
    net.drive(11.0)
    rogue = net[2].membership
    rogue._committer = lambda returner=None: 2  # type: ignore[method-assign]
    rogue._may_commit = lambda proposal, absent=(): True  # type: ignore[method-assign]
    rogue._must_ask = lambda: False  # type: ignore[method-assign]

    rogue._proposals.add(Proposal(Act.SETTLE))
    rogue.handle_timer(now=net.now)
    net.drain(net[2])
    net.settle()

    assert net[3].membership.epoch == 4
    assert [str(error) for _, _, error in net.broken] == ["too few for this commit"]
    with pytest.raises(RemoteProtocolError):
        raise net.broken[0][2]
