"""Starting, joining, looking at and leaving a session."""

import json
from pathlib import Path

from tests.harness.commands import Run
from tests.harness.fake_peer import INVITATION, PASSWORD, SESSION_ID, FakePeer, served

SHOWN_PASSWORD = "K7QF-2MNX-9TBR"


def test_start_prints_what_the_others_need(run: Run, fake: FakePeer) -> None:
    """Grouped for reading aloud; the invitation whole for pasting; a QR code when asked for."""
    result = run("start", "/a", "--rendezvous", "node:1#F", "--qr")

    assert result.exit_code == 0
    assert "7GQ-2M9-KXT" in result.stdout
    assert SHOWN_PASSWORD in result.stdout
    assert INVITATION in result.stdout
    assert "█" in result.stdout or "▄" in result.stdout
    assert fake.calls == ["start node:1#F False"]


def test_the_meeting_server_of_the_settings_is_used_unless_lan(run: Run, fake: FakePeer) -> None:
    """``--lan`` keeps the session off it."""
    environ = {"QUINTET_RENDEZVOUS": "mine:5"}
    run("start", environ=environ)
    run("leave", "--yes")
    run("start", "--lan", environ=environ)

    assert [call for call in fake.calls if "start" in call] == [
        "start mine:5 False", "start None True",
    ]  # fmt: skip


def test_one_line_does_the_whole_session(run: Run) -> None:
    """Wait, compare, decide, show, confirm, synchronise, prove."""
    result = run("start", "/a", "--lan", "--members", "2", "--preset", "combine", "--yes")

    assert result.exit_code == 0
    assert "4 steps" in result.stdout
    assert "Proved" in result.stdout


def test_a_second_session_is_refused(run: Run) -> None:
    """A peer is in one at a time; status 5, with a way out."""
    run("start", "--lan")

    result = run("start", "--lan")

    assert result.exit_code == 5
    assert "quintet leave" in result.stderr


def test_a_name_that_differs_from_the_running_peers_is_refused(run: Run) -> None:
    """It is told only inside the join, so it cannot change later."""
    assert run("start", "--lan", "--name", "Computer A").exit_code == 0
    assert run("start", "--lan", "--name", "Other").exit_code == 2


def test_join_takes_the_password_from_a_prompt(run: Run, fake: FakePeer) -> None:
    """On a terminal; either question takes the whole invitation."""
    assert run("join", SESSION_ID, "/b", interactive=True, stdin=f"{PASSWORD}\n").exit_code == 0
    run("leave", "--yes")
    assert run("join", interactive=True, stdin=f"{INVITATION}\n").exit_code == 0
    run("leave", "--yes")
    result = run("join", SESSION_ID, interactive=True, stdin=f"{INVITATION}\n")

    assert result.exit_code == 0
    assert "member A" in result.stdout
    assert PASSWORD not in result.stdout
    assert fake.calls.count("join") == 3


def test_a_wrong_password_is_told_as_agreed(run: Run) -> None:
    """E04, with the tries left; status 5."""
    result = run("join", SESSION_ID, interactive=True, stdin="0000 0000 0000\n")

    assert result.exit_code == 5
    assert "The password was not accepted. Correct it and try again. (3 tries" in result.stderr


def test_status_shows_members_without_letting_their_names_act(run: Run) -> None:
    """Escapes and bidirectional marks are written out (T28)."""
    run("start", "/a", "--lan")

    result = run("status")

    assert result.exit_code == 0
    assert "7GQ-2M9-KXT" in result.stdout
    assert "local network 0.4 ms" in result.stdout
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "evil\\x1b[31m\\u{202e}gnp.exe" in result.stdout


def test_status_without_peer_or_session_says_how_to_begin(alone: Run, tmp_path: Path) -> None:
    """No peer is started for a look."""
    assert "quintet start" in alone("status").stdout
    assert json.loads(alone("status", "--json").stdout) == {
        "schema": 1, "running": False, "session": None, "members": [],
    }  # fmt: skip
    with served(FakePeer(), tmp_path):
        assert "quintet join" in alone("status").stdout


def test_leaving_asks_unless_told_not_to(run: Run, fake: FakePeer) -> None:
    """No is status 5; without a terminal it must be given."""
    run("start", "--lan")

    assert run("leave").exit_code == 2
    assert run("leave", interactive=True, stdin="n\n").exit_code == 5
    assert run("leave", interactive=True, stdin="\n").exit_code == 5
    assert "leave" not in fake.calls
    assert run("leave", interactive=True, stdin="oui\n", environ={"LANG": "fr"}).exit_code == 0
    assert run("leave", "--yes").exit_code == 2


def test_sources_are_added_dropped_and_listed(run: Run) -> None:
    """Paths are made absolute: the peer runs in another folder."""
    run("start", "/a", "--lan")

    assert run("source", "add", "relative").stdout == "A2\n"
    listed = json.loads(run("source", "list", "--json").stdout)
    assert listed["sources"]["A"][1]["path"] == str(Path.cwd() / "relative")
    assert run("source", "drop", "a2").exit_code == 0
    assert "relative" not in run("source", "list").stdout


def test_settings_of_the_session_are_shown_and_set(run: Run) -> None:
    """As key=value, so that the output is also the input."""
    assert run("settings").exit_code == 2
    run("start", "--lan")

    assert run("settings").stdout == "matching=path\n"
    assert run("settings", "matching=name").stdout == "matching=name\n"
    assert json.loads(run("settings", "--json").stdout)["settings"] == {"matching": "name"}


def test_sources_are_paired_by_their_codes_and_again_by_their_numbers(
    run: Run, fake: FakePeer
) -> None:
    """Without a code the table is empty."""
    run("start", "/a", "--lan")
    paired = run("source", "pair", "a1", "B2")
    kept = fake.view()["session"]["settings"]["pairs"]
    unpaired = run("source", "pair")

    assert (paired.exit_code, unpaired.exit_code) == (0, 0)
    assert kept == "A1+B2"
    assert fake.view()["session"]["settings"]["pairs"] == ""


def test_a_local_session_needs_no_node(run: Run, fake: FakePeer) -> None:
    """Paths are absolute when they reach the peer; what follows is shown at once."""
    result = run("local", "/a", "/b", "--create")

    assert result.exit_code == 0
    assert "Local session" in result.stdout
    assert fake.calls == ["start_local ['/a', '/b'] True"]
    assert run("leave", "--yes").exit_code == 0
    assert json.loads(run("local", "/a", "/b", "--json").stdout)["session"]["local"] is True
    assert run("local").exit_code == 2
