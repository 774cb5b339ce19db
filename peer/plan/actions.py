"""Actions: what to do about one item at one destination, compiled to primitive steps.

An action is a class here; the union at the foot makes it part of rules, of targeted actions,
of their text and of the wire. A step compiled for a place where nothing stands yet leaves its
source and path open: the planner knows what its parents are called there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peer.comparison.comparison import Cell, Item
from peer.inventory.pairing import Block
from peer.plan.guards import Reason, Refusal, checked_origin, of_destination
from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from protocol.ids import MemberIndex
from protocol.limits import MAX_MEMBERS
from protocol.messages.base import Value
from protocol.messages.inventory import Entry, Kind, RelPath

CONTENTS: Final = (Kind.FILE, Kind.LINK)
"""Kinds that a copy copies."""

OWN_ACCESS: Final = 0o700
"""A directory that is made must let its maker put things into it."""

Destinations = Annotated[tuple[MemberIndex, ...], Meta(max_length=MAX_MEMBERS)]
"""Members by index; none named: every member but the origin."""

Verdict = list[AnyStep] | Refusal
"""Steps to the goal (none when it is reached), or why there are none."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What actions go by besides the item."""

    reference_time_ns: int
    """The plan's instant, nanoseconds since 1970."""
    tolerance_ns: int
    """How far apart equal dates may be."""
    modes: bool
    """Whether permission bits are carried and compared."""


class Action(Value):
    """What to do about an item. Everything but ``Nothing`` says so by ``compile``."""

    to: Destinations = ()

    def aims_at(self, member: int) -> bool:
        """Tell whether *member* is a destination."""
        return not self.to or member in self.to


class _FromOne(Action):
    """An action that takes something from one member."""

    origin: MemberIndex | None = None
    """None is whoever holds the newest."""

    def aims_at(self, member: int) -> bool:
        """Tell whether *member* is a destination; "all" never means the origin itself."""
        return member in self.to if self.to else member != self.origin

    def _pair(self, item: Item, to: Cell, desk: Desk, kinds: tuple[Kind, ...]) -> Cell | Verdict:
        """Return the origin, or the verdict where there is nothing to take or nowhere to put."""
        refusal = of_destination(to)
        if refusal is not None:
            return refusal
        origin: Cell | Refusal
        if self.origin is None:
            origin = _newest(item, desk, kinds)
        else:
            cell = next((cell for cell in item.cells if cell.member == self.origin), None)
            origin = checked_origin(cell, kinds)
        if isinstance(origin, Cell) and origin.member == to.member:
            return [] if self.origin is None else Refusal(Reason.DESTINATION_IS_SOURCE)
        return origin

    def _covers(self, item: Item, kinds: tuple[Kind, ...]) -> bool:
        """Tell whether the origin has, or may have, something of these kinds to give."""
        for cell in item.cells:
            if cell.member == self.origin and not cell.block:
                return cell.kind in kinds
        # The newest, or an origin that is blocked: what the others have tells the kind.
        return any(cell.kind in kinds for cell in item.cells)


class Copy(_FromOne, tag="copy"):
    """Files and links: the destination gets content and date (and mode, where it counts)."""

    replacing: bool = False
    """Whether a directory in the way is cleared."""

    def covers(self, item: Item, _to: Cell, *, files: bool) -> bool:
        """Tell whether a rule for files (or directories) means this item."""
        return files and self._covers(item, CONTENTS)

    def compile(self, item: Item, to: Cell, desk: Desk) -> Verdict:
        """Return the steps that make *to* like the origin."""
        origin = self._pair(item, to, desk, CONTENTS)
        if not isinstance(origin, Cell):
            return origin
        if to.group == origin.group:
            return []
        if to.present and to.content == origin.content:
            return list(_attributes(origin, to, desk))
        if to.present and to.kind is not origin.kind:
            return _instead(item, to, _written(item, origin, to, desk), replacing=self.replacing)
        return [_written(item, origin, to, desk)]


class CopyContent(_FromOne, tag="copy_content"):
    """Files: the destination gets the content; its date becomes the plan's instant."""

    def covers(self, item: Item, _to: Cell, *, files: bool) -> bool:
        """Tell whether a rule for files (or directories) means this item."""
        return files and self._covers(item, (Kind.FILE,))

    def compile(self, item: Item, to: Cell, desk: Desk) -> Verdict:
        """Return the step that gives *to* the origin's content."""
        origin = self._pair(item, to, desk, (Kind.FILE,))
        if not isinstance(origin, Cell):
            return origin
        if to.content == origin.content:
            return []
        if to.present and to.kind is not origin.kind:
            return Refusal(Reason.TYPE_CLASH)
        return [_file(item, origin, to, desk, desk.reference_time_ns)]


class CopyDates(_FromOne, tag="copy_dates"):
    """Files: the destination keeps its content and gets the origin's date."""

    def covers(self, item: Item, to: Cell, *, files: bool) -> bool:
        """Tell whether a rule for files (or directories) means this item."""
        return files and to.kind is Kind.FILE and self._covers(item, (Kind.FILE,))

    def compile(self, item: Item, to: Cell, desk: Desk) -> Verdict:
        """Return the step that gives *to* the origin's date."""
        origin = self._pair(item, to, desk, (Kind.FILE,))
        if not isinstance(origin, Cell):
            return origin
        if not to.present:
            return Refusal(Reason.DESTINATION_MISSING)
        if to.kind is not Kind.FILE:
            return Refusal(Reason.TYPE_CLASH)
        if abs(to.mtime_ns - origin.mtime_ns) <= desk.tolerance_ns:
            return []
        return [_dated(to, entry_of(to), origin.mtime_ns)]


class Create(_FromOne, tag="create"):
    """Directories: the destination gets one, with the mode of the origin's."""

    replacing: bool = False
    """Whether a file in the way is cleared."""

    def covers(self, item: Item, _to: Cell, *, files: bool) -> bool:
        """Tell whether a rule for files (or directories) means this item."""
        return not files and self._covers(item, (Kind.DIRECTORY,))

    def compile(self, item: Item, to: Cell, desk: Desk) -> Verdict:
        """Return the step that makes the directory."""
        origin = self._pair(item, to, desk, (Kind.DIRECTORY,))
        if not isinstance(origin, Cell):
            return origin
        if to.kind is Kind.DIRECTORY:
            return []
        step = made(item, origin, to)
        return _instead(item, to, step, replacing=self.replacing) if to.present else [step]


class Remove(Action, tag="delete"):
    """The destination loses what it has; a directory only once it is empty."""

    def covers(self, _item: Item, to: Cell, *, files: bool) -> bool:
        """Tell whether a rule for files (or directories) means this item."""
        return to.kind in CONTENTS if files else to.kind is Kind.DIRECTORY

    def compile(self, item: Item, to: Cell, _desk: Desk) -> Verdict:
        """Return the step that deletes."""
        refusal = of_destination(to)
        if refusal is not None:
            return refusal
        if not to.present:
            return []
        return [removed(to)] if item.key else Refusal(Reason.ROOT)


class Nothing(Action, tag="nothing"):
    """Neither read nor written: wins over every other action of its level."""

    def covers(self, item: Item, _to: Cell, *, files: bool) -> bool:
        """Tell whether a rule for files (or directories) means this item."""
        return any((cell.kind in CONTENTS) == files for cell in item.cells if cell.kind)

    def compile(self, _item: Item, _to: Cell, _desk: Desk) -> Verdict:
        """Return no step."""
        return []


AnyAction = Copy | CopyContent | CopyDates | Create | Remove | Nothing


# --- origins and steps ----------------------------------------------------------------------


def _newest(item: Item, desk: Desk, kinds: tuple[Kind, ...]) -> Cell | Refusal:
    """Return the cell whose date is the newest, the first of several that are alike."""
    present = item.present
    if not present:
        blocked = item.blocked
        return Refusal(Reason.SOURCE_BLOCKED, blocked[0].block if blocked else Block.NONE)
    if len({cell.kind for cell in present}) > 1:
        return Refusal(Reason.TYPE_CLASH)
    if present[0].kind not in kinds:
        return Refusal(Reason.SOURCE_OTHER_KIND)
    newest = max(present, key=lambda cell: cell.mtime_ns)
    if newest.kind is Kind.DIRECTORY:
        return present[0]
    # Dates within the tolerance are equal: of two contents that share the newest date neither
    # is newer, and nobody but a person can tell which one is wanted.
    contenders = {
        cell.content for cell in present if newest.mtime_ns - cell.mtime_ns <= desk.tolerance_ns
    }
    if len(contenders) > 1:
        return Refusal(Reason.SEVERAL_CONTENTS)
    return next(cell for cell in present if cell.group == newest.group)


def _instead(item: Item, to: Cell, step: AnyStep, *, replacing: bool) -> Verdict:
    """Return the steps that clear what stands at *to* and then do *step* there."""
    if not replacing:
        return Refusal(Reason.TYPE_CLASH)
    if not item.key:
        return Refusal(Reason.ROOT)
    return [removed(to), step]


def _written(item: Item, origin: Cell, to: Cell, desk: Desk) -> AnyStep:
    if origin.kind is Kind.FILE:
        return _file(item, origin, to, desk, origin.mtime_ns)
    return CopyLink(
        member=to.member,
        source=_known_source(item, to),
        path=_known_path(to),
        expected=_replaced(origin, to),
        target=origin.inventory.target(origin.number),
        mtime_ns=origin.mtime_ns,
    )


def _file(item: Item, origin: Cell, to: Cell, desk: Desk, mtime_ns: int) -> CopyFile:
    entry = entry_of(origin)
    replaced = _replaced(origin, to)
    return CopyFile(
        member=to.member,
        source=_known_source(item, to),
        path=_known_path(to),
        expected=replaced,
        expected_digest=None if replaced is None else to.digest,
        holders=((origin.member, entry.source, entry.path),),
        origin=entry,
        digest=origin.digest,
        mtime_ns=mtime_ns,
        mode=entry.mode if desk.modes else None,
    )


def made(item: Item, origin: Cell, to: Cell) -> CreateDirectory:
    """Return the step that makes at *to* the directory that *origin* has."""
    return CreateDirectory(
        member=to.member,
        source=_known_source(item, to),
        path=_known_path(to),
        mode=entry_of(origin).mode | OWN_ACCESS,
    )


def removed(to: Cell) -> Delete | DeleteDirectory:
    """Return the step that deletes what *to* has."""
    entry = entry_of(to)
    kind = DeleteDirectory if entry.kind is Kind.DIRECTORY else Delete
    return kind(
        member=to.member,
        source=entry.source,
        path=entry.path,
        expected=entry,
        expected_digest=to.digest,
    )


def _attributes(origin: Cell, to: Cell, desk: Desk) -> Iterable[AnyStep]:
    """Yield the steps that give equal content the origin's mode and date."""
    entry, wanted = entry_of(to), entry_of(origin)
    if desk.modes and entry.mode != wanted.mode:
        yield SetMode(
            member=to.member,
            source=entry.source,
            path=entry.path,
            expected=entry,
            expected_digest=to.digest,
            mode=wanted.mode,
        )
        entry = msgspec.structs.replace(entry, mode=wanted.mode)
    if entry.mtime_ns != wanted.mtime_ns:
        yield _dated(to, entry, wanted.mtime_ns)


def _dated(to: Cell, entry: Entry, mtime_ns: int) -> SetDate:
    return SetDate(
        member=to.member,
        source=entry.source,
        path=entry.path,
        expected=entry,
        expected_digest=to.digest,
        mtime_ns=mtime_ns,
    )


def entry_of(cell: Cell) -> Entry:
    """Return the entry of a cell that has one."""
    entry = cell.entry
    assert entry is not None
    return entry


def _known_source(item: Item, to: Cell) -> int:
    return entry_of(to).source if to.present else item.line


def _known_path(to: Cell) -> RelPath:
    return to.path if to.present else ()


def _replaced(origin: Cell, to: Cell) -> Entry | None:
    """Return what the step finds: another kind was cleared by the step before it."""
    return to.entry if to.present and to.kind is origin.kind else None
