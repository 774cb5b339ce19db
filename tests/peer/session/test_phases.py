import itertools
import re

import pytest

from peer.session import phases
from peer.session.phases import TRANSITIONS, Move, Phase, after
from protocol.errors import LocalProtocolError

LEGAL = {
    (Phase.PREPARATION, Move.START_INVENTORY): Phase.INVENTORY,
    (Phase.INVENTORY, Move.INVENTORIES_IN): Phase.COMPARISON,
    (Phase.INVENTORY, Move.CANCEL_INVENTORY): Phase.PREPARATION,
    (Phase.COMPARISON, Move.CANCEL_INVENTORY): Phase.PREPARATION,
    (Phase.COMPARISON, Move.BEGIN_SYNC): Phase.SYNCHRONISATION,
    (Phase.SYNCHRONISATION, Move.STEPS_ENDED): Phase.FINISHED,
    **{(phase, Move.RESTART): Phase.PREPARATION for phase in Phase},
}
"""The paper's picture (product.md, section 2.3), and what words that cross add to it."""


@pytest.mark.parametrize(("phase", "move"), list(itertools.product(Phase, Move)))
def test_a_move_leads_where_the_paper_says_or_is_refused(phase: Phase, move: Move) -> None:
    """Every pair is decided, by the table alone."""
    expected = LEGAL.get((phase, move))

    if expected is None:
        with pytest.raises(LocalProtocolError):
            after(phase, move)
    else:
        assert after(phase, move) is expected


def test_only_preparation_lets_anybody_in() -> None:
    """The session is activated from the inventory's start until a restart."""
    assert [phase for phase in Phase if not phase.activated] == [Phase.PREPARATION]


def test_the_diagram_names_every_phase_and_move_and_no_other() -> None:
    """The picture above the table stays its picture."""
    diagram = (phases.__doc__ or "").partition("::")[2].partition("Rule:")[0]
    names = set(re.findall(r"[A-Z]{5,}|[a-z]+_[a-z]+|restart", diagram))

    assert names == {phase.name for phase in Phase} | {move.value for move in Move}
    assert {move for _, move in TRANSITIONS} == set(Move)
