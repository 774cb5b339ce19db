import pytest

from peer.comparison.comparison import Comparison, Item
from peer.inventory.pairing import Block
from peer.plan.actions import (
    AnyAction,
    Copy,
    CopyContent,
    CopyDates,
    Create,
    Desk,
    Nothing,
    Remove,
)
from peer.plan.guards import Reason, Refusal
from peer.plan.steps import (
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from peer.session.session_settings import Metadata, SessionSettings
from protocol.messages.inventory import SkipReason
from tests.harness.inventories import DIRECTORY, SECOND, Thing, file, inventories_of, link

NOW = 77 * SECOND
DESK = Desk(reference_time_ns=NOW, tolerance_ns=0, modes=False)
MODES = Desk(reference_time_ns=NOW, tolerance_ns=0, modes=True)
WITH_MODES = SessionSettings(metadata=Metadata.DATES_AND_MODE)
OLD, NEW, OTHER = file("x", at=1), file("x", at=9), file("yy", at=5)
HIDDEN = SkipReason.HIDDEN

Found = Thing | SkipReason | None


def item_of(*things: Found, settings: SessionSettings | None = None) -> Item:
    settings = settings or SessionSettings()
    trees = [{} if thing is None else {"p": thing} for thing in things]
    return Comparison(inventories_of(*trees, settings=settings), settings).item(0)


def verdict(action: AnyAction, *things: Found, to: int = 1, desk: Desk = DESK) -> object:
    """The kinds of the steps, or the reason there are none."""
    item = item_of(*things, settings=WITH_MODES if desk.modes else None)
    result = action.compile(item, item.cell(to), desk)
    if isinstance(result, Refusal):
        return result.reason
    return [type(step) for step in result]


A, NEWEST = 0, None


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        ((OLD, None), [CopyFile]),
        ((OLD, OTHER), [CopyFile]),
        ((OLD, NEW), [SetDate]),
        ((OLD, OLD), []),
        ((link("t"), None), [CopyLink]),
        ((link("t"), link("u")), [CopyLink]),
        ((link("t"), link("t")), []),
        ((None, OLD), Reason.SOURCE_MISSING),
        ((HIDDEN, OLD), Reason.SOURCE_BLOCKED),
        ((OLD, HIDDEN), Reason.DESTINATION_BLOCKED),
        ((DIRECTORY, None, OLD), Reason.SOURCE_OTHER_KIND),
        ((OLD, DIRECTORY), Reason.TYPE_CLASH),
        ((OLD, link("t")), Reason.TYPE_CLASH),
    ],
)
def test_a_copy_makes_the_destination_like_its_origin(
    things: tuple[Found, ...], expected: object
) -> None:
    """With as little as it takes."""
    assert verdict(Copy(origin=A), *things) == expected


@pytest.mark.parametrize(
    ("things", "to", "expected"),
    [
        ((OLD, None), 1, [CopyFile]),
        ((OLD, OTHER), 0, [CopyFile]),
        ((OLD, OTHER), 1, []),
        ((OLD, NEW, OTHER), 0, [SetDate]),
        ((OLD, NEW, OTHER), 2, [CopyFile]),
        ((NEW, NEW, OLD), 1, []),
        ((file("1"), file("22"), None), 2, Reason.SEVERAL_CONTENTS),
        ((OLD, DIRECTORY, None), 2, Reason.TYPE_CLASH),
        ((DIRECTORY, HIDDEN, None), 2, Reason.SOURCE_OTHER_KIND),
    ],
)
def test_the_newest_is_whoever_holds_the_newest_date(
    things: tuple[Found, ...], to: int, expected: object
) -> None:
    """Unless two contents share it."""
    assert verdict(Copy(), *things, to=to) == expected


def test_the_newest_of_nothing_readable_is_refused() -> None:
    """It exists, but nobody can give it."""
    inventories = inventories_of({"p": OLD}, {})
    inventories[0].unreadable[1] = SkipReason.IO_ERROR
    item = Comparison(inventories, SessionSettings()).item(0)

    result = Copy().compile(item, item.cell(1), DESK)

    assert result == Refusal(Reason.SOURCE_BLOCKED, Block.IO_ERROR)


def test_dates_within_the_tolerance_are_both_the_newest() -> None:
    """Of different contents neither wins; of one, the first member gives it."""
    item = item_of(file("1", at=1), file("22", at=2), None)
    coarse = Desk(reference_time_ns=NOW, tolerance_ns=SECOND, modes=False)

    assert Copy().compile(item, item.cell(2), coarse) == Refusal(Reason.SEVERAL_CONTENTS)
    assert verdict(Copy(), file("1", at=1), file("22", at=2), None, to=2) == [CopyFile]


def test_a_member_is_not_copied_to_itself() -> None:
    """Named as origin and destination it is told; as the newest it is simply done."""
    assert verdict(Copy(origin=A, to=(0,)), OLD, NEW, to=0) == Reason.DESTINATION_IS_SOURCE
    assert verdict(Copy(), OLD, NEW, to=1) == []


def test_an_origin_that_takes_no_part_is_refused() -> None:
    """A rule may name a member that has left."""
    assert verdict(Copy(origin=9), OLD, None) == Reason.SOURCE_BLOCKED


def test_a_copy_says_everything_the_destination_needs() -> None:
    """What to expect, where to get it, what it becomes."""
    item = item_of(file("x", at=1, mode=0o600), OTHER)

    (step,) = Copy(origin=A).compile(item, item.cell(1), DESK)  # type: ignore[misc]

    assert isinstance(step, CopyFile)
    assert (step.member, step.source, step.path) == (1, 0, (b"p",))
    assert step.expected == item.cell(1).entry
    assert step.expected_digest == item.cell(1).digest
    assert step.holders == ((0, 0, (b"p",)),)
    assert step.origin == item.cell(0).entry
    assert step.digest == item.cell(0).digest
    assert step.mtime_ns == SECOND
    assert step.mode is None


def test_modes_are_carried_where_they_count() -> None:
    """With content and, alone, to equal content."""
    narrow = file("x", at=1, mode=0o600)
    item = item_of(narrow, None, settings=WITH_MODES)

    (step,) = Copy(origin=A).compile(item, item.cell(1), MODES)  # type: ignore[misc]

    assert isinstance(step, CopyFile)
    assert step.mode == 0o600
    assert verdict(Copy(origin=A), narrow, OLD, desk=MODES) == [SetMode]
    assert verdict(Copy(origin=A), narrow, NEW, desk=MODES) == [SetMode, SetDate]


def test_a_second_step_expects_what_the_first_leaves() -> None:
    """The mode is set before the date."""
    item = item_of(file("x", at=1, mode=0o600), NEW, settings=WITH_MODES)

    first, second = Copy(origin=A).compile(item, item.cell(1), MODES)  # type: ignore[misc]

    assert isinstance(first, SetMode)
    assert isinstance(second, SetDate)
    assert first.expected is not None
    assert second.expected is not None
    assert (first.expected.mode, second.expected.mode) == (0o644, 0o600)


def test_replacing_clears_what_is_in_the_way() -> None:
    """The cleared place is then expected to be empty."""
    item = item_of(OLD, DIRECTORY)

    removal, copy = Copy(origin=A, replacing=True).compile(item, item.cell(1), DESK)  # type: ignore[misc]

    assert isinstance(removal, DeleteDirectory)
    assert isinstance(copy, CopyFile)
    assert (copy.path, copy.expected, copy.expected_digest) == ((b"p",), None, None)
    assert verdict(Copy(origin=A, replacing=True), OLD, link("t")) == [Delete, CopyFile]
    assert verdict(Copy(origin=A, replacing=True), link("t"), OLD) == [Delete, CopyLink]
    assert verdict(Create(origin=A, replacing=True), DIRECTORY, OLD) == [Delete, CreateDirectory]


def test_a_root_is_neither_cleared_nor_deleted() -> None:
    """A source stays a source."""
    item = Comparison(inventories_of({"": OLD}, {"a": OLD}), SessionSettings()).item(0)
    single = Comparison(inventories_of({"": OLD}, {"": OTHER}), SessionSettings()).item(0)

    clearing = Copy(origin=A, replacing=True).compile(item, item.cell(1), DESK)
    deleting = Remove().compile(single, single.cell(1), DESK)

    assert clearing == Refusal(Reason.ROOT)
    assert deleting == Refusal(Reason.ROOT)


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        ((OLD, None), [CopyFile]),
        ((OLD, OTHER), [CopyFile]),
        ((OLD, NEW), []),
        ((OLD, DIRECTORY), Reason.TYPE_CLASH),
        ((link("t"), None), Reason.SOURCE_OTHER_KIND),
        ((OLD, HIDDEN), Reason.DESTINATION_BLOCKED),
    ],
)
def test_content_alone_gets_the_plans_date(things: tuple[Found, ...], expected: object) -> None:
    """The same instant on all members."""
    item = item_of(*things)

    result = CopyContent(origin=A).compile(item, item.cell(1), DESK)

    assert verdict(CopyContent(origin=A), *things) == expected
    assert isinstance(result, Refusal) or {
        step.mtime_ns for step in result if isinstance(step, CopyFile)
    } <= {NOW}


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        ((OLD, NEW), [SetDate]),
        ((OLD, OTHER), [SetDate]),
        ((OLD, OLD), []),
        ((OLD, None), Reason.DESTINATION_MISSING),
        ((OLD, DIRECTORY), Reason.TYPE_CLASH),
        ((OLD, HIDDEN), Reason.DESTINATION_BLOCKED),
    ],
)
def test_dates_alone_leave_the_content(things: tuple[Found, ...], expected: object) -> None:
    """Which must be there."""
    assert verdict(CopyDates(origin=A), *things) == expected


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        ((DIRECTORY, None), [CreateDirectory]),
        ((DIRECTORY, DIRECTORY), []),
        ((DIRECTORY, OLD), Reason.TYPE_CLASH),
        ((OLD, None, DIRECTORY), Reason.SOURCE_OTHER_KIND),
        ((DIRECTORY, HIDDEN), Reason.DESTINATION_BLOCKED),
    ],
)
def test_a_directory_is_created_where_it_lacks(things: tuple[Found, ...], expected: object) -> None:
    """From a member that has it."""
    assert verdict(Create(origin=A), *things) == expected


def test_a_new_directory_has_its_origins_mode_and_lets_its_owner_in() -> None:
    """Never wider than the source, but usable."""
    item = item_of(Thing(DIRECTORY.kind, mode=0o050), None)

    (step,) = Create().compile(item, item.cell(1), DESK)  # type: ignore[misc]

    assert isinstance(step, CreateDirectory)
    assert step.mode == 0o750


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        ((None, OLD), [Delete]),
        ((None, link("t")), [Delete]),
        ((None, DIRECTORY), [DeleteDirectory]),
        ((OLD, None), []),
        ((OLD, HIDDEN), Reason.DESTINATION_BLOCKED),
    ],
)
def test_a_removal_deletes_what_is_there(things: tuple[Found, ...], expected: object) -> None:
    """And nothing that is not known."""
    assert verdict(Remove(), *things) == expected


def test_nothing_does_nothing() -> None:
    """Whatever there is."""
    assert verdict(Nothing(), OLD, OTHER) == []


def test_destinations_are_named_or_all_the_others() -> None:
    """All never means the origin itself."""
    assert [Copy(origin=0).aims_at(member) for member in (0, 1)] == [False, True]
    assert [Copy(origin=0, to=(0,)).aims_at(member) for member in (0, 1)] == [True, False]
    assert [Copy().aims_at(member) for member in (0, 1)] == [True, True]
    assert [Remove(to=(1,)).aims_at(member) for member in (0, 1)] == [False, True]
    assert Remove().aims_at(0)


@pytest.mark.parametrize(
    ("action", "things", "to", "files", "directories"),
    [
        (Copy(origin=A), (OLD, None), 1, True, False),
        (Copy(origin=A), (None, OLD), 1, False, False),
        (Copy(origin=A), (HIDDEN, OLD), 1, True, False),
        (Copy(origin=A), (DIRECTORY, OLD), 1, False, False),
        (Copy(), (None, link("t")), 0, True, False),
        (Copy(), (DIRECTORY, None), 1, False, False),
        (CopyContent(), (OLD, None), 1, True, False),
        (CopyContent(), (link("t"), None), 1, False, False),
        (CopyDates(origin=A), (OLD, NEW), 1, True, False),
        (CopyDates(origin=A), (OLD, None), 1, False, False),
        (Create(origin=A), (DIRECTORY, OLD), 1, False, True),
        (Create(), (OLD, None), 1, False, False),
        (Remove(), (OLD, DIRECTORY), 0, True, False),
        (Remove(), (OLD, DIRECTORY), 1, False, True),
        (Remove(), (OLD, None), 1, False, False),
        (Nothing(), (OLD, None), 1, True, False),
        (Nothing(), (DIRECTORY, OLD), 1, True, True),
    ],
)
def test_a_rule_means_items_its_action_can_be_about(
    action: AnyAction, things: tuple[Found, ...], to: int, files: bool, directories: bool
) -> None:
    """By what the origin has or, to delete, the destination."""
    item = item_of(*things)

    assert action.covers(item, item.cell(to), files=True) is files
    assert action.covers(item, item.cell(to), files=False) is directories
