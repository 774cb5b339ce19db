import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.comparison.comparison import Comparison, Item
from peer.comparison.filters import HAS, IS, MARKS, TERMS, parse, select
from peer.errors import ExpressionMalformed, Problem
from peer.session.session_settings import SessionSettings
from protocol.messages.inventory import SkipReason
from tests.harness.inventories import DIRECTORY, Tree, file, hashed, identified, link

X, NEW_X, Y = file("x", at=1), file("x", at=2), file("yy", at=2)
SETTINGS = SessionSettings()
TREES: list[Tree] = [
    {
        "same.txt": X,
        "Été/photo.JPG": X,
        "diff": X,
        "dates": X,
        "clash": X,
        "hidden": X,
        "broken": X,
        "locked/a": X,
        "twin": X,
        "l": link("t"),
        "a b": X,
    },
    {
        "same.txt": X,
        "diff": Y,
        "dates": NEW_X,
        "clash": DIRECTORY,
        "hidden": SkipReason.HIDDEN,
        "broken": NEW_X,
        "locked": SkipReason.INACCESSIBLE,
        "Twin": X,
        "gone": X,
    },
]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    inventories = [identified(member, tree) for member, tree in enumerate(TREES)]
    done = hashed(inventories, [[tree] for tree in TREES], SETTINGS, [(1, "broken")])
    return Comparison(done, SETTINGS)


def marks(item: Item) -> frozenset[str]:
    return frozenset({"action", "action.copy"}) if item.key == ("diff",) else frozenset()


def names(comparison: Comparison, text: str) -> set[str]:
    predicate = parse(text, comparison.members, now_ns=10**9, tolerance_ns=0, marks=marks)
    return {"/".join(comparison.item(n).key) for n in select(comparison, predicate)}


PHOTO = "Été/photo.JPG"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("photo", {PHOTO}),
        ("PHOTO jpg", {PHOTO}),
        ("photo txt", set()),
        ('"a b"', {"a b"}),
        ("été", {"Été"}),
        ("name:*.jpg", {PHOTO}),
        ("name:????", {"twin", "Twin", "diff", "gone"}),
        ("name:photo", {PHOTO}),
        ("path:été/*", {PHOTO}),
        ("path:=~^l", {"l", "locked", "locked/a"}),
        ('name:=~"^a b$"', {"a b"}),
        ("is:different", {"diff"}),
        ("is:dates-differ", {"dates"}),
        ("is:clash", {"clash"}),
        ("is:equal", {"same.txt"}),
        ("is:unknown", {"hidden", "broken", "locked", "locked/a"}),
        ("is:blocked is:dir", {"locked"}),
        ("is:missing is:dir", {"Été"}),
        ("is:link", {"l"}),
        ("is:file is:dir", {"clash"}),
        ("not is:hashed", {"same.txt"}),
        ("on:B missing:A", {"gone", "Twin"}),
        ("only:B", {"gone", "Twin"}),
        ("only:A is:link", {"l"}),
        ("only:A hidden", set()),
        ("has:name-clash", {"twin", "Twin"}),
        ("has:read-error", {"broken"}),
        ("has:access-error", {"locked", "locked/a"}),
        ("has:action", {"diff"}),
        ("has:action.copy", {"diff"}),
        ("has:sync-error", set()),
        ("A.size < B.size", {"diff"}),
        ("A.date < B.date and not is:different", {"dates"}),
        ("B.date > now", {"diff", "dates"}),
        ("is:different or is:clash", {"diff", "clash"}),
        ("(is:different or is:clash) not diff", {"clash"}),
        ("diff or dates and dates", {"diff", "dates"}),
        ("not (not diff)", {"diff"}),
        ("NOT is:equal AND same", set()),
    ],
)
def test_a_filter_shows_what_it_says(comparison: Comparison, text: str, expected: set[str]) -> None:
    """One table of the language."""
    assert names(comparison, text) == expected


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_filter_shows_everything(comparison: Comparison, text: str) -> None:
    """Nothing asked, nothing hidden."""
    assert len(names(comparison, text)) == len(comparison)


@pytest.mark.parametrize(
    ("text", "problem", "position"),
    [
        ("a and", Problem.UNFINISHED, 5),
        ("or a", Problem.UNEXPECTED, 0),
        ("a and and b", Problem.UNEXPECTED, 6),
        ("(a", Problem.UNFINISHED, 2),
        ("a)", Problem.UNEXPECTED, 1),
        ("a , b", Problem.UNEXPECTED, 2),
        ("> 3", Problem.UNEXPECTED, 0),
        ("colour:red", Problem.UNKNOWN_TERM, 0),
        ("a is:", Problem.UNFINISHED, 5),
        ("is:nice", Problem.BAD_VALUE, 3),
        ("has:nice", Problem.BAD_VALUE, 4),
        ('item:"1,x"', Problem.BAD_VALUE, 5),
        ("item:-3", Problem.BAD_VALUE, 5),
        ("item:0-999999999", Problem.TOO_MUCH, 5),
        ("on:C", Problem.UNKNOWN_MEMBER, 3),
        ("only:C", Problem.UNKNOWN_MEMBER, 5),
        ("missing:C", Problem.UNKNOWN_MEMBER, 8),
        ("name:=~a[", Problem.BAD_PATTERN, 8),
        ("A.size > soon", Problem.BAD_VALUE, 9),
        ("not " * 60 + "a", Problem.TOO_MUCH, 200),
    ],
)
def test_a_filter_that_cannot_be_read_is_pointed_at(
    comparison: Comparison, text: str, problem: Problem, position: int
) -> None:
    """It never silently shows everything."""
    with pytest.raises(ExpressionMalformed) as caught:
        names(comparison, text)

    assert (caught.value.problem, caught.value.position) == (problem, position)


def test_an_error_says_what_would_be_accepted(comparison: Comparison) -> None:
    """For completion as much as for the reader."""
    with pytest.raises(ExpressionMalformed) as term:
        names(comparison, "colour:red")
    with pytest.raises(ExpressionMalformed) as value:
        names(comparison, "has:nice")

    assert term.value.expected.split() == list(TERMS)
    assert value.value.expected.split() == [*HAS, *MARKS]


def test_every_listed_value_is_read(comparison: Comparison) -> None:
    """Nothing is offered that fails."""
    for value in IS:
        assert names(comparison, f"is:{value}") is not None
    for value in (*HAS, *MARKS):
        assert names(comparison, f"has:{value}") is not None


def test_marks_are_optional(comparison: Comparison) -> None:
    """Before there is a plan nothing has an action."""
    predicate = parse("has:action", comparison.members, now_ns=0)

    assert not list(select(comparison, predicate))


def test_a_single_file_has_no_name_below_its_root() -> None:
    """It is found by nothing but what it is."""
    trees: list[Tree] = [{"": X}, {"": Y}]
    inventories = [identified(member, tree) for member, tree in enumerate(trees)]
    comparison = Comparison(hashed(inventories, [[t] for t in trees], SETTINGS), SETTINGS)

    assert names(comparison, "is:different") == {""}
    assert names(comparison, "name:x") == set()


@given(st.text('ab:()<>=! "*~.A-', max_size=20))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    """Nothing else escapes, and what is read can be asked."""
    comparison = Comparison([identified(0, {"a": X}), identified(1, {})], SETTINGS)
    shown: set[str] | None = None
    with contextlib.suppress(ExpressionMalformed):
        shown = names(comparison, text)

    assert shown is None or shown <= {"a"}


def test_chosen_rows_are_named_by_their_numbers(comparison: Comparison) -> None:
    """One by one and by ranges; a number beyond the end names nothing."""
    chosen = parse('item:"0,2-3,900"', comparison.members, now_ns=0)

    assert list(select(comparison, chosen)) == [0, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "photo or not is:file",
        "a b",
        "path:*/a",
        "path:é*o*g",
        "name:=~^[dt]",
        "A.date > B.date or A.date <= now-1s",
        "B.size >= A.size",
        "A1.size > 0b",
        "A2.size > 0b",
        "A.content == B.content",
        "A1.content != B.content",
        "A.date < 1970-01-02",
        "has:action.copy or has:name-clash",
        "item:2-4 not missing:B",
        "to.size > 1b",
    ],
)
def test_all_items_at_once_is_one_by_one(comparison: Comparison, text: str) -> None:
    """Columns and masks select what the same filter says of every item."""
    for marked in (None, range(len(comparison))):
        chosen = parse(text, comparison.members, now_ns=10**10, marks=marks, marked=marked)

        assert list(select(comparison, chosen)) == [
            item.number for item in comparison.rows() if chosen(item)
        ]
