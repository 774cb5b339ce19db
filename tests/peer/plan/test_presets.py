from collections.abc import Sequence

import pytest

from peer.comparison.comparison import Comparison
from peer.plan.decisions import Decisions
from peer.plan.guards import Reason
from peer.plan.planner import Plan, plan
from peer.plan.presets import ABOUT_ONE, BY_DATE, DELETING, Preset, rules_of
from peer.plan.rules import format_rule, parse_rule
from peer.plan.steps import Delete, DeleteDirectory
from peer.session.session_settings import SessionSettings
from protocol.ids import letter_of
from protocol.messages.inventory import SkipReason
from tests.harness.inventories import DIRECTORY, Tree, file, inventories_of, link

OLD, NEW, OTHER = file("x", at=1), file("x", at=9), file("yy", at=5)
HIDDEN = SkipReason.HIDDEN


def planned(preset: Preset, member: int | None, trees: Sequence[Tree]) -> Plan:
    comparison = Comparison(inventories_of(*trees), SessionSettings())
    return plan(comparison, Decisions(rules=rules_of(preset, member)), reference_time_ns=0)


def drawn(preset: Preset, member: int | None, *trees: Tree) -> list[str]:
    return [
        f"{type(step).__name__} {'ABCDE'[step.member]} {b'/'.join(step.path).decode()}"
        for step in planned(preset, member, trees).steps
    ]


TREES: list[Tree] = [
    {"only-a": OLD, "content": OLD, "dates": OLD, "same": OLD, "dir-a": DIRECTORY, "hid": OLD},
    {"content": OTHER, "dates": NEW, "same": OLD, "dir-b/only-b": OLD, "hid": HIDDEN},
]


@pytest.mark.parametrize(
    ("preset", "member", "expected"),
    [
        (
            Preset.COMBINE,
            None,
            [
                "CreateDirectory A dir-b",
                "CopyFile A content",
                "SetDate A dates",
                "CopyFile A dir-b/only-b",
                "CreateDirectory B dir-a",
                "CopyFile B only-a",
            ],
        ),
        (
            Preset.MIRROR,
            0,
            [
                "CreateDirectory B dir-a",
                "CopyFile B content",
                "SetDate B dates",
                "CopyFile B only-a",
                "Delete B dir-b/only-b",
                "DeleteDirectory B dir-b",
            ],
        ),
        (
            Preset.MIRROR,
            1,
            [
                "CreateDirectory A dir-b",
                "CopyFile A content",
                "SetDate A dates",
                "CopyFile A dir-b/only-b",
                "Delete A only-a",
                "DeleteDirectory A dir-a",
            ],
        ),
        (Preset.UPDATE, 0, ["CreateDirectory B dir-a", "CopyFile B only-a"]),
        (
            Preset.UPDATE,
            1,
            [
                "CreateDirectory A dir-b",
                "CopyFile A content",
                "SetDate A dates",
                "CopyFile A dir-b/only-b",
            ],
        ),
        (
            Preset.FILL_GAPS,
            None,
            [
                "CreateDirectory A dir-b",
                "CopyFile A dir-b/only-b",
                "CreateDirectory B dir-a",
                "CopyFile B only-a",
            ],
        ),
        (Preset.CONSOLIDATE, 0, ["CreateDirectory A dir-b", "CopyFile A dir-b/only-b"]),
        (Preset.CONSOLIDATE, 1, ["CreateDirectory B dir-a", "CopyFile B only-a"]),
    ],
)
def test_each_preset_does_what_its_card_says(
    preset: Preset, member: int | None, expected: list[str]
) -> None:
    """On one pair of trees; what is hidden on B is touched by none of them."""
    assert drawn(preset, member, *TREES) == expected


def test_the_newest_of_five_goes_everywhere() -> None:
    """With one step for each member that needs it."""
    trees: list[Tree] = [{"f": file(str(n) * (n + 1), at=n)} for n in (1, 5, 2)]
    trees += [{}, {"f": file("5" * 6, at=3)}]

    assert drawn(Preset.COMBINE, None, *trees) == [
        "CopyFile A f", "CopyFile C f", "CopyFile D f", "SetDate E f",
    ]  # fmt: skip


@pytest.mark.parametrize("preset", [Preset.COMBINE, Preset.FILL_GAPS, Preset.CONSOLIDATE])
def test_equal_dates_with_different_content_are_left_to_people(preset: Preset) -> None:
    """Whoever decides by date cannot decide that."""
    trees: list[Tree] = [{"f": file("1", at=1)}, {"f": file("22", at=1)}, {}]

    outcome = planned(preset, 2 if preset in ABOUT_ONE else None, trees)

    assert outcome.steps == ()
    assert [one.reason for one in outcome.undecided] == [Reason.SEVERAL_CONTENTS]


def test_only_a_mirror_deletes() -> None:
    """And says so on its card."""
    for preset in Preset:
        outcome = planned(preset, 0 if preset in ABOUT_ONE else None, TREES)
        deletes = any(isinstance(step, (Delete, DeleteDirectory)) for step in outcome.steps)

        assert deletes is (preset in DELETING)


def test_a_mirror_of_what_cannot_be_read_says_so_and_deletes_nothing() -> None:
    """Blocked at the source is not missing there."""
    outcome = planned(Preset.MIRROR, 0, [{"d": HIDDEN}, {"d/f": OLD}])

    assert outcome.steps == ()
    assert {one.reason for one in outcome.refused} == {Reason.SOURCE_BLOCKED}


def test_links_are_mirrored_and_filled_in_but_never_newer() -> None:
    """Their dates are not compared."""
    trees: list[Tree] = [{"l": link("t"), "m": link("t")}, {"l": link("u")}]

    assert drawn(Preset.MIRROR, 0, *trees) == ["CopyLink B l", "CopyLink B m"]
    assert drawn(Preset.UPDATE, 0, *trees) == ["CopyLink B m"]


def test_a_preset_about_a_member_needs_one() -> None:
    """And one about all takes none."""
    for preset in Preset:
        with pytest.raises(ValueError, match="member"):
            rules_of(preset, None if preset in ABOUT_ONE else 0)


def test_presets_are_rules_like_any_other() -> None:
    """They can be shown, edited and written down."""
    members = (0, 1)
    for preset in Preset:
        rules = rules_of(preset, 1 if preset in ABOUT_ONE else None)
        texts = [format_rule(rule, lambda index: letter_of(index, members)) for rule in rules]

        assert [parse_rule(text, members) for text in texts] == list(rules)


def test_every_preset_but_the_mirror_goes_by_dates() -> None:
    """So clocks are looked at before it is used."""
    assert set(Preset) - BY_DATE == {Preset.MIRROR}
