"""The order in which a member carries out its own steps.

::

    clearing -> directories -> contents -> links -> attributes -> deletes
             -> directory_deletes -> directory_attributes

Why this order is safe: what is made finds its parent made before it; content that another step
of ours deletes or moves is read before it goes; a directory is removed only after everything
planned below it; and a directory's own date and mode are set when nothing below it changes any
more. *Clearing* is the exception that a type clash needs: what stands where something of
another kind must be made goes first, and only there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

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
from protocol.messages.inventory import Kind, RelPath

Place = tuple[int, RelPath]
"""A path in one of a member's sources."""

PRIVATE: Final = 0o700
"""What a directory of ours must allow while its contents are made."""


@dataclass(frozen=True, slots=True)
class Phases:
    """Numbers of one member's steps, phase by phase, each phase in its order."""

    clearing: tuple[int, ...] = ()
    """Deletions where something of another kind is made; files, then directories from below."""
    directories: tuple[int, ...] = ()
    """Directories made, parents first."""
    contents: tuple[int, ...] = ()
    links: tuple[int, ...] = ()
    attributes: tuple[int, ...] = ()
    """Dates and modes of files and links."""
    deletes: tuple[int, ...] = ()
    directory_deletes: tuple[int, ...] = ()
    """Deepest first."""
    directory_attributes: tuple[int, ...] = ()
    """Dates and modes of directories, deepest first; restrictive modes of those made, too."""

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        yield self.clearing
        yield self.directories
        yield self.contents
        yield self.links
        yield self.attributes
        yield self.deletes
        yield self.directory_deletes
        yield self.directory_attributes


def phases_of(steps: Sequence[AnyStep], member: int) -> Phases:
    """Return the phases of *member*'s part of the plan *steps*."""
    own = {number: step for number, step in enumerate(steps) if step.member == member}
    cleared = _cleared(own)
    lists: dict[str, list[int]] = {}
    for number, step in own.items():
        for phase in _phases_of_one(step, clearing=number in cleared):
            lists.setdefault(phase, []).append(number)

    def deepest_first(number: int) -> tuple[int, int, RelPath]:
        return (-len(own[number].path), own[number].source, own[number].path)

    def parents_first(number: int) -> tuple[int, int, RelPath]:
        return (len(own[number].path), own[number].source, own[number].path)

    for phase in ("directory_deletes", "directory_attributes"):
        lists.get(phase, []).sort(key=deepest_first)
    lists.get("directories", []).sort(key=parents_first)
    # A date is part of what a step expects to find, permission bits are not.
    lists.get("attributes", []).sort(key=lambda number: isinstance(own[number], SetDate))
    lists.get("clearing", []).sort(
        key=lambda number: (isinstance(own[number], DeleteDirectory), *deepest_first(number))
    )
    return Phases(**{phase: tuple(numbers) for phase, numbers in lists.items()})


def _phases_of_one(step: AnyStep, *, clearing: bool) -> tuple[str, ...]:
    match step:
        case CreateDirectory():
            # Made wide open to its owner first, or nothing could be put into it.
            narrow = step.mode & PRIVATE != PRIVATE
            return ("directories", "directory_attributes") if narrow else ("directories",)
        case CopyFile():
            return ("contents",)
        case CopyLink():
            return ("links",)
        case SetDate() | SetMode():
            directory = step.expected is not None and step.expected.kind is Kind.DIRECTORY
            return ("directory_attributes",) if directory else ("attributes",)
        case Delete():
            return ("clearing",) if clearing else ("deletes",)
        case DeleteDirectory():
            return ("clearing",) if clearing else ("directory_deletes",)
        case _:
            assert_never(step)


def _cleared(own: dict[int, AnyStep]) -> set[int]:
    """Return the deletions at, or below, a place where something else is made."""
    made: set[Place] = {
        (step.source, step.path)
        for step in own.values()
        if isinstance(step, CreateDirectory | CopyFile | CopyLink)
    }
    # A path is made below only if it is made itself, or is there as a directory already.
    clashing: set[Place] = {
        (step.source, step.path)
        for step in own.values()
        if isinstance(step, Delete | DeleteDirectory) and (step.source, step.path) in made
    }
    if not clashing:
        return set()
    return {
        number
        for number, step in own.items()
        if isinstance(step, Delete | DeleteDirectory)
        and any((step.source, step.path[:depth]) in clashing for depth in range(len(step.path) + 1))
    }
