"""Lets the broker judge with what all nodes on one store know together.

A request about a session is judged while its record is borrowed, so that two nodes never
judge about one session at once; a look-up only reads. What changes without a request, such as
a connection that broke, follows as soon as it can.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from protocol.messages.rendezvous import LookUp, PeerMessage, Register, Rotate, Unregister
from rendezvous.broker import Broker
from rendezvous.notes import Ask, Note, decode_note, encode_note
from rendezvous.records import Store, StoreUnavailable
from rendezvous.registry import Registry

MAX_NOTES: Final = 4096
"""Notes to other nodes kept while the store is slow; what comes on top is lost."""

STORE_PAUSE: Final = 1.0
"""Seconds between attempts to reach a store that failed."""


class Sharing:
    """One node's dealings with the store.

    Args:
        store: Where records are kept.
        registry: Adopts them.
        broker: Judges.
        clock: Seconds, monotonic.
        drain: Carries out what the broker decided.

    Attributes:
        failures: How often the store had no answer.
        is_reached: Whether it had one the last time.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        broker: Broker,
        *,
        clock: Callable[[], float],
        drain: Callable[[], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._broker = broker
        self._clock = clock
        self._drain = drain
        self._notes: asyncio.Queue[tuple[str, Note]] = asyncio.Queue(MAX_NOTES)
        self._changed = asyncio.Event()
        self.failures = 0
        self.is_reached = True

    async def receive(self, number: int, message: PeerMessage) -> None:
        """Have the broker judge one message of a peer."""
        try:
            match message:
                case Register() | Rotate() | Unregister():
                    await self._exclusively(message.session_id, (number, message))
                case LookUp():
                    kept = await self._store.read(message.session_id)
                    self._registry.adopt(message.session_id, kept, now=self._clock())
                    self._judge(number, message)
                    self._registry.release(message.session_id)
                    self.is_reached = True
                case _:
                    self._judge(number, message)
        except StoreUnavailable:
            self._failed()
            self._broker.unjudged(number, message)
        self._drain()

    def pass_on(self) -> None:
        """Take what must reach the other nodes; returns at once."""
        for node, note in self._broker.notes_to_send():
            if not self._notes.full():
                self._notes.put_nowait((node, note))
        if self._registry.has_changed:
            self._changed.set()

    def expire(self) -> None:
        """Let the store forget what has expired."""
        self._store.expire()

    async def run(self) -> None:
        """Keep up with the other nodes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._tell())
            tasks.create_task(self._keep_up())

    # --- the rest -----------------------------------------------------------------------

    async def _exclusively(
        self, session_id: str, request: tuple[int, PeerMessage] | None = None
    ) -> None:
        kept = await self._store.borrow(session_id)
        now = self._clock()
        self._registry.adopt(session_id, kept, now=now)
        # Nothing is awaited between loan and return but the store itself.
        if request is not None:
            self._judge(*request)
        record = self._registry.record(session_id)
        lifetime = self._registry.lifetime(session_id, now=now)
        self._registry.release(session_id)
        try:
            await self._store.give_back(session_id, record, lifetime)
        except StoreUnavailable:
            # It was judged: the record follows when the store is back.
            self._failed()
            self._registry.mark_changed(session_id)
        else:
            self.is_reached = True

    def _judge(self, number: int, message: PeerMessage) -> None:
        self._broker.receive_message(number, message, now=self._clock())

    def _failed(self) -> None:
        self.failures += 1
        self.is_reached = False

    async def _listen(self) -> None:
        while True:
            try:
                data = await self._store.next_note()
            except StoreUnavailable:
                self._failed()
                await asyncio.sleep(STORE_PAUSE)
                # A store that comes back may have forgotten everything.
                self._registry.mark_changed()
                self._changed.set()
                continue
            note = decode_note(data)
            if note is not None:
                self._broker.receive_note(note, now=self._clock())
                self._drain()

    async def _tell(self) -> None:
        while True:
            node, note = await self._notes.get()
            try:
                is_there = await self._store.tell(node, encode_note(note))
            except StoreUnavailable:
                self._failed()
                is_there = False
            else:
                if not is_there and isinstance(note, Ask):
                    self._registry.is_gone(node, note.session_id, now=self._clock())
            if not is_there:
                self._broker.undelivered(note, now=self._clock())
                self._drain()

    async def _keep_up(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            changed = self._registry.take_changed()
            for number, session_id in enumerate(changed):
                try:
                    await self._exclusively(session_id)
                except StoreUnavailable:
                    self._failed()
                    for each in changed[number:]:
                        self._registry.mark_changed(each)
                    break
            if self._registry.has_changed:
                await asyncio.sleep(STORE_PAUSE)
                self._changed.set()
