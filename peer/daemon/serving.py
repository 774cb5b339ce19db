"""The holder's side of transfers: requests come in, sealed packs go out on the link's streams.

Who may have what is decided by ``peer.transfer.sender``. Reading, hashing and sealing happen in
worker threads; the next slice is made while the last one is being sent, and none is made before
the stream took the one before it: that is the back-pressure, and the bound of memory.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final

from peer.daemon.datalink import DataLink, OutgoingStream
from peer.daemon.outgoing import Outgoing
from peer.daemon.own_sources import OwnSources
from peer.plan.steps import AnyStep, CopyFile
from peer.transfer import pack, segments
from peer.transfer.reasons import Reason
from peer.transfer.schedule import SMALL
from peer.transfer.sender import Holder, Served
from protocol.crypto.chunked import ChunkSealer, transfer_key
from protocol.errors import LinkClosed, SealBroken, StreamReset
from protocol.messages.transfer import Fetch, FetchRefused

Spawn = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a coroutine in the synchronisation's group of tasks."""


@dataclass(slots=True)
class _Lane:
    """One outgoing data stream of a link; whole segments take turns on it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    stream: OutgoingStream | None = None


class Serving:
    """Serves the other members what the plan lets them ask of this one.

    Args:
        me: This member's index.
        sync_id: The synchronisation.
        steps: Its whole plan.
        sources: This member's data sources.
        executor: Where reading and sealing happen.
        random_bytes: Source of salts.
        spawn: Runs a transfer.
    """

    def __init__(
        self,
        me: int,
        sync_id: bytes,
        steps: Sequence[AnyStep],
        sources: OwnSources,
        *,
        executor: Executor,
        random_bytes: Callable[[int], bytes],
        spawn: Spawn,
    ) -> None:
        self.stated: Final[dict[int, bytes]] = {}
        """BLAKE3-256 of what was sent, by step: the holder's word in the final proof."""
        self._sync_id = sync_id
        self._steps = steps
        self._sources = sources
        self._executor = executor
        self._random_bytes = random_bytes
        self._spawn = spawn
        self._holder = Holder(me, sync_id, steps)
        self._lanes: dict[tuple[int, bool], _Lane] = {}
        self._stopped = False

    def receive_fetch(self, link: DataLink, fetch: Fetch) -> None:
        """Begin the transfer asked for, or refuse it.

        Raises:
            RemoteProtocolError: If it was asked for before.
        """
        served = Reason.ABORTED if self._stopped else self._holder.admit(link.peer, fetch)
        if isinstance(served, Reason):
            link.send(FetchRefused(transfer=fetch.transfer, code=served))
        else:
            self._spawn(self._serve(link, fetch.transfer, served))

    def cancel(self, peer: int, transfer: bytes) -> None:
        """Send no more of *transfer*; harmless if it is over."""
        self._holder.ended(peer, transfer)

    def link_down(self, peer: int) -> None:
        """Forget what was being sent to *peer*, and its streams."""
        self._holder.peer_lost(peer)
        for large in (False, True):
            self._lanes.pop((peer, large), None)

    def stop(self) -> None:
        """Serve nothing any more; what is being sent ends after its present slice."""
        self._stopped = True

    async def _serve(self, link: DataLink, transfer: bytes, served: tuple[Served, ...]) -> None:
        try:
            epoch = link.epoch
            asked = [one.asked for one in served]
            sealer = ChunkSealer(
                transfer_key(link.file_keys(epoch, outgoing=True), transfer),
                pack.context_of(self._sync_id, transfer, asked),
                self._random_bytes,
            )
            steps = {
                one.step: step
                for one in served
                if isinstance(step := self._steps[one.step], CopyFile)
            }
            outgoing = Outgoing(served, steps, self._sources, sealer)
            large = any(one.size > SMALL for one in served)
            lane = self._lanes.setdefault((link.peer, large), _Lane())
            try:
                await self._send(link, lane, epoch, transfer, outgoing)
            finally:
                outgoing.close()
                self.stated.update(outgoing.stated)
        except (LinkClosed, StreamReset, SealBroken):
            # Whoever waits for it learns the same from the link.
            return
        finally:
            self._holder.ended(link.peer, transfer)

    async def _send(
        self, link: DataLink, lane: _Lane, epoch: int, transfer: bytes, outgoing: Outgoing
    ) -> None:
        loop = asyncio.get_running_loop()
        coming = loop.run_in_executor(self._executor, outgoing.slice)
        try:
            while parts := await coming:
                if self._stopped or not self._holder.is_open(link.peer, transfer):
                    # Cut off: the receiver cancelled it, or finds it not whole.
                    break
                coming = loop.run_in_executor(self._executor, outgoing.slice)
                async with lane.lock:
                    stream = await self._stream(link, lane)
                    await stream.write(segments.header(epoch, transfer, sum(map(len, parts))))
                    for part in parts:
                        await stream.write(part)
        finally:
            coming.cancel()
        async with lane.lock:
            stream = await self._stream(link, lane)
            await stream.write(segments.header(epoch, transfer, 0))

    async def _stream(self, link: DataLink, lane: _Lane) -> OutgoingStream:
        if lane.stream is None:
            lane.stream = await link.open_data_stream()
        return lane.stream
