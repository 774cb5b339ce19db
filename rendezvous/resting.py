"""Members that rest: no connection, a datagram now and then (``protocol.idle``).

Per resting member::

    RESTING -datagram-> RESTING
       |  ^
       |  +--- (woken, still silent: again after 0.5, 1, 2 s)
       +-- resumes on a new connection --> forgotten here, served there
       +-- silent for three intervals, or leaves --> forgotten
"""

import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from protocol.idle import Keys, Wish, open_question, seal_answer
from protocol.messages.rendezvous import Address, NodeMessage

SILENT_INTERVALS: Final = 3.5
"""Intervals without a datagram after which a member counts as lost: three were lost then."""

WAKE_DELAYS: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds between the datagrams that wake a member; its introduction waits ten in all."""

MAX_HELD: Final = 8
"""Messages held for a member that is being woken; what comes on top is lost."""


class Datagram(NamedTuple):
    """One to send."""

    data: bytes
    address: Address


class Lost(NamedTuple):
    """A member that is remembered no more."""

    connection_id: int
    left: bool
    """Whether it said so."""


@dataclass(slots=True)
class _Rester:
    connection_id: int
    handle: bytes
    keys: Keys
    source: Address
    heard: float
    received: int = 0
    sent: int = 0
    held: list[NodeMessage] = field(default_factory=list)
    woken: int = 0
    """Datagrams sent to wake it."""


class Resting:
    """All resting members of one node.

    Args:
        interval: Seconds between a member's datagrams.
        most: Members remembered at most.
    """

    def __init__(self, interval: float, most: int) -> None:
        self.interval = interval
        self._most = most
        self._by_handle: OrderedDict[bytes, _Rester] = OrderedDict()
        self._by_connection: dict[int, _Rester] = {}
        self._waking: dict[bytes, float] = {}
        self._datagrams: list[Datagram] = []
        self.forged = 0
        """Datagrams that none of them sent."""

    def __len__(self) -> int:
        return len(self._by_handle)

    def __contains__(self, connection_id: int) -> bool:
        return connection_id in self._by_connection

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many."""
        return len(self._by_handle) >= self._most

    def rest(
        self, connection_id: int, handle: bytes, keys: Keys, source: Address, *, now: float
    ) -> None:
        """Remember a member that closes its connection."""
        rester = _Rester(connection_id, handle, keys, source, now)
        self._by_handle[handle] = rester
        self._by_connection[connection_id] = rester

    def receive_datagram(
        self, handle: bytes, data: bytes, source: Address, *, now: float
    ) -> int | Lost | None:
        """Take a datagram and answer it.

        Returns:
            Whose it is, or that it leaves; None if it is nobody's.
        """
        rester = self._by_handle.get(handle)
        opened = None
        if rester is not None:
            opened = open_question(rester.keys.member, data, rester.received)
        if rester is None or opened is None:
            self.forged += 1
            return None
        rester.received, wish = opened
        rester.source, rester.heard = source, now
        self._by_handle.move_to_end(handle)
        self._answer(rester, Wish.WAKE if rester.held else Wish.NONE)
        if wish is Wish.LEAVE:
            self._forget(rester)
            return Lost(rester.connection_id, left=True)
        return rester.connection_id

    def wake(self, connection_id: int, message: NodeMessage, *, now: float) -> None:
        """Hold *message* for a member and tell it to come back."""
        rester = self._by_connection[connection_id]
        if len(rester.held) < MAX_HELD:
            rester.held.append(message)
        if rester.handle not in self._waking:
            rester.woken = 0
            self._wake_again(rester, now)

    def stop(self) -> None:
        """Tell all of them that the node stops."""
        for rester in self._by_handle.values():
            self._answer(rester, Wish.LEAVE)

    def cancel(self, connection_id: int) -> list[NodeMessage]:
        """A member says something on the connection it meant to close: return what is held."""
        rester = self._by_connection[connection_id]
        self._forget(rester)
        return rester.held

    def resume(
        self, handle: bytes, proof: bytes, exporter: bytes
    ) -> tuple[int, list[NodeMessage]] | None:
        """Return which member comes back, and what is held for it; None if it is none."""
        rester = self._by_handle.get(handle)
        if rester is None or not hmac.compare_digest(rester.keys.proof(exporter), proof):
            return None
        self._forget(rester)
        return rester.connection_id, rester.held

    def handle_timer(self, *, now: float) -> list[Lost]:
        """Wake again who is due, and return who was silent for too long."""
        for handle in [each for each, due in self._waking.items() if due <= now]:
            self._wake_again(self._by_handle[handle], now)
        lost: list[Lost] = []
        while self._by_handle:
            rester = next(iter(self._by_handle.values()))
            if rester.heard + SILENT_INTERVALS * self.interval > now:
                break
            self._forget(rester)
            lost.append(Lost(rester.connection_id, left=False))
        return lost

    def get_timer(self) -> float | None:
        """Return when ``handle_timer`` must be called, or None."""
        first = next(iter(self._by_handle.values()), None)
        if first is None:
            return None
        silent = first.heard + SILENT_INTERVALS * self.interval
        return min([silent, *self._waking.values()])

    def datagrams_to_send(self) -> list[Datagram]:
        """Return what must be sent now, in order, once."""
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def _wake_again(self, rester: _Rester, now: float) -> None:
        if rester.woken == len(WAKE_DELAYS):
            self._waking.pop(rester.handle, None)
            rester.held.clear()  # nobody waits for these any more
            return
        self._waking[rester.handle] = now + WAKE_DELAYS[rester.woken]
        rester.woken += 1
        self._answer(rester, Wish.WAKE)

    def _answer(self, rester: _Rester, wish: Wish) -> None:
        rester.sent += 1
        data = seal_answer(rester.keys.node, rester.handle, rester.sent, wish, rester.source)
        self._datagrams.append(Datagram(data, rester.source))

    def _forget(self, rester: _Rester) -> None:
        del self._by_handle[rester.handle]
        del self._by_connection[rester.connection_id]
        self._waking.pop(rester.handle, None)
