"""Comparisons of two sides: ``A.content != B.content``, ``A.size > 10mb``, ``A.date < now-7d``."""

import datetime as dt
import enum
import itertools
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from peer.comparison.comparison import Cell, Comparison, Item
from peer.comparison.expressions import (
    MAX_SIZE,
    Reader,
    Shape,
    Token,
    member_of,
    size_of,
    unexpected,
)
from peer.comparison.matching import NO_GROUP
from peer.errors import ExpressionMalformed, Problem
from protocol.ids import MemberIndex
from protocol.messages.base import Value
from protocol.messages.inventory import MAX_TIME_NS, Kind, SourcePosition

SECOND_NS: Final = 1_000_000_000
_DURATIONS: Final = {
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3_600 * SECOND_NS,
    "d": 86_400 * SECOND_NS,
    "w": 604_800 * SECOND_NS,
    "y": 31_536_000 * SECOND_NS,
}


class Field(enum.StrEnum):
    """What of an entry is compared."""

    CONTENT = "content"
    DATE = "date"
    SIZE = "size"


class Operator(enum.StrEnum):
    """How it is compared."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


_OPERATORS: Final[dict[Operator, Callable[[int, int], bool]]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Context:
    """What an expression is evaluated with besides the item."""

    now_ns: int = 0
    """The plan's instant, or the clock of whoever filters; nanoseconds since 1970."""
    tolerance_ns: int = 0
    to: int | None = None
    """The destination a rule is asked about: what ``to`` stands for."""


class Side(Value, tag="side"):
    """The entry of one member: ``A``, ``A2`` for its second source, ``to``."""

    member: MemberIndex | None = None
    """None is the destination the rule is asked about."""
    line: SourcePosition | None = None

    def cell(self, item: Item, context: Context) -> Cell | None:
        """Return the cell meant, if something is there that may be compared."""
        member = context.to if self.member is None else self.member
        cell = next((cell for cell in item.cells if cell.member == member), None)
        if cell is None or not cell.present:
            return None
        source = cell.inventory.positions[cell.number]
        return cell if self.line is None or self.line == source else None


class Amount(Value, tag="amount"):
    """A fixed number of bytes."""

    size: Annotated[int, Meta(ge=0, le=MAX_SIZE)]


class Instant(Value, tag="instant"):
    """A fixed date, or one relative to the plan's instant."""

    ns: Annotated[int, Meta(ge=-MAX_TIME_NS, le=MAX_TIME_NS)]
    """Nanoseconds since 1970, or from the plan's instant."""
    relative: bool = False

    def __post_init__(self) -> None:
        # What can be written, and so shown: whole seconds from now, microseconds of a date.
        if self.ns % (SECOND_NS if self.relative else 1_000):
            raise ValueError("an instant is finer than it can be written")


class Compared(Value, tag="compare"):
    """A comparison, false where an entry is absent: ``A.date > B.date``, ``A.size > 10mb``."""

    field: Field
    left: Side
    operator: Operator
    right: Side | Amount | Instant

    def __post_init__(self) -> None:
        fixed = {Field.SIZE: Amount, Field.DATE: Instant}.get(self.field, Side)
        if not isinstance(self.right, (Side, fixed)):
            raise ValueError("a size is compared with a size, a date with a date")  # noqa: TRY004  # msgspec turns a ValueError into its own
        if self.field is Field.CONTENT and self.operator not in (
            Operator.EQUAL,
            Operator.NOT_EQUAL,
        ):
            raise ValueError("contents are equal or not")

    def holds(self, item: Item, context: Context) -> bool:
        """Tell whether this is true of *item*."""
        left = self.left.cell(item, context)
        if left is None:
            return False
        right = self.right
        if isinstance(right, Side):
            other = right.cell(item, context)
            if other is None or other.kind is not left.kind:
                return False
            return self._apply(left, _number(other, self.field), context)
        if isinstance(right, Amount):
            return self._apply(left, right.size, context)
        return self._apply(left, _moment(right, context), context)

    def _apply(self, left: Cell, number: int, context: Context) -> bool:
        if self.field is not Field.CONTENT and left.kind is not Kind.FILE:
            return False
        difference = _number(left, self.field) - number
        if self.field is Field.DATE and abs(difference) <= context.tolerance_ns:
            difference = 0
        return _OPERATORS[self.operator](difference, 0)


def mask_of(compared: Compared, comparison: Comparison, context: Context) -> bytes:
    """Return a byte for every item: whether *compared* is true of it.

    The same as ``holds`` of each, by columns.
    """
    left, right = compared.left, compared.right
    sides = [left, right] if isinstance(right, Side) else [left]
    if compared.field is Field.CONTENT and all(side.line is None for side in sides):
        return comparison.mask_by_sample(lambda item: compared.holds(item, context))
    flags = bytearray(len(comparison))
    positions = [_position(side, comparison, context) for side in sides]
    if None in positions or compared.field is Field.CONTENT:
        return _one_by_one(compared, comparison, context, flags)
    # Every side is a file that may be looked at; what line it is in is asked last.
    at = [position for position in positions if position is not None]
    files = comparison.mask(
        lambda kind: all(
            kind.kinds[p] == Kind.FILE and kind.matched.contents[p] != NO_GROUP for p in at
        )
    )
    values = [
        (
            comparison.numbers_of(position),
            getattr(
                comparison.inventories[position],
                "sizes" if compared.field is Field.SIZE else "mtimes",
            ),
        )
        for position in at
    ]
    if any(side.line is not None for side in sides):
        return _one_by_one(compared, comparison, context, flags, files)
    tolerance = context.tolerance_ns if compared.field is Field.DATE else 0
    holds = _OPERATORS[compared.operator]
    numbers, column = values[0]
    rows = itertools.compress(range(len(comparison)), files)
    if isinstance(right, Side):
        others, other = values[1]
        for row in rows:
            difference = column[numbers[row]] - other[others[row]]
            flags[row] = holds(0 if -tolerance <= difference <= tolerance else difference, 0)
    else:
        fixed = right.size if isinstance(right, Amount) else _moment(right, context)
        for row in rows:
            difference = column[numbers[row]] - fixed
            flags[row] = holds(0 if -tolerance <= difference <= tolerance else difference, 0)
    return bytes(flags)


def _moment(instant: Instant, context: Context) -> int:
    return instant.ns + (context.now_ns if instant.relative else 0)


def _position(side: Side, comparison: Comparison, context: Context) -> int | None:
    member = context.to if side.member is None else side.member
    return None if member is None else comparison.members.index(member)


def _one_by_one(
    compared: Compared,
    comparison: Comparison,
    context: Context,
    flags: bytearray,
    candidates: bytes | None = None,
) -> bytes:
    rows = range(len(comparison))
    for row in rows if candidates is None else itertools.compress(rows, candidates):
        flags[row] = compared.holds(comparison.item(row), context)
    return bytes(flags)


def _number(cell: Cell, field: Field) -> int:
    if field is Field.CONTENT:
        return cell.content
    return cell.size if field is Field.SIZE else cell.mtime_ns


def instant_of(text: str) -> Instant | None:
    """Return *text* (``2026-11-22``, ``2026-11-22T14:03``, ``now-7d``) as an instant, or None.

    A date without a zone is UTC, so that it means the same on every member.
    """
    relative = re.fullmatch(r"now(?:([+-])([0-9]{1,12})([smhdwy]))?", text.lower())
    if relative is not None:
        sign, count, unit = relative.groups()
        offset = int(count) * _DURATIONS[unit] if sign else 0
        offset = -offset if sign == "-" else offset
        return Instant(ns=offset, relative=True) if abs(offset) <= MAX_TIME_NS else None
    try:
        parsed = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=dt.UTC)
    since = parsed - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    ns = (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1_000
    return Instant(ns=ns) if abs(ns) <= MAX_TIME_NS else None


def instant_text(instant: Instant) -> str:
    """Return *instant* as ``instant_of`` reads it."""
    if not instant.relative:
        since = dt.timedelta(microseconds=instant.ns // 1_000)
        return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + since).replace(tzinfo=None).isoformat()
    for unit in "wdhms":
        count, rest = divmod(abs(instant.ns), _DURATIONS[unit])
        if count and not rest:
            return f"now{'-' if instant.ns < 0 else '+'}{count}{unit}"
    return "now"


_FIELDS: Final = frozenset(field.value for field in Field)
_SIDE: Final = re.compile(
    r"(?P<member>[A-Za-z]|to)(?P<line>[1-9][0-9]?)?\.(?P<field>[a-z]+)", re.ASCII
)


def parse_side(token: Token, members: Sequence[int]) -> tuple[Side, Field] | None:
    """Return what ``A2.size`` stands for; None if *token* has not that form."""
    match = _SIDE.fullmatch(token.text) if token.shape is Shape.WORD else None
    if match is None or match["field"] not in _FIELDS:
        return None
    destination = match["member"] == "to"
    member = None if destination else member_of(match["member"], members, token.position)
    line = int(match["line"]) - 1 if match["line"] else None
    return Side(member=member, line=line), Field(match["field"])


def parse_compared(left: tuple[Side, Field], reader: Reader, members: Sequence[int]) -> Compared:
    """Read the operator and the right side of a comparison whose left side was read.

    Raises:
        ExpressionMalformed: At whatever does not fit.
    """
    side, field = left
    symbol = reader.take()
    allowed = [item.value for item in Operator]
    if field is Field.CONTENT:
        allowed = allowed[:2]
    if symbol.shape is not Shape.OPERATOR or symbol.text not in allowed:
        raise unexpected(symbol, " ".join(allowed))
    token = reader.take()
    if token.shape not in (Shape.WORD, Shape.QUOTED):
        raise unexpected(token, field.value)
    other = parse_side(token, members)
    right: Side | Amount | Instant
    if other is not None:
        right, other_field = other
        if other_field is not field:
            raise unexpected(token, field.value)
    else:
        right = _fixed(token, field)
    return Compared(field=field, left=side, operator=Operator(symbol.text), right=right)


def _fixed(token: Token, field: Field) -> Amount | Instant:
    size = size_of(token.text)
    if field is Field.SIZE and size is not None:
        return Amount(size=size)
    instant = instant_of(token.text)
    if field is Field.DATE and instant is not None:
        return instant
    examples = {Field.SIZE: "10mb B.size", Field.DATE: "2026-11-22 now-7d B.date"}
    raise ExpressionMalformed(
        Problem.BAD_VALUE, token.position, token.text, examples.get(field, "B.content")
    )
