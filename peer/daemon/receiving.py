"""The receiver's side of transfers: data streams come in, verified content waits in staging.

Each stream is read by one task, which hands what came to a worker thread and reads on only when
that is done and there is room to publish more: a slow disk stops the stream, the stream's window
stops the holder. Nothing is held here but what one read returned.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

from peer.daemon.datalink import DataLink, IncomingStream
from peer.daemon.incoming import Incoming, Outcome, Staged
from peer.daemon.own_sources import OwnSources
from peer.daemon.workers import in_worker
from peer.plan.steps import CopyFile
from peer.transfer.reasons import Reason
from peer.transfer.segments import End, Piece, SegmentReader
from protocol.crypto.chunked import transfer_key
from protocol.errors import LinkClosed, RemoteProtocolError, StreamReset
from protocol.limits import MIB

READ_SIZE: Final = MIB
"""Bytes taken from a stream in one go: worth a change of threads."""


@dataclass(slots=True)
class _Expected:
    """A transfer agreed on, of which something may still come."""

    link: DataLink
    steps: Mapping[int, CopyFile]
    stream: IncomingStream | None = None
    """The one stream it comes on; it may not spread."""
    epoch: int = 0
    incoming: Incoming | None = None
    settled: set[int] = field(default_factory=set)
    """Steps whose outcome was handed on."""
    is_over: bool = False
    """Cancelled or broken: what still comes is read and dropped."""
    is_busy: bool = False
    """A worker is at it, and closes it."""


@dataclass(frozen=True, slots=True)
class TransferOver:
    """A transfer has ended; *unanswered* steps of it were neither staged nor failed."""

    transfer: bytes
    unanswered: tuple[int, ...]
    code: str
    tell: DataLink | None = None
    """Where its holder, who may go on sending, is to be told."""


class Receiving:
    """Takes the transfers this member asked for.

    Args:
        sync_id: The synchronisation.
        sources: Where staging is.
        executor: Where opening, hashing and writing happen.
        on_outcome: Takes what became of a step; it is waited for before more is read.
        on_progress: Takes a transfer and how many content bytes more came of it.
        on_over: Takes the end of a transfer, once for each.
    """

    def __init__(
        self,
        sync_id: bytes,
        sources: OwnSources,
        *,
        executor: Executor,
        on_outcome: Callable[[Outcome], Awaitable[None]],
        on_progress: Callable[[bytes, int], None],
        on_over: Callable[[TransferOver], None],
    ) -> None:
        self._sync_id = sync_id
        self._sources = sources
        self._executor = executor
        self._on_outcome = on_outcome
        self._on_progress = on_progress
        self._on_over = on_over
        self._expected: dict[bytes, _Expected] = {}
        self._streams: dict[IncomingStream, DataLink] = {}
        self._busy: list[_Expected] = []
        self._calm = asyncio.Event()

    def expect(self, link: DataLink, transfer: bytes, steps: Mapping[int, CopyFile]) -> None:
        """Agree to take *transfer* from *link*'s peer."""
        self._expected[transfer] = _Expected(link, steps)

    def end(self, transfer: bytes, code: str) -> None:
        """End *transfer* before its time; what its holder has sent already is passed over."""
        expected = self._expected.get(transfer)
        if expected is not None:
            self._break_off(transfer, expected, code, tell=expected.link)

    def refused(self, peer: int, transfer: bytes, code: str) -> None:
        """Take note that *peer* does not send *transfer*: nothing of it will come."""
        expected = self._expected.get(transfer)
        if expected is not None and expected.link.peer == peer and expected.stream is None:
            del self._expected[transfer]
            self._break_off(transfer, expected, code)

    def link_down(self, peer: int) -> None:
        """End every transfer of *peer*; nothing more of them will come."""
        for stream, link in list(self._streams.items()):
            if link.peer == peer:
                # What it still holds is of no use: whatever it is part of is asked for anew.
                del self._streams[stream]
        for transfer, expected in list(self._expected.items()):
            if expected.link.peer == peer:
                del self._expected[transfer]
                self._break_off(transfer, expected, Reason.INTERRUPTED)

    def end_all(self, code: str) -> None:
        """End every transfer."""
        for transfer in list(self._expected):
            self.end(transfer, code)

    async def idle(self) -> None:
        """Wait until no worker writes into staging any more."""
        while self._busy:
            self._calm.clear()
            await self._calm.wait()

    async def read_stream(self, link: DataLink, stream: IncomingStream) -> None:
        """Take everything that comes on *stream*, until it ends."""
        segments = SegmentReader(lambda transfer: self._agreed(link, transfer))
        self._streams[stream] = link
        try:
            while (data := await stream.read(READ_SIZE)) and stream in self._streams:
                await self._take_all(link, stream, list(segments.feed(data)))
        except (LinkClosed, StreamReset):
            pass
        except RemoteProtocolError as error:
            link.violated(error)
        finally:
            # Whatever the reason, nothing more comes of what came here.
            self._streams.pop(stream, None)
            for transfer, expected in list(self._expected.items()):
                if expected.stream is stream:
                    del self._expected[transfer]
                    self._break_off(transfer, expected, Reason.INTERRUPTED)

    def _agreed(self, link: DataLink, transfer: bytes) -> bool:
        expected = self._expected.get(transfer)
        return expected is not None and expected.link is link

    async def _take_all(
        self, link: DataLink, stream: IncomingStream, found: list[Piece | End]
    ) -> None:
        """Hand on *found*, pieces of one transfer in a row together."""
        pieces: list[memoryview] = []
        for position, one in enumerate(found):
            if isinstance(one, End):
                await self._finish(stream, one)
                continue
            pieces.append(one.data)
            following = found[position + 1] if position + 1 < len(found) else None
            if not isinstance(following, Piece) or following.transfer != one.transfer:
                await self._take(link, stream, one, pieces)
                pieces = []

    async def _take(
        self, link: DataLink, stream: IncomingStream, piece: Piece, pieces: list[memoryview]
    ) -> None:
        expected = self._expected.get(piece.transfer)
        if expected is None:
            # Told over while another's pieces were at work.
            return
        if expected.stream is None:
            expected.stream = stream
            expected.epoch = piece.epoch
            keys = link.file_keys(piece.epoch, outgoing=False)
            key = transfer_key(keys, piece.transfer)
            expected.incoming = Incoming(
                self._sync_id, piece.transfer, expected.steps, key, self._sources
            )
        if expected.stream is not stream or expected.epoch != piece.epoch:
            raise RemoteProtocolError("a transfer on two streams or in two epochs")
        incoming = expected.incoming
        if expected.is_over or incoming is None:
            return
        before = incoming.received
        await self._work(piece.transfer, expected, incoming, lambda: incoming.take(pieces))
        self._on_progress(piece.transfer, incoming.received - before)
        if incoming.is_pointless:
            self._break_off(piece.transfer, expected, Reason.INTERRUPTED, tell=link)

    async def _finish(self, stream: IncomingStream, end: End) -> None:
        expected = self._expected.get(end.transfer)
        if expected is None:
            return
        incoming = expected.incoming
        if not expected.is_over and incoming is not None:
            if expected.stream is not stream:
                raise RemoteProtocolError("the end of a transfer on another stream")
            # A message cut off is a holder that stopped; no reason to end the link.
            before = incoming.received
            with contextlib.suppress(RemoteProtocolError):
                await self._work(end.transfer, expected, incoming, incoming.finish)
            # The last chunk is only known to be whole, and its content counted, at the end.
            self._on_progress(end.transfer, incoming.received - before)
        self._expected.pop(end.transfer, None)
        self._break_off(end.transfer, expected, Reason.INTERRUPTED)

    async def _work(
        self,
        transfer: bytes,
        expected: _Expected,
        incoming: Incoming,
        work: Callable[[], list[Outcome]],
    ) -> None:
        """Let a worker do its part, then tell what came of it."""
        expected.is_busy = True
        self._busy.append(expected)
        try:
            outcomes = await in_worker(self._executor, work, late=discard)
        except RemoteProtocolError:
            expected.is_busy = False
            self._break_off(transfer, expected, Reason.BROKEN)
            raise
        finally:
            expected.is_busy = False
            self._busy.remove(expected)
            self._calm.set()
            if expected.is_over:
                incoming.close()
        for outcome in outcomes:
            # It may end while an outcome waits for room; its steps are somebody else's then.
            if expected.is_over:
                discard([outcome])
            else:
                expected.settled.add(outcome.step)
                await self._on_outcome(outcome)

    def _break_off(
        self, transfer: bytes, expected: _Expected, code: str, *, tell: DataLink | None = None
    ) -> None:
        """Tell that *transfer* is over, once."""
        if expected.is_over:
            return
        expected.is_over = True
        if expected.incoming is not None and not expected.is_busy:
            expected.incoming.close()
        unanswered = tuple(step for step in expected.steps if step not in expected.settled)
        self._on_over(TransferOver(transfer, unanswered, code, tell))


def discard(outcomes: list[Outcome]) -> None:
    """Remove what was staged and is not wanted."""
    for outcome in outcomes:
        if isinstance(outcome, Staged):
            outcome.file.discard()
