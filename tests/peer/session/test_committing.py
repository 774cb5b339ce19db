"""What the committer does when members fall silent, die, come back, or are put out."""

import pytest

from peer.errors import RightMissing
from peer.session.committing import CHALLENGE_TIME
from peer.session.proposals import Act, Proposal
from peer.session.reports import JoinDenied, LinkStale, PasswordChanged, WasRemoved
from protocol.epochs import Reason
from protocol.errors import JoinOutcome
from protocol.limits import GRACE_TIME, MAX_BANNED, REFRESH_AFTER, UNREACHABLE_AFTER
from protocol.messages import session as wire
from protocol.roster import RosterEntry
from tests.harness.session_net import SessionNet, compare, session_of

LONG = GRACE_TIME + 30.0


def key_of(net: SessionNet, index: int) -> bytes:
    membership = net[index].membership
    key = membership.epoch_key(membership.epoch)
    assert key is not None
    return key.reveal()


def rosters(net: SessionNet) -> set[tuple[int, ...]]:
    return {member.membership.roster.indices for member in net.members.values()}


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_who_is_gone_for_the_grace_time_goes_in_preparation(dead: int) -> None:
    """The next in line commits it when the leader is the one, and leads."""
    net = session_of(3)
    net.die(dead)

    net.drive(GRACE_TIME - 1.0)
    assert rosters(net) == {(0, 1, 2)}
    net.drive(LONG)

    left = tuple(sorted({0, 1, 2} - {dead}))
    assert rosters(net) == {left}
    assert {member.membership.leader for member in net.members.values()} == {left[0]}
    assert net[left[0]].membership.commit.reason is Reason.ABSENT


def test_two_that_die_at_once_go_at_once() -> None:
    """Three of five are a majority."""
    net = session_of(5)
    net.die(0)
    net.die(3)

    net.drive(LONG)

    assert rosters(net) == {(1, 2, 4)}
    assert net[4].membership.leader == 1


def test_once_activated_the_rights_pass_and_the_places_stay() -> None:
    """A leader that comes back is an ordinary member until the restart."""
    net = session_of(3)
    compare(net)
    old = net.die(0)
    net.drive(LONG)
    assert rosters(net) == {(0, 1, 2)}
    assert [net[index].membership.leader for index in (1, 2)] == [1, 1]

    back = net.come_back(old, sponsor=2)
    net.drive(5.0)
    assert back.me == 0
    assert {member.membership.leader for member in net.members.values()} == {1}
    net.act(1, lambda lifecycle: lifecycle.restart())
    net.settle()

    assert {member.membership.leader for member in net.members.values()} == {0}
    assert net[0].membership.commit.acting_leader is None


def test_a_leader_back_within_its_grace_time_leads_on() -> None:
    """The next in line lets it in, and takes nothing from it."""
    net = session_of(3)
    compare(net)
    old = net.die(0)
    net.drive(UNREACHABLE_AFTER)

    net.come_back(old, sponsor=1)

    assert {member.membership.leader for member in net.members.values()} == {0}
    assert net[1].membership.commit.committer == 1


def test_a_restart_gives_up_the_places_of_the_gone() -> None:
    """Letters close up."""
    net = session_of(3)
    compare(net)
    net.leave(0)
    net.settle()
    net.die(2)
    net.drive(LONG)
    assert net[1].membership.roster.indices == (0, 1, 2)

    net.act(1, lambda lifecycle: lifecycle.restart())
    net.settle()

    assert net[1].membership.roster.indices == (1,)  # type: ignore[comparison-overlap]


def test_a_member_returns_in_any_phase_to_its_place() -> None:
    """LOCKED is for strangers."""
    net = session_of(3)
    compare(net)
    old = net.die(1)

    back = net.come_back(old, sponsor=2)
    net.settle()

    assert back.me == 1
    assert key_of(net, 1) == key_of(net, 0)
    assert net[0].membership.commit.reason is Reason.RETURN
    assert net.broken == []


def test_a_process_that_still_answers_keeps_its_place() -> None:
    """Somebody with a copy of its key does not push it out."""
    net = session_of(3)

    net.propose(2, net[1].identity)
    net.drive(CHALLENGE_TIME + 1.0)

    assert [each.outcome for each in net[2].events(JoinDenied)] == [JoinOutcome.ALREADY_IN]
    assert net[0].membership.epoch == 3


def test_a_process_that_does_not_answer_loses_its_links() -> None:
    """A link may outlive the process at its other end."""
    net = session_of(3)
    net.drop = lambda sender, receiver, message: sender == 1
    net.links_new_members = False

    net.propose(2, net[1].identity)
    net.drive(CHALLENGE_TIME + 1.0)

    assert net[0].membership.commit.reason is Reason.RETURN
    assert net[0].events(LinkStale) == [LinkStale(1)]
    assert net[2].events(LinkStale) == [LinkStale(1)]


def test_a_removal_brings_a_key_and_a_password_the_removed_one_does_not_get() -> None:
    """And its node key is banned at everybody."""
    net = session_of(3)
    removed = net[1]
    before = key_of(net, 1)

    net[0].membership.remove(1, now=net.now)
    net.drain(net[0])
    net.settle()

    assert rosters(net) >= {(0, 2)}
    assert removed.events(WasRemoved) == [WasRemoved()]
    assert removed.events(PasswordChanged) == []
    assert net[0].events(PasswordChanged) == net[2].events(PasswordChanged) != []
    assert key_of(net, 0) == key_of(net, 2) != before
    del net.members[1]
    net.propose(2, removed.identity)
    net.settle()
    assert [each.outcome for each in net[2].events(JoinDenied)] == [JoinOutcome.REMOVED]


def test_only_the_leader_removes_and_rotates_and_never_itself() -> None:
    """The error names who may."""
    net = session_of(2)

    with pytest.raises(RightMissing):
        net[1].membership.remove(0, now=net.now)
    with pytest.raises(RightMissing):
        net[1].membership.rotate(now=net.now)
    with pytest.raises(RightMissing):
        net[0].membership.remove(0, now=net.now)
    with pytest.raises(RightMissing):
        net[0].membership.remove(7, now=net.now)
    assert net[0].membership.epoch == 2


def test_the_leader_changes_the_password() -> None:
    """All who stay learn it with the next key."""
    net = session_of(3)

    net[0].membership.rotate(now=net.now)
    net.drain(net[0])
    net.settle()

    told = [member.events(PasswordChanged) for member in net.members.values()]
    assert told[0] == told[1] == told[2] != []
    assert net[2].membership.commit.reason is Reason.ROTATE


def test_keys_are_renewed_after_a_day() -> None:
    """Not when nobody else is there."""
    net = session_of(2)
    epoch = net[0].membership.epoch

    net.drive(REFRESH_AFTER + 1.0)

    assert net[1].membership.commit.reason is Reason.REFRESH
    assert net[1].membership.epoch == epoch + 1


def losing_the_word(net: SessionNet, kind: type) -> None:
    net.drop = lambda sender, receiver, message: isinstance(message, kind)


def test_what_a_dead_leader_put_in_force_is_found_and_put_in_force() -> None:
    """One of the others has heard its word; the successor asks all."""
    net = session_of(4)
    net.drop = lambda sender, receiver, message: (
        isinstance(message, wire.CommitActivated) and receiver != 3
    )
    net[0].membership.rotate(now=net.now)
    net.drain(net[0])
    net.settle()
    assert [net[index].membership.epoch for index in range(4)] == [5, 4, 4, 5]
    net.drop = lambda sender, receiver, message: False
    net.die(0)
    net.unlink(1, 3)
    net.link(1, 3)

    net.drive(LONG)

    assert rosters(net) == {(1, 2, 3)}
    assert len({key_of(net, index) for index in (1, 2, 3)}) == 1


def test_what_everybody_here_has_acknowledged_is_put_in_force() -> None:
    """The leader alone may have done so; two ways from here must not begin."""
    net = session_of(3)
    losing_the_word(net, wire.CommitActivated)
    net[0].membership.rotate(now=net.now)
    net.drain(net[0])
    net.settle()
    net.drop = lambda sender, receiver, message: False
    net.die(0)

    net.drive(LONG)

    assert rosters(net) == {(1, 2)}
    assert net[1].membership.epoch == 5
    assert net[1].events(PasswordChanged) == net[2].events(PasswordChanged) != []


def test_a_committer_with_too_few_denies_and_waits() -> None:
    """A candidate hears so at once; what is to be done is done when the others are back."""
    net = session_of(4)
    net.divide({0}, {1, 2, 3})
    net.drive(UNREACHABLE_AFTER + 1.0)

    net.propose(0)
    net[0].membership.rotate(now=net.now)
    net.drain(net[0])
    net.drive(20.0)
    assert [each.outcome for each in net[0].events(JoinDenied)] == [JoinOutcome.MEMBERS_UNREACHABLE]
    assert net[0].membership.epoch == 4
    for other in (1, 2, 3):
        net.link(0, other)
    net.settle()

    assert net[0].membership.commit.reason is Reason.ROTATE


def test_an_offer_lost_with_its_link_is_made_again_on_the_next() -> None:
    """Sealed for that one."""
    net = session_of(3)
    net.drop = lambda sender, receiver, message: (
        isinstance(message, wire.CommitOffered) and receiver == 2
    )
    net[0].membership.rotate(now=net.now)
    net.drain(net[0])
    net.settle()
    net.drop = lambda sender, receiver, message: False

    net.unlink(0, 2)
    net.link(0, 2)
    net.settle()

    assert net[2].membership.commit.reason is Reason.ROTATE


def test_a_sponsor_that_knows_better_denies_who_is_here() -> None:
    """Its own key, or one whose link has just answered."""
    net = session_of(2)
    one = net[0].membership
    for number, (key, linked) in enumerate(
        [(net[0].identity.node_key, False), (net[1].identity.node_key, True)]
    ):
        one.propose_join(bytes([number]) * 16, key, "m", "", now=0.0, still_linked=linked)
    net.drain(net[0])

    assert [each.outcome for each in net[0].events(JoinDenied)] == [JoinOutcome.ALREADY_IN] * 2


def test_what_its_committer_denies_itself_is_denied_by_the_same_rules() -> None:
    """A sponsor may not know who is banned, or who has lost its place."""
    net = session_of(3)
    key = net[1].identity.node_key
    leader = net[0].membership
    asked = wire.JoinProposed(proposal=b"p" * 16, node_key=key, name="m", email="")
    leader.banned[key] = None
    net.tell(2, 0, asked)
    net.settle()
    assert [each.outcome for each in net[2].events(JoinDenied)] == []

    assert leader._objection(
        Proposal(Act.RETURN, b"q" * 16, 2, RosterEntry(1, b"n" * 32, "m"))
    ) is (JoinOutcome.MEMBERS_UNREACHABLE)
    assert leader._objection(Proposal(Act.JOIN, b"q" * 16, 2, RosterEntry(9, key, "m"))) is (
        JoinOutcome.REMOVED
    )


def test_so_many_bans_are_remembered() -> None:
    """The oldest goes first."""
    net = session_of(2)
    net[0].membership.banned |= {bytes([number]) * 32: None for number in range(MAX_BANNED)}

    net[0].membership.remove(1, now=net.now)
    net.drain(net[0])
    net.settle()

    assert len(net[0].membership.banned) == MAX_BANNED
    assert net[1].identity.node_key in net[0].membership.banned


def test_a_successor_breaks_off_when_the_leader_is_here_again() -> None:
    """It has the better right."""
    net = session_of(3)
    net.divide({0}, {1, 2})
    net.drop = lambda sender, receiver, message: isinstance(message, wire.CommitAcknowledged)
    net.drive(GRACE_TIME + 5.0)
    assert net[1].membership._attempt is not None
    net.drop = lambda sender, receiver, message: False

    net.link(0, 1)
    net.link(0, 2)
    net.settle()
    net.drive(30.0)

    assert net[1].membership._attempt is None
    assert {member.membership.leader for member in net.members.values()} == {0}  # type: ignore[unreachable]
    assert net.broken == []
