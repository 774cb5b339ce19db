"""The control channel from epoch to epoch."""

import pytest

from protocol.channel import ControlChannel
from protocol.credentials import Secret
from protocol.crypto.records import RecordSealer, RecordType, TrafficClass, traffic_keys
from protocol.errors import MalformedMessage, SealBroken
from protocol.messages.base import Message
from protocol.messages.session import Leaving, SourcesChanged

LINK_KEY = Secret(b"k" * 32)


class Keys:
    """The epoch keys one member knows."""

    def __init__(self, *epochs: int) -> None:
        self.known = {epoch: Secret(bytes([epoch]) * 32) for epoch in epochs}

    def __call__(self, epoch: int) -> Secret | None:
        return self.known.get(epoch)


def pair(left: Keys, right: Keys) -> tuple[ControlChannel, ControlChannel]:
    return (
        ControlChannel(me=0, peer=3, link_key=LINK_KEY, epoch=1, epoch_keys=left),
        ControlChannel(me=3, peer=0, link_key=LINK_KEY, epoch=1, epoch_keys=right),
    )


def heard(channel: ControlChannel, data: bytes) -> list[Message]:
    return list(channel.receive(data))


def test_messages_arrive_whatever_the_splits() -> None:
    """Bytes of several records come one by one."""
    left, right = pair(Keys(1), Keys(1))
    data = left.seal(Leaving()) + left.seal(SourcesChanged(revision=1, sources=[]))

    messages = [message for byte in data for message in right.receive(bytes([byte]))]

    assert messages == [Leaving(), SourcesChanged(revision=1, sources=[])]


def test_each_direction_changes_epoch_on_its_own() -> None:
    """One side is an epoch ahead while the other still speaks under the old one."""
    left, right = pair(Keys(1, 2), Keys(1, 2))

    ahead = left.switch(2) + left.seal(Leaving())

    assert heard(right, ahead) == [Leaving()]
    assert heard(left, right.seal(Leaving())) == [Leaving()]
    assert (left.epoch, right.epoch) == (2, 1)


def test_an_epoch_that_was_skipped_leaves_its_mark() -> None:
    """A side that activates two epochs at once is followed through both."""
    left, right = pair(Keys(1, 2, 3), Keys(1, 2, 3))

    data = left.switch(3) + left.seal(Leaving())

    assert heard(right, data) == [Leaving()]


def test_switching_to_an_epoch_of_the_past_says_nothing() -> None:
    """The activation that arrives after the link was made in that epoch is no change."""
    left, _ = pair(Keys(1), Keys(1))

    assert left.switch(1) == b""


def test_who_does_not_know_the_next_epoch_reads_nothing_of_it() -> None:
    """A former member's link ends at the first record after the change (T12)."""
    left, right = pair(Keys(1, 2), Keys(1))
    data = left.switch(2) + left.seal(Leaving())

    with pytest.raises(SealBroken):
        heard(right, data)


def test_a_record_of_the_old_epoch_after_the_change_is_refused() -> None:
    """KEY_UPDATE is the last record of its epoch."""
    left, right = pair(Keys(1, 2), Keys(1, 2))
    stale, _ = pair(Keys(1), Keys(1))
    heard(right, left.switch(2))

    with pytest.raises(SealBroken):
        heard(right, stale.seal(Leaving()))


def test_a_key_update_that_holds_something_is_refused() -> None:
    """Nothing travels where nobody looks."""
    _, right = pair(Keys(1), Keys(1))
    keys = traffic_keys(
        LINK_KEY, Secret(b"\x01" * 32), 1, sender=0, receiver=3, traffic=TrafficClass.CONTROL
    )
    record = RecordSealer(keys, 1).seal(RecordType.KEY_UPDATE, b"x")

    with pytest.raises(MalformedMessage):
        heard(right, record)


def test_both_ends_hold_the_same_file_keys() -> None:
    """What one end sends under, the other receives under; control and file differ."""
    left, right = pair(Keys(1), Keys(1))

    sent, received = left.file_keys(1, outgoing=True), right.file_keys(1, outgoing=False)

    assert sent.key.reveal() == received.key.reveal()
    assert sent.key.reveal() != left.file_keys(1, outgoing=False).key.reveal()
