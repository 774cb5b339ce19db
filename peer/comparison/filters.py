"""The filter language: which rows a person wants to see (product.md, section 6.1).

    filter     = all { "or" all }
    all        = one { ["and"] one }
    one        = "not" one | "(" filter ")" | term
    term       = word | tag ":" value | side operator (side | value)

A filter that cannot be read is an error that points at the place; it never shows everything.
"""

import array
import functools
import itertools
import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from peer.comparison.compared import Context, mask_of, parse_compared, parse_side
from peer.comparison.comparison import Comparison, Item
from peer.comparison.expressions import Reader, Shape, Token, glob_of, member_of, unexpected
from peer.comparison.matching import Status
from peer.errors import ExpressionMalformed, Problem
from peer.inventory.names import identity
from peer.inventory.pairing import Block
from protocol.messages.inventory import Kind

MAX_DEPTH: Final = 50
"""Parentheses and negations within one another."""

MAX_CHOSEN: Final = 10_000_000
"""Rows one range of numbers may name."""

_NUMBER: Final = re.compile(r"[0-9]{1,9}")

Marks = Callable[[Item], frozenset[str]]
"""What is known of an item beyond the comparison: ``action``, ``action.copy``, ``sync-error``."""

Predicate = Callable[[Item], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as read: asked about one item, or about all at once."""

    holds: Predicate
    mask: Callable[[Comparison], int]
    """Returns a number with one byte for every item, the first one the lowest: 0 or 1."""

    def __call__(self, item: Item) -> bool:
        return self.holds(item)


def _mask(flags: bytes | bytearray) -> int:
    return int.from_bytes(flags, "little")


def _everything(comparison: Comparison) -> int:
    return _mask(b"\1" * len(comparison))


def _by_kind(holds: Predicate) -> Filter:
    """What is the same for all rows of a kind (``RowKind``): asked once for each of these."""
    return Filter(holds, lambda comparison: _mask(comparison.mask_by_sample(holds)))


def _by_text(look: Callable[[Item], str], test: Callable[[str], bool]) -> Filter:
    whole = look is path_of
    return Filter(
        lambda item: test(look(item)),
        lambda comparison: _mask(comparison.texts.matching(test, whole=whole)),
    )


@dataclass(frozen=True, slots=True)
class _World:
    """What terms may refer to."""

    members: tuple[int, ...]
    context: Context
    marks: Marks
    marked: Collection[int] | None


def parse(
    source: str,
    members: Sequence[int],
    *,
    now_ns: int,
    tolerance_ns: int = 0,
    marks: Marks = lambda _: frozenset(),
    marked: Collection[int] | None = None,
) -> Filter:
    """Return *source* as a filter of items; an empty one holds for all.

    Args:
        source: The filter.
        members: Indices of the members, whose letters it may name.
        now_ns: What ``now`` stands for, nanoseconds since 1970.
        tolerance_ns: How far apart equal dates may be.
        marks: What ``has:action`` and ``has:sync-error`` go by.
        marked: Numbers of the items that may have marks; None where any may.

    Raises:
        ExpressionMalformed: Pointing at the first thing that cannot be read.
    """
    reader = Reader(source)
    if reader.peek().shape is Shape.END:
        return Filter(lambda _: True, _everything)
    context = Context(now_ns=now_ns, tolerance_ns=tolerance_ns)
    predicate = _any(reader, _World(tuple(members), context, marks, marked), MAX_DEPTH)
    if reader.peek().shape is not Shape.END:
        raise unexpected(reader.peek())
    return predicate


def flags(comparison: Comparison, chosen: Filter) -> bytes:
    """Return a byte for every item: whether it is a row and *chosen* holds for it."""
    rows = _mask(comparison.mask(lambda kind: kind.row))
    return (rows & chosen.mask(comparison)).to_bytes(len(comparison), "little")


def select(comparison: Comparison, chosen: Filter) -> "array.array[int]":
    """Return the numbers of the rows *chosen* holds for, in order."""
    return array.array("I", itertools.compress(range(len(comparison)), flags(comparison, chosen)))


def _any(reader: Reader, world: _World, depth: int) -> Filter:
    parts = [_all(reader, world, depth)]
    while reader.accept("or"):
        parts.append(_all(reader, world, depth))
    if len(parts) == 1:
        return parts[0]
    return Filter(
        lambda item: any(part(item) for part in parts),
        lambda comparison: functools.reduce(
            operator.or_, (part.mask(comparison) for part in parts)
        ),
    )


def _all(reader: Reader, world: _World, depth: int) -> Filter:
    parts = [_one(reader, world, depth)]
    while reader.accept("and") or not _ends(reader.peek()):
        parts.append(_one(reader, world, depth))
    if len(parts) == 1:
        return parts[0]
    return Filter(
        lambda item: all(part(item) for part in parts),
        lambda comparison: functools.reduce(
            operator.and_, (part.mask(comparison) for part in parts)
        ),
    )


def _ends(token: Token) -> bool:
    return token.shape is Shape.END or (
        token.shape in (Shape.WORD, Shape.MARK) and token.text.lower() in (")", "or")
    )


def _one(reader: Reader, world: _World, depth: int) -> Filter:
    token = reader.take()
    if depth == 0:
        raise ExpressionMalformed(Problem.TOO_MUCH, token.position, token.text)
    if token.shape is Shape.MARK and token.text == "(":
        inner = _any(reader, world, depth - 1)
        reader.expect(")")
        return inner
    if token.shape is Shape.WORD and token.text.lower() == "not":
        negated = _one(reader, world, depth - 1)
        return Filter(
            lambda item: not negated(item),
            lambda comparison: _everything(comparison) ^ negated.mask(comparison),
        )
    if token.shape is Shape.TAG:
        return _term(token, world)
    side = parse_side(token, world.members)
    if side is not None:
        compared, context = parse_compared(side, reader, world.members), world.context
        return Filter(
            lambda item: compared.holds(item, context),
            lambda comparison: _mask(mask_of(compared, comparison, context)),
        )
    if token.shape is Shape.QUOTED or (
        token.shape is Shape.WORD and token.text.lower() not in ("and", "or")
    ):
        return _containing(token.text, name_of)
    raise unexpected(token)


# --- terms ------------------------------------------------------------------------------


def name_of(item: Item) -> str:
    """Return what plain words and ``name:`` look at: the last component, without case."""
    path = item.path
    return _plain(path[-1]) if path else ""


def path_of(item: Item) -> str:
    """Return what ``path:`` looks at: all components, without case."""
    return "/".join(map(_plain, item.path))


def _plain(component: bytes) -> str:
    return identity(component).casefold()


def _containing(word: str, look: Callable[[Item], str]) -> Filter:
    wanted = _plain(word.encode("utf-8", "surrogateescape"))
    whole = look is path_of
    return Filter(
        lambda item: wanted in look(item),
        lambda comparison: _mask(comparison.texts.containing(wanted, whole=whole)),
    )


def _matching(token: Token, look: Callable[[Item], str]) -> Filter:
    if token.value.startswith("=~"):
        try:
            pattern = re.compile(token.value[2:], re.IGNORECASE)
        except re.error as error:
            # After the tag, its colon and the two characters that announce a pattern.
            position = token.position + len(token.text) + 3 + (error.pos or 0)
            raise ExpressionMalformed(Problem.BAD_PATTERN, position, token.value[2:]) from error
        return _by_text(look, lambda text: pattern.search(text) is not None)
    if "*" in token.value or "?" in token.value:
        wanted = _plain(token.value.encode("utf-8", "surrogateescape"))
        return _by_text(look, glob_of(wanted))
    return _containing(token.value, look)


def _on(token: Token, world: _World) -> Filter:
    member = member_of(token.value, world.members, _value_position(token))
    return _by_kind(lambda item: item.cell(member).present)


def _missing(token: Token, world: _World) -> Filter:
    member = member_of(token.value, world.members, _value_position(token))
    return _by_kind(lambda item: item.cell(member).missing)


def _only(token: Token, world: _World) -> Filter:
    member = member_of(token.value, world.members, _value_position(token))

    def holds(item: Item) -> bool:
        return item.cell(member).present and all(
            cell.missing or cell.block is Block.NO_SOURCE
            for cell in item.cells
            if cell.member != member
        )

    return _by_kind(holds)


def _item(token: Token, _: _World) -> Filter:
    """Rows by number, such as ``item:3,7-9``: how a page names the rows a person has chosen."""
    chosen: set[int] = set()
    for part in token.value.split(","):
        first, dash, last = part.partition("-")
        numbers = (first, last if dash else first)
        if not all(_NUMBER.fullmatch(number) for number in numbers):
            raise ExpressionMalformed(Problem.BAD_VALUE, _value_position(token), part)
        begin, end = map(int, numbers)
        if end - begin >= MAX_CHOSEN:
            raise ExpressionMalformed(Problem.TOO_MUCH, _value_position(token), part)
        chosen.update(range(begin, end + 1))
    return Filter(
        lambda item: item.number in chosen,
        lambda comparison: _mask(bytes(map(chosen.__contains__, range(len(comparison))))),
    )


IS: Final[dict[str, Predicate]] = {
    "file": lambda item: any(cell.kind is Kind.FILE for cell in item.cells),
    "dir": lambda item: any(cell.kind is Kind.DIRECTORY for cell in item.cells),
    "link": lambda item: any(cell.kind is Kind.LINK for cell in item.cells),
    "equal": lambda item: item.status is Status.EQUAL,
    "different": lambda item: item.status is Status.DIFFERENT,
    "dates-differ": lambda item: item.status is Status.DATES_DIFFER,
    "missing": lambda item: item.status is Status.MISSING,
    "clash": lambda item: item.status is Status.TYPE_CLASH,
    "unknown": lambda item: item.status is Status.UNKNOWN,
    "blocked": lambda item: bool(item.blocked),
    "hashed": lambda item: item.hashed,
}
"""What ``is:`` may be followed by."""


def _blocked_by(*blocks: Block) -> Predicate:
    return lambda item: any(cell.block in blocks for cell in item.cells)


_clashing: Final = _blocked_by(Block.NAME_CLASH)

HAS: Final[dict[str, Predicate]] = {
    "access-error": _blocked_by(Block.INACCESSIBLE),
    "read-error": _blocked_by(Block.IO_ERROR, Block.VANISHED),
    "name-clash": lambda item: item.twin or _clashing(item),
}
"""What ``has:`` may be followed by, as far as the comparison knows it."""

MARKS: Final = (
    "sync-error",
    "action",
    *(
        f"action.{name}"
        for name in (
            "targeted",
            "rule",
            "copy",
            "copy-content",
            "copy-dates",
            "create",
            "delete",
            "nothing",
        )
    ),
)
"""What else ``has:`` may be followed by: the plan or the synchronisation knows."""


def _is(token: Token, _: _World) -> Filter:
    return _listed(token, IS)


def _has(token: Token, world: _World) -> Filter:
    mark, marks = token.value.lower(), world.marks
    if mark not in MARKS:
        return _listed(token, {**HAS, **dict.fromkeys(MARKS, _clashing)})

    def mask(comparison: Comparison) -> int:
        flags = bytearray(len(comparison))
        marked = range(len(comparison)) if world.marked is None else world.marked
        for number in marked:
            flags[number] = mark in marks(comparison.item(number))
        return _mask(flags)

    return Filter(lambda item: mark in marks(item), mask)


def _listed(token: Token, table: dict[str, Predicate]) -> Filter:
    predicate = table.get(token.value.lower())
    if predicate is None:
        raise ExpressionMalformed(
            Problem.BAD_VALUE, _value_position(token), token.value, " ".join(table)
        )
    return _by_kind(predicate)


def _value_position(token: Token) -> int:
    return token.position + len(token.text) + 1


TERMS: Final[dict[str, Callable[[Token, _World], Filter]]] = {
    "name": lambda token, _: _matching(token, name_of),
    "path": lambda token, _: _matching(token, path_of),
    "is": _is,
    "on": _on,
    "only": _only,
    "missing": _missing,
    "has": _has,
    "item": _item,
}
"""Every tag, and how the term it begins is read."""


def _term(token: Token, world: _World) -> Filter:
    read = TERMS.get(token.text)
    if read is None:
        raise ExpressionMalformed(Problem.UNKNOWN_TERM, token.position, token.text, " ".join(TERMS))
    if not token.value:
        raise ExpressionMalformed(Problem.UNFINISHED, _value_position(token))
    return read(token, world)
