"""The roster and its canonical bytes."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.transcript import lv
from protocol.errors import MalformedMessage
from protocol.roster import Roster, RosterEntry

A = RosterEntry(0, b"a" * 32, "Anna's laptop", "anna@example.org")
B = RosterEntry(3, b"b" * 32, "Büro", present=False)

printable = st.characters(exclude_categories=("C", "Z"))
entries = st.builds(
    RosterEntry,
    index=st.integers(0, 255),
    node_key=st.binary(min_size=32, max_size=32),
    name=st.text(printable, min_size=1, max_size=64),
    email=st.text(printable, max_size=60),
    present=st.booleans(),
)
rosters = st.lists(
    entries,
    min_size=1,
    max_size=5,
    unique_by=(lambda entry: entry.index, lambda entry: entry.node_key),
).map(lambda found: Roster(tuple(sorted(found, key=lambda entry: entry.index))))


@given(rosters)
def test_a_roster_is_read_as_it_was_written(roster: Roster) -> None:
    """Decoding undoes encoding, and the digest is of these bytes."""
    data = roster.encode()

    assert Roster.decode(data) == roster
    assert roster.digest == hashlib.sha256(data).digest()


@given(rosters, st.data())
def test_no_other_bytes_are_read_as_the_same_roster(roster: Roster, data: st.DataObject) -> None:
    """Every flipped bit is refused or means another roster, in its canonical form."""
    original = roster.encode()
    bit = data.draw(st.integers(0, len(original) * 8 - 1))
    altered = bytearray(original)
    altered[bit // 8] ^= 1 << bit % 8

    try:
        found = Roster.decode(bytes(altered))
    except MalformedMessage:
        return

    assert found != roster
    assert found.encode() == altered


def test_members_are_found_by_index_and_by_key() -> None:
    """Both look-ups say None for a stranger; present lists who is there."""
    roster = Roster((A, B))

    assert roster.entry(3) == roster.find(b"b" * 32) == B
    assert roster.entry(1) is None
    assert roster.find(b"c" * 32) is None
    assert roster.indices == (0, 3)
    assert roster.present == (0,)


@pytest.mark.parametrize(
    "fields",
    [
        {"index": 256},
        {"index": -1},
        {"node_key": b"short"},
        {"name": ""},
        {"name": "n" * 65},
        {"name": "a\x1b[31m"},
        {"name": "\u202egpj.exe"},
        {"email": "é" * 128},
        {"email": "a\nb"},
    ],
)
def test_a_member_that_cannot_be_is_no_value(fields: dict[str, object]) -> None:
    """Bounds and characters are checked where the value is made."""
    with pytest.raises(ValueError, match="member"):
        RosterEntry(**{"index": 0, "node_key": bytes(32), "name": "A"} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "members",
    [
        (),
        (B, A),
        (A, A),
        (A, RosterEntry(1, A.node_key, "again")),
        tuple(RosterEntry(i, bytes([i]) * 32, "n") for i in range(6)),
    ],
)
def test_a_roster_that_cannot_be_is_no_value(members: tuple[RosterEntry, ...]) -> None:
    """One to five members, ascending, each key once."""
    with pytest.raises(ValueError, match=r"roster|key"):
        Roster(members)


def entry_bytes(*, presence: bytes = b"\x01", name: bytes = b"A", index: bytes = b"\x00") -> bytes:
    return lv(lv(index, bytes(32), name, b"", presence))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        A.encode(),
        Roster((A,)).encode() + b"\x00",
        entry_bytes(presence=b"\x02"),
        entry_bytes(presence=b""),
        entry_bytes(name=b"\xff"),
        entry_bytes(name=b"\x07"),
        entry_bytes(name=b""),
        entry_bytes(index=b"\x00\x00"),
        entry_bytes() * 2,
        entry_bytes() * 1000,
    ],
)
def test_bytes_that_are_no_roster_are_refused(data: bytes) -> None:
    """One error for all of them."""
    with pytest.raises(MalformedMessage):
        Roster.decode(data)
