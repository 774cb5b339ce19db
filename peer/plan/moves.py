"""What only changes its place: copied from, and deleted at, another place of the same member."""

from collections.abc import Iterable

from peer.plan.steps import AnyStep, CopyFile, Delete
from protocol.messages.inventory import RelPath

Place = tuple[int, int, RelPath]
"""Member, source and path."""


def moves(steps: Iterable[AnyStep]) -> dict[Place, Place]:
    """Return where each file that only changes its place comes from, by where it goes.

    A move is a copy of what the member has itself, with a place of the same content that it
    deletes; every deleted place moves once.
    """
    deleted: dict[tuple[int, bytes], list[Place]] = {}
    copies: list[tuple[Place, tuple[int, bytes]]] = []
    for step in steps:
        here = step.member, step.source, step.path
        if isinstance(step, Delete) and step.expected_digest is not None:
            deleted.setdefault((step.member, step.expected_digest), []).append(here)
        elif isinstance(step, CopyFile) and step.reuse is not None and step.expected is None:
            assert step.digest is not None, "what is reused was read"
            copies.append((here, (step.member, step.digest)))
    for places in deleted.values():
        places.reverse()
    found: dict[Place, Place] = {}
    for to, content in copies:
        places = deleted.get(content, [])
        if places:
            found[to] = places.pop()
    return found
