"""Random histories of a session: whatever people do and however words cross, all agree."""

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable

import pytest

from peer.errors import RightMissing, SessionAlone, WrongPhase
from peer.session.errors import PlanEmpty
from peer.session.lifecycle import Lifecycle
from peer.session.members import RUNNING
from peer.session.phases import Phase
from peer.session.session_settings import Analysis, SessionSettings
from protocol.ids import letter_of
from protocol.limits import MAX_MEMBERS
from tests.harness.session_net import Member, SessionNet, order, source

DECLARED = (RightMissing, WrongPhase, SessionAlone, PlanEmpty)
"""What an act that is not legal now may raise, and nothing else."""

HISTORIES = 40
"""Of each block of seeds."""


class History:
    """One session in which everybody does what comes to mind.

    Args:
        seed: Of everything; printed with a failure.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.net = SessionNet(seed=seed)
        for pair in itertools.permutations(range(12), 2):
            self.net.latencies[pair] = self.random.choice([0.001, 0.02, 0.1, 0.3])
        self.net.answers = self._answer
        self.phases: Counter[Phase] = Counter()
        self._names = itertools.count(1)

    def run(self, steps: int) -> None:
        # A session worth its name, so that most histories leave Preparation.
        for _ in range(self.random.randrange(1, MAX_MEMBERS)):
            self.net.join(min(self.net.members))
        for index in self.net.members:
            self._try(index, lambda lifecycle: lifecycle.change_sources([source()]))
        for _ in range(steps):
            self.net.drive(self.random.choice([0.0, 0.01, 0.05, 0.5]))
            self._step()
            self.phases.update(member.phase for member in self.net.members.values())
        self.net.settle()
        self.net.drive(60.0)
        self.net.settle()

    def _step(self) -> None:
        index = self.random.choice(sorted(self.net.members))
        leader = self.net[index].lifecycle.leader
        act = self.random.choice(
            [self._join, self._leave, self._end_something]
            + [self._by_anybody, self._by_leader, self._by_leader, self._end_something] * 3
        )
        act(index if act is not self._by_leader or leader not in self.net.members else leader)

    def _join(self, index: int) -> None:
        self.net.propose(index)

    def _leave(self, index: int) -> None:
        mine = self.net[index].lifecycle.members[index]
        # Who is admitted and leaves before all have a link to it, or whose sponsor leaves in
        # the same breath, is counted as unreachable in the end: not this history's matter.
        known = {tuple(each.membership.rosters()) for each in self.net.members.values()}
        is_still = len(known) == 1 == len(known.pop())
        is_settled = is_still and self.net.is_full_mesh
        if len(self.net.members) > 1 and mine.activity not in RUNNING and is_settled:
            self.net.leave(index)

    def _end_something(self, index: int) -> None:
        for each in sorted(self.net.members):
            phase = self.net[each].phase
            if phase is Phase.INVENTORY:
                self.net.finish_inventory(each)
            elif phase is Phase.SYNCHRONISATION:
                self.net.finish_steps(each)

    def _by_anybody(self, index: int) -> None:
        name = f"folder {next(self._names)}"
        acts: list[Callable[[Lifecycle], object]] = [
            lambda lifecycle: lifecycle.change_sources([source(name)]),
            lambda lifecycle: lifecycle.cancel_inventory(),
            lambda lifecycle: lifecycle.abort_sync(),
            lambda lifecycle: lifecycle.start_inventory(),
        ]
        self._try(index, self.random.choice(acts))

    def _by_leader(self, index: int) -> None:
        data = self.random.randbytes(self.random.choice([0, 10, 70_000, 140_000]))
        sync = self.random.randbytes(16)
        analysis = self.random.choice(list(Analysis))
        if self.random.random() < 0.3:
            with contextlib.suppress(*DECLARED):
                order(self.net, sync, index)
            return
        acts: list[Callable[[Lifecycle], object]] = [
            lambda lifecycle: lifecycle.change_settings(SessionSettings(analysis=analysis)),
            lambda lifecycle: lifecycle.start_inventory(),
            lambda lifecycle: lifecycle.start_inventory(),
            lambda lifecycle: lifecycle.change_decisions(data),
            lambda lifecycle: lifecycle.restart(),
        ]
        self._try(index, self.random.choice(acts))

    def _try(self, index: int, act: Callable[[Lifecycle], object]) -> None:
        with contextlib.suppress(*DECLARED):
            self.net.act(index, act)

    def _answer(self, member: Member, ordered: object) -> None:
        start = member.lifecycle.start
        assert start is not None
        if self.random.random() < 0.2:
            member.lifecycle.refuse_sync(start.sync, "plan.differs")
        else:
            member.lifecycle.accept_sync(start.sync, start.steps_digest)


def assert_agreement(net: SessionNet) -> None:
    """All that are left are in one session, in one state."""
    members = list(net.members.values())
    one = members[0]
    present = set(one.membership.roster.present)

    assert net.broken == [], "honest members never break the protocol"
    assert present == set(net.members)
    assert one.membership.leader == min(present), "who joined first leads"
    for member in members:
        assert member.membership.commit == one.membership.commit
        assert member.lifecycle.leader == member.membership.leader == one.membership.leader
        assert member.lifecycle.epoch == member.membership.epoch
        assert keys_of(member) == keys_of(one)
        assert member.phase is one.phase
        assert member.lifecycle.settings == one.lifecycle.settings
        assert member.lifecycle.decisions[1] == one.lifecycle.decisions[1]
        assert sources_of(member) == sources_of(one)
        assert member.membership.locked is member.phase.activated
    letters = [letter_of(index, one.membership.roster.indices) for index in sorted(present)]
    if len(letters) == len(one.membership.roster.indices):
        assert "".join(letters) == "ABCDE"[: len(letters)]


def keys_of(member: Member) -> bytes:
    key = member.membership.epoch_key(member.membership.epoch)
    assert key is not None
    return key.reveal()


def sources_of(member: Member) -> dict[int, tuple[int, list[bytes]]]:
    return {
        index: (record.revision, [each.path for each in record.sources])
        for index, record in member.lifecycle.members.items()
        if index in member.membership.roster.present
    }


@pytest.mark.parametrize("block", range(5))
def test_however_words_cross_all_agree_in_the_end(block: int) -> None:
    """One leader, one epoch and key, one phase, the same sources, settings and decisions."""
    reached: Counter[Phase] = Counter()

    for seed in range(block * HISTORIES, (block + 1) * HISTORIES):
        history = History(seed)
        try:
            history.run(steps=40)
            assert_agreement(history.net)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
        reached.update(history.phases)

    assert set(reached) == set(Phase), "histories that stay in Preparation prove nothing"


@pytest.mark.parametrize("seed", range(3))
def test_a_history_repeats_from_its_seed(seed: int) -> None:
    """Nothing in the cores depends on the clock, on hashes or on the order of sets."""
    first, second = History(seed), History(seed)

    first.run(steps=30)
    second.run(steps=30)

    assert first.net[min(first.net.members)].membership.commit == (
        second.net[min(second.net.members)].membership.commit
    )
