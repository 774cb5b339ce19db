from typing import Any

import msgspec
import pytest
from hypothesis import given

from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import MalformedMessage
from protocol.messages.inventory import (
    MAX_TIME_NS,
    EntriesFound,
    Entry,
    InventoryMessage,
    Kind,
    Skip,
    SkipReason,
)
from tests.harness.strategies import messages

ENTRY: list[Any] = [0, [b"a", b"b"], 1, 10, -5, 0o644, b""]
SKIP: list[Any] = [0, [b"a"], 1, None]
HASH: list[Any] = [0, bytes(32), None]


@given(messages(InventoryMessage))
def test_every_inventory_message_survives_the_wire(message: Any) -> None:
    """Drawn from the declarations."""
    assert decode(encode(message), InventoryMessage) == message


def test_entries_travel_as_arrays_without_names() -> None:
    """A million entries do not each repeat what their fields are called."""
    entry = Entry(0, (b"a",), Kind.FILE, 1, 2, 0o600)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry)) == [
        0, [b"a"], 1, 1, 2, 0o600, b"",
    ]  # fmt: skip


def found(*entries: list[Any]) -> dict[str, Any]:
    return {"type": "inventory.entries", "run": 1, "entries": list(entries)}


def skipped(*skips: list[Any]) -> dict[str, Any]:
    return {"type": "inventory.skips", "run": 1, "skips": list(skips)}


def hashed(*hashes: list[Any]) -> dict[str, Any]:
    return {"type": "inventory.hashes", "run": 1, "hashes": list(hashes)}


def changed(base: list[Any], at: int, value: object) -> list[Any]:
    return [*base[:at], value, *base[at + 1 :]]


@pytest.mark.parametrize(
    "content",
    [
        found(ENTRY),
        found(changed(ENTRY, 1, [])),
        found(changed(ENTRY, 1, [bytes(limits.MAX_COMPONENT)] * limits.MAX_DEPTH)),
        found(*[ENTRY] * limits.MAX_BATCH),
        skipped(SKIP),
        hashed(HASH),
        hashed([limits.MAX_ENTRIES - 1, None, int(SkipReason.VANISHED)]),
        {"type": "inventory.begun", "run": 1},
        {"type": "inventory.failed", "run": 1, "code": "source.gone", "source": 63},
    ],
    ids=lambda content: str(content)[:40],
)
def test_what_is_within_bounds_is_admitted(content: dict[str, Any]) -> None:
    """The bounds themselves are allowed."""
    decode(msgspec.msgpack.encode(content), InventoryMessage)


@pytest.mark.parametrize(
    "content",
    [
        found(*[ENTRY] * (limits.MAX_BATCH + 1)),
        found(changed(ENTRY, 0, -1)),
        found(changed(ENTRY, 0, limits.MAX_SOURCES)),
        found(changed(ENTRY, 1, [b""])),
        found(changed(ENTRY, 1, [bytes(limits.MAX_COMPONENT + 1)])),
        found(changed(ENTRY, 1, [b"a"] * (limits.MAX_DEPTH + 1))),
        found(changed(ENTRY, 2, 0)),
        found(changed(ENTRY, 2, 4)),
        found(changed(ENTRY, 3, -1)),
        found(changed(ENTRY, 3, 2**62 + 1)),
        found(changed(ENTRY, 4, MAX_TIME_NS + 1)),
        found(changed(ENTRY, 4, -MAX_TIME_NS - 1)),
        found(changed(ENTRY, 5, 0o10000)),
        found(changed(ENTRY, 6, bytes(limits.MAX_PATH + 1))),
        found(ENTRY[:5]),
        skipped(*[SKIP] * (limits.MAX_BATCH + 1)),
        skipped(changed(SKIP, 2, 99)),
        hashed(*[HASH] * (limits.MAX_BATCH + 1)),
        hashed(changed(HASH, 0, limits.MAX_ENTRIES)),
        hashed(changed(HASH, 1, bytes(31))),
        {"type": "inventory.begun", "run": 0},
        {"type": "inventory.begun", "run": 1, "date_resolution_ns": 0},
        {"type": "inventory.identified", "run": 1, "entries": limits.MAX_ENTRIES + 1, "skips": 0},
        {"type": "inventory.failed", "run": 1, "code": "Bad Code"},
        {"type": "inventory.failed", "run": 1, "code": "trailing\n"},
    ],
    ids=lambda content: str(content)[:40],
)
def test_what_is_out_of_bounds_is_malformed(content: dict[str, Any]) -> None:
    """A hostile member names nothing that is not there and fills no memory."""
    with pytest.raises(MalformedMessage):
        decode(msgspec.msgpack.encode(content), InventoryMessage)


def test_entries_are_values() -> None:
    """They are compared, kept in sets and never changed."""
    entry = Entry(0, (b"a",), Kind.FILE, 1, 2, 0o600)

    with pytest.raises(AttributeError):
        entry.size = 2  # type: ignore[misc]
    assert len({entry, Entry(0, (b"a",), Kind.FILE, 1, 2, 0o600)}) == 1


def test_a_full_batch_of_usual_entries_fits_a_record() -> None:
    """The number per message is chosen for that; odd ones are sent in smaller batches."""
    path = (b"Photographs", b"2024", b"Summer in Brittany", b"IMG_20240714_183012.jpg")
    entry = Entry(63, path, Kind.FILE, 2**33, 2**60, 0o644)
    skip = Skip(63, path, SkipReason.HIDDEN)
    full = EntriesFound(run=1, entries=[entry] * limits.MAX_BATCH)

    assert len(encode(full)) <= limits.MAX_CONTROL_PLAINTEXT
    assert len(msgspec.msgpack.encode(skip)) < len(msgspec.msgpack.encode(entry))
