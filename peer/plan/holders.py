"""Who else holds the content a copy needs: others may serve it, the own disk may spare it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from peer.comparison.comparison import Comparison
from peer.plan.steps import AnyStep, CopyFile, Delete, DeleteDirectory
from protocol.messages.inventory import RelPath, SourcePosition

_Place = tuple[SourcePosition, RelPath]


@dataclass(frozen=True, slots=True)
class _Holding:
    """Where one member holds one content."""

    served: _Place | None = None
    """The first place that the plan leaves alone: others may read it at any time."""
    reused: _Place | None = None
    """The first place that stays until this member's copies are done."""


_NOTHING: Final = _Holding()


def with_holders(comparison: Comparison, steps: Sequence[AnyStep]) -> list[AnyStep]:
    """Return *steps* with every copy's holders and reuse filled in.

    A place that the plan changes serves nobody, because others read it while it changes. On
    the own disk one that is deleted at the end will do: a file that was moved is then taken
    from where it was.

    Args:
        comparison: What the steps were planned from.
        steps: In order; what is deleted before a member's first copy is no place to reuse.
    """
    wanted = {step.digest for step in steps if isinstance(step, CopyFile)} - {None}
    if not wanted:
        return list(steps)
    changed: set[tuple[int, SourcePosition, RelPath]] = set()
    deleted: set[tuple[int, SourcePosition, RelPath]] = set()
    copying: set[int] = set()
    for step in steps:
        place = step.member, step.source, step.path
        if not isinstance(step, (Delete, DeleteDirectory)):
            copying.add(step.member)
            changed.add(place)
        elif step.member in copying:
            deleted.add(place)
        else:
            changed.add(place)
    holdings: dict[bytes, dict[int, _Holding]] = {}
    for position, member in enumerate(comparison.members):
        inventory = comparison.inventories[position]
        for digest, number in comparison.hashed_entries(position):
            if digest not in wanted:
                continue
            known = holdings.setdefault(digest, {})
            held = known.get(member, _NOTHING)
            if held.served is not None:
                continue
            at = inventory.positions[number], inventory.path(number)
            if (member, *at) in changed:
                continue
            served = None if (member, *at) in deleted else at
            known[member] = _Holding(served, held.reused or at)
    return [
        _filled(step, holdings.get(step.digest, {}))
        if isinstance(step, CopyFile) and step.digest is not None
        else step
        for step in steps
    ]


def _filled(step: CopyFile, holdings: dict[int, _Holding]) -> CopyFile:
    origin = step.holders[0]
    others = [
        (member, *holding.served)
        for member, holding in sorted(holdings.items())
        if holding.served is not None and member not in (origin[0], step.member)
    ]
    own = holdings.get(step.member, _NOTHING)
    return msgspec.structs.replace(step, holders=(origin, *others), reuse=own.reused)
