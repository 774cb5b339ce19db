"""Inventory, comparison, rules and actions as commands."""

import csv
import io
import json
from pathlib import Path

from tests.harness.commands import Run
from tests.harness.fake_peer import EVIL_NAME, FakePeer, served


def test_compare_in_its_forms(compared: Run) -> None:
    """A table, CSV, JSON lines, one object; status 3 only when asked for."""
    assert "10 items" in compared("compare").stdout
    rows = list(csv.reader(io.StringIO(compared("compare", "--format", "csv").stdout)))
    assert rows[0] == ["path", "kind", "status", "A.size", "A.date", "B.size", "B.date", "actions"]
    assert rows[1][3] == "5"
    line = compared("compare", "--format", "jsonl").stdout
    assert json.loads(line)["path"] == EVIL_NAME
    assert json.loads(compared("compare", "--json").stdout)["schema"] == 1
    for form in ("table", "csv", "jsonl"):
        assert "\x1b" not in compared("compare", "--format", form).stdout
    assert compared("compare", "--exit-code").exit_code == 3
    assert compared("compare", "--limit", "0").exit_code == 0


def test_a_person_sees_what_differs_and_an_export_everything(compared: Run, fake: FakePeer) -> None:
    """Unless everything, or something else, is asked for."""
    for arguments in ((), ("--all",), ("--filter", "x"), ("--format", "csv"), ("--json",)):
        compared("compare", *arguments)

    assert fake.filters == ["not is:equal", "", "x", "", ""]


def test_rules_are_kept_in_order(compared: Run) -> None:
    """Added at the end, removed by number; a preset is replaced by another, not heaped on it."""
    compared("rules", "preset", "combine")
    compared("rules", "preset", "mirror", "a")
    preset = json.loads(compared("rules", "list", "--json").stdout)
    compared("rules", "add", "files if A.date > B.date then copy A -> B")
    compared("rules", "add", "files", "then", "copy", "B", "->", "A")
    compared("rules", "remove", "2")

    assert (preset["preset"], len(preset["rules"])) == ("mirror A", 1)
    assert json.loads(compared("rules", "list", "--json").stdout) == {
        "schema": 1, "preset": None,
        "rules": ["files then mirror A", "files then copy B -> A"],
    }  # fmt: skip
    assert compared("rules", "remove", "9").exit_code == 2
    assert compared("rules", "clear").exit_code == 0
    assert "No rules yet" in compared("rules", "list").stdout


def test_an_action_goes_from_one_to_the_others(compared: Run, fake: FakePeer) -> None:
    """What is refused is named with its reason; status 4."""
    result = compared("act", "copy", "a", "->", "b", "c", "--filter", "x")

    assert result.exit_code == 4
    assert fake.calls[-1] == "act copy A ['B', 'C']"
    compared("act", "delete", "b", "--filter", "x")
    assert fake.calls[-1] == "act delete None ['B']"
    assert compared("act", "delete", "b", "--flter", "x").exit_code == 2
    assert compared("act", "delete", "--all", "--filter", "x").exit_code == 2


def test_who_does_not_lead_is_told_who_does(run: Run, fake: FakePeer) -> None:
    """Status 5, with the leader's letter."""
    fake.leader = "B"
    run("start", "--lan")

    result = run("inventory")

    assert result.exit_code == 5
    assert "member B" in result.stderr


def test_an_inventory_alone_is_refused(tmp_path: Path, alone: Run) -> None:
    """There is nothing to compare with."""
    with served(FakePeer(), tmp_path):
        alone("start", "--lan")
        assert alone("inventory", "--wait").exit_code == 5
