"""Inventories on the wire: what each member found, streamed to every other member.

Order on the wire, per member and run: ``InventoryBegun``, any number of ``EntriesFound`` and
``EntriesSkipped``, one ``IdentificationEnded``; when all members' have ended, any number of
``HashesComputed``, one ``HashingEnded``. ``InventoryFailed`` may take the place of either end.
"""

import enum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol import limits
from protocol.ids import Digest
from protocol.messages.base import Message

Component = Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_COMPONENT)]
"""One name within a directory: the original bytes; ``peer.inventory.names`` refuses bad ones."""

RelPath = Annotated[tuple[Component, ...], Meta(max_length=limits.MAX_DEPTH)]
"""A path below a source's root, as components; empty for the root itself."""

SourcePosition = Annotated[int, Meta(ge=0, lt=limits.MAX_SOURCES)]
"""Place of a data source among its member's sources, from 0; people see it counted from 1."""

Run = Annotated[int, Meta(ge=1, le=2**32 - 1)]
"""Number of an inventory within the session, so that late messages of a cancelled one are known."""

MAX_TIME_NS: Final = 2**62
"""Bound of a modification time, nanoseconds either side of 1970."""


Size = Annotated[int, Meta(ge=0, le=2**62)]
MtimeNs = Annotated[int, Meta(ge=-MAX_TIME_NS, le=MAX_TIME_NS)]
Target = Annotated[bytes, Meta(max_length=limits.MAX_PATH)]
Distance = Annotated[int, Meta(ge=0, lt=limits.MAX_ENTRIES)]


class Kind(enum.IntEnum):
    """What an entry is."""

    FILE = 1
    DIRECTORY = 2
    LINK = 3


class SkipReason(enum.IntEnum):
    """Why something that exists is no entry. Skipped is never missing (product.md, section 5)."""

    HIDDEN = 1
    SYSTEM = 2
    NOISE = 3
    PATTERN = 4
    LINK = 5
    SPECIAL = 6
    PLACEHOLDER = 7
    INACCESSIBLE = 8
    VANISHED = 9
    IO_ERROR = 10
    TOO_LONG = 11
    DATA_TYPE = 12
    MOUNT_POINT = 13


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One file, directory or link found in a data source."""

    source: SourcePosition
    path: RelPath
    kind: Kind
    size: Size
    """Bytes; 0 for a directory."""
    mtime_ns: MtimeNs
    """Modification time, nanoseconds since 1970, negative before."""
    mode: Annotated[int, Meta(ge=0, le=0o7777)]
    """Permission bits."""
    target: Target = b""
    """Where a link points; data only, never followed."""


class Skip(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One place in a data source that holds something which is not an entry.

    A skipped directory covers everything below it.
    """

    source: SourcePosition
    path: RelPath
    reason: SkipReason
    kind: Kind | None = None
    """What stands there, where it could be told."""


class Hash(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The content of one entry."""

    number: Annotated[int, Meta(ge=0, lt=limits.MAX_ENTRIES)]
    """The entry's place in its member's stream of this run, from 0."""
    digest: Digest | None
    """BLAKE3-256 of the content; None when it could not be read."""
    reason: SkipReason | None = None
    """Why there is no digest."""


class InventoryBegun(Message, tag="inventory.begun"):
    """Member to all: my identification begins; everything of an earlier run is void."""

    run: Run
    case_insensitive: bool = False
    """Whether any of my roots lies on a case-insensitive file system (probed)."""
    date_resolution_ns: Annotated[int, Meta(ge=1, le=3_600_000_000_000)] = 1
    """Coarsest modification time my roots keep, nanoseconds."""
    windows_names: bool = False
    """Whether any of my roots refuses names that Windows refuses (probed)."""


class EntriesFound(Message, tag="inventory.entries"):
    """Member to all: the next entries, numbered in the order sent.

    Columns, one value an entry: a million entries are few bytes each, and soon read.
    """

    run: Run
    above: Annotated[list[Distance], Meta(max_length=limits.MAX_BATCH)]
    """How many entries before this one its directory is; 0 for the root of a source."""
    names: Annotated[
        list[Annotated[bytes, Meta(max_length=limits.MAX_COMPONENT)]],
        Meta(max_length=limits.MAX_BATCH),
    ]
    """Last components, original bytes; empty for a root."""
    kinds: Annotated[bytes, Meta(max_length=limits.MAX_BATCH)]
    """A ``Kind`` each."""
    sizes: Annotated[list[Size], Meta(max_length=limits.MAX_BATCH)]
    mtimes: Annotated[list[MtimeNs], Meta(max_length=limits.MAX_BATCH)]
    modes: Annotated[bytes, Meta(max_length=2 * limits.MAX_BATCH)]
    """Permission bits, two bytes each, the higher first."""
    roots: Annotated[list[SourcePosition], Meta(max_length=limits.MAX_BATCH)]
    """The source of every root among them, in order."""
    targets: Annotated[list[Target], Meta(max_length=limits.MAX_BATCH)]
    """Where every link among them points, in order; data only, never followed."""


class EntriesSkipped(Message, tag="inventory.skips"):
    """Member to all: places that hold something which is no entry."""

    run: Run
    skips: Annotated[list[Skip], Meta(max_length=limits.MAX_BATCH)]


class IdentificationEnded(Message, tag="inventory.identified"):
    """Member to all: every source has been walked."""

    run: Run
    entries: Annotated[int, Meta(ge=0, le=limits.MAX_ENTRIES)]
    skips: Annotated[int, Meta(ge=0, le=limits.MAX_ENTRIES)]


class HashesComputed(Message, tag="inventory.hashes"):
    """Member to all: digests of entries that need one."""

    run: Run
    hashes: Annotated[list[Hash], Meta(max_length=limits.MAX_BATCH)]


class HashingEnded(Message, tag="inventory.hashed"):
    """Member to all: every digest that was needed has been sent."""

    run: Run


class InventoryFailed(Message, tag="inventory.failed"):
    """Member to all: my inventory ended early; my entries count as unknown."""

    run: Run
    code: Annotated[str, Meta(max_length=64, pattern=r"\A[a-z0-9_.]+\Z")]
    source: SourcePosition | None = None


InventoryMessage = (
    InventoryBegun
    | EntriesFound
    | EntriesSkipped
    | IdentificationEnded
    | HashesComputed
    | HashingEnded
    | InventoryFailed
)
