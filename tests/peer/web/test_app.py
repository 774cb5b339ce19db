"""Where the local API listens, and the file that says so."""

import json
import socket
import stat
from pathlib import Path

import pytest

from peer.cli.client import Client
from peer.store.home import API
from tests.harness.fake_peer import FakePeer, served


def test_the_api_file_is_private_and_goes_with_the_peer(tmp_path: Path) -> None:
    """Only the owner reads the token; a peer that ended leaves no address behind."""
    with served(FakePeer(), tmp_path) as api:
        path = tmp_path / API
        told = json.loads(path.read_bytes())
        mode = stat.S_IMODE(path.stat().st_mode)
        assert told["address"] == f"http://127.0.0.1:{api.port}"

    assert mode == 0o600
    assert not path.exists()


def test_it_listens_on_loopback_alone(tmp_path: Path) -> None:
    """Another address of this computer answers nobody."""
    with served(FakePeer(), tmp_path) as api:
        assert Client.connect(tmp_path).get("version") == {"version": "0.1.0"}
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", api.port), timeout=5)
