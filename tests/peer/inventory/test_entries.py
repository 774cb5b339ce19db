from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from peer.inventory.entries import TRANSITIONS, MemberInventory, State
from peer.inventory.telling import Teller
from protocol import limits
from protocol.errors import RemoteProtocolError
from protocol.messages.inventory import (
    EntriesFound,
    EntriesSkipped,
    Entry,
    Hash,
    HashesComputed,
    HashingEnded,
    IdentificationEnded,
    InventoryBegun,
    InventoryFailed,
    InventoryMessage,
    Kind,
    Skip,
    SkipReason,
)
from tests.harness.inventories import DIRECTORY, file, identified, link

FILE, DIR, LINK = Kind
RUN = 3


def entry(path: tuple[bytes, ...], kind: Kind = FILE, *, source: int = 0, **more: Any) -> Entry:
    return Entry(source, path, kind, **{"size": 0, "mtime_ns": 0, "mode": 0o644, **more})


def found(*entries: Entry, run: int = RUN, after: Sequence[Entry] = ()) -> EntriesFound:
    """Columns of *entries*, impossible ones too; *after* were told before."""
    base = len(after)
    places = {entry.path: place for place, entry in enumerate((*after, *entries))}
    return EntriesFound(
        run=run,
        above=[
            base + place - places.get(entry.path[:-1], -9) if entry.path else 0
            for place, entry in enumerate(entries)
        ],
        names=[entry.path[-1] if entry.path else b"" for entry in entries],
        kinds=bytes(entry.kind for entry in entries),
        sizes=[entry.size for entry in entries],
        mtimes=[entry.mtime_ns for entry in entries],
        modes=b"".join(entry.mode.to_bytes(2, "big") for entry in entries),
        roots=[entry.source for entry in entries if not entry.path],
        targets=[entry.target for entry in entries if entry.kind is LINK],
    )


def skipped(*skips: Skip) -> EntriesSkipped:
    return EntriesSkipped(run=RUN, skips=list(skips))


def hashes(*results: Hash) -> HashesComputed:
    return HashesComputed(run=RUN, hashes=list(results))


def ended(entries: int, skips: int = 0) -> IdentificationEnded:
    return IdentificationEnded(run=RUN, entries=entries, skips=skips)


BEGUN = InventoryBegun(run=RUN)
HASHED = HashingEnded(run=RUN)
ROOT = entry((), DIR)
SAMPLES: dict[type, InventoryMessage] = {
    InventoryBegun: BEGUN,
    EntriesFound: found(),
    EntriesSkipped: skipped(),
    IdentificationEnded: ended(0),
    HashesComputed: hashes(),
    HashingEnded: HASHED,
    InventoryFailed: InventoryFailed(run=RUN, code="disk.gone"),
}


def begun(*messages: InventoryMessage, sources: int = 1) -> MemberInventory:
    inventory = MemberInventory(0, RUN, sources=sources)
    for message in (BEGUN, *messages):
        assert inventory.receive(message)
    return inventory


def test_an_inventory_holds_what_was_found() -> None:
    """Entries come back as they were sent, with their original bytes."""
    entries = [
        ROOT,
        entry((b"d",), DIR, mode=0o755),
        entry((b"d", b"\xff"), size=5, mtime_ns=-7),
        entry((b"d", b"l"), LINK, target=b"../x"),
    ]

    inventory = begun(found(*entries[:2]), found(*entries[2:], after=entries[:2]), ended(4))

    assert list(inventory.entries()) == entries
    assert inventory.path(2) == (b"d", b"\xff")
    assert [inventory.kind(number) for number in range(4)] == [DIR, DIR, FILE, LINK]
    assert [inventory.is_directory(number) for number in range(4)] == [True, True, False, False]
    assert inventory.target(3) == b"../x"
    assert inventory.target(2) == b""
    assert inventory.roots == {0: DIR}
    assert inventory.volume == 5
    assert len(inventory) == 4


def test_what_was_probed_is_kept() -> None:
    """Case and date resolution decide how all are compared."""
    inventory = MemberInventory(0, 1, sources=1)

    inventory.receive(InventoryBegun(run=1, case_insensitive=True, date_resolution_ns=2))

    assert (inventory.case_insensitive, inventory.date_resolution_ns) == (True, 2)


def test_skips_are_kept_and_counted_by_reason() -> None:
    """So that what the defaults leave out is never silent."""
    hidden = Skip(0, (b".a",), SkipReason.HIDDEN)
    broken = Skip(0, (b"d",), SkipReason.INACCESSIBLE)

    inventory = begun(found(ROOT), skipped(hidden, broken, hidden))

    assert inventory.skips == [hidden, broken, hidden]
    assert inventory.skipped == {SkipReason.HIDDEN: 2, SkipReason.INACCESSIBLE: 1}


def test_digests_belong_to_their_entry() -> None:
    """One that could not be read is known as such."""
    files = [entry((name,)) for name in (b"a", b"b", b"c", b"d")]
    inventory = begun(found(ROOT, *files), ended(5))

    inventory.receive(hashes(Hash(3, b"3" * 32), Hash(1, b"1" * 32)))
    inventory.receive(hashes(Hash(2, None, SkipReason.INACCESSIBLE), Hash(4, None)))
    inventory.receive(HASHED)

    assert [inventory.digest_of(n) for n in range(5)] == [None, b"1" * 32, None, b"3" * 32, None]
    assert inventory.unreadable == {2: SkipReason.INACCESSIBLE, 4: SkipReason.IO_ERROR}
    assert inventory.skipped[SkipReason.IO_ERROR] == 1


def test_only_a_whole_identification_is_known() -> None:
    """Half of an inventory would look like half of the files deleted."""
    inventory = begun(found(ROOT))
    before = inventory.known
    inventory.receive(ended(1))
    identified = inventory.known
    inventory.receive(HASHED)

    assert (before, identified, inventory.known) == (False, True, True)


def test_a_failure_may_come_at_any_time_before_the_end() -> None:
    """It names its code, and nothing of the member is known any more."""
    inventory = begun(found(ROOT), ended(1))

    inventory.receive(InventoryFailed(run=RUN, code="disk.gone"))

    assert inventory.failure == "disk.gone"
    assert not inventory.known


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", SAMPLES)
def test_a_message_out_of_order_is_refused(state: State, kind: type) -> None:
    """Whatever the table does not name."""
    inventory = MemberInventory(0, RUN, sources=1)
    inventory.state = state
    target = TRANSITIONS.get((state, kind))

    if target is None:
        with pytest.raises(RemoteProtocolError):
            inventory.receive(SAMPLES[kind])
    else:
        assert inventory.receive(SAMPLES[kind])
        assert inventory.state is target


def test_the_diagram_shows_every_state() -> None:
    """The drawing in the module's docstring is the table's."""
    from peer.inventory import entries

    assert entries.__doc__
    assert all(state.name in entries.__doc__ for state in State)


def test_a_late_message_of_an_earlier_run_is_dropped() -> None:
    """It was under way when that run was cancelled."""
    inventory = begun()

    taken = inventory.receive(found(ROOT, run=RUN - 1))

    assert not taken
    assert len(inventory) == 0


def test_a_run_that_has_not_begun_is_refused() -> None:
    """Only the leader's start begins a run."""
    inventory = begun()

    with pytest.raises(RemoteProtocolError, match="run"):
        inventory.receive(found(run=RUN + 1))


@pytest.mark.parametrize(
    "message",
    [
        found(entry((b"a",))),
        found(ROOT, entry((b"a", b"b"))),
        found(ROOT, entry((b"a",)), entry((b"a", b"b"))),
        found(entry((), FILE), entry((b"a",))),
        found(ROOT, ROOT),
        found(entry((), DIR, source=1)),
        found(ROOT, entry((b"..",))),
        found(ROOT, entry((b"a/b",))),
        skipped(Skip(0, (b"..",), SkipReason.HIDDEN)),
        skipped(Skip(1, (), SkipReason.HIDDEN)),
    ],
)
def test_an_entry_that_cannot_be_is_refused(message: InventoryMessage) -> None:
    """No parent, a parent that is a file, a second root, no such source, a path that leaves."""
    inventory = begun()

    with pytest.raises(RemoteProtocolError):
        inventory.receive(message)


@pytest.mark.parametrize(
    "change",
    [
        {"above": [0]},
        {"kinds": b"\x02"},
        {"kinds": b"\x02\x09"},
        {"sizes": [0]},
        {"mtimes": [0, 0, 0]},
        {"modes": bytes(3)},
        {"modes": b"\x01\xed\xff\xff"},
        {"names": [b"", b""]},
        {"names": [b"", b"a\0b"]},
        {"names": [b"a", b"b"]},
        {"names": [b"a", b""]},
        {"above": [0, 0]},
        {"above": [0, 2]},
        {"roots": []},
        {"roots": [0, 0]},
        {"targets": [b"t"]},
        {"kinds": b"\x02\x03"},
        {"above": [1, 0], "names": [b"a", b""]},
    ],
)
def test_columns_that_contradict_each_other_are_refused(change: dict[str, Any]) -> None:
    """Another length, a kind or mode there is not, a root without a source, a link to nothing."""
    message = msgspec.structs.replace(found(ROOT, entry((b"a",))), **change)

    with pytest.raises(RemoteProtocolError):
        begun().receive(message)


def test_a_path_that_grows_too_deep_or_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sends whole paths, so every directory counts what it is in."""
    monkeypatch.setattr(limits, "MAX_DEPTH", 2)
    monkeypatch.setattr(limits, "MAX_PATH", 10)
    deep = [ROOT, entry((b"a",), DIR), entry((b"a", b"b"), DIR), entry((b"a", b"b", b"c"))]
    long = [ROOT, entry((b"aaaa",), DIR), entry((b"aaaa", b"bbbbb"))]

    for entries in (deep, long):
        begun(found(*entries[:-1]))
        with pytest.raises(RemoteProtocolError, match="leads nowhere"):
            begun(found(*entries))


def test_what_a_directory_holds_is_known() -> None:
    """In the order found, roots of sources under no directory at all."""
    entries = [
        ROOT,
        entry((b"d",), DIR),
        entry((b"d", b"x")),
        entry((b"e",), DIR),
        entry((b"d", b"y")),
    ]
    within = begun(found(*entries), ended(5)).children()

    assert [list(within(n)) for n in (-1, 0, 1, 3)] == [[0], [1, 3], [2, 4], []]


def test_entries_are_found_by_their_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """In their source, however few directories' names are kept."""
    monkeypatch.setattr("peer.inventory.entries.MAX_LISTED", 1)
    entries = [ROOT, entry((b"d",), DIR), entry((b"d", b"x")), entry((b"e",))]
    inventory = begun(found(*entries), ended(4))

    assert [inventory.find(0, each.path) for each in entries] == [0, 1, 2, 3]
    assert inventory.find(0, (b"d", b"y")) is None
    assert inventory.find(0, (b"y", b"x")) is None
    assert inventory.find(0, (b"e", b"x")) is None
    assert inventory.find(1, ()) is None


def test_a_path_that_stands_twice_is_refused() -> None:
    """One place holds one thing."""
    inventory = begun(found(ROOT, entry((b"a",)), entry((b"b",)), entry((b"a",))))

    with pytest.raises(RemoteProtocolError, match="twice"):
        inventory.receive(ended(4))


def test_the_same_path_may_stand_in_two_sources() -> None:
    """Sources are trees of their own."""
    inventory = begun(
        *Teller(RUN).entries(
            [ROOT, entry((b"a",)), entry((), DIR, source=1), entry((b"a",), source=1)]
        ),
        ended(4),
        sources=2,
    )

    assert inventory.known


@pytest.mark.parametrize("message", [ended(2), ended(1, 1)])
def test_an_end_that_counts_otherwise_is_refused(message: IdentificationEnded) -> None:
    """A lost message must not look like a deleted folder."""
    inventory = begun(found(ROOT))

    with pytest.raises(RemoteProtocolError, match="missing"):
        inventory.receive(message)


@pytest.mark.parametrize(
    "results",
    [
        [Hash(9, b"x" * 32)],
        [Hash(0, b"x" * 32)],
        [Hash(1, b"x" * 32), Hash(1, b"y" * 32)],
        [Hash(1, None), Hash(1, b"y" * 32)],
    ],
)
def test_a_hash_that_cannot_be_is_refused(results: list[Hash]) -> None:
    """Of nothing, of a directory, a second time."""
    inventory = begun(found(ROOT, entry((b"a",))), ended(2))

    with pytest.raises(RemoteProtocolError):
        inventory.receive(hashes(*results))


def test_an_inventory_stops_at_its_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten million entries fill nobody's memory (T17)."""
    monkeypatch.setattr(limits, "MAX_ENTRIES", 2)
    many = begun(found(ROOT, entry((b"a",))))
    skips = begun(skipped(*[Skip(0, (b"a",), SkipReason.HIDDEN)] * 2))

    with pytest.raises(RemoteProtocolError, match="2 entries"):
        many.receive(found(entry((b"b",))))
    with pytest.raises(RemoteProtocolError, match="2 skips"):
        skips.receive(skipped(Skip(0, (b"b",), SkipReason.HIDDEN)))


def test_an_inventory_stops_at_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long names count, and so do targets."""
    monkeypatch.setattr(limits, "MAX_INVENTORY_BYTES", 200)
    inventory = begun(found(ROOT, entry((b"x" * 100,))))

    with pytest.raises(RemoteProtocolError, match="200 bytes"):
        inventory.receive(found(entry((b"l",), LINK, target=b"y" * 100)))


def test_trees_of_the_harness_are_inventories() -> None:
    """Parents appear by themselves; the tests above rely on it."""
    inventory = identified(1, {"a/b": file("x", at=2), "l": link("t"), "d": DIRECTORY}, {})

    assert [found.path for found in inventory.entries()] == [
        (),
        (b"a",),
        (b"a", b"b"),
        (b"d",),
        (b"l",),
        (),
    ]
