import random

import pytest

from peer.comparison.comparison import Comparison, Item
from peer.comparison.matching import Status
from peer.inventory.entries import MemberInventory
from peer.inventory.pairing import Block
from peer.session.session_settings import Case, DataType, SessionSettings
from protocol.messages.inventory import InventoryFailed, Kind, SkipReason
from tests.harness.inventories import (
    DIRECTORY,
    Tree,
    file,
    hashed,
    identified,
    inventories_of,
    link,
    path_of,
)

X, Y, NEW_X = file("x", at=1), file("y", at=2), file("x", at=9)
SETTINGS = SessionSettings()


def compare(*trees: Tree, settings: SessionSettings = SETTINGS) -> Comparison:
    return Comparison(inventories_of(*trees, settings=settings), settings)


def found(comparison: Comparison, path: str, line: int = 0) -> Item:
    item = comparison.find(line, path_of(path))
    assert item is not None
    return item


def test_every_member_sees_one_row_per_item() -> None:
    """In one order, with what each member holds."""
    comparison = compare({"d/a": X, "b": Y}, {"d/a": X, "c": Y})

    rows = [(item.key, item.letters(), item.status) for item in comparison]

    assert rows == [
        (("b",), "A = · B –", Status.MISSING),
        (("c",), "A – · B =", Status.MISSING),
        (("d",), "A B =", Status.EQUAL),
        (("d", "a"), "A B =", Status.EQUAL),
    ]
    assert len(comparison) == 4
    assert [comparison.status(n) for n in range(4)] == [item.status for item in comparison]
    assert [len(item.present) for item in comparison] == [1, 1, 2, 2]


def test_letters_show_who_holds_what() -> None:
    """Equal, other date, other content, nothing, blocked; no source says nothing."""
    trees: list[list[Tree]] = [
        [{}, {"x": X}],
        [{}, {"x": NEW_X}],
        [{}, {"x": Y}],
        [{}, {}],
        [{}, {"x": SkipReason.HIDDEN}],
    ]
    inventories = hashed([identified(n, *t) for n, t in enumerate(trees)], trees, SETTINGS)
    short = hashed([identified(n, *t) for n, t in enumerate([*trees[:2], [{}]])],
                   [*trees[:2], [{}]], SETTINGS)  # fmt: skip

    assert found(Comparison(inventories, SETTINGS), "x", 1).letters() == (
        "A = · B ≈ · C ≠ · D – · E !"
    )
    assert found(Comparison(short, SETTINGS), "x", 1).letters() == "A = · B ≈"


def test_an_item_held_by_nobody_who_can_be_read_shows_what_is_blocked() -> None:
    """The first content is then nobody's."""
    comparison = Comparison(
        hashed(
            [identified(0, {"d": DIRECTORY}, unreadable=["d"]), identified(1, {})],
            [[{}], [{}]],
            SETTINGS,
        ),
        SETTINGS,
    )

    assert found(comparison, "d").letters() == "A ! · B –"


def test_a_cell_knows_its_entry() -> None:
    """Everything the detail panel shows."""
    comparison = compare({"x": X, "l": link("t")}, {"x": Y})
    left, right = found(comparison, "x").cells
    nothing = found(comparison, "l").cell(1)

    assert (left.member, left.kind, left.size, left.mtime_ns) == (0, Kind.FILE, 1, 1_000_000_000)
    assert left.path == (b"x",)
    assert left.entry is not None
    assert left.entry.path == (b"x",)
    assert left.digest != right.digest
    assert left.digest is not None
    assert left.present
    assert not left.missing
    assert (nothing.kind, nothing.entry, nothing.digest) == (None, None, None)
    assert nothing.missing
    assert not nothing.present


def test_blocked_is_neither_present_nor_missing() -> None:
    """Nothing may be read, written or deleted there."""
    comparison = compare({"d/x": X}, {"d": SkipReason.LINK})
    item = found(comparison, "d/x")

    assert not item.cell(1).present
    assert not item.cell(1).missing
    assert [cell.member for cell in item.blocked] == [1]
    assert item.cell(1).block is Block.LINK


def test_an_unknown_member_has_no_cell() -> None:
    """Asking for it is a bug."""
    item = found(compare({"x": X}, {}), "x")

    with pytest.raises(KeyError):
        item.cell(7)


def test_an_item_is_found_by_any_spelling() -> None:
    """Whoever's bytes name it; what is not there is not found."""
    settings = SessionSettings(case=Case.INSENSITIVE)
    comparison = compare({"Été/A": X}, {"été/a": X}, settings=settings)

    item = found(comparison, "ÉTÉ/a")

    assert item.path == path_of("Été/A")
    assert comparison.find(0, (b"zzz",)) is None
    assert comparison.find(0, (b"a",)) is None
    assert comparison.find(1, path_of("été/a")) is None


def test_names_that_differ_in_case_are_linked() -> None:
    """Both rows are marked, and only those."""
    comparison = compare({"Name": X, "other": X}, {"name": X})

    assert [item.twin for item in comparison] == [True, True, False]
    assert comparison.summary.name_clashes == 2


def test_directories_are_no_rows_where_only_files_are_compared() -> None:
    """They are known all the same: a file's parents must be found."""
    settings = SessionSettings(data_type=DataType.FILES)
    comparison = compare({"d/x": X}, {}, settings=settings)

    assert [item.key for item in comparison.rows()] == [("d", "x")]
    assert not found(comparison, "d").row
    assert comparison.summary.items == 1


def test_the_summary_counts_what_people_ask_first() -> None:
    """Facets: only on A, missing, blocked, unhashed."""
    comparison = compare(
        {"same": X, "only": X, "diff": X, "h": X, "d": X},
        {"same": X, "diff": Y, "h": SkipReason.HIDDEN, "d": NEW_X},
    )
    summary = comparison.summary

    assert summary.items == 5
    assert dict(summary.statuses) == {
        Status.EQUAL: 1,
        Status.MISSING: 1,
        Status.DIFFERENT: 1,
        Status.DATES_DIFFER: 1,
        Status.UNKNOWN: 1,
    }
    assert dict(summary.only) == {0: 1}
    assert dict(summary.missing) == {1: 1}
    assert summary.blocked[1] == 1
    assert summary.unhashed == 1
    assert not summary.equal
    assert compare({"x": X}, {"x": X}).summary.equal


def test_a_member_without_a_source_neither_misses_nor_blocks() -> None:
    """Only on A stays so, whoever has no second source."""
    trees: list[list[Tree]] = [[{}, {"x": X}], [{}, {}], [{}]]
    inventories = hashed([identified(n, *t) for n, t in enumerate(trees)], trees, SETTINGS)

    summary = Comparison(inventories, SETTINGS).summary

    assert dict(summary.only) == {0: 1}
    assert dict(summary.missing) == {1: 1}
    assert not +summary.blocked


def test_a_failed_member_and_one_continued_without_are_unknown() -> None:
    """No item looks missing because of them."""
    failed = MemberInventory(2, 1, sources=1)
    failed.receive(InventoryFailed(run=1, code="gone"))
    inventories = [*inventories_of({"x": X}, {"x": X}), failed]

    comparison = Comparison(inventories, SETTINGS, without=[1])

    item = found(comparison, "x")
    assert [cell.block for cell in item.cells] == [Block.NONE, Block.UNKNOWN, Block.UNKNOWN]
    assert comparison.without == {1}


def test_the_order_of_the_inventories_does_not_matter() -> None:
    """Members are told by their index."""
    inventories = inventories_of({"x": X}, {"y": Y}, {"z": X})
    shuffled = list(inventories)
    random.Random(3).shuffle(shuffled)

    assert [item.letters() for item in Comparison(shuffled, SETTINGS)] == [
        item.letters() for item in Comparison(inventories, SETTINGS)
    ]


def test_roots_are_known_by_line() -> None:
    """A folder, a file, or no source at all."""
    trees: list[list[Tree]] = [[{}, {"": X}], [{}]]
    inventories = hashed([identified(n, *t) for n, t in enumerate(trees)], trees, SETTINGS)
    comparison = Comparison(inventories, SETTINGS)

    assert comparison.root(0, 0) is Kind.DIRECTORY
    assert comparison.root(1, 0) is Kind.FILE
    assert comparison.root(1, 1) is None


def test_items_can_be_read_backwards() -> None:
    """Children before their directory, for those who ask what a directory holds."""
    comparison = compare({"d/x": X}, {"d": DIRECTORY})

    assert list(comparison.backwards(1)) == [(1, 0, ("d", "x"), False), (0, 0, ("d",), True)]


def test_hashed_entries_are_those_that_may_be_read() -> None:
    """Not what is unread, and not what is blocked."""
    trees: list[Tree] = [{"x": X, "y": X, "d/z": X}, {"x": Y, "y": X}]
    comparison = Comparison(
        hashed(
            [identified(0, trees[0], unreadable=["d"]), identified(1, trees[1])],
            [[tree] for tree in trees],
            SETTINGS,
        ),
        SETTINGS,
    )

    entries = [comparison.inventories[0].path(n) for _, n in comparison.hashed_entries(0)]

    assert entries == [(b"x",)]


def test_what_is_below_one_of_two_names_that_clash_is_found() -> None:
    """The first is a file, the second a directory: its entries have keys all the same."""
    insensitive = SessionSettings(case=Case.INSENSITIVE)
    trees = [{"A": file("x"), "a/b/c": file("y"), "d": file("z")}, {"a/b": DIRECTORY}]
    comparison = Comparison(inventories_of(*trees, settings=insensitive), insensitive)

    keys = [item.key for item in comparison]

    assert keys == [("a",), ("a", "b"), ("a", "b", "c"), ("d",)]
    for key in keys:
        found = comparison.find_key(0, key)
        assert found is not None
        assert found.key == key
    assert list(comparison.texts.containing("a/b", whole=True)) == [0, 1, 1, 0]


def test_the_largest_size_and_newest_date_are_columns() -> None:
    """Of whoever has something there; below everything where nobody may look."""
    left = {"a": file("xxx", at=1), "b": file("x", at=9), "h": file("x")}
    right = {"a": file("x", at=5), "h": SkipReason.HIDDEN, "c": DIRECTORY}
    comparison = Comparison(inventories_of(left, right), SessionSettings())
    keys = [item.key[0] for item in comparison]

    sizes = dict(zip(keys, comparison.largest(dates=False), strict=True))
    dates = dict(zip(keys, comparison.largest(dates=True), strict=True))

    assert sizes == {"a": 3, "b": 1, "c": 0, "h": 1}
    assert (dates["a"], dates["b"]) == (5_000_000_000, 9_000_000_000)
