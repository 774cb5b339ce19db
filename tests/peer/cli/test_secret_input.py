"""How a password reaches a command, and how it must not."""

import json
from pathlib import Path

import pytest

from tests.harness.commands import Run
from tests.harness.fake_peer import INVITATION, PASSWORD, SESSION_ID

SHOWN_PASSWORD = "K7QF-2MNX-9TBR"


def test_join_without_a_terminal_says_how(run: Run) -> None:
    """No prompt where nobody can answer."""
    result = run("join", SESSION_ID)

    assert result.exit_code == 2
    assert "--password-file" in result.stderr


def test_join_reads_a_private_file_or_stdin(run: Run, tmp_path: Path) -> None:
    """For scripts; a file open to others, a link or none at all is refused."""
    secret = tmp_path / "secret"
    secret.write_text(SHOWN_PASSWORD + "\n")
    secret.chmod(0o640)
    exposed = run("join", SESSION_ID, "--password-file", str(secret))
    secret.chmod(0o600)
    private = run("join", SESSION_ID, "--password-file", str(secret))
    run("leave", "--yes")
    piped = run("join", "/b", "--invitation", "-", "--json", stdin=INVITATION + "\n")
    link = tmp_path / "link"
    link.symlink_to(secret)

    assert exposed.exit_code == 2
    assert "chmod 600" in exposed.stderr
    assert private.exit_code == 0
    assert piped.exit_code == 0
    assert json.loads(piped.stdout)["members"][0]["sources"][0]["path"] == "/b"
    assert run("join", SESSION_ID, "--password-file", str(link)).exit_code == 2
    assert run("join", SESSION_ID, "--password-file", str(tmp_path / "no")).exit_code == 2
    assert run("join", "--password-file", str(secret)).exit_code == 2


@pytest.mark.parametrize(
    "args",
    [
        ["join", SESSION_ID, SHOWN_PASSWORD],
        ["join", SESSION_ID, PASSWORD],
        ["join", SESSION_ID, PASSWORD.lower()],
        ["join", SESSION_ID, "K7QF 2MNX 9TBR"],
        ["join", SESSION_ID, "K7QF–2MNX–9TBS"],
        ["join", PASSWORD],
        ["join", INVITATION],
        ["join", f"https://example.org/join#1.{SESSION_ID}.{PASSWORD}"],
        ["join", "--invitation", INVITATION],
        ["join", f"--invitation={INVITATION}"],
        ["join", "--password", SHOWN_PASSWORD],
        ["join", f"--password={PASSWORD}"],
        ["join", "--pass=short"],
        ["start", INVITATION],
        [INVITATION],
    ],
)
def test_a_secret_among_the_arguments_is_refused_and_not_repeated(
    alone: Run, args: list[str]
) -> None:
    """Every process of this computer can read them; the hint names the ways that are not."""
    result = alone(*args)

    assert result.exit_code == 2
    assert "--password-file" in result.stderr
    for part in (PASSWORD, "2MNX", "2mnx"):
        assert part not in result.output


@pytest.mark.parametrize(
    "environ",
    [{"QUINTET_PASSWORD": PASSWORD}, {"QUINTET_INVITATION": "x"}, {"QUINTET_LINK": INVITATION},
     {"QUINTET_SESSION_PASSWORD": PASSWORD}],
)  # fmt: skip
def test_a_secret_in_the_environment_is_refused_and_not_repeated(
    alone: Run, environ: dict[str, str]
) -> None:
    """Others can read it too; only the variable is named."""
    result = alone("join", SESSION_ID, environ=environ)

    assert result.exit_code == 2
    assert next(iter(environ)) in result.stderr
    assert PASSWORD not in result.output


def test_a_folder_whose_name_looks_like_a_password_can_be_joined_with(
    run: Run, tmp_path: Path
) -> None:
    """What exists is a path."""
    folder = tmp_path / "photographs1"[:12]
    folder.mkdir()

    result = run("join", SESSION_ID, str(folder), interactive=True, stdin=f"{PASSWORD}\n")

    assert result.exit_code == 0
