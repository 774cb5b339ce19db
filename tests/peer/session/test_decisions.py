import msgspec
import pytest

from peer.session import decisions as module
from peer.session.decisions import DECISION_PART, MAX_PARTS, Decisions
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.messages.session import DecisionsChanged, Order

ORDER = Order(epoch=1, leader=0, sequence=1)


def messages_of(sender: Decisions) -> list[DecisionsChanged]:
    parts = sender.parts()
    return [
        DecisionsChanged(
            order=ORDER, revision=sender.revision, part=number, parts=len(parts), data=part
        )
        for number, part in enumerate(parts)
    ]


def sent(data: bytes) -> list[DecisionsChanged]:
    sender = Decisions()
    sender.replace(data)
    return messages_of(sender)


@pytest.mark.parametrize(
    ("size", "parts"),
    [(0, 1), (1, 1), (DECISION_PART, 1), (DECISION_PART + 1, 2), (5 * DECISION_PART, 5)],
)
def test_decisions_travel_in_parts_and_arrive_whole(size: int, parts: int) -> None:
    """No part is larger than the bound, and the last one completes them."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    messages = sent(data)
    receiver = Decisions()

    completed = []
    for message in messages:
        receiver.check(message)
        completed.append(receiver.take(message))

    assert len(messages) == parts
    assert completed == [False] * (parts - 1) + [True]
    assert (receiver.revision, receiver.data) == (1, data)


def test_decisions_heard_again_are_no_news() -> None:
    """A link came up again."""
    (message,) = sent(b"rules")
    receiver = Decisions()

    assert receiver.take(message)
    assert not receiver.take(message)


def test_a_missing_part_is_refused() -> None:
    """The order is the sender's; a gap can only be wrong."""
    first, _, third = sent(bytes(3 * DECISION_PART))
    receiver = Decisions()
    with pytest.raises(RemoteProtocolError):
        receiver.check(third)

    receiver.take(first)

    with pytest.raises(RemoteProtocolError):
        receiver.check(third)


@pytest.mark.parametrize("change", [{"revision": 2}, {"parts": 4}, {"part": 3}])
def test_a_part_of_another_set_is_refused(change: dict[str, int]) -> None:
    """Two sets are never mixed."""
    first, second, _ = sent(bytes(3 * DECISION_PART))
    receiver = Decisions()
    receiver.take(first)

    with pytest.raises(RemoteProtocolError):
        receiver.check(msgspec.structs.replace(second, **change))
    receiver.check(second)


def test_a_part_over_the_bound_is_refused() -> None:
    """What a member keeps is bounded by parts times bytes."""
    (message,) = sent(b"")

    with pytest.raises(RemoteProtocolError):
        Decisions().check(msgspec.structs.replace(message, data=bytes(DECISION_PART + 1)))
    with pytest.raises(RemoteProtocolError):
        Decisions().check(msgspec.structs.replace(message, part=1))


def test_a_new_set_takes_the_place_of_one_that_was_broken_off() -> None:
    """The leader changed its mind, or another one leads."""
    receiver = Decisions()
    receiver.take(sent(bytes(2 * DECISION_PART))[0])
    (message,) = sent(b"new")

    receiver.check(message)
    receiver.take(message)

    assert receiver.data == b"new"


def test_a_restart_forgets_decisions_and_keeps_counting() -> None:
    """A revision never names two sets."""
    decisions = Decisions()
    decisions.replace(b"first")

    decisions.forget()
    decisions.replace(b"second")

    assert (decisions.revision, decisions.data) == (2, b"second")


def test_more_than_can_be_sent_is_refused_where_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others would only see a message out of bounds."""
    monkeypatch.setattr(module, "MAX_PARTS", 1)

    with pytest.raises(LocalProtocolError):
        Decisions().replace(bytes(DECISION_PART + 1))
    assert MAX_PARTS == 4096, "the wire's bound on the number of parts"
