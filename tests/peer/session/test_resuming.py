"""A member that comes back to an activated session learns where it stands."""

from typing import Any

import msgspec
import pytest

from peer.errors import WrongPhase
from peer.session.errors import PlanChanged
from peer.session.lifecycle import Lifecycle
from peer.session.phases import Phase
from peer.session.reports import (
    DecisionsVoid,
    InventoryWanted,
    PauseChanged,
    Resumed,
    SyncBegun,
    SyncOrdered,
    WithoutMember,
)
from peer.session.session_settings import Analysis, SessionSettings
from protocol import codec
from protocol.errors import RemoteProtocolError
from protocol.limits import GRACE_TIME
from protocol.messages import session as wire
from tests.harness.session_net import DIGEST, SessionNet, compare, order, session_of, take_roster

SYNC = b"s" * 16


def compared() -> SessionNet:
    net = session_of(3)
    net.act(
        0, lambda lifecycle: lifecycle.change_settings(SessionSettings(analysis=Analysis.CHECKSUM))
    )
    net.settle()
    compare(net)
    net.act(0, lambda lifecycle: lifecycle.change_decisions(b"rules" * 30_000))
    net.settle()
    return net


@pytest.mark.parametrize("who", [0, 2])
def test_it_learns_phase_run_settings_decisions_and_its_own_sources(who: int) -> None:
    """The leader too, from who let it in."""
    net = compared()
    old = net.die(who)

    back = net.come_back(old, sponsor=1)
    net.settle()

    other = net[1].lifecycle
    assert back.events(Resumed) == [Resumed(Phase.COMPARISON, 1)]
    assert back.lifecycle.settings == other.settings
    assert back.lifecycle.decisions == other.decisions
    assert back.lifecycle.members[who].sources == other.members[who].sources != []
    assert back.lifecycle.run == 1
    assert not back.lifecycle.is_awaiting
    assert net.broken == []


def test_it_goes_on_with_the_synchronisation_that_is_under_way() -> None:
    """It recomputes the plan that the leader signed, and accepts."""
    net = compared()
    order(net, SYNC)
    net.settle()
    assert net[0].phase is Phase.SYNCHRONISATION
    old = net.die(2)

    back = net.come_back(old, sponsor=1)
    net.settle()

    assert [event.steps_digest for event in back.events(SyncOrdered)] == [DIGEST]
    assert back.events(SyncBegun) == [SyncBegun(SYNC)]
    for index in (0, 1, 2):
        net.finish_steps(index)
    net.settle()
    assert {member.phase for member in net.members.values()} == {Phase.FINISHED}


def test_an_order_waits_for_who_is_not_there_unless_the_leader_goes_on_without() -> None:
    """Its entries count as unknown at everybody."""
    net = compared()
    net.die(2)
    order(net, SYNC)
    net.settle()
    assert net[0].phase is Phase.COMPARISON

    net.act(0, lambda lifecycle: lifecycle.continue_without(2))
    net.settle()

    assert net[1].events(WithoutMember) == [WithoutMember(2)]
    assert net[1].lifecycle.without == {2}
    assert net[0].phase is Phase.SYNCHRONISATION  # type: ignore[comparison-overlap]
    for index in (0, 1):  # type: ignore[unreachable]
        net.finish_steps(index)
    net.settle()
    assert net[1].phase is Phase.FINISHED
    net.act(0, lambda lifecycle: lifecycle.restart())
    net.settle()
    assert net[1].lifecycle.without == set()


def test_the_leader_pauses_and_resumes_for_all() -> None:
    """Told once each."""
    net = session_of(2)
    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.settle()

    for paused in (True, True, False):
        net.act(0, lambda lifecycle, paused=paused: lifecycle.pause(paused=paused))  # type: ignore[misc]
        net.settle()

    assert net[1].events(PauseChanged) == [PauseChanged(True), PauseChanged(False)]


def test_moved_letters_void_what_was_decided_until_it_is_confirmed() -> None:
    """Rules follow people: the plan that was shown named others."""
    net = compared()
    net[0].membership.remove(1, now=net.now)
    net.drain(net[0])
    net.settle()
    del net.members[1]

    assert net[0].events(DecisionsVoid) == net[2].events(DecisionsVoid) == [DecisionsVoid()]
    assert net[2].lifecycle.decisions_void
    with pytest.raises(PlanChanged):
        order(net, SYNC)
    net.act(0, lambda lifecycle: lifecycle.change_decisions(b"again"))
    net.settle()
    assert not net[2].lifecycle.decisions_void
    order(net, SYNC)  # type: ignore[unreachable]
    net.settle()
    assert net[2].phase is Phase.SYNCHRONISATION


def test_who_comes_back_takes_its_inventory_part_again() -> None:
    """In the Inventory phase the run is under way."""
    net = session_of(3)
    net.act(0, lambda lifecycle: lifecycle.start_inventory())
    net.settle()
    old = net.die(2)

    back = net.come_back(old, sponsor=0)
    net.settle()

    assert back.events(Resumed) == [Resumed(Phase.INVENTORY, 1)]
    assert back.events(InventoryWanted) == []
    assert net[0].lifecycle.members[2].revision == 1


def test_the_only_one_that_could_tell_may_die_first() -> None:
    """Then whoever leads next tells."""
    net = compared()
    old = net.die(2)
    net.drop = lambda sender, receiver, message: isinstance(message, wire.StandingStated)
    back = net.come_back(old, sponsor=1)
    net.settle()
    assert back.lifecycle.is_awaiting
    net.drop = lambda sender, receiver, message: False
    net.die(0)

    net.drive(GRACE_TIME + 30.0)
    net.unlink(1, 2)
    net.link(1, 2)
    net.settle()

    assert not back.lifecycle.is_awaiting
    assert back.phase is Phase.COMPARISON  # type: ignore[unreachable]


def returned(net: SessionNet, who: int = 2) -> Lifecycle:
    """A lifecycle that awaits what member 0 has to say."""
    lifecycle = Lifecycle(who, identity=net[who].identity, told_by=0)
    take_roster(lifecycle, net[who].membership.commit)
    return lifecycle


def standing(**fields: Any) -> wire.StandingStated:
    base: dict[str, Any] = {
        "epoch": 3,
        "stage": wire.Stage.PREPARATION,
        "run": 0,
        "settings": codec.encode(SessionSettings()),
    }
    return wire.StandingStated(**base | fields)


def test_a_standing_that_cannot_be_is_refused() -> None:
    """Begun and not ordered; ordered by nobody who is here."""
    net = compared()
    order(net, SYNC)
    net.settle()
    start = net[1].lifecycle.start
    assert start is not None
    assert start.ordered is not None
    by = msgspec.structs.replace(start.ordered.order, leader=9)
    stranger = msgspec.structs.replace(start.ordered, order=by)
    lifecycle = returned(net)

    for message in (standing(begun=True), standing(ordered=stranger)):
        with pytest.raises(RemoteProtocolError):
            lifecycle.receive_message(0, message, now=0.0)

    assert lifecycle.is_awaiting


def test_when_nobody_knows_the_session_stands_where_it_began() -> None:
    """Every process is new."""
    net = session_of(3)
    lifecycle = returned(net)

    lifecycle.receive_message(0, wire.StandingAsked(), now=0.0)
    lifecycle.receive_message(0, wire.StandingAsked(), now=0.0)
    assert lifecycle.is_awaiting
    lifecycle.receive_message(1, wire.StandingAsked(), now=0.0)

    assert not lifecycle.is_awaiting
    assert lifecycle.phase is Phase.PREPARATION  # type: ignore[unreachable]
    assert wire.StandingAsked() in [message for _, message in lifecycle.messages_to_send()]


def test_a_leader_that_missed_a_start_calls_it_off() -> None:
    """Who let it in had not heard of it; somebody else had."""
    net = session_of(3)
    for first in (1, 2):
        lifecycle = returned(net, who=0)
        lifecycle._told_by = 2
        lifecycle.receive_message(first, standing(run=3 if first == 1 else 0), now=0.0)
        lifecycle.receive_message(3 - first, standing(run=3 if first == 2 else 0), now=0.0)
        said = [message for _, message in lifecycle.messages_to_send()]
        assert (wire.InventoryCancelled(run=3) in said) is True


def test_nobody_goes_on_without_itself_or_a_stranger() -> None:
    """Nor twice without the same."""
    net = compared()
    for index in (0, 9):
        with pytest.raises(WrongPhase):
            net.act(0, lambda lifecycle, index=index: lifecycle.continue_without(index))  # type: ignore[misc]
    for _ in range(2):
        net.act(0, lambda lifecycle: lifecycle.continue_without(2))
    net.settle()

    assert net[1].events(WithoutMember) == [WithoutMember(2)]


def test_a_start_over_void_decisions_is_refused() -> None:
    """Letters have moved here, if not at the leader."""
    net = compared()
    net[1].lifecycle._is_void = True

    order(net, SYNC)
    net.settle()

    assert [type(error) for error in net[1].refused] == [WrongPhase]
    assert net[1].lifecycle.start is None
