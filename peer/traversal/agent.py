"""Opens a path to one peer by checking every pair of addresses at once, without I/O.

::

    WAITING --delay over--> CHECKING --first PONG--> OPEN
                               |
                               +---- all tries sent, none answered ----> FAILED

Both sides of an introduction run one of these at the same time; each PING opens the sender's
NAT for the other's. Whatever does not open under the keys of the two offers is dropped without
a word (network.md, sections 6.4 and 6.5).
"""

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from peer.traversal.candidates import to_probe
from protocol.messages.rendezvous import Address, AddressKind, Offer
from protocol.probe import Probe, ProbeKeys, ProbeKind, ProbeOpener, ProbeSealer

TRIES: Final = (0.0, 0.02, 0.06, 0.14, 0.3, 0.5, 0.8, 1.2, 1.7, 2.3, 3.0, 3.8, 4.7)
"""Seconds after the start at which every address not yet answered is pinged
(network.md, section 6.5)."""

PATIENCE: Final = 1.3
"""Seconds after the last try in which an answer still counts."""

MAX_DATAGRAMS: Final = 64
"""Datagrams one introduction may make us send before anything authentic came back (T7)."""

MAX_REFLEXIVE: Final = 4
"""Addresses learned from authentic probes and pinged as well."""


class State(enum.Enum):
    """Where the checking stands."""

    WAITING = enum.auto()
    CHECKING = enum.auto()
    OPEN = enum.auto()
    FAILED = enum.auto()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One datagram to send."""

    address: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class Reachable:
    """An authentic probe came from this address: QUIC may be let in from there."""

    address: Address


@dataclass(frozen=True, slots=True)
class PathOpened:
    """The first path that carries probes both ways."""

    address: Address
    kind: AddressKind
    round_trip: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class PathFailed:
    """No address answered in time."""

    tried: tuple[Address, ...]


Event = Reachable | PathOpened | PathFailed


class Agent:
    """Checks the addresses of one peer's offer.

    Args:
        mine: The offer the peer was given.
        keys: The key of that offer.
        theirs: The peer's offer.
        random_bytes: Returns so many random bytes.
        loopback_allowed: Whether both may be on this machine.
        mix: ``expand(E_n, "probe")`` between two members; empty before the join.
    """

    def __init__(
        self,
        *,
        mine: Offer,
        keys: ProbeKeys,
        theirs: Offer,
        random_bytes: Callable[[int], bytes],
        loopback_allowed: bool,
        mix: bytes = b"",
    ) -> None:
        seal_key, open_key = keys.agree(theirs.probe_key, theirs.generation, mix=mix)
        self.tag = mine.tag
        """Incoming probes with this tag are for this agent."""
        self.is_client: Final = keys.public < theirs.probe_key
        """Whether this side opens the QUIC connection (network.md, section 6.4)."""
        self.state = State.WAITING
        self._generation = mine.generation
        self._sealer = ProbeSealer(seal_key, theirs.tag)
        self._opener = ProbeOpener(open_key)
        self._random_bytes = random_bytes
        self._kinds = {
            candidate.address: candidate.kind
            for candidate in to_probe(theirs.addresses, loopback_allowed=loopback_allowed)
        }
        self._sent_at: dict[bytes, tuple[Address, float]] = {}
        self._heard: set[Address] = set()
        self._started = 0.0
        self._try = 0
        self._sent = 0
        self._timer: float | None = None
        self._outbox: list[Outgoing] = []
        self._events: deque[Event] = deque()

    def start(self, *, now: float, delay: float = 0.0) -> None:
        """Begin after *delay* seconds: the nearer side waits for the farther one."""
        self._started = self._timer = now + delay

    def receive_probe(self, datagram: bytes, source: Address, *, now: float) -> None:
        """Take a datagram that carries this agent's tag, authentic or not."""
        probe = self._opener.open(datagram)
        if probe is None or self.state is State.FAILED:
            return
        if source not in self._heard:
            self._heard.add(source)
            self._events.append(Reachable(source))
        match probe.kind:
            case ProbeKind.PING:
                self._answer(probe, source, now=now)
            case ProbeKind.PONG:
                self._take_pong(probe, source, now=now)
            case _:
                pass  # OPEN has done its work; the rest is for paths that live

    def handle_timer(self, *, now: float) -> None:
        if self._timer is None or now < self._timer:
            return
        if self._try == len(TRIES):
            self.state = State.FAILED
            self._timer = None
            self._events.append(PathFailed(tuple(self._kinds)))
            return
        self.state = State.CHECKING
        for address in list(self._kinds):
            self._ping(address, now=now)
        self._try += 1
        last = self._try == len(TRIES)
        self._timer = self._started + (TRIES[-1] + PATIENCE if last else TRIES[self._try])

    def get_timer(self) -> float | None:
        return self._timer

    def datagrams_to_send(self) -> list[Outgoing]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def _answer(self, ping: Probe, source: Address, *, now: float) -> None:
        pong = Probe(ProbeKind.PONG, ping.transaction, self._generation, observed=source)
        self._send(source, pong)
        learned = len([k for k in self._kinds.values() if k is AddressKind.REFLEXIVE])
        if source not in self._kinds and learned < MAX_REFLEXIVE and self.state is State.CHECKING:
            # A triggered check: the peer's NAT shows it to us under an address nobody named.
            self._kinds[source] = AddressKind.REFLEXIVE
            self._ping(source, now=now)

    def _take_pong(self, pong: Probe, source: Address, *, now: float) -> None:
        address, sent = self._sent_at.get(pong.transaction, (None, 0.0))
        if address != source or self.state is State.OPEN:
            return  # answered from elsewhere: not a path; or one is open already
        self.state = State.OPEN
        self._timer = None
        self._events.append(PathOpened(source, self._kinds[source], now - sent))

    def _ping(self, address: Address, *, now: float) -> None:
        transaction = self._random_bytes(8)
        self._sent_at[transaction] = (address, now)
        self._send(address, Probe(ProbeKind.PING, transaction, self._generation))

    def _send(self, address: Address, probe: Probe) -> None:
        if self._sent >= MAX_DATAGRAMS and not self._heard:
            return
        self._sent += 1
        self._outbox.append(Outgoing(address, self._sealer.seal(probe)))
