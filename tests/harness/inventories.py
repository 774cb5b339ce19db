"""Inventories written by hand: trees in a line each, and the messages they arrive as.

A tree maps a path to what stands there: ``file(…)``, ``DIRECTORY``, ``link(…)`` or a
``SkipReason``. Parents are added by themselves.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import blake3

from peer.inventory.entries import MemberInventory
from peer.inventory.hashing_plan import to_hash
from peer.inventory.telling import Teller
from peer.session.session_settings import SessionSettings
from protocol.messages.inventory import (
    EntriesSkipped,
    Entry,
    Hash,
    HashesComputed,
    HashingEnded,
    IdentificationEnded,
    InventoryBegun,
    Kind,
    RelPath,
    Skip,
    SkipReason,
)

SECOND: Final = 1_000_000_000


@dataclass(frozen=True)
class Thing:
    """What stands at one path of a tree."""

    kind: Kind
    content: bytes = b""
    mtime_ns: int = 0
    mode: int = 0o644
    target: bytes = b""


DIRECTORY: Final = Thing(Kind.DIRECTORY, mode=0o755)

Tree = Mapping[str, Thing | SkipReason]
"""What one source holds, by path with slashes; the empty path is the root."""


def file(content: str, at: float = 0, mode: int = 0o644) -> Thing:
    """A file with this content, last changed *at* seconds."""
    return Thing(Kind.FILE, content.encode(), round(at * SECOND), mode)


def link(target: str) -> Thing:
    """A symbolic link."""
    return Thing(Kind.LINK, target=target.encode(), mode=0o777)


def path_of(text: str) -> RelPath:
    """The components of a path written with slashes."""
    return tuple(part.encode("utf-8", "surrogateescape") for part in text.split("/") if part)


def whole(tree: Tree) -> dict[RelPath, Thing | SkipReason]:
    """The tree with its root and every missing parent, parents first."""
    paths = {path_of(text): thing for text, thing in tree.items()}
    complete = dict(paths)
    for path in paths:
        for depth in range(len(path)):
            complete.setdefault(path[:depth], DIRECTORY)
    if not complete:
        complete[()] = DIRECTORY
    return dict(sorted(complete.items()))


def identified(
    member: int,
    *sources: Tree,
    case_insensitive: bool = False,
    date_resolution_ns: int = 1,
    windows_names: bool = False,
    unreadable: Sequence[str] = (),
    shuffle: random.Random | None = None,
) -> MemberInventory:
    """The inventory of *member* with these sources, before anything is hashed.

    ``unreadable`` names directories that exist and cannot be listed; ``shuffle`` scans in
    another order, parents still first.
    """
    inventory = MemberInventory(member, 1, sources=len(sources))
    inventory.receive(
        InventoryBegun(
            run=1,
            case_insensitive=case_insensitive,
            date_resolution_ns=date_resolution_ns,
            windows_names=windows_names,
        )
    )
    entries, skips = [], []
    for source, tree in enumerate(sources):
        for path, thing in _scanned(whole(tree), shuffle):
            if isinstance(thing, SkipReason):
                skips.append(Skip(source, path, thing))
            else:
                entries.append(as_entry(source, path, thing))
        skips += [Skip(source, path_of(path), SkipReason.INACCESSIBLE) for path in unreadable]
    for message in Teller(1).entries(entries):
        inventory.receive(message)
    inventory.receive(EntriesSkipped(run=1, skips=skips))
    inventory.receive(IdentificationEnded(run=1, entries=len(entries), skips=len(skips)))
    return inventory


def _scanned(
    tree: Mapping[RelPath, Thing | SkipReason], shuffle: random.Random | None
) -> list[tuple[RelPath, Thing | SkipReason]]:
    found = list(tree.items())
    if shuffle is not None:
        shuffle.shuffle(found)
        found.sort(key=lambda one: len(one[0]))
    return found


def as_entry(source: int, path: RelPath, thing: Thing) -> Entry:
    """The entry a scanner would send for *thing*."""
    return Entry(
        source=source,
        path=path,
        kind=thing.kind,
        size=len(thing.content),
        mtime_ns=thing.mtime_ns,
        mode=thing.mode,
        target=thing.target,
    )


def hashed(
    inventories: Sequence[MemberInventory],
    trees: Sequence[Sequence[Tree]],
    settings: SessionSettings,
    unreadable: Sequence[tuple[int, str]] = (),
) -> list[MemberInventory]:
    """Hash what each member must, from its trees, and end the inventories.

    ``unreadable`` names files (member, path) whose content cannot be read.
    """
    plans = [to_hash(inventory.member, inventories, settings) for inventory in inventories]
    broken = {(member, path_of(path)) for member, path in unreadable}
    for inventory, sources, numbers in zip(inventories, trees, plans, strict=True):
        contents = [whole(tree) for tree in sources]
        results = []
        for number in numbers:
            entry = inventory.entry(number)
            thing = contents[entry.source][entry.path]
            assert isinstance(thing, Thing)
            if (inventory.member, entry.path) in broken:
                results.append(Hash(number, None, SkipReason.IO_ERROR))
            else:
                results.append(Hash(number, blake3.blake3(thing.content).digest()))
        inventory.receive(HashesComputed(run=1, hashes=results))
        inventory.receive(HashingEnded(run=1))
    return list(inventories)


def inventories_of(*trees: Tree, settings: SessionSettings | None = None) -> list[MemberInventory]:
    """Complete inventories of members 0, 1, … with one source each."""
    return hashed(
        [identified(member, tree) for member, tree in enumerate(trees)],
        [[tree] for tree in trees],
        settings or SessionSettings(),
    )


def dated(thing: Thing, at: float) -> Thing:
    """The same thing, last changed *at* seconds."""
    return replace(thing, mtime_ns=round(at * SECOND))
