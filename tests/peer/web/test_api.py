"""The table of routes: what it decodes, how it answers, that its description holds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.cli.client import Client
from peer.errors import PeerRefused
from protocol.errors import ExitStatus
from tests.harness.fake_peer import PASSWORD, SESSION_ID, FakePeer, served


@pytest.fixture
def fake() -> FakePeer:
    """A peer with one other member as soon as it is in a session."""
    return FakePeer(others=1)


@pytest.fixture
def client(fake: FakePeer, tmp_path: Path) -> Iterator[Client]:
    """A client of it."""
    with served(fake, tmp_path):
        yield Client.connect(tmp_path)


def test_a_session_runs_through_the_routes(client: Client, fake: FakePeer) -> None:
    """Every command reaches the peer, and the view shows it."""
    client.post("session/start", {"sources": ["/a"], "lan": True})
    assert client.post("sources", {"path": "/b"}) == {"code": "A2"}
    client.delete("sources/A2")
    client.patch("settings", {"set": ["matching=name"]})
    client.post("inventory/start")
    client.put("rules", {"preset": "combine", "rules": []})
    client.post("sync/start", {"allow_deletes": 7})

    view = client.get("state")
    assert view["session"]["phase"] == "finished"
    assert view["session"]["settings"] == {"matching": "name"}
    assert client.post("verify")["state"] == "equal"
    assert fake.allowed_deletes == 7


def test_a_change_ends_the_wait(client: Client) -> None:
    """A request for changes after an older revision answers at once."""
    before = client.get("state")["revision"]
    client.post("session/start", {"lan": True})

    assert client.get("state", since=before, wait=20)["revision"] > before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "session/join", {"session_id": 5}),
        ("POST", "session/start", {"sources": ["x" * 5000]}),
        ("POST", "session/start", {"surprise": True}),
        ("POST", "sync/start", {"allow_deletes": -1}),
        ("POST", "sources", {}),
    ],
)
def test_a_body_of_another_form_is_refused(
    client: Client, method: str, path: str, body: dict[str, Any]
) -> None:
    """The decoder names the field, never the value."""
    with pytest.raises(PeerRefused) as caught:
        client.request(method, path, body)

    assert caught.value.code == "request.malformed"
    assert caught.value.exit_status is ExitStatus.USAGE


def test_errors_carry_code_values_and_exit_status(client: Client) -> None:
    """What the command line needs to say it in any language."""
    with pytest.raises(PeerRefused) as caught:
        client.post("session/join", {"session_id": SESSION_ID, "password": "WRONG"})

    assert caught.value.code == "E04"
    assert caught.value.params["tries_left"] == 3
    assert caught.value.exit_status is ExitStatus.REFUSED


def test_a_failure_inside_says_nothing_but_that(
    client: Client, fake: FakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception's words may quote data."""

    def broken() -> dict[str, str]:
        raise RuntimeError(PASSWORD)

    monkeypatch.setattr(fake, "secrets", broken)

    with pytest.raises(PeerRefused) as caught:
        client.get("session/secrets")

    assert caught.value.code == "internal"
    assert caught.value.params == {}


def test_an_unknown_route_is_told_to_the_owner_only(client: Client) -> None:
    """With the token, a mistake is named."""
    with pytest.raises(PeerRefused) as caught:
        client.get("nowhere")

    assert caught.value.code == "request.unknown"


def test_the_description_is_served(client: Client) -> None:
    """To the owner, like everything else."""
    assert client.get("openapi.json")["openapi"] == "3.1.0"
