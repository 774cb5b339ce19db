"""One synchronisation on one member: its own steps carried out, the others served, all proved.

``Synchronisation`` builds the parts and connects them; what is decided, is decided in
``peer.transfer``. For its owner::

    synchronisation = Synchronisation(...)      when the plan was accepted
    tasks.create_task(synchronisation.serve())  at once: others may begin before this member
    await synchronisation.run()                 when the leader says so
    outcome = await synchronisation.prove()     when run has returned
    await synchronisation.close()               when the session needs it no more

    receive_message, accept_data_stream, link_up, link_down, member_left    at any time between
    abort                                                                   ends run early
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from peer.daemon.datalink import DataLink, IncomingStream
from peer.daemon.incoming import Outcome as StagingOutcome
from peer.daemon.incoming import Staged, copy_locally
from peer.daemon.own_sources import Inventoried, OwnSources
from peer.daemon.proving import Proving
from peer.daemon.publishing import Publisher, narrowed
from peer.daemon.receiving import Receiving, TransferOver, discard
from peer.daemon.serving import Serving
from peer.daemon.workers import in_worker
from peer.fs.confine import Root
from peer.fs.errors import ChangedSince, FileError
from peer.plan.steps import AnyStep, CopyFile
from peer.transfer.account import Account
from peer.transfer.phases import Phases, phases_of
from peer.transfer.proof import Outcome
from peer.transfer.reasons import Reason
from peer.transfer.schedule import Again, Cancel, LocalCopy, Schedule, Transfer
from protocol.messages.session import Progress
from protocol.messages.transfer import (
    Fetch,
    FetchCancelled,
    FetchRefused,
    ProofAsked,
    ProofStated,
    StepsFailed,
    TransferMessage,
)

REPORT_INTERVAL: Final = 0.25
"""Seconds between two reports of progress: smooth to the eye, nothing to the network."""

PROOF_PATIENCE: Final = 3600.0
"""Seconds to wait for the other members' statements: they may still be at their own part."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of this member's part."""

    steps: int
    done: int
    failures: dict[int, str]
    """Reason code by step."""
    received: int
    """Content bytes that came from other members."""
    aborted: bool


class Synchronisation:
    """Carries out one member's part of a plan and serves the others theirs.

    Args:
        sync_id: The synchronisation's random name.
        me: This member's index.
        steps: The whole plan.
        roots: This member's sources by position, open; the caller closes them.
        links: The present links by peer; the owner keeps it current and tells of each change.
        members: Everybody who takes part, this member included.
        inventoried: Returns this member's own inventory entry at a source's path.
        report: Takes progress, a few times a second.
        executor: Threads for hashing, sealing and the disk; two to four of them.
        now_ns: Returns nanoseconds since 1970, for the trash.
        random_bytes: Source of transfer ids and salts.
    """

    def __init__(
        self,
        sync_id: bytes,
        me: int,
        steps: Sequence[AnyStep],
        roots: Mapping[int, Root],
        links: Mapping[int, DataLink],
        *,
        members: Collection[int],
        inventoried: Inventoried,
        report: Callable[[Progress], None],
        executor: Executor,
        now_ns: Callable[[], int],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._sync_id = sync_id
        self._steps = steps
        self._links = links
        self._report = report
        self._executor = executor
        self._sources = OwnSources(sync_id, roots, inventoried)
        self._phases: Phases = phases_of(steps, me)
        self._account = Account(steps, me)
        self._schedule = Schedule(me, steps, self._phases, random_bytes=random_bytes)
        self._serving = Serving(
            me,
            sync_id,
            steps,
            self._sources,
            executor=executor,
            random_bytes=random_bytes,
            spawn=self._spawn,
        )
        self._receiving = Receiving(
            sync_id,
            self._sources,
            executor=executor,
            on_outcome=self._take_outcome,
            on_progress=self._take_progress,
            on_over=self._take_over,
        )
        self._publisher = Publisher(
            sync_id,
            steps,
            self._sources,
            executor=executor,
            now_ns=now_ns,
            on_done=self._published,
        )
        self._proving = Proving(
            me,
            sync_id,
            steps,
            members,
            sources=self._sources,
            sent=self._serving.stated,
            executor=executor,
            send=self._send_to_all,
        )
        self._wake = asyncio.Event()
        self._closed = asyncio.Event()
        self._aborted = False
        self._reported_at = 0.0
        self._group: asyncio.TaskGroup | None = None
        self._early: list[Coroutine[Any, Any, None]] = []
        self._running: set[asyncio.Task[None]] = set()
        for peer in links:
            self._schedule.link_up(peer)

    # --- the owner's verbs ----------------------------------------------------------------

    async def serve(self) -> None:
        """Serve the other members and take what streams bring, until ``close``."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            early, self._early = self._early, []
            for work in early:
                self._spawn(work)
            await self._closed.wait()
            self._group = None
            for task in self._running:
                task.cancel()

    async def run(self) -> Result:
        """Carry out this member's steps and return what became of them."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publisher.run())
                try:
                    await self._carry_out(group)
                finally:
                    self._publisher.stop()
        finally:
            self._receiving.end_all(Reason.ABORTED)
            await self._receiving.idle()
            await self._publisher.close()
            await in_worker(self._executor, self._sources.clean)
        self._account.close(Reason.ABORTED)
        self._proving.finished(self._account.done, self._account.failures)
        self._report(self._account.progress())
        return self.result()

    def abort(self) -> None:
        """Stop cleanly: what is whole and under way to its place gets there, the rest stays."""
        self._aborted = True
        self._serving.stop()
        self._publisher.stop()
        self._wake.set()

    async def prove(self, *, again: bool = False, patience: float = PROOF_PATIENCE) -> Outcome:
        """Read back what was done, tell all, and judge what everybody stated.

        Args:
            again: Ask all members to read back once more.
            patience: Seconds to wait for the others.
        """
        if again:
            self._proving.ask()
        await self._state()
        return await self._proving.outcome(patience)

    async def close(self) -> None:
        """Serve nothing any more and end ``serve``."""
        self._serving.stop()
        self._proving.stop()
        self._closed.set()
        for work in self._early:
            work.close()
        self._early.clear()

    def result(self) -> Result:
        """Return how far this member's part is, or what became of it."""
        account = self._account
        return Result(
            steps=account.steps,
            done=len(account.done),
            failures=dict(account.failures),
            received=account.received,
            aborted=self._aborted,
        )

    # --- what links bring -----------------------------------------------------------------

    def receive_message(self, peer: int, message: TransferMessage) -> None:
        """Take a message of *peer*.

        Raises:
            RemoteProtocolError: If it may not say that; the caller closes the link.
        """
        match message:
            case Fetch():
                self._serving.receive_fetch(self._links[peer], message)
            case FetchCancelled(transfer=transfer):
                self._serving.cancel(peer, transfer)
            case FetchRefused(transfer=transfer, code=code):
                self._receiving.refused(peer, transfer, code)
            case StepsFailed() | ProofStated() | ProofAsked():
                self._proving.receive_message(peer, message)
                if self._proving.is_asked and not isinstance(message, StepsFailed):
                    self._spawn(self._state_if_asked())

    def accept_data_stream(self, peer: int, stream: IncomingStream) -> None:
        """Take a unidirectional stream that *peer* opened."""
        self._spawn(self._receiving.read_stream(self._links[peer], stream))

    def link_up(self, peer: int) -> None:
        """Take note that ``links`` has a new link to *peer*."""
        self._schedule.link_up(peer)
        self._proving.repeat(self._links[peer].send)
        self._wake.set()

    def link_down(self, peer: int) -> None:
        """Take note that the link to *peer* is gone."""
        self._schedule.link_down(peer)
        self._serving.link_down(peer)
        self._receiving.link_down(peer)
        self._wake.set()

    def member_left(self, peer: int) -> None:
        """Take note that *peer* does not come back: nothing is waited for from it."""
        self._proving.member_left(peer)

    # --- carrying out -----------------------------------------------------------------------

    async def _carry_out(self, group: asyncio.TaskGroup) -> None:
        phases = self._phases
        await self._apply(phases.clearing)
        await self._apply(phases.directories)
        await self._transfer_contents(group)
        await self._apply(phases.links)
        await self._apply(phases.attributes)
        await self._apply(self._account.deletable(phases.deletes))
        await self._apply(phases.directory_deletes)
        for phase in (
            phases.clearing,
            phases.directories,
            phases.links,
            phases.attributes,
            phases.deletes,
            phases.directory_deletes,
        ):
            await self._apply(self._account.worth_another_try(phase))
        await self._apply(phases.directory_attributes, narrowed)

    async def _apply(
        self, numbers: Sequence[int], act: Callable[[AnyStep], AnyStep] = lambda step: step
    ) -> None:
        for number, error in await self._publisher.apply(numbers, act):
            self._settle(number, error)
        self._report_soon()

    async def _transfer_contents(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while not self._aborted:
            self._wake.clear()
            for command in self._schedule.commands(now=loop.time()):
                match command:
                    case Transfer():
                        self._ask(command)
                    case LocalCopy():
                        group.create_task(self._copy_locally(command))
                    case Cancel(transfer=transfer):
                        self._receiving.end(transfer, Reason.STALLED)
            if self._schedule.finished:
                break
            if self._wake.is_set():
                continue
            try:
                async with asyncio.timeout_at(self._schedule.get_timer()):
                    await self._wake.wait()
            except TimeoutError:
                self._schedule.handle_timer(now=loop.time())
        for number, code in self._schedule.failures().items():
            self._account.failed(number, code)

    def _ask(self, command: Transfer) -> None:
        link = self._links.get(command.peer)
        if link is None:
            # Its loss is being told.
            self._schedule.transfer_ended(command.transfer, command.steps, Reason.INTERRUPTED)
            return
        wanted = {
            number: step
            for number in command.steps
            if isinstance(step := self._steps[number], CopyFile)
        }
        self._receiving.expect(link, command.transfer, wanted)
        link.send(Fetch(sync=self._sync_id, transfer=command.transfer, steps=list(command.steps)))

    async def _copy_locally(self, command: LocalCopy) -> None:
        step = self._steps[command.step]
        assert isinstance(step, CopyFile)
        outcome = await in_worker(
            self._executor,
            lambda: copy_locally(command.step, step, command.source, command.path, self._sources),
            late=lambda late: discard([late]),
        )
        await self._take_outcome(outcome)

    # --- what comes of it -------------------------------------------------------------------

    async def _take_outcome(self, outcome: StagingOutcome) -> None:
        if isinstance(outcome, Staged):
            await self._publisher.put(outcome)
        else:
            self._schedule.step_failed(outcome.step, outcome.code, outcome.again)
            self._wake.set()

    def _take_progress(self, transfer: bytes, count: int) -> None:
        self._schedule.progress(transfer, now=asyncio.get_running_loop().time())
        self._account.came(count)
        self._report_soon()

    def _take_over(self, over: TransferOver) -> None:
        if over.tell is not None:
            over.tell.send(FetchCancelled(transfer=over.transfer))
        self._schedule.transfer_ended(over.transfer, over.unanswered, over.code)
        self._wake.set()

    def _published(self, number: int, error: FileError | None) -> None:
        if error is None:
            self._schedule.step_done(number)
            self._account.succeeded(number)
        else:
            again = Again.NEVER if isinstance(error, ChangedSince) else Again.LATER
            self._schedule.step_failed(number, error.code, again)
        self._wake.set()

    def _settle(self, number: int, error: FileError | None) -> None:
        if error is None:
            self._account.succeeded(number)
        else:
            self._account.failed(number, error.code, for_good=isinstance(error, ChangedSince))

    def _report_soon(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._reported_at >= REPORT_INTERVAL:
            self._reported_at = now
            self._report(self._account.progress())

    # --- proof and tasks ----------------------------------------------------------------------

    async def _state(self) -> None:
        for number, code in (await self._proving.state()).items():
            self._account.failed(number, code)

    async def _state_if_asked(self) -> None:
        with contextlib.suppress(FileError):
            await self._state()

    def _send_to_all(self, message: TransferMessage) -> None:
        for peer in sorted(self._links):
            self._links[peer].send(message)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed.is_set():
            work.close()
        elif self._group is None:
            self._early.append(work)
        else:
            task = self._group.create_task(work)
            self._running.add(task)
            task.add_done_callback(self._running.discard)
