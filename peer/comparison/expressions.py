"""What filters and rules are written in: words, sizes, members, patterns."""

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from peer.errors import ExpressionMalformed, Problem
from protocol.ids import index_of, letter_of

MAX_EXPRESSION: Final = 10_000
"""Characters of one filter or rule: far above any written by hand."""

MAX_SIZE: Final = 2**62
"""Bytes; the bound of a file's size on the wire."""

_SIZES: Final = {
    "": 1,
    "b": 1,
    **{unit + "b": 1_000**power for power, unit in enumerate("kmgt", 1)},
    **{unit: 1_000**power for power, unit in enumerate("kmgt", 1)},
    **{unit + "ib": 1_024**power for power, unit in enumerate("kmgt", 1)},
}


# --- words ---------------------------------------------------------------------------


class Shape(enum.Enum):
    """What a token is."""

    WORD = "word"
    TAG = "tag"
    QUOTED = "quoted"
    OPERATOR = "operator"
    MARK = "mark"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One piece of an expression."""

    shape: Shape
    text: str
    position: int
    """Characters before it."""
    value: str = ""
    """What follows the colon of a tag."""


_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<mark>->|[(),])
    | (?P<tag>[A-Za-z]+):(?P<regex>=~)?(?:"(?P<tagquoted>[^"]*)"|(?P<tagvalue>[^\s"(),]*))
    | (?P<operator>==|!=|<=|>=|<|>)
    | "(?P<quoted>[^"]*)"
    | (?P<word>(?:(?!->)[^\s"(),<>=!])+)
    )""",
    re.VERBOSE,
)


class Reader:
    """The tokens of one expression, read one after another.

    Raises:
        ExpressionMalformed: If a character begins no token, or the text is too long.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_EXPRESSION:
            raise ExpressionMalformed(Problem.TOO_MUCH, MAX_EXPRESSION)
        self._tokens = list(_tokens(text))
        self._next = 0

    def peek(self) -> Token:
        """Return the next token, which stays."""
        return self._tokens[self._next]

    def take(self) -> Token:
        """Return the next token and go on; the last one, the end, stays."""
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def accept(self, *texts: str) -> Token | None:
        """Take the next token if it is one of these marks, operators or words."""
        token = self.peek()
        plain = token.shape in (Shape.WORD, Shape.MARK, Shape.OPERATOR)
        return self.take() if plain and token.text.lower() in texts else None

    def expect(self, *texts: str) -> Token:
        """Take the next token, which must be one of these."""
        token = self.accept(*texts)
        if token is None:
            raise unexpected(self.peek(), " ".join(texts))
        return token


def unexpected(token: Token, expected: str = "") -> ExpressionMalformed:
    """Return the error for a token that cannot stand where it stands."""
    problem = Problem.UNFINISHED if token.shape is Shape.END else Problem.UNEXPECTED
    return ExpressionMalformed(problem, token.position, token.text, expected)


def _tokens(text: str) -> list[Token]:
    tokens = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise ExpressionMalformed(Problem.UNEXPECTED, start, text[start])
        tokens.append(_token(match))
        position = match.end()
    tokens.append(Token(Shape.END, "", end))
    return tokens


def _token(match: re.Match[str]) -> Token:
    tag = match["tag"]
    if tag is not None:
        quoted = match["tagquoted"]
        value = (match["regex"] or "") + (match["tagvalue"] if quoted is None else quoted)
        return Token(Shape.TAG, tag.lower(), match.start("tag"), value)
    for shape in (Shape.MARK, Shape.OPERATOR, Shape.QUOTED):
        found = match[shape.value]
        if found is not None:
            # A quotation mark stands before what it quotes.
            return Token(shape, found, match.start(shape.value) - (shape is Shape.QUOTED))
    return Token(Shape.WORD, match["word"], match.start("word"))


# --- sizes, dates, members ----------------------------------------------------------------


def size_of(text: str) -> int | None:
    """Return *text* (``10mb``, ``1.5gib``) in bytes; None if it is no size."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([a-z]{0,3})", text.lower())
    if match is None or match[2] not in _SIZES:
        return None
    whole, _, fraction = match[1].partition(".")
    # In whole numbers: every member must get the same bytes from the same rule.
    scaled = int(whole + fraction) * _SIZES[match[2]] // 10 ** len(fraction)
    return scaled if scaled <= MAX_SIZE else None


def member_of(text: str, members: Sequence[int], position: int) -> int:
    """Return the index of the member with this letter.

    Raises:
        ExpressionMalformed: If there is none.
    """
    try:
        return index_of(text, members)
    except ValueError:
        letters = " ".join(letter_of(member, members) for member in members)
        raise ExpressionMalformed(Problem.UNKNOWN_MEMBER, position, text, letters) from None


# --- patterns ----------------------------------------------------------------------------


def glob_matches(pattern: str, name: str) -> bool:
    """Tell whether *name* matches *pattern*, where ``*`` is anything and ``?`` one character.

    Takes at most len(pattern) * len(name) turns: rules come from others, and a regular
    expression made of their stars could stall this member.
    """
    at = star = 0
    back: tuple[int, int] | None = None
    while at < len(name):
        wanted = pattern[star : star + 1]
        if wanted == "*":
            star += 1
            back = star, at
        elif wanted and wanted in ("?", name[at]):
            star, at = star + 1, at + 1
        elif back is not None:
            # The last star takes one character more, and the rest is tried again.
            star, at = back = back[0], back[1] + 1
        else:
            return False
    return not pattern[star:].strip("*")


def glob_of(pattern: str) -> Callable[[str], bool]:
    """Return ``glob_matches`` of *pattern*, prepared for many names."""
    if "?" in pattern or "*" not in pattern:
        return lambda name: glob_matches(pattern, name)
    first, *middle, last = pattern.split("*")
    shortest = len(first) + len(last)

    def matches(name: str) -> bool:
        if len(name) < shortest or not name.startswith(first) or not name.endswith(last):
            return False
        at, end = len(first), len(name) - len(last)
        for part in middle:
            # The first place that fits leaves the most for the rest.
            at = name.find(part, at, end) + len(part)
            if at < len(part):
                return False
        return True

    return matches
