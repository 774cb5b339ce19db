"""The digest cache an inventory asks, kept in the peer's index."""

from collections.abc import Sequence

from peer.daemon.deciding import wall_clock_ns
from peer.fs.confine import Root
from peer.inventory.stamp import Stamp
from peer.store.index import Index, RootIndex
from protocol.messages.inventory import RelPath


class KnownDigests:
    """Digests by root; any thread may use it.

    Args:
        index: Where they are kept.
    """

    def __init__(self, index: Index) -> None:
        self._index = index

    def get_many(self, root: Root, asked: Sequence[tuple[RelPath, Stamp]]) -> list[bytes | None]:
        """Return the known digest of each file that is unchanged, None for the others."""
        return list(self._of(root).get(asked, now_ns=wall_clock_ns()))

    def put_many(
        self, root: Root, found: Sequence[tuple[RelPath, Stamp, bytes]], *, read_at_ns: int
    ) -> None:
        """Remember digests of files read since *read_at_ns*."""
        self._of(root).put(found, read_at_ns=read_at_ns)

    def _of(self, root: Root) -> RootIndex:
        return self._index.root(root.device, root.inode, root.path)
