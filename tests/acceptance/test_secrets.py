"""What others can see of a whole session: the node, the wire, this computer's users, the logs."""

import base64
import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from peer.store.identity_file import load_identity
from tests.acceptance.world import PeerProcess, World, compare, meet, new_world, settled
from tests.harness.ports import free_port
from tests.harness.recording import NODE, PEER, read_notes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NAMES: Final = ("machine-anna-58213", "machine-ben-90417")
FILES: Final = ("letter to grandmother.txt", "tax return 2026.pdf", "Müller & Söhne.odt")
CONTENT: Final = 400_000
SLICE: Final = 16
MARKER: Final = b"seen if one looks where secrets might be 27182818"

ETHERNET: Final = 14
UDP: Final = 17
ALL_PROTOCOLS: Final = 3
RECEIVE_BUFFER_FORCED: Final = 33
"""SO_RCVBUFFORCE of Linux."""


class Wire:
    """Keeps every UDP datagram from or to some ports that passes the loopback (needs root)."""

    def __init__(self, ports: Iterable[int]) -> None:
        self._ports = {port.to_bytes(2, "big") for port in ports}
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
        self._socket.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCED, 1 << 28)
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.2)
        self._stop = threading.Event()
        self._seen: list[bytes] = []
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                packet = self._socket.recv(70_000)[ETHERNET:]
                start, kind = (20, packet[9]) if packet[0] >> 4 == 4 else (40, packet[6])
                ports = {packet[start : start + 2], packet[start + 2 : start + 4]}
                if kind == UDP and ports & self._ports:
                    self._seen.append(packet[start + 8 :])

    def close(self) -> bytes:
        """Return everything that was seen."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        return b"\n".join(self._seen)


class Bystander:
    """Reads, again and again, what any user can read of all processes."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            for place in Path("/proc").iterdir():
                if not place.name.isdecimal():
                    continue
                for name in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        self.seen.add((place / name).read_bytes())

    def close(self) -> bytes:
        """Return everything that was seen."""
        self._stop.set()
        self._thread.join()
        return b"\n".join(self.seen)


@dataclass(slots=True)
class Observed:
    """One whole session, and all that could be seen of it."""

    told: dict[str, str]
    """What ``start`` prints for its own person."""
    secrets: list[bytes] = field(default_factory=list)
    """Every key, share and seed of one member."""
    tokens: list[bytes] = field(default_factory=list)
    """What that member derives for the node."""
    public_keys: list[bytes] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    node: bytes = b""
    wire: bytes | None = None
    bystander: bytes = b""
    logs: bytes = b""
    kept: bytes = b""
    """What the state folders hold in the middle of the session, but the node keys."""

    @property
    def passwords(self) -> list[bytes]:
        """The password in every form it is written, and the invitation."""
        shown = self.told["password"]
        bare = shown.replace("-", "")
        forms = {shown, bare, bare.lower(), shown.lower(), self.told["invitation"]}
        return [form.encode() for form in sorted(forms)]

    @property
    def private(self) -> list[bytes]:
        """Names and contents."""
        names = [name.encode() for name in (*NAMES, *FILES)]
        slices = [
            content[start : start + SLICE]
            for content in self.contents
            for start in range(0, len(content) - SLICE, 997)
        ]
        return names + slices


def forms(value: bytes) -> list[bytes]:
    """Return how bytes may be written."""
    return [
        value,
        value.hex().encode(),
        value.hex().upper().encode(),
        base64.b64encode(value).rstrip(b"="),
        base64.urlsafe_b64encode(value).rstrip(b"="),
        repr(value).encode(),
    ]


def found_in(where: bytes, values: Iterable[bytes]) -> list[bytes]:
    """Return which of *values* stand in *where*, in any form."""
    return [
        value for value in values if len(value) > 8 and any(form in where for form in forms(value))
    ]


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    """Two members meet, compare, synchronise, prove and leave, watched from everywhere."""
    with new_world() as world:
        yield _observe(world)


def _recording(kind: str, notes: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.harness.recording", kind, str(notes))


def _observe(world: World) -> Observed:
    anna_notes, node_notes = world.folder / "anna.notes", world.folder / "node.notes"
    node = world.node(program=_recording(NODE, node_notes))
    anna = world.peer(NAMES[0], program=_recording(PEER, anna_notes))
    ben = world.peer(NAMES[1])
    peers = [anna, ben]
    ports = [free_port() for _ in peers]
    contents = _files(peers)
    wire = Wire([node.port, *ports]) if os.geteuid() == 0 else None
    bystander = Bystander()
    try:
        for peer, port in zip(peers, ports, strict=True):
            peer.up("--udp-port", str(port))
        _show_the_marker(ports[0])
        told = meet(node, peers)
        compare(anna, "combine")
        anna.ok("sync", "--yes", "--wait")
        settled(peers)
        kept = _kept(peers)
        # A new key for those who stay; then the other leaves, too.
        ben.ok("leave")
        anna.wait_for_present(1)
        anna.ok("leave", "--yes")
    finally:
        seen = bystander.close()
        captured = None if wire is None else wire.close()
    noted, received = read_notes(anna_notes), read_notes(node_notes)
    identities = [load_identity(peer.home / "identity.key") for peer in peers]
    return Observed(
        told=told,
        secrets=sorted(set(noted["secret"] + noted["derived"])),
        tokens=noted["token"],
        public_keys=[identity.node_key for identity in identities if identity is not None],
        contents=contents,
        node=b"\n".join(received["bytes"] + received["message"]),
        wire=captured,
        bystander=seen,
        logs=b"".join(path.read_bytes() for path in sorted(world.folder.glob("*.log"))),
        kept=kept,
    )


def _files(peers: Iterable[PeerProcess]) -> list[bytes]:
    chance = random.Random(5)
    contents = []
    for peer in peers:
        for name in FILES:
            contents.append(chance.randbytes(CONTENT))
            (peer.root / f"{peer.name} {name}").write_bytes(contents[-1])
    return contents


def _show_the_marker(port: int) -> None:
    """Put the marker where each of the watchers looks."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(MARKER, ("127.0.0.1", port))
    subprocess.run(
        [sys.executable, "-c", "import time; time.sleep(1)", MARKER.decode()], check=True
    )


def _kept(peers: Iterable[PeerProcess]) -> bytes:
    """Return all that the state folders hold in the middle of a session, but the node keys."""
    return b"\n".join(
        path.read_bytes()
        for peer in peers
        for path in sorted(peer.home.rglob("*"))
        if path.is_file() and path.name != "identity.key"
    )


def test_the_node_learns_where_people_are_and_nothing_else(observed: Observed) -> None:
    """No password or what is made of it, no key, no node key, no name, no content."""
    assert observed.told["session_id"].replace("-", "").encode() in observed.node
    assert found_in(observed.node, observed.tokens), "the watcher sees what the node is sent"

    assert found_in(observed.node, observed.passwords) == []
    assert found_in(observed.node, observed.secrets) == []
    assert found_in(observed.node, observed.public_keys) == []
    assert found_in(observed.node, observed.private) == []


@pytest.mark.root
def test_nothing_can_be_read_on_the_wire(observed: Observed) -> None:
    """Everything between members, and to the node, is sealed."""
    assert observed.wire is not None
    assert MARKER in observed.wire, "the watcher sees what is sent in the open"
    assert len(observed.wire) > sum(map(len, observed.contents)), "it saw the contents travel"

    assert found_in(observed.wire, observed.passwords) == []
    assert found_in(observed.wire, observed.secrets) == []
    assert found_in(observed.wire, observed.private) == []
    # What the node may know is nobody else's business either.
    assert observed.told["session_id"].encode() not in observed.wire


def test_other_users_of_the_computer_see_no_password(observed: Observed) -> None:
    """Neither on a command line nor in an environment, of any process at any time."""
    assert len(observed.secrets) > 30, "there is something to search for"
    assert MARKER in observed.bystander, "the watcher sees command lines"

    assert found_in(observed.bystander, observed.passwords) == []
    assert found_in(observed.bystander, observed.secrets) == []


def test_logs_at_their_most_talkative_hold_no_secret(observed: Observed) -> None:
    """No password, no key in any form, and not the session's ID (T22)."""
    assert b"session.epoch" in observed.logs, "something was logged"

    session_id = observed.told["session_id"]
    assert found_in(observed.logs, observed.passwords) == []
    assert found_in(observed.logs, observed.secrets) == []
    assert found_in(observed.logs, observed.contents) == []
    assert session_id.encode() not in observed.logs
    assert session_id.replace("-", "").encode() not in observed.logs


def test_no_key_of_the_session_is_kept_on_disk(observed: Observed) -> None:
    """In the middle of a session the state folder holds none of them."""
    assert b"SQLite format 3" in observed.kept, "something was kept"

    assert found_in(observed.kept, observed.secrets) == []
