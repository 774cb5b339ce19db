"""What only changes its place: copied from, and deleted at, another place of the same member."""

from collections.abc import Iterable

from peer.plan.steps import AnyStep, CopyFile, Delete
from protocol.messages.inventory import RelPath

Place = tuple[int, int, RelPath]
"""Member, source and path."""


def moves(steps: Iterable[AnyStep]) -> dict[Place, Place]:
    """Return where each file that only changes its place comes from, by where it goes.

    A move is a copy from a place of the same member that the plan deletes; of several copies
    of one content the first is the move.
    """
    deleted: set[Place] = set()
    copies: list[tuple[Place, Place]] = []
    for step in steps:
        here = step.member, step.source, step.path
        if isinstance(step, Delete):
            deleted.add(here)
        elif isinstance(step, CopyFile) and step.reuse is not None and step.expected is None:
            copies.append((here, (step.member, *step.reuse)))
    found: dict[Place, Place] = {}
    for to, origin in copies:
        if origin in deleted:
            deleted.remove(origin)
            found[to] = origin
    return found
