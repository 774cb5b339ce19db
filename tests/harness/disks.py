"""Disks in memory that carry out a plan, as strictly as real ones must.

Every step is checked against what it expects to find, at the moment its turn comes; members
run interleaved, and whoever serves a copy is asked at that moment, too. A place that was
skipped or inaccessible still holds something here, and no step may come near it.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

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
from protocol.messages.inventory import Kind, RelPath, SkipReason
from tests.harness.inventories import Thing, Tree, as_entry, path_of, whole

Disk = dict[RelPath, Thing | SkipReason]
"""One source: everything below its root, and the root."""


class Disks:
    """The sources of all members.

    Args:
        trees: By member, then by source.
    """

    def __init__(self, trees: Sequence[Sequence[Tree]]) -> None:
        self.members: list[list[Disk]] = [[whole(tree) for tree in sources] for sources in trees]
        self.written: set[int] = set()
        """Members that carried out a step."""
        self.deleted = 0
        """Steps that deleted something."""

    def trees(self) -> list[list[Tree]]:
        """What the disks hold now, as trees."""
        return [
            [
                {
                    "/".join(part.decode("utf-8", "surrogateescape") for part in path): thing
                    for path, thing in disk.items()
                }
                for disk in sources
            ]
            for sources in self.members
        ]

    def apply(self, steps: Sequence[AnyStep], rng: random.Random) -> None:
        """Carry out *steps*: each member's in order, the members' interleaved at random."""
        queues: dict[int, list[AnyStep]] = {step.member: [] for step in steps}
        for step in steps:
            queues[step.member].append(step)
        while queues:
            member = rng.choice(sorted(queues))
            self._carry_out(queues[member].pop(0), rng)
            if not queues[member]:
                del queues[member]

    def _carry_out(self, step: AnyStep, rng: random.Random) -> None:
        self.written.add(step.member)
        disk = self.members[step.member][step.source]
        found = disk.get(step.path)
        expected = None if found is None else self._entry(step.source, step.path, found)
        assert step.expected == expected, "found something else"
        if step.path:
            above = disk.get(step.path[:-1])
            assert isinstance(above, Thing), "no directory to act in"
            assert above.kind is Kind.DIRECTORY, "a file where a directory must be"
        match step:
            case CreateDirectory():
                assert found is None
                disk[step.path] = Thing(Kind.DIRECTORY, mode=step.mode)
            case CopyFile():
                content = self._received(step, rng)
                disk[step.path] = Thing(Kind.FILE, content, step.mtime_ns, self._mode(step, found))
            case CopyLink():
                disk[step.path] = Thing(Kind.LINK, b"", step.mtime_ns, 0o777, step.target)
            case SetDate():
                assert isinstance(found, Thing)
                disk[step.path] = replace(found, mtime_ns=step.mtime_ns)
            case SetMode():
                assert isinstance(found, Thing)
                disk[step.path] = replace(found, mode=step.mode)
            case Delete():
                assert isinstance(found, Thing)
                assert found.kind is not Kind.DIRECTORY
                self.deleted += 1
                del disk[step.path]
            case DeleteDirectory():
                assert isinstance(found, Thing)
                assert found.kind is Kind.DIRECTORY
                below = [path for path in disk if path[:-1] == step.path and path != step.path]
                assert not below, "the directory is not empty"
                assert step.path, "the root of a source"
                self.deleted += 1
                del disk[step.path]

    def _received(self, step: CopyFile, rng: random.Random) -> bytes:
        """Ask any holder, and the own disk where it says so; all must have the content."""
        contents = set()
        for member, source, path in step.holders:
            thing = self.members[member][source][path]
            assert isinstance(thing, Thing)
            contents.add(thing.content)
        if step.reuse is not None:
            own = self.members[step.member][step.reuse[0]][step.reuse[1]]
            assert isinstance(own, Thing)
            contents.add(own.content)
        member, source, path = step.holders[0]
        first = self.members[member][source][path]
        assert isinstance(first, Thing)
        assert as_entry(source, path, first) == step.origin, "the origin changed"
        assert len(contents) == 1, "holders of different content"
        assert all(holder[0] != step.member for holder in step.holders)
        return rng.choice(sorted(contents))

    @staticmethod
    def _mode(step: CopyFile, found: Thing | SkipReason | None) -> int:
        if step.mode is not None:
            return step.mode
        return found.mode if isinstance(found, Thing) else step.origin.mode

    @staticmethod
    def _entry(source: int, path: RelPath, thing: Thing | SkipReason) -> object:
        return as_entry(source, path, thing) if isinstance(thing, Thing) else thing


def skipped_places(trees: Sequence[Sequence[Tree]]) -> list[tuple[int, int, RelPath, SkipReason]]:
    """Member, source, path and reason of everything skipped."""
    return [
        (member, source, path_of(text), thing)
        for member, sources in enumerate(trees)
        for source, tree in enumerate(sources)
        for text, thing in tree.items()
        if isinstance(thing, SkipReason)
    ]
