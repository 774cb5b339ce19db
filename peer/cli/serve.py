"""The foreground form of a peer: builds it, serves its API, ends cleanly on a signal."""

import asyncio
import contextlib
import resource
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from peer import logs
from peer.cli.words import App
from peer.settings import Resolved, Settings
from peer.web.app import LocalApi

if TYPE_CHECKING:
    from peer.web.peer_like import PeerLike

IDLE_LOOK: Final = 30.0
"""Seconds between looks at whether a background peer is still needed."""


async def make_peer(home: Path, resolved: Resolved) -> "PeerLike":
    """Return the real peer of *home*, running.

    Raises:
        PeerAlreadyRunning: If another process holds the state folder.
    """
    from peer.daemon.facade import Peer

    peer: PeerLike = await Peer.open(home, resolved.settings)
    return peer


def run(app: App, *, background: bool, on_ready: Any) -> int:
    """Serve until a signal, a command or, in the background, half an hour without a session.

    Args:
        app: What the options said.
        background: Whether to end when idle; a service stays.
        on_ready: Called with an address that opens the page once this peer answers.
    """
    chosen = app.resolved.settings
    logs.configure(level=chosen.log_level, form=chosen.log_format, stream=sys.stderr)
    # A core file would hold keys (security.md, T22).
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with asyncio.Runner(
        # select() alone keeps sub-millisecond timers; a peer has few descriptors.
        loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    ) as runner:
        return runner.run(_serve(app, background=background, on_ready=on_ready))


async def _serve(app: App, *, background: bool, on_ready: Any) -> int:
    from importlib.metadata import version

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    home = app.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    resolved = with_free_udp_port(app.resolved)
    peer = await (app.make_peer or make_peer)(home, resolved)
    try:
        api = LocalApi(peer, home, stop=stop.set, now=loop.time, version=version("quintet"))
        await api.start(resolved.settings.ui_port)
        try:
            on_ready(api.new_entry())
            limit = resolved.settings.idle_minutes * 60.0 if background else None
            await _until(stop, peer, limit)
        finally:
            await api.close()
    finally:
        await peer.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    # A service that is told to end has ended well; a person's ^C is told apart.
    return 128 + signal.SIGINT if received[:1] == [signal.SIGINT] else 0


async def _until(stop: asyncio.Event, peer: "PeerLike", idle_limit: float | None) -> None:
    """Return when *stop* is set, or after *idle_limit* seconds in which no session stood."""
    loop = asyncio.get_running_loop()
    idle_since = loop.time()
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_LOOK):
                await stop.wait()
        if peer.view().get("session") is not None:
            idle_since = loop.time()
        elif idle_limit is not None and loop.time() - idle_since >= idle_limit:
            return


def with_free_udp_port(resolved: Resolved) -> Resolved:
    """Return *resolved* with any free UDP port where the chosen one is taken."""
    port = resolved.settings.udp_port
    if port == 0 or _udp_port_is_free(port):
        return resolved
    settings: Settings = msgspec.structs.replace(resolved.settings, udp_port=0)
    return msgspec.structs.replace(resolved, settings=settings)


def _udp_port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
