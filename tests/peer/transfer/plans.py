"""Short ways to write steps and entries in tests."""

from peer.plan.steps import CopyFile
from protocol.messages.inventory import Entry, Kind, RelPath

Place = tuple[int, int, RelPath]


def path(text: str) -> RelPath:
    return tuple(text.encode().split(b"/"))


def entry(
    text: str = "f", *, size: int = 3, mtime_ns: int = 5, kind: Kind = Kind.FILE, source: int = 0
) -> Entry:
    return Entry(source, path(text), kind, size, mtime_ns, 0o644)


def copy(
    text: str,
    *,
    member: int = 0,
    holders: tuple[int | Place, ...] = (1,),
    size: int = 3,
    digest: bytes | None = None,
) -> CopyFile:
    """A copy of *text* to *member*; holders given by index hold it at the same path."""
    places = tuple((h, 0, path(text)) if isinstance(h, int) else h for h in holders)
    return CopyFile(
        member=member,
        source=0,
        path=path(text),
        holders=places,
        origin=entry(text, size=size),
        digest=digest,
        mtime_ns=5,
    )
