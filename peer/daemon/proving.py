"""The final proof as it runs: read back, say so to all, wait for what the others say."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final

from peer.daemon.own_sources import OwnSources
from peer.daemon.reading_back import read_back
from peer.daemon.workers import in_worker
from peer.plan.steps import AnyStep
from peer.transfer.proof import Outcome, Proof, planned_digest
from peer.transfer.reasons import Reason
from protocol.limits import MAX_BATCH
from protocol.messages.transfer import (
    ProofAsked,
    ProofStated,
    StepFailure,
    StepProof,
    StepsFailed,
    TransferMessage,
)

SLICE: Final = 64
"""Steps read back between two looks at what else there is to do."""

Send = Callable[[TransferMessage], None]
"""Sends to every other member."""


class Proving:
    """States what this member wrote and sent, and judges what all members stated.

    Args:
        me: This member's index.
        sync_id: The synchronisation.
        steps: Its whole plan.
        members: Who takes part.
        sources: This member's sources.
        sent: BLAKE3-256 of what this member sent, by step.
        executor: Where the disk is read.
        send: Sends to all.
    """

    def __init__(
        self,
        me: int,
        sync_id: bytes,
        steps: Sequence[AnyStep],
        members: Collection[int],
        *,
        sources: OwnSources,
        sent: Mapping[int, bytes],
        executor: Executor,
        send: Send,
    ) -> None:
        self._me = me
        self._sync_id = sync_id
        self._steps = steps
        self._sources = sources
        self._sent = sent
        self._executor = executor
        self._send = send
        self._proof = Proof(steps, members)
        self._changed = asyncio.Event()
        self._done: Collection[int] | None = None
        self._stated_round = -1
        self._is_stopped = False
        self._said: list[TransferMessage] = []

    def finished(self, done: Collection[int], failures: Mapping[int, str]) -> None:
        """Take note that this member's part has ended, and tell all what failed."""
        self._done = done
        self._tell_failed(failures)

    async def state(self) -> dict[int, str]:
        """Read back what was done and state it; return steps whose date is not what was set.

        Stated once in a round; nothing happens before the member's part has ended.
        """
        number = self._proof.round
        if self._done is None or self._stated_round >= number:
            return {}
        self._stated_round = number
        done = sorted(self._done)
        proofs: list[StepProof] = []
        misdated: dict[int, str] = {}
        for start in range(0, len(done), SLICE):
            if self._is_stopped:
                return {}
            part = done[start : start + SLICE]
            found = await in_worker(
                self._executor, partial(read_back, part, self._steps, self._sources)
            )
            for stated, dated in found:
                proofs.append(stated)
                planned = planned_digest(self._steps[stated.step])
                if not dated and planned in (None, stated.digest):
                    # Of other content it is no failure of a date, but a deviation.
                    misdated[stated.step] = Reason.DATE_DIFFERS
        proofs += self._read_of_others()
        self._tell_failed(misdated)
        for message in self._messages(proofs, number):
            self._proof.receive_message(self._me, message)
            self._tell(message)
        self._changed.set()
        return misdated

    async def outcome(self, patience: float) -> Outcome:
        """Wait for every member's statement, *patience* seconds at most, and judge them."""
        try:
            async with asyncio.timeout(patience):
                while not self._proof.complete and not self._is_stopped:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self._proof.outcome()

    def stop(self) -> None:
        """Wait for nobody any more: what was stated is all there will be."""
        self._is_stopped = True
        self._changed.set()

    def ask(self) -> None:
        """Ask all members, this one included, to read back once more."""
        self._begin(self._proof.round + 1)
        self._send(ProofAsked(sync=self._sync_id, round=self._proof.round))

    def receive_message(self, peer: int, message: StepsFailed | ProofStated | ProofAsked) -> None:
        """Take what *peer* says of its part.

        Raises:
            RemoteProtocolError: If it is not its to say.
        """
        if message.sync != self._sync_id:
            return
        match message:
            case StepsFailed(failures=failures):
                for failure in failures:
                    self._proof.step_failed(peer, failure.step)
            case ProofStated(round=number):
                self._begin(number)
                self._proof.receive_message(peer, message)
            case ProofAsked(round=number):
                self._begin(number)
        self._changed.set()

    @property
    def is_asked(self) -> bool:
        """Whether this member has something to state."""
        return self._done is not None and self._stated_round < self._proof.round

    def member_left(self, peer: int) -> None:
        """Take note that *peer* will state nothing more."""
        self._proof.member_lost(peer)
        self._changed.set()

    def repeat(self, send: Send) -> None:
        """Say everything of this round again, over a link that came back."""
        for message in self._said:
            send(message)

    def _begin(self, number: int) -> None:
        if self._proof.begin_round(number):
            self._said = [said for said in self._said if not isinstance(said, ProofStated)]

    def _read_of_others(self) -> Iterator[StepProof]:
        """Yield what was read for steps of others whose content the plan does not know."""
        for number, digest in sorted(self._sent.items()):
            if getattr(self._steps[number], "digest", None) is None:
                yield StepProof(step=number, digest=digest)

    def _messages(self, proofs: list[StepProof], number: int) -> Iterator[ProofStated]:
        for start in range(0, max(len(proofs), 1), MAX_BATCH):
            part = proofs[start : start + MAX_BATCH]
            last = start + MAX_BATCH >= len(proofs)
            yield ProofStated(sync=self._sync_id, steps=part, last=last, round=number)

    def _tell_failed(self, failures: Mapping[int, str]) -> None:
        numbers = sorted(failures)
        for number in numbers:
            self._proof.step_failed(self._me, number)
        for start in range(0, len(numbers), MAX_BATCH):
            part = numbers[start : start + MAX_BATCH]
            stated = [StepFailure(step=number, code=str(failures[number])) for number in part]
            self._tell(StepsFailed(sync=self._sync_id, failures=stated))

    def _tell(self, message: TransferMessage) -> None:
        self._said.append(message)
        self._send(message)
