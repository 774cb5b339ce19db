"""The embedded store: records in this process, nothing kept over a restart.

Nodes of one process may share one, which is how tests see several nodes without a server.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from rendezvous.records import Kept, Record

MAX_NOTES: Final = 4096
"""Notes kept for a node that does not take them; what comes on top is lost."""


class SharedMemory:
    """What the nodes of one process share."""

    def __init__(self) -> None:
        self.records: OrderedDict[str, tuple[Record, float]] = OrderedDict()
        """By session, with the time each expires, the first to expire first."""
        self.borrowed: dict[str, asyncio.Event] = {}
        self.notes: dict[str, asyncio.Queue[bytes]] = {}


class MemoryStore:
    """One node's access to records in memory.

    Args:
        clock: Seconds, monotonic.
        shared: What other nodes of the process use too; None: nobody else does.
    """

    def __init__(self, clock: Callable[[], float], shared: SharedMemory | None = None) -> None:
        self._clock = clock
        self._shared = shared or SharedMemory()
        self._node = ""

    async def open(self, node: str) -> None:
        self._node = node
        self._shared.notes[node] = asyncio.Queue(MAX_NOTES)

    async def close(self) -> None:
        self._shared.notes.pop(self._node, None)

    async def read(self, session_id: str) -> Kept | None:
        now = self._clock()
        record, expires = self._shared.records.get(session_id, (None, 0.0))
        return Kept(record, expires - now) if record is not None and expires > now else None

    async def borrow(self, session_id: str) -> Kept | None:
        while (lender := self._shared.borrowed.get(session_id)) is not None:
            await lender.wait()
        self._shared.borrowed[session_id] = asyncio.Event()
        return await self.read(session_id)

    async def give_back(self, session_id: str, record: Record | None, lifetime: float) -> None:
        records = self._shared.records
        if record is None:
            records.pop(session_id, None)
        else:
            _, before = records.get(session_id, (None, 0.0))
            expires = self._clock() + lifetime
            records[session_id] = (record, expires)
            # What was not refreshed keeps its place, so that the first expires first.
            if expires > before:
                records.move_to_end(session_id)
        await self.put_back(session_id)

    async def put_back(self, session_id: str) -> None:
        lender = self._shared.borrowed.pop(session_id, None)
        if lender is not None:
            lender.set()

    def expire(self) -> None:
        now = self._clock()
        records = self._shared.records
        while records:
            session_id, (_, expires) = next(iter(records.items()))
            if expires > now:
                return
            del records[session_id]

    async def tell(self, node: str, note: bytes) -> bool:
        notes = self._shared.notes.get(node)
        if notes is None:
            return False
        if not notes.full():
            notes.put_nowait(note)
        return True

    async def next_note(self) -> bytes:
        return await self._shared.notes[self._node].get()

    def __len__(self) -> int:
        return len(self._shared.records)
