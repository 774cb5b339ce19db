"""What members with valid keys, former ones and new ones cannot do, named after the threats."""

from dataclasses import replace

import pytest

from peer.errors import RightMissing
from peer.session.reports import PasswordChanged
from protocol import epochs
from protocol.channel import ControlChannel
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit, Reason, commit_hash
from protocol.errors import JoinOutcome, RemoteProtocolError, SealBroken
from protocol.messages import session as wire
from protocol.messages.base import Message
from tests.harness.session_net import DIGEST, SessionNet, compare, order, session_of

LINK = Secret(b"l" * 32)


def key_of(net: SessionNet, index: int, epoch: int | None = None) -> Secret:
    membership = net[index].membership
    key = membership.epoch_key(epoch or membership.epoch)
    assert key is not None
    return key


def sealed(epoch: int, key: Secret, message: Message) -> bytes:
    """A record that member 0 sends member 2 under an epoch's key."""
    return ControlChannel(me=0, peer=2, link_key=LINK, epoch=epoch, epoch_keys=lambda _: key).seal(
        message
    )


def opened(epoch: int, key: Secret, data: bytes, link: Secret = LINK) -> list[Message]:
    channel = ControlChannel(me=2, peer=0, link_key=link, epoch=epoch, epoch_keys=lambda _: key)
    return list(channel.receive(data))


def test_t12_a_former_member_opens_neither_the_next_key_nor_what_is_said_under_it() -> None:
    """It holds every key up to its removal, every link key of its own, and the whole capture."""
    net = session_of(3)
    captured: list[wire.CommitOffered] = []

    def capture(sender: int, receiver: int, message: Message) -> bool:  # who does not matter
        if isinstance(message, wire.CommitOffered):
            captured.append(message)
        return False

    net.drop = capture
    former = net[1]
    known, links = key_of(net, 1), list(former.membership._links.values())

    net[0].membership.remove(1, now=net.now)
    net.drain(net[0])
    net.settle()

    (offer,) = captured
    commit = Commit.decode(offer.commit)
    for key in [known, *links]:
        with pytest.raises(SealBroken):
            epochs.unwrap_key(key, commit, offer.wrap)
    said = sealed(commit.epoch, key_of(net, 0), wire.EpochAsked())
    with pytest.raises(SealBroken):
        opened(commit.epoch, known, said)
    assert former.membership.epoch_key(commit.epoch) is None
    assert former.events(PasswordChanged) == []
    assert former.identity.node_key in net[2].membership.banned


def test_t13_a_new_member_reads_nothing_of_before() -> None:
    """The next key is independent of the one before, which it never gets."""
    net = session_of(2)
    before, epoch = key_of(net, 0), net[0].membership.epoch
    said = sealed(epoch, before, wire.EpochAsked())

    joined = net.join()

    assert net[joined].membership.epoch_key(epoch) is None
    with pytest.raises(SealBroken):
        opened(epoch, key_of(net, joined), said)
    assert opened(epoch, before, said) == [wire.EpochAsked()], "the capture is a good one"


def test_t14_a_member_between_two_others_reads_nothing_of_theirs() -> None:
    """It knows the epoch's key, and not the key of their link."""
    net = session_of(3)
    epoch, key = net[1].membership.epoch, key_of(net, 1)
    said = sealed(epoch, key, wire.EpochAsked())

    for link in [Secret(b"m" * 32), *net[1].membership._links.values()]:
        with pytest.raises(SealBroken):
            opened(epoch, key, said, link)


def test_t20_members_told_different_things_do_not_begin() -> None:
    """What is signed covers the steps; another member's digest is refused."""
    net = session_of(3)
    compare(net)
    net.answers = lambda member, ordered: member.lifecycle.accept_sync(
        ordered.sync, DIGEST if member.me == 1 else b"x" * 32
    )

    order(net)
    net.settle()

    assert [type(error) for _, _, error in net.broken] == [SealBroken]
    assert all(
        not member.lifecycle.start or not member.lifecycle.start.begun
        for member in net.members.values()
    )


def test_t29_a_leader_cannot_give_two_keys_under_one_commit() -> None:
    """Whoever gets the other key sees that it is not the one that was promised."""
    net = session_of(3)
    leader = net[0]
    good, other = Secret(b"g" * 32), Secret(b"o" * 32)
    commit = epochs.successor(
        leader.membership.commit,
        leader.identity,
        reason=Reason.REFRESH,
        roster=leader.membership.roster,
        session_key=good,
    )
    wrap = epochs.wrap_key(net[2].membership._links[0], commit, other)

    with pytest.raises(SealBroken):
        net.tell(0, 2, wire.CommitOffered(commit=commit.encode(), wrap=wrap))

    assert net[2].membership.epoch == 3
    assert net[2].membership.epoch_key(4) is None


def forged(net: SessionNet, signer: NodeIdentity, **changes: object) -> Commit:
    """A commit of member 1 that the rules do not give it."""
    current = net[1].membership.commit
    commit = epochs.successor(
        current,
        net[1].identity,
        reason=Reason.REFRESH,
        roster=current.roster,
        session_key=Secret(b"k" * 32),
        acting_leader=1,
    )
    commit = replace(commit, **changes)  # type: ignore[arg-type]
    return epochs._signed(commit, signer)


@pytest.mark.parametrize("reason", [Reason.REFRESH, Reason.ABSENT, Reason.REMOVE, Reason.LEAVE])
def test_t29_a_member_does_not_make_itself_the_leader(reason: Reason) -> None:
    """While the others see the one who leads."""
    net = session_of(3)
    commit = forged(net, net[1].identity, reason=reason)
    wrap = epochs.wrap_key(net[2].membership._links[1], commit, Secret(b"k" * 32))

    net.tell(1, 2, wire.CommitOffered(commit=commit.encode(), wrap=wrap))
    net.tell(1, 2, wire.CommitActivated(commit_hash=commit_hash(commit)))

    assert net[2].membership.leader == 0
    assert net[2].membership.epoch == 3


def test_t29_nobody_signs_for_another_node_key() -> None:
    """Not even to a member that sees nobody else."""
    net = session_of(3)
    net.unlink(0, 2)
    commit = forged(net, net[2].identity, reason=Reason.LEAVE)
    wrap = epochs.wrap_key(net[2].membership._links[1], commit, Secret(b"k" * 32))

    with pytest.raises(SealBroken):
        net[2].membership.receive_message(
            1, wire.CommitOffered(commit=commit.encode(), wrap=wrap), now=net.now
        )


@pytest.mark.parametrize(
    "message",
    [
        wire.Removed(epoch=99),
        wire.MembersStated(epoch=3, unreachable=[0], left=[0], frozen=True),
    ],
)
def test_t29_what_only_the_leader_says_counts_from_nobody_else(message: Message) -> None:
    """A removal, a statement of who is there."""
    net = session_of(3)

    with pytest.raises(RemoteProtocolError):
        net.tell(1, 2, message)

    assert not net[2].membership.ended
    assert net[2].membership.unreachable == frozenset()


@pytest.mark.parametrize("kind", ["without", "pause"])
def test_t29_orders_of_the_lifecycle_count_from_the_leader_alone(kind: str) -> None:
    """With a fresh mark of its own, or with one that claims to be the leader's."""
    net = session_of(3)
    compare(net)
    for claimed in (0, 1):
        mark = wire.Order(epoch=3, leader=claimed, sequence=2**40)
        message: Message = (
            wire.ContinuedWithout(order=mark, missing=0)
            if kind == "without"
            else wire.Paused(order=mark, paused=True)
        )
        with pytest.raises(RightMissing):
            net.tell(1, 2, message)

    assert net[2].lifecycle.without == set()
    assert not net[2].lifecycle.paused


def test_t29_an_old_leaders_command_is_not_taken_twice() -> None:
    """Its number is known."""
    net = session_of(3)
    compare(net)
    mark = wire.Order(epoch=3, leader=0, sequence=2**40)
    message = wire.ContinuedWithout(order=mark, missing=1)
    net.tell(0, 2, message)

    with pytest.raises(RemoteProtocolError):
        net.tell(0, 2, message)


def test_a_banned_node_key_is_denied_by_whoever_is_asked() -> None:
    """After a valid proof; a new member knows of it from the leader."""
    net = session_of(3)
    removed = net[1]
    net[0].membership.remove(1, now=net.now)
    net.drain(net[0])
    net.settle()
    net.members.pop(1)
    newcomer = net.join()

    net.propose(newcomer, removed.identity)
    net.settle()

    assert [
        each.outcome for each in net[newcomer].membership_events if hasattr(each, "outcome")
    ] == [JoinOutcome.REMOVED]
