import itertools

import pytest

from peer.session.phases import Phase
from peer.session.reports import DecisionsReplaced, PhaseChanged, SyncOrdered, SyncStopped
from peer.session.standing import ABORTED, Standing
from peer.session.start import Start
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.errors import LocalProtocolError
from protocol.messages import session as wire
from tests.harness.session_net import Member, SessionNet, compare, order, session_of, source

SYNC = b"s" * 16


def drained(standing: Standing) -> list[object]:
    events: list[object] = []
    while (event := standing.next_event()) is not None:
        events.append(event)
    return events


def fresh() -> Standing:
    return Standing(0, identity=NodeIdentity(Secret(b"n" * 32)))


def comparing(count: int = 2) -> SessionNet:
    net = session_of(count)
    compare(net)
    return net


def kinds(standing: Standing) -> list[type]:
    return [type(message) for _, message in standing.messages_to_send()]


def test_a_member_begins_alone_in_preparation() -> None:
    """It leads itself until it is told of a roster."""
    standing = fresh()

    assert (standing.me, standing.leader, standing.epoch) == (0, 0, 1)
    assert standing.phase is Phase.PREPARATION
    assert (standing.run, standing.decisions, standing.start) == (0, (0, b""), None)
    assert standing.messages_to_send() == []
    assert standing.next_event() is None


def test_what_is_to_be_sent_is_returned_once_and_in_order() -> None:
    """To one member, or to all."""
    standing = fresh()
    standing._broadcast(wire.Leaving())
    standing._send(2, wire.InventoryCancelled(run=1))

    assert standing.messages_to_send() == [
        (None, wire.Leaving()),
        (2, wire.InventoryCancelled(run=1)),
    ]
    assert standing.messages_to_send() == []


def test_an_illegal_move_leaves_the_phase_alone() -> None:
    """The table is asked, whoever calls."""
    standing = fresh()

    with pytest.raises(LocalProtocolError):
        standing._drop_run(0)

    assert standing.phase is Phase.PREPARATION
    assert drained(standing) == []


def test_a_run_cancelled_before_it_was_heard_of_only_counts() -> None:
    """Nobody begins it."""
    standing = fresh()
    standing._runs.void(1)

    standing._begin_run(1, {0: 0})

    assert (standing.phase, standing.run) == (Phase.PREPARATION, 1)
    assert drained(standing) == []


def test_a_run_begins_and_ends_with_everybodys_activity() -> None:
    """Progress of the run before is not shown."""
    standing = fresh()
    record = standing.members[0]
    record.progress = wire.Progress(files=3)

    standing._begin_run(1, {0: 0})
    assert (record.activity, record.progress) == (wire.Activity.IDENTIFYING, wire.Progress())
    standing._drop_run(0)

    assert record.activity is wire.Activity.INVENTORY_CANCELLED
    assert standing.phase is Phase.PREPARATION


def test_what_belongs_to_the_comparison_is_held_until_then_the_latest_of_a_kind() -> None:
    """In the order in which it was last said."""
    standing = fresh()
    standing._begin_run(1, {0: 0})
    drained(standing)

    for revision in (1, 2):
        standing._tell(DecisionsReplaced(revision, b""))

    assert drained(standing) == []
    assert list(standing._held.values()) == [DecisionsReplaced(2, b"")]
    standing._drop_run(0)
    assert standing._held == {}
    drained(standing)
    standing._tell(DecisionsReplaced(3, b""))
    assert drained(standing) == [DecisionsReplaced(3, b"")]


def test_what_is_under_way_is_stopped_once() -> None:
    """It ends when all have ended; what has not begun is over at once."""
    standing = fresh()
    start = Start(0, SYNC, b"d" * 32, frozenset({0}), {0})
    standing.start = start
    start.begun = True

    standing._call_off(0)
    assert standing.start is start, "only what has not begun is called off"
    standing._stop(start, "first", 0)
    standing._stop(start, "second", 1)

    assert drained(standing) == [SyncStopped(SYNC, "first", 0)]


def test_what_has_not_begun_is_called_off_for_good() -> None:
    """Whoever was told of it hears that it is over; who was not hears nothing."""
    standing = fresh()
    standing.start = Start(0, SYNC, b"d" * 32, frozenset({0}), {0})
    standing._call_off(1)
    assert drained(standing) == [SyncStopped(SYNC, ABORTED, 1)]
    standing._call_off(1)
    assert drained(standing) == []

    standing._begin_run(1, {0: 0})
    drained(standing)
    standing.start = Start(0, SYNC, b"d" * 32, frozenset({0}), {0})
    ordered = SyncOrdered(SYNC, revision=1, reference_time_ns=1, steps=1, steps_digest=b"d" * 32)
    standing._tell(ordered)
    standing._call_off(1)

    assert drained(standing) == []
    assert standing._held == {}


def test_who_has_ended_before_the_beginning_was_heard_stays_ended() -> None:
    """The others are shown at work."""
    net = comparing()
    net.answers = lambda member, ordered: None
    order(net, SYNC)
    standing = net[0].lifecycle
    standing.members[1].activity = wire.Activity.SYNC_DONE

    standing._begin_sync()

    assert standing.members[0].activity is wire.Activity.SYNCHRONISING
    assert standing.members[1].activity is wire.Activity.SYNC_DONE


def late_sources(net: SessionNet, sender: int) -> Member:
    """Member 0, which heard of new sources after the inventory had started."""
    changed = wire.SourcesChanged(revision=9, sources=[source("late")])
    net[0].lifecycle._late_sources[sender] = changed
    return net[0]


def test_sources_that_came_late_count_from_the_next_preparation_on() -> None:
    """Their owner had changed them in Preparation."""
    member = late_sources(comparing(), 1)

    member.lifecycle._clear(0)

    assert member.lifecycle.members[1].revision == 9
    assert member.lifecycle._late_sources == {}


def test_late_sources_of_who_is_gone_are_forgotten() -> None:
    """They are nobody's any more."""
    member = late_sources(comparing(), 7)

    member.lifecycle._clear(0)

    assert sorted(member.lifecycle.members) == [0, 1]
    assert member.lifecycle._late_sources == {}


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (Phase.PREPARATION, []),
        (Phase.INVENTORY, [wire.InventoryStarted]),
        (Phase.COMPARISON, [wire.DecisionsChanged]),
        (Phase.SYNCHRONISATION, []),
        (Phase.FINISHED, []),
    ],
)
def test_a_leader_repeats_what_the_phase_calls_for(phase: Phase, expected: list[type]) -> None:
    """Settings always; the rest as far as who missed it can take it."""
    net = session_of(2)
    standing = net[0].lifecycle
    standing.phase = phase

    standing._repeat_decided(1)

    assert kinds(standing) == [wire.SettingsChanged, *expected]


def test_a_leader_in_preparation_repeats_that_the_last_run_is_over() -> None:
    """Somebody may still be taking its inventory."""
    net = session_of(2)
    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.act(0, lambda lifecycle: lifecycle.cancel_inventory())

    net[0].lifecycle._repeat_decided(None)

    assert kinds(net[0].lifecycle) == [wire.SettingsChanged, wire.InventoryCancelled]


def test_decisions_are_not_repeated_while_a_start_waits_for_answers() -> None:
    """They would call it off."""
    net = comparing()
    net.answers = lambda member, ordered: None
    order(net, SYNC)

    net[0].lifecycle._repeat_decided(1)

    assert kinds(net[0].lifecycle) == [wire.SettingsChanged]


def test_the_leader_may_stand_one_phase_ahead_of_who_waits_for_the_last_hash() -> None:
    """In all others both stand in the same."""
    standing = fresh()
    seen = {}
    for phase in Phase:
        standing.phase = phase
        seen[phase] = standing._phase_of_leader()

    assert seen == {**{phase: phase for phase in Phase}, Phase.INVENTORY: Phase.COMPARISON}


@pytest.mark.parametrize(("me", "sync"), list(itertools.product([0, 1], [SYNC, b"x" * 16, None])))
def test_a_start_is_its_leaders_by_name(me: int, sync: bytes | None) -> None:
    """Answers to anything else concern nobody here."""
    standing = fresh()
    standing.me = me
    start = Start(0, SYNC, b"d" * 32, frozenset({0}), {0})
    standing.start = None if sync is None else start

    assert standing._my_start(sync or SYNC) is (start if (me, sync) == (0, SYNC) else None)
    assert standing._awaits_answer(sync or SYNC) is (sync == SYNC)


def test_every_move_is_reported() -> None:
    """The owner locks the membership by it."""
    standing = fresh()

    standing._begin_run(1, {})
    standing._clear(0)

    moves = [event for event in drained(standing) if isinstance(event, PhaseChanged)]
    assert moves == [PhaseChanged(Phase.INVENTORY), PhaseChanged(Phase.PREPARATION)]
