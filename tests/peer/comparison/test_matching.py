import pytest

from peer.comparison.matching import NO_GROUP, Matched, Matcher, Status
from peer.inventory.pairing import Block, Merge
from peer.session.session_settings import Analysis, SessionSettings
from protocol.messages.inventory import SkipReason
from tests.harness.inventories import (
    DIRECTORY,
    SECOND,
    Thing,
    file,
    hashed,
    identified,
    inventories_of,
    link,
)

SETTINGS = SessionSettings()


def match(
    *things: Thing | SkipReason | None,
    tolerance: int = 0,
    modes: bool = False,
    unreadable: tuple[int, ...] = (),
    settings: SessionSettings = SETTINGS,
) -> Matched:
    """What is found at one place where each member holds one of *things*."""
    trees = [{} if thing is None else {"x": thing} for thing in things]
    inventories = hashed(
        [identified(member, tree) for member, tree in enumerate(trees)],
        [[tree] for tree in trees],
        settings,
        [(member, "x") for member in unreadable],
    )
    (place,) = Merge(inventories, settings).places()
    return Matcher(inventories, tolerance=tolerance, modes=modes).match(place)


X1, X2, Y1, Y2 = file("x", at=1), file("x", at=2), file("y", at=1), file("y", at=2)


@pytest.mark.parametrize(
    ("things", "groups", "status"),
    [
        ([X1, X1], (0, 0), Status.EQUAL),
        ([X1, X2], (0, 1), Status.DATES_DIFFER),
        ([X2, X1, X2], (1, 0, 1), Status.DATES_DIFFER),
        ([X1, Y2], (0, 1), Status.DIFFERENT),
        ([X1, Y2, X1], (0, 1, 0), Status.DIFFERENT),
        ([X1, file("longer", at=1)], (0, 1), Status.DIFFERENT),
        ([X1, None], (0, NO_GROUP), Status.MISSING),
        ([X1, X1, None], (0, 0, NO_GROUP), Status.MISSING),
        ([X1, Y2, None], (0, 1, NO_GROUP), Status.DIFFERENT),
        ([DIRECTORY, DIRECTORY], (0, 0), Status.EQUAL),
        ([DIRECTORY, None], (0, NO_GROUP), Status.MISSING),
        ([DIRECTORY, X1], (0, 1), Status.TYPE_CLASH),
        ([link("a"), link("a")], (0, 0), Status.EQUAL),
        ([link("a"), link("b")], (0, 1), Status.DIFFERENT),
        ([link("x"), X1], (0, 1), Status.TYPE_CLASH),
        ([X1, SkipReason.HIDDEN], (0, NO_GROUP), Status.UNKNOWN),
        ([X1, X1, SkipReason.HIDDEN], (0, 0, NO_GROUP), Status.UNKNOWN),
        ([X1, None, SkipReason.HIDDEN], (0, NO_GROUP, NO_GROUP), Status.MISSING),
        ([X1, Y2, SkipReason.HIDDEN], (0, 1, NO_GROUP), Status.DIFFERENT),
    ],
)
def test_entries_of_one_place_are_told_apart(
    things: list[Thing | SkipReason | None], groups: tuple[int, ...], status: Status
) -> None:
    """One table of what is found and what that makes of the item."""
    matched = match(*things)

    assert matched.groups == groups
    assert matched.status is status


def test_equal_content_with_other_dates_is_one_content() -> None:
    """It needs no bytes."""
    matched = match(X1, X2, Y1)

    assert matched.contents == (0, 0, 1)
    assert matched.groups == (0, 1, 2)


def test_same_size_and_date_is_believed_and_said_to_be() -> None:
    """Smart analysis did not read it; checksum analysis did."""
    believed = match(X1, Y1)
    proven = match(X1, X1, settings=SessionSettings(analysis=Analysis.CHECKSUM))

    assert (believed.status, believed.hashed) == (Status.EQUAL, False)
    assert (proven.status, proven.hashed) == (Status.EQUAL, True)


def test_empty_files_need_no_reading() -> None:
    """There is nothing in them to tell them apart."""
    inventories = inventories_of({"x": file("", at=1)}, {"x": file("", at=1)})
    (place,) = Merge(inventories, SETTINGS).places()

    matched = Matcher(inventories, tolerance=0, modes=False).match(place)

    assert (matched.status, matched.hashed) == (Status.EQUAL, True)


def test_what_was_not_read_and_has_another_date_is_different() -> None:
    """A member that left out a hash must not make two files look alike."""
    inventories = [identified(0, {"x": X1}), identified(1, {"x": Y2})]
    (place,) = Merge(inventories, SETTINGS).places()

    matched = Matcher(inventories, tolerance=0, modes=False).match(place)

    assert matched.status is Status.DIFFERENT


def test_dates_within_the_tolerance_are_one_group_counted_from_its_oldest() -> None:
    """A chain of small differences does not make the ends equal."""
    chain = [file("x", at=at) for at in (3, 0, 1.5)]

    matched = match(*chain, tolerance=2 * SECOND)

    assert matched.groups == (1, 0, 0)


def test_modes_tell_files_apart_where_they_count() -> None:
    """Not directories: a new one never gets wider permissions anyway."""
    narrow, wide = file("x", at=1, mode=0o600), file("x", at=1, mode=0o644)

    assert match(narrow, wide).status is Status.EQUAL
    assert match(narrow, wide, modes=True).status is Status.DATES_DIFFER
    assert match(DIRECTORY, Thing(DIRECTORY.kind, mode=0o700), modes=True).status is Status.EQUAL


def test_content_that_cannot_be_read_is_neither_equal_nor_missing() -> None:
    """It stays visible and blocks its place."""
    matched = match(X1, Y2, unreadable=(1,))
    alone = match(X1, None, Y2, unreadable=(0, 2))

    assert matched.blocks == (Block.NONE, Block.IO_ERROR)
    assert matched.groups == (0, NO_GROUP)
    assert matched.status is Status.UNKNOWN
    assert alone.status is Status.UNKNOWN


def test_a_member_without_a_source_here_takes_no_part() -> None:
    """What it cannot have is not missing there."""
    trees = [[{}, {"x": X1}], [{}, {"x": X1}], [{}]]
    inventories = hashed(
        [identified(member, *sources) for member, sources in enumerate(trees)], trees, SETTINGS
    )
    (place,) = Merge(inventories, SETTINGS).places()

    matched = Matcher(inventories, tolerance=0, modes=False).match(place)

    assert matched.status is Status.EQUAL
