"""Rules: conditions and actions, in order; the first that fits an item and destination wins.

As text, one line each, with the members' letters of the moment:

    rule        = ["off"] ("files" | "directories") ["if" conditions] "then" action {"and" action}
    conditions  = ("all" | "any") "(" condition {"," condition} ")" | condition
    action      = ("copy" | "copy-content" | "copy-dates") origin "->" members ["replacing"]
                | "create" [origin] "->" members ["replacing"]
                | ("delete" | "nothing") "->" members
    origin      = letter | "newest"
    members     = "all" | letter {"," letter}

``files if all(A.content != B.content, A.date > B.date) then copy A -> B``. What is sent and
saved names members by index.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from peer.comparison.compared import Context
from peer.comparison.comparison import Cell, Item
from peer.comparison.expressions import Reader, Shape, member_of, unexpected
from peer.errors import ExpressionMalformed, Problem
from peer.plan.actions import AnyAction, Copy, CopyContent, CopyDates, Create, Nothing, Remove
from peer.plan.conditions import Condition, Letter, format_condition, parse_condition
from protocol.messages.base import Value

MAX_RULES: Final = 200
"""Rules of one session: far above what anybody reads."""

MAX_CONDITIONS: Final = 32
"""Conditions of one rule."""

MAX_ACTIONS: Final = 8
"""Actions of one rule."""


class AppliesTo(enum.StrEnum):
    """What a rule is about; links count as files."""

    FILES = "files"
    DIRECTORIES = "directories"


class Rule(Value):
    """What shall happen to items that meet the conditions."""

    applies_to: AppliesTo
    every: bool = True
    """Whether all conditions must hold, or any one; a rule without conditions always holds."""
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=MAX_CONDITIONS)] = ()
    actions: Annotated[tuple[AnyAction, ...], Meta(min_length=1, max_length=MAX_ACTIONS)]
    enabled: bool = True

    def action_for(self, item: Item, to: Cell, context: Context) -> AnyAction | None:
        """Return what this rule does about *item* at *to*, if it says anything."""
        if not self.enabled:
            return None
        files = self.applies_to is AppliesTo.FILES
        action = next(
            (
                action
                for action in self.actions
                if action.aims_at(to.member) and action.covers(item, to, files=files)
            ),
            None,
        )
        return action if action is not None and self._holds(item, context) else None

    def _holds(self, item: Item, context: Context) -> bool:
        if not self.conditions:
            return True
        holding = (condition.holds(item, context) for condition in self.conditions)
        return all(holding) if self.every else any(holding)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which action an item and a destination get, and from where."""

    action: AnyAction
    rule: int | None
    """Number of the rule; None for a targeted action."""
    overridden: tuple[int, ...] = ()
    """Numbers of the rules that fit as well."""

    @property
    def targeted(self) -> bool:
        """Whether it was set by hand on this item."""
        return self.rule is None


def choose(
    rules: Sequence[Rule], targeted: Iterable[AnyAction], item: Item, to: Cell, context: Context
) -> Choice | None:
    """Return what shall happen to *item* at *to*.

    A targeted action beats every rule; within each of the two levels *do nothing* beats the
    others, then the first wins.
    """
    context = Context(now_ns=context.now_ns, tolerance_ns=context.tolerance_ns, to=to.member)
    by_hand = [action for action in targeted if action.aims_at(to.member)]
    fitting = [
        (number, action)
        for number, rule in enumerate(rules)
        if (action := rule.action_for(item, to, context)) is not None
    ]
    if by_hand:
        action = next((action for action in by_hand if isinstance(action, Nothing)), by_hand[0])
        return Choice(action, None, tuple(number for number, _ in fitting))
    if not fitting:
        return None
    winner, action = next((fit for fit in fitting if isinstance(fit[1], Nothing)), fitting[0])
    return Choice(action, winner, tuple(number for number, _ in fitting if number != winner))


# --- text ---------------------------------------------------------------------------------

_ALL: Final = "all"
_NEWEST: Final = "newest"
_VERBS: Final[dict[str, type[AnyAction]]] = {
    "copy": Copy,
    "copy-content": CopyContent,
    "copy-dates": CopyDates,
    "create": Create,
    "delete": Remove,
    "nothing": Nothing,
}
VERBS: Final = {kind: verb for verb, kind in _VERBS.items()}
"""What an action is called in a rule's text."""


def parse_rule(text: str, members: Sequence[int]) -> Rule:
    """Return the rule that *text* writes down.

    Args:
        text: One line; see the module's grammar.
        members: Indices of the members, whose letters it names.

    Raises:
        ExpressionMalformed: Pointing at the first thing that cannot be read.
    """
    reader = Reader(text)
    enabled = reader.accept("off") is None
    applies_to = AppliesTo(reader.expect(*AppliesTo).text.lower())
    every = True
    conditions: list[Condition] = []
    if reader.accept("if"):
        every, conditions = _parse_conditions(reader, members)
    reader.expect("then")
    actions = [_parse_action(reader, members)]
    while reader.accept("and"):
        actions.append(_parse_action(reader, members))
    end = reader.peek()
    if end.shape is not Shape.END:
        raise unexpected(end)
    if len(actions) > MAX_ACTIONS or len(conditions) > MAX_CONDITIONS:
        raise ExpressionMalformed(Problem.TOO_MUCH, end.position)
    return Rule(
        applies_to=applies_to,
        every=every,
        conditions=tuple(conditions),
        actions=tuple(actions),
        enabled=enabled,
    )


def _parse_conditions(reader: Reader, members: Sequence[int]) -> tuple[bool, list[Condition]]:
    quantifier = reader.accept("all", "any")
    if quantifier is None:
        return True, [parse_condition(reader, members)]
    reader.expect("(")
    conditions = [parse_condition(reader, members)]
    while reader.expect(",", ")").text == ",":
        conditions.append(parse_condition(reader, members))
    return quantifier.text.lower() == "all", conditions


def parse_action(text: str, members: Sequence[int]) -> AnyAction:
    """Return the action that *text* writes down, as in a rule: ``copy A -> B``.

    Raises:
        ExpressionMalformed: Pointing at the first thing that cannot be read.
    """
    reader = Reader(text)
    action = _parse_action(reader, members)
    if reader.peek().shape is not Shape.END:
        raise unexpected(reader.peek())
    return action


def _parse_action(reader: Reader, members: Sequence[int]) -> AnyAction:
    kind = _VERBS[reader.expect(*_VERBS).text.lower()]
    if kind in (Remove, Nothing):
        to = _parse_destinations(reader, members)
        return Remove(to=to) if kind is Remove else Nothing(to=to)
    origin = _parse_origin(reader, members, optional=kind is Create)
    to = _parse_destinations(reader, members)
    if kind is CopyContent:
        return CopyContent(origin=origin, to=to)
    if kind is CopyDates:
        return CopyDates(origin=origin, to=to)
    replacing = reader.accept("replacing") is not None
    if kind is Create:
        return Create(origin=origin, to=to, replacing=replacing)
    return Copy(origin=origin, to=to, replacing=replacing)


def _parse_origin(reader: Reader, members: Sequence[int], *, optional: bool) -> int | None:
    token = reader.peek()
    if reader.accept(_NEWEST) or (optional and token.text == "->"):
        return None
    reader.take()
    if token.shape is not Shape.WORD:
        raise unexpected(token, f"A {_NEWEST}")
    return member_of(token.text, members, token.position)


def _parse_destinations(reader: Reader, members: Sequence[int]) -> tuple[int, ...]:
    reader.expect("->")
    if reader.accept(_ALL):
        return ()
    named = []
    while True:
        token = reader.take()
        if token.shape is not Shape.WORD:
            raise unexpected(token, f"B {_ALL}")
        member = member_of(token.text, members, token.position)
        if member in named:
            raise unexpected(token)
        named.append(member)
        if not reader.accept(","):
            return tuple(named)


def format_rule(rule: Rule, letter: Letter) -> str:
    """Return *rule* as ``parse_rule`` reads it.

    Args:
        rule: The rule.
        letter: Gives the letter of an index.
    """
    conditions = [format_condition(condition, letter) for condition in rule.conditions]
    head = "" if rule.enabled else "off "
    middle = ""
    if conditions:
        quantifier = "all" if rule.every else "any"
        middle = f" if {quantifier}({', '.join(conditions)})"
    actions = " and ".join(format_action(action, letter) for action in rule.actions)
    return f"{head}{rule.applies_to}{middle} then {actions}"


def format_action(action: AnyAction, letter: Letter) -> str:
    """Return *action* as ``parse_action`` reads it."""
    words = [VERBS[type(action)]]
    if isinstance(action, (Copy, CopyContent, CopyDates, Create)):
        words.append(_NEWEST if action.origin is None else letter(action.origin))
    words += ["->", ", ".join(map(letter, action.to)) or _ALL]
    if isinstance(action, (Copy, Create)) and action.replacing:
        words.append("replacing")
    return " ".join(words)
