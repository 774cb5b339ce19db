import pytest

from peer.inventory import telling
from peer.inventory.entries import MemberInventory
from peer.inventory.telling import Teller
from protocol import limits
from protocol.codec import encode
from protocol.messages.inventory import (
    Entry,
    IdentificationEnded,
    InventoryBegun,
    Kind,
    Skip,
    SkipReason,
)


def entry(*path: bytes, kind: Kind = Kind.FILE, source: int = 0, target: bytes = b"") -> Entry:
    return Entry(source, path, kind, 3, -5, 0o640, target)


TREE = [
    entry(kind=Kind.DIRECTORY),
    entry(b"d", kind=Kind.DIRECTORY),
    entry(b"d", b"e", kind=Kind.DIRECTORY),
    entry(b"d", b"e", b"f"),
    entry(b"d", b"l", kind=Kind.LINK, target=b"../x"),
    entry(b"z"),
    entry(kind=Kind.DIRECTORY, source=1),
    entry(b"d", source=1),
]


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_what_is_told_is_what_is_understood(size: int) -> None:
    """However it comes in parts, and whatever source it is in."""
    teller, inventory = Teller(1), MemberInventory(0, 1, sources=2)
    inventory.receive(InventoryBegun(run=1))

    for start in range(0, len(TREE), size):
        for message in teller.entries(TREE[start : start + size]):
            inventory.receive(message)
    inventory.receive(IdentificationEnded(run=1, entries=len(TREE), skips=0))

    assert list(inventory.entries()) == TREE


def test_a_message_holds_neither_too_many_nor_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one long path is lost."""
    monkeypatch.setattr(telling, "MAX_TOLD", 20)
    monkeypatch.setattr(limits, "MAX_BATCH", 3)
    names = [b"a", b"b", b"c", b"d", b"x" * 30, b"y" * 15, b"z" * 15]
    skips = [Skip(0, (name,), SkipReason.HIDDEN) for name in names]

    told = list(Teller(1).entries([entry(kind=Kind.DIRECTORY), *map(entry, names)]))
    skipped = list(Teller(1).skips(skips))

    assert [len(message.names) for message in told] == [3, 2, 1, 1, 1]
    assert [skip for message in skipped for skip in message.skips] == skips
    assert max(len(message.skips) for message in skipped) <= 3
    assert list(Teller(1).entries([])) == []


def test_the_longest_names_fit_a_record() -> None:
    """A link behind every name points as far as it may."""
    longest = [
        entry(bytes([n % 200 + 30]) * 255, kind=Kind.LINK, target=b"t" * limits.MAX_PATH)
        for n in range(100)
    ]
    deep = [Skip(0, (b"s" * 200,) * 20, SkipReason.PATTERN)] * limits.MAX_BATCH

    for message in Teller(1).entries([entry(kind=Kind.DIRECTORY), *longest]):
        assert len(encode(message)) <= limits.MAX_CONTROL_PLAINTEXT
    for skips in Teller(1).skips(deep):
        assert len(encode(skips)) <= limits.MAX_CONTROL_PLAINTEXT


def test_an_entry_before_its_directory_cannot_be_told() -> None:
    """It would be nowhere."""
    with pytest.raises(KeyError):
        list(Teller(1).entries([entry(b"d", b"e")]))
