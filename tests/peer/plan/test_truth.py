"""Every action, whatever stands at its source and its destination: one table each.

Rows are what A has, columns what B has: ``-`` nothing, ``X`` a file, ``x`` the same content
with another date, ``Y`` another content, ``D`` a directory, ``L`` a link, ``M`` another link,
``H`` something hidden, ``I`` something inaccessible. A cell is what *A -> B* does at B:

    +  made            ~  replaced       d  dated          -  deleted       r  cleared, then made
    .  nothing to do   b  B is blocked   a  A is blocked   m  A has nothing
    k  A has another kind                c  a file here, something else there
    n  B has nothing
"""

from typing import Final

import pytest

from peer.comparison.comparison import Comparison
from peer.plan.decisions import Decisions, Targeted
from peer.plan.guards import Reason
from peer.plan.planner import plan
from peer.plan.rules import parse_action
from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
)
from peer.session.session_settings import Analysis, SessionSettings, Symlinks
from protocol.messages.inventory import SkipReason
from tests.harness.inventories import (
    DIRECTORY,
    SECOND,
    Thing,
    Tree,
    file,
    hashed,
    identified,
    link,
)

SETTINGS: Final = SessionSettings(symlinks=Symlinks.COPY, analysis=Analysis.CHECKSUM)
STATES: Final[dict[str, Thing | SkipReason | None]] = {
    "-": None,
    "X": file("x", at=1),
    "x": file("x", at=2),
    "Y": file("yy", at=3),
    "D": DIRECTORY,
    "L": link("t"),
    "M": link("u"),
    "H": SkipReason.HIDDEN,
    "I": SkipReason.INACCESSIBLE,
}
COLUMNS: Final = "-XxYDLMHI"

TABLES: Final[dict[str, str]] = {
    "copy A -> B": """
        | mmmmmm  |
        |+.d~cccbb|
        |+d.~cccbb|
        |+~~.cccbb|
        |kkkkkkkbb|
        |+cccc.~bb|
        |+cccc~.bb|
        | aaaaaa  |
        | aaaaaa  |
    """,
    "copy A -> B replacing": """
        | mmmmmm  |
        |+.d~rrrbb|
        |+d.~rrrbb|
        |+~~.rrrbb|
        |kkkkkkkbb|
        |+rrrr.~bb|
        |+rrrr~.bb|
        | aaaaaa  |
        | aaaaaa  |
    """,
    "copy-content A -> B": """
        | mmmmmm  |
        |+..~cccbb|
        |+..~cccbb|
        |+~~.cccbb|
        |kkkkkkkbb|
        |kkkkkkkbb|
        |kkkkkkkbb|
        | aaaaaa  |
        | aaaaaa  |
    """,
    "copy-dates A -> B": """
        | mmmmmm  |
        |n.ddcccbb|
        |nd.dcccbb|
        |ndd.cccbb|
        |kkkkkkkbb|
        |kkkkkkkbb|
        |kkkkkkkbb|
        | aaaaaa  |
        | aaaaaa  |
    """,
    "create A -> B": """
        | mmmmmm  |
        |kkkkkkkbb|
        |kkkkkkkbb|
        |kkkkkkkbb|
        |+ccc.ccbb|
        |kkkkkkkbb|
        |kkkkkkkbb|
        | aaaaaa  |
        | aaaaaa  |
    """,
    "create A -> B replacing": """
        | mmmmmm  |
        |kkkkkkkbb|
        |kkkkkkkbb|
        |kkkkkkkbb|
        |+rrr.rrbb|
        |kkkkkkkbb|
        |kkkkkkkbb|
        | aaaaaa  |
        | aaaaaa  |
    """,
    "delete -> B": """
        | ------  |
        |.------bb|
        |.------bb|
        |.------bb|
        |.------bb|
        |.------bb|
        |.------bb|
        | ------  |
        | ------  |
    """,
    "nothing -> B": """
        | ......  |
        |.........|
        |.........|
        |.........|
        |.........|
        |.........|
        |.........|
        | ......  |
        | ......  |
    """,
}
"""Rows and columns both in the order of ``COLUMNS``; a blank where no row of the comparison is."""

SIGNS: Final = {
    Reason.DESTINATION_BLOCKED: "b",
    Reason.SOURCE_BLOCKED: "a",
    Reason.SOURCE_MISSING: "m",
    Reason.SOURCE_OTHER_KIND: "k",
    Reason.TYPE_CLASH: "c",
    Reason.DESTINATION_MISSING: "n",
    Reason.IDENTICAL: ".",
}


def inventories_with(left: str, right: str) -> Comparison:
    trees: list[Tree] = []
    for state in (left, right):
        thing = STATES[state]
        # Beside it something else, so that neither source is empty.
        trees.append({"other": file("o"), **({} if thing is None else {"item": thing})})
    inventories = [identified(member, tree) for member, tree in enumerate(trees)]
    done = hashed(inventories, [[tree] for tree in trees], SETTINGS)
    return Comparison(done, SETTINGS)


def sign_of(steps: tuple[AnyStep, ...]) -> str:
    kinds = [type(step) for step in steps]
    if len(steps) == 2:
        assert kinds[0] in (Delete, DeleteDirectory)
        assert steps[1].expected is None
        return "r"
    (step,) = steps
    if isinstance(step, Delete | DeleteDirectory):
        return "-"
    if isinstance(step, SetDate):
        return "d"
    assert isinstance(step, CopyFile | CopyLink | CreateDirectory)
    return "+" if step.expected is None else "~"


def outcome(action: str, left: str, right: str) -> str:
    comparison = inventories_with(left, right)
    by_hand = Targeted(action=parse_action(action, (0, 1)), items=((0, (b"item",)),))
    result = plan(comparison, Decisions(targeted=(by_hand,)), reference_time_ns=SECOND)
    assert all(step.member == 1 for step in result.steps)
    if result.stale:
        return " "
    if result.steps:
        assert not result.refused
        return sign_of(result.steps)
    return SIGNS[result.refused[0].reason] if result.refused else "."


CASES: Final = [
    pytest.param(action, left, right, sign, id=f"{action}: {left} to {right}")
    for action, table in TABLES.items()
    for left, row in zip(COLUMNS, table.strip().splitlines(), strict=True)
    for right, sign in zip(COLUMNS, row.strip().removeprefix("|").removesuffix("|"), strict=True)
    if sign != " "
]


def test_the_tables_leave_out_nothing_but_places_where_nothing_is() -> None:
    """Every action, and every state against every other but absent or skipped on both sides."""
    assert len(CASES) >= 120
    assert len(CASES) == len(TABLES) * (len(COLUMNS) ** 2 - 3**2)


@pytest.mark.parametrize(("action", "left", "right", "sign"), CASES)
def test_an_action_does_what_the_table_says(action: str, left: str, right: str, sign: str) -> None:
    """Set by hand on one row; only B is ever touched."""
    assert outcome(action, left, right) == sign
