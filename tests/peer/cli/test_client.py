"""Finding the running peer, and starting one where none runs."""

import json
import os
import sys
from pathlib import Path

import pytest

from peer.cli.client import Client, connect_or_start
from peer.errors import PeerDidNotStart, WaitTimedOut
from tests.harness.commands import FOREGROUND, Run, runner
from tests.harness.fake_peer import FakePeer, served


def test_an_address_left_by_a_peer_that_died_is_no_peer(alone: Run, tmp_path: Path) -> None:
    """Nothing listens there; whatever the file holds."""
    dead = '{"address": "http://127.0.0.1:1", "token": "x"}'
    for content in (dead, "{}", "[", "[]", '{"address": "x", "token": 1}', '{"address": 1}'):
        (tmp_path / "api.json").write_text(content)
        assert alone("plan").exit_code == 6


def test_waiting_has_an_end(fake: FakePeer, tmp_path: Path) -> None:
    """What does not happen in time is an error of its own."""
    with served(fake, tmp_path):
        client = Client.connect(tmp_path)

        with pytest.raises(WaitTimedOut):
            client.wait_until(lambda _view: False, timeout=0.05)


def test_the_token_does_not_show(tmp_path: Path) -> None:
    """A client may end up in a traceback."""
    assert "hidden" not in repr(Client(1, "hidden"))


def test_a_peer_that_ends_at_once_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person finds the reason there."""
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(PeerDidNotStart) as caught:
        connect_or_start(tmp_path / "home", [])

    assert caught.value.params["log"] == str(tmp_path / "home" / "peer.log")
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home" / "peer.log").stat().st_mode & 0o777 == 0o600


INTERPRETER = """#!/bin/sh
shift 2
exec {python} -c '{program}' "$@"
"""


@pytest.mark.slow
def test_a_command_starts_a_peer_that_outlives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the options that were given; ``down`` ends it."""
    for name in [name for name in os.environ if name.startswith("QUINTET_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    interpreter = tmp_path / "python"
    interpreter.write_text(INTERPRETER.format(python=sys.executable, program=FOREGROUND))
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    home = tmp_path / "home"
    run = runner(home)

    started = run("start", "--lan")
    first = (home / "api.json").read_bytes()
    shown = run("status", "--json")
    again = run("source", "list")

    assert started.exit_code == 0, started.output
    assert json.loads(shown.stdout)["session"]["phase"] == "preparation"
    assert again.exit_code == 0
    assert (home / "api.json").read_bytes() == first
    assert run("down").exit_code == 0
    assert not (home / "api.json").exists()
