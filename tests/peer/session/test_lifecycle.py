import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from peer.errors import RightMissing, SessionAlone, WrongPhase
from peer.session.errors import PlanEmpty
from peer.session.lifecycle import MAX_WAITING, Lifecycle
from peer.session.phases import Phase
from peer.session.reports import (
    Changed,
    DecisionsReplaced,
    InventoryDropped,
    InventoryWanted,
    PhaseChanged,
    Refused,
    SyncBegun,
    SyncOrdered,
    SyncStopped,
)
from peer.session.runs import CROSSING_TIME
from peer.session.session_settings import Analysis, SessionSettings
from peer.session.start import statement
from protocol import codec
from protocol.crypto.identity import START
from protocol.errors import MalformedMessage, QuintetError, RemoteProtocolError, SealBroken
from protocol.messages import session as wire
from protocol.messages.base import Message
from tests.harness.session_net import (
    DIGEST,
    Member,
    SessionNet,
    compare,
    order,
    session_of,
    source,
    take_roster,
)

CHECKSUM = SessionSettings(analysis=Analysis.CHECKSUM)
SYNC = b"s" * 16


def net_in(phase: Phase, members: int = 3) -> SessionNet:
    """A settled session in which everybody stands in *phase*."""
    net = session_of(members)
    if phase is Phase.PREPARATION:
        return net
    if phase is Phase.INVENTORY:
        net.act(0, lambda lifecycle: lifecycle.start_inventory())
        net.settle()
        return net
    compare(net)
    if phase is Phase.COMPARISON:
        return net
    order(net, SYNC)
    net.settle()
    if phase is Phase.FINISHED:
        for index in net.members:
            net.finish_steps(index)
        net.settle()
    return net


def phases(net: SessionNet) -> set[Phase]:
    return {member.phase for member in net.members.values()}


def knowledge(member: Member) -> object:
    """Everything of a lifecycle that others or people can see, as a value."""
    lifecycle = member.lifecycle
    start = lifecycle.start
    return (
        lifecycle.phase,
        lifecycle.run,
        lifecycle.settings,
        lifecycle.decisions,
        None if start is None else (start.sync, start.begun, frozenset(start.accepted)),
        {
            index: (record.revision, tuple(record.sources), record.activity, record.progress)
            for index, record in lifecycle.members.items()
        },
    )


def order_of(net: SessionNet, sender: int) -> wire.Order:
    return net[sender].lifecycle._order()


def signed_start(
    net: SessionNet, sender: int, sync: bytes = b"t" * 16, **changes: Any
) -> wire.SynchronisationOrdered:
    """START as *sender* would order it, or with *changes* its signature does not know."""
    lifecycle = net[sender].lifecycle
    unsigned = wire.SynchronisationOrdered(
        order=order_of(net, sender),
        sync=sync,
        revision=lifecycle.decisions[0],
        reference_time_ns=1,
        steps=3,
        steps_digest=DIGEST,
        signature=bytes(64),
    )
    signature = net[sender].identity.sign(
        START, statement(unsigned, lifecycle.settings, lifecycle.decisions[1])
    )
    return msgspec.structs.replace(unsigned, **{"signature": signature, **changes})


# --- the table of product.md, section 2.4, at the receiver -------------------------------

Make = Callable[[SessionNet, int], Message]

ACTS: dict[str, tuple[Make, bool, set[Phase]]] = {
    "sources": (
        lambda net, sender: wire.SourcesChanged(revision=9, sources=[source("new")]),
        False,
        {Phase.PREPARATION},
    ),
    "settings": (
        lambda net, sender: wire.SettingsChanged(
            order=order_of(net, sender), settings=codec.encode(CHECKSUM)
        ),
        True,
        {Phase.PREPARATION},
    ),
    "start the inventory": (
        lambda net, sender: wire.InventoryStarted(
            order=order_of(net, sender),
            run=net[1].lifecycle.run + 1,
            source_revisions={0: 1, 1: 1, 2: 1},
        ),
        True,
        # While one runs it says that the one before was cancelled.
        {Phase.PREPARATION, Phase.INVENTORY, Phase.COMPARISON},
    ),
    "cancel the inventory": (
        lambda net, sender: wire.InventoryCancelled(run=net[1].lifecycle.run),
        False,
        {Phase.INVENTORY, Phase.COMPARISON},
    ),
    "decide": (
        lambda net, sender: wire.DecisionsChanged(
            order=order_of(net, sender), revision=5, part=0, parts=1, data=b"rules"
        ),
        True,
        # The leader may compare before the last hash is here.
        {Phase.INVENTORY, Phase.COMPARISON},
    ),
    "start the synchronisation": (signed_start, True, {Phase.INVENTORY, Phase.COMPARISON}),
    "restart": (
        lambda net, sender: wire.Restarted(order=order_of(net, sender)),
        True,
        {Phase.PREPARATION, Phase.COMPARISON, Phase.FINISHED},
    ),
}

IGNORED = {("cancel the inventory", Phase.PREPARATION)}
"""What may have crossed our own act: no error, no change."""


@pytest.mark.parametrize(("act", "phase", "sender"), list(itertools.product(ACTS, Phase, [0, 2])))
def test_a_receiver_enforces_who_may_do_what_and_when(act: str, phase: Phase, sender: int) -> None:
    """An allowed act has an effect; any other raises and changes nothing."""
    make, leader_only, allowed_in = ACTS[act]
    net = net_in(phase)
    message = make(net, sender)
    net[1].lifecycle_events.clear()
    before = knowledge(net[1])

    if leader_only and sender != 0:
        with pytest.raises(RightMissing):
            net.tell(sender, 1, message)
        assert knowledge(net[1]) == before
    elif (act, phase) in IGNORED:
        net.tell(sender, 1, message)
        assert knowledge(net[1]) == before
    elif phase not in allowed_in:
        with pytest.raises(WrongPhase):
            net.tell(sender, 1, message)
        assert knowledge(net[1]) == before
    else:
        net.tell(sender, 1, message)
        assert knowledge(net[1]) != before or net[1].lifecycle_events


LOCAL: dict[str, tuple[Callable[[Lifecycle], object], bool, set[Phase]]] = {
    "sources": (lambda own: own.change_sources([source("new")]), False, {Phase.PREPARATION}),
    "settings": (lambda own: own.change_settings(CHECKSUM), True, {Phase.PREPARATION}),
    "start the inventory": (lambda own: own.start_inventory(), True, {Phase.PREPARATION}),
    "cancel the inventory": (lambda own: own.cancel_inventory(), False, {Phase.INVENTORY}),
    "decide": (lambda own: own.change_decisions(b"rules"), True, {Phase.COMPARISON}),
    "start the synchronisation": (
        lambda own: own.order_sync(b"t" * 16, reference_time_ns=1, steps=3, steps_digest=DIGEST),
        True,
        {Phase.COMPARISON},
    ),
    "abort": (lambda own: own.abort_sync(), False, {Phase.SYNCHRONISATION}),
    "restart": (
        lambda own: own.restart(),
        True,
        {Phase.PREPARATION, Phase.COMPARISON, Phase.FINISHED},
    ),
}


@pytest.mark.parametrize(("act", "phase", "actor"), list(itertools.product(LOCAL, Phase, [0, 1])))
def test_a_member_refuses_its_own_illegal_acts(act: str, phase: Phase, actor: int) -> None:
    """The command line and the page hear why, and nobody else hears anything."""
    do, leader_only, allowed_in = LOCAL[act]
    net = net_in(phase)
    lifecycle = net[actor].lifecycle
    before = knowledge(net[actor])

    if leader_only and actor != 0:
        with pytest.raises(RightMissing) as missing:
            do(lifecycle)
        assert missing.value.leader == "A"
    elif phase not in allowed_in:
        with pytest.raises(WrongPhase):
            do(lifecycle)
    else:
        do(lifecycle)
        assert lifecycle.messages_to_send() != []
        assert lifecycle.next_event() is not None or lifecycle.start is not None
        return
    assert knowledge(net[actor]) == before
    assert lifecycle.messages_to_send() == []
    assert lifecycle.next_event() is None


def test_a_message_for_another_machine_is_refused() -> None:
    """The owner hands each to the core it concerns."""
    net = session_of(2)

    with pytest.raises(RemoteProtocolError):
        net[0].lifecycle.receive_message(1, wire.Leaving(), now=0.0)


# --- commands of the leader --------------------------------------------------------------

COMMANDS = {
    Phase.PREPARATION: ["settings", "start the inventory", "restart"],
    Phase.COMPARISON: ["decide", "start the synchronisation"],
}


@pytest.mark.parametrize(
    ("phase", "act"), [(phase, act) for phase, acts in COMMANDS.items() for act in acts]
)
@pytest.mark.parametrize("how", ["replayed", "of another epoch", "in another's name"])
def test_a_command_of_the_past_is_refused(phase: Phase, act: str, how: str) -> None:
    """Epoch, leader and number make it current; a refused one changes nothing."""
    net = net_in(Phase.PREPARATION)
    net.act(0, lambda lifecycle: lifecycle.change_settings(SessionSettings(exclude_hidden=False)))
    net.settle()
    if phase is Phase.COMPARISON:
        compare(net)
    message: Any = ACTS[act][0](net, 0)
    if how == "replayed":
        message = msgspec.structs.replace(message, order=wire.Order(epoch=3, leader=0, sequence=1))
    elif how == "of another epoch":
        message = msgspec.structs.replace(message, order=wire.Order(epoch=9, leader=0, sequence=99))
    else:
        message = msgspec.structs.replace(message, order=wire.Order(epoch=3, leader=2, sequence=99))
    if act == "start the synchronisation":
        unsigned = statement(message, net[0].lifecycle.settings, net[0].lifecycle.decisions[1])
        message = msgspec.structs.replace(message, signature=net[0].identity.sign(START, unsigned))
    before = knowledge(net[1])

    with pytest.raises(RemoteProtocolError):
        net.tell(0, 1, message)

    assert knowledge(net[1]) == before


# --- what is replicated ------------------------------------------------------------------


def test_sources_reach_all_and_only_their_owner_changes_them() -> None:
    """Whole, with a revision that grows."""
    net = session_of(3)

    net.act(1, lambda lifecycle: lifecycle.change_sources([source("music"), source("films")]))
    net.settle()

    for member in net.members.values():
        record = member.lifecycle.members[1]
        assert [each.path for each in record.sources] == [b"/music", b"/films"]
        assert record.revision == 2
        assert Changed() in member.lifecycle_events


def test_sources_of_the_past_change_nothing_unless_their_owner_came_back() -> None:
    """A member with a new process counts anew; its word may overtake that of its return."""
    net = session_of(2)
    before = net[0].lifecycle.members[1]
    revision, sources = before.revision, list(before.sources)
    past = wire.SourcesChanged(revision=0, sources=[])

    net.tell(1, 0, past)
    assert (before.revision, before.sources) == (revision, sources)
    take_roster(net[0].lifecycle, net[0].membership.commit, returned=1)

    assert (before.revision, before.sources) == (0, [])


def test_settings_reach_all() -> None:
    """Who joins later gets them with its link to the leader."""
    net = session_of(2)

    net.act(0, lambda lifecycle: lifecycle.change_settings(CHECKSUM))
    net.settle()
    net.join(1)

    assert {member.lifecycle.settings for member in net.members.values()} == {CHECKSUM}
    assert all(member.refused == [] for member in net.members.values())


def test_settings_that_are_none_are_refused() -> None:
    """What is inside is decoded within its bounds as well."""
    net = session_of(2)
    message = wire.SettingsChanged(order=order_of(net, 0), settings=b"\xc1")

    with pytest.raises(MalformedMessage):
        net.tell(0, 1, message)


def test_activities_reach_all() -> None:
    """Every member shows what the others are doing."""
    net = net_in(Phase.INVENTORY)
    progress = wire.Progress(files=7, size=100)

    net.act(2, lambda lifecycle: lifecycle.report(wire.Activity.ANALYSING, progress))
    net.settle()

    for member in net.members.values():
        record = member.lifecycle.members[2]
        assert (record.activity, record.progress) == (wire.Activity.ANALYSING, progress)


@pytest.mark.parametrize("size", [0, 10, 200_000])
def test_decisions_reach_all_whole(size: int) -> None:
    """However many parts it takes."""
    net = net_in(Phase.COMPARISON)
    data = bytes(size)

    net.act(0, lambda lifecycle: lifecycle.change_decisions(data))
    net.settle()

    for member in net.members.values():
        assert member.lifecycle.decisions == (1, data)
        assert member.events(DecisionsReplaced) == [DecisionsReplaced(1, data)]


def test_what_is_told_again_on_a_new_link_is_no_news_and_no_offence() -> None:
    """In any phase: a link may break at any time."""
    for phase in Phase:
        net = net_in(phase)
        before = {index: knowledge(member) for index, member in net.members.items()}

        for pair in ((0, 1), (0, 2), (1, 2)):
            net.unlink(*pair)
            net.link(*pair)
        net.settle()

        assert {index: knowledge(member) for index, member in net.members.items()} == before
        assert all(member.refused == [] for member in net.members.values())
        assert net.broken == []


def test_what_was_said_without_a_link_is_told_with_the_next() -> None:
    """Settings, the start of an inventory, its end, decisions."""
    net = session_of(3)
    net.unlink(0, 2)
    net.act(0, lambda lifecycle: lifecycle.change_settings(CHECKSUM))
    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.settle()
    before = net[2].phase

    net.link(0, 2)
    net.settle()
    assert (before, net[2].phase) == (Phase.PREPARATION, Phase.INVENTORY)
    assert net[2].lifecycle.settings == CHECKSUM

    net.unlink(0, 2)
    net.unlink(1, 2)
    net.act(0, lambda lifecycle: lifecycle.cancel_inventory())
    net.settle()
    net.link(0, 2)
    net.settle()
    assert phases(net) == {Phase.PREPARATION}


def test_a_cancellation_lost_with_a_link_is_repeated() -> None:
    """The leader tells of the run, and hears that it was cancelled."""
    net = net_in(Phase.INVENTORY)
    net.unlink(0, 2)
    net.unlink(1, 2)
    net.act(2, lambda lifecycle: lifecycle.cancel_inventory())

    net.link(0, 2)
    net.settle()

    assert phases(net) == {Phase.PREPARATION}


def test_words_of_a_member_not_yet_admitted_wait() -> None:
    """Its first words may overtake the committer's."""
    net = session_of(2)
    net.latencies[0, 1] = 5.0
    net.propose(0)
    net.drive(11.0)
    net.latencies[0, 1] = 0.01

    net.act(2, lambda lifecycle: lifecycle.change_sources([source("early")]))
    net.settle()

    assert [each.path for each in net[1].lifecycle.members[2].sources] == [b"/early"]
    assert net.broken == []


def test_words_of_a_stranger_are_bounded_and_forgotten() -> None:
    """Who is not in the next roster either has said nothing."""
    net = session_of(2)
    lifecycle = net[1].lifecycle
    for _ in range(MAX_WAITING):
        lifecycle.receive_message(7, wire.InventoryCancelled(run=1), now=0.0)

    with pytest.raises(RemoteProtocolError):
        lifecycle.receive_message(7, wire.InventoryCancelled(run=1), now=0.0)
    net.join(0)

    lifecycle.receive_message(7, wire.InventoryCancelled(run=1), now=0.0)
    assert 7 not in lifecycle.members


def test_what_waited_and_is_refused_is_reported() -> None:
    """Whoever spoke last is not to blame for it."""
    net = session_of(2)
    net[1].lifecycle.receive_message(2, wire.Leaving(), now=0.0)

    net.join(0)

    (refused,) = net[1].events(Refused)
    assert refused.sender == 2
    assert isinstance(refused.error, QuintetError)


def test_a_member_that_is_gone_is_forgotten_and_one_that_stays_is_not() -> None:
    """Letters close up; what the others own stays theirs."""
    net = session_of(3)

    net.leave(1)
    net.settle()

    assert sorted(net[2].lifecycle.members) == [0, 2]
    assert net[2].lifecycle.members[0].sources == [source()]


# --- the inventory -----------------------------------------------------------------------


def test_a_session_of_one_starts_no_inventory() -> None:
    """There is nobody to compare with."""
    net = session_of(1)

    with pytest.raises(SessionAlone):
        net.act(0, lambda lifecycle: lifecycle.start_inventory())


def test_a_session_in_which_only_one_offers_starts_no_inventory() -> None:
    """Two need something to compare."""
    net = session_of(2)
    net.act(1, lambda lifecycle: lifecycle.change_sources([]))
    net.settle()

    with pytest.raises(SessionAlone):
        net.act(0, lambda lifecycle: lifecycle.start_inventory())


def test_an_inventory_runs_at_all_and_leads_to_the_comparison() -> None:
    """Everybody begins, and compares when all inventories are in."""
    net = session_of(3)

    compare(net)

    for member in net.members.values():
        assert member.events(InventoryWanted) == [InventoryWanted(1)]
        assert member.events(PhaseChanged) == [
            PhaseChanged(Phase.INVENTORY),
            PhaseChanged(Phase.COMPARISON),
        ]


@pytest.mark.parametrize("who", [0, 2])
def test_anybody_cancels_for_all(who: int) -> None:
    """Back to Preparation, sources kept, and the next one gets a new number."""
    net = net_in(Phase.INVENTORY)

    net.act(who, lambda lifecycle: lifecycle.cancel_inventory())
    net.settle()

    assert phases(net) == {Phase.PREPARATION}
    for member in net.members.values():
        assert member.events(InventoryDropped) == [InventoryDropped(1)]
        assert member.lifecycle.members[who].sources == [source()]
    compare(net)
    assert phases(net) == {Phase.COMPARISON}
    assert net[1].lifecycle.run == 2


def test_an_inventory_of_sources_the_leader_has_not_seen_is_cancelled() -> None:
    """The change and the start crossed; the next start knows of the change."""
    net = session_of(3)
    net.act(1, lambda lifecycle: lifecycle.change_sources([source("new")]))

    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.settle()

    assert phases(net) == {Phase.PREPARATION}
    assert all(member.lifecycle.members[1].revision == 2 for member in net.members.values())
    compare(net)
    assert phases(net) == {Phase.COMPARISON}


def test_a_cancellation_that_overtakes_the_start_counts() -> None:
    """Nobody is left taking an inventory that all others have given up."""
    net = session_of(3)
    net.latencies[0, 2] = 1.0
    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.drive(0.1)

    net.act(1, lambda lifecycle: lifecycle.cancel_inventory())
    net.settle()

    assert phases(net) == {Phase.PREPARATION}
    assert net[2].events(InventoryWanted) == []
    assert net[2].lifecycle.run == 1


def test_a_start_that_overtakes_the_cancellation_before_it_counts() -> None:
    """The leader's next run says that the one before was cancelled."""
    net = net_in(Phase.INVENTORY)
    net.latencies[1, 2] = 1.0
    net.act(1, lambda lifecycle: lifecycle.cancel_inventory())
    net.latencies[0, 2] = 0.5
    net.drive(0.1)

    net[2].lifecycle._held.clear()
    net.latencies[0, 2] = 0.01
    net.drop = lambda sender, receiver, message: (
        isinstance(message, wire.InventoryCancelled) and sender == 0
    )
    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.settle()

    assert phases(net) == {Phase.INVENTORY}
    assert {member.lifecycle.run for member in net.members.values()} == {2}


def test_an_inventory_of_the_past_is_refused() -> None:
    """Numbers only grow."""
    net = net_in(Phase.INVENTORY)
    net.act(0, lambda lifecycle: lifecycle.cancel_inventory())
    net.settle()
    compare(net)
    message = wire.InventoryStarted(order=order_of(net, 0), run=1, source_revisions={})

    with pytest.raises(RemoteProtocolError):
        net.tell(0, 1, message)


def test_a_late_cancellation_of_a_run_before_is_no_news() -> None:
    """It crossed the one that was heard."""
    net = net_in(Phase.INVENTORY)
    net.act(0, lambda lifecycle: lifecycle.cancel_inventory())
    net.settle()
    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.settle()

    net.tell(2, 1, wire.InventoryCancelled(run=1))

    assert net[1].phase is Phase.INVENTORY


def test_who_waits_for_the_last_hash_may_cancel_but_not_for_long() -> None:
    """A comparison that people work on is not swept away."""
    net = net_in(Phase.INVENTORY)
    net.latencies[1, 2] = 60.0
    for index in net.members:
        net.finish_inventory(index)
    net.drive(1.0)
    assert (net[0].phase, net[2].phase) == (Phase.COMPARISON, Phase.INVENTORY)
    cancelled = wire.InventoryCancelled(run=1)

    net.drive(CROSSING_TIME + 1)
    with pytest.raises(WrongPhase):
        net.tell(2, 0, cancelled)
    with pytest.raises(WrongPhase):
        net.tell(2, 1, cancelled)
    net.tell(0, 1, cancelled)

    assert net[1].phase is Phase.PREPARATION, "the leader could restart as well"


def test_the_leader_repeats_a_cancellation_to_who_could_not_take_it() -> None:
    """All stand where it stands."""
    net = net_in(Phase.INVENTORY)
    net.latencies[1, 2] = 3.0
    net.latencies[2, 1] = 6.0
    for index in net.members:
        net.finish_inventory(index)
    net.drive(2.0)

    net.act(2, lambda lifecycle: lifecycle.cancel_inventory())
    net.drive(1.0)

    assert phases(net) == {Phase.PREPARATION}
    net.settle()
    assert phases(net) == {Phase.PREPARATION}


def test_a_cancellation_forgets_what_was_decided_and_ordered() -> None:
    """It crossed the leader's word on its way."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    net.act(0, lambda lifecycle: lifecycle.change_decisions(b"rules"))
    order(net, SYNC)
    net.settle()

    net.tell(1, 0, wire.InventoryCancelled(run=1))
    net.settle()

    assert phases(net) == {Phase.PREPARATION}
    for member in net.members.values():
        assert member.lifecycle.start is None
        assert member.lifecycle.decisions == (1, b"")
        assert [event.sync for event in member.events(SyncStopped)] in ([], [SYNC])
    compare(net)
    order(net, b"u" * 16)
    assert net[0].lifecycle.start is not None


# --- the comparison ----------------------------------------------------------------------


def waiting_for_the_last_hash() -> SessionNet:
    """Everybody compares, but member 2."""
    net = net_in(Phase.INVENTORY)
    net.latencies[1, 2] = 60.0
    for index in net.members:
        net.finish_inventory(index)
    net.drive(1.0)
    assert net[2].phase is Phase.INVENTORY
    return net


def test_decisions_that_come_before_the_last_hash_are_told_when_it_is_there() -> None:
    """The latest of them, once."""
    net = waiting_for_the_last_hash()
    for data in (b"first", b"second"):
        net.act(0, lambda lifecycle, data=data: lifecycle.change_decisions(data))  # type: ignore[misc]
    net.drive(1.0)
    assert net[2].events(DecisionsReplaced) == []

    net.settle()

    assert net[2].phase is Phase.COMPARISON
    assert net[2].events(DecisionsReplaced) == [DecisionsReplaced(2, b"second")]


def test_a_start_that_comes_before_the_last_hash_is_told_when_it_is_there() -> None:
    """After the decisions it carries out; all begin when this member accepts."""
    net = waiting_for_the_last_hash()
    net.act(0, lambda lifecycle: lifecycle.change_decisions(b"rules"))
    order(net, SYNC)
    net.drive(1.0)
    assert net[2].events(SyncOrdered) == []
    assert net[0].phase is Phase.COMPARISON

    net.settle()

    told = [type(event) for event in net[2].lifecycle_events]
    assert told.index(DecisionsReplaced) < told.index(SyncOrdered)
    assert phases(net) == {Phase.SYNCHRONISATION}


def test_a_start_called_off_before_the_last_hash_is_never_told() -> None:
    """There is nothing to recompute."""
    net = waiting_for_the_last_hash()
    net.answers = lambda member, ordered: None
    order(net, SYNC)
    net.drive(1.0)

    net.act(0, lambda lifecycle: lifecycle.abort_sync())
    net.settle()

    assert net[2].phase is Phase.COMPARISON
    assert net[2].events(SyncOrdered) == net[2].events(SyncStopped) == []


def test_a_restart_that_comes_before_the_last_hash_counts() -> None:
    """This member's own part has ended; the rest is void."""
    net = waiting_for_the_last_hash()
    net.act(0, lambda lifecycle: lifecycle.change_decisions(b"rules"))

    net.act(0, lambda lifecycle: lifecycle.restart())
    net.settle()

    assert phases(net) == {Phase.PREPARATION}
    assert net[2].events(DecisionsReplaced) == []


# --- the start of a synchronisation ------------------------------------------------------


def test_all_accept_and_all_begin() -> None:
    """Everybody is told what to recompute, then to carry it out."""
    net = net_in(Phase.COMPARISON)

    order(net, SYNC)
    net.settle()

    assert phases(net) == {Phase.SYNCHRONISATION}
    for index, member in net.members.items():
        ordered = [] if index == 0 else [SYNC]
        assert [event.sync for event in member.events(SyncOrdered)] == ordered
        assert member.events(SyncBegun) == [SyncBegun(SYNC)]
        activities = {record.activity for record in member.lifecycle.members.values()}
        assert activities == {wire.Activity.SYNCHRONISING}


def test_nothing_begins_before_the_last_has_accepted() -> None:
    """One member that still thinks holds all."""
    net = net_in(Phase.COMPARISON)
    accept = net.answers
    net.answers = lambda member, ordered: None if member.me == 2 else accept(member, ordered)

    order(net, SYNC)
    net.settle()
    assert phases(net) == {Phase.COMPARISON}
    net.act(2, lambda lifecycle: lifecycle.accept_sync(SYNC, DIGEST))
    net.settle()

    assert phases(net) == {Phase.SYNCHRONISATION}


def test_an_empty_plan_is_not_started() -> None:
    """There is nothing to agree on."""
    net = net_in(Phase.COMPARISON)

    with pytest.raises(PlanEmpty):
        net.act(
            0,
            lambda lifecycle: lifecycle.order_sync(
                SYNC, reference_time_ns=1, steps=0, steps_digest=DIGEST
            ),
        )

    assert net[0].lifecycle.start is None


def test_one_start_at_a_time_and_nothing_is_decided_meanwhile() -> None:
    """What the others recompute stays what was signed."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    order(net, SYNC)

    with pytest.raises(WrongPhase):
        order(net, b"t" * 16)
    with pytest.raises(WrongPhase):
        net.act(0, lambda lifecycle: lifecycle.change_decisions(b"other"))


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": bytes(64)},
        {"steps_digest": b"e" * 32},
        {"steps": 4},
        {"reference_time_ns": 2},
        {"revision": 9},
    ],
)
def test_a_start_that_is_not_signed_is_a_broken_seal(changes: dict[str, Any]) -> None:
    """No member adopts a plan its leader did not order."""
    net = net_in(Phase.COMPARISON)
    message = signed_start(net, 0, **changes)
    before = knowledge(net[1])

    with pytest.raises(SealBroken):
        net.tell(0, 1, message)

    assert knowledge(net[1]) == before


def test_a_start_over_other_decisions_is_a_broken_seal() -> None:
    """The signature covers what this member holds."""
    net = net_in(Phase.COMPARISON)
    net[0].lifecycle._decisions.replace(b"secret rules")

    with pytest.raises(SealBroken):
        net.tell(0, 1, signed_start(net, 0))


def test_a_member_with_another_plan_refuses_and_nobody_begins() -> None:
    """The others hear that it is off, and the leader may order again."""
    net = net_in(Phase.COMPARISON)
    accept = net.answers
    net.answers = lambda member, ordered: (
        member.lifecycle.refuse_sync(ordered.sync, "plan.differs")
        if member.me == 2
        else accept(member, ordered)
    )

    order(net, SYNC)
    net.settle()

    assert phases(net) == {Phase.COMPARISON}
    stopped = SyncStopped(SYNC, "plan.differs", 2)
    assert net[0].events(SyncStopped) == [stopped]
    assert net[1].events(SyncStopped) == [SyncStopped(SYNC, "plan.differs", 0)]
    assert all(member.lifecycle.start is None for member in net.members.values())
    net.answers = accept
    order(net, b"t" * 16)
    net.settle()
    assert phases(net) == {Phase.SYNCHRONISATION}


def test_an_acceptance_of_another_digest_is_a_broken_seal() -> None:
    """It is not counted; nobody begins."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    order(net, SYNC)
    accepted = wire.SynchronisationAccepted(sync=SYNC, steps_digest=b"e" * 32)

    with pytest.raises(SealBroken):
        net.tell(1, 0, accepted)

    assert net[0].lifecycle.start is not None
    assert net[0].lifecycle.start.accepted == {0}


@pytest.mark.parametrize(
    "message",
    [
        wire.SynchronisationAccepted(sync=b"x" * 16, steps_digest=DIGEST),
        wire.SynchronisationRefused(sync=b"x" * 16, code="late"),
        wire.SynchronisationAborted(sync=b"x" * 16, code="late"),
    ],
)
@pytest.mark.parametrize("receiver", [0, 1])
def test_word_about_another_synchronisation_is_no_news(message: Message, receiver: int) -> None:
    """It is over already, or was never ordered by this member."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    order(net, SYNC)
    net.settle()
    before = knowledge(net[receiver])

    net.tell(2, receiver, message)

    assert knowledge(net[receiver]) == before


def test_answers_that_come_too_late_change_nothing() -> None:
    """Once it has begun, nobody refuses; once it is off, nobody accepts."""
    net = net_in(Phase.SYNCHRONISATION)

    net.act(1, lambda lifecycle: lifecycle.refuse_sync(SYNC, "late"))
    net.act(1, lambda lifecycle: lifecycle.accept_sync(b"x" * 16, DIGEST))
    net.tell(1, 0, wire.SynchronisationRefused(sync=SYNC, code="late"))
    net.tell(1, 0, wire.SynchronisationAccepted(sync=SYNC, steps_digest=DIGEST))
    net.settle()

    assert phases(net) == {Phase.SYNCHRONISATION}
    assert all(member.lifecycle.start is not None for member in net.members.values())


def test_the_leader_accepts_by_ordering_and_may_refuse_its_own() -> None:
    """Its brakes may hold it back; the others hear so."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    order(net, SYNC)
    net.act(0, lambda lifecycle: lifecycle.accept_sync(SYNC, DIGEST))
    net.settle()
    assert phases(net) == {Phase.COMPARISON}

    net.act(0, lambda lifecycle: lifecycle.refuse_sync(SYNC, "brake.trips"))
    net.settle()

    assert [event.code for event in net[1].events(SyncStopped)] == ["brake.trips"]
    assert all(member.lifecycle.start is None for member in net.members.values())


def test_the_leader_may_call_off_what_has_not_begun_and_nobody_else() -> None:
    """A member that does not want it refuses."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    order(net, SYNC)
    net.settle()
    with pytest.raises(WrongPhase):
        net.act(1, lambda lifecycle: lifecycle.abort_sync())
    with pytest.raises(WrongPhase):
        net.tell(1, 0, wire.SynchronisationAborted(sync=SYNC, code="late"))

    net.act(0, lambda lifecycle: lifecycle.abort_sync())
    net.settle()

    assert all(member.lifecycle.start is None for member in net.members.values())
    assert all(len(member.events(SyncStopped)) == 1 for member in net.members.values())


def test_a_new_start_takes_the_place_of_one_whose_end_was_lost() -> None:
    """The leader orders only when none is under way, so the one before is over."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    order(net, SYNC)
    net.settle()

    net.tell(0, 1, signed_start(net, 0, b"t" * 16))

    assert net[1].lifecycle.start is not None
    assert net[1].lifecycle.start.sync == b"t" * 16
    assert [event.sync for event in net[1].events(SyncStopped)] == [SYNC]


def test_nobody_begins_what_was_not_ordered() -> None:
    """Nor a thing of another name."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    message = wire.SynchronisationBegun(order=order_of(net, 0), sync=SYNC)
    with pytest.raises(RemoteProtocolError):
        net.tell(0, 1, message)
    order(net, b"t" * 16)
    net.settle()

    with pytest.raises(RemoteProtocolError):
        net.tell(0, 1, message)

    assert phases(net) == {Phase.COMPARISON}


@pytest.mark.parametrize(("phase", "sender"), [(Phase.FINISHED, 0), (Phase.COMPARISON, 2)])
def test_only_the_leader_begins_and_once(phase: Phase, sender: int) -> None:
    """A replay finds another phase."""
    net = net_in(phase)
    message = wire.SynchronisationBegun(order=order_of(net, sender), sync=SYNC)

    with pytest.raises((RightMissing, WrongPhase)):
        net.tell(sender, 1, message)


def test_a_participant_that_leaves_is_not_waited_for() -> None:
    """The others begin without it."""
    net = net_in(Phase.COMPARISON, members=4)
    accept = net.answers
    net.answers = lambda member, ordered: None if member.me == 2 else accept(member, ordered)
    order(net, SYNC)
    net.settle()

    net.leave(2)
    net.settle()

    assert phases(net) == {Phase.SYNCHRONISATION}


def test_a_leader_that_leaves_takes_its_order_with_it() -> None:
    """Nobody is left who could begin it; the next leader orders anew."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    net.act(0, lambda lifecycle: lifecycle.change_decisions(b"rules"))
    order(net, SYNC)
    net.settle()

    net.leave(0)
    net.settle()

    assert [event.sync for event in net[2].events(SyncStopped)] == [SYNC]
    assert net[1].lifecycle.decisions == net[2].lifecycle.decisions == (1, b"rules")
    order(net, b"t" * 16, leader=1)
    net.settle()
    net.act(2, lambda lifecycle: lifecycle.accept_sync(b"t" * 16, DIGEST))
    net.settle()
    assert phases(net) == {Phase.SYNCHRONISATION}


def test_the_successor_repeats_what_the_leader_before_may_not_have_told_all() -> None:
    """It left at once after its word; one member has not heard it."""
    net = session_of(3)
    net.drop = lambda sender, receiver, message: (
        isinstance(message, wire.InventoryStarted) and (sender, receiver) == (0, 2)
    )
    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.settle()
    assert net[2].phase is Phase.PREPARATION

    net.leave(0)
    net.settle()

    assert phases(net) == {Phase.INVENTORY}


# --- its end -----------------------------------------------------------------------------


def test_it_is_finished_when_all_have_ended() -> None:
    """However their steps ended."""
    net = net_in(Phase.SYNCHRONISATION)
    ends = [wire.Activity.SYNC_DONE, wire.Activity.SYNC_ERRORS, wire.Activity.SYNC_FAILED]

    for index, how in enumerate(ends):
        assert phases(net) == {Phase.SYNCHRONISATION}
        net.finish_steps(index, how)
        net.settle()

    assert phases(net) == {Phase.FINISHED}
    assert all(member.lifecycle.start is None for member in net.members.values())


def test_who_has_nothing_to_do_may_say_so_before_all_have_heard_of_the_beginning() -> None:
    """Its word is not overwritten."""
    net = net_in(Phase.COMPARISON)
    net.latencies[0, 2] = 1.0
    order(net, SYNC)
    net.drive(2.0)
    assert (net[1].phase, net[2].phase) == (Phase.SYNCHRONISATION, Phase.COMPARISON)

    net.finish_steps(1)
    net.settle()
    assert net[2].phase is Phase.SYNCHRONISATION
    for index in (0, 2):
        net.finish_steps(index)
    net.settle()

    assert phases(net) == {Phase.FINISHED}


def test_a_participant_that_leaves_does_not_hold_up_the_end() -> None:
    """Nothing more can come from it."""
    net = net_in(Phase.SYNCHRONISATION)
    for index in (0, 1):
        net.finish_steps(index)
    net.settle()

    net.leave(2)
    net.settle()

    assert phases(net) == {Phase.FINISHED}


@pytest.mark.parametrize("who", [0, 2])
def test_anybody_aborts_for_all_and_once(who: int) -> None:
    """Everybody stops, and it is finished when all have."""
    net = net_in(Phase.SYNCHRONISATION)

    net.act(who, lambda lifecycle: lifecycle.abort_sync())
    net.settle()
    net.act(1, lambda lifecycle: lifecycle.abort_sync())
    net.settle()

    for member in net.members.values():
        assert member.events(SyncStopped) == [SyncStopped(SYNC, "sync.aborted", who)]
    for index in net.members:
        net.finish_steps(index, wire.Activity.SYNC_ERRORS)
    net.settle()
    assert phases(net) == {Phase.FINISHED}


def test_an_abort_that_overtakes_the_beginning_counts() -> None:
    """The member begins and stops at once; the first abort is the one told."""
    net = net_in(Phase.COMPARISON, members=4)
    net.latencies[0, 3] = 1.0
    order(net, SYNC)
    net.drive(1.5)
    assert (net[1].phase, net[3].phase) == (Phase.SYNCHRONISATION, Phase.COMPARISON)

    net.act(1, lambda lifecycle: lifecycle.abort_sync("user.stopped"))
    net.drive(0.1)
    net.tell(2, 3, wire.SynchronisationAborted(sync=SYNC, code="late"))
    assert net[3].events(SyncStopped) == []
    net.settle()

    assert net[3].events(SyncBegun) == [SyncBegun(SYNC)]
    assert net[3].events(SyncStopped) == [SyncStopped(SYNC, "user.stopped", 1)]


def test_a_restart_keeps_members_sources_and_settings() -> None:
    """And nothing else."""
    net = session_of(3)
    net.act(0, lambda lifecycle: lifecycle.change_settings(CHECKSUM))
    net.settle()
    compare(net)
    net.act(0, lambda lifecycle: lifecycle.change_decisions(b"rules"))
    net.settle()

    net.act(0, lambda lifecycle: lifecycle.restart())
    net.settle()

    assert phases(net) == {Phase.PREPARATION}
    for member in net.members.values():
        lifecycle = member.lifecycle
        assert lifecycle.settings == CHECKSUM
        assert lifecycle.decisions == (1, b"")
        assert sorted(lifecycle.members) == [0, 1, 2]
        assert all(record.sources == [source()] for record in lifecycle.members.values())
        assert {record.activity for record in lifecycle.members.values()} == {
            wire.Activity.WAITING_INVENTORY
        }
        assert not member.membership.locked


def test_a_restart_ends_a_start_that_waits() -> None:
    """Who recomputes the plan is told to stop."""
    net = net_in(Phase.COMPARISON)
    net.answers = lambda member, ordered: None
    order(net, SYNC)
    net.settle()

    net.act(0, lambda lifecycle: lifecycle.restart())
    net.settle()

    assert all(member.lifecycle.start is None for member in net.members.values())
    assert [event.sync for event in net[1].events(SyncStopped)] == [SYNC]


def test_a_restart_does_not_cut_off_who_is_at_work() -> None:
    """The leader may think that all have ended."""
    net = net_in(Phase.SYNCHRONISATION)
    restarted = wire.Restarted(order=order_of(net, 0))

    with pytest.raises(WrongPhase):
        net.tell(0, 1, restarted)
    assert net[1].phase is Phase.SYNCHRONISATION


def test_a_restart_that_overtakes_the_last_step_counts() -> None:
    """This member has ended; that another has, it had not heard yet."""
    net = net_in(Phase.SYNCHRONISATION)
    net.latencies[1, 2] = 5.0
    for index in net.members:
        net.finish_steps(index)
    net.drive(1.0)
    assert (net[0].phase, net[2].phase) == (Phase.FINISHED, Phase.SYNCHRONISATION)

    net.act(0, lambda lifecycle: lifecycle.restart())
    net.settle()

    assert phases(net) == {Phase.PREPARATION}
    assert net[2].lifecycle.start is None
    compare(net)
    assert phases(net) == {Phase.COMPARISON}
