"""The comparison of a run and what was decided about it, for people and for the plan.

Computed in worker threads from values that no longer change; what people ask for is cut out of
it as windows.
"""

import array
import datetime as dt
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from peer.comparison import filters
from peer.comparison.comparison import Cell, Comparison, Item
from peer.comparison.matching import Status
from peer.errors import ExpressionMalformed, Problem
from peer.inventory.entries import MemberInventory
from peer.inventory.names import possible_on_windows, shown
from peer.inventory.pairing import Block
from peer.plan.actions import AnyAction
from peer.plan.cost import MemberCost, cost
from peer.plan.decisions import Decisions, Targeted
from peer.plan.guards import Brake, brakes
from peer.plan.planner import Plan, plan
from peer.plan.presets import ABOUT_ONE, Preset, rules_of
from peer.plan.rules import format_action, format_rule, parse_action, parse_rule
from peer.session.session_settings import SessionSettings
from protocol import codec
from protocol.errors import MalformedMessage
from protocol.ids import letter_of
from protocol.limits import MAX_BATCH
from protocol.messages.base import Value
from protocol.messages.inventory import MAX_TIME_NS, Kind, RelPath

MAX_WINDOW: Final = 10_000
"""Rows of one window."""

MAX_VIEWS: Final = 8
"""Sorted selections kept: each has a number for every row."""

SORTS: Final = ("path", "size", "date", "status")


class Proposed(Value):
    """What the leader sends: its decisions and the instant they mean by *now*."""

    reference_time_ns: Annotated[int, Meta(ge=-MAX_TIME_NS, le=MAX_TIME_NS)]
    decisions: Decisions


def wall_clock_ns() -> int:
    """Return the wall clock: nanoseconds since 1970."""
    return time.time_ns()


def decode_proposed(data: bytes) -> Proposed:
    """Return what *data* encodes; nothing decided for no bytes.

    Raises:
        MalformedMessage: If it is none.
    """
    if not data:
        return Proposed(reference_time_ns=0, decisions=Decisions())
    try:
        return msgspec.msgpack.decode(data, type=Proposed)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise MalformedMessage("no decisions") from error


@dataclass(frozen=True, slots=True)
class Decided:
    """A plan and what it trips over."""

    proposed: Proposed
    plan: Plan
    brakes: tuple[Brake, ...]


@dataclass(slots=True)
class Deciding:
    """The comparison of one run, seen by one member.

    Args:
        comparison: Of all inventories.
        indices: The members' indices, for letters.
    """

    comparison: Comparison
    indices: tuple[int, ...]
    decided: Decided | None = None
    _views: dict[tuple[str, str, int], "array.array[int]"] = field(default_factory=dict)
    """Sorted selections by filter, sort and generation of decisions."""
    _orders: dict[str, "array.array[int]"] = field(default_factory=dict)
    """All items in the order of a column."""
    _previews: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    """Figures of presets nobody chose yet, by preset and generation of decisions."""
    _generation: int = 0

    @classmethod
    def compare(
        cls,
        inventories: Sequence[MemberInventory],
        settings: SessionSettings,
        indices: Sequence[int],
    ) -> "Deciding":
        """Compare *inventories*; slow for many entries, call it in a thread."""
        comparison = Comparison(inventories, settings)
        # Here rather than when the first person looks for a name.
        comparison.prepare_texts()
        return cls(comparison, tuple(indices))

    def decide(self, data: bytes) -> Decided:
        """Return the plan that the encoded decisions give; call it in a thread.

        Raises:
            MalformedMessage: If *data* is no decisions.
        """
        proposed = decode_proposed(data)
        planned = plan(
            self.comparison,
            proposed.decisions,
            reference_time_ns=proposed.reference_time_ns,
        )
        return Decided(proposed, planned, brakes(self.comparison, planned.steps))

    def take(self, decided: Decided) -> None:
        """Let *decided* be what is shown."""
        self.decided = decided
        self._generation += 1
        self._views.clear()
        self._previews.clear()

    # --- what the leader changes ----------------------------------------------------------

    def with_rules(self, preset: str | None, rules: Sequence[str]) -> bytes:
        """Return the encoded decisions with these rules in place of the present ones.

        Raises:
            ExpressionMalformed: If a rule cannot be read.
            ValueError: If there is no such preset, or it needs a member or none.
        """
        parsed = tuple(parse_rule(text, self.indices) for text in rules)
        label = ""
        if preset is not None:
            label, _, letter = preset.strip().partition(" ")
            chosen = Preset(label)
            about = self._index(letter) if chosen in ABOUT_ONE else None
            if chosen not in ABOUT_ONE and letter:
                raise ValueError(f"{label} takes no member")
            parsed = (*rules_of(chosen, about), *parsed)
        return self._encode(
            Decisions(rules=parsed, targeted=self._decisions.targeted, preset=label)
        )

    def with_action(self, source: str, text: str) -> tuple[bytes, int]:
        """Return the encoded decisions with one more targeted action, and how many rows it is on.

        Args:
            source: A filter that selects the rows.
            text: The action as in a rule: ``copy A -> B``.

        Raises:
            ExpressionMalformed: If filter or action cannot be read.
        """
        action: AnyAction = parse_action(text, self.indices)
        numbers = self._select(source, "path")
        items = [self.comparison.item(number) for number in numbers]
        named = [(item.line, item.path) for item in items]
        targeted = tuple(
            Targeted(action=action, items=tuple(named[start : start + MAX_BATCH]))
            for start in range(0, len(named), MAX_BATCH)
        )
        decisions = Decisions(
            rules=self._decisions.rules,
            # Whoever acts on a row again has another mind about it now.
            targeted=(*targeted, *self._without(action, frozenset(named))),
            preset=self._decisions.preset,
        )
        return self._encode(decisions), len(named)

    def _without(
        self, action: AnyAction, named: frozenset[tuple[int, RelPath]]
    ) -> Iterator[Targeted]:
        """Yield the targeted actions, without *named* where *action* has the same destinations."""
        for each in self._decisions.targeted:
            kept = tuple(item for item in each.items if item not in named)
            if kept:
                yield msgspec.structs.replace(each, items=kept)
            elsewhere = tuple(
                index
                for index in self.indices
                if each.action.aims_at(index) and not action.aims_at(index)
            )
            if elsewhere and len(kept) < len(each.items):
                yield Targeted(
                    action=msgspec.structs.replace(each.action, to=elsewhere),
                    items=tuple(item for item in each.items if item in named),
                )

    def _encode(self, decisions: Decisions) -> bytes:
        data = codec.encode(Proposed(reference_time_ns=wall_clock_ns(), decisions=decisions))
        try:
            decode_proposed(data)
        except MalformedMessage:
            # Nobody would take it.
            raise ExpressionMalformed(Problem.TOO_MUCH, 0) from None
        return data

    @property
    def _decisions(self) -> Decisions:
        return self.decided.proposed.decisions if self.decided is not None else Decisions()

    # --- what people see ----------------------------------------------------------------------

    def letter(self, index: int) -> str:
        """Return the letter of a member."""
        return letter_of(index, self.indices)

    def _index(self, letter: str) -> int:
        ranked = sorted(self.indices)
        rank = "ABCDE".find(letter.strip().upper()) if len(letter.strip()) == 1 else -1
        if not 0 <= rank < len(ranked):
            raise ValueError(f"no member {letter!r}")
        return ranked[rank]

    def totals(self) -> dict[str, object]:
        """Return the counts of the comparison."""
        summary = self.comparison.summary
        return {
            "items": summary.items,
            "equal": summary.statuses[Status.EQUAL],
            "different": summary.statuses[Status.DIFFERENT],
            "missing": summary.statuses[Status.MISSING],
            "dates": summary.statuses[Status.DATES_DIFFER],
            "blocked": summary.statuses[Status.UNKNOWN],
            "clashes": summary.statuses[Status.TYPE_CLASH] + summary.name_clashes,
            "unhashed": summary.unhashed,
        }

    def window(self, source: str, sort: str, offset: int, limit: int) -> dict[str, object]:
        """Return a window of the rows that a filter selects.

        Raises:
            ExpressionMalformed: If the filter cannot be read; points at the place.
        """
        numbers = self._select(source, sort)
        cut = numbers[offset : offset + min(limit, MAX_WINDOW)]
        return {
            "totals": self.totals(),
            "matching": len(numbers),
            "offset": offset,
            "rows": [self._row(self.comparison.item(number)) for number in cut],
        }

    def _select(self, source: str, sort: str) -> "array.array[int]":
        key = (source, sort, self._generation)
        if key not in self._views:
            marks = self.decided.plan.marks if self.decided is not None else _no_marks
            predicate = filters.parse(
                source,
                self.indices,
                now_ns=wall_clock_ns(),
                tolerance_ns=self.comparison.tolerance_ns,
                marks=marks,
                marked=self.decided.plan.choices if self.decided is not None else (),
            )
            flags = filters.flags(self.comparison, predicate)
            order = self._order(sort.removeprefix("-"))
            numbers = array.array("I", [number for number in order if flags[number]])
            if sort.startswith("-"):
                numbers.reverse()
            if len(self._views) >= MAX_VIEWS:
                del self._views[next(iter(self._views))]
            self._views[key] = numbers
        return self._views[key]

    def _order(self, name: str) -> Sequence[int]:
        """Return all items in the order of a column; made once, and then cut by filters."""
        comparison = self.comparison
        if name == "path":
            return range(len(comparison))
        if name not in self._orders:
            key: Sequence[int]
            if name == "status":
                key = comparison.mask_by_sample(lambda item: item.status)
            else:
                key = comparison.largest(dates=name == "date")
            self._orders[name] = array.array(
                "I", sorted(range(len(comparison)), key=key.__getitem__)
            )
        return self._orders[name]

    def _row(self, item: Item) -> dict[str, object]:
        choices = self.decided.plan.choices.get(item.number, {}) if self.decided else {}
        return {
            "number": item.number,
            "line": item.line + 1,
            "path": self.shown_path(item.line, item.path),
            "kind": _kind_of(item),
            "status": item.letters(),
            "equal": item.status is Status.EQUAL,
            "hashed": item.hashed,
            "cells": {self.letter(cell.member): _cell(cell) for cell in item.cells},
            "actions": sorted(
                {format_action(choice.action, self.letter) for choice in choices.values()}
            ),
            "notes": sorted(
                {cell.block.name.lower() for cell in item.blocked}
                | ({"name_twin"} if item.twin else set())
                | ({"name_impossible"} if _impossible_somewhere(item) else set())
            ),
        }

    def shown_path(self, line: int, path: RelPath) -> str:
        """Return a path as people see it, its line before it where there are several."""
        lines = {
            position for inventory in self.comparison.inventories for position in inventory.roots
        }
        text = shown(path)
        return text if len(lines) < 2 else f"{line + 1}:{text}"  # noqa: PLR2004  # one line needs no number

    def rules(self) -> dict[str, object]:
        """Return the rules in force as text."""
        decisions = self._decisions
        return {
            "preset": decisions.preset or None,
            "rules": [format_rule(rule, self.letter) for rule in decisions.rules],
            "targeted": sum(len(targeted.items) for targeted in decisions.targeted),
        }

    def plan_view(self) -> dict[str, Any] | None:
        """Return the plan's figures, per member; None before anything was decided."""
        return None if self.decided is None else self._figures(self.decided)

    def preview(self, preset: str) -> dict[str, Any]:
        """Return the figures of the plan that *preset* would give; call it in a thread.

        Raises:
            ValueError: If there is no such preset, or it needs a member or none.
        """
        key = (preset, self._generation)
        if key not in self._previews:
            self._previews[key] = self._figures(self.decide(self.with_rules(preset, ())))
        return self._previews[key]

    def _figures(self, decided: Decided) -> dict[str, Any]:
        planned = decided.plan
        told = cost(planned, self.indices)
        members = {
            self.letter(index): _figures_of(figures) for index, figures in told.members.items()
        }
        return {
            "steps": len(planned.steps),
            "digest": planned.digest.hex(),
            "reference_time": _iso(planned.reference_time_ns),
            "members": members,
            "links": {
                f"{self.letter(giver)}→{self.letter(taker)}": size
                for (giver, taker), size in told.links.items()
            },
            "moves": told.moves,
            "refused": len(planned.refused),
            "undecided": len(planned.undecided),
            "brakes": [
                {
                    "letter": self.letter(brake.member),
                    "kind": brake.kind.value,
                    "count": brake.count,
                    "files": brake.files,
                }
                for brake in decided.brakes
            ],
        }

    def refusals(self) -> list[dict[str, object]]:
        """Return what the plan leaves alone, each with its reason."""
        if self.decided is None:
            return []
        planned = self.decided.plan
        refused: list[dict[str, object]] = [
            {
                "path": self.shown_path(each.line, each.path),
                "letter": self.letter(each.member),
                "reason": each.reason.value,
                "count": each.count,
            }
            for each in planned.refused
        ]
        undecided: list[dict[str, object]] = [
            {
                "path": self.shown_path(each.line, each.path),
                "letter": None,
                "reason": each.reason.value,
                "count": 0,
            }
            for each in planned.undecided
        ]
        return [*undecided, *refused][:MAX_WINDOW]


def _figures_of(cost: MemberCost) -> dict[str, int]:
    """Return what a plan costs one member, under the names people's programs know."""
    return {
        "create": cost.files_created,
        "replace": cost.files_replaced,
        "delete": cost.files_deleted,
        "dates": cost.dates_set,
        "modes": cost.modes_set,
        "folders": cost.directories_created,
        "delete_folders": cost.directories_deleted,
        "moved": cost.files_moved,
        "bytes_in": cost.bytes_received,
        "bytes_reused": cost.bytes_reused,
        "bytes_to_trash": cost.bytes_to_trash,
        "peak_extra": cost.peak_extra,
    }


def _no_marks(item: Item) -> frozenset[str]:
    del item
    return frozenset()


def _impossible_somewhere(item: Item) -> bool:
    """Whether a member that lacks this item cannot have its name."""
    lacking = any(cell.missing and cell.inventory.windows_names for cell in item.cells)
    return lacking and not all(map(possible_on_windows, item.path[-1:]))


def _kind_of(item: Item) -> str:
    kinds = {cell.kind for cell in item.cells if cell.kind is not None}
    return min(kinds, key=int).name.lower() if len(kinds) == 1 else "clash"


def _cell(cell: Cell) -> list[dict[str, object]]:
    if cell.block is Block.NO_SOURCE or (cell.missing and not cell.block):
        return []
    entry = cell.entry
    if entry is None:
        return [{"size": None, "date": None, "error": cell.block.name.lower()}]
    return [
        {
            "size": entry.size if entry.kind is Kind.FILE else None,
            "date": _iso(entry.mtime_ns),
            "group": cell.group,
            "source": entry.source + 1,
            "error": cell.block.name.lower() if cell.block else None,
        }
    ]


def _iso(time_ns: int) -> str:
    """Return a moment in ISO 8601, UTC; every time a message can hold is in the calendar."""
    since = dt.timedelta(microseconds=time_ns // 1000)
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + since).isoformat()
