"""``quintet demo``: a node and some peers on this computer, a whole session to its proof.

The peers are processes of their own with a state folder each, driven through the API like any
other. The last word has a look at the folders that uses nothing of the program.
"""

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from peer.cli import demo_samples
from peer.cli.client import START_POLL, START_TIMEOUT, Client, View, spawn
from peer.cli.comparison_cmds import take_inventory
from peer.cli.progress import watch
from peer.cli.render import plan, shown
from peer.cli.session_cmds import all_here
from peer.cli.sync_cmds import exit_status_of, wait_for_end
from peer.cli.words import App, command, option
from peer.errors import DemoFailed, PeerNotRunning
from peer.settings import VARIABLE_PREFIX
from protocol.errors import QuintetError

NODE_LINE: Final = re.compile(r"(?<!\S)(\S+:\d{1,5}#[0-9A-Za-z-]+)")
"""The node's address as it prints it once it listens."""

LINKS_TIMEOUT: Final = 60.0
"""Seconds all members may take to reach each other on one computer."""

STOP_TIMEOUT: Final = 10.0
"""Seconds a process may take to end before it is killed."""

MOST_SHOWN: Final = 5
"""Paths named when the folders differ."""

PRESET: Final = "combine"


class Processes:
    """The processes of one demonstration; ends them whatever happens."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        # What the user set for a real peer must not reach these.
        self._environ = {
            name: value for name, value in environ.items() if not name.startswith(VARIABLE_PREFIX)
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def start_node(self, folder: Path) -> str:
        """Start a node and return its address.

        Raises:
            DemoFailed: If it does not say one in time.
        """
        folder.mkdir()
        printed = folder / "node.log"
        script = Path(sys.executable).parent / "quintet-rendezvous"
        program = [str(script)] if script.exists() else [sys.executable, "-m", "rendezvous.cli"]
        with printed.open("wb") as stream:
            node = subprocess.Popen(  # noqa: S603  # our own program
                [
                    *program,
                    "serve",
                    "--dev",
                    "--port",
                    "0",
                    "--health-port",
                    "0",
                    "--state",
                    str(folder / "state"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**self._environ, "PYTHONUNBUFFERED": "1"},
            )
        self._running.append(node)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and node.poll() is None:
            if found := NODE_LINE.search(printed.read_text("utf-8", "replace")):
                return found[1]
            time.sleep(START_POLL)
        raise DemoFailed("node", _last_line(printed))

    def start_peer(self, home: Path, name: str, node: str) -> "subprocess.Popen[bytes]":
        """Start a peer that does not answer yet."""
        arguments = ["--identity-name", name, "--rendezvous", node]
        arguments += ["--udp-port", "0", "--ui-port", "0"]
        process = spawn(home, arguments, self._environ)
        self._running.append(process)
        return process

    def stop(self) -> None:
        """End all, newest first, and wait for each."""
        for process in reversed(self._running):
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT
        for process in reversed(self._running):
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Stages:
    """Names each stage as it begins and says how long it took."""

    def __init__(self, app: App) -> None:
        self._app = app
        self.current = "start"

    @contextlib.contextmanager
    def stage(self, name: str, **values: object) -> Iterator[None]:
        """Run one stage; what the peers refuse meanwhile is told with its name.

        Raises:
            DemoFailed: If a peer refuses or fails.
        """
        self.current = name
        self._app.say(self._app.text(f"demo.{name}", **values))
        began = time.monotonic()
        try:
            yield
        except DemoFailed:
            raise
        except QuintetError as exc:
            told = self._app.catalogue.error(exc.code, exc.params)
            raise DemoFailed(name, told) from exc
        seconds = self._app.catalogue.number(round(time.monotonic() - began, 1))
        self._app.say(self._app.text("demo.took", seconds=seconds))


@command("demo")
@option("--members", type=click.IntRange(2, 5), default=3, metavar="N", help="option.demo_members")
@option("--keep", is_flag=True, help="option.keep")
def demo_command(app: App, *, members: int, keep: bool) -> int:
    folder = Path(tempfile.mkdtemp(prefix="quintet-demo-"))
    began = time.monotonic()
    processes = Processes(os.environ)
    stages = Stages(app)
    try:
        roots = [folder / f"computer-{letter}" for letter in "ABCDE"[:members]]
        with stages.stage("samples", count=members):
            demo_samples.make(roots)
        with stages.stage("node"):
            node = processes.start_node(folder / "node")
        clients = start_peers(stages, processes, folder, roots, node)
        drive(app, stages, clients, roots, node)
    finally:
        processes.stop()
        if keep:
            app.say(app.text("demo.kept", folder=str(folder)))
        else:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = app.catalogue.number(round(time.monotonic() - began, 1))
    click.echo(app.text("demo.done", count=members, seconds=seconds))
    return 0


def start_peers(
    stages: Stages, processes: Processes, folder: Path, roots: Sequence[Path], node: str
) -> list[Client]:
    """Start one peer per root and return clients of them.

    Raises:
        DemoFailed: If one does not start.
    """
    with stages.stage("peers", count=len(roots)):
        homes = [folder / f"state-{root.name}" for root in roots]
        started = [
            processes.start_peer(home, root.name, node)
            for home, root in zip(homes, roots, strict=True)
        ]
        return [_answering(home, process) for home, process in zip(homes, started, strict=True)]


def _answering(home: Path, process: "subprocess.Popen[bytes]") -> Client:
    deadline = time.monotonic() + START_TIMEOUT * 2
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return Client.connect(home)
        except PeerNotRunning:
            time.sleep(START_POLL)
    raise DemoFailed("peers", _last_line(home / "peer.log"))


def drive(
    app: App, stages: Stages, clients: Sequence[Client], roots: Sequence[Path], node: str
) -> None:
    """Take the peers through a whole session, prove it, and show that a second plans nothing.

    Raises:
        DemoFailed: At the first thing that is not as it should be.
    """
    leader, *others = clients
    with stages.stage("meet"):
        leader.post("session/start", _offer(roots[0]) | {"rendezvous": node, "lan": False})
        secrets = leader.get("session/secrets")
        for place, (client, root) in enumerate(zip(others, roots[1:], strict=True), 2):
            invited = {"invitation": secrets["invitation"]}
            client.post("session/join", invited | _offer(root))
            # One after the other: each is linked to all before the next asks all of them.
            for member in clients[:place]:
                member.wait_until(functools.partial(all_here, members=place), LINKS_TIMEOUT)
    with stages.stage("compare"):
        view = take_inventory(app, leader)
        app.say("  " + app.text("compare.totals", **view["comparison"]))
    with stages.stage("plan"):
        leader.put("rules", {"preset": PRESET, "rules": []})
        told = leader.get("plan")
        plan(app, told)
        if not told["steps"]:
            raise DemoFailed("plan", app.text("plan.empty"))
    with stages.stage("sync"):
        leader.post("sync/start", {})
        _finished(app, wait_for_end(app, leader))
        for client in others:
            watch(app, client, _at_rest)
    with stages.stage("verify"):
        _equal(leader.post("verify", timeout=None))
    with stages.stage("look"):
        _look(roots)
    with stages.stage("again"):
        leader.post("session/restart")
        take_inventory(app, leader)
        leader.put("rules", {"preset": PRESET, "rules": []})
        steps = leader.get("plan")["steps"]
        if steps:
            raise DemoFailed("again", app.text("plan.steps", steps=steps))


def _offer(root: Path) -> dict[str, object]:
    return {"sources": [str(root)]}


def _at_rest(view: View) -> bool:
    return view["session"] is None or view["session"]["phase"] == "finished"


def _finished(app: App, view: View) -> None:
    status = exit_status_of(view)
    if status:
        failures = (view["sync"] or {}).get("failures", [])
        detail = "; ".join(
            f"{entry['letter']} {shown(entry['path'])}: {app.catalogue.error(entry['code'], {})}"
            for entry in failures[:MOST_SHOWN]
        )
        raise DemoFailed("sync", detail)


def _equal(proof: View) -> None:
    if proof["state"] != "equal":
        deviations = proof.get("deviations", [])[:MOST_SHOWN]
        raise DemoFailed("verify", "; ".join(shown(entry["path"]) for entry in deviations))


def _look(roots: Sequence[Path]) -> None:
    looks = [demo_samples.look(root) for root in roots]
    if not looks[0]:
        raise DemoFailed("look", "0")
    if different := demo_samples.differences(looks):
        raise DemoFailed("look", "; ".join(map(shown, different[:MOST_SHOWN])))


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return shown(next((line for line in reversed(lines) if line.strip()), ""))
