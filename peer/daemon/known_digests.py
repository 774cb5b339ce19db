"""The digest cache an inventory asks, kept in the peer's index."""

from collections.abc import Sequence

import structlog

from peer.daemon.deciding import wall_clock_ns
from peer.fs.confine import Root
from peer.inventory.stamp import Stamp
from peer.store.errors import StateUnusable
from peer.store.index import Index, RootIndex
from protocol.messages.inventory import RelPath

log = structlog.get_logger()


class KnownDigests:
    """Digests by root; any thread may use it.

    Args:
        index: Where they are kept.
    """

    def __init__(self, index: Index) -> None:
        self._index = index

    def get_many(self, root: Root, asked: Sequence[tuple[RelPath, Stamp]]) -> list[bytes | None]:
        """Return the known digest of each file that is unchanged, None for the others."""
        try:
            return list(self._of(root).get(asked, now_ns=wall_clock_ns()))
        except StateUnusable:
            # Everything can be read again; it only takes longer.
            log.warning("known_digests.unusable")
            return [None] * len(asked)

    def put_many(
        self, root: Root, found: Sequence[tuple[RelPath, Stamp, bytes]], *, read_at_ns: int
    ) -> None:
        """Remember digests of files read since *read_at_ns*."""
        try:
            self._of(root).put(found, read_at_ns=read_at_ns)
        except StateUnusable:
            log.warning("known_digests.unusable")

    def _of(self, root: Root) -> RootIndex:
        return self._index.root(root.device, root.inode, root.path)
