"""The data sources this member offers: checked, probed and held open while they are offered."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from peer.daemon.inventorying import SourceProbe
from peer.fs.confine import Root
from peer.fs.errors import FileError
from peer.fs.probe import Probe, probe
from peer.fs.sources import check_source
from peer.fs.staging import clean_leftovers
from protocol.messages.session import SourceInfo


@dataclass(frozen=True, slots=True)
class HeldSource:
    """One source, open."""

    root: Root
    probe: Probe

    @property
    def info(self) -> SourceInfo:
        """What the other members see of it."""
        label = self.probe.file_system if self.probe.network else ""
        return SourceInfo(path=os.fsencode(self.root.path), kind=self.root.kind, label=label[:32])


class HeldSources:
    """All sources of this member, in the order they were added.

    Args:
        state: The peer's own state folder, which is never part of a source.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self.sources: list[HeldSource] = []

    def add(self, path: Path, *, create: bool) -> HeldSource:
        """Check, open and hold *path*; blocks on the disk.

        Raises:
            SourceRefused: Saying why.
            FileError: If it cannot be opened or made.
        """
        given = [held.root.path for held in self.sources]
        source = check_source(path, given=given, state=self._state, create=create)
        root = Root(source.path, kind=source.kind, closed=source.closed)
        try:
            with contextlib.suppress(FileError):
                # Of a synchronisation that was killed: nothing of it is under way any more.
                clean_leftovers(root)
            held = HeldSource(root, probe(root))
        except BaseException:
            root.close()
            raise
        self.sources.append(held)
        return held

    def discard(self, held: HeldSource) -> None:
        """Let go of a source that was added and is not wanted any more."""
        if held in self.sources:
            self.sources.remove(held)
        held.root.close()

    def drop(self, position: int) -> None:
        """Offer the source at *position* no more; nothing on disk is touched."""
        self.sources.pop(position).root.close()

    def shares(self) -> list["HeldSources"]:
        """Return a holder of each source alone; the sources stay this one's to close."""
        shares = []
        for held in self.sources:
            share = HeldSources(self._state)
            share.sources.append(held)
            shares.append(share)
        return shares

    def infos(self) -> list[SourceInfo]:
        """Return what the other members see."""
        return [held.info for held in self.sources]

    def probes(self) -> list[SourceProbe]:
        """Return what an inventory needs to know."""
        return [
            SourceProbe(
                held.root,
                held.probe.case_insensitive,
                held.probe.date_resolution_ns,
                held.probe.windows_names,
            )
            for held in self.sources
        ]

    def roots(self) -> dict[int, Root]:
        """Return the open roots by position."""
        return {position: held.root for position, held in enumerate(self.sources)}

    def close(self) -> None:
        """Close them all."""
        while self.sources:
            self.drop(0)
