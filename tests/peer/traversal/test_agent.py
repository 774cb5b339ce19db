"""Two agents over a network of their own, in virtual time."""

import random
from collections.abc import Callable

import pytest

from peer.traversal.agent import (
    MAX_DATAGRAMS,
    PATIENCE,
    TRIES,
    Agent,
    Event,
    PathFailed,
    PathOpened,
    Reachable,
    State,
)
from peer.traversal.candidates import offered
from protocol.messages.rendezvous import Address, AddressKind, Offer
from protocol.probe import Probe, ProbeKeys, ProbeKind, ProbeSealer

LEFT = Address(bytes([10, 0, 0, 1]), 1001)
RIGHT = Address(bytes([10, 0, 0, 2]), 1002)
ELSEWHERE = Address(bytes([10, 9, 9, 9]), 1009)
LATENCY = 0.03


class Side:
    """One agent, where it sits and what it reported."""

    def __init__(self, seed: int, home: Address, *, claims: tuple[Address, ...]) -> None:
        self.random = random.Random(seed).randbytes
        self.home = home
        self.keys = ProbeKeys(self.random, 1)
        self.offer = Offer(
            generation=1,
            tag=self.random(4),
            probe_key=self.keys.public,
            addresses=offered(claims, []),
        )
        self.events: list[Event] = []

    def meet(self, other: "Side", *, mix: bytes = b"") -> Agent:
        self.agent = Agent(
            mine=self.offer,
            keys=self.keys,
            theirs=other.offer,
            random_bytes=self.random,
            loopback_allowed=False,
            mix=mix,
        )
        return self.agent


class Network:
    """Carries datagrams to whoever is at home at the address; loses what it is told to."""

    def __init__(self, *sides: Side) -> None:
        self.sides = sides
        self.now = 0.0
        self.flying: list[tuple[float, Address, Address, bytes]] = []
        self.lost: Callable[[Address, Address], bool] = lambda source, target: False
        self.sent = 0

    def run(self, *, until: float = 10.0) -> None:
        while True:
            self._drain()
            moments = [flight[0] for flight in self.flying]
            moments += [t for s in self.sides if (t := s.agent.get_timer()) is not None]
            if not moments or min(moments) > until:
                return
            self.now = min(moments)
            arrived = [flight for flight in self.flying if flight[0] <= self.now]
            self.flying = [flight for flight in self.flying if flight[0] > self.now]
            for _, source, target, data in arrived:
                for side in self.sides:
                    if side.home == target:
                        side.agent.receive_probe(data, source, now=self.now)
            for side in self.sides:
                side.agent.handle_timer(now=self.now)

    def _drain(self) -> None:
        for side in self.sides:
            for out in side.agent.datagrams_to_send():
                self.sent += 1
                if not self.lost(side.home, out.address):
                    self.flying.append((self.now + LATENCY, side.home, out.address, out.data))
            while (event := side.agent.next_event()) is not None:
                side.events.append(event)


@pytest.fixture
def sides() -> tuple[Side, Side]:
    """Two peers that know each other's true address."""
    left, right = Side(1, LEFT, claims=(LEFT,)), Side(2, RIGHT, claims=(RIGHT,))
    left.meet(right)
    right.meet(left)
    return left, right


def test_both_open_the_path_in_one_round_trip(sides: tuple[Side, Side]) -> None:
    """Simultaneous checks; each side learns the round trip."""
    left, right = sides
    network = Network(left, right)
    left.agent.start(now=0.0)
    right.agent.start(now=0.0)

    network.run()

    for side, other in ((left, RIGHT), (right, LEFT)):
        assert side.events[0] == Reachable(other)
        (opened,) = [event for event in side.events if isinstance(event, PathOpened)]
        assert (opened.address, opened.kind) == (other, AddressKind.HOST)
        assert opened.round_trip == pytest.approx(2 * LATENCY)
        assert side.agent.state is State.OPEN
    assert left.agent.is_client is not right.agent.is_client


def test_the_nearer_side_waits(sides: tuple[Side, Side]) -> None:
    """Nothing leaves before the delay is over."""
    left, _ = sides
    left.agent.start(now=5.0, delay=0.5)

    left.agent.handle_timer(now=5.4)
    early = left.agent.datagrams_to_send()
    left.agent.handle_timer(now=5.5)

    assert early == []
    assert len(left.agent.datagrams_to_send()) == 1


def test_lost_probes_are_tried_again(sides: tuple[Side, Side]) -> None:
    """One side hears nothing for the first tries."""
    left, right = sides
    network = Network(left, right)
    network.lost = lambda source, target: network.now < 0.4
    left.agent.start(now=0.0)
    right.agent.start(now=0.0)

    network.run()

    assert left.agent.state is right.agent.state is State.OPEN


def test_an_address_nobody_named_is_checked_when_a_probe_comes_from_it() -> None:
    """The other's NAT shows it under a new address: the triggered check finds the path."""
    left, right = Side(1, LEFT, claims=(ELSEWHERE,)), Side(2, RIGHT, claims=(RIGHT,))
    left.meet(right)
    right.meet(left)
    network = Network(left, right)
    left.agent.start(now=0.0)
    right.agent.start(now=0.0)

    network.run()

    (opened,) = [event for event in right.events if isinstance(event, PathOpened)]
    assert (opened.address, opened.kind) == (LEFT, AddressKind.REFLEXIVE)


def test_silence_fails_in_bounded_time_and_packets(sides: tuple[Side, Side]) -> None:
    """Nobody answers: said within six seconds, at most 64 datagrams (T7)."""
    left, _ = sides
    many = Side(3, RIGHT, claims=tuple(Address(bytes([10, 0, 1, n]), 7) for n in range(1, 15)))
    left.meet(many)
    network = Network(left)
    left.agent.start(now=0.0)

    network.run()

    assert left.agent.state is State.FAILED
    assert network.now == pytest.approx(TRIES[-1] + PATIENCE)
    assert network.sent == MAX_DATAGRAMS
    assert isinstance(left.events[-1], PathFailed)


def test_forged_probes_are_dropped_and_members_mix_in_their_epoch(
    sides: tuple[Side, Side],
) -> None:
    """Who misroutes offers gains nothing: without the mixed-in key nothing opens."""
    left, right = sides
    right.meet(left, mix=b"m" * 32)
    network = Network(left, right)
    left.agent.start(now=0.0)
    right.agent.start(now=0.0)

    network.run()

    assert not [event for event in left.events if not isinstance(event, PathFailed)]


def test_an_answer_from_elsewhere_opens_no_path(sides: tuple[Side, Side]) -> None:
    """A PONG counts only from where its PING went; other kinds change nothing."""
    left, right = sides
    left.agent.start(now=0.0)
    left.agent.handle_timer(now=0.0)
    (ping,) = left.agent.datagrams_to_send()
    right.agent.receive_probe(ping.data, LEFT, now=0.01)
    pong, *_ = right.agent.datagrams_to_send()

    left.agent.receive_probe(pong.data, ELSEWHERE, now=0.02)

    assert left.agent.state is State.CHECKING
    assert left.agent.next_event() == Reachable(ELSEWHERE)


def test_what_comes_after_the_end_changes_nothing(sides: tuple[Side, Side]) -> None:
    """OPEN does nothing; a failed agent stays failed; a timer that is not due waits."""
    left, right = sides
    seal_key, _ = right.keys.agree(left.offer.probe_key, 1)
    sealer = ProbeSealer(seal_key, left.offer.tag)
    left.agent.start(now=0.0)
    left.agent.receive_probe(sealer.seal(Probe(ProbeKind.OPEN, bytes(8), 1)), RIGHT, now=0.0)
    for moment in (*TRIES, 100.0):
        left.agent.handle_timer(now=moment)
    left.agent.handle_timer(now=200.0)
    while left.agent.next_event() is not None:
        pass

    left.agent.receive_probe(sealer.seal(Probe(ProbeKind.PING, bytes(8), 1)), RIGHT, now=201.0)

    assert left.agent.state is State.FAILED
    assert left.agent.next_event() is None
