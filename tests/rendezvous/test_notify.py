import socket
from pathlib import Path

import pytest

from rendezvous.notify import notify


def test_the_service_manager_hears_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a path, or at an abstract name."""
    path = str(tmp_path / "notify")
    heard = []
    for name, bound in ((path, path), (f"@{path}", f"\0{path}")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(bound)
            monkeypatch.setenv("NOTIFY_SOCKET", name)
            assert notify("READY=1")
            heard.append(manager.recv(100))

    assert heard == [b"READY=1"] * 2


def test_nobody_waits_without_a_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual start from a shell."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert not notify("READY=1")
