import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

import peer.daemon.deciding
from peer.daemon.deciding import (
    MAX_VIEWS,
    MAX_WINDOW,
    SORTS,
    Deciding,
    Proposed,
    decode_proposed,
)
from peer.errors import ExpressionMalformed
from peer.plan.decisions import Decisions
from peer.plan.presets import ABOUT_ONE, Preset
from peer.plan.rules import MAX_RULES, format_action
from peer.session.session_settings import SessionSettings
from protocol import codec
from protocol.errors import MalformedMessage
from protocol.messages.inventory import MAX_TIME_NS
from tests.harness.inventories import (
    DIRECTORY,
    Thing,
    Tree,
    file,
    hashed,
    identified,
    inventories_of,
    link,
)

SETTINGS = SessionSettings()


def deciding_on(*trees: Tree) -> Deciding:
    return Deciding.compare(inventories_of(*trees), SETTINGS, range(len(trees)))


@pytest.fixture
def deciding() -> Deciding:
    """Three files and a folder on two members: equal, different, and one on each side only."""
    return deciding_on(
        {"same.txt": file("same"), "a.txt": file("only A", at=5), "new.txt": file("new", at=9)},
        {"same.txt": file("same"), "b/c.txt": file("B", at=7), "new.txt": file("old one", at=1)},
    )


def decided(deciding: Deciding, data: bytes) -> Deciding:
    """Let the encoded decisions be in force."""
    deciding.take(deciding.decide(data))
    return deciding


def paths(window: Mapping[str, Any]) -> list[str]:
    return [row["path"] for row in window["rows"]]


# --- windows ------------------------------------------------------------------


def test_a_window_is_cut_out_of_all_rows(deciding: Deciding) -> None:
    """How many there are is told with every window."""
    whole = deciding.window("", "path", 0, 100)
    part = deciding.window("", "path", 2, 2)
    beyond = deciding.window("", "path", 99, 5)

    assert whole["matching"] == len(paths(whole)) == part["matching"]
    assert paths(part) == paths(whole)[2:4]
    assert part["offset"] == 2
    assert paths(beyond) == []
    assert whole["totals"] == deciding.totals()


def test_a_window_is_never_larger_than_what_a_page_can_hold(
    deciding: Deciding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was asked for."""
    monkeypatch.setattr(peer.daemon.deciding, "MAX_WINDOW", 3)

    window = deciding.window("", "path", 0, MAX_WINDOW * 10)

    assert len(paths(window)) == 3


@pytest.mark.parametrize("sort", SORTS)
def test_rows_are_sorted_both_ways(deciding: Deciding, sort: str) -> None:
    """The other way round is exactly the reverse."""
    forward = paths(deciding.window("", sort, 0, 100))
    backward = paths(deciding.window("", f"-{sort}", 0, 100))

    assert backward == forward[::-1]
    assert sorted(forward) == sorted(paths(deciding.window("", "path", 0, 100)))


def test_sizes_and_dates_sort_by_the_largest_and_the_newest(deciding: Deciding) -> None:
    """Of all members that have the item; folders come first, by size."""
    by_size = paths(deciding.window("is:file", "size", 0, 100))
    by_date = paths(deciding.window("is:file", "-date", 0, 100))

    assert by_size == ["b/c.txt", "same.txt", "a.txt", "new.txt"]
    assert by_date[0] == "new.txt"


def test_a_filter_chooses_rows(deciding: Deciding) -> None:
    """And one that cannot be read points at the place."""
    only_a = deciding.window("only:A", "path", 0, 100)

    with pytest.raises(ExpressionMalformed) as malformed:
        deciding.window("only:Z", "path", 0, 100)

    assert paths(only_a) == ["a.txt"]
    assert malformed.value.position == 5


def test_selections_kept_for_the_next_window_are_few(deciding: Deciding) -> None:
    """Each has a number for every row of a million; and decisions make all of them old."""
    for number in range(MAX_VIEWS * 3):
        deciding.window(f"A.size > {number}", "path", 0, 1)
    kept = len(deciding._views)
    decided(deciding, deciding.with_rules("combine", []))

    assert kept == MAX_VIEWS
    assert deciding._views == {}


def test_a_row_says_what_each_member_has(deciding: Deciding) -> None:
    """Letters, dates in ISO 8601, content groups; nothing for who has nothing."""
    (row,) = deciding.window("a.txt", "path", 0, 1)["rows"]

    assert row["path"] == "a.txt"
    assert (row["kind"], row["line"], row["equal"]) == ("file", 1, False)
    assert row["cells"]["B"] == []
    (cell,) = row["cells"]["A"]
    assert (cell["size"], cell["date"], cell["error"]) == (6, "1970-01-01T00:00:05+00:00", None)
    assert row["actions"] == []


def test_rows_name_their_line_where_there_are_several() -> None:
    """Second sources of the members are compared with one another."""
    inventories = hashed(
        [identified(n, {"x": file("1")}, {"y": file("2")}) for n in range(2)],
        [[{"x": file("1")}, {"y": file("2")}]] * 2,
        SETTINGS,
    )
    deciding = Deciding.compare(inventories, SETTINGS, (0, 1))

    shown = paths(deciding.window("is:file", "path", 0, 100))

    assert shown == ["1:x", "2:y"]


def test_oddities_are_noted_on_their_row() -> None:
    """Unreadable files, clashes of kind, folders, links: each is shown as what it is."""
    trees: list[dict[str, Thing]] = [
        {"broken": file("secret!", at=1), "clash": DIRECTORY, "l": link("x"), "d": DIRECTORY},
        {"broken": file("other", at=2), "clash": file("x"), "l": link("x"), "d": DIRECTORY},
    ]
    inventories = hashed(
        [identified(number, tree) for number, tree in enumerate(trees)],
        [[tree] for tree in trees],
        SETTINGS,
        unreadable=[(0, "broken")],
    )
    deciding = Deciding.compare(inventories, SETTINGS, (0, 1))
    rows = {row["path"]: row for row in deciding.window("", "path", 0, 100)["rows"]}

    assert rows["clash"]["kind"] == "clash"
    assert rows["d"]["kind"] == "directory"
    assert rows["d"]["cells"]["A"][0]["size"] is None
    assert rows["l"]["kind"] == "link"
    assert rows["broken"]["notes"] != []
    assert rows["broken"]["cells"]["A"][0]["error"] is not None


def test_everything_shown_is_json() -> None:
    """Dates beyond the calendar and names that are no text included."""
    odd = Thing(file("x").kind, b"x", mtime_ns=MAX_TIME_NS)
    trees: list[dict[str, Thing]] = [{"\udcff\udcfe": odd, "e\x1b[31m": file("y")}, {}]
    deciding = deciding_on(*trees)
    decided(deciding, deciding.with_rules("combine", []))

    text = json.dumps(
        [
            deciding.window("", "path", 0, 100),
            deciding.plan_view(),
            deciding.refusals(),
            deciding.rules(),
        ]
    )

    assert '"date": "2116-' in text
    assert "\\u001b" not in text


# --- decisions -------------------------------------------------------------------


def test_nothing_is_decided_before_somebody_decides(deciding: Deciding) -> None:
    """No plan, no rules, no refusals; no bytes mean the same."""
    assert deciding.plan_view() is None
    assert deciding.refusals() == []
    assert deciding.rules() == {"preset": None, "rules": [], "targeted": 0}
    assert decode_proposed(b"") == Proposed(reference_time_ns=0, decisions=Decisions())


def test_a_preset_makes_a_plan_that_all_members_compute_alike(deciding: Deciding) -> None:
    """From the same bytes the same steps, at whichever member."""
    other = deciding_on(
        {"same.txt": file("same"), "a.txt": file("only A", at=5), "new.txt": file("new", at=9)},
        {"same.txt": file("same"), "b/c.txt": file("B", at=7), "new.txt": file("old one", at=1)},
    )
    data = deciding.with_rules("combine", [])

    mine, theirs = deciding.decide(data), other.decide(data)
    decided(deciding, data)
    view = deciding.plan_view()

    assert mine.plan.digest == theirs.plan.digest
    assert view is not None
    assert view["steps"] == len(mine.plan.steps) > 0
    assert view["members"]["A"]["create"] == 1
    assert view["members"]["B"]["create"] == 1
    assert view["members"]["B"]["replace"] == 1
    assert deciding.rules()["preset"] == "combine"


@pytest.mark.parametrize("preset", list(Preset))
def test_every_preset_is_to_be_had_by_its_name(deciding: Deciding, preset: Preset) -> None:
    """Those about one member with its letter, large or small, the others without."""
    right, wrong = (f"{preset} b", f"{preset}") if preset in ABOUT_ONE else (preset, f"{preset} B")

    data = deciding.with_rules(right, [])

    assert decode_proposed(data).decisions.preset == preset
    with pytest.raises(ValueError, match="member"):
        deciding.with_rules(wrong, [])


@pytest.mark.parametrize(
    "text", ["", "everything", "mirror Z", "mirror AB", "mirror é", "combine A"]
)
def test_what_is_no_preset_is_refused(deciding: Deciding, text: str) -> None:
    """Also a letter nobody has."""
    with pytest.raises(ValueError):  # noqa: PT011  # of several kinds; the caller names it
        deciding.with_rules(text, [])


def test_a_preview_changes_nothing(deciding: Deciding) -> None:
    """It is what the plan would be; asked twice it is computed once."""
    preview = deciding.preview("mirror A")
    again = deciding.preview("mirror A")
    before = deciding.plan_view()
    decided(deciding, deciding.with_rules("mirror A", []))
    after = deciding.plan_view()

    assert preview is again
    assert before is None
    assert after is not None
    assert {**preview, "reference_time": None} == {**after, "reference_time": None}


def test_rules_follow_those_of_the_preset(deciding: Deciding) -> None:
    """As text, they come back as they were written."""
    rule = "files then copy A -> B"

    decided(deciding, deciding.with_rules("fill-gaps", [rule]))
    decided_alone = deciding.rules()
    decided(deciding, deciding.with_rules(None, [rule]))

    assert decided_alone["preset"] == "fill-gaps"
    assert deciding.rules() == {"preset": None, "rules": [rule], "targeted": 0}
    rules = decided_alone["rules"]
    assert isinstance(rules, list)
    assert rules[-1] == rule
    assert len(rules) > 1


def test_a_rule_that_cannot_be_read_changes_nothing(deciding: Deciding) -> None:
    """The error points at the place."""
    with pytest.raises(ExpressionMalformed):
        deciding.with_rules(None, ["files then fly A -> B"])

    assert deciding.decided is None


def test_more_rules_than_anybody_takes_are_refused_here(deciding: Deciding) -> None:
    """Every other member would refuse them, and keep the plan before."""
    with pytest.raises(ExpressionMalformed):
        deciding.with_rules(None, ["files then copy A -> B"] * (MAX_RULES + 1))


def test_an_action_is_set_on_the_rows_a_filter_selects(deciding: Deciding) -> None:
    """It counts before the rules; whoever acts on a row again has changed its mind."""
    decided(deciding, deciding.with_rules("combine", []))
    data, count = deciding.with_action("only:A", "nothing -> all")
    decided(deciding, data)
    kept_out = deciding.plan_view()
    data, again = deciding.with_action("only:A", "copy A -> B")
    decided(deciding, data)
    planned = deciding.plan_view()

    assert count == again == 1
    assert kept_out is not None
    assert planned is not None
    assert kept_out["members"]["B"]["create"] == 0
    assert planned["members"]["B"]["create"] == 1
    assert deciding.rules()["targeted"] == 2, "doing nothing at A still stands"
    assert deciding.rules()["preset"] == "combine"
    (row,) = deciding.window("a.txt", "path", 0, 1)["rows"]
    assert row["actions"] == ["copy A -> B"]


def test_acting_again_replaces_only_what_was_aimed_at_now() -> None:
    """Other rows, and other destinations of the same rows, keep what was set for them."""
    deciding = deciding_on({"a": file("1"), "b": file("22")}, {}, {})
    data, _ = deciding.with_action("", "nothing -> all")
    decided(deciding, data)

    data, _ = deciding.with_action("a", "copy A -> B")
    decided(deciding, data)
    view = deciding.plan_view()

    assert view is not None
    assert (view["members"]["B"]["create"], view["members"]["C"]["create"]) == (1, 0)
    targeted = decode_proposed(data).decisions.targeted
    assert [(format_action(each.action, deciding.letter), each.items) for each in targeted] == [
        ("copy A -> B", ((0, (b"a",)),)),
        ("nothing -> all", ((0, (b"b",)),)),
        ("nothing -> A, C", ((0, (b"a",)),)),
    ]


def test_rows_can_be_filtered_by_what_will_happen_to_them(deciding: Deciding) -> None:
    """Marks come of the plan in force, not of the one before."""
    before = deciding.window("has:action", "path", 0, 100)["matching"]
    decided(deciding, deciding.with_rules("mirror A", []))
    after = paths(deciding.window("has:action", "path", 0, 100))

    assert before == 0
    assert {"a.txt", "b/c.txt", "new.txt"} <= set(after)
    assert "same.txt" not in after


def test_an_action_on_no_row_changes_no_step(deciding: Deciding) -> None:
    """A filter may select nothing."""
    data, count = deciding.with_action("nosuchfile", "copy A -> B")

    assert count == 0
    assert decode_proposed(data).decisions.targeted == ()


@pytest.mark.parametrize("text", ["", "copy", "copy Z -> B", "copy A -> ", "explode -> all"])
def test_an_action_that_cannot_be_read_is_refused(deciding: Deciding, text: str) -> None:
    """It is typed, or put together by a program."""
    with pytest.raises(ExpressionMalformed):
        deciding.with_action("", text)


def test_many_rows_become_several_batches(
    deciding: Deciding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message has its bound."""
    monkeypatch.setattr(peer.daemon.deciding, "MAX_BATCH", 2)
    data, count = deciding.with_action("", "nothing -> all")

    targeted = decode_proposed(data).decisions.targeted

    assert sum(len(each.items) for each in targeted) == count
    assert max(len(each.items) for each in targeted) == 2


def test_brakes_and_refusals_are_shown() -> None:
    """What would be deleted in bulk, and what cannot be done at all, with its reason."""
    files = {f"{number}.txt": file("x" * (number + 1)) for number in range(30)}
    deciding = deciding_on({"kept.txt": file("kept")}, files)
    decided(deciding, deciding.with_rules("mirror A", []))

    view = deciding.plan_view()

    assert view is not None
    assert view["members"]["B"]["delete"] == 30
    (brake,) = view["brakes"]
    assert (brake["letter"], brake["count"], brake["files"]) == ("B", 30, 30)


def test_what_is_left_alone_is_told_with_its_reason() -> None:
    """A file that cannot be read is neither copied nor replaced."""
    trees: list[dict[str, Thing]] = [{"x": file("secret!", at=1)}, {"x": file("other", at=2)}]
    inventories = hashed(
        [identified(number, tree) for number, tree in enumerate(trees)],
        [[tree] for tree in trees],
        SETTINGS,
        unreadable=[(0, "x")],
    )
    deciding = Deciding.compare(inventories, SETTINGS, (0, 1))
    decided(deciding, deciding.with_rules("mirror A", []))

    refusals = deciding.refusals()

    assert [refusal["path"] for refusal in refusals] == ["x"]
    assert refusals[0]["reason"]


# --- bytes of another member ---------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"nonsense",
        msgspec.msgpack.encode({"reference_time_ns": 0}),
        msgspec.msgpack.encode({"reference_time_ns": 2**63, "decisions": {}}),
        msgspec.msgpack.encode({"reference_time_ns": 0, "decisions": {"preset": "A\n"}}),
        b"\x91" * 100_000,
    ],
)
def test_bytes_that_are_no_decisions_are_malformed(deciding: Deciding, data: bytes) -> None:
    """Whatever a leader sends: it is decoded within bounds or not at all."""
    with pytest.raises(MalformedMessage):
        deciding.decide(data)


def test_decisions_that_name_strangers_plan_nothing_for_them(deciding: Deciding) -> None:
    """A leader may name an index nobody has; nobody's files are touched for it."""
    other = deciding_on({}, {}, {}, {})
    data = other.with_rules("mirror D", [])

    plan = deciding.decide(data).plan

    assert not plan.steps


def test_what_was_encoded_is_what_is_decoded(deciding: Deciding) -> None:
    """The instant travels with the decisions: *now* means the same everywhere."""
    data = deciding.with_rules("combine", [])

    proposed = decode_proposed(data)

    assert codec.encode(proposed) == data
    assert proposed.reference_time_ns > 0
