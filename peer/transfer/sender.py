"""The holder's side of a transfer: what is served to whom, and how it is put into chunks.

``Holder`` decides; ``PackWriter`` turns files into the sealed message of one transfer. Content
is read straight into the chunk it is sealed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from peer.plan.steps import AnyStep, CopyFile
from peer.transfer import pack
from peer.transfer.pack import Asked
from peer.transfer.reasons import Reason
from protocol import limits
from protocol.crypto.chunked import ChunkSealer
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.framing import HEADER
from protocol.messages.inventory import RelPath
from protocol.messages.transfer import Fetch

_SCRATCH: Final = 4096
"""Bytes read at the end of a chunk that has no room for a record of its own."""


@dataclass(frozen=True, slots=True)
class Served:
    """One step of a transfer and where this member holds its content."""

    step: int
    size: int
    digest: bytes | None
    places: tuple[tuple[int, RelPath], ...]
    """Source and path, in the plan's order."""
    first: bool
    """Whether the first place is the decided origin, whose entry the step carries."""

    @property
    def asked(self) -> Asked:
        return Asked(self.step, self.size, self.digest)


class Holder:
    """Decides which requests of other members are served.

    Args:
        me: This member's index.
        sync: The synchronisation under way.
        steps: Its whole plan.
    """

    def __init__(self, me: int, sync: bytes, steps: Sequence[AnyStep]) -> None:
        self._me = me
        self._sync = sync
        self._steps = steps
        self._open: dict[int, set[bytes]] = {}

    def admit(self, peer: int, fetch: Fetch) -> tuple[Served, ...] | Reason:
        """Return what to serve for *fetch*, or why not.

        The plan alone decides: a step is served to the member that carries it out, by those
        the plan names as its holders.

        Raises:
            RemoteProtocolError: If the transfer is open already.
        """
        if fetch.sync != self._sync:
            return Reason.UNKNOWN_SYNC
        transfers = self._open.setdefault(peer, set())
        if fetch.transfer in transfers:
            raise RemoteProtocolError("a transfer asked for twice")
        served = [self._served(peer, number) for number in fetch.steps]
        granted = tuple(one for one in served if one is not None)
        if len(granted) < len(served) or len(set(fetch.steps)) < len(served):
            return Reason.NOT_HELD
        if sum(one.size for one in granted) > limits.MAX_TRANSFER:
            return Reason.NOT_HELD
        if len(transfers) >= limits.MAX_TRANSFERS_PER_LINK:
            return Reason.BUSY
        transfers.add(fetch.transfer)
        return granted

    def ended(self, peer: int, transfer: bytes) -> None:
        """Take note that *transfer* to *peer* is over."""
        self._open.get(peer, set()).discard(transfer)

    def is_open(self, peer: int, transfer: bytes) -> bool:
        """Whether *transfer* to *peer* goes on."""
        return transfer in self._open.get(peer, ())

    def peer_lost(self, peer: int) -> None:
        """Take note that nothing can be sent to *peer* any more."""
        self._open.pop(peer, None)

    def _served(self, peer: int, number: int) -> Served | None:
        if number >= len(self._steps):
            return None
        step = self._steps[number]
        if not isinstance(step, CopyFile) or step.member != peer:
            return None
        places = tuple(place[1:] for place in step.holders if place[0] == self._me)
        if not places:
            return None
        first = step.holders[0][0] == self._me
        return Served(number, step.origin.size, step.digest, places, first)


class PackWriter:
    """Turns the files of one transfer into its sealed message.

    For each file ``begin``, then ``room`` and ``filled`` in turns, then ``end`` or ``failed``;
    ``finish`` after the last. ``sealed`` returns what is ready to be sent.
    """

    def __init__(self, sealer: ChunkSealer) -> None:
        self._sealer = sealer
        self._buffer = bytearray(limits.FILE_CHUNK)
        self._view = memoryview(self._buffer)
        self._scratch = memoryview(bytearray(_SCRATCH))
        self._used = 0
        self._ready: list[bytes] = [sealer.header()]
        self._hash = blake3()
        self._missing = 0

    def begin(self, step: int, size: int) -> None:
        """Announce *size* bytes of content for *step*."""
        self._hash = blake3()
        self._missing = size
        self._put(pack.begin(step, size))

    def room(self) -> memoryview:
        """Return where the next bytes of the file belong; empty when all have come."""
        if not self._has_room:
            return self._scratch[: self._missing]
        start = self._used + HEADER
        return self._view[start : start + self._missing]

    def filled(self, count: int) -> None:
        """Take note that the first *count* bytes, 1 or more, of ``room`` are there now."""
        if not 0 < count <= len(self.room()):
            raise LocalProtocolError(f"{count} bytes of a file")
        header = pack.data_header(count)
        content = self.room()[:count]
        self._hash.update(content)
        self._missing -= count
        if self._has_room:
            self._view[self._used : self._used + HEADER] = header
            self._used += HEADER + count
            self._seal_if_full()
        else:
            self._put(header + content.tobytes())

    @property
    def digest(self) -> bytes:
        """BLAKE3-256 of what has come of the file."""
        return self._hash.digest()

    def end(self) -> None:
        """End a file of which everything has come."""
        if self._missing:
            raise LocalProtocolError("bytes of the file are missing")
        self._put(pack.end(self.digest))

    def failed(self, step: int, code: str) -> None:
        """Give up *step*, whether it has begun or not."""
        self._missing = 0
        self._put(pack.failed(step, code))

    def finish(self) -> None:
        """End the message."""
        self._ready.append(self._sealer.seal(self._view[: self._used], last=True))

    def sealed(self) -> list[bytes]:
        """Return the parts of the message now ready, in order, once."""
        ready, self._ready = self._ready, []
        return ready

    @property
    def size(self) -> int:
        """Bytes ready and not yet taken."""
        return sum(map(len, self._ready))

    @property
    def _has_room(self) -> bool:
        return limits.FILE_CHUNK - self._used > HEADER

    def _put(self, data: bytes) -> None:
        offset = 0
        while offset < len(data):
            part = data[offset : offset + limits.FILE_CHUNK - self._used]
            self._view[self._used : self._used + len(part)] = part
            self._used += len(part)
            offset += len(part)
            self._seal_if_full()

    def _seal_if_full(self) -> None:
        if self._used == limits.FILE_CHUNK:
            self._ready.append(self._sealer.seal(self._view))
            self._used = 0
