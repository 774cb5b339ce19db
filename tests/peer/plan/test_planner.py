import random
import subprocess
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.comparison.comparison import Comparison, Item
from peer.comparison.matching import Status
from peer.inventory.pairing import Block
from peer.plan.actions import AnyAction, Copy, CopyContent, CopyDates, Create, Nothing, Remove
from peer.plan.decisions import Decisions, Targeted
from peer.plan.guards import BrakeKind, Reason
from peer.plan.planner import Plan, digest, plan
from peer.plan.presets import Preset, rules_of
from peer.plan.rules import AppliesTo, Rule, parse_rule
from peer.plan.steps import CopyFile, CopyLink, CreateDirectory, Delete, DeleteDirectory, SetDate
from peer.session.session_settings import (
    Analysis,
    Case,
    DataType,
    Metadata,
    Paired,
    Pairing,
    SessionSettings,
    Symlinks,
)
from protocol.messages.inventory import SkipReason
from tests.harness.disks import Disks, skipped_places
from tests.harness.divergence import diverged, without_dates
from tests.harness.inventories import (
    DIRECTORY,
    SECOND,
    Tree,
    dated,
    file,
    hashed,
    identified,
    inventories_of,
    link,
    path_of,
)

NOW = 1_000 * SECOND
DEFAULT = SessionSettings(symlinks=Symlinks.COPY)
X, NEW_X, Y = file("x", at=1), file("x", at=9), file("yy", at=5)


def compare(trees: Sequence[Tree], settings: SessionSettings = DEFAULT) -> Comparison:
    return Comparison(inventories_of(*trees, settings=settings), settings)


def planned(
    *trees: Tree,
    rules: Sequence[Rule] = (),
    targeted: Sequence[tuple[str, AnyAction]] = (),
    settings: SessionSettings = DEFAULT,
    withheld: Sequence[tuple[int, BrakeKind]] = (),
) -> Plan:
    by_hand = tuple(
        Targeted(action=action, items=((0, path_of(path)),)) for path, action in targeted
    )
    return plan(
        compare(trees, settings),
        Decisions(rules=tuple(rules), targeted=by_hand),
        reference_time_ns=NOW,
        withheld=withheld,
    )


def drawn(outcome: Plan) -> list[str]:
    """Each step in a line: verb, letter, path."""
    return [
        f"{type(step).__name__} {'ABCDE'[step.member]} {b'/'.join(step.path).decode()}"
        for step in outcome.steps
    ]


def reasons(outcome: Plan) -> dict[str, Reason]:
    """Why at each path and letter nothing happens."""
    return {
        f"{b'/'.join(one.path).decode()} {'ABCDE'[one.member]}": one.reason
        for one in outcome.refused
    }


COMBINE = rules_of(Preset.COMBINE)
MIRROR_A = rules_of(Preset.MIRROR, 0)


# --- order and places -----------------------------------------------------------------------


def test_directories_are_made_from_the_top_and_deleted_from_the_bottom() -> None:
    """A child is never without its parent."""
    outcome = planned({"n/m/f": X}, {"o/p/g": X}, rules=MIRROR_A)

    assert drawn(outcome) == [
        "CreateDirectory B n",
        "CreateDirectory B n/m",
        "CopyFile B n/m/f",
        "Delete B o/p/g",
        "DeleteDirectory B o/p",
        "DeleteDirectory B o",
    ]


def test_steps_are_sorted_by_member() -> None:
    """Whatever the order of rules and items."""
    outcome = planned({"a": X}, {"b": X}, {"c": X}, rules=COMBINE)

    assert drawn(outcome) == [
        "CopyFile A b",
        "CopyFile A c",
        "CopyFile B a",
        "CopyFile B c",
        "CopyFile C a",
        "CopyFile C b",
    ]


def test_parents_nobody_decided_about_are_made() -> None:
    """Where only files are compared, and where only a file was chosen by hand."""
    files_only = planned(
        {"d/e/f": X},
        {},
        rules=COMBINE,
        settings=SessionSettings(data_type=DataType.FILES),
    )
    by_hand = planned({"d/e/f": X}, {}, targeted=[("d/e/f", Copy(origin=0, to=(1,)))])

    assert drawn(files_only) == ["CreateDirectory B d", "CreateDirectory B d/e", "CopyFile B d/e/f"]
    assert drawn(by_hand) == drawn(files_only)


def test_a_destination_keeps_its_own_spelling() -> None:
    """Of what it has, and of the directories something new goes into."""
    outcome = planned(
        {"Dir/New": X, "Dir/Old": NEW_X},
        {"dir/old": Y},
        rules=COMBINE,
        settings=SessionSettings(case=Case.INSENSITIVE),
    )

    assert drawn(outcome) == ["CopyFile B dir/New", "CopyFile B dir/old"]


def test_a_directory_that_is_not_to_be_made_takes_no_files() -> None:
    """Do nothing about it means nothing below it, too."""
    outcome = planned({"d/f": X}, {}, rules=COMBINE, targeted=[("d", Nothing())])

    assert drawn(outcome) == []
    assert reasons(outcome) == {"d/f B": Reason.PARENT_MISSING}


def test_a_name_that_would_be_too_long_is_refused() -> None:
    """The destination's spelling of a parent may be longer than the origin's.

    A directory that cannot be made takes nothing either.
    """
    composed, decomposed = "\u00e9" * 84, "e\u0301" * 84
    deep = "/".join(["x" * 250] * 15)
    outcome = planned(
        {f"{composed}/{deep}/{'y' * 150}/f": X}, {decomposed: DIRECTORY}, rules=COMBINE
    )

    assert [one.reason for one in outcome.refused] == [
        Reason.NAME_IMPOSSIBLE,
        Reason.PARENT_MISSING,
    ]


def test_nothing_is_put_below_a_file() -> None:
    """Neither where it is one now, nor where it becomes one."""
    now = planned({"d/f": X}, {"d": X}, rules=COMBINE)
    soon = planned(
        {"d": X},
        {"d": DIRECTORY},
        {"d/f": X},
        targeted=[
            ("d", Copy(origin=0, to=(1,), replacing=True)),
            ("d/f", Copy(origin=2, to=(1,))),
        ],
    )

    assert reasons(now) == {"d/f B": Reason.FILE_IN_THE_WAY}
    assert [one.reason for one in now.undecided] == [Reason.TYPE_CLASH]
    assert reasons(soon) == {"d/f B": Reason.FILE_IN_THE_WAY}


def test_nothing_is_put_below_a_blocked_directory() -> None:
    """What is skipped stays as it is."""
    outcome = planned({"d/f": X}, {"d": SkipReason.HIDDEN}, rules=COMBINE)

    assert drawn(outcome) == []
    assert reasons(outcome) == {
        "d B": Reason.DESTINATION_BLOCKED,
        "d/f B": Reason.DESTINATION_BLOCKED,
    }
    assert {one.block for one in outcome.refused} == {Block.HIDDEN}


def test_a_parent_made_on_the_way_obeys_the_names_there() -> None:
    """A twin of an existing name must not come to exist where case is ignored."""
    settings = SessionSettings(case=Case.SENSITIVE)
    trees: list[Tree] = [{"Dir/f": X}, {"dir": DIRECTORY}]
    inventories = hashed(
        [identified(0, trees[0]), identified(1, trees[1], case_insensitive=True)],
        [[tree] for tree in trees],
        settings,
    )
    comparison = Comparison(inventories, settings)

    outcome = plan(
        comparison,
        Decisions(targeted=(Targeted(action=Copy(), items=((0, path_of("Dir/f")),)),)),
        reference_time_ns=NOW,
    )

    assert reasons(outcome) == {"Dir/f B": Reason.NAME_CLASH, "Dir/f A": Reason.IDENTICAL}


# --- changes of kind ---------------------------------------------------------------------------


def test_a_mirror_puts_a_file_where_a_directory_was() -> None:
    """Its content goes first, deepest first, then the directory, then comes the file."""
    outcome = planned({"p": X, "z": X}, {"p/q/r": X, "p/s": X, "z": Y}, rules=MIRROR_A)

    assert drawn(outcome) == [
        "Delete B p/s",
        "Delete B p/q/r",
        "DeleteDirectory B p/q",
        "DeleteDirectory B p",
        "CopyFile B p",
        "CopyFile B z",
    ]


def test_a_mirror_puts_a_directory_where_a_file_was() -> None:
    """The file goes first; what belongs into the directory follows."""
    outcome = planned({"p/q": X}, {"p": Y}, rules=MIRROR_A)

    assert drawn(outcome) == ["Delete B p", "CreateDirectory B p", "CopyFile B p/q"]


def test_a_directory_that_holds_something_skipped_is_replaced_by_nothing() -> None:
    """The file waits, and says why."""
    outcome = planned({"p": X}, {"p/q": X, "p/h": SkipReason.HIDDEN}, rules=MIRROR_A)

    assert drawn(outcome) == ["Delete B p/q"]
    assert reasons(outcome) == {"p B": Reason.HOLDS_OTHERS}


def test_the_root_of_a_source_is_never_replaced() -> None:
    """A single file and a folder in one line stay what they are, and what they hold."""
    outcome = planned({"": X}, {"a": X, "b/c": X}, rules=MIRROR_A)

    assert drawn(outcome) == []
    assert reasons(outcome) == {" B": Reason.ROOT}


def test_single_files_are_sources_like_any_other() -> None:
    """Their names may differ; there is no path to make."""
    outcome = planned({"": X}, {"": Y}, rules=MIRROR_A)

    assert drawn(outcome) == ["CopyFile B "]


# --- deletions ----------------------------------------------------------------------------------


def test_a_directory_that_holds_anything_unplanned_stays() -> None:
    """With the number of what it holds; what is above it stays as well."""
    outcome = planned({}, {"o/p/f": X, "o/p/g": X}, targeted=[
        ("o", Remove(to=(1,))), ("o/p", Remove(to=(1,))), ("o/p/f", Remove(to=(1,))),
    ])  # fmt: skip

    assert drawn(outcome) == ["Delete B o/p/f"]
    assert reasons(outcome) == {"o B": Reason.HOLDS_OTHERS, "o/p B": Reason.HOLDS_OTHERS}
    assert [one.count for one in outcome.refused] == [1, 1]
    assert all(one.targeted for one in outcome.refused)
    assert set(outcome.choices) == {2}


def test_a_directory_that_receives_something_stays() -> None:
    """Deleting it and copying into it cannot both be meant."""
    outcome = planned({"o/f": X}, {"o": DIRECTORY}, targeted=[
        ("o", Remove(to=(1,))), ("o/f", Copy(origin=0, to=(1,))),
    ])  # fmt: skip

    assert drawn(outcome) == ["CopyFile B o/f"]
    assert reasons(outcome) == {"o B": Reason.HOLDS_OTHERS}


def test_a_directory_that_holds_something_skipped_stays() -> None:
    """Skipped is never missing: the mirror does not take it for empty."""
    outcome = planned({}, {"o/p/h": SkipReason.PATTERN, "o/f": X}, rules=MIRROR_A)

    assert drawn(outcome) == ["Delete B o/f"]
    assert reasons(outcome) == {"o B": Reason.HOLDS_OTHERS, "o/p B": Reason.HOLDS_OTHERS}


def test_only_the_member_that_holds_something_keeps_its_directory() -> None:
    """Each disk is its own."""
    outcome = planned({}, {"o": DIRECTORY}, {"o/h": SkipReason.PATTERN}, rules=MIRROR_A)

    assert drawn(outcome) == ["DeleteDirectory B o"]


def test_equal_items_are_deleted_when_a_rule_says_so() -> None:
    """What is equal everywhere is passed over only by rules that have nothing to do there."""
    outcome = planned({"a": X}, {"a": X}, rules=[parse_rule("files then delete -> B", (0, 1))])

    assert drawn(outcome) == ["Delete B a"]


# --- levels and contradictions ----------------------------------------------------------------


def test_a_targeted_action_beats_the_rules() -> None:
    """For its own destinations; the rules still hold for the others."""
    outcome = planned({"a": X}, {"a": Y}, {"a": Y}, rules=MIRROR_A, targeted=[
        ("a", CopyDates(origin=0, to=(1,))),
    ])  # fmt: skip

    assert drawn(outcome) == ["SetDate B a", "CopyFile C a"]
    assert outcome.choices[0][1].targeted
    assert outcome.choices[0][2].rule == 2


def test_an_item_chosen_by_hand_that_is_gone_is_counted() -> None:
    """The comparison it was chosen in is not this one."""
    outcome = planned({"a": X}, {}, targeted=[("zzz", Remove())])

    assert outcome.stale == 1


def test_a_targeted_action_with_nothing_to_do_says_so() -> None:
    """By hand every selected item gets an answer; by rule only what happens is told."""
    by_hand = planned({"a": X}, {"a": X}, targeted=[("a", Copy(origin=0, to=(1,)))])
    by_rule = planned({"a": X}, {"a": X}, rules=COMBINE)

    assert reasons(by_hand) == {"a B": Reason.IDENTICAL}
    assert by_rule.refused == ()


def test_a_content_that_is_used_and_replaced_is_neither() -> None:
    """Which content C would get is a matter of speed."""
    outcome = planned({"a": X}, {"a": Y}, {}, targeted=[
        ("a", Copy(origin=0, to=(1,))), ("a", Copy(origin=1, to=(2,))),
    ])  # fmt: skip

    assert drawn(outcome) == []
    assert reasons(outcome) == {
        "a B": Reason.DESTINATION_IS_SOURCE,
        "a C": Reason.DESTINATION_IS_SOURCE,
    }


def test_a_content_that_is_used_and_deleted_is_neither() -> None:
    """A move between members is two synchronisations."""
    outcome = planned({"a": X}, {}, targeted=[
        ("a", Copy(origin=0, to=(1,))), ("a", Remove(to=(0,))),
    ])  # fmt: skip

    assert drawn(outcome) == []
    assert set(reasons(outcome).values()) == {Reason.DELETED_AND_USED}


def test_members_without_a_source_or_continued_without_are_left_out_by_rules() -> None:
    """By hand they are refused."""
    trees: list[list[Tree]] = [[{"a": X}, {"b": X}], [{"a": Y}], [{}, {}]]
    inventories = hashed([identified(n, *t) for n, t in enumerate(trees)], trees, DEFAULT)
    comparison = Comparison(inventories, DEFAULT, without=[2])
    by_hand = Targeted(action=Copy(origin=0), items=((1, (b"b",)),))

    by_rule = plan(comparison, Decisions(rules=MIRROR_A), reference_time_ns=NOW)
    chosen = plan(comparison, Decisions(targeted=(by_hand,)), reference_time_ns=NOW)

    assert drawn(by_rule) == ["CopyFile B a"]
    assert by_rule.refused == ()
    assert reasons(chosen) == {"b B": Reason.NO_SOURCE, "b C": Reason.DESTINATION_BLOCKED}


# --- undecided --------------------------------------------------------------------------------


def test_equal_dates_with_different_content_are_left_to_people() -> None:
    """Once per item, however many destinations."""
    outcome = planned(
        {"a": file("1", at=5)}, {"a": file("22", at=5)}, {"a": file("333", at=1)}, rules=COMBINE
    )

    assert drawn(outcome) == []
    assert [(one.path, one.reason) for one in outcome.undecided] == [
        ((b"a",), Reason.SEVERAL_CONTENTS)
    ]


def test_by_hand_nothing_is_left_undecided() -> None:
    """Whoever chose it is told at once."""
    outcome = planned(
        {"a": file("1", at=5)}, {"a": file("22", at=5)}, targeted=[("a", Copy(to=(0,)))]
    )

    assert outcome.undecided == ()
    assert reasons(outcome) == {"a A": Reason.SEVERAL_CONTENTS}


# --- brakes -----------------------------------------------------------------------------------


def test_what_a_brake_protects_drops_out() -> None:
    """Of that member and of that kind; new files still come."""
    trees: list[Tree] = [{"n": X, "r": X}, {"r": Y, "d": X}, {"r": Y, "d": X}]

    deletions = planned(*trees, rules=MIRROR_A, withheld=[(1, BrakeKind.EMPTIED)])
    replacements = planned(*trees, rules=MIRROR_A, withheld=[(1, BrakeKind.REPLACEMENTS)])

    assert drawn(deletions)[:2] == ["CopyFile B n", "CopyFile B r"]
    assert reasons(deletions) == {"d B": Reason.BRAKE}
    assert drawn(replacements)[:2] == ["CopyFile B n", "Delete B d"]
    assert reasons(replacements) == {"r B": Reason.BRAKE}
    assert "Delete C d" in drawn(deletions)


# --- what a plan says of itself ---------------------------------------------------------------


def test_a_plan_marks_its_items() -> None:
    """For filters such as has:action.copy."""
    trees: list[Tree] = [{"a": X, "b": X}, {"b": X, "c": X}]
    comparison = compare(trees)
    by_hand: list[tuple[str, AnyAction]] = [("c", Remove(to=(1,))), ("c", Nothing(to=(0,)))]
    outcome = planned(*trees, rules=COMBINE, targeted=by_hand)
    items = {item.key: item for item in comparison}

    assert outcome.marks(items["a",]) == {"action", "action.rule", "action.copy"}
    assert outcome.marks(items["b",]) == frozenset()
    assert outcome.marks(items["c",]) == {"action", "action.targeted", "action.delete"}


def test_steps_are_told_by_member() -> None:
    """Each member sees its own part first."""
    outcome = planned({"a": X}, {"b": X}, rules=COMBINE)

    assert [step.member for step in outcome.steps_of(1)] == [1]


def test_a_step_names_what_it_expects() -> None:
    """Whatever changed since makes it fail instead of losing data."""
    outcome = planned({"a": X, "d": file("q", at=1)}, {"a": Y, "d": file("z", at=2)}, rules=COMBINE)
    copies = [step for step in outcome.steps if isinstance(step, CopyFile)]

    assert [step.expected is not None for step in copies] == [True, True]
    assert all(step.expected_digest is not None for step in copies)


def test_modes_travel_where_they_count() -> None:
    """Otherwise a replaced file keeps its own."""
    settings = SessionSettings(metadata=Metadata.DATES_AND_MODE)
    trees: list[Tree] = [
        {"a": file("x", at=1, mode=0o600), "b": X},
        {"a": file("x", at=1, mode=0o644)},
    ]

    with_modes = planned(*trees, rules=MIRROR_A, settings=settings)
    without = planned(*trees, rules=MIRROR_A)

    assert drawn(with_modes) == ["SetMode B a", "CopyFile B b"]
    assert drawn(without) == ["CopyFile B b"]


def test_the_digest_tells_plans_apart() -> None:
    """By their steps alone, in order."""
    one = planned({"a": X}, {}, rules=COMBINE)
    other = planned({"b": X}, {}, rules=COMBINE)

    assert one.digest == digest(one.steps)
    assert len({one.digest, other.digest, digest(())}) == 3


# --- properties -------------------------------------------------------------------------------

presets = st.sampled_from(Preset)
session_settings = st.builds(
    SessionSettings,
    case=st.sampled_from([Case.AUTOMATIC, Case.INSENSITIVE]),
    metadata=st.sampled_from(Metadata),
    analysis=st.sampled_from(Analysis),
    symlinks=st.just(Symlinks.COPY),
    data_type=st.sampled_from([DataType.FILES_AND_DIRECTORIES, DataType.FILES]),
    date_tolerance_ms=st.sampled_from([None, 0, 1500]),
)


def preset_rules(preset: Preset, members: int) -> tuple[Rule, ...]:
    """The preset about the last member, or about nobody."""
    try:
        return rules_of(preset)
    except ValueError:
        return rules_of(preset, members - 1)


def is_goal(preset: Preset, item: Item, subject: int) -> bool:
    """Tell whether *item* is as *preset* about *subject* wants it, as far as it is known."""
    known = [cell for cell in item.cells if not cell.block]
    about = next((cell for cell in known if cell.member == subject), None)
    match preset:
        case Preset.COMBINE:
            return len({(cell.group, cell.present) for cell in known}) <= 1
        case Preset.MIRROR:
            return about is None or all(cell.group == about.group for cell in known)
        case Preset.UPDATE:
            return about is None or not about.present or all(cell.present for cell in known)
        case Preset.FILL_GAPS:
            return not item.present or all(cell.present for cell in known)
        case Preset.CONSOLIDATE:
            return about is None or not item.present or about.present


@settings(max_examples=150, deadline=None)
@given(diverged(), presets, session_settings, st.randoms(use_true_random=False))
def test_carrying_out_a_plan_leaves_nothing_to_plan(
    trees: list[Tree], preset: Preset, chosen: SessionSettings, rng: random.Random
) -> None:
    """Members interleaved at random reach the goal, and the next plan is empty.

    The goal is asserted, too: planning nothing is a fixed point as well. What was skipped is
    where it was, and only a mirror deletes.
    """
    decisions = Decisions(rules=preset_rules(preset, len(trees)))
    disks = Disks([[tree] for tree in trees])
    first = plan(compare(trees, chosen), decisions, reference_time_ns=NOW)

    disks.apply(first.steps, rng)
    after = [sources[0] for sources in disks.trees()]
    comparison = compare(after, chosen)
    second = plan(comparison, decisions, reference_time_ns=NOW)

    assert drawn(second) == []
    left = {(one.line, one.path) for one in (*second.undecided, *second.refused)}
    for item in comparison.rows():
        spellings = {(item.line, cell.path) for cell in item.cells if cell.kind is not None}
        assert spellings & left or is_goal(preset, item, len(trees) - 1), item.letters()
    assert skipped_places(disks.trees()) == sorted(skipped_places(disks.trees()))
    assert sorted(skipped_places(disks.trees())) == sorted(skipped_places([[t] for t in trees]))
    assert not disks.deleted or preset is Preset.MIRROR


@settings(max_examples=40, deadline=None)
@given(diverged(skipping=False), session_settings, st.randoms(use_true_random=False))
def test_a_mirror_makes_all_equal_to_its_source_and_never_writes_there(
    trees: list[Tree], chosen: SessionSettings, rng: random.Random
) -> None:
    """File by file, when nothing is in the way of it."""
    disks = Disks([[tree] for tree in trees])
    outcome = plan(compare(trees, chosen), Decisions(rules=MIRROR_A), reference_time_ns=NOW)

    disks.apply(outcome.steps, rng)

    assert 0 not in disks.written
    after = compare([sources[0] for sources in disks.trees()], chosen)
    if not outcome.refused:
        assert {item.status for item in after.rows()} <= {Status.EQUAL}


@settings(max_examples=80, deadline=None)
@given(diverged(), st.randoms(use_true_random=False))
def test_a_mirror_leaves_alone_what_its_source_does_not_tell(
    trees: list[Tree], rng: random.Random
) -> None:
    """Skipped or unreadable at the source is not missing there: nothing of it is deleted."""
    comparison = compare(trees)
    kept = [
        (cell.member, cell.path)
        for item in comparison
        if item.cell(0).block
        for cell in item.cells
        if cell.kind is not None
    ]
    disks = Disks([[tree] for tree in trees])
    before = {place: disks.members[place[0]][0][place[1]] for place in kept}

    disks.apply(planned(*trees, rules=MIRROR_A).steps, rng)

    assert {place: disks.members[place[0]][0].get(place[1]) for place in kept} == before


@settings(max_examples=40, deadline=None)
@given(diverged(skipping=False), st.randoms(use_true_random=False))
def test_a_mirror_copies_content_and_dates_exactly(trees: list[Tree], rng: random.Random) -> None:
    """Read off the disks themselves, with every file hashed."""
    dated_apart = [
        {path: dated(thing, n + 1) if path and not isinstance(thing, SkipReason) else thing
         for path, thing in tree.items()}
        for n, tree in enumerate(trees)
    ]  # fmt: skip
    disks = Disks([[tree] for tree in dated_apart])
    outcome = planned(*dated_apart, rules=MIRROR_A)

    disks.apply(outcome.steps, rng)

    source, *others = (without_modes(sources[0]) for sources in disks.trees())
    assert outcome.refused == ()
    assert all(other == source for other in others)


def without_modes(tree: Tree) -> dict[str, object]:
    return {
        path: (thing.kind, thing.content, thing.target, thing.mtime_ns if thing.content else 0)
        for path, thing in without_dates(tree).items()
        if not isinstance(thing, SkipReason) and hasattr(thing, "kind")
    }


@settings(max_examples=30, deadline=None)
@given(diverged(), presets, st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_its_inputs(
    trees: list[Tree], preset: Preset, rng: random.Random
) -> None:
    """Members scan in whatever order their disks give, and inventories arrive as they do."""
    decisions = Decisions(rules=preset_rules(preset, len(trees)))
    shuffled = [identified(member, tree, shuffle=rng) for member, tree in enumerate(trees)]
    inventories = hashed(shuffled, [[tree] for tree in trees], DEFAULT)
    rng.shuffle(inventories)

    one = plan(compare(trees), decisions, reference_time_ns=NOW)
    other = plan(Comparison(inventories, DEFAULT), decisions, reference_time_ns=NOW)

    assert other.steps == one.steps
    assert other.digest == one.digest
    assert (other.undecided, other.refused) == (one.undecided, one.refused)


_PROGRAM = """
from tests.peer.plan.test_planner import *
trees = [{f"d{n % 7}/F{n}": file(str(n * m % 5), at=n % m) for n in range(40) if n % (m + 2)}
         for m in (1, 2, 3)]
for preset in Preset:
    rules = preset_rules(preset, 3)
    print(planned(*trees, rules=rules).digest.hex())
"""


@pytest.mark.slow
def test_the_plan_does_not_depend_on_the_hash_seed() -> None:
    """Two processes that order their sets differently hold equal digests."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(outputs) == 1
    assert len(outputs.pop().split()) == len(Preset)


READ_ALL = SessionSettings(analysis=Analysis.CHECKSUM, symlinks=Symlinks.COPY)
ACTIONS: Sequence[AnyAction] = (
    Copy(origin=0),
    Copy(to=(1,)),
    Copy(origin=1, replacing=True),
    CopyContent(origin=0),
    CopyDates(origin=1),
    Create(),
    Create(origin=1, replacing=True),
    Remove(to=(0,)),
    Remove(),
    Nothing(),
)


@settings(max_examples=80, deadline=None)
@given(
    diverged(most=3),
    st.lists(
        st.builds(
            Rule,
            applies_to=st.sampled_from(AppliesTo),
            actions=st.sampled_from(ACTIONS).map(lambda action: (action,)),
        ),
        max_size=4,
    ),
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(ACTIONS)), max_size=6),
    st.randoms(use_true_random=False),
)
def test_any_decisions_make_a_plan_that_can_be_carried_out(
    trees: list[Tree],
    rules: list[Rule],
    targeted: list[tuple[int, AnyAction]],
    rng: random.Random,
) -> None:
    """However they contradict each other: every step finds what it expects.

    The disks assert it step by step; what was skipped is still there.
    """
    comparison = compare(trees, READ_ALL)
    items = list(comparison)
    by_hand = tuple(
        Targeted(action=action, items=((items[n].line, items[n].path),))
        for n, action in targeted
        if n < len(items)
    )
    outcome = plan(
        comparison, Decisions(rules=tuple(rules), targeted=by_hand), reference_time_ns=NOW
    )
    disks = Disks([[tree] for tree in trees])

    disks.apply(outcome.steps, rng)

    assert sorted(skipped_places(disks.trees())) == sorted(skipped_places([[t] for t in trees]))


def test_links_are_copied_as_data() -> None:
    """With their target, over whatever link was there."""
    outcome = planned({"l": link("t"), "m": link("u")}, {"m": link("v")}, rules=MIRROR_A)

    assert [step.target for step in outcome.steps if isinstance(step, CopyLink)] == [b"t", b"u"]


def test_every_kind_of_step_is_planned_by_something() -> None:
    """A step nobody plans would be dead weight in whoever carries it out."""
    outcome = planned(
        {"n/f": X, "l": link("t"), "s": X},
        {"o/g": X, "s": NEW_X},
        rules=MIRROR_A,
    )

    assert {type(step) for step in outcome.steps} == {
        CreateDirectory,
        CopyFile,
        CopyLink,
        SetDate,
        Delete,
        DeleteDirectory,
    }


# --- sources that belong together otherwise ------------------------------------------------


def test_what_is_new_in_a_merged_tree_goes_where_its_directory_is() -> None:
    """To the source that has it; what is in none goes to the first that is a folder."""
    settings = SessionSettings(pairing=Pairing.MERGED)
    trees = [
        [{"d/new": X, "e/new": X, "top": X, "deep/er/f": X}],
        [{"d": DIRECTORY}, {"e/old": X}],
    ]
    inventories = [identified(member, *sources) for member, sources in enumerate(trees)]
    comparison = Comparison(hashed(inventories, trees, settings), settings)

    outcome = plan(comparison, Decisions(rules=rules_of(Preset.MIRROR, 0)), reference_time_ns=NOW)

    assert {(step.source, b"/".join(step.path).decode()) for step in outcome.steps} == {
        (0, "d/new"),
        (1, "e/new"),
        (1, "e/old"),
        (0, "top"),
        (0, "deep"),
        (0, "deep/er"),
        (0, "deep/er/f"),
    }


def test_a_file_in_two_merged_sources_is_left_alone() -> None:
    """Which of the two is meant only a person can tell."""
    settings = SessionSettings(pairing=Pairing.MERGED)
    trees = [[{"f": X}], [{"f": Y}, {"f": X}]]
    inventories = [identified(member, *sources) for member, sources in enumerate(trees)]
    comparison = Comparison(hashed(inventories, trees, settings), settings)

    outcome = plan(comparison, Decisions(rules=rules_of(Preset.MIRROR, 0)), reference_time_ns=NOW)

    assert outcome.steps == ()
    assert [(one.member, one.block) for one in outcome.refused] == [(1, Block.NAME_CLASH)]


def test_what_is_new_in_a_line_the_leader_paired_goes_to_its_source() -> None:
    """A2 with B1: the line's number is nobody's source."""
    pairs = ((Paired(member=0, source=1), Paired(member=1, source=0)),)
    settings = SessionSettings(pairs=pairs)
    trees = [[{"x": X}, {"y/new": X}], [{"y": DIRECTORY}, {}]]
    inventories = [identified(member, *sources) for member, sources in enumerate(trees)]
    comparison = Comparison(hashed(inventories, trees, settings), settings)

    outcome = plan(comparison, Decisions(rules=rules_of(Preset.MIRROR, 0)), reference_time_ns=NOW)

    assert [(step.source, step.path) for step in outcome.steps] == [
        (0, (b"y", b"new")),
        (1, (b"x",)),
    ]


def test_a_name_that_cannot_be_there_is_refused_with_all_below_it() -> None:
    """Where the file system has the rules of Windows; what can be is done."""
    tree: Tree = {"a:b/inner": X, "nul": X, "fine": X}
    inventories = [identified(0, tree), identified(1, {}, windows_names=True)]
    comparison = Comparison(hashed(inventories, [[tree], [{}]], DEFAULT), DEFAULT)

    outcome = plan(comparison, Decisions(rules=rules_of(Preset.MIRROR, 0)), reference_time_ns=NOW)

    assert [step.path for step in outcome.steps] == [(b"fine",)]
    assert {(one.path[-1], one.reason) for one in outcome.refused} == {
        (b"a:b", Reason.NAME_IMPOSSIBLE),
        (b"inner", Reason.PARENT_MISSING),
        (b"nul", Reason.NAME_IMPOSSIBLE),
    }
