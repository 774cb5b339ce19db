"""Two copies of one connection, fed alike, and a look at all their state.

One copy runs the fast path, the other the library as ``BoundedQuicConnection`` leaves
it. Whatever they are fed, they must not differ.
"""

import contextlib
import copy
import enum
import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import aioquic.quic.connection as library
from aioquic.quic import events
from aioquic.quic.connection import END_STATES, QuicConnection
from aioquic.quic.recovery import QuicPacketNumberWindow, QuicPacketRecovery

from protocol.quic.connection import BoundedQuicConnection
from tests.harness.quic_forger import Forger
from tests.harness.quic_pair import PEER

NEVER = 1 << 30
OWN = frozenset(
    {
        # What only the fast path has, or counts.
        "ack_threshold",
        "is_fast",
        "sent_fast",
        "taken_fast",
        "_next_phase",
        "_since_ack",
        # Compared by itself.
        "_events",
        # Shared by the two, or without state.
        "_configuration",
        "_crypto_buffers",
        "_logger",
        "_quic_logger",
        "_QuicConnection__frame_handlers",
        "_setup_cb",
        "_teardown_cb",
        "_send_probe",
        "tls",
    }
)


ATOMS = frozenset({type(None), bool, int, float, str, bytes, bytearray})


def duplicate(connection: BoundedQuicConnection, *, fast: bool) -> Any:
    """Return a copy that shares nothing that changes; keys cannot be copied."""
    shared: dict[int, Any] = {}
    _find_uncopyable(connection, shared, set())
    made: Any = copy.deepcopy(connection, shared)
    made.is_fast = fast
    made.ack_threshold = NEVER
    if not fast:
        made._loss.__class__ = QuicPacketRecovery
    return made


def _find_uncopyable(value: Any, shared: dict[int, Any], seen: set[int]) -> None:
    if id(value) in seen or isinstance(value, (int, float, str, bytes, bytearray, enum.Enum)):
        return
    seen.add(id(value))
    module = type(value).__module__
    if module.startswith(("cryptography", "_hashlib", "aioquic._buffer", "logging")):
        shared[id(value)] = value
        return
    if isinstance(value, dict):
        children: Iterable[Any] = [*value, *value.values()]
    elif isinstance(value, (list, tuple, set, deque)):
        children = list(value)
    elif hasattr(value, "__self__"):
        children = [value.__self__]
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        children = list(vars(value).values())
    else:
        return
    for child in children:
        _find_uncopyable(child, shared, seen)


def picture(value: Any, seen: dict[int, int] | None = None) -> Any:
    """Return everything *value* holds in a form that can be compared."""
    if type(value) in ATOMS or isinstance(value, (int, enum.Enum)):
        return value
    seen = {} if seen is None else seen
    if id(value) in seen:
        return ("again", seen[id(value)])
    seen[id(value)] = len(seen)
    if isinstance(value, QuicPacketNumberWindow):
        # What lies below the window has no meaning and is pruned when convenient.
        return (value._lower, sorted(n for n in value._received if n >= value._lower))
    if isinstance(value, dict):
        return {
            key: item if type(item) in ATOMS else picture(item, seen)
            for key, item in value.items()
            if key not in OWN
        }
    if isinstance(value, (list, tuple, deque)):
        return [picture(item, seen) for item in value]
    if isinstance(value, (set, frozenset)):
        return (
            sorted(map(repr, value))
            if not value or isinstance(next(iter(value)), (int, str))
            else len(value)
        )
    if callable(value) and hasattr(value, "__self__"):
        return (value.__name__, picture(value.__self__, seen))
    if hasattr(value, "_RangeSet__ranges"):
        return list(value)
    if hasattr(value, "__dict__"):
        return picture(vars(value), seen)
    if hasattr(value, "__slots__"):
        return [picture(getattr(value, name), seen) for name in value.__slots__]
    return type(value).__name__


class _Chance:
    """Stands where the library looks for ``os``: the same bytes for both twins."""

    def __init__(self, seed: int) -> None:
        self.urandom = random.Random(seed).randbytes


@contextlib.contextmanager
def chance(seed: int) -> Iterator[None]:
    """Let the library draw the same connection IDs and challenges every time."""
    usual = library.os  # type: ignore[attr-defined]
    library.os = _Chance(seed)  # type: ignore[attr-defined, assignment]
    try:
        yield
    finally:
        library.os = usual  # type: ignore[attr-defined]


def coalesced(machine: QuicConnection) -> list[Any]:
    """Return the next events, neighbouring data of one stream put together."""
    found: list[Any] = []
    while (event := machine.next_event()) is not None:
        last = found[-1] if found else None
        if (
            isinstance(event, events.StreamDataReceived)
            and isinstance(last, events.StreamDataReceived)
            and last.stream_id == event.stream_id
            and not last.end_stream
        ):
            last.data = bytes(last.data) + event.data
            last.end_stream = event.end_stream
        else:
            found.append(event)
    return found


class Twins:
    """The two copies, fed alike.

    Args:
        connection: What they are copies of.
        peer: Whose keys the forger uses.
        dice: Source of everything random.
        now: When they begin.
    """

    def __init__(
        self,
        connection: BoundedQuicConnection,
        peer: QuicConnection,
        dice: random.Random,
        now: float,
    ) -> None:
        self.fast = duplicate(connection, fast=True)
        self.stock = duplicate(connection, fast=False)
        if dice.random() < 0.4:
            for machine in (self.fast, self.stock):
                # So narrow that every other frame reaches an edge.
                machine._local_max_stream_data_bidi_remote = 3000
                machine._stream_window = 3000
                machine._connection_window = 5000
                machine._local_max_data.value = machine._local_max_data.used + 5000
        self.forger = Forger(peer, self.fast, dice)
        self.now = now
        self._dice = dice

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended."""
        return self.fast._state in END_STATES

    def step(self) -> None:
        """Feed both one sequence, let both do the same, and compare everything."""
        dice = self._dice
        self.now += dice.choice((0.0001, 0.002, 0.03))
        arrived = self.forger.batch()
        cut = dice.randrange(len(arrived) + 1)
        for part in (arrived[:cut], arrived[cut:]):
            seed = dice.randrange(1 << 30)
            for machine in (self.fast, self.stock):
                with chance(seed):
                    machine.receive_batch(part, PEER, self.now)
        received = coalesced(self.fast)
        assert received == coalesced(self.stock)
        for machine in (self.fast, self.stock):
            timer = machine.get_timer()
            if timer is not None and timer <= self.now:
                machine.handle_timer(self.now)
        self._act(received)
        self._send()
        assert coalesced(self.fast) == coalesced(self.stock)
        self.compare()

    def compare(self) -> None:
        """Find any difference in what the two hold."""
        for machine in (self.fast, self.stock):
            # Brought up to date on every occasion, of which the two have different ones.
            machine._raise_limits()
        ours, theirs = picture(self.fast), picture(self.stock)
        if ours != theirs:
            raise AssertionError("\n".join(differences(ours, theirs, "")))

    def _act(self, received: list[Any]) -> None:
        dice = self._dice
        mine = 1 if not self.fast._is_client else 0
        wish = dice.random()
        size = dice.choice((10, 3000, 20_000))
        for machine in (self.fast, self.stock):
            for event in received:
                if isinstance(event, events.StreamDataReceived):
                    if wish < 0.8:
                        machine.consumed(event.stream_id, len(event.data))
                    if event.end_stream:
                        machine.stream_done(event.stream_id)
                elif isinstance(event, events.StreamReset):
                    machine.stream_done(event.stream_id)
            sender = machine._streams.get(mine)
            if sender is None or (sender.sender._reset_error_code is None and wish < 0.5):
                machine.send_stream_data(mine, bytes(size))
            if wish > 0.97:
                machine.send_ping(1)
            if wish > 0.995:
                machine.request_key_update()

    def _send(self) -> None:
        dice = self._dice
        by_train = dice.random() < 0.5
        sent: list[list[bytes]] = []
        for machine, usual in ((self.fast, True), (self.stock, False)):
            # Both send in the same way, so that both have the same to be acknowledged.
            machine.is_fast = by_train
            trains = machine.send_batch(self.now)
            machine.is_fast = usual
            sent.append([bytes(part) for train in trains for part in train.buffers])
        assert sent[0] == sent[1]


def differences(ours: Any, theirs: Any, where: str) -> list[str]:
    """Return where two pictures differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            line
            for key in ours.keys() | theirs.keys()
            for line in differences(ours.get(key), theirs.get(key), f"{where}.{key}")
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [
            line
            for at, (mine, other) in enumerate(zip(ours, theirs, strict=True))
            for line in differences(mine, other, f"{where}[{at}]")
        ]
    return [] if ours == theirs else [f"{where}: {ours!r:.300} instead of {theirs!r:.300}"]
