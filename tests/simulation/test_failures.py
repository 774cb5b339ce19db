"""Whole sessions that lose links, computers and halves of the network, against the reference."""

import contextlib
import random
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import pytest

from peer.errors import RightMissing, SessionAlone, WrongPhase
from peer.session import rights
from peer.session.errors import SideTooLarge
from peer.session.lifecycle import Lifecycle
from peer.session.membership import Membership
from peer.session.proposals import Act, Proposal
from protocol import codec
from protocol.epochs import Reason
from protocol.limits import MAX_MEMBERS
from protocol.roster import RosterEntry
from tests.harness.session_net import source
from tests.simulation.reference import MARKER, Reference
from tests.simulation.world import GRACE, Process, World, usurpation

DECLARED = (RightMissing, WrongPhase, SessionAlone, SideTooLarge)


class History:
    """One session to which everything happens.

    Args:
        seed: Of everything; printed with a failure.
        may_take_over: Whether people go on without the others where they are asked.
    """

    def __init__(
        self,
        seed: int,
        *,
        may_take_over: bool = False,
        membership: type[Membership] = Membership,
        lifecycle: type[Lifecycle] = Lifecycle,
    ) -> None:
        self.random = random.Random(seed)
        self.world = World(seed, membership=membership, lifecycle=lifecycle)
        self.reference = Reference(self.world)
        self.may_take_over = may_take_over
        self.happened: Counter[str] = Counter()

    def run(self, steps: int = 24) -> None:
        world = self.world
        world.found()
        for _ in range(self.random.randrange(1, MAX_MEMBERS)):
            self._join()
            world.run(8.0)
        for process in world.running:
            self._act(process, lambda p=process: p.lifecycle.change_sources([source()]))
        for _ in range(steps):
            self._step()
            world.run(self.random.choice([0.0, 0.05, 0.5, 5.0, 15.0, 1.2 * GRACE]))
            self.reference.look()
        self._heal()

    def _heal(self) -> None:
        """Let everything come back, and show that the session can go on."""
        world = self.world
        world.loss = 0.0
        world.divide(dict.fromkeys(world.groups, 0))
        world.run(6 * GRACE)
        self.reference.at_rest()
        leader = self._leader()
        if self.reference.is_open or leader is None:
            return
        before = leader.membership.epoch
        world.do(leader, lambda: leader.membership.rotate(now=world.now))
        world.run(GRACE)
        self.reference.at_rest()
        assert leader.membership.epoch > before, "work that can go on goes on"

    def _leader(self) -> Process | None:
        """Return who leads a session that can go on, if enough have not left without a word."""
        going = [each for each in self.world.running if not each.membership.frozen]
        leaders = [each for each in going if each.me == each.membership.leader]
        assert bool(leaders) is bool(going)
        return leaders[0] if leaders else None

    def _step(self) -> None:
        acts = {
            self._join: 3,
            self._leave: 1,
            self._kill: 3,
            self._flap: 4,
            self._divide: 2,
            self._unite: 3,
            self._lose: 1,
            self._lead: 4,
            self._usurp: 1,
            self._take_over: 2,
        }
        act = self.random.choices(list(acts), list(acts.values()))[0]
        self.happened[act.__name__] += 1
        if self.world.running:
            act()

    def _anybody(self) -> Process:
        return self.random.choice(self.world.running)

    def _join(self) -> None:
        world = self.world
        sponsor = self._anybody()
        outside = [each for each in world.nodes if each.record is None and each.asking is None]
        # Who left and was not heard has its place there still: that is a return, and its
        # computer has forgotten what it promised.
        known = sponsor.membership.roster
        outside = [each for each in outside if known.find(each.identity.node_key) is None]
        node = self.random.choice(outside) if outside and self.random.random() < 0.5 else None
        if node is None and len(world.nodes) < 8:
            node = world.add_node()
            world.groups[node.number] = world.groups[sponsor.node.number]
        if node is not None:
            world.ask_in(node, sponsor)

    def _leave(self) -> None:
        # A word of leaving that only some hear is a silence to the others: what they can do
        # then is to take over, which is another history's matter.
        process = self._anybody()
        others = set(process.membership.roster.indices) - {process.me}
        if len(others) > 1 and others == set(process.membership._links) and not self.world.loss:
            self.world.leave(process)

    def _kill(self) -> None:
        self.world.kill(self._anybody())

    def _flap(self) -> None:
        pairs = sorted(tuple(sorted(pair)) for pair in self.world._links)
        if pairs:
            self.world._cut(*self.random.choice(pairs))

    def _divide(self) -> None:
        self.world.divide({each.number: self.random.randrange(2) for each in self.world.nodes})

    def _unite(self) -> None:
        self.world.divide(dict.fromkeys(self.world.groups, 0))

    def _lose(self) -> None:
        self.world.loss = self.random.choice([0.0, 0.02, 0.1])

    def _lead(self) -> None:
        process = self._anybody()
        lifecycle, membership, now = process.lifecycle, process.membership, self.world.now
        others = [each for each in membership.roster.indices if each != process.me]
        acts = [
            lambda: membership.rotate(now=now),
            lifecycle.start_inventory,
            lifecycle.cancel_inventory,
            lifecycle.restart,
        ]
        if others and self.random.random() < 0.2:
            acts.append(lambda: membership.remove(self.random.choice(others), now=now))
        self._act(process, self.random.choice(acts))

    def _usurp(self) -> None:
        """A member that has been taken over sends what it may not."""
        process = self._anybody()
        if process.membership.leader != process.me:
            message = usurpation(process, codec.encode(MARKER))
            for receiver in sorted(process.membership._links):
                self.world._send(process, receiver, message)

    def _take_over(self) -> None:
        frozen = [each for each in self.world.running if each.membership.frozen]
        if frozen and self.may_take_over:
            process = self.random.choice(frozen)
            self._act(process, lambda: process.membership.take_over(now=self.world.now))

    def _act(self, process: Process, act: object) -> None:
        with contextlib.suppress(*DECLARED):
            self.world.do(process, act)  # type: ignore[arg-type]


def play(seeds: range, **options: object) -> Counter[str]:
    happened: Counter[str] = Counter()
    for seed in seeds:
        history = History(seed, **options)  # type: ignore[arg-type]
        try:
            history.run()
        except Exception as error:
            error.add_note(f"seed {seed}, {options}")
            raise
        happened.update(history.happened)
        happened.update(each[3] for each in history.world.trace if len(each) == 4)  # type: ignore[misc]
    return happened


def test_sessions_survive_what_happens_to_them() -> None:
    """A handful of histories, each with a cut, a death and a return."""
    happened = play(range(40))

    for reason in (Reason.JOIN, Reason.ABSENT, Reason.RETURN, Reason.RECOVER, Reason.ROTATE):
        assert happened[reason.name], "histories to which nothing happens prove nothing"


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_a_thousand_sessions_survive_what_happens_to_them(block: int) -> None:
    """Two hundred and fifty each."""
    happened = play(range(250 * block, 250 * (block + 1)))

    assert happened[Reason.REMOVE.name]


def test_only_who_takes_over_makes_two_sessions() -> None:
    """Where people go on without the others; the two are told apart."""
    happened = play(range(40), may_take_over=True)

    assert happened[Reason.TAKE_OVER.name]


def test_a_history_repeats_from_its_seed() -> None:
    """The same trace, word for word."""
    first, second = History(7), History(7)

    first.run()
    second.run()

    assert first.world.trace == second.world.trace != []


class KeepsTheKey(Membership):
    """Planted: the key is not renewed when somebody leaves or is put out."""

    def _offer(self, proposal: Proposal, *, absent: frozenset[int], now: float) -> None:
        random_bytes, key = self._random_bytes, self.epoch_key(self.epoch)
        assert key is not None
        if proposal.act in {Act.LEAVE, Act.REMOVE, Act.SETTLE}:
            self._random_bytes = lambda size: (key.reveal() + random_bytes(size))[:size]
        try:
            super()._offer(proposal, absent=absent, now=now)
        finally:
            self._random_bytes = random_bytes


class TakesAnyonesOrders(Lifecycle):
    """Planted: a command is taken whoever gives it."""

    def _check(self, act: rights.Act, **more: object) -> None:
        pass


class GivesIndicesAgain(Membership):
    """Planted: a new member gets the place of one that is gone."""

    def _members_after(self, proposal: Proposal, absent: Collection[int]) -> list[RosterEntry]:
        members = super()._members_after(proposal, absent)
        if proposal.act is Act.JOIN:
            taken = {each.index for each in members[:-1]}
            free = min(set(range(6)) - taken)
            members[-1] = replace(members[-1], index=free)
        return sorted(members, key=lambda each: each.index)


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [
        ({"membership": KeepsTheKey}, "a key serves one epoch"),
        ({"lifecycle": TakesAnyonesOrders}, "somebody acted beyond its rights"),
        ({"membership": GivesIndicesAgain}, "an index was given twice|honest members never break"),
    ],
)
def test_the_reference_bites(planted: dict[str, type], complaint: str) -> None:
    """A planted fault is found, by what it breaks."""
    with pytest.raises(AssertionError, match=complaint):
        play(range(60), **planted)
