"""Primitive steps: what a plan is made of, and what every member carries out.

A step names what it expects to find, so that whatever changed since the comparison makes the
step fail instead of losing data. Members are named by index, sources by position. Steps are
values: two members that compare the same inventories under the same rules hold equal steps in
equal order, which the plan's digest shows.
"""

from typing import Annotated

from msgspec import Meta

from protocol import limits
from protocol.ids import Digest, MemberIndex
from protocol.messages.base import Value
from protocol.messages.inventory import MAX_TIME_NS, Entry, RelPath, SourcePosition

TimeNs = Annotated[int, Meta(ge=-MAX_TIME_NS, le=MAX_TIME_NS)]
"""A modification time, nanoseconds since 1970, negative before."""

Mode = Annotated[int, Meta(ge=0, le=0o7777)]
"""Permission bits."""


class Step(Value):
    """One act on one member.

    ``expected`` is what the member holds there when the step's turn comes: the entry of its
    inventory, None for nothing, also where an earlier step of the plan has cleared the place.
    """

    member: MemberIndex
    """Who carries it out; only its own sources are touched."""
    source: SourcePosition
    """Which of its data sources."""
    path: RelPath
    """Where in that source; original bytes of this member where something stands there already."""
    expected: Entry | None = None
    expected_digest: Digest | None = None
    """Known content of ``expected``, where it was hashed."""


class CreateDirectory(Step, tag="mkdir"):
    """A directory is made; its parents are steps of their own."""

    mode: Mode


class CopyFile(Step, tag="copy"):
    """The member receives the whole content from any of ``holders`` and gives it this date."""

    holders: Annotated[tuple[tuple[MemberIndex, SourcePosition, RelPath], ...], Meta(min_length=1)]
    """Who holds the content and where, the decided origin first."""
    origin: Entry
    """What the first holder's entry was at the inventory: size, date, mode."""
    digest: Digest | None
    """BLAKE3-256 of the content where it was hashed; otherwise the holder states it on sending."""
    mtime_ns: TimeNs
    """The modification time the file gets."""
    mode: Mode | None = None
    """Permission bits the file gets. None: a new file never gets wider ones than ``origin``
    has, a replaced one keeps its own."""
    reuse: tuple[SourcePosition, RelPath] | None = None
    """Where the member itself holds this content until its copies are done: while it still
    does, nothing travels."""


class CopyLink(Step, tag="link"):
    """A symbolic link is made as data; its target is never followed."""

    target: Annotated[bytes, Meta(max_length=limits.MAX_PATH)]
    mtime_ns: TimeNs


class SetDate(Step, tag="date"):
    """The modification time alone is set; the content stays."""

    mtime_ns: TimeNs


class SetMode(Step, tag="mode"):
    """The permission bits alone are set."""

    mode: Mode


class Delete(Step, tag="delete"):
    """A file or link goes to the trash of its root."""


class DeleteDirectory(Step, tag="rmdir"):
    """An empty directory is removed; one that still holds anything stays and is named."""


AnyStep = CreateDirectory | CopyFile | CopyLink | SetDate | SetMode | Delete | DeleteDirectory
