"""The demonstration believes nothing but the folders, and leaves nothing behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from peer.cli import demo
from peer.cli.client import Client
from peer.cli.words import App
from peer.errors import DemoFailed
from tests.harness.fake_peer import FakePeer, served


class Once(FakePeer):
    """Plans nothing after its first synchronisation, like a real one."""

    async def start_sync(self, *, allow_deletes: int | None = None) -> None:
        await super().start_sync(allow_deletes=allow_deletes)
        self.steps = 0


@pytest.fixture
def app() -> App:
    """English, without a person."""
    return App({"LANG": "C"}, interactive=False)


@pytest.fixture
def drive(app: App, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Drives two small peers whose folders hold what is given."""
    with ExitStack() as stack:

        def run(first: str, second: str, peer: Callable[..., FakePeer] = Once) -> None:
            clients, roots = [], []
            for number, content in enumerate((first, second)):
                home = tmp_path / f"home{number}"
                root = tmp_path / f"root{number}"
                home.mkdir(mode=0o700)
                root.mkdir()
                (root / "x").write_text(content)
                stack.enter_context(served(peer(others=1), home))
                clients.append(Client.connect(home))
                roots.append(root)
            for root in roots:
                os.utime(root / "x", (0, 0))
            # The second peer stands for a member: it follows its leader to the end.
            clients[1].post("session/start", {"lan": True, "sources": ["/x"]})
            clients[1].post("inventory/start")
            clients[1].post("sync/start")
            demo.drive(app, demo.Stages(app), [clients[0], Joined(clients[1])], roots, "node:1#F")

        yield run


class Joined(Client):
    """A client of a peer that is in the session already."""

    def __init__(self, inner: Client) -> None:
        super().__init__(inner._port, inner._token)

    def post(self, path: str, body: Any = None, *, timeout: float | None = None) -> Any:
        return {}


def test_equal_folders_and_an_empty_second_plan_are_the_proof(
    drive: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every stage is named as it begins."""
    drive("same", "same")

    told = capsys.readouterr().err
    assert told.index("Synchronising") < told.index("Comparing the folders from outside")
    assert "nothing may be left to do" in told


@pytest.mark.parametrize(
    ("first", "second", "peer", "stage"),
    [
        ("one", "other", Once, "look"),
        ("same", "same", FakePeer, "again"),
    ],
)
def test_what_the_peers_say_is_not_enough(
    drive: Callable[..., None], first: str, second: str, peer: type[FakePeer], stage: str
) -> None:
    """Folders that differ, or a second plan with steps, fail it."""
    with pytest.raises(DemoFailed) as caught:
        drive(first, second, peer)

    assert caught.value.stage == stage


def test_processes_end_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that does not listen; and none of them sees our variables."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    processes = demo.Processes({"QUINTET_PASSWORD": "x", "PATH": "/bin"})
    running = subprocess.Popen([sys.executable, "-c", deaf])
    processes._running.append(running)
    began = time.monotonic()

    monkeypatch.setattr(demo, "STOP_TIMEOUT", 0.2)
    processes.stop()

    assert running.returncode is not None
    assert time.monotonic() - began < 10
    assert processes._environ == {"PATH": "/bin"}


def test_a_node_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its process is collected."""
    program = tmp_path / "bin" / "quintet-rendezvous"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho port taken\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.parent / "python"))
    processes = demo.Processes({})

    with pytest.raises(DemoFailed) as caught:
        processes.start_node(tmp_path / "node")
    processes.stop()

    assert caught.value.detail == "port taken"


def test_a_nodes_address_is_found_in_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it stands in a line."""
    program = tmp_path / "bin" / "quintet-rendezvous"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho hello\necho peers use 127.0.0.1:4755#ABCD-EFGH\nsleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program.parent / "python"))
    processes = demo.Processes({"PATH": "/bin:/usr/bin"})

    address = processes.start_node(tmp_path / "node")
    processes.stop()

    assert address == "127.0.0.1:4755#ABCD-EFGH"
