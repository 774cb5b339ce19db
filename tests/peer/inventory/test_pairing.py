import pytest

from peer.inventory.entries import MemberInventory
from peer.inventory.pairing import ABSENT, Block, Merge, Place, insensitive, tolerance_ns
from peer.session.session_settings import Case, Paired, Pairing, SessionSettings
from protocol.messages.inventory import InventoryFailed, SkipReason
from tests.harness.inventories import DIRECTORY, file, identified

AUTOMATIC = SessionSettings()
INSENSITIVE = SessionSettings(case=Case.INSENSITIVE)
F = file("x")


def failed(member: int) -> MemberInventory:
    inventory = MemberInventory(member, 1, sources=1)
    inventory.receive(InventoryFailed(run=1, code="gone"))
    return inventory


def places(
    *inventories: MemberInventory,
    settings: SessionSettings = AUTOMATIC,
    without: tuple[int, ...] = (),
) -> list[Place]:
    return list(Merge(inventories, settings, without=without).places())


def rows(*inventories: MemberInventory, settings: SessionSettings = AUTOMATIC) -> dict[str, str]:
    """By path: a letter per member, x for an entry, . for none, ! for a block."""
    drawn = {}
    for place in places(*inventories, settings=settings):
        cells = [
            "!" if block else "." if number == ABSENT else "x"
            for number, block in zip(place.numbers, place.blocks, strict=True)
        ]
        drawn["/".join(map(str, (place.line, *place.key)))] = "".join(cells)
    return drawn


def test_entries_with_one_path_are_one_place() -> None:
    """Whatever their kind; parents come before children, roots are no rows."""
    left = identified(0, {"a/x": F, "b": F, "c": F})
    right = identified(1, {"a/y": F, "b": DIRECTORY})

    drawn = rows(left, right)

    assert drawn == {"0/a": "xx", "0/a/x": "x.", "0/a/y": ".x", "0/b": "xx", "0/c": "x."}
    assert list(drawn) == sorted(drawn)


def test_sources_pair_in_lines() -> None:
    """A1 with B1, A2 with B2; a member without a second source is blocked there."""
    left = identified(0, {"a": F}, {"z": F})
    right = identified(1, {"z": F})

    drawn = places(left, right)

    assert rows(left, right) == {"0/a": "x.", "0/z": ".x", "1/z": "x!"}
    assert drawn[-1].blocks == (Block.NONE, Block.NO_SOURCE)


def test_single_files_pair_as_the_root_of_their_line() -> None:
    """Their names may differ; a file and a folder in one line show as one place."""
    alike = places(identified(0, {"": F}), identified(1, {"": F}))
    clash = places(identified(0, {"": F}), identified(1, {"a": F}))

    assert [(place.key, place.numbers) for place in alike] == [((), (0, 0))]
    assert [(place.key, place.numbers) for place in clash] == [((), (0, 0)), (("a",), (ABSENT, 1))]
    assert [place.blocks[0] for place in clash] == [Block.NONE, Block.NO_SOURCE]


@pytest.mark.parametrize("reason", SkipReason)
def test_skipped_is_never_missing(reason: SkipReason) -> None:
    """At the place and below it, on that member only, with its reason."""
    left = identified(0, {"d/a": F, "d/e/b": F, "da": F})
    right = identified(1, {"d": reason, "da": F})

    drawn = places(left, right)

    assert rows(left, right) == {
        "0/d": "x!", "0/d/a": "x!", "0/d/e": "x!", "0/d/e/b": "x!", "0/da": "xx",
    }  # fmt: skip
    assert drawn[0].blocks == (Block.NONE, Block[reason.name])


def test_an_unreadable_directory_blocks_everything_below_it() -> None:
    """Nothing in it looks deleted, though the directory itself is an entry."""
    left = identified(0, {"d/a": F})
    right = identified(1, {"d": DIRECTORY}, unreadable=["d"])

    drawn = places(left, right)

    assert rows(left, right) == {"0/d": "x!", "0/d/a": "x!"}
    assert drawn[0].numbers == (1, 1)


def test_a_source_that_could_not_be_walked_is_unknown_not_empty() -> None:
    """Neither a root nor a skip came: the disk may not be mounted."""
    left = identified(0, {"a": F})
    right = identified(1, {"": SkipReason.VANISHED})

    drawn = places(left, right)

    assert [place.blocks for place in drawn] == [(Block.NONE, Block.INACCESSIBLE)]


def test_a_failed_member_is_unknown_everywhere() -> None:
    """One member's failure does not look like an empty folder."""
    drawn = places(identified(0, {"a": F}), failed(1))

    assert [place.blocks for place in drawn] == [(Block.NONE, Block.UNKNOWN)]


def test_a_member_continued_without_is_unknown_everywhere() -> None:
    """Its entries make no rows either."""
    drawn = places(identified(0, {"a": F}), identified(1, {"b": F}), without=(1,))

    assert [(place.key, place.blocks[1]) for place in drawn] == [(("a",), Block.UNKNOWN)]


def test_case_is_ignored_when_a_file_system_ignores_it() -> None:
    """Automatic goes by what was probed; the settings may say otherwise."""
    left = identified(0, {"Dir/A": F})
    right = identified(1, {"dir/a": F})
    probed = identified(1, {"dir/a": F}, case_insensitive=True)

    assert rows(left, right) == {"0/Dir": "x.", "0/dir": ".x", "0/Dir/A": "x.", "0/dir/a": ".x"}
    assert rows(left, probed) == {"0/dir": "xx", "0/dir/a": "xx"}
    assert rows(left, right, settings=INSENSITIVE) == {"0/dir": "xx", "0/dir/a": "xx"}
    assert not insensitive(SessionSettings(case=Case.SENSITIVE), [left, probed])
    assert not insensitive(AUTOMATIC, [left, failed(1)])


def test_names_that_differ_in_case_stand_side_by_side() -> None:
    """So that whoever reads the stream can link them; each says so of itself."""
    drawn = places(identified(0, {"B": F, "a": F, "c": F}), identified(1, {"b": F, "A": F}))

    assert [place.key for place in drawn] == [("A",), ("a",), ("B",), ("b",), ("c",)]
    assert [place.twin for place in drawn] == [True, True, True, True, False]


def test_two_names_of_one_member_that_are_the_same_block_each_other() -> None:
    """There is no telling which is meant; what lies below is as unclear."""
    left = identified(0, {"Dir/x": F, "dir/y": F, "e": F})
    right = identified(1, {"dir/x": F})

    drawn = places(left, right, settings=INSENSITIVE)

    assert rows(left, right, settings=INSENSITIVE) == {
        "0/dir": "!x", "0/dir/x": "!x", "0/dir/y": "!.", "0/e": "x.",
    }  # fmt: skip
    assert drawn[1].blocks[0] is Block.NAME_CLASH


def test_a_skip_blocks_only_the_name_it_stands_at() -> None:
    """Where case matters, a hidden folder says nothing about its lower-case twin."""
    left = identified(0, {"Dir": SkipReason.PATTERN, "dir/x": F})
    right = identified(1, {"Dir/x": F})

    assert rows(left, right) == {"0/Dir": "!x", "0/Dir/x": "!x", "0/dir": "x.", "0/dir/x": "x."}


def test_directories_that_hold_something_skipped_are_occupied() -> None:
    """At any depth; they must not be deleted."""
    tree = {"a/b/.h": SkipReason.HIDDEN, "a/b/.i": SkipReason.HIDDEN, "c": DIRECTORY}
    merge = Merge([identified(0, tree), identified(1, {})], AUTOMATIC)

    list(merge.places())

    assert merge.occupied == ({(0, ("a",)), (0, ("a", "b"))}, set())


MERGED = SessionSettings(pairing=Pairing.MERGED)


def test_merged_sources_are_one_tree() -> None:
    """Whichever source a member has a directory in; a file in two of them nobody may touch."""
    left = identified(0, {"a": F, "d/x": F}, {"b": F, "d/y": F, "d/x": F})
    right = identified(1, {"b": F, "d/y": F})

    drawn = rows(left, right, settings=MERGED)

    assert drawn == {"0/a": "x.", "0/b": "xx", "0/d": "xx", "0/d/x": "!.", "0/d/y": "xx"}


def test_merged_sources_are_all_walked_or_unknown() -> None:
    """What the one that is not there holds may be anywhere."""
    left = identified(0, {"a": F}, {"": SkipReason.VANISHED})
    right = identified(1, {"a": F, "b": F})

    assert rows(left, right, settings=MERGED) == {"0/a": "!x", "0/b": "!x"}


def test_the_leader_pairs_sources_otherwise() -> None:
    """A2 with B1; the others stay in their lines, and a source nobody offers is nobody's."""
    pairs = ((Paired(member=0, source=1), Paired(member=1, source=0), Paired(member=2, source=7)),)
    settings = SessionSettings(pairs=pairs)
    left = identified(0, {"one": F}, {"two": F})
    right = identified(1, {"two": F}, {"one": F})
    third = identified(2, {"one": F})

    merge = Merge([left, right, third], settings)

    assert merge.lines == [((1,), (0,), ()), ((0,), (1,), (0,))]
    assert rows(left, right, third, settings=settings) == {"0/two": "xx!", "1/one": "xxx"}


def test_unicode_forms_are_one_place() -> None:
    """Both spellings keep their bytes."""
    left = identified(0, {"e\u0301": F})
    right = identified(1, {"\u00e9": F})

    drawn = places(left, right)

    assert rows(left, right) == {"0/\u00e9": "xx"}
    assert left.path(drawn[0].numbers[0]) != right.path(drawn[0].numbers[1])


def test_the_tolerance_is_the_coarsest_resolution_unless_set() -> None:
    """A FAT disk keeps two seconds; a failed member says nothing."""
    fine = identified(0, {})
    coarse = identified(1, {}, date_resolution_ns=2_000_000_000)

    assert tolerance_ns(AUTOMATIC, [fine]) == 0
    assert tolerance_ns(AUTOMATIC, [fine, coarse]) == 1_999_999_999
    assert tolerance_ns(AUTOMATIC, [failed(0)]) == 0
    assert tolerance_ns(SessionSettings(date_tolerance_ms=3), [fine, coarse]) == 3_000_000
