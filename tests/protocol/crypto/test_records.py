"""Control records: sealing, cutting, opening."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.credentials import Secret
from protocol.crypto import records
from protocol.crypto.records import (
    HEADER,
    MAX_CIPHERTEXT,
    Record,
    RecordOpener,
    RecordReader,
    RecordSealer,
    RecordType,
    TrafficClass,
    traffic_keys,
)
from protocol.errors import FrameTooLarge, LocalProtocolError, MalformedMessage, SealBroken
from protocol.limits import MAX_CONTROL_PLAINTEXT

LINK, KEY = Secret(b"L" * 32), Secret(b"E" * 32)
CONTROL = TrafficClass.CONTROL
KEYS = traffic_keys(LINK, KEY, 3, sender=0, receiver=1, traffic=CONTROL)
EPOCH = 0x01020304


def pair() -> tuple[RecordSealer, RecordOpener]:
    return RecordSealer(KEYS, EPOCH), RecordOpener(KEYS, EPOCH)


def cut(*sealed: bytes) -> list[Record]:
    return list(RecordReader().feed(b"".join(sealed)))


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=8),
    st.lists(st.integers(1, 400), min_size=1, max_size=20),
)
def test_messages_arrive_in_order_whatever_the_splits(
    messages: list[bytes], splits: list[int]
) -> None:
    """The reader cuts, the opener opens, and nothing is left over."""
    sealer, opener = pair()
    reader = RecordReader()
    stream = b"".join(sealer.seal(RecordType.MESSAGE, message) for message in messages)

    opened = []
    while stream:
        size = splits[len(stream) % len(splits)]
        opened += [opener.open(record) for record in reader.feed(stream[:size])]
        stream = stream[size:]

    assert opened == [(RecordType.MESSAGE, message) for message in messages]
    assert reader.buffered == 0


def test_a_record_has_its_documented_layout() -> None:
    """Length u24, epoch u32, type u8, ciphertext."""
    sealer, _ = pair()

    record = sealer.seal(RecordType.KEY_UPDATE, b"")

    assert record[:8] == b"\x00\x00\x10\x01\x02\x03\x04\x02"
    assert len(record) == 24


def test_the_largest_message_fits_and_one_byte_more_does_not() -> None:
    """256 KiB of plaintext."""
    sealer, opener = pair()
    largest = bytes(MAX_CONTROL_PLAINTEXT)

    (record,) = cut(sealer.seal(RecordType.MESSAGE, largest))

    assert opener.open(record) == (RecordType.MESSAGE, largest)
    with pytest.raises(LocalProtocolError):
        sealer.seal(RecordType.MESSAGE, largest + b"\x00")


def test_every_flipped_bit_is_fatal() -> None:
    """Length, epoch, type, ciphertext, tag: refused by the reader or the opener."""
    sealed = RecordSealer(KEYS, EPOCH).seal(RecordType.MESSAGE, b"payload")
    accepted = []

    for bit in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        _, opener = pair()
        with suppress(SealBroken, MalformedMessage, FrameTooLarge):
            accepted += [opener.open(record) for record in cut(bytes(altered))]

    assert accepted == []


@pytest.mark.parametrize("order", [(1,), (0, 0), (1, 0), (0, 2)])
def test_lost_repeated_and_reordered_records_are_fatal(order: tuple[int, ...]) -> None:
    """The counter is never sent, so only the next record opens; then none does."""
    sealer, opener = pair()
    sealed = cut(*(sealer.seal(RecordType.MESSAGE, b"same") for _ in range(3)))

    for place in order[:-1]:
        with suppress(SealBroken):
            opener.open(sealed[place])
    with pytest.raises(SealBroken):
        opener.open(sealed[order[-1]])

    for record in sealed:
        with pytest.raises(SealBroken):
            opener.open(record)


def test_a_key_update_is_the_last_record_of_its_epoch() -> None:
    """What follows it under the old keys is refused."""
    sealer, opener = pair()
    update, late = cut(
        sealer.seal(RecordType.KEY_UPDATE, b""), sealer.seal(RecordType.MESSAGE, b"late")
    )

    assert opener.open(update) == (RecordType.KEY_UPDATE, b"")

    with pytest.raises(SealBroken):
        opener.open(late)


def test_a_well_sealed_record_of_an_unknown_type_is_malformed() -> None:
    """A member of a later version, not an attacker."""
    sealer, opener = pair()
    (record,) = cut(sealer.seal(77, b""))  # type: ignore[arg-type]

    with pytest.raises(MalformedMessage):
        opener.open(record)
    with pytest.raises(SealBroken):
        opener.open(record)


def test_keys_differ_by_everything_they_are_for() -> None:
    """Link, epoch key, epoch, both members, direction and class."""
    base = {"sender": 0, "receiver": 1, "traffic": CONTROL}
    variants = [
        traffic_keys(LINK, KEY, 3, **base),  # type: ignore[arg-type]
        traffic_keys(Secret(b"M" * 32), KEY, 3, **base),  # type: ignore[arg-type]
        traffic_keys(LINK, Secret(b"F" * 32), 3, **base),  # type: ignore[arg-type]
        traffic_keys(LINK, KEY, 4, **base),  # type: ignore[arg-type]
        traffic_keys(LINK, KEY, 3, **base | {"sender": 1, "receiver": 0}),  # type: ignore[arg-type]
        traffic_keys(LINK, KEY, 3, **base | {"receiver": 2}),  # type: ignore[arg-type]
        traffic_keys(LINK, KEY, 3, **base | {"traffic": TrafficClass.FILE}),  # type: ignore[arg-type]
    ]

    assert len({keys.key.reveal() for keys in variants}) == len(variants)
    assert len({keys.iv for keys in variants}) == len(variants)
    assert KEYS.key.reveal().hex() not in repr(KEYS)


def test_a_record_of_another_epoch_is_refused_though_its_keys_would_open_it() -> None:
    """The epoch is named and checked: keys are never tried one after another."""
    (record,) = cut(RecordSealer(KEYS, EPOCH + 1).seal(RecordType.MESSAGE, b""))
    _, opener = pair()

    with pytest.raises(SealBroken):
        opener.open(record)


def test_epochs_are_sent_modulo_their_width() -> None:
    """A 63-bit number in 32 bits."""
    epoch = (1 << 40) + 5
    (record,) = cut(RecordSealer(KEYS, epoch).seal(RecordType.MESSAGE, b"x"))

    assert record.epoch == 5
    assert RecordOpener(KEYS, epoch).open(record) == (RecordType.MESSAGE, b"x")


def test_nonces_never_repeat_under_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand records, one nonce each; the cipher under test notes what it is given."""
    nonces: list[bytes] = []

    class Noting:
        def __init__(self, key: bytes) -> None:
            pass

        def encrypt(self, nonce: bytes, plaintext: bytes, header: bytes) -> bytes:
            nonces.append(nonce)
            return plaintext + bytes(16)

    monkeypatch.setattr(records, "AESGCM", Noting)
    sealer = RecordSealer(KEYS, EPOCH)

    for _ in range(10_000):
        sealer.seal(RecordType.MESSAGE, b"")

    assert len(set(nonces)) == 10_000
    assert int.from_bytes(nonces[0], "big") == int.from_bytes(KEYS.iv, "big")


def test_a_used_up_key_seals_and_opens_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """By records or by blocks, whichever comes first; the owner can see it coming."""
    sealer, opener = pair()
    (record,) = cut(sealer.seal(RecordType.MESSAGE, bytes(16)))

    monkeypatch.setattr(records, "MAX_BLOCKS", 4)
    assert sealer.exhausted == 0.5
    sealer.seal(RecordType.MESSAGE, bytes(16))
    with pytest.raises(LocalProtocolError):
        sealer.seal(RecordType.MESSAGE, b"")
    monkeypatch.setattr(records, "MAX_RECORDS", 0.0001)
    monkeypatch.setattr(opener, "_sequence", 1)
    with pytest.raises(SealBroken):
        opener.open(record)


@pytest.mark.parametrize(
    ("length", "error"),
    [(MAX_CIPHERTEXT + 1, FrameTooLarge), (2**24 - 1, FrameTooLarge), (15, MalformedMessage)],
)
def test_a_lying_length_is_refused_before_anything_is_buffered(
    length: int, error: type[Exception]
) -> None:
    """The header alone is enough."""
    reader = RecordReader()

    with pytest.raises(error):
        list(reader.feed(HEADER.pack(length << 8, 1)))


@given(st.binary(max_size=600))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    """Only its two errors, and never more held than came in."""
    reader = RecordReader()

    try:
        for record in reader.feed(data):
            assert len(record.ciphertext) >= 16
    except (FrameTooLarge, MalformedMessage):
        pass

    assert reader.buffered <= len(data)
