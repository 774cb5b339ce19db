import itertools

import pytest

from peer.errors import RightMissing, WrongPhase
from peer.session.phases import Phase
from peer.session.rights import RIGHTS, Act, Who, check

LEADER, OTHER = 0, 1
EARLY = {Phase.PREPARATION}
LATE = {Phase.COMPARISON, Phase.SYNCHRONISATION, Phase.FINISHED}
ALL = set(Phase)

PAPER = {
    Act.CHANGE_SOURCES: (Who.OWNER, EARLY),
    Act.CHANGE_SETTINGS: (Who.LEADER, EARLY),
    Act.START_INVENTORY: (Who.LEADER, EARLY),
    Act.CANCEL_INVENTORY: (Who.ANY, {Phase.INVENTORY, Phase.COMPARISON}),
    Act.BROWSE: (Who.ANY, LATE),
    Act.DECIDE: (Who.LEADER, {Phase.COMPARISON}),
    Act.START_SYNC: (Who.LEADER, {Phase.COMPARISON}),
    Act.ABORT_SYNC: (Who.ANY, {Phase.SYNCHRONISATION}),
    Act.RESTART: (Who.LEADER, {Phase.PREPARATION, Phase.COMPARISON, Phase.FINISHED}),
    Act.VERIFY: (Who.ANY, LATE),
    Act.DECLINE: (Who.ANY, EARLY),
    Act.REOPEN_JOINING: (Who.ANY, EARLY),
    Act.NEW_PASSWORD: (Who.LEADER, ALL),
    Act.REMOVE_MEMBER: (Who.LEADER, ALL),
    Act.CONTINUE_WITHOUT: (Who.LEADER, ALL - EARLY),
    Act.PAUSE: (Who.LEADER, {Phase.INVENTORY, Phase.SYNCHRONISATION}),
}
"""Product.md, section 2.4, line by line."""


@pytest.mark.parametrize(
    ("act", "phase", "actor"), list(itertools.product(Act, Phase, [LEADER, OTHER]))
)
def test_an_act_is_allowed_to_whom_and_when_the_paper_says(
    act: Act, phase: Phase, actor: int
) -> None:
    """All acts, all phases, the leader and somebody else doing his own."""
    who, allowed_in = PAPER[act]

    if who is Who.LEADER and actor != LEADER:
        with pytest.raises(RightMissing) as missing:
            check(act, actor=actor, leader=LEADER, phase=phase, owner=actor, leader_letter="A")
        assert missing.value.leader == "A"
    elif phase not in allowed_in:
        with pytest.raises(WrongPhase) as wrong:
            check(act, actor=actor, leader=LEADER, phase=phase, owner=actor)
        assert wrong.value.phase == phase.value
    else:
        check(act, actor=actor, leader=LEADER, phase=phase, owner=actor)


@pytest.mark.parametrize("actor", [LEADER, OTHER])
def test_nobody_changes_what_another_owns(actor: int) -> None:
    """Not even the leader."""
    with pytest.raises(RightMissing):
        check(Act.CHANGE_SOURCES, actor=actor, leader=LEADER, phase=Phase.PREPARATION, owner=2)


def test_every_act_has_a_right() -> None:
    """An act without one would be anybody's, or nobody's."""
    assert set(RIGHTS) == set(PAPER) == set(Act)
