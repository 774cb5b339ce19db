from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.comparison.compared import Context
from peer.comparison.comparison import Comparison, Item
from peer.errors import ExpressionMalformed, Problem
from peer.plan.actions import AnyAction, Copy, CopyContent, CopyDates, Create, Nothing, Remove
from peer.plan.rules import (
    AppliesTo,
    Choice,
    Rule,
    choose,
    format_action,
    format_rule,
    parse_action,
    parse_rule,
)
from peer.session.session_settings import SessionSettings
from protocol.ids import letter_of
from tests.harness.inventories import DIRECTORY, Thing, file, inventories_of

MEMBERS = (0, 1, 5)
X, Y = file("x", at=1), file("yy", at=2)


def letter(index: int) -> str:
    return letter_of(index, MEMBERS)


def item_of(*things: Thing | None) -> Item:
    trees = [{} if thing is None else {"x": thing} for thing in things]
    return Comparison(inventories_of(*trees), SessionSettings()).item(0)


def chosen(
    texts: Sequence[str],
    *things: Thing | None,
    to: int = 1,
    targeted: Sequence[AnyAction] = (),
) -> Choice | None:
    item = item_of(*things)
    rules = [parse_rule(text, (0, 1)) for text in texts]
    return choose(rules, targeted, item, item.cell(to), Context())


TEXTS = [
    "files then copy A -> B",
    "files if all(A.content != B.content, A.date > B.date) then copy A -> B",
    "files if any(missing:to, A.date > to.date) then copy A -> all",
    "off directories if all(missing:A) then delete -> B, C",
    "files then copy newest -> all replacing",
    "directories then create newest -> all",
    "directories then create A -> B replacing",
    "files then copy-content C -> A and copy-dates A -> B and nothing -> all",
    'files if all(name:"*.jpg", A.size > 1000, A.date < now-1w) then delete -> all',
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_rule_is_written_as_it_is_read(text: str) -> None:
    """One line, letters of the moment."""
    assert format_rule(parse_rule(text, MEMBERS), letter) == text


@pytest.mark.parametrize("text", TEXTS)
def test_a_rule_survives_the_wire(text: str) -> None:
    """Members by index, so that letters may move."""
    rule = parse_rule(text, MEMBERS)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(rule), type=Rule) == rule


def test_short_forms_are_read_too() -> None:
    """One condition needs no quantifier, a directory no origin; case does not matter."""
    assert parse_rule("FILES if missing:b THEN Copy a -> ALL", MEMBERS) == parse_rule(
        "files if all(missing:B) then copy A -> all", MEMBERS
    )
    assert parse_rule("directories then create -> C", MEMBERS).actions == (Create(to=(5,)),)


def test_letters_stand_for_indices() -> None:
    """Rules bind to members, not to letters."""
    rule = parse_rule("files then copy C -> A, B", MEMBERS)

    assert rule.actions == (Copy(origin=5, to=(0, 1)),)
    assert format_rule(rule, lambda index: f"<{index}>") == "files then copy <5> -> <0>, <1>"


@pytest.mark.parametrize(
    ("text", "problem", "position"),
    [
        ("", Problem.UNFINISHED, 0),
        ("links then delete -> A", Problem.UNEXPECTED, 0),
        ("files delete -> A", Problem.UNEXPECTED, 6),
        ("files then", Problem.UNFINISHED, 10),
        ("files then move A -> B", Problem.UNEXPECTED, 11),
        ("files then copy -> B", Problem.UNEXPECTED, 16),
        ("files then copy A B", Problem.UNEXPECTED, 18),
        ("files then copy A ->", Problem.UNFINISHED, 20),
        ("files then copy A -> (", Problem.UNEXPECTED, 21),
        ("files then copy A -> B, B", Problem.UNEXPECTED, 24),
        ("files then copy A -> E", Problem.UNKNOWN_MEMBER, 21),
        ("files then copy E -> A", Problem.UNKNOWN_MEMBER, 16),
        ("files then copy A -> B C", Problem.UNEXPECTED, 23),
        ("files then delete -> B replacing", Problem.UNEXPECTED, 23),
        ("files if all(on:A on:B) then delete -> B", Problem.UNEXPECTED, 18),
        ("files if all() then delete -> B", Problem.UNEXPECTED, 13),
        ("files if all on:A then delete -> B", Problem.UNEXPECTED, 13),
        ("files then delete -> B" + " and delete -> B" * 8, Problem.TOO_MUCH, 150),
    ],
)
def test_a_rule_that_cannot_be_read_is_pointed_at(
    text: str, problem: Problem, position: int
) -> None:
    """With the place."""
    with pytest.raises(ExpressionMalformed) as caught:
        parse_rule(text, MEMBERS)

    assert (caught.value.problem, caught.value.position) == (problem, position)


@given(st.text("filesthncopyAB->,() :", max_size=30))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    """Nothing else escapes."""
    rule = None
    try:
        rule = parse_rule(f"files {text}", MEMBERS)
    except ExpressionMalformed as error:
        position = error.position
    else:
        position = 0

    assert rule is None or parse_rule(format_rule(rule, letter), MEMBERS) == rule
    assert 0 <= position <= len(text) + 6


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("copy A -> B", Copy(origin=0, to=(1,))),
        ("copy newest -> all", Copy()),
        ("copy-content B -> all", CopyContent(origin=1)),
        ("copy-dates B -> C", CopyDates(origin=1, to=(5,))),
        ("create newest -> all", Create()),
        ("delete -> A, C", Remove(to=(0, 5))),
        ("nothing -> all", Nothing()),
    ],
)
def test_an_action_alone_is_written_like_in_a_rule(text: str, action: AnyAction) -> None:
    """As the command line takes it."""
    assert parse_action(text, MEMBERS) == action
    assert format_action(action, letter) == text


def test_an_action_with_more_behind_it_is_refused() -> None:
    """Nothing is silently left out."""
    with pytest.raises(ExpressionMalformed):
        parse_action("delete -> A and delete -> B", MEMBERS)


def test_the_first_rule_that_fits_wins_and_the_others_are_known() -> None:
    """Per item and destination."""
    texts = [
        "files if missing:B then copy A -> B",
        "files then copy A -> B",
        "files then delete -> B",
    ]

    choice = chosen(texts, X, Y)

    assert choice == Choice(Copy(origin=0, to=(1,)), 1, (2,))
    assert not choice.targeted
    assert chosen(texts, X, Y, to=0) is None


def test_nothing_wins_among_rules_wherever_it_stands() -> None:
    """Over every rule, but not over a hand."""
    texts = ["files then copy A -> B", "files then nothing -> B"]

    by_rule = chosen(texts, X, Y)
    by_hand = chosen(texts, X, Y, targeted=[Remove(to=(1,))])

    assert by_rule == Choice(Nothing(to=(1,)), 1, (0,))
    assert by_hand == Choice(Remove(to=(1,)), None, (0, 1))
    assert by_hand.targeted


def test_nothing_wins_among_targeted_actions() -> None:
    """Otherwise the first one set does."""
    both = chosen([], X, Y, targeted=[Remove(to=(1,)), Nothing()])
    first = chosen([], X, Y, targeted=[CopyDates(origin=0), Remove()])

    assert both == Choice(Nothing(), None)
    assert first == Choice(CopyDates(origin=0), None)


def test_a_targeted_action_for_others_says_nothing_here() -> None:
    """Rules hold for the destinations it does not name."""
    choice = chosen(["files then copy A -> B"], X, Y, targeted=[Remove(to=(0,))])

    assert choice == Choice(Copy(origin=0, to=(1,)), 0)


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ("all(on:A, on:B)", True),
        ("all(on:A, missing:B)", False),
        ("any(on:A, missing:B)", True),
        ("any(missing:A, missing:B)", False),
    ],
)
def test_all_or_any_of_the_conditions_must_hold(conditions: str, fits: bool) -> None:
    """And a rule without any always fits."""
    choice = chosen([f"files if {conditions} then copy A -> B"], X, Y)

    assert (choice is not None) is fits


def test_to_is_the_destination_asked_about() -> None:
    """One rule serves all members."""
    texts = ["files if missing:to then copy A -> all"]

    assert chosen(texts, X, None, to=1) is not None
    assert chosen(texts, X, Y, to=1) is None


def test_a_rule_switched_off_or_about_other_kinds_says_nothing() -> None:
    """It stays in the list."""
    assert chosen(["off files then copy A -> B"], X, Y) is None
    assert chosen(["directories then create A -> B"], X, Y) is None
    assert chosen(["directories then create A -> B"], DIRECTORY, None) is not None


def test_a_rule_may_do_different_things_at_different_members() -> None:
    """The first of its actions that concerns a destination counts there."""
    texts = ["files then copy A -> B and delete -> A, B"]

    copy, removal = chosen(texts, X, Y, to=1), chosen(texts, X, Y, to=0)

    assert copy is not None
    assert removal is not None
    assert (type(copy.action), type(removal.action)) == (Copy, Remove)


def test_a_rule_has_bounds_on_the_wire() -> None:
    """Rules come from others."""
    hostile = msgspec.msgpack.encode({"applies_to": "files", "actions": [{"type": "delete"}] * 9})

    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(hostile, type=Rule)
    assert AppliesTo("files") is AppliesTo.FILES
