from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from peer.session.epoch_keys import OLD_EPOCH_TIME
from peer.session.membership import Membership
from peer.session.offers import MAX_EARLY_OFFERS
from peer.session.proposals import MAX_PROPOSALS
from peer.session.reports import Departed, EpochActivated, JoinAdmitted, JoinDenied
from protocol import epochs
from protocol.credentials import Secret
from protocol.crypto import identity
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit, Reason, commit_hash
from protocol.errors import JoinOutcome, MalformedMessage, RemoteProtocolError, SealBroken
from protocol.ids import letter_of
from protocol.limits import ACK_TIMEOUT
from protocol.messages import session as wire
from protocol.messages.base import Message
from protocol.roster import Roster, RosterEntry
from tests.harness.session_net import Member, SessionNet, session_of

Drop = Callable[[int, int, Message], bool]


def key_of(member: Member, epoch: int | None = None) -> bytes | None:
    key = member.membership.epoch_key(epoch or member.membership.epoch)
    return None if key is None else key.reveal()


def letters(net: SessionNet) -> str:
    one = net[min(net.members)].membership
    return "".join(letter_of(index, one.roster.indices) for index in sorted(net.members))


def denials(net: SessionNet, sponsor: int) -> list[JoinOutcome]:
    return [event.outcome for event in net[sponsor].events(JoinDenied)]


def losing(kind: type[Message], receiver: int | None = None) -> Drop:
    return lambda sender, to, message: isinstance(message, kind) and receiver in {None, to}


def candidate(number: int = 99) -> NodeIdentity:
    return NodeIdentity(Secret(bytes([number]) * 32))


def assert_one_session(net: SessionNet, *, leader: int) -> None:
    """All hold one commit and one key, and take the same member for the leader."""
    commit = net[leader].membership.commit
    assert {member.membership.commit for member in net.members.values()} == {commit}
    assert len({key_of(member) for member in net.members.values()}) == 1
    assert commit.leader == leader
    assert set(commit.roster.present) == set(net.members)
    assert net.broken == []


# --- joining --------------------------------------------------------------------------


def test_a_session_begins_with_its_creator_alone() -> None:
    """Index 0 leads epoch 1, and its key is known to nobody else."""
    net = SessionNet()
    membership = net[0].membership

    assert (membership.me, membership.epoch, membership.leader) == (0, 1, 0)
    assert membership.roster.indices == (0,)
    assert set(membership.rosters()) == {1}
    assert membership.get_timer() is None
    assert not membership.locked


def test_five_join_over_the_leader_and_over_others() -> None:
    """Every join is an epoch with a new key that all inside hold."""
    net = SessionNet()
    keys = [key_of(net[0])]

    for sponsor in (0, 1, 1, 3):
        index = net.join(sponsor)
        assert_one_session(net, leader=0)
        (admitted,) = net[sponsor].events(JoinAdmitted)[-1:]
        assert admitted.commit.roster.indices[-1] == index
        keys.append(key_of(net[0]))

    assert letters(net) == "ABCDE"
    assert net[4].membership.epoch == 5
    assert len(set(keys)) == 5


def test_who_joins_does_not_get_the_keys_before() -> None:
    """What was said before is not for the new member."""
    net = SessionNet()
    net.join()

    assert key_of(net[0], 1) is not None
    assert key_of(net[1], 1) is None


@pytest.mark.parametrize("sponsor", [0, 2])
def test_a_sixth_is_refused(sponsor: int) -> None:
    """Whoever is asked."""
    net = session_of(5)

    net.propose(sponsor)
    net.settle()

    assert denials(net, sponsor) == [JoinOutcome.FULL]
    assert net[0].membership.epoch == 5


def test_no_index_is_given_twice_even_at_the_end() -> None:
    """After 256 admissions the session is full for good."""
    net = session_of(2)
    for member in net.members.values():
        member.membership.commit = replace(member.membership.commit, next_index=256)

    net.propose(0)

    assert denials(net, 0) == [JoinOutcome.FULL]


def test_a_node_key_is_in_once() -> None:
    """Its owner takes its old place by other means."""
    net = session_of(3)

    net.propose(1, net[2].identity)
    net.settle()

    assert denials(net, 1) == [JoinOutcome.ALREADY_IN]


@pytest.mark.parametrize("sponsor", [0, 1])
def test_nobody_joins_once_activated(sponsor: int) -> None:
    """The inventory has started."""
    net = session_of(2)
    for member in net.members.values():
        member.membership.locked = True

    net.propose(sponsor)
    net.settle()

    assert denials(net, sponsor) == [JoinOutcome.LOCKED]
    assert net[0].membership.epoch == 2


def test_two_joins_at_once_are_queued() -> None:
    """One commit at a time, each over its own sponsor."""
    net = session_of(3)

    first, second = net.propose(1), net.propose(2)
    net.settle()

    assert [event.proposal for event in net[1].events(JoinAdmitted)] == [first]
    assert [event.proposal for event in net[2].events(JoinAdmitted)] == [second]
    assert_one_session(net, leader=0)
    assert len(net.members) == 5


def test_the_joins_that_wait_are_bounded() -> None:
    """A sponsor that floods the committer is told to wait."""
    net = session_of(2)
    net.unlink(0, 1)

    for number in range(MAX_PROPOSALS + 2):
        net.propose(0, candidate(number + 100))

    assert denials(net, 0) == [JoinOutcome.THROTTLED]


def test_a_candidate_that_cannot_be_a_member_is_refused() -> None:
    """A name out of bounds is the sponsor's fault."""
    net = session_of(2)
    proposed = wire.JoinProposed(
        proposal=b"p" * 16, node_key=candidate().node_key, name="a\nb", email=""
    )

    with pytest.raises(RemoteProtocolError):
        net.tell(1, 0, proposed)


def test_a_proposal_to_who_does_not_commit_is_denied() -> None:
    """The sponsor may believe so, having heard before the other that the leader left."""
    net = session_of(3)
    sent = wire.JoinProposed(
        proposal=b"p" * 16, node_key=candidate().node_key, name="machine", email=""
    )

    net[1].membership.receive_message(2, sent, now=net.now)

    assert net[1].membership.messages_to_send() == [
        (2, wire.JoinRefused(proposal=b"p" * 16, outcome=int(JoinOutcome.MEMBERS_UNREACHABLE)))
    ]


def test_a_sponsor_without_a_link_to_the_committer_denies() -> None:
    """Nobody could admit the candidate."""
    net = session_of(3)
    net.unlink(0, 2)

    net.propose(2)

    assert denials(net, 2) == [JoinOutcome.MEMBERS_UNREACHABLE]


def test_a_sponsor_that_knows_of_nobody_who_commits_denies() -> None:
    """It has left itself, and so has everybody else."""
    net = session_of(2)
    membership = net[1].membership
    membership._gone = {0, 1}

    membership.propose_join(b"p" * 16, candidate().node_key, "machine", "", now=net.now)

    assert membership.next_event() == JoinDenied(b"p" * 16, JoinOutcome.MEMBERS_UNREACHABLE)


def test_only_who_was_asked_refuses_and_only_once() -> None:
    """An answer nobody waits for is no news; one of another member is a lie."""
    net = session_of(3)
    net.drop = losing(wire.JoinProposed)
    proposal = net.propose(2)
    refused = wire.JoinRefused(proposal=proposal, outcome=int(JoinOutcome.FULL))

    with pytest.raises(RemoteProtocolError):
        net.tell(1, 2, refused)
    net.tell(0, 2, refused)
    net.tell(0, 2, refused)

    assert denials(net, 2) == [JoinOutcome.FULL]


# --- missing members ------------------------------------------------------------------


def test_a_missing_link_refuses_the_join_in_time_and_leaves_the_session_usable() -> None:
    """Everybody must acknowledge; what was missing may be there for the next one."""
    net = session_of(3)
    net.unlink(0, 2)

    net.propose(0)
    net.drive(ACK_TIMEOUT - 0.1)
    assert denials(net, 0) == []
    net.drive(0.2)
    assert denials(net, 0) == [JoinOutcome.MEMBERS_UNREACHABLE]

    net.link(0, 2)
    net.join(1)
    assert_one_session(net, leader=0)


def test_a_link_that_comes_in_time_is_waited_for() -> None:
    """The commit is made when all links it needs are there."""
    net = session_of(3)
    net.unlink(0, 2)
    net.propose(0)
    net.drive(5.0)

    net.link(0, 2)
    net.settle()

    assert len(net[0].events(JoinAdmitted)) == 3
    assert_one_session(net, leader=0)


def test_a_lost_acknowledgement_aborts_and_the_next_attempt_works() -> None:
    """Everybody forgets the key that never came into force."""
    net = session_of(3)
    net.drop = losing(wire.CommitAcknowledged)
    net.propose(1)
    net.settle()
    assert set(net[1].membership.rosters()) == {3, 4}
    assert key_of(net[1], 4) is not None

    net.drive(ACK_TIMEOUT + 1)

    assert denials(net, 1) == [JoinOutcome.MEMBERS_UNREACHABLE]
    assert {member.membership.epoch for member in net.members.values()} == {3}
    assert all(key_of(member, 4) is None for member in net.members.values())
    net.drop = lambda sender, receiver, message: False
    net.join(1)
    assert_one_session(net, leader=0)


def test_an_acknowledgement_of_an_attempt_before_is_not_counted() -> None:
    """Late word about what was aborted changes nothing."""
    net = session_of(2)
    late: list[Message] = []

    def keep(sender: int, receiver: int, message: Message) -> bool:
        if isinstance(message, wire.CommitAcknowledged):
            late.append(message)
            return True
        return False

    net.drop = keep
    net.propose(0)
    net.drive(ACK_TIMEOUT + 1)
    net.tell(1, 0, late[0])
    net.propose(0)
    net.settle()
    net.tell(1, 0, late[0])

    assert net[0].membership.epoch == 2
    net.tell(1, 0, late[1])
    assert net[0].membership.epoch == 3


def test_a_forged_acknowledgement_is_a_broken_seal() -> None:
    """It takes the new key to make one."""
    net = session_of(2)
    net.drop = losing(wire.CommitAcknowledged)
    net.propose(0)
    net.settle()
    attempt = net[0].membership._attempt
    assert attempt is not None
    assert attempt.commit is not None
    forged = wire.CommitAcknowledged(commit_hash=commit_hash(attempt.commit), mac=b"m" * 32)

    with pytest.raises(SealBroken):
        net.tell(1, 0, forged)

    assert net[0].membership.epoch == 2


def test_word_that_an_epoch_is_in_force_is_repeated_on_a_new_link() -> None:
    """It may have been lost with the link before."""
    net = session_of(2)
    net.drop = losing(wire.CommitActivated, receiver=1)
    net.propose(1)
    net.settle()
    assert [net[index].membership.epoch for index in (0, 1)] == [3, 2]
    net.drop = lambda sender, receiver, message: False

    net.unlink(0, 1)
    assert denials(net, 1) == [], "it may have been admitted"
    net.link(0, 1)
    net.settle()

    assert net[1].membership.epoch == 3
    assert len(net[1].events(JoinAdmitted)) == 1
    assert_one_session(net, leader=0)


def test_a_candidate_is_denied_when_the_link_to_the_committer_breaks_before_an_offer() -> None:
    """Its sponsor cannot know, and it may try again."""
    net = session_of(3)
    net.drop = losing(wire.JoinProposed)
    net.propose(2)

    net.unlink(0, 2)

    assert denials(net, 2) == [JoinOutcome.MEMBERS_UNREACHABLE]


def test_a_commit_in_doubt_that_another_brings_into_force_denies_nobody() -> None:
    """A proposal this member has given up is not reported a second time."""
    net = session_of(2)
    net.drop = losing(wire.CommitActivated, receiver=1)
    net.propose(0)
    net.settle()
    net.drop = lambda sender, receiver, message: False

    net.unlink(0, 1)
    net.link(0, 1)
    net.settle()

    assert net[1].events(JoinAdmitted) == net[1].events(JoinDenied) == []
    assert_one_session(net, leader=0)


# --- leaving -------------------------------------------------------------------------------


@pytest.mark.parametrize("leaver", range(5))
def test_any_member_leaves_and_the_letters_close_up(leaver: int) -> None:
    """The others go on under a new key that it does not know."""
    net = session_of(5)

    net.leave(leaver)
    net.settle()

    remaining = min(net.members)
    assert_one_session(net, leader=remaining)
    assert net[remaining].membership._gone == set(), "it could come back"
    assert letters(net) == "ABCD"
    assert all(Departed(leaver) in member.events(Departed) for member in net.members.values())
    assert key_of(net.left[leaver], 6) is None
    assert key_of(net[remaining], 6) not in {None, key_of(net.left[leaver])}


def test_who_leaves_makes_room() -> None:
    """A new member gets a new index and the last letter."""
    net = session_of(5)
    net.leave(2)
    net.settle()

    assert net.join(4) == 5
    assert letters(net) == "ABCDE"
    assert_one_session(net, leader=0)


def test_all_but_one_leave_one_after_another() -> None:
    """The last one is alone in its session, under a key of its own."""
    net = session_of(4)

    for leaver in (0, 1, 2):
        net.leave(leaver)
        net.settle()

    assert_one_session(net, leader=3)
    assert letters(net) == "A"


@pytest.mark.parametrize("leavers", [(0, 1), (1, 0), (0, 2), (2, 3), (0, 1, 2)])
def test_members_leave_at_once(leavers: tuple[int, ...]) -> None:
    """Whoever comes to commit takes care of all who are gone."""
    net = session_of(5)

    for leaver in leavers:
        net.leave(leaver)
    net.settle()

    assert_one_session(net, leader=min(net.members))


def test_an_offer_that_overtakes_the_word_of_leaving_is_kept() -> None:
    """The next letter leads at once, before all have heard of it."""
    net = session_of(4)
    net.latencies[0, 3] = 1.0

    net.leave(0)
    net.drive(0.5)
    assert net[3].membership.epoch == 4
    net.settle()

    assert_one_session(net, leader=1)


def test_an_offer_that_was_aborted_before_it_could_be_taken_is_forgotten() -> None:
    """The member is counted as absent; it does not take the dead commit."""
    net = session_of(3)
    net.latencies[0, 2] = ACK_TIMEOUT + 5

    net.leave(0)
    net.drive(ACK_TIMEOUT + 1)
    assert net[1].membership.roster.present == (1,)
    net.settle()

    assert net[2].membership.epoch == 3
    assert net.broken == []


def test_a_leave_goes_on_without_who_does_not_answer() -> None:
    """Who left is gone whether all have heard of it or not; the others are not held up."""
    net = session_of(4)
    net.drop = lambda sender, receiver, message: 2 in {sender, receiver}

    net.leave(3)
    net.drive(ACK_TIMEOUT + 1)

    for index in (0, 1):
        membership = net[index].membership
        assert membership.roster.present == (0, 1)
        assert membership.roster.indices == (0, 1, 2)
        assert membership.epoch == 5


def test_a_leave_goes_on_without_who_has_no_link() -> None:
    """It is waited for in time, and then counted as absent."""
    net = session_of(4)
    net.unlink(0, 2)

    net.leave(3)
    net.drive(ACK_TIMEOUT / 2)
    assert net[0].membership.epoch == 4
    net.drive(ACK_TIMEOUT)

    assert net[0].membership.roster.present == net[1].membership.roster.present == (0, 1)


def test_members_that_fall_silent_one_after_another_all_count_as_absent() -> None:
    """Who did not answer the attempt before is not asked again."""
    net = session_of(5)
    silent = {1}
    net.drop = lambda sender, receiver, message: sender in silent

    net.leave(4)
    net.drive(0.02)
    silent.add(2)
    net.drive(3 * ACK_TIMEOUT)

    assert net[0].membership.roster.present == (0, 3), "half of four, and the leader"


def test_a_leader_that_nearly_nobody_answers_commits_nothing() -> None:
    """The others may be the greater part of the session."""
    net = session_of(4)
    net.drop = lambda sender, receiver, message: sender in {1, 2}

    net.leave(3)
    net.drive(10 * ACK_TIMEOUT)

    assert net[0].membership.epoch == 4
    assert net[0].membership.roster.present == (0, 1, 2, 3)


def test_the_leader_leaves_with_a_join_under_way() -> None:
    """The attempt is aborted, its sponsor denied, and the session goes on."""
    net = session_of(3)
    net.drop = losing(wire.CommitAcknowledged)
    net.propose(1)
    net.propose(2)
    net.settle()
    net.drop = lambda sender, receiver, message: False

    net.leave(0)
    net.settle()

    assert denials(net, 1) == denials(net, 2) == [JoinOutcome.MEMBERS_UNREACHABLE]
    assert_one_session(net, leader=1)


def test_a_leader_that_sponsors_denies_its_own_candidate_when_it_leaves() -> None:
    """Nothing is left without an answer; who left before it is not denied anything."""
    net = session_of(3)
    net.drop = losing(wire.CommitAcknowledged)
    net.leave(2)
    net.settle()
    net.propose(0)

    net.leave(0)
    net.settle()

    assert [event.outcome for event in net.left[0].events(JoinDenied)] == [
        JoinOutcome.MEMBERS_UNREACHABLE
    ]


def test_a_candidate_is_denied_when_the_leader_leaves_without_having_heard_of_it() -> None:
    """The proposal and the word of leaving crossed."""
    net = session_of(3)
    net.leave(0)

    net.propose(2)
    net.settle()

    assert denials(net, 2) == [JoinOutcome.MEMBERS_UNREACHABLE]
    assert_one_session(net, leader=1)


def test_a_join_ends_with_its_sponsor() -> None:
    """Nobody would tell the candidate that it is in."""
    net = session_of(3)
    net.drop = losing(wire.CommitAcknowledged)
    net.propose(2)
    net.propose(2)
    net.settle()
    net.drop = lambda sender, receiver, message: False

    net.leave(2)
    net.settle()

    assert_one_session(net, leader=0)
    assert len(net.members) == 2


def test_a_join_goes_on_when_somebody_else_leaves() -> None:
    """Who is gone is not waited for; the commit that drops it comes next."""
    net = session_of(4)
    net.drop = lambda sender, receiver, message: (
        sender == 3 and isinstance(message, wire.CommitAcknowledged)
    )
    net.propose(1)
    net.settle()

    net.leave(3)
    net.settle()

    assert_one_session(net, leader=0)
    assert sorted(net.members) == [0, 1, 2, 4]


def test_who_has_acknowledged_may_leave_without_ending_the_attempt() -> None:
    """Another one's answer is still missing."""
    net = session_of(4)
    net.drop = lambda sender, receiver, message: (
        sender == 2 and isinstance(message, wire.CommitAcknowledged)
    )
    net.propose(1)
    net.settle()

    net.leave(3)
    net.settle()
    assert net[0].membership.epoch == 4
    net.drop = lambda sender, receiver, message: False
    net.drive(3 * ACK_TIMEOUT)

    assert denials(net, 1) == [JoinOutcome.MEMBERS_UNREACHABLE]
    assert_one_session(net, leader=0)


def test_a_new_member_follows_the_successor_of_a_leader_it_never_saw() -> None:
    """The leader left while it came in; nobody waits for word of who has no link to it."""
    net = session_of(2)
    net.links_new_members = False
    net.propose(1)
    net.settle()
    net.link(1, 2)

    net.leave(0)
    net.settle()

    assert_one_session(net, leader=1)


def test_a_member_refuses_a_successor_while_it_sees_the_leader() -> None:
    """The offer waits; with the link to the leader the doubt ends."""
    net = session_of(3)
    commit, offer = offered(net, by=1, to=2, reason=Reason.LEAVE, roster=roster_of(net, 1, 2))

    net.tell(1, 2, offer)
    assert net[2].membership.epoch == 3
    assert set(net[2].membership.rosters()) == {3}
    net.unlink(0, 2)

    assert set(net[2].membership.rosters()) == {3, 4}
    assert commit.leader == 1


def test_a_leave_is_heard_once() -> None:
    """And of somebody who is there."""
    net = session_of(3)
    net.drop = losing(wire.CommitOffered)

    for sender in (2, 2, 9):
        net.tell(sender, 1, wire.Leaving())

    assert net[1].events(Departed) == [Departed(2)]


def test_places_stay_when_activated() -> None:
    """Letters are on people's screens and in plans: nobody moves up."""
    net = session_of(4)
    for member in net.members.values():
        member.membership.locked = True

    net.leave(1)
    net.leave(0)
    net.settle()

    roster = net[2].membership.roster
    assert roster.indices == (0, 1, 2, 3)
    assert roster.present == (2, 3)
    assert letters(net) == "CD"
    assert_one_session(net, leader=2)


# --- activation -------------------------------------------------------------------------------


def test_the_inventorys_start_breaks_off_a_join() -> None:
    """Who came in now would not know; what waits behind it goes on."""
    net = session_of(4)
    net.drop = losing(wire.CommitAcknowledged)
    net.propose(1)
    net.settle()
    net.leave(3)
    net.drop = lambda sender, receiver, message: False
    net.drive(0.001)

    net[0].membership.locked = True
    net.drain(net[0])
    net.settle()

    assert denials(net, 1) == [JoinOutcome.LOCKED]
    assert net[0].membership.roster.present == (0, 1, 2)


def test_what_waits_behind_a_join_broken_off_is_due_at_once() -> None:
    """Nobody waits for the next message."""
    net = session_of(3)
    net.drop = losing(wire.CommitAcknowledged)
    net.propose(0)
    net.tell(2, 0, wire.Leaving())
    membership = net[0].membership
    timer = membership.get_timer()
    assert timer is not None
    assert timer > net.now

    membership.locked = True

    assert membership.get_timer() == 0.0
    assert membership.messages_to_send() != []


def test_locking_leaves_a_leave_under_way_alone() -> None:
    """It is a matter of any phase."""
    net = session_of(3)
    net.drop = losing(wire.CommitAcknowledged)
    net.leave(2)
    net.settle()
    attempt = net[0].membership._attempt

    net[0].membership.locked = True
    net[0].membership.locked = False

    assert net[0].membership._attempt is attempt is not None


# --- keys ---------------------------------------------------------------------------------------


def test_the_old_key_is_forgotten_after_half_a_minute() -> None:
    """Transfers finish on it and then it is gone everywhere."""
    net = session_of(2)
    net.leave(1)
    net.settle()
    began = net.now

    net.drive(OLD_EPOCH_TIME - 1)
    assert key_of(net[0], 2) is not None
    net.drive(2.0)

    assert key_of(net[0], 2) is None
    assert key_of(net[0], 3) is not None
    assert net[0].membership.get_timer() is None
    assert net.now > began


def test_a_timer_without_a_deadline_is_harmless() -> None:
    """The owner may call it whenever it likes."""
    net = session_of(2)
    net.drive(OLD_EPOCH_TIME + 1)

    net[0].membership.handle_timer(now=net.now)

    assert net[0].membership.messages_to_send() == []


# --- commits that are not right ------------------------------------------------------------


def roster_of(net: SessionNet, *indices: int) -> Roster:
    """The members of these indices, as they are in the roster or new."""
    known = net[0].membership.roster
    return Roster(
        tuple(
            known.entry(index) or RosterEntry(index, candidate(index).node_key, "machine")
            for index in indices
        )
    )


def offered(
    net: SessionNet,
    *,
    by: int,
    to: int,
    reason: Reason = Reason.JOIN,
    roster: Roster | None = None,
    signer: NodeIdentity | None = None,
    wrapped: Secret | None = None,
    **changes: Any,
) -> tuple[Commit, wire.CommitOffered]:
    """A commit of member *by* and its offer, right or with *changes* signed into it."""
    key = Secret(b"e" * 32)
    commit = epochs.successor(
        net[by].membership.commit,
        net[by].identity,
        reason=reason,
        roster=roster or roster_of(net, *net[0].membership.roster.indices, 3),
        session_key=key,
    )
    altered = replace(commit, **changes)
    signature = (signer or net[by].identity).sign(identity.COMMIT, altered.body())
    commit = replace(altered, signature=signature)
    wrap = epochs.wrap_key(net[by].membership._links[to], commit, wrapped or key)
    return commit, wire.CommitOffered(commit=commit.encode(), wrap=wrap)


def assert_unmoved(membership: Membership, epoch: int) -> None:
    assert membership.epoch == epoch
    assert set(membership.rosters()) == {epoch}
    assert membership.epoch_key(epoch + 1) is None
    assert membership.messages_to_send() == []


def test_a_right_offer_is_acknowledged() -> None:
    """What the following tests break is otherwise right."""
    net = session_of(3)
    commit, offer = offered(net, by=0, to=2)

    net[2].membership.receive_message(0, offer, now=net.now)

    ((receiver, message),) = net[2].membership.messages_to_send()
    assert receiver == 0
    assert isinstance(message, wire.CommitAcknowledged)
    assert message.commit_hash == commit_hash(commit)


@pytest.mark.parametrize(
    "changes",
    [
        {"prev": b"x" * 32},
        {"epoch": 9},
        {"reason": Reason.ROTATE},
        {"reason": Reason.GENESIS},
        {"next_index": 7},
        {"acting_leader": 2},
        {"committer": 1},
    ],
)
def test_a_commit_that_breaks_a_rule_of_the_chain_changes_nothing(
    changes: dict[str, Any],
) -> None:
    """Signed and sealed as it may be."""
    net = session_of(3)
    _, offer = offered(net, by=0, to=2, **changes)

    with pytest.raises(RemoteProtocolError):
        net[2].membership.receive_message(0, offer, now=net.now)

    assert_unmoved(net[2].membership, 3)


def test_a_commit_another_has_signed_is_a_broken_seal() -> None:
    """A member that is not the committer cannot forge it."""
    net = session_of(3)
    _, offer = offered(net, by=0, to=2, signer=net[1].identity)

    with pytest.raises(SealBroken):
        net[2].membership.receive_message(0, offer, now=net.now)

    assert_unmoved(net[2].membership, 3)


def test_another_key_than_promised_is_a_broken_seal() -> None:
    """A committer cannot split the session by sending two keys."""
    net = session_of(3)
    _, offer = offered(net, by=0, to=2, wrapped=Secret(b"z" * 32))

    with pytest.raises(SealBroken):
        net[2].membership.receive_message(0, offer, now=net.now)

    assert_unmoved(net[2].membership, 3)


def test_a_wrap_for_another_link_is_a_broken_seal() -> None:
    """It is sealed for one member."""
    net = session_of(3)
    _, offer = offered(net, by=0, to=1)

    with pytest.raises(SealBroken):
        net[2].membership.receive_message(0, offer, now=net.now)

    assert_unmoved(net[2].membership, 3)


def test_bytes_that_are_no_commit_are_malformed() -> None:
    """They are bounded by the message and decoded within bounds."""
    net = session_of(2)

    with pytest.raises(MalformedMessage):
        net.tell(0, 1, wire.CommitOffered(commit=b"x", wrap=b""))


def test_a_commit_over_no_link_is_refused() -> None:
    """There is no key to open it with."""
    net = session_of(3)
    _, offer = offered(net, by=0, to=2)
    net.unlink(0, 2)

    with pytest.raises(RemoteProtocolError):
        net[2].membership.receive_message(0, offer, now=net.now)


def test_a_join_waits_where_the_inventory_is_not_yet_called_off() -> None:
    """The leader's word of it may come later; until then nobody new is agreed to."""
    net = session_of(3)
    _, offer = offered(net, by=0, to=2)
    one = net[2].membership
    one.locked = True

    one.receive_message(0, offer, now=net.now)
    assert one.messages_to_send() == []
    one.locked = False

    assert [type(message) for _, message in one.messages_to_send()] == [wire.CommitAcknowledged]


def test_commits_of_who_does_not_commit_are_kept_in_bounds_and_dropped_when_wrong() -> None:
    """Too many are refused; when the leader leaves, the wrong ones count for nothing."""
    net = session_of(3)
    for attempt in range(MAX_EARLY_OFFERS):
        _, offer = offered(net, by=1, to=2, attempt=attempt, prev=b"x" * 32)
        net.tell(1, 2, offer)
    with pytest.raises(RemoteProtocolError):
        net.tell(1, 2, offer)
    assert_unmoved(net[2].membership, 3)

    net.leave(0)
    net.settle()

    assert_one_session(net, leader=1)


def test_word_about_a_commit_nobody_offered_is_no_news() -> None:
    """Nothing comes into force that was not acknowledged."""
    net = session_of(3)

    net.tell(0, 1, wire.CommitActivated(commit_hash=b"h" * 32))
    net.tell(0, 1, wire.CommitAborted(commit_hash=b"h" * 32))

    assert_unmoved(net[1].membership, 3)


@pytest.mark.parametrize("word", [wire.CommitActivated, wire.CommitAborted])
def test_only_its_committer_decides_about_a_commit(word: type) -> None:
    """Another member neither activates nor aborts it."""
    net = session_of(3)
    commit, offer = offered(net, by=0, to=2)
    net[2].membership.receive_message(0, offer, now=net.now)
    message = word(commit_hash=commit_hash(commit))

    net[2].membership.receive_message(1, message, now=net.now)

    assert set(net[2].membership.rosters()) == {3, 4}


def test_the_word_of_a_committer_that_left_does_not_count_any_more() -> None:
    """Its commit is dropped with it, and its key."""
    net = session_of(3)
    commit, offer = offered(net, by=0, to=2)
    membership = net[2].membership
    membership.receive_message(0, offer, now=net.now)

    membership.receive_message(0, wire.Leaving(), now=net.now)

    assert membership.epoch_key(4) is None
    done = wire.CommitActivated(commit_hash=commit_hash(commit))
    membership.receive_message(0, done, now=net.now)
    assert membership.epoch == 3


def test_a_message_for_another_machine_is_refused() -> None:
    """The owner hands each to the core it concerns."""
    net = session_of(2)

    with pytest.raises(RemoteProtocolError):
        net[1].membership.receive_message(0, wire.InventoryCancelled(run=1), now=net.now)


def test_an_epoch_is_reported_to_everybody_once() -> None:
    """Owners switch keys and rosters by it."""
    net = session_of(3)

    counted = [len(net[index].events(EpochActivated)) for index in range(3)]

    assert counted == [2, 1, 0], "who joins begins in the epoch that admits it"
