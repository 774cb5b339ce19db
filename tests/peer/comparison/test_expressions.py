import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.comparison.expressions import (
    MAX_EXPRESSION,
    Reader,
    Shape,
    glob_matches,
    glob_of,
    member_of,
    size_of,
    unexpected,
)
from peer.errors import ExpressionMalformed, Problem


def tokens(text: str) -> list[tuple[Shape, str, int, str]]:
    reader = Reader(text)
    found = []
    while reader.peek().shape is not Shape.END:
        token = reader.take()
        found.append((token.shape, token.text, token.position, token.value))
    return found


def test_an_expression_is_words_tags_operators_and_marks() -> None:
    """Each with the place it stands at."""
    assert tokens('a.b ("c d") name:*.j,') == [
        (Shape.WORD, "a.b", 0, ""),
        (Shape.MARK, "(", 4, ""),
        (Shape.QUOTED, "c d", 5, ""),
        (Shape.MARK, ")", 10, ""),
        (Shape.TAG, "name", 12, "*.j"),
        (Shape.MARK, ",", 20, ""),
    ]
    assert tokens("A.size>=10mb->B") == [
        (Shape.WORD, "A.size", 0, ""),
        (Shape.OPERATOR, ">=", 6, ""),
        (Shape.WORD, "10mb", 8, ""),
        (Shape.MARK, "->", 12, ""),
        (Shape.WORD, "B", 14, ""),
    ]


def test_a_tag_takes_a_quoted_value_or_a_pattern() -> None:
    """So that spaces and parentheses can be looked for."""
    assert tokens('name:"a (b)" path:=~"^a b$" on:') == [
        (Shape.TAG, "name", 0, "a (b)"),
        (Shape.TAG, "path", 13, "=~^a b$"),
        (Shape.TAG, "on", 28, ""),
    ]


@pytest.mark.parametrize(("text", "position"), [('a "b', 2), ("a  = b", 3), ("!", 0)])
def test_what_begins_nothing_is_pointed_at(text: str, position: int) -> None:
    """An open quotation mark, half an operator."""
    with pytest.raises(ExpressionMalformed) as caught:
        Reader(text)

    assert caught.value.problem is Problem.UNEXPECTED
    assert caught.value.position == position


def test_an_expression_has_a_bound() -> None:
    """Rules come from others."""
    with pytest.raises(ExpressionMalformed) as caught:
        Reader("a" * (MAX_EXPRESSION + 1))

    assert caught.value.problem is Problem.TOO_MUCH


def test_reading_stops_at_the_end() -> None:
    """The end can be taken again and again, and points behind the last sign."""
    reader = Reader("a  ")

    reader.take()
    first, second = reader.take(), reader.take()

    assert first == second
    assert (first.shape, first.position) == (Shape.END, 1)


def test_marks_and_words_can_be_accepted_or_expected() -> None:
    """In any case; a quoted word is never a keyword."""
    reader = Reader('IF "then" x')

    assert reader.accept("if") is not None
    assert reader.accept("then") is None
    with pytest.raises(ExpressionMalformed) as caught:
        reader.expect("then")
    assert caught.value.expected == "then"
    reader.take()
    assert reader.expect("x").text == "x"


def test_an_end_that_comes_too_early_is_unfinished() -> None:
    """A different word for it than for a sign too many."""
    reader = Reader("a")

    assert unexpected(reader.take()).problem is Problem.UNEXPECTED
    assert unexpected(reader.take()).problem is Problem.UNFINISHED


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else ever comes of it, and the tokens cover the text."""
    position = None
    found: list[tuple[Shape, str, int, str]] = []
    try:
        found = tokens(text)
    except ExpressionMalformed as error:
        position = error.position

    assert (position is None) == (bool(found) or not text.strip())
    assert position is None or 0 <= position <= len(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("10", 10),
        ("10b", 10),
        ("10K", 10_000),
        ("10kb", 10_000),
        ("1.5MB", 1_500_000),
        ("2gib", 2 * 1024**3),
        ("1t", 10**12),
        ("999999999999tib", None),
        ("10xb", None),
        ("mb", None),
        ("-1", None),
        ("1e3", None),
        ("1.2.3", None),
    ],
)
def test_sizes_have_units(text: str, size: int | None) -> None:
    """Decimal as disks are sold, binary with an i; whole numbers everywhere alike."""
    assert size_of(text) == size


def test_a_member_is_named_by_its_letter() -> None:
    """Which is the rank of its index."""
    assert member_of("b", [3, 7], 0) == 7
    with pytest.raises(ExpressionMalformed) as caught:
        member_of("C", [3, 7], 5)
    assert (caught.value.problem, caught.value.position, caught.value.expected) == (
        Problem.UNKNOWN_MEMBER,
        5,
        "A B",
    )


@given(st.text("ab*?", max_size=8), st.text("ab*", max_size=8))
def test_a_glob_matches_what_the_same_regular_expression_does(pattern: str, name: str) -> None:
    """Without its cost."""
    expression = "".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in pattern)

    assert glob_matches(pattern, name) == bool(re.fullmatch(expression, name))


def test_a_hostile_glob_takes_no_time() -> None:
    """A backtracking library needs longer than the universe for it."""
    assert not glob_matches("*a" * 50 + "b", "a" * 255)


globs = st.text(alphabet="ab*?", max_size=8)


@given(globs, st.text(alphabet="ab", max_size=8))
def test_a_prepared_glob_matches_what_the_glob_matches(pattern: str, name: str) -> None:
    """Whatever stands between the stars, and wherever the rest of it is."""
    assert glob_of(pattern)(name) == glob_matches(pattern, name)


def test_a_prepared_glob_finds_its_parts_in_order() -> None:
    """Beginning, middle, end, none of them twice."""
    matches = glob_of("a*bc*bc*d")

    assert matches("a.bcbc.d")
    assert not matches("a.bc.d")
    assert not matches("a.bcbc")
