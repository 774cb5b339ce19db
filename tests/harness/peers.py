"""Whole peers in one process: a node, state folders, data folders, sockets of the loopback."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from peer.daemon.facade import Peer
from peer.session.phases import Phase
from peer.settings import Identity, Settings
from protocol.credentials import Secret
from protocol.crypto import password
from protocol.crypto.rsa_seal import CandidateKey
from rendezvous.server import Server
from tests.harness.nodes import LOOPBACK, running_node
from tests.harness.rsa_pairs import PAIR
from tests.harness.waiting import until


def fill(folder: Path, files: Mapping[str, str]) -> Path:
    """Write *files* by path below *folder*, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def held(folder: Path) -> dict[str, str]:
    """Return the files below *folder* by path, without the peer's own folder."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".quintet" not in path.parts
    }


@dataclass
class House:
    """A node, and the peers that use it.

    Args:
        state: A folder of this test.
        node: What they meet at.
        peers: By name, in the order opened.
    """

    state: Path
    node: Server
    peers: dict[str, Peer]

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.node.port}"

    def folder(self, name: str) -> Path:
        """Return where the data of a peer are."""
        return self.state / f"data-{name}"

    async def open(self, name: str, *, node: str | None = None) -> Peer:
        """Open the peer *name*, with an empty folder for its data."""
        settings = Settings(
            rendezvous=self.address if node is None else node,
            udp_port=0,
            identity=Identity(name=name),
        )
        self.folder(name).mkdir(exist_ok=True)
        peer = await Peer.open(self.state / f"home-{name}", settings)
        self.peers[name] = peer
        return peer

    async def start(self, name: str, files: Mapping[str, str] | None = None) -> Peer:
        """Open a peer that creates a session with a folder that holds *files*."""
        peer = await self.open(name)
        source = fill(self.folder(name), files or {})
        await peer.start(sources=[str(source)], rendezvous=None, lan=False)
        return peer

    async def join(self, name: str, at: Peer, files: Mapping[str, str] | None = None) -> Peer:
        """Open a peer that joins the session of *at* with a folder that holds *files*."""
        peer = await self.open(name)
        source = fill(self.folder(name), files or {})
        await peer.join_by_invitation(invitation=at.secrets()["invitation"], sources=[str(source)])
        await until(lambda: self.all_linked)
        return peer

    @property
    def all_linked(self) -> bool:
        """Whether every peer in a session sees every member, linked and with its sources."""
        views = [view for peer in self.peers.values() if (view := seen(peer))["session"]]
        return all(
            len(view["members"]) == len(views)
            and all(
                member["sources"] and (member["me"] or member["link"]["state"] == "up")
                for member in view["members"]
            )
            for view in views
        )

    async def compare(self) -> None:
        """Let the first peer start the inventory; return when all compare."""
        await next(iter(self.peers.values())).start_inventory()
        await until(lambda: all(phase(peer) is Phase.COMPARISON for peer in self.peers.values()))


def seen(peer: Peer) -> dict[str, Any]:
    """Return what a peer shows."""
    return peer.view()


def phase(peer: Peer) -> Phase | None:
    """Return the phase a peer shows, None without a session."""
    session = seen(peer)["session"]
    return None if session is None else Phase(session["phase"])


@contextlib.asynccontextmanager
async def house(state: Path, **settings: Any) -> AsyncIterator[House]:
    """Run a node; whatever peers were opened are closed at the end."""
    async with running_node(state / "node", **settings) as node:
        built = House(state, node, {})
        try:
            yield built
        finally:
            for peer in built.peers.values():
                await peer.close()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let keys and passwords cost nothing: what they protect is tested elsewhere."""

    def stretched(label: str, *words: str) -> Secret:
        return Secret(hashlib.sha256("\0".join((label, *words)).encode()).digest())

    monkeypatch.setattr(CandidateKey, "generate", staticmethod(lambda: PAIR))
    monkeypatch.setattr(
        password, "derive_prs", lambda secret, sid: stretched("prs", secret.shown(), sid.value)
    )
    monkeypatch.setattr(password, "derive_tag_key", lambda sid: stretched("tag", sid.value))
