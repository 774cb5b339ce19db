"""What the join and the link handshake share: their frames, and how they end.

Whatever the other side gets wrong ends in one error that tells it nothing: which field, which
seal or which signature it was stays in the exception's cause, for our log.
"""

import abc
import enum
from collections import deque
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from protocol.errors import LocalProtocolError, RemoteProtocolError


class FrameType(enum.IntEnum):
    """Types of the frames that an unauthenticated connection may carry."""

    J1 = 1
    J2 = 2
    J3 = 3
    J4 = 4
    J5 = 5
    J6 = 6
    J7 = 7
    J8 = 8
    PENDING = 9
    """The sponsor's people are still deciding."""
    J_ERR = 15
    """The join ends; says with which outcome."""
    LINK_HELLO = 16
    LINK_PROOF = 17


class Frame(NamedTuple):
    """One frame of a stream: its type and its body."""

    kind: int
    body: bytes


StateT = TypeVar("StateT", bound=enum.Enum)
EventT = TypeVar("EventT")


class Handshake(abc.ABC, Generic[StateT, EventT]):
    """A machine without I/O over frames; its subclasses say what a legal frame produces.

    Args:
        initial: The state it starts in.
        closed: The state in which nothing is legal any more.
        transitions: For every legal pair of state and frame type, the next state.
    """

    def __init__(
        self,
        initial: StateT,
        closed: StateT,
        transitions: Mapping[tuple[StateT, FrameType], StateT],
    ) -> None:
        self.state = initial
        self._closed = closed
        self._transitions = transitions
        self._outbox: list[Frame] = []
        self._events: deque[EventT] = deque()
        self._deadline: float | None = None

    def receive_message(self, message: Frame, *, now: float) -> None:
        """Take one frame from the other side.

        Raises:
            RemoteProtocolError: If it is not what must come now; the caller closes the
                connection, and nothing is legal any more.
        """
        try:
            after = self._transitions.get((self.state, FrameType(message.kind)))
        except ValueError:
            after = None
        if after is None:
            state = self.state.name
            self._close()
            raise RemoteProtocolError(f"frame of type {message.kind} while {state}")
        try:
            self._receive(FrameType(message.kind), message.body, now)
        except RemoteProtocolError as error:
            self._close()
            raise RemoteProtocolError("the handshake broke off") from error
        if self.state is not self._closed:
            self.state = after

    @abc.abstractmethod
    def handle_timer(self, *, now: float) -> None:
        """Act on a deadline that has passed; harmless when none has."""

    def get_timer(self) -> float | None:
        return self._deadline

    def messages_to_send(self) -> list[Frame]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> EventT | None:
        return self._events.popleft() if self._events else None

    @abc.abstractmethod
    def _receive(self, kind: FrameType, body: bytes, now: float) -> None:
        """Act on a frame that is legal now.

        Raises:
            RemoteProtocolError: If its body is not what it must be.
        """

    def _send(self, kind: FrameType, body: bytes) -> None:
        self._outbox.append(Frame(kind, body))

    def _close(self) -> None:
        self.state = self._closed
        self._deadline = None

    def _require(self, *states: StateT) -> None:
        """Refuse our own call unless the machine is in one of *states*."""
        if self.state not in states:
            raise LocalProtocolError(f"not while {self.state.name}")
