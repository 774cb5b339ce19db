"""What a session makes this member do: inventory, comparison, plan, synchronisation, proof.

Owns the one run and the one synchronisation there can be at a time; starts them, hands them
what arrives, and tells the lifecycle how they end.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog

from peer.daemon.deciding import Decided, Deciding, wall_clock_ns
from peer.daemon.held_sources import HeldSources
from peer.daemon.inventorying import DigestCache, InventoryTaking
from peer.daemon.member_link import MemberLink
from peer.daemon.session import Session, Spawn
from peer.daemon.synchronise import Synchronisation
from peer.inventory.entries import MemberInventory
from peer.inventory.names import shown
from peer.session.errors import PlanChanged
from peer.session.phases import Phase
from peer.session.reports import SyncOrdered, SyncStopped
from peer.transfer.proof import Outcome
from protocol.endpoint.streams import Stream
from protocol.errors import LinkClosed, QuintetError, RemoteProtocolError
from protocol.limits import UNREACHABLE_AFTER
from protocol.messages.inventory import Entry, InventoryMessage, RelPath
from protocol.messages.session import Activity, Progress
from protocol.messages.transfer import StepsFailed, TransferMessage

log = structlog.get_logger()

MAX_EARLY: Final = 256
"""Messages of one member's inventory kept until the leader's start has arrived."""

MAX_FAILURES: Final = 1_000
"""Failures or deviations shown; the counts are whole."""

WORKERS: Final = 3
"""Threads for hashing, sealing and the disk during a synchronisation."""


class SessionWork:
    """The work of this member in one session.

    Args:
        session: Whose lifecycle is told.
        sources: This member's, open.
        cache: Known digests.
        spawn: Starts a task.
        changed: Called when something that people see has changed.
    """

    def __init__(
        self,
        session: Session,
        sources: HeldSources,
        cache: DigestCache,
        *,
        spawn: Spawn,
        changed: Callable[[], None],
    ) -> None:
        self.deciding: Deciding | None = None
        self.proof: Outcome | None = None
        self.proving = False
        self.stopped: SyncStopped | None = None
        self.allow_deletes = 0
        """Deletions this member's person lets pass its own brakes."""
        self.sync: Synchronisation | None = None
        self._session = session
        self._sources = sources
        self._cache = cache
        self._spawn = spawn
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="sync")
        self._taking: InventoryTaking | None = None
        self._last_run = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._early: list[tuple[int, InventoryMessage]] = []
        self._progress = Progress()
        self._settled = asyncio.Event()
        self._settled.set()
        self._decision = 0
        self._failed: dict[int, str] = {}
        self._began_at = 0.0
        self._ended_at: float | None = None

    # --- inventory ---------------------------------------------------------------------

    def start_inventory(self, run: int) -> None:
        self.drop_results()
        lifecycle = self._session.lifecycle
        self._last_run = run
        self._taking = InventoryTaking(
            me=self._session.me,
            run=run,
            sources={
                index: len(lifecycle.members[index].sources)
                for index in self._session.membership.roster.present
            },
            probes=self._sources.probes(),
            settings=lifecycle.settings,
            cache=self._cache,
            outlet=self,
        )
        self._start(self._take_inventory(self._taking))
        early, self._early = self._early, []
        for peer, message in early:
            if message.run == run:
                self._receive_early(self._taking, peer, message)

    def _receive_early(self, taking: InventoryTaking, peer: int, message: InventoryMessage) -> None:
        try:
            taking.receive(peer, message)
        except RemoteProtocolError as error:
            # Whoever said it answers for it, not the leader whose start has just come.
            link = self._session.links.get(peer)
            if link is not None:
                link.violated(error)

    async def _take_inventory(self, taking: InventoryTaking) -> None:
        if not await taking.take() or taking is not self._taking:
            return
        inventories = list(taking.inventories.values())
        indices = self._session.membership.roster.indices
        deciding = await asyncio.to_thread(
            Deciding.compare, inventories, self._session.lifecycle.settings, indices
        )
        if taking is self._taking:
            self.deciding = deciding
            self._session.lifecycle.inventories_in(now=self._loop.time())
            self._session.drain()

    def receive_inventory(self, peer: int, message: InventoryMessage) -> None:
        taking = self._taking
        if taking is not None and message.run <= taking.run:
            taking.receive(peer, message)
        elif message.run <= self._last_run:
            return  # on its way when that run was cancelled
        elif sum(early == peer for early, _ in self._early) >= MAX_EARLY:
            raise RemoteProtocolError("an inventory nobody started")
        else:
            self._early.append((peer, message))

    def drop(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        self._early.clear()
        self.drop_results()

    def drop_results(self) -> None:
        """Forget comparison, plan, synchronisation and proof."""
        self.deciding = None
        self.proof = None
        self.proving = False
        self.stopped = None
        self._progress = Progress()
        self._decision += 1
        self._settled.set()
        self.drop_sync()

    def drop_sync(self) -> None:
        """Stop the synchronisation, if there is one, and serve it no more."""
        if self.sync is not None:
            self.sync.abort()
            self._start(self.sync.close())
            self.sync = None

    # --- what an inventory tells (Outlet) -------------------------------------------------

    def broadcast(self, message: InventoryMessage) -> None:
        self._session.send(None, message)

    async def drained(self) -> None:
        for link in list(self._session.links.values()):
            try:
                await link.drained()
            except LinkClosed:
                continue

    def report(self, activity: Activity, progress: Progress) -> None:
        self._progress = progress
        self._session.lifecycle.report(activity, progress)
        self._session.drain()

    # --- decisions ---------------------------------------------------------------------------

    def decisions_replaced(self, data: bytes) -> None:
        self._decision += 1
        self._settled.clear()
        self._start(self._decide(data, self._decision))

    async def _decide(self, data: bytes, number: int) -> None:
        deciding = self.deciding
        try:
            if deciding is None:
                return
            decided = await asyncio.to_thread(deciding.decide, data)
            if number == self._decision:
                deciding.take(decided)
        except QuintetError as error:
            # The leader's own command line has refused it before; another's cannot be shown.
            log.warning("work.decisions_unusable", code=error.code)
        finally:
            if number == self._decision:
                self._settled.set()
                self._changed()

    async def settled(self) -> None:
        """Wait until the plan of the newest decisions is there."""
        await self._settled.wait()

    # --- synchronisation -------------------------------------------------------------------------

    def prepare(self, sync: bytes, decided: Decided) -> None:
        """Be ready to serve the others and to begin."""
        assert self._taking is not None, "a plan comes of an inventory"
        mine = self._taking.inventories[self._session.me]
        self.sync = Synchronisation(
            sync,
            self._session.me,
            decided.plan.steps,
            self._sources.roots(),
            self._session.links,
            members=self._session.membership.roster.present,
            inventoried=_entries_of(mine),
            report=self._report_sync,
            executor=self._executor,
            now_ns=wall_clock_ns,
        )
        self.proof = None
        self.stopped = None
        self._start(self.sync.serve())

    def own_brake(self, decided: Decided) -> bool:
        """Whether one of this member's own brakes stops the plan."""
        return any(
            brake.member == self._session.me and brake.count > self.allow_deletes
            for brake in decided.brakes
        )

    def sync_ordered(self, order: SyncOrdered) -> None:
        self._start(self._answer(order))

    async def _answer(self, order: SyncOrdered) -> None:
        await self.settled()
        lifecycle = self._session.lifecycle
        decided = self.deciding.decided if self.deciding is not None else None
        code = None
        if decided is None or lifecycle.decisions[0] != order.revision:
            code = PlanChanged.code
        elif (
            decided.proposed.reference_time_ns != order.reference_time_ns
            or len(decided.plan.steps) != order.steps
            or decided.plan.digest != order.steps_digest
        ):
            code = "plan.differs"
        elif self.own_brake(decided):
            code = "plan.brake"
            self._session.notice("brake", member="")
        if code is not None or decided is None:
            lifecycle.refuse_sync(order.sync, code or PlanChanged.code)
        else:
            self.prepare(order.sync, decided)
            lifecycle.accept_sync(order.sync, order.steps_digest)
        self._session.drain()

    def sync_begun(self, sync: bytes) -> None:
        del sync  # the lifecycle admits the one that was accepted
        self._began_at, self._ended_at = self._loop.time(), None
        self._failed = {}
        if self.sync is not None:
            self._start(self._synchronise(self.sync))

    async def _synchronise(self, sync: Synchronisation) -> None:
        result = await sync.run()
        activity = Activity.SYNC_DONE
        if result.aborted:
            activity = Activity.SYNC_FAILED
        elif result.failures:
            activity = Activity.SYNC_ERRORS
        log.info("work.steps_ended", done=result.done, failed=len(result.failures))
        if sync is self.sync:
            self.report(activity, self._progress)

    def steps_ended(self) -> None:
        self._ended_at = self._loop.time()
        # Only now: whoever serves others states what it sent, and must have sent it all.
        if self.sync is not None:
            self._start(self._prove(self.sync))

    async def _prove(self, sync: Synchronisation) -> None:
        await self.prove(sync)

    async def prove(self, sync: Synchronisation, *, again: bool = False) -> Outcome:
        """Read back the planned end state, on every member."""
        self.proving = True
        self._changed()
        outcome = await sync.prove(again=again)
        if sync is self.sync:
            self.proof, self.proving = outcome, False
            log.info("work.proved", equal=outcome.equal, files=outcome.files)
            self._changed()
        return outcome

    def _report_sync(self, progress: Progress) -> None:
        if self._session.lifecycle.phase is Phase.SYNCHRONISATION:
            inventory = self._progress
            self.report(
                Activity.SYNCHRONISING,
                msgspec.structs.replace(
                    inventory,
                    steps=progress.steps,
                    steps_done=progress.steps_done,
                    steps_failed=progress.steps_failed,
                    content=progress.content,
                    content_done=progress.content_done,
                ),
            )

    def sync_stopped(self, stopped: SyncStopped) -> None:
        self.stopped = stopped
        if self.sync is not None:
            self.sync.abort()
        if self._session.lifecycle.phase is Phase.COMPARISON and self.sync is not None:
            # Refused before it began: nothing was done and nothing is to be proved.
            self.drop_sync()
        name = self._session.membership.roster.entry(stopped.by)
        self._session.notice("sync_stopped", reason=stopped.code, member=name.name if name else "")

    def receive_transfer(self, peer: int, message: TransferMessage) -> None:
        if self.sync is None:
            return
        self.sync.receive_message(peer, message)
        if isinstance(message, StepsFailed):
            # Checked above: nobody names another's step.
            self._failed |= {failure.step: failure.code for failure in message.failures}
            self._changed()

    def receive_stream(self, peer: int, stream: Stream) -> None:
        if self.sync is None:
            stream.stop()
        else:
            self.sync.accept_data_stream(peer, stream)

    # --- what people see -------------------------------------------------------------------

    def sync_view(self) -> dict[str, object] | None:
        """Return how the synchronisation stands, and what failed here."""
        if self.sync is None:
            return None if self.stopped is None else self._refused_view(self.stopped)
        result = self.sync.result()
        failures = self._failed | result.failures
        state = "running"
        if self._session.lifecycle.phase is Phase.FINISHED:
            state = "done_with_errors" if failures else "done"
        if result.aborted:
            state = "aborted"
        everyone = [record.progress for record in self._session.lifecycle.members.values()]
        ended = self._ended_at if self._ended_at is not None else self._loop.time()
        return {
            "state": state,
            "elapsed": round(ended - self._began_at, 2),
            "steps": sum(progress.steps for progress in everyone),
            "done": sum(progress.steps_done for progress in everyone),
            "bytes": sum(progress.content for progress in everyone),
            "bytes_done": sum(progress.content_done for progress in everyone),
            "bytes_received_here": result.received,
            "failed": len(failures),
            "failures": [
                {**self._step_view(number), "code": code, "params": {}}
                for number, code in sorted(failures.items())[:MAX_FAILURES]
            ],
        }

    def _refused_view(self, stopped: SyncStopped) -> dict[str, object]:
        """Return what became of a synchronisation that a member refused before it began."""
        letter = self.deciding.letter(stopped.by) if self.deciding is not None else None
        nothing = ("steps", "done", "bytes", "bytes_done", "bytes_received_here")
        return {
            "state": "failed",
            "elapsed": 0.0,
            **dict.fromkeys(nothing, 0),
            "failed": 1,
            "failures": [{"letter": letter, "path": "", "code": stopped.code, "params": {}}],
        }

    def _step_view(self, number: int) -> dict[str, object]:
        decided = self.deciding.decided if self.deciding is not None else None
        steps = decided.plan.steps if decided is not None else ()
        if self.deciding is None or number >= len(steps):
            return {"letter": None, "path": ""}
        step = steps[number]
        return {"letter": self.deciding.letter(step.member), "path": shown(step.path)}

    def proof_view(self) -> dict[str, object] | None:
        """Return what the proof says."""
        if self.proving:
            return {"state": "running", "files": 0, "digest": None, "deviations": []}
        outcome = self.proof
        if outcome is None:
            return None
        return {
            "state": "equal" if outcome.equal else "deviates",
            "files": outcome.files,
            "digest": outcome.digest.hex(),
            "deviations": [
                {**self._step_view(deviation.step), "code": deviation.finding.value}
                for deviation in outcome.deviations[:MAX_FAILURES]
            ],
        }

    # --- links ----------------------------------------------------------------------

    def link_up(self, peer: int, link: MemberLink) -> None:
        if self._taking is not None and self._session.lifecycle.phase is Phase.INVENTORY:
            self._taking.repeat(peer, link.send)
        if self.sync is not None:
            self.sync.link_up(peer)

    def link_down(self, peer: int) -> None:
        # It says all of it again once it is back.
        self._early = [early for early in self._early if early[0] != peer]
        if self.sync is not None:
            self.sync.link_down(peer)
        if self._taking is not None:
            self._loop.call_later(UNREACHABLE_AFTER, self._give_up, peer, self._taking)

    def member_left(self, peer: int) -> None:
        """Wait for nothing of a member that has left."""
        if self.sync is not None:
            self.sync.member_left(peer)
        if self._taking is not None:
            self._taking.fail(peer)

    def _give_up(self, peer: int, taking: InventoryTaking) -> None:
        if taking is self._taking and peer not in self._session.links:
            taking.fail(peer)

    # --- the end ----------------------------------------------------------------------

    async def idle(self) -> None:
        """Wait until nothing that was dropped touches the disk any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Stop everything; return when the sources may be closed."""
        self.drop()
        await self.idle()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._spawn(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _entries_of(mine: MemberInventory) -> Callable[[int, RelPath], Entry | None]:
    """Return a look-up of this member's own entries by source and path."""

    def look_up(source: int, path: RelPath) -> Entry | None:
        number = mine.find(source, path)
        return None if number is None else mine.entry(number)

    return look_up
