import msgspec
import pytest

from peer.comparison.compared import Context
from peer.comparison.comparison import Comparison, Item
from peer.comparison.expressions import Reader
from peer.errors import ExpressionMalformed, Problem
from peer.plan.conditions import Condition, format_condition, parse_condition
from peer.session.session_settings import SessionSettings
from protocol.ids import letter_of
from protocol.messages.inventory import SkipReason
from tests.harness.inventories import Thing, file, inventories_of

MEMBERS = (0, 4)


def parsed(text: str) -> Condition:
    return parse_condition(Reader(text), MEMBERS)


def item_of(*things: Thing | SkipReason | None, name: str = "Dir/Photo.jpg") -> Item:
    trees = [{} if thing is None else {name: thing} for thing in things]
    comparison = Comparison(inventories_of(*trees), SessionSettings())
    return comparison.item(len(comparison) - 1)


X = file("x")


@pytest.mark.parametrize(
    ("text", "things", "to", "holds"),
    [
        ("on:A", (X, None), None, True),
        ("on:to", (X, None), 1, False),
        ("on:to", (X, None), 0, True),
        ("missing:A", (X, None), None, False),
        ("missing:to", (X, None), 1, True),
        ("missing:to", (X, SkipReason.HIDDEN), 1, False),
        ("on:to", (X, SkipReason.HIDDEN), 1, False),
        ("missing:to", (X, None), None, False),
        ("name:*.JPG", (X, None), None, True),
        ("name:photo", (X, None), None, False),
        ("path:dir/*", (X, None), None, True),
        ("path:*.png", (X, None), None, False),
        ("A.size == 1", (X, None), None, True),
    ],
)
def test_a_condition_holds_or_not(
    text: str, things: tuple[Thing | SkipReason | None, ...], to: int | None, holds: bool
) -> None:
    """One table; blocked is neither present nor missing."""
    assert parsed(text).holds(item_of(*things), Context(to=to)) is holds


@pytest.mark.parametrize(
    "text",
    [
        "A.content != B.content",
        "A2.date > to.date",
        "A.date < now-6d",
        "B.size >= 1000",
        "on:B",
        "missing:to",
        'name:"*.jpg"',
        'path:"a (b)/*"',
    ],
)
def test_conditions_are_written_as_they_are_read(text: str) -> None:
    """And survive the wire, members by index."""
    condition = parsed(text)

    assert format_condition(condition, lambda index: letter_of(index, MEMBERS)) == text
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(condition), type=Condition) == condition


def test_letters_are_those_of_the_moment() -> None:
    """Member 4 is B now, and A when the first has gone."""
    condition = parsed("on:B")

    assert format_condition(condition, lambda index: letter_of(index, (4,))) == "on:A"


@pytest.mark.parametrize(
    ("text", "problem", "position"),
    [
        ("photo", Problem.UNEXPECTED, 0),
        ("", Problem.UNFINISHED, 0),
        ("is:file", Problem.UNKNOWN_TERM, 0),
        ("on:C", Problem.UNKNOWN_MEMBER, 3),
        ("name:", Problem.BAD_VALUE, 5),
        ('name:"a\tb"', Problem.BAD_VALUE, 5),
        (f"name:{'x' * 1001}", Problem.BAD_VALUE, 5),
        ("A.size > soon", Problem.BAD_VALUE, 9),
    ],
)
def test_what_is_no_condition_is_pointed_at(text: str, problem: Problem, position: int) -> None:
    """With the place."""
    with pytest.raises(ExpressionMalformed) as caught:
        parsed(text)

    assert (caught.value.problem, caught.value.position) == (problem, position)
