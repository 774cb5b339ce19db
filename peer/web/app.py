"""The local API and the page on loopback, and the file that tells commands where they are."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from peer.store.home import API, ApiAccess, Home
from peer.store.recent_places import RecentPlaces
from peer.web import guard
from peer.web.api import ROUTES, Api, errors_as_json, handler_of
from peer.web.events import Events
from peer.web.guard import Guard
from peer.web.page import Page
from peer.web.peer_like import PeerLike

LOOPBACK: Final = "127.0.0.1"

LAST_WORDS: Final = 0.5
"""Seconds requests under way may take at the end: answers of some bytes; those that wait for
changes are cut off."""

BACKLOG: Final = 64
"""Connections that wait to be accepted: the page and some commands."""


class LocalApi:
    """Serves one peer on loopback.

    Args:
        peer: The running peer.
        home: Its state folder; says where this is while it serves.
        stop: Called when a command asks the peer to end.
        now: The loop's clock.
        version: Of this program.
    """

    def __init__(
        self,
        peer: PeerLike,
        home: Path,
        *,
        stop: Callable[[], None],
        now: Callable[[], float],
        version: str,
    ) -> None:
        self._guard = Guard()
        self._home = Home(home)
        self._api = Api(
            peer,
            self._guard,
            RecentPlaces(self._home),
            stop=stop,
            now=now,
            version=version,
        )
        # The version banner and the access log stay off: both would tell about requests.
        self._runner = web.AppRunner(
            application(self._api, self._guard),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=LAST_WORDS,
        )

    @property
    def port(self) -> int:
        return self._api.port

    def new_entry(self) -> str:
        """Return an address that opens the page once."""
        code = self._guard.new_launch_code(self._api.now())
        return f"http://{LOOPBACK}:{self.port}/#{code}"

    async def start(self, port: int = 0) -> None:
        """Listen on *port*, or any free one for 0, and write the API's file.

        Raises:
            OSError: If the port is taken.
        """
        await self._runner.setup()
        first = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # Without this a peer that restarts could not take its own fixed port again at once.
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            first.bind((LOOPBACK, port))
        except OSError:
            first.close()
            await self._runner.cleanup()
            raise
        self._api.port = first.getsockname()[1]
        self._guard.admit_port(self.port)
        await web.SockSite(self._runner, first, backlog=BACKLOG).start()
        second = _second_loopback(self.port)
        if second is not None:
            await web.SockSite(self._runner, second, backlog=BACKLOG).start()
        access = ApiAccess(address=f"http://{LOOPBACK}:{self.port}", token=self._guard.token)
        self._home.write_api(access)

    async def close(self) -> None:
        """Stop listening and remove the API's file."""
        self._home.remove(API)
        await self._runner.cleanup()


def application(api: Api, door: Guard) -> web.Application:
    """Return the application: the guard outermost, then errors, then routes, events and page."""
    app = web.Application(
        middlewares=[door.middleware(), errors_as_json], client_max_size=guard.MAX_BODY
    )
    app.on_response_prepare.append(guard.harden)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, handler_of(route, api))
    events = Events(api.peer, door)
    app.router.add_get(guard.EVENTS_PATH, events.handler())
    app.on_shutdown.append(lambda _: events.close())
    Page().add_to(app.router)
    return app


def _second_loopback(port: int) -> socket.socket | None:
    """Return a socket bound to the same port of ``::1``, or nothing where that is impossible."""
    if not socket.has_ipv6:
        return None
    try:
        second = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        second.bind(("::1", port))
    except OSError:
        second.close()
        return None
    return second
