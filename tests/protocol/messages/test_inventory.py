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
    SkipReason,
)
from tests.harness.strategies import messages

SKIP: list[Any] = [0, [b"a"], 1, None]
HASH: list[Any] = [0, bytes(32), None]


@given(messages(InventoryMessage))
def test_every_inventory_message_survives_the_wire(message: Any) -> None:
    """Drawn from the declarations."""
    assert decode(encode(message), InventoryMessage) == message


def test_a_usual_entry_is_few_bytes() -> None:
    """A million entries do not each repeat their directory's path, nor what fields are called."""
    count = limits.MAX_BATCH
    message = EntriesFound(
        run=1,
        above=[0, *range(1, count)],
        names=[b"", *(b"IMG_20240714_%06d.jpg" % n for n in range(1, count))],
        kinds=bytes([Kind.DIRECTORY, *[Kind.FILE] * (count - 1)]),
        sizes=[0, *range(3_000_000, 3_000_000 + count - 1)],
        mtimes=[1_700_000_000_000_000_000 + n for n in range(count)],
        modes=(0o644).to_bytes(2, "big") * count,
        roots=[0],
        targets=[],
    )

    assert len(encode(message)) / count <= 60


FOUND: dict[str, Any] = {
    "type": "inventory.entries",
    "run": 1,
    "above": [0, 1],
    "names": [b"", b"a"],
    "kinds": b"\x02\x01",
    "sizes": [0, 1],
    "mtimes": [0, -5],
    "modes": bytes(4),
    "roots": [0],
    "targets": [],
}


def found(**columns: object) -> dict[str, Any]:
    return {**FOUND, **columns}


def skipped(*skips: list[Any]) -> dict[str, Any]:
    return {"type": "inventory.skips", "run": 1, "skips": list(skips)}


def hashed(*hashes: list[Any]) -> dict[str, Any]:
    return {"type": "inventory.hashes", "run": 1, "hashes": list(hashes)}


def changed(base: list[Any], at: int, value: object) -> list[Any]:
    return [*base[:at], value, *base[at + 1 :]]


@pytest.mark.parametrize(
    "content",
    [
        found(),
        found(names=[bytes(limits.MAX_COMPONENT)] * limits.MAX_BATCH),
        found(above=[limits.MAX_ENTRIES - 1], sizes=[2**62], mtimes=[MAX_TIME_NS, -MAX_TIME_NS]),
        found(targets=[bytes(limits.MAX_PATH)], roots=[limits.MAX_SOURCES - 1]),
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
        found(above=[0] * (limits.MAX_BATCH + 1)),
        found(above=[-1]),
        found(above=[limits.MAX_ENTRIES]),
        found(names=[b""] * (limits.MAX_BATCH + 1)),
        found(names=[bytes(limits.MAX_COMPONENT + 1)]),
        found(kinds=bytes(limits.MAX_BATCH + 1)),
        found(sizes=[0] * (limits.MAX_BATCH + 1)),
        found(sizes=[-1]),
        found(sizes=[2**62 + 1]),
        found(mtimes=[0] * (limits.MAX_BATCH + 1)),
        found(mtimes=[MAX_TIME_NS + 1]),
        found(mtimes=[-MAX_TIME_NS - 1]),
        found(modes=bytes(2 * limits.MAX_BATCH + 1)),
        found(roots=[0] * (limits.MAX_BATCH + 1)),
        found(roots=[-1]),
        found(roots=[limits.MAX_SOURCES]),
        found(targets=[b""] * (limits.MAX_BATCH + 1)),
        found(targets=[bytes(limits.MAX_PATH + 1)]),
        {name: value for name, value in FOUND.items() if name != "roots"},
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
