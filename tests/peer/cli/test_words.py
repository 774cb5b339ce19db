"""The language of the commands, and that each explains itself in it."""

import pytest

from peer.cli.main import COMMANDS
from tests.harness.commands import Run


def test_the_language_is_chosen_by_flag_variable_and_system(alone: Run) -> None:
    """Every word follows, help and headings too."""
    french = "Aucun pair n’est en cours."
    assert french in alone("--lang", "fr", "plan").stderr
    assert french in alone("plan", "--lang", "fr").stderr
    assert french in alone("plan", environ={"QUINTET_LANG": "fr"}).stderr
    assert french in alone("plan", environ={"LANG": "fr_FR.UTF-8"}).stderr
    shown = alone("--lang", "fr", "sync", "--help").stdout
    assert shown.startswith("Utilisation : quintet sync")
    assert "Montre le plan" in shown


@pytest.mark.parametrize("name", list(COMMANDS))
@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_command_explains_itself(alone: Run, name: str, language: str) -> None:
    """No key of the catalogue shows through."""
    result = alone("--lang", language, name, "--help")

    assert result.exit_code == 0
    assert "option." not in result.stdout
    assert "command." not in result.stdout
    assert "setting." not in result.stdout
