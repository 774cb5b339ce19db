"""The peer itself as commands: its page, its settings, its end."""

import json
from pathlib import Path

from tests.harness.commands import Run
from tests.harness.fake_peer import FakePeer, served


def test_open_prints_an_entry_that_works_once(run: Run) -> None:
    """The code stands in the fragment, which no server sees."""
    result = run("open", "--url")

    assert result.exit_code == 0
    assert "/#" in result.stdout
    assert ":9999/#" in run("open", "--via-port", "9999").stdout


def test_config_shows_values_and_origins(alone: Run, tmp_path: Path) -> None:
    """What was set, where, and the rest by default."""
    assert alone("config", "set", "identity.name=Anna's PC").exit_code == 0
    shown = json.loads(alone("config", "show", "--json", environ={"QUINTET_UI_PORT": "9"}).stdout)[
        "settings"
    ]

    assert shown["identity.name"] == {
        "value": "Anna's PC", "origin": str(tmp_path / "config.toml"),
    }  # fmt: skip
    assert shown["ui_port"] == {"value": 9, "origin": "QUINTET_UI_PORT"}
    assert "default" in alone("config", "show", "--origin").stdout
    assert alone("config", "path").stdout.strip() == str(tmp_path / "config.toml")


def test_version_and_completion(alone: Run) -> None:
    """Plain and as JSON; a script for the shell."""
    assert alone("version").stdout.startswith("quintet 0.")
    assert json.loads(alone("version", "--json").stdout)["schema"] == 1
    assert "_QUINTET_COMPLETE" in alone("completion", "bash").stdout


def test_down_where_nothing_runs_is_done(alone: Run) -> None:
    """What it asks for is so already."""
    assert alone("down").exit_code == 0


def test_down_ends_the_peer_and_waits_for_it(fake: FakePeer, tmp_path: Path, alone: Run) -> None:
    """When it returns, the address is gone."""
    with served(fake, tmp_path):
        result = alone("down")
        gone = not (tmp_path / "api.json").exists()

    assert result.exit_code == 0
    assert gone
