from peer.comparison.comparison import Comparison
from peer.plan.actions import Remove
from peer.plan.cost import Cost, MemberCost, cost
from peer.plan.decisions import Decisions, Targeted
from peer.plan.planner import Plan, plan
from peer.plan.presets import Preset, rules_of
from peer.plan.steps import Delete
from peer.session.session_settings import Metadata, SessionSettings
from tests.harness.inventories import DIRECTORY, Tree, file, inventories_of, link

SETTINGS = SessionSettings(metadata=Metadata.DATES_AND_MODE)


def cost_of(
    *trees: Tree, preset: Preset = Preset.MIRROR, settings: SessionSettings = SETTINGS
) -> Cost:
    comparison = Comparison(inventories_of(*trees, settings=settings), settings)
    member = 0 if preset is Preset.MIRROR else None
    decisions = Decisions(rules=rules_of(preset, member))
    return cost(plan(comparison, decisions, reference_time_ns=0), comparison.members)


def test_everything_that_happens_to_a_disk_is_counted() -> None:
    """Created, replaced, deleted; bytes received, reused, kept in the trash."""
    result = cost_of(
        {
            "new": file("123"),
            "changed": file("12345", at=1),
            "date": file("d", at=1),
            "mode": file("m", at=1, mode=0o600),
            "moved-to": file("1234567"),
            "dir": DIRECTORY,
            "link": link("t"),
            "relink": link("t"),
        },
        {
            "changed": file("12", at=2),
            "date": file("d", at=2),
            "mode": file("m", at=1, mode=0o644),
            "moved-from": file("1234567"),
            "relink": link("u"),
            "old": DIRECTORY,
        },
    )

    assert result.members == {
        0: MemberCost(),
        1: MemberCost(
            files_created=3,
            files_replaced=2,
            files_deleted=1,
            directories_created=1,
            directories_deleted=1,
            dates_set=1,
            modes_set=1,
            files_moved=1,
            bytes_received=3 + 5,
            bytes_reused=7,
            bytes_to_trash=2 + 7,
        ),
    }
    assert result.members[1].peak_extra == 3 + 5 + 7
    assert result.links == {(0, 1): 8}
    assert result.bytes_received == 8
    assert result.moves == 1


def test_links_are_estimated_by_origin() -> None:
    """Whoever was decided to give it."""
    result = cost_of(
        {"a": file("1", at=1)},
        {"b": file("22", at=1)},
        {"c": file("333", at=1)},
        preset=Preset.COMBINE,
    )

    assert result.links == {
        (0, 1): 1, (0, 2): 1, (1, 0): 2, (1, 2): 2, (2, 0): 3, (2, 1): 3,
    }  # fmt: skip
    assert list(result.links) == sorted(result.links)


def test_a_disk_that_is_too_small_is_named() -> None:
    """By how much; one whose free space is not known is not judged."""
    result = cost_of({"a": file("12345")}, {}, {}, {})

    assert result.short_of({1: 4, 2: 5}) == {1: 1}


def test_an_empty_plan_costs_nothing() -> None:
    """Every member is listed all the same."""
    result = cost_of({"a": file("x", at=1)}, {"a": file("x", at=1)})

    assert result == Cost({0: MemberCost(), 1: MemberCost()}, {})


def test_a_deletion_counts_what_it_frees_nowhere() -> None:
    """The trash keeps it; what is not known to have been there counts no bytes."""
    comparison = Comparison(inventories_of({"a": file("123")}, {}), SETTINGS)
    decisions = Decisions(targeted=(Targeted(action=Remove(to=(0,)), items=((0, (b"a",)),)),))
    known = plan(comparison, decisions, reference_time_ns=0)
    unknown = Plan(
        steps=(Delete(member=0, source=0, path=(b"a",)),),
        undecided=(),
        refused=(),
        reference_time_ns=0,
        choices={},
    )

    assert cost(known, (0, 1)).members[0].bytes_to_trash == 3
    assert cost(known, (0, 1)).members[0].peak_extra == 0
    assert cost(unknown, (0, 1)).members[0].bytes_to_trash == 0
