import os
import subprocess
import sys
from pathlib import Path

import pytest

from peer.errors import PeerAlreadyRunning
from peer.store.errors import StateExposed, StateUnusable
from peer.store.home import (
    MAX_STATE_FILE,
    ApiAccess,
    Home,
    create_private,
    default_home,
    read_private,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A state folder that did not exist."""
    return Home(tmp_path / "parent" / "state")


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_folder_is_for_its_user_alone(home: Home) -> None:
    """So is everything in it."""
    home.write("grid.json", b"{}")
    with home:
        assert _mode(home.path) == 0o700
        assert {_mode(path) for path in home.path.iterdir()} == {0o600}
        assert {path.name for path in home.path.iterdir()} == {"lock", "grid.json"}


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o710])
def test_a_folder_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Whoever opened it decides what to do about it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(mode)

    with pytest.raises(StateExposed):
        Home(tmp_path / "state")


def test_a_place_that_is_no_folder_is_unusable(tmp_path: Path) -> None:
    """Named by its own name only."""
    (tmp_path / "state").touch()

    with pytest.raises(StateUnusable) as caught:
        Home(tmp_path / "state")

    assert caught.value.what == "state"


def test_the_default_is_where_the_system_keeps_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The XDG base directory, on Linux."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    assert default_home() == tmp_path / "quintet"


def test_one_peer_at_a_time(home: Home) -> None:
    """In this process or another; given back when it ends."""
    program = f"""
import sys
from pathlib import Path
from peer.errors import PeerAlreadyRunning
from peer.store.home import Home
try:
    with Home(Path({str(home.path)!r})):
        sys.exit(0)
except PeerAlreadyRunning:
    sys.exit(5)
"""
    with home:
        with pytest.raises(PeerAlreadyRunning):
            Home(home.path).lock()
        held = subprocess.run((sys.executable, "-c", program), check=False).returncode
    home.unlock()

    with Home(home.path):
        pass
    assert held == 5


def test_a_lock_that_is_a_link_is_refused(home: Home, tmp_path: Path) -> None:
    """It would be made elsewhere."""
    (home.path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StateUnusable):
        home.lock()
    assert not (tmp_path / "elsewhere").exists()


def test_a_small_file_is_replaced_whole(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing disk leaves the old one; what a killed peer left is no hindrance."""
    home.write("a.json", b"old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StateUnusable):
            home.write("a.json", b"new")
    assert home.read("a.json") == b"old"

    home.write("a.json", b"new")

    assert home.read("a.json") == b"new"
    assert [path.name for path in home.path.iterdir()] == ["a.json"]
    home.remove("a.json")
    home.remove("a.json")
    assert home.read("a.json") is None


def test_how_to_reach_the_peer_is_kept_private(home: Home) -> None:
    """The token is in the file, and nowhere it could be printed."""
    access = ApiAccess(address="http://127.0.0.1:1", token="secret-token")
    assert home.read_api() is None

    home.write_api(access)

    assert home.read_api() == access
    assert "secret-token" not in repr(access)
    (home.path / "api.json").chmod(0o640)
    with pytest.raises(StateExposed):
        home.read_api()
    home.write("api.json", b"{}")
    with pytest.raises(StateUnusable):
        home.read_api()


def test_a_private_file_is_regular_and_bounded(tmp_path: Path) -> None:
    """No link, pipe or folder; never more than asked for."""
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("f")
    (tmp_path / "f").write_bytes(b"12345")
    (tmp_path / "f").chmod(0o600)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, limit in (("d", 9), ("link", 9), ("pipe", 9), ("f", 4)):
        with pytest.raises(StateUnusable):
            read_private(tmp_path / name, limit=limit)

    assert read_private(tmp_path / "f", limit=5) == b"12345"
    assert read_private(tmp_path / "gone", limit=5) is None
    assert MAX_STATE_FILE > 5


def test_a_private_file_is_made_once(tmp_path: Path) -> None:
    """Whatever stands there stays; nothing else is left behind."""
    create_private(tmp_path / "key", b"first")

    with pytest.raises(FileExistsError):
        create_private(tmp_path / "key", b"second")
    with pytest.raises(StateUnusable):
        create_private(tmp_path / "no" / "key", b"x")

    assert (tmp_path / "key").read_bytes() == b"first"
    assert _mode(tmp_path / "key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
