"""What members accept of a committer, and of others."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from peer.session.membership import Membership
from peer.session.proposals import Act, Proposal
from peer.session.reports import SideBehind
from protocol import epochs
from protocol.credentials import Secret
from protocol.epochs import Reason, commit_hash
from protocol.errors import RemoteProtocolError
from protocol.limits import GRACE_TIME
from protocol.messages import session as wire
from protocol.messages.base import Message
from tests.harness.session_net import SessionNet, session_of


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


def commit_of(net: SessionNet, reason: Reason, **options: Any) -> wire.CommitOffered:
    """An offer of the leader to member 2."""
    current = net[0].membership.commit
    key = Secret(b"k" * 32)
    returned = options.pop("returned", None)
    fields = {"roster": current.roster} | options
    commit = epochs.successor(current, net[0].identity, reason=reason, session_key=key, **fields)
    wrap = epochs.wrap_key(net[2].membership._links[0], commit, key)
    return wire.CommitOffered(commit=commit.encode(), wrap=wrap, returned=returned)


@pytest.mark.parametrize(
    ("reason", "returned", "complaint"),
    [
        (Reason.RECOVER, None, "recovery"),
        (Reason.TAKE_OVER, None, "could go on"),
        (Reason.RETURN, None, "who returns"),
        (Reason.RETURN, 7, "who returns"),
        (Reason.REFRESH, 1, "who returns"),
    ],
)
def test_what_cannot_be_here_is_refused(
    reason: Reason, returned: int | None, complaint: str
) -> None:
    """Nobody recovers what is alive, or takes over what can go on."""
    net = session_of(3)

    with pytest.raises(RemoteProtocolError, match=complaint):
        net.tell(0, 2, commit_of(net, reason, returned=returned))

    assert net[2].membership.epoch_key(4) is None


def test_an_offer_made_again_is_acknowledged_again_and_one_before_it_is_not() -> None:
    """Only the latest may be in force: its committer learns which number comes next."""
    net = session_of(3)
    heard: list[Message] = []
    net.drop = lambda sender, receiver, message: sender == 2 and not heard.append(message)  # type: ignore[func-returns-value]
    late, early = (commit_of(net, Reason.REFRESH, attempt=number) for number in (5, 4))

    for offer in (late, late, early):
        net.tell(0, 2, offer)

    assert [type(message) for message in heard] == [
        wire.CommitAcknowledged,
        wire.CommitAcknowledged,
        wire.EpochStated,
    ]
    assert heard[2].attempt == 6  # type: ignore[attr-defined]


def test_a_committer_whose_number_is_taken_takes_the_next() -> None:
    """Somebody has acknowledged another commit under it."""
    net = session_of(3)
    net.drop = lambda sender, receiver, message: isinstance(message, wire.CommitAcknowledged)
    net.tell(0, 2, commit_of(net, Reason.REFRESH, attempt=5))
    net.drop = lambda sender, receiver, message: False

    net[0].membership.rotate(now=net.now)
    net.drain(net[0])
    net.settle()

    assert net[2].membership.commit.reason is Reason.ROTATE
    assert net[2].membership.commit.attempt == 6


def test_a_commit_that_follows_the_pending_one_says_that_it_is_in_force() -> None:
    """The word of it was lost."""
    net = session_of(3)
    net.drop = lambda sender, receiver, message: (
        isinstance(message, wire.CommitActivated) and receiver == 2
    )
    net[0].membership.rotate(now=net.now)
    net.drain(net[0])
    net.settle()
    assert net[2].membership.epoch == 3
    net.drop = lambda sender, receiver, message: False

    net[0].membership.rotate(now=net.now)
    net.drain(net[0])
    net.settle()

    assert net[2].membership.epoch == 5


def test_who_comes_back_acknowledges_nothing_before_it_knows_what_was_before() -> None:
    """What it promised must be on the way of the side it came to."""
    net = session_of(3)
    leader = net[0].membership
    key = leader.epoch_key(leader.epoch)
    assert key is not None
    back = replace(leader.commit, reason=Reason.RETURN, prev=b"p" * 32)
    asked = wire.EpochStated(
        epoch=3, active=commit_hash(back), history=[commit_hash(back), b"p" * 32, b"q" * 32]
    )
    net.leave(1)
    net.settle()
    stranger = net[0].membership.commit

    one = Membership(net[2].identity, back, key, random_bytes=net.random_bytes, known=stranger)
    one.link_up(0, key, now=0.0)
    assert wire.EpochAsked() in [message for _, message in one.messages_to_send()]
    one.receive_message(0, asked, now=0.0)
    events = [one.next_event() for _ in range(9)]
    assert SideBehind() in events

    known = replace(back, epoch=1)
    two = Membership(net[2].identity, back, key, random_bytes=net.random_bytes, known=known)
    two.receive_message(0, msgspec.structs.replace(asked, history=[b"z" * 32]), now=0.0)
    assert two._unproven is not None
    told = [commit_hash(back), b"p" * 32, commit_hash(known)]
    two.receive_message(0, msgspec.structs.replace(asked, history=told), now=0.0)
    assert two._unproven is None
    assert two._statement().history == told  # type: ignore[unreachable]

    three = Membership(
        net[2].identity,
        replace(back, prev=commit_hash(known)),
        key,
        random_bytes=net.random_bytes,
        known=known,
    )
    assert three._unproven is None, "the commit itself says so"
