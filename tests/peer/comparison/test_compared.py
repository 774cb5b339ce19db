import msgspec
import pytest

from peer.comparison.compared import (
    Amount,
    Compared,
    Context,
    Field,
    Instant,
    Operator,
    Side,
    instant_of,
    instant_text,
    parse_compared,
    parse_side,
)
from peer.comparison.comparison import Comparison, Item
from peer.comparison.expressions import Reader
from peer.errors import ExpressionMalformed, Problem
from peer.session.session_settings import SessionSettings
from protocol.messages.inventory import SkipReason
from tests.harness.inventories import DIRECTORY, SECOND, Thing, file, inventories_of

DAY = 86_400 * SECOND
MEMBERS = (0, 1, 2)


def item_of(*things: Thing | SkipReason | None) -> Item:
    trees = [{} if thing is None else {"x": thing} for thing in things]
    return Comparison(inventories_of(*trees), SessionSettings()).item(0)


def parsed(text: str) -> Compared:
    reader = Reader(text)
    side = parse_side(reader.take(), MEMBERS)
    assert side is not None
    return parse_compared(side, reader, MEMBERS)


def holds(text: str, *things: Thing | SkipReason | None, context: Context | None = None) -> bool:
    return parsed(text).holds(item_of(*things), context or Context())


OLD, NEW = file("xx", at=10), file("yyyy", at=20)


@pytest.mark.parametrize(
    "text",
    [
        "A.content != B.content",
        "A.content == A.content",
        "A.date < B.date",
        "A.date <= B.date",
        "B.date > A.date",
        "B.date >= A.date",
        "A.date != B.date",
        "A.date == A.date",
        "A.size < B.size",
        "A.size == 2",
        "B.size > 3b",
        "B1.size > 3b",
        "A.date < 2026-11-22",
        "A.date > now-1d",
    ],
)
def test_comparisons_that_are_true(text: str) -> None:
    """One file is older and shorter than the other."""
    assert holds(text, OLD, NEW)


@pytest.mark.parametrize(
    "text",
    [
        "A.content == B.content",
        "A.date > B.date",
        "A.size >= B.size",
        "A2.size == 2",
        "A.size > 1kb",
        "C.size != 2",
        "C.date < now",
        "A.size != C.size",
        "A.content != C.content",
        "to.size == 2",
    ],
)
def test_comparisons_that_are_false(text: str) -> None:
    """Above all: whatever names an absent entry, or one in another line."""
    assert not holds(text, OLD, NEW, None)


def test_a_blocked_entry_compares_with_nothing() -> None:
    """Skipped is as unknown as absent here."""
    assert not holds("A.content != B.content", OLD, SkipReason.HIDDEN)


def test_only_files_have_size_and_date() -> None:
    """And only entries of one kind compare."""
    assert not holds("A.size == 0", DIRECTORY)
    assert not holds("A.date < B.date", file("x"), DIRECTORY)
    assert not holds("A.content != B.content", file("x"), DIRECTORY)
    assert holds("A.content == B.content", DIRECTORY, DIRECTORY)


def test_to_is_the_destination() -> None:
    """Whom a rule is asked about."""
    assert holds("A.date < to.date", OLD, NEW, context=Context(to=1))
    assert not holds("A.date < to.date", OLD, NEW, context=Context(to=0))


def test_dates_within_the_tolerance_are_equal() -> None:
    """Then neither is newer."""
    near = Context(tolerance_ns=10 * SECOND)

    assert holds("A.date == B.date", OLD, NEW, context=near)
    assert not holds("A.date < B.date", OLD, NEW, context=near)
    assert holds("A.size < B.size", OLD, NEW, context=near)


def test_relative_dates_count_from_now() -> None:
    """Now is the plan's instant."""
    now = Context(now_ns=2 * DAY)

    assert holds("A.date < now-1d", file("x", at=86_399), context=now)
    assert not holds("A.date < now-1d", file("x", at=86_401), context=now)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-02", Instant(ns=DAY)),
        ("1970-01-01T00:00:01", Instant(ns=SECOND)),
        ("1970-01-01T01:00:00+01:00", Instant(ns=0)),
        ("1969-12-31", Instant(ns=-DAY)),
        ("now", Instant(ns=0, relative=True)),
        ("NOW-7d", Instant(ns=-7 * DAY, relative=True)),
        ("now+30s", Instant(ns=30 * SECOND, relative=True)),
        ("now-2w", Instant(ns=-14 * DAY, relative=True)),
        ("now-999999999y", None),
        ("9999-01-01", None),
        ("yesterday", None),
        ("now-7", None),
    ],
)
def test_dates_are_fixed_or_relative(text: str, instant: Instant | None) -> None:
    """A date without a zone is UTC, so that it means the same everywhere."""
    assert instant_of(text) == instant


@pytest.mark.parametrize("text", ["1970-01-02T00:00:00", "now", "now-1w", "now+90m", "now-8d"])
def test_dates_are_written_as_they_are_read(text: str) -> None:
    """In the largest unit that fits."""
    instant = instant_of(text)

    assert instant is not None
    assert instant_text(instant) == text


@pytest.mark.parametrize(
    ("text", "problem", "position"),
    [
        ("A.size", Problem.UNFINISHED, 6),
        ("A.size >", Problem.UNFINISHED, 8),
        ("A.size B.size", Problem.UNEXPECTED, 7),
        ("A.size > (", Problem.UNEXPECTED, 9),
        ("A.size > B.date", Problem.UNEXPECTED, 9),
        ("A.size > soon", Problem.BAD_VALUE, 9),
        ("A.date > 10mb", Problem.BAD_VALUE, 9),
        ("A.content > B.content", Problem.UNEXPECTED, 10),
        ("A.content == 10mb", Problem.BAD_VALUE, 13),
        ("A.size > E.size", Problem.UNKNOWN_MEMBER, 9),
    ],
)
def test_what_cannot_be_compared_is_pointed_at(text: str, problem: Problem, position: int) -> None:
    """With the place, and what would be accepted."""
    with pytest.raises(ExpressionMalformed) as caught:
        parsed(text)

    assert (caught.value.problem, caught.value.position) == (problem, position)


@pytest.mark.parametrize("text", ["photo.jpg", "a.sizes", '"A.size"', "A.", "F9.size0"])
def test_other_words_are_no_sides(text: str) -> None:
    """A file name looks like one at first."""
    assert parse_side(Reader(text).take(), MEMBERS) is None


@pytest.mark.parametrize(
    "hostile",
    [
        {"field": "size", "operator": "<", "right": {"type": "instant", "ns": 0}},
        {"field": "date", "operator": "<", "right": {"type": "amount", "size": 0}},
        {"field": "content", "operator": "<", "right": {"type": "side"}},
        {"field": "content", "operator": "==", "right": {"type": "amount", "size": 0}},
        {"field": "date", "operator": "<", "right": {"type": "instant", "ns": 1}},
        {
            "field": "date",
            "operator": "<",
            "right": {"type": "instant", "ns": 1000, "relative": True},
        },
    ],
)
def test_a_comparison_that_cannot_be_does_not_exist(hostile: dict[str, object]) -> None:
    """Rules arrive over the wire: what could not be written is refused there, too."""
    data = msgspec.msgpack.encode({"type": "compare", "left": {"type": "side"}, **hostile})

    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(data, type=Compared)


def test_values_survive_the_wire() -> None:
    """Every form of a right side."""
    conditions = [parsed(text) for text in ("A2.size > 1kb", "B.date < now-1d", "A.size == C.size")]

    encoded = msgspec.msgpack.encode(conditions)

    assert msgspec.msgpack.decode(encoded, type=list[Compared]) == conditions
    assert conditions[0] == Compared(
        field=Field.SIZE,
        left=Side(member=0, line=1),
        operator=Operator.GREATER,
        right=Amount(size=1000),
    )
