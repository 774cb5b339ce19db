"""The handshake of a link."""

import sys
from collections.abc import Callable

import pytest

from protocol import limits
from protocol.credentials import Secret
from protocol.crypto.transcript import lv, unlv
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.handshake import Frame, FrameType
from protocol.link import (
    TRANSITIONS,
    EpochSecrets,
    LinkDialler,
    LinkListener,
    LinkState,
    LinkTimedOut,
    LinkUp,
)
from tests.harness.linking import EPOCHS, NODES, LinkRun, dialler, listener


def test_two_members_agree_on_a_key() -> None:
    """Each learns who the other is, and in which epoch they are."""
    run = LinkRun(dialler(), listener()).drive()

    (up,), (heard,) = run.events
    assert isinstance(up, LinkUp)
    assert isinstance(heard, LinkUp)
    assert (up.peer_index, heard.peer_index) == (1, 0)
    assert up.epoch == heard.epoch == 4
    assert up.link_key == heard.link_key
    assert [frame.kind for frame in run.frames] == [16, 16, 17, 17]
    assert run.dialler.state is run.listener.state is LinkState.UP
    assert run.dialler.get_timer() is run.listener.get_timer() is None


def test_every_link_has_its_own_key() -> None:
    """Fresh nonces and shares: reconnecting makes another one."""
    first = LinkRun(dialler(), listener()).drive()
    second = LinkRun(dialler(seed="again"), listener()).drive()

    (up,), (again,) = first.events[0], second.events[0]
    assert isinstance(up, LinkUp)
    assert isinstance(again, LinkUp)
    assert up.link_key != again.link_key


@pytest.mark.parametrize("epoch", [4, 5])
def test_both_end_on_the_diallers_epoch(epoch: int) -> None:
    """The listener knows the active and a pending one, and takes what it hears."""
    run = LinkRun(dialler(epoch=epoch), listener()).drive()

    assert [
        event.epoch for events in run.events for event in events if isinstance(event, LinkUp)
    ] == [
        epoch,
        epoch,
    ]


OTHER_KEY = {4: EpochSecrets(Secret(b"?" * 32), b"r" * 32)}
OTHER_ROSTER = {4: EpochSecrets(Secret(b"4" * 32), b"?" * 32)}

REFUSED: dict[str, tuple[LinkDialler, LinkListener]] = {
    "an outsider without the epoch key": (dialler(), listener(epochs=OTHER_KEY)),
    "a listener that impersonates a member": (dialler(), listener(node=NODES[2])),
    "a dialler that impersonates a member": (dialler(node=NODES[2]), listener()),
    "two connections": (dialler(), listener(exporter=b"y" * 32)),
    "an epoch the listener forgot": (dialler(), listener(epochs={5: EPOCHS[5]})),
    "a fork of the roster": (dialler(), listener(epochs=OTHER_ROSTER)),
    "a listener with another index": (dialler(), listener(own=2, node=NODES[2])),
    "a dialler outside the roster": (dialler(own=7), listener()),
    "a dialler with the listener's own index": (dialler(own=1, node=NODES[1]), listener()),
}


@pytest.mark.parametrize("case", REFUSED)
def test_whoever_is_not_that_member_in_that_epoch_is_refused(case: str) -> None:
    """And nobody honest reports a link."""
    run = LinkRun(*REFUSED[case]).drive()

    assert run.broken is not None
    assert run.events[0] == []
    # An impersonator that listens hears the honest dialler's proof; that is its business.
    assert run.events[1] == [] or case == "a listener that impersonates a member"


def test_two_diallers_do_not_link() -> None:
    """A reflected hello has the wrong role."""
    left, right = dialler(), dialler(own=1, peer=0, node=NODES[1])
    left.start(now=0.0)
    right.start(now=0.0)
    (hello,) = left.messages_to_send()

    with pytest.raises(RemoteProtocolError):
        right.receive_message(hello, now=0.0)
    with pytest.raises(RemoteProtocolError):
        left.receive_message(hello, now=0.0)


HELLO = ("role", "epoch", "sender", "receiver", "roster", "nonce", "share")


@pytest.mark.parametrize(
    "fields",
    [
        {"role": b"D"},
        {"epoch": (5).to_bytes(8, "big"), "roster": b"s" * 32},
        {"sender": b"\x02"},
        {"receiver": b"\x02"},
        {"roster": b"s" * 32},
        {"nonce": bytes(31)},
        {"share": bytes(32)},
        {"share": bytes(31)},
        {"epoch": b"\x04"},
    ],
)
def test_an_answer_that_changes_anything_agreed_is_refused(fields: dict[str, bytes]) -> None:
    """Another epoch, member, roster; a share that forces the result."""

    def tamper(place: int, frame: Frame) -> Frame:
        if place != 1:
            return frame
        values = dict(zip(HELLO, unlv(frame.body, 7), strict=True))
        return Frame(frame.kind, lv(*(values | fields).values()))

    run = LinkRun(dialler(), listener(), tamper).drive()

    assert run.broken is not None
    assert len(run.frames) == 2


@pytest.mark.parametrize("make", [dialler, listener])
def test_ten_seconds_without_a_proof_end_the_handshake(
    make: Callable[[], LinkDialler | LinkListener],
) -> None:
    """The owner closes the connection."""
    machine = make()
    machine.handle_timer(now=0.0)
    machine.start(now=1.0)

    machine.handle_timer(now=1.0 + limits.STEP_TIMEOUT - 0.1)
    early = machine.next_event()
    machine.handle_timer(now=1.0 + limits.STEP_TIMEOUT)

    assert early is None
    assert machine.next_event() == LinkTimedOut()
    assert machine.state is LinkState.CLOSED
    with pytest.raises(LocalProtocolError):
        machine.start(now=2.0)


def test_nothing_follows_a_finished_handshake() -> None:
    """Records have their own reader."""
    run = LinkRun(dialler(), listener()).drive()

    for frame in run.frames:
        for machine in (run.dialler, run.listener):
            with pytest.raises(RemoteProtocolError):
                machine.receive_message(frame, now=0.0)


def test_a_proof_comes_after_the_hello() -> None:
    """Not instead of it."""
    machine = listener()
    machine.start(now=0.0)

    with pytest.raises(RemoteProtocolError):
        machine.receive_message(Frame(FrameType.LINK_PROOF, lv(b"", b"")), now=0.0)


def test_the_drawing_shows_every_state_and_frame_of_the_table() -> None:
    """What stands in the module's text is what runs."""
    drawing = sys.modules[LinkDialler.__module__].__doc__ or ""

    for (before, kind), after in TRANSITIONS.items():
        assert all(name in drawing for name in (before.name, kind.name, after.name))
