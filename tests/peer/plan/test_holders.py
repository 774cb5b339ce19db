from collections.abc import Sequence

from peer.comparison.comparison import Comparison
from peer.plan.actions import AnyAction, Copy, CopyDates, Remove
from peer.plan.decisions import Decisions, Targeted
from peer.plan.planner import plan
from peer.plan.presets import Preset, rules_of
from peer.plan.steps import CopyFile
from peer.session.session_settings import Analysis, SessionSettings
from tests.harness.inventories import Tree, file, inventories_of, path_of

CHECKSUM = SessionSettings(analysis=Analysis.CHECKSUM)
X, NEW_X, OTHER = file("xyz", at=1), file("xyz", at=9), file("other", at=5)


def copies(
    trees: Sequence[Tree],
    decisions: Decisions,
    settings: SessionSettings = CHECKSUM,
) -> dict[str, CopyFile]:
    """The copies, by letter and path."""
    comparison = Comparison(inventories_of(*trees, settings=settings), settings)
    steps = plan(comparison, decisions, reference_time_ns=0).steps
    return {
        f"{'ABCDE'[step.member]} {b'/'.join(step.path).decode()}": step
        for step in steps
        if isinstance(step, CopyFile)
    }


def by_hand(*actions: tuple[str, AnyAction]) -> Decisions:
    return Decisions(
        targeted=tuple(
            Targeted(action=action, items=((0, path_of(path)),)) for path, action in actions
        )
    )


COMBINE = Decisions(rules=rules_of(Preset.COMBINE))
MIRROR_A = Decisions(rules=rules_of(Preset.MIRROR, 0))


def test_all_who_hold_the_content_can_serve_it() -> None:
    """The decided origin first, then the others by index."""
    found = copies([{"f": OTHER}, {"f": X}, {"f": X}, {}], by_hand(("f", Copy(origin=2, to=(3,)))))

    assert found["D f"].holders == ((2, 0, (b"f",)), (1, 0, (b"f",)))


def test_content_serves_from_wherever_it_is() -> None:
    """Under another name on another member, too."""
    found = copies([{"f": X}, {}, {"g": X}], by_hand(("f", Copy(origin=0, to=(1,)))))

    assert found["B f"].holders == ((0, 0, (b"f",)), (2, 0, (b"g",)))


def test_a_file_that_moved_is_taken_from_where_it_was() -> None:
    """The old place is deleted only after the copies."""
    found = copies([{"new": X}, {"old": X}], MIRROR_A)

    assert found["B new"].reuse == (0, (b"old",))
    assert found["B new"].holders == ((0, 0, (b"new",)),)


def test_what_the_plan_changes_serves_nobody() -> None:
    """Neither a place that gets another content or date, nor one that is deleted."""
    decisions = by_hand(
        ("f", Copy(origin=0, to=(4,))),
        ("g", Copy(origin=0, to=(1,))),
        ("h", CopyDates(origin=0, to=(2,))),
        ("i", Remove(to=(3,))),
    )
    trees: list[Tree] = [
        {"f": X, "g": OTHER, "h": NEW_X},
        {"g": X},
        {"h": X},
        {"i": X, "j": file("j"), "k": file("k")},
        {},
    ]

    found = copies(trees, decisions)

    assert found["E f"].holders == ((0, 0, (b"f",)),)


def test_what_the_plan_changes_is_not_reused() -> None:
    """A place cleared or overwritten before may be gone when its turn comes."""
    trees: list[Tree] = [{"a": OTHER, "z": X}, {"a": X}]

    found = copies(trees, MIRROR_A)

    assert found["B z"].reuse is None


def test_a_second_place_serves_when_the_first_is_deleted() -> None:
    """The first that others may read, and the first that the own disk keeps."""
    trees: list[Tree] = [{"f": X, "k": X}, {"d": X, "k": X}, {}]
    served = copies(trees, by_hand(("f", Copy(origin=0, to=(2,))), ("d", Remove(to=(1,)))))
    reused = copies(trees, MIRROR_A)

    assert served["C f"].holders == ((0, 0, (b"f",)), (1, 0, (b"k",)))
    assert reused["B f"].reuse == (0, (b"d",))
    assert reused["C f"].holders == ((0, 0, (b"f",)), (1, 0, (b"k",)))


def test_content_that_was_not_read_has_its_origin_only() -> None:
    """Equal size and date is no proof that another holds the same."""
    found = copies([{"f": X}, {"f": X}, {}], COMBINE, SessionSettings())

    assert found["C f"].digest is None
    assert found["C f"].holders == ((0, 0, (b"f",)),)
    assert found["C f"].reuse is None


def test_some_read_and_some_unread_content_get_along() -> None:
    """Each copy by what is known of it."""
    found = copies([{"f": X, "g": file("1"), "h": file("2")}, {}], COMBINE, SessionSettings())

    assert [found[f"B {name}"].digest is None for name in "fgh"] == [True, False, False]
