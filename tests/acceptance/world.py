"""Quintet as a person runs it: real processes with a state folder each, driven by commands.

Everything lives in one temporary folder. Every process carries the folder's name in its
environment, so that at the end none can have been forgotten.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.harness.requirements import require_tool

CHECKOUT: Final = Path(__file__).parents[2]

MARK: Final = "ACCEPTANCE_WORLD"
"""Variable of the environment that names the world a process belongs to."""

START_TIME: Final = 60.0
"""Seconds a process may take to answer: several start at once on a busy machine."""

COMMAND_TIME: Final = 300.0
"""Seconds one command may take."""

STOP_TIME: Final = 30.0
"""Seconds a process may take to end when told to."""

POLL: Final = 0.05
"""Seconds between two looks at a condition."""

NODE_LINE: Final = re.compile(r"^\S+:\d{1,5}#\S+$", re.MULTILINE)

QUINTET: Final = (sys.executable, "-m", "peer.cli.main")
NODE: Final = (sys.executable, "-m", "rendezvous.cli")

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> dict[str, Any]:
        """The one JSON object it printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def said(self) -> str:
        """All it said to a person."""
        return self.out + self.err


class NotInTime(AssertionError):
    """What a test waited for did not happen."""


def wait_for(
    reached: Callable[[], ValueT], *, within: float = START_TIME, what: str = "it"
) -> ValueT:
    """Return the first true value of *reached*.

    Raises:
        NotInTime: If there is none within *within* seconds.
    """
    deadline = time.monotonic() + within
    while not (value := reached()):
        if time.monotonic() > deadline:
            raise NotInTime(f"{what} did not happen within {within} s")
        time.sleep(POLL)
    return value


def environment(folder: Path, **extra: str) -> dict[str, str]:
    """Return what a process of the world in *folder* sees; nothing of the user's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUINTET_")}
    kept |= {
        MARK: str(folder),
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_STATE_HOME": str(folder / "state"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(CHECKOUT),
    }
    return kept | extra


class Process:
    """A process that is ended by its id, whatever happens.

    Args:
        command: Program and arguments.
        log: Where its output goes.
        environ: What it sees.
    """

    def __init__(self, command: Sequence[str], log: Path, environ: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=dict(environ),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    @property
    def printed(self) -> str:
        """What it printed."""
        return self.log.read_text("utf-8", "replace")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(STOP_TIME)

    def stop(self) -> int:
        """Tell it to end and return how it ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIME)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_TIME)
        return self._process.wait()

    @property
    def peak_memory(self) -> int:
        """The most bytes it has held so far."""
        told = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", told)[0]) * 1024


class Node:
    """A rendezvous node.

    Args:
        world: Where it lives.
        program: What to run instead of the real command.
    """

    def __init__(self, world: "World", program: Sequence[str] = NODE) -> None:
        self._world = world
        self._program = program
        self._state = world.folder / "node"
        self.process: Process
        self.address = ""
        self.start()

    def start(self, port: int = 0) -> None:
        """Start it, with the identity it had before."""
        log = self._world.folder / f"node-{time.monotonic_ns()}.log"
        self.process = self._world.keep(
            Process(
                [
                    *self._program, "serve", "--dev", "--debug", "--health-port", "0",
                    "--port", str(port), "--state", str(self._state),
                ],
                log,
                environment(self._world.folder),
            )
        )  # fmt: skip

        def address() -> re.Match[str] | None:
            assert self.process.status is None, self.process.printed
            return NODE_LINE.search(self.process.printed)

        found = wait_for(address, what="the node's line")
        assert found is not None
        self.address = found[0]

    @property
    def port(self) -> int:
        return int(self.address.partition("#")[0].rpartition(":")[2])

    def restart(self) -> None:
        """Start it again where it was."""
        self.start(self.port)

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()


class PeerProcess:
    """A computer: a state folder, a folder to synchronise, a peer that runs in the foreground.

    Args:
        world: Where it lives.
        name: What the others see.
        root: What it offers; a new empty folder if not given.
        program: What to run as the peer instead of the real command.
        wrap: Program and arguments before every command and the peer, such as ``setpriv``.
    """

    def __init__(
        self,
        world: "World",
        name: str,
        *,
        root: Path | None = None,
        program: Sequence[str] = QUINTET,
        wrap: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.home = world.folder / f"home-{name}"
        self.home.mkdir(mode=0o700)
        self.root = root or world.folder / f"root-{name}"
        self.root.mkdir(exist_ok=True)
        self.process: Process | None = None
        self._world = world
        self._program = program
        self._wrap = tuple(wrap)

    # --- the peer ---------------------------------------------------------------------

    def up(self, *options: str) -> None:
        """Start it and return when it answers."""
        process = self.launch(*options)

        def answers() -> bool:
            assert process.status is None, process.printed
            return (self.home / "api.json").exists() and self.run("status").status == 0

        wait_for(answers, what=f"the answer of {self.name}")

    def launch(self, *options: str) -> Process:
        """Start it without waiting."""
        self.process = self._world.keep(
            Process(
                [
                    *self._wrap, *self._program, "--home", str(self.home), "up", "--no-browser",
                    "--verbose", "--udp-port", "0", "--identity-name", self.name, *options,
                ],
                self._world.folder / f"{self.name}.log",
                environment(self._world.folder),
            )
        )  # fmt: skip
        return self.process

    @property
    def running(self) -> Process:
        """Its process."""
        assert self.process is not None, "not started"
        return self.process

    @property
    def log(self) -> str:
        """What it logged, over all its processes."""
        return (self._world.folder / f"{self.name}.log").read_text("utf-8", "replace")

    # --- commands -----------------------------------------------------------------------

    def popen(
        self, *arguments: str, stdin: str | None = None, environ: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command and return it running."""
        command = [*self._wrap, *QUINTET, "--home", str(self.home), *arguments]
        running = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            cwd="/",
            env=environment(self._world.folder, **(environ or {})),
        )
        self._world.commands.append(running)
        return running

    def run(
        self, *arguments: str, stdin: str | None = None, environ: Mapping[str, str] | None = None
    ) -> Answer:
        """Run a command to its end."""
        running = self.popen(*arguments, stdin=stdin, environ=environ)
        out, err = running.communicate(stdin, timeout=COMMAND_TIME)
        self._world.commands.remove(running)
        assert "Traceback" not in err, err
        return Answer(running.returncode, out, err)

    def ok(self, *arguments: str, stdin: str | None = None) -> Answer:
        """Run a command that must succeed."""
        answer = self.run(*arguments, stdin=stdin)
        assert answer.status == 0, f"{self.name} {arguments}: {answer.status} {answer.said}"
        return answer

    def json(self, *arguments: str) -> dict[str, Any]:
        """Return what a command that must succeed prints with ``--json``."""
        return self.ok(*arguments, "--json").value

    # --- the session ----------------------------------------------------------------------

    @property
    def view(self) -> dict[str, Any]:
        """What ``status`` tells."""
        return self.json("status")

    @property
    def phase(self) -> str | None:
        """The session's phase; None without a session."""
        session = self.view["session"]
        return None if session is None else str(session["phase"])

    def start(self, node: Node, *sources: Path) -> dict[str, Any]:
        """Create a session and return its secrets."""
        named = [str(source) for source in sources or (self.root,)]
        return self.json("start", *named, "--rendezvous", node.address)

    def join(self, secrets: Mapping[str, Any], *sources: Path) -> Answer:
        """Join by the invitation, given on stdin."""
        named = [str(source) for source in sources or (self.root,)]
        return self.run("join", "--invitation", "-", *named, stdin=secrets["invitation"])

    def join_by_password(
        self, session_id: str, password: str, node: Node | str, *sources: Path
    ) -> Answer:
        """Join by ID and password, given in a file of its own."""
        named = [str(source) for source in sources or (self.root,)]
        address = node if isinstance(node, str) else node.address
        secret = self._world.folder / f"password-{self.name}"
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(password)
        return self.run(
            "join", session_id, *named, "--password-file", str(secret), "--rendezvous", address
        )

    def wait_until(
        self, reached: Callable[[dict[str, Any]], object], *, within: float = START_TIME
    ) -> dict[str, Any]:
        """Return the first view for which *reached* is true."""
        last: dict[str, Any] = {}

        def look() -> bool:
            nonlocal last
            last = self.view
            return bool(reached(last))

        try:
            wait_for(look, within=within)
        except NotInTime:
            raise NotInTime(f"{self.name} waits in vain: {json.dumps(last)}") from None
        return last

    def wait_for_present(self, count: int) -> dict[str, Any]:
        """Return the first view with *count* members that have not left."""
        return self.wait_until(
            lambda view: sum(member["state"] != "left" for member in view["members"]) == count
        )

    def wait_for_members(self, count: int) -> None:
        """Return when it has links to all of *count* members, each with a source."""
        self.wait_until(
            lambda view: (
                len(view["members"]) == count
                and all(
                    member["sources"] and (member["me"] or member["link"]["state"] == "up")
                    for member in view["members"]
                )
            )
        )


@dataclass(slots=True)
class World:
    """One temporary folder with everything that runs in it."""

    folder: Path
    commands: list["subprocess.Popen[str]"] = field(default_factory=list)
    _processes: list[Process] = field(default_factory=list)
    _mounts: list[Path] = field(default_factory=list)

    def keep(self, process: Process) -> Process:
        """End *process* when the world ends."""
        self._processes.append(process)
        return process

    def node(self, program: Sequence[str] = NODE) -> Node:
        return Node(self, program)

    def peer(self, name: str, **options: Any) -> PeerProcess:
        """Return a computer whose peer does not run yet."""
        return PeerProcess(self, name, **options)

    def peers(self, count: int) -> list[PeerProcess]:
        """Return *count* computers whose peers run."""
        made = [self.peer(name) for name in ("anna", "ben", "cleo", "dora", "emil", "finn")[:count]]
        for peer in made:
            peer.launch()
        for peer in made:
            wait_for(lambda peer=peer: (peer.home / "api.json").exists(), what=peer.name)
        return made

    def small_disk(self, name: str, size: str) -> Path:
        """Mount a file system in memory that holds *size* (needs root)."""
        place = self.folder / name
        place.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(place))
        self._mounts.append(place)
        return place

    def read_only(self, place: Path) -> None:
        """Let nobody write below the mounted *place* any more."""
        _run("mount", "-o", "remount,ro", str(place))

    def close(self) -> None:
        """End and remove everything."""
        for command in self.commands:
            if command.poll() is None:
                command.kill()
            command.communicate()
        for process in reversed(self._processes):
            process.stop()
        # Who was told to end may need a moment; who was not stays.
        deadline = time.monotonic() + 5.0
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for place in reversed(self._mounts):
            _run("umount", "-l", str(place))
        shutil.rmtree(self.folder)
        assert not left, f"processes left behind: {left}"

    def processes(self) -> list[int]:
        """Return the ids of all processes that belong to this world and still run."""
        mark = f"{MARK}={self.folder}".encode()
        found = []
        for place in Path("/proc").iterdir():
            if not place.name.isdecimal():
                continue
            with contextlib.suppress(OSError):
                if mark in (place / "environ").read_bytes().split(b"\0"):
                    found.append(int(place.name))
        return found


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def new_world() -> Iterator[World]:
    """Make a world, and end it."""
    made = World(Path(tempfile.mkdtemp(prefix="quintet-acceptance-")))
    try:
        yield made
    finally:
        made.close()


# --- sessions ---------------------------------------------------------------------------


def meet(node: Node, peers: Sequence[PeerProcess]) -> dict[str, Any]:
    """Let all *peers* be in one session with links to one another; return its secrets."""
    leader, *others = peers
    secrets = leader.start(node)
    for present, peer in enumerate(others, 2):
        answer = peer.join(secrets)
        assert answer.status == 0, f"{peer.name} could not join: {answer.said}"
        for member in peers[:present]:
            member.wait_for_members(present)
    return secrets


def compare(leader: PeerProcess, *rules: str) -> dict[str, Any]:
    """Take the inventory, choose the preset *rules* and return the plan."""
    leader.ok("inventory", "--wait")
    leader.ok("rules", "preset", *rules)
    return leader.json("plan")


def whole_session(
    node: Node, peers: Sequence[PeerProcess], *preset: str, settings: Sequence[str] = ()
) -> dict[str, Any]:
    """Meet, compare, synchronise and prove; return what ``sync --json`` told."""
    meet(node, peers)
    if settings:
        peers[0].ok("settings", *settings)
    compare(peers[0], *preset)
    told = peers[0].json("sync", "--yes", "--wait")
    assert told["proof"]["state"] == "equal", told
    settled(peers)
    return told


def settled(peers: Iterable[PeerProcess]) -> None:
    """Return when every member has finished and proved, too."""
    for peer in peers:
        peer.wait_until(
            lambda view: (
                view["session"]["phase"] == "finished"
                and (view["proof"] or {}).get("state") not in {None, "running"}
            )
        )


def disperse(peers: Iterable[PeerProcess]) -> None:
    """Let all leave."""
    for peer in peers:
        peer.ok("leave", "--yes")


# --- the oracle ----------------------------------------------------------------------------


def rsync_differences(
    first: Path, second: Path, *, flags: Sequence[str] = (), delete: bool = True
) -> str:
    """Return what rsync would do to make *second* equal to *first*, nanoseconds included."""
    require_tool("rsync")
    done = subprocess.run(
        [
            "rsync", "-nciaH", "-O", *(["--delete"] * delete), "--no-p", "--modify-window=-1",
            "--exclude", ".quintet", *flags, f"{first}/", f"{second}/",
        ],
        capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.decode("utf-8", "backslashreplace")


def assert_rsync_agrees(first: Path, second: Path, *, flags: Sequence[str] = ()) -> None:
    """Demand that rsync finds nothing to do from *first* to *second*.

    Args:
        first: One folder.
        second: The other.
        flags: What follows from the settings: ``-p`` with modes, ``--exclude`` as in the session.
    """
    assert rsync_differences(first, second, flags=flags) == ""
