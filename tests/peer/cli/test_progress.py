"""What is shown while one waits."""

import io
from pathlib import Path
from typing import Any

import pytest

from peer.cli import progress
from peer.cli.client import Client, View
from peer.cli.words import App
from tests.harness.fake_peer import EVIL_NAME, FakePeer, served


class ScriptedClient(Client):
    """Yields states that were written down."""

    def __init__(self, views: list[View]) -> None:
        super().__init__(0, "")
        self._views = views

    def views(self, timeout: float | None = None) -> Any:
        yield from self._views


@pytest.fixture
def app() -> App:
    """English, without a person."""
    return App({"LANG": "C"}, interactive=False)


def _view(phase: str, notices: list[dict[str, Any]] | None = None, **member: Any) -> View:
    whole = {"letter": "A", "name": EVIL_NAME, "state": "analysing", **member}
    return {
        "session": {"phase": phase},
        "members": [whole],
        "notices": notices or [],
        "proof": None,
    }


@pytest.mark.parametrize(
    ("view", "figures"),
    [
        (_view("inventory", inventory={"files": 3}), "3 files"),
        (_view("inventory", inventory={"to_hash_bytes": 2048, "hashed_bytes": 1024}),
         "1.0 KiB of 2.0 KiB"),
        (_view("synchronisation", sync={"steps": 4, "done": 1, "bytes": 0}), "1 of 4"),
        (_view("synchronisation", sync={"bytes": 2048, "bytes_done": 0}), "0 B of 2.0 KiB"),
        (_view("preparation"), "1 member in the session"),
        ({**_view("finished"), "proof": {"state": "running"}}, "Proving the end state"),
    ],
)  # fmt: skip
def test_each_phase_has_its_figures(
    app: App, view: View, figures: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """As lines where no bar can be drawn; names cannot act."""
    monkeypatch.setattr(progress, "QUIET_START", 0.0)

    last = progress.watch(app, ScriptedClient([view, {"session": None}]), _over)

    told = capsys.readouterr().err
    assert last["session"] is None
    assert figures in told
    assert "\x1b" not in told


def _over(view: View) -> bool:
    return view["session"] is None


def test_on_a_terminal_bars_are_drawn(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """They leave nothing behind; what ended loses its bar."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    drawn = Terminal()
    monkeypatch.setattr("sys.stderr", drawn)
    views = [
        _view("inventory", inventory={"files": 3}),
        _view("synchronisation", sync={"steps": 4, "done": 1}, state="synchronising"),
        {"session": None},
    ]

    progress.watch(app, ScriptedClient(views), _over)

    assert "\u202e" not in drawn.getvalue()


def test_quiet_says_nothing(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    """Results and errors only."""
    app.quiet = True

    progress.watch(app, ScriptedClient([_view("inventory"), {"session": None}]), _over)

    assert capsys.readouterr().err == ""


def test_new_notices_are_said_once_and_old_ones_not(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    """A code without a sentence of its own is told as an error is."""
    old = {"number": 1, "code": "E11", "params": {}}
    new = {"number": 2, "code": "E21", "params": {"member": "C\x1b"}}
    views = [
        _view("preparation", [old]),
        _view("preparation", [old, new]),
        _view("preparation", [old, new]),
        {"session": None, "notices": [old, new]},
    ]

    progress.watch(app, ScriptedClient(views), _over)

    told = capsys.readouterr().err
    assert told.count('the direct link to "C\\x1b"') == 1
    assert "meeting server" not in told


def test_a_state_that_is_reached_already_ends_the_watch(app: App, tmp_path: Path) -> None:
    """Through the real API."""
    with served(FakePeer(), tmp_path):
        view = progress.watch(app, Client.connect(tmp_path), _over)

    assert view["session"] is None
