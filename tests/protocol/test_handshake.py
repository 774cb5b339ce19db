"""What every handshake does, whatever its frames mean."""

import enum

import pytest

from protocol.errors import CloseCode, LocalProtocolError, RemoteProtocolError, SealBroken
from protocol.handshake import Frame, FrameType, Handshake


class Step(enum.Enum):
    """Two steps and the end."""

    FIRST = 1
    SECOND = 2
    OVER = 3


class Knock(Handshake[Step, bytes]):
    """Repeats what it hears; a body of ``bad`` breaks it, one of ``end`` ends it."""

    def __init__(self) -> None:
        super().__init__(Step.FIRST, Step.OVER, {(Step.FIRST, FrameType.J1): Step.SECOND})
        self._deadline = 5.0

    def demand(self) -> None:
        self._require(Step.SECOND)

    def handle_timer(self, *, now: float) -> None:
        self._close()

    def _receive(self, kind: FrameType, body: bytes, now: float) -> None:
        if body == b"bad":
            raise SealBroken
        if body == b"end":
            self._close()
        self._send(kind, body)
        self._events.append(body)


def test_a_legal_frame_moves_the_state() -> None:
    """What was sent and what happened are drained once."""
    machine = Knock()

    machine.receive_message(Frame(1, b"x"), now=0.0)

    assert machine.state is Step.SECOND
    assert machine.messages_to_send() == [Frame(1, b"x")]
    assert machine.messages_to_send() == []
    assert (machine.next_event(), machine.next_event()) == (b"x", None)
    assert machine.get_timer() == 5.0
    machine.demand()


@pytest.mark.parametrize("frame", [Frame(2, b""), Frame(99, b""), Frame(1, b"bad")])
def test_whatever_is_wrong_looks_the_same_from_outside(frame: Frame) -> None:
    """One error, one close code; the reason is in the cause only."""
    machine = Knock()

    with pytest.raises(RemoteProtocolError) as caught:
        machine.receive_message(frame, now=0.0)

    assert type(caught.value) is RemoteProtocolError
    assert caught.value.close_code is CloseCode.PROTOCOL
    assert machine.state is Step.OVER
    assert machine.get_timer() is None
    with pytest.raises(RemoteProtocolError):
        machine.receive_message(Frame(1, b"x"), now=0.0)


def test_a_machine_that_closed_itself_stays_closed() -> None:
    """The table's next state does not reopen it."""
    machine = Knock()

    machine.receive_message(Frame(1, b"end"), now=0.0)

    assert machine.state is Step.OVER


def test_our_own_call_at_the_wrong_time_is_a_local_error() -> None:
    """And changes nothing."""
    machine = Knock()

    with pytest.raises(LocalProtocolError):
        machine.demand()

    assert machine.state is Step.FIRST
