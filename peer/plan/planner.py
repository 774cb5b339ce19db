"""The planner: decisions applied to every item, compiled to steps in one order everywhere.

Items come parents first. For each item and destination the choice is compiled to steps; what
cannot be done becomes a refusal with its reason, what only a person can tell is undecided.
When all items are through, directories that would not become empty are kept, and every copy
learns who else holds its content. The planner knows no rule, action or preset by name.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import blake3
import msgspec

from peer.comparison.compared import Context
from peer.comparison.comparison import Cell, Comparison, Item
from peer.comparison.matching import Status
from peer.inventory.names import Key
from peer.inventory.pairing import Block
from peer.plan.actions import AnyAction, Desk, Nothing, Remove, entry_of, made
from peer.plan.conditions import Missing
from peer.plan.decisions import Decisions
from peer.plan.guards import BrakeKind, Reason, Refusal, of_new_name
from peer.plan.holders import with_holders
from peer.plan.rules import VERBS, Choice, Rule, choose
from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
)
from peer.session.session_settings import Metadata
from protocol.messages.inventory import Kind, RelPath

LEFT_TO_PEOPLE: Final = frozenset({Reason.SEVERAL_CONTENTS, Reason.TYPE_CLASH})
"""Reasons that concern an item as a whole: a rule leaves it undecided."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """An item that the rules leave to a person."""

    number: int
    line: int
    path: RelPath
    reason: Reason


@dataclass(frozen=True, slots=True)
class Refused:
    """An act on one item at one member that is not carried out."""

    number: int
    line: int
    path: RelPath
    member: int
    reason: Reason
    block: Block = Block.NONE
    count: int = 0
    targeted: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be carried out, and what will not."""

    steps: tuple[AnyStep, ...]
    """By member; each member's in the order in which they are safe."""
    undecided: tuple[Undecided, ...]
    refused: tuple[Refused, ...]
    reference_time_ns: int
    """The plan's instant: what ``now`` and *copy content only* mean by it."""
    choices: dict[int, dict[int, Choice]]
    """By item and member: which action led to a step."""
    stale: int = 0
    """Targeted actions whose item is no longer in the comparison."""

    def steps_of(self, member: int) -> tuple[AnyStep, ...]:
        """Return the steps that *member* carries out."""
        return tuple(step for step in self.steps if step.member == member)

    def marks(self, item: Item) -> frozenset[str]:
        """Return what ``has:action`` and its kin go by (peer.comparison.filters)."""
        choices = self.choices.get(item.number, {}).values()
        marks = {f"action.{VERBS[type(choice.action)]}" for choice in choices}
        marks |= {f"action.{'targeted' if choice.targeted else 'rule'}" for choice in choices}
        return frozenset(marks | {"action"}) if marks else frozenset()

    @property
    def digest(self) -> bytes:
        """What every member must find equal before it starts."""
        return digest(self.steps)


def digest(steps: Iterable[AnyStep]) -> bytes:
    """Return BLAKE3-256 over *steps*, in order."""
    hasher = blake3.blake3()
    encoder = msgspec.msgpack.Encoder()
    for step in steps:
        hasher.update(encoder.encode(step))
    return hasher.digest()


def plan(
    comparison: Comparison,
    decisions: Decisions,
    *,
    reference_time_ns: int,
    withheld: Collection[tuple[int, BrakeKind]] = (),
) -> Plan:
    """Return the plan that *decisions* make of *comparison*; equal input gives equal plans.

    Args:
        comparison: Of all members' inventories.
        decisions: Rules and targeted actions.
        reference_time_ns: The plan's instant, nanoseconds since 1970.
        withheld: Brakes that tripped and were not lifted: member and kind. What they protect
            from drops out of the plan.
    """
    return _Planner(comparison, decisions, reference_time_ns, frozenset(withheld)).result()


_NOT_TAKING_PART: Final = frozenset({Block.NO_SOURCE, Block.UNKNOWN})
"""Where "all" does not mean a member: it has nothing here, or is continued without."""

_At = tuple[int, int, Key]
"""Member, line and key of a place."""

_Folder = tuple[int, RelPath]
"""Source and path of a directory."""


@dataclass(slots=True)
class _Draft:
    """The steps of one item at one member, in the order in which they happen."""

    item: Item
    member: int
    steps: list[AnyStep]

    @property
    def vacates(self) -> bool:
        """Whether nothing stands at the place afterwards."""
        return isinstance(self.steps[-1], (Delete, DeleteDirectory))

    @property
    def removes_directory(self) -> bool:
        return isinstance(self.steps[0], DeleteDirectory)


class _Planner:
    """One run of the planner."""

    def __init__(
        self,
        comparison: Comparison,
        decisions: Decisions,
        reference_time_ns: int,
        withheld: frozenset[tuple[int, BrakeKind]],
    ) -> None:
        self._comparison = comparison
        self._rules = decisions.rules
        self._desk = Desk(
            reference_time_ns=reference_time_ns,
            tolerance_ns=comparison.tolerance_ns,
            modes=comparison.settings.metadata is Metadata.DATES_AND_MODE,
        )
        self._context = Context(now_ns=reference_time_ns, tolerance_ns=comparison.tolerance_ns)
        self._kept = {member for member, kind in withheld if kind.deletes}
        self._unreplaced = {member for member, kind in withheld if not kind.deletes}
        self._drafts: dict[tuple[int, int], _Draft] = {}
        self._parents: dict[_At, _Folder | Refusal] = {}
        self._undecided: dict[int, Undecided] = {}
        self._refused: list[Refused] = []
        self._choices: dict[int, dict[int, Choice]] = {}
        self._targeted: dict[int, list[AnyAction]] = {}
        self._stale = 0
        for batch in decisions.targeted:
            for line, path in batch.items:
                item = comparison.find(line, path)
                if item is None:
                    self._stale += 1
                else:
                    self._targeted.setdefault(item.number, []).append(batch.action)

    def result(self) -> Plan:
        """Return the plan."""
        equal_stay = not any(map(_may_touch_equals, self._rules))
        for number in range(len(self._comparison)):
            if (
                equal_stay
                and number not in self._targeted
                and self._comparison.status(number) is Status.EQUAL
            ):
                continue
            item = self._comparison.item(number)
            if item.row:
                self._decide(item)
        self._keep_directories_that_hold_others()
        return Plan(
            steps=tuple(with_holders(self._comparison, self._in_order())),
            undecided=tuple(self._undecided.values()),
            refused=tuple(sorted(self._refused, key=lambda one: (one.number, one.member))),
            reference_time_ns=self._desk.reference_time_ns,
            choices=self._choices,
            stale=self._stale,
        )

    # --- one item -----------------------------------------------------------------------

    def _decide(self, item: Item) -> None:
        targeted = self._targeted.get(item.number, [])
        chosen: dict[int, tuple[Choice, list[AnyStep]]] = {}
        for to in item.cells:
            choice = choose(self._rules, targeted, item, to, self._context)
            if choice is None or (not choice.targeted and to.block in _NOT_TAKING_PART):
                continue
            verdict = choice.action.compile(item, to, self._desk)
            if not verdict and choice.targeted and not isinstance(choice.action, Nothing):
                verdict = Refusal(Reason.IDENTICAL)
            if isinstance(verdict, list):
                verdict = self._braked(to.member, verdict) or verdict
            if isinstance(verdict, Refusal):
                self._refuse(item, to.member, verdict, targeted=choice.targeted)
            elif verdict:
                chosen[to.member] = choice, verdict
            else:
                # Neither written nor made by the way: a directory that is not to be touched.
                self._close(item, to, choice)
        for member, reason in _conflicts(chosen):
            choice, _ = chosen.pop(member)
            self._refuse(item, member, Refusal(reason), targeted=choice.targeted)
        for member, (choice, steps) in chosen.items():
            placed = self._placed(item, item.cell(member), steps)
            if isinstance(placed, Refusal):
                self._refuse(item, member, placed, targeted=choice.targeted)
                continue
            self._add(item, member, placed)
            self._choices.setdefault(item.number, {})[member] = choice

    def _close(self, item: Item, to: Cell, choice: Choice) -> None:
        if isinstance(choice.action, Nothing) and not to.present:
            self._parents[to.member, item.line, item.key] = Refusal(Reason.PARENT_MISSING)

    def _braked(self, member: int, steps: list[AnyStep]) -> Refusal | None:
        """Refuse what this member's person did not lift the brake for."""
        deletes = any(isinstance(step, (Delete, DeleteDirectory)) for step in steps)
        replaces = any(
            isinstance(step, (CopyFile, CopyLink)) and step.expected is not None for step in steps
        )
        if (deletes and member in self._kept) or (replaces and member in self._unreplaced):
            return Refusal(Reason.BRAKE)
        return None

    def _refuse(self, item: Item, member: int, refusal: Refusal, *, targeted: bool) -> None:
        if not targeted and refusal.reason in LEFT_TO_PEOPLE:
            self._undecided.setdefault(
                item.number, Undecided(item.number, item.line, item.path, refusal.reason)
            )
        else:
            self._refused.append(
                Refused(
                    number=item.number,
                    line=item.line,
                    path=item.path,
                    member=member,
                    reason=refusal.reason,
                    block=refusal.block,
                    count=refusal.count,
                    targeted=targeted,
                )
            )
        if item.cell(member).missing:
            # What was to be made and is not cannot be put into either.
            self._parents[member, item.line, item.key] = Refusal(Reason.PARENT_MISSING)

    def _add(self, item: Item, member: int, steps: list[AnyStep]) -> None:
        self._drafts[item.number, member] = _Draft(item, member, steps)
        last = steps[-1]
        at = member, item.line, item.key
        if isinstance(last, CreateDirectory):
            self._parents[at] = last.source, last.path
        elif isinstance(last, (CopyFile, CopyLink)):
            # Also where a directory was before: it will be a file.
            self._parents[at] = Refusal(Reason.FILE_IN_THE_WAY)

    # --- places -----------------------------------------------------------------------------

    def _placed(self, item: Item, to: Cell, steps: list[AnyStep]) -> list[AnyStep] | Refusal:
        """Return *steps* with the path where nothing stands yet, its parents made."""
        step = steps[-1]
        if to.present:
            return steps
        parent = self._parent(item, to.member)
        if isinstance(parent, Refusal):
            return parent
        # The origin's spelling where a file has one, the first member's otherwise.
        spelled = step.origin.path if isinstance(step, CopyFile) else item.present[0].path
        source, folder = parent
        path = (*folder, spelled[-1])
        refusal = of_new_name(self._comparison, item, to, path)
        return refusal or [msgspec.structs.replace(step, source=source, path=path)]

    def _parent(self, item: Item, member: int) -> _Folder | Refusal:
        """Return where the directory that *item* is in is, or will be, on *member*."""
        key = item.key[:-1]
        if not key:
            # Where the source is a single file, there is no source for what is below others.
            assert self._comparison.root(item.line, member) is Kind.DIRECTORY
            return self._comparison.source(item.line, member), ()
        at = member, item.line, key
        if at not in self._parents:
            directory = self._comparison.find_key(item.line, key)
            # Every entry's directory is an entry before it, so this one is an item.
            assert directory is not None
            self._parents[at] = self._found_or_made(directory, member)
        return self._parents[at]

    def _found_or_made(self, directory: Item, member: int) -> _Folder | Refusal:
        to = directory.cell(member)
        # What blocks a directory blocks all below it, so nobody would come here to fill it.
        assert not to.block
        if to.present:
            if to.kind is not Kind.DIRECTORY:
                return Refusal(Reason.FILE_IN_THE_WAY)
            return entry_of(to).source, to.path
        # Nobody decided about the directory itself, but something is to be put into it.
        origin = next(cell for cell in directory.present if cell.kind is Kind.DIRECTORY)
        placed = self._placed(directory, to, [made(directory, origin, to)])
        if isinstance(placed, Refusal):
            return placed
        self._drafts[directory.number, member] = _Draft(directory, member, placed)
        return placed[0].source, placed[0].path

    # --- directories that stay ------------------------------------------------------------

    def _keep_directories_that_hold_others(self) -> None:
        """Drop the removal of every directory that would not be empty by then.

        Children come after their parents, so going backwards every directory is met when all
        it holds is known: what stays counts at its parent, and so does a directory that
        stays because of it.
        """
        removing = {draft.member for draft in self._drafts.values() if draft.removes_directory}
        for position, member in enumerate(self._comparison.members):
            if member in removing:
                self._keep_directories_of(member, position)

    def _keep_directories_of(self, member: int, position: int) -> None:
        occupied = self._comparison.occupied[position]
        staying: Counter[tuple[int, Key]] = Counter()
        for number, line, key, stands in self._comparison.backwards(position):
            draft = self._drafts.get((number, member))
            if draft is not None and draft.removes_directory:
                held = staying[line, key]
                if held or (line, key) in occupied:
                    del self._drafts[number, member]
                    self._drop_choice(number, member, Refusal(Reason.HOLDS_OTHERS, count=held))
                    draft = None
            if key and (stands if draft is None else not draft.vacates):
                staying[line, key[:-1]] += 1

    def _drop_choice(self, number: int, member: int, refusal: Refusal) -> None:
        choices = self._choices[number]
        choice = choices.pop(member)
        if not choices:
            del self._choices[number]
        self._refuse(self._comparison.item(number), member, refusal, targeted=choice.targeted)

    # --- order ------------------------------------------------------------------------------

    def _in_order(self) -> list[AnyStep]:
        """Return the steps by member, each member's in the order in which they are safe.

        First what makes room where a file and a directory change places, deepest first; then
        directories from the top; then contents and dates; at last what is deleted, deepest
        first, so that its content can serve until every copy is done.
        """
        cleared = {
            (draft.member, draft.item.line, draft.item.key)
            for draft in self._drafts.values()
            if draft.removes_directory and not draft.vacates
        }
        ordered: list[tuple[int, int, int, int, AnyStep]] = []
        for (number, member), draft in self._drafts.items():
            early = not draft.vacates or _below(cleared, draft)
            for step in draft.steps:
                if isinstance(step, (Delete, DeleteDirectory)):
                    order = (_CLEAR if early else _DELETE), -number
                else:
                    order = (_MAKE if isinstance(step, CreateDirectory) else _WRITE), number
                ordered.append((member, *order, len(ordered), step))
        # The last number but one keeps several steps of one item as they were compiled.
        return [step for *_, step in sorted(ordered, key=lambda entry: entry[:4])]


_CLEAR: Final = 0
_MAKE: Final = 1
_WRITE: Final = 2
_DELETE: Final = 3


def _below(cleared: Collection[_At], draft: _Draft) -> bool:
    key = draft.item.key
    return bool(cleared) and any(
        (draft.member, draft.item.line, key[:depth]) in cleared for depth in range(1, len(key))
    )


def _may_touch_equals(rule: Rule) -> bool:
    """Tell whether *rule* may lead to a step for an item that is equal everywhere.

    Whatever copies or creates has nothing to do there. A removal has, unless it asks for
    something to be missing.
    """
    asks_for_missing = rule.every and any(
        isinstance(condition, Missing) for condition in rule.conditions
    )
    return not asks_for_missing and any(isinstance(action, Remove) for action in rule.actions)


def _conflicts(
    chosen: dict[int, tuple[Choice, list[AnyStep]]],
) -> list[tuple[int, Reason]]:
    """Return the members whose steps contradict each other: one's content is used and changed.

    Both the step that changes it and those that use it are refused: which of the two contents
    the user would get is a matter of speed.
    """
    users: dict[int, list[int]] = {}
    for member, (_, steps) in chosen.items():
        for step in steps:
            if isinstance(step, CopyFile):
                users.setdefault(step.holders[0][0], []).append(member)
    conflicts: dict[int, Reason] = {}
    for origin, members in sorted(users.items()):
        if origin not in chosen:
            continue
        deleted = isinstance(chosen[origin][1][-1], (Delete, DeleteDirectory))
        reason = Reason.DELETED_AND_USED if deleted else Reason.DESTINATION_IS_SOURCE
        conflicts |= dict.fromkeys([origin, *members], reason)
    return sorted(conflicts.items())
