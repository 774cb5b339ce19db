"""Conditions: what must be true of an item for a rule to apply.

A condition is a class here; the union at the foot makes it part of rules, of their text and
of the wire. ``to`` stands for the destination the rule is asked about.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, assert_never

from msgspec import Meta

from peer.comparison.compared import (
    Amount,
    Compared,
    Context,
    Instant,
    Side,
    instant_text,
    parse_compared,
    parse_side,
)
from peer.comparison.comparison import Item
from peer.comparison.expressions import Reader, Shape, Token, glob_matches, member_of, unexpected
from peer.comparison.filters import name_of, path_of
from peer.errors import ExpressionMalformed, Problem
from protocol.ids import MemberIndex
from protocol.messages.base import Value

MAX_PATTERN: Final = 1_000
"""Characters of one pattern."""

Pattern = Annotated[str, Meta(min_length=1, max_length=MAX_PATTERN, pattern=r'\A[^"\x00-\x1f]*\Z')]
"""A name or path with ``*`` and ``?``, compared without case."""

Letter = Callable[[int], str]
"""Gives the letter of a member's index, for people."""


class Present(Value, tag="on"):
    """Something is there on this member: ``on:A``."""

    member: MemberIndex | None = None
    """None is the destination."""

    def holds(self, item: Item, context: Context) -> bool:
        """Tell whether this is true of *item*."""
        return Side(member=self.member).cell(item, context) is not None


class Missing(Value, tag="missing"):
    """Nothing is there on this member, for certain: ``missing:A``. Blocked is not missing."""

    member: MemberIndex | None = None
    """None is the destination."""

    def holds(self, item: Item, context: Context) -> bool:
        """Tell whether this is true of *item*."""
        member = context.to if self.member is None else self.member
        return any(cell.member == member and cell.missing for cell in item.cells)


class Named(Value, tag="name"):
    """The name matches: ``name:*.jpg``."""

    pattern: Pattern

    def holds(self, item: Item, _: Context) -> bool:
        """Tell whether this is true of *item*."""
        return glob_matches(self.pattern.casefold(), name_of(item))


class Located(Value, tag="path"):
    """The path matches: ``path:photos/*``."""

    pattern: Pattern

    def holds(self, item: Item, _: Context) -> bool:
        """Tell whether this is true of *item*."""
        return glob_matches(self.pattern.casefold(), path_of(item))


Condition = Compared | Present | Missing | Named | Located

_TAGS: Final = ("on", "missing", "name", "path")


def parse_condition(reader: Reader, members: Sequence[int]) -> Condition:
    """Read one condition.

    Raises:
        ExpressionMalformed: At whatever does not fit.
    """
    token = reader.take()
    if token.shape is Shape.TAG:
        return _parse_tag(token, members)
    side = parse_side(token, members)
    if side is None:
        raise unexpected(token, "A.content A.date A.size on:A missing:A name:* path:*")
    return parse_compared(side, reader, members)


def _parse_tag(token: Token, members: Sequence[int]) -> Condition:
    position = token.position + len(token.text) + 1
    if token.text in ("on", "missing"):
        destination = token.value.lower() == "to"
        member = None if destination else member_of(token.value, members, position)
        return Present(member=member) if token.text == "on" else Missing(member=member)
    if token.text not in _TAGS:
        raise ExpressionMalformed(Problem.UNKNOWN_TERM, token.position, token.text, " ".join(_TAGS))
    if not token.value or not token.value.isprintable() or len(token.value) > MAX_PATTERN:
        raise ExpressionMalformed(Problem.BAD_VALUE, position, token.value, "*.jpg")
    if token.text == "name":
        return Named(pattern=token.value)
    return Located(pattern=token.value)


def format_condition(condition: Condition, letter: Letter) -> str:
    """Return *condition* as it is written in a rule."""
    match condition:
        case Compared():
            left = f"{_side(condition.left, letter)}.{condition.field}"
            return f"{left} {condition.operator} {_right(condition, letter)}"
        case Present() | Missing():
            who = "to" if condition.member is None else letter(condition.member)
            return f"{'on' if isinstance(condition, Present) else 'missing'}:{who}"
        case Named() | Located():
            return f'{"name" if isinstance(condition, Named) else "path"}:"{condition.pattern}"'
        case _:
            assert_never(condition)


def _side(side: Side, letter: Letter) -> str:
    who = "to" if side.member is None else letter(side.member)
    return who if side.line is None else f"{who}{side.line + 1}"


def _right(condition: Compared, letter: Letter) -> str:
    right = condition.right
    match right:
        case Side():
            return f"{_side(right, letter)}.{condition.field}"
        case Amount():
            return str(right.size)
        case Instant():
            return instant_text(right)
        case _:
            assert_never(right)
