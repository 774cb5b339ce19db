from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from peer.comparison.comparison import Comparison, Item
from peer.inventory.pairing import Block
from peer.plan.guards import (
    Brake,
    BrakeKind,
    Reason,
    Refusal,
    brakes,
    checked_origin,
    of_destination,
    of_new_name,
)
from peer.plan.steps import AnyStep, CopyFile, CopyLink, Delete, SetDate
from peer.session.session_settings import Case, SessionSettings
from protocol.messages.inventory import Entry, Kind, SkipReason
from tests.harness.inventories import (
    DIRECTORY,
    Tree,
    file,
    hashed,
    identified,
    inventories_of,
    link,
)
from tests.peer.transfer.plans import copy

DEFAULT = SessionSettings()
X = file("x")


def item_of(*trees: Tree) -> Item:
    return Comparison(inventories_of(*trees), DEFAULT).item(0)


def test_a_blocked_destination_is_refused_with_its_block() -> None:
    """Skipped, unreadable or unknown: nothing happens there."""
    item = item_of({"a": X}, {"a": SkipReason.LINK}, {})

    assert of_destination(item.cell(0)) is None
    assert of_destination(item.cell(1)) == Refusal(Reason.DESTINATION_BLOCKED, Block.LINK)
    assert of_destination(item.cell(2)) is None


def test_a_member_without_a_source_is_no_destination() -> None:
    """It has nowhere to put it."""
    trees: list[list[Tree]] = [[{}, {"a": X}], [{}]]
    inventories = hashed([identified(n, *t) for n, t in enumerate(trees)], trees, DEFAULT)
    item = Comparison(inventories, DEFAULT).item(0)

    assert of_destination(item.cell(1)) == Refusal(Reason.NO_SOURCE)


def test_an_origin_must_have_what_is_asked_for() -> None:
    """Blocked, missing, of another kind, no member at all."""
    item = item_of({"a": X}, {"a": SkipReason.HIDDEN}, {}, {"a": DIRECTORY})
    files = (Kind.FILE,)

    assert checked_origin(item.cell(0), files) is item.cells[0]
    assert checked_origin(item.cell(1), files) == Refusal(Reason.SOURCE_BLOCKED, Block.HIDDEN)
    assert checked_origin(item.cell(2), files) == Refusal(Reason.SOURCE_MISSING)
    assert checked_origin(item.cell(3), files) == Refusal(Reason.SOURCE_OTHER_KIND)
    assert checked_origin(None, files) == Refusal(Reason.SOURCE_BLOCKED, Block.UNKNOWN)


@pytest.mark.parametrize(
    ("case", "insensitive_disk", "refused"),
    [
        (Case.SENSITIVE, True, True),
        (Case.SENSITIVE, False, False),
        (Case.AUTOMATIC, False, False),
    ],
)
def test_twins_cannot_both_exist_where_case_is_ignored(
    case: Case, insensitive_disk: bool, refused: bool
) -> None:
    """Writing the second would hit the first."""
    settings = SessionSettings(case=case)
    trees: list[Tree] = [{"Name": X}, {"name": X}]
    inventories = hashed(
        [identified(0, trees[0]), identified(1, trees[1], case_insensitive=insensitive_disk)],
        [[tree] for tree in trees],
        settings,
    )
    comparison = Comparison(inventories, settings)
    item = comparison.item(0)

    refusal = of_new_name(comparison, item, item.cell(1), (b"Name",))

    assert refusal == (Refusal(Reason.NAME_CLASH) if refused else None)


def test_a_path_out_of_bounds_cannot_be_written() -> None:
    """Too long, or a name that is none."""
    comparison = Comparison(inventories_of({"a": X}, {}), DEFAULT)
    item = comparison.item(0)

    refusal = of_new_name(comparison, item, item.cell(1), (b"x" * 256,))

    assert refusal == Refusal(Reason.NAME_IMPOSSIBLE)


# --- brakes -----------------------------------------------------------------------------


def entry(number: int) -> Entry:
    return Entry(0, (b"%d" % number,), Kind.FILE, 1, 0, 0o644)


def deletions(count: int, source: int = 0) -> list[AnyStep]:
    return [
        Delete(member=1, source=source, path=(b"%d" % n,), expected=entry(n)) for n in range(count)
    ]


def copies(count: int, *, replacing: bool) -> list[AnyStep]:
    return [
        CopyFile(
            member=1,
            source=0,
            path=(b"%d" % n,),
            expected=entry(n) if replacing else None,
            holders=((0, 0, (b"%d" % n,)),),
            origin=entry(n),
            digest=None,
            mtime_ns=0,
        )
        for n in range(count)
    ]


def tripped(steps: Sequence[AnyStep], *held: int) -> list[Brake]:
    """The brakes of member 1, whose sources hold *held* files each."""
    sources = [{str(n): X for n in range(count)} | {"d": DIRECTORY} for count in held]
    inventories = [identified(0, {}), identified(1, *sources)]
    return list(brakes(Comparison(inventories, DEFAULT), steps))


@pytest.mark.parametrize(
    ("count", "held", "trips"),
    [(20, 30, False), (21, 42, False), (21, 41, True), (30, 100, False), (60, 100, True)],
)
def test_deleting_more_than_half_and_more_than_a_few_asks(
    count: int, held: int, trips: bool
) -> None:
    """Both must be true; directories do not count."""
    expected = [Brake(1, BrakeKind.DELETIONS, 0, count, held)] if trips else []

    assert tripped(deletions(count), held) == expected


def test_deleting_many_asks_whatever_the_share() -> None:
    """Of all sources together."""
    few = tripped([*deletions(500), *deletions(500, 1)], 1_100, 1_100)
    many = tripped([*deletions(500), *deletions(501, 1)], 1_100, 1_100)

    assert few == []
    assert many == [Brake(1, BrakeKind.DELETIONS, None, 1_001, 2_200)]


def test_emptying_a_root_asks() -> None:
    """Unless something new comes; a root without files cannot be emptied."""
    assert tripped(deletions(3), 3, 0) == [Brake(1, BrakeKind.EMPTIED, 0, 3, 3)]
    assert tripped([*deletions(3), *copies(1, replacing=False)], 3) == []
    assert tripped([], 0) == []


@pytest.mark.parametrize(
    ("count", "held", "trips"),
    [(200, 210, False), (201, 210, True), (240, 300, False), (241, 300, True)],
)
def test_replacing_most_of_a_root_asks(count: int, held: int, trips: bool) -> None:
    """More than four fifths and more than two hundred files."""
    expected = [Brake(1, BrakeKind.REPLACEMENTS, 0, count, held)] if trips else []

    assert tripped(copies(count, replacing=True), held) == expected


def test_links_count_as_files_and_dates_as_nothing() -> None:
    """A date is not a loss."""
    inventories = [identified(0, {}), identified(1, {"l": link("t")})]
    comparison = Comparison(inventories, DEFAULT)
    at = {"member": 1, "source": 0, "path": (b"l",)}

    assert brakes(comparison, [Delete(**at)]) == (Brake(1, BrakeKind.EMPTIED, 0, 1, 1),)
    assert brakes(comparison, [SetDate(**at, mtime_ns=1)]) == ()
    assert brakes(comparison, [CopyLink(**at, target=b"", mtime_ns=0)]) == ()


def test_a_brake_says_what_refusing_it_drops() -> None:
    """Deletions, or replacements."""
    assert [kind.deletes for kind in BrakeKind] == [True, False, True]


def test_what_only_moves_is_not_counted_as_deleted() -> None:
    """A folder that was renamed asks nobody, however much it holds."""
    files = {f"d/{n}": file(str(n)) for n in range(30)}
    comparison = Comparison([identified(0, {}), identified(1, files)], DEFAULT)
    digests = [bytes([n]) * 32 for n in range(30)]
    places = [(b"d", str(n).encode()) for n in range(30)]
    gone = [
        Delete(member=1, source=0, path=place, expected_digest=digest)
        for place, digest in zip(places, digests, strict=True)
    ]
    moved = [
        replace(copy(f"e/{n}", member=1, digest=digests[n]), reuse=(0, places[n]))
        for n in range(30)
    ]

    assert [brake.count for brake in brakes(comparison, [*moved[:2], *gone])] == [28]
    assert brakes(comparison, [*moved, *gone]) == ()
