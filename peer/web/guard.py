"""Who may talk to the local API: every request passes here before anything reads it.

A request that names another host, comes from another page, or lacks the token is answered with
403 and an empty body, so that a page which rebinds its name to this address, or guesses at the
port, learns nothing (security.md, T21).

The page itself and its files need no token: they hold nothing of the session. It gets the token
in exchange for a launch code, which works once and stands in the fragment of its address.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

API_PREFIX: Final = "/api/"

LAUNCH_PATH: Final = "/api/v1/launch"
"""The only path of the API that needs no token: it gives one for a launch code."""

EVENTS_PATH: Final = "/api/v1/events"
"""The WebSocket: a browser cannot add a header to it, so its first message shows the token."""

MAX_BODY: Final = 1024 * 1024
"""Bytes of one request: a rule set of some thousand lines."""

TOKEN_BYTES: Final = 32
"""Random bytes of a token or a launch code: nobody guesses 256 bits."""

LAUNCH_LIFETIME: Final = 300.0
"""Seconds a launch code waits for its page; a slow browser needs some, a finder has few."""

MAX_LAUNCH_CODES: Final = 16
"""Launch codes that wait at once; a new one drives out the oldest."""

IMPORT_MAP: Final = "'sha256-ItUpDcXeU687ECS8dd2Tf/1EnaCAf2BoAYB4MzBpSdg='"
"""The only script that stands in the page: where the libraries' own names lead. Named by digest,
because a browser takes such a map from nowhere else; a test holds it against the page."""

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self' {IMPORT_MAP}; style-src 'self'; "
        "img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response. No CORS header is among them, so no other page reads an answer."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Decides about requests; owns the token and the launch codes.

    Args:
        token: What the owner of the state folder presents; made here if not given.
    """

    def __init__(self, token: str | None = None) -> None:
        self.token: Final = token or secrets.token_urlsafe(TOKEN_BYTES)
        self._hosts: set[str] = set()
        self._launch_codes: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"Guard(hosts={sorted(self._hosts)})"

    def admit_port(self, port: int) -> None:
        """Accept requests that name this computer with *port*: ours, or the end of a tunnel."""
        self._hosts |= {f"127.0.0.1:{port}", f"[::1]:{port}", f"localhost:{port}"}

    def new_launch_code(self, now: float) -> str:
        """Return a code that can be exchanged for the token once, for a while."""
        while len(self._launch_codes) >= MAX_LAUNCH_CODES:
            del self._launch_codes[next(iter(self._launch_codes))]
        code = secrets.token_urlsafe(TOKEN_BYTES)
        self._launch_codes[code] = now + LAUNCH_LIFETIME
        return code

    def redeem(self, code: str, now: float) -> bool:
        """Return whether *code* waits, and forget it."""
        # All are compared, so that the time says nothing about any of them.
        matching = [
            known
            for known in self._launch_codes
            if hmac.compare_digest(known.encode(), code.encode())
        ]
        return any(now <= self._launch_codes.pop(known) for known in matching)

    def allows(self, request: web.BaseRequest) -> bool:
        """Return whether *request* may be read at all."""
        return self._names_us(request) and self._comes_from_us(request) and self._may_ask(request)

    def _names_us(self, request: web.BaseRequest) -> bool:
        hosts = request.headers.getall("Host", [])
        return len(hosts) == 1 and hosts[0] in self._hosts

    def _comes_from_us(self, request: web.BaseRequest) -> bool:
        origins = request.headers.getall("Origin", [])
        if origins and origins != [f"http://{request.headers['Host']}"]:
            return False
        sites = request.headers.getall("Sec-Fetch-Site", [])
        # "none" is a person who typed or opened the address; it is no page that asks.
        wanted = (
            ("same-origin",) if request.path.startswith(API_PREFIX) else ("same-origin", "none")
        )
        return not sites or (len(sites) == 1 and sites[0] in wanted)

    def _may_ask(self, request: web.BaseRequest) -> bool:
        if not request.path.startswith(API_PREFIX):
            return request.method in {"GET", "HEAD"}
        if request.path == LAUNCH_PATH:
            return request.method == "POST"
        if request.path == EVENTS_PATH:
            # Nothing is said there before the token (peer.web.events). Browsers always name the
            # page that opens a socket; who names none is no browser and has the token's file.
            return request.method == "GET"
        given = request.headers.getall("Authorization", [])
        if len(given) != 1:
            return False
        expected = f"Bearer {self.token}"
        return hmac.compare_digest(given[0].encode("utf-8", "replace"), expected.encode())

    def middleware(self) -> Middleware:
        """Return this guard as the outermost middleware of an application."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self.allows(request):
                return refusal()
            return await handler(request)

        return guarded


def refusal() -> web.Response:
    """Return 403 and nothing else; the connection ends, so no body is waited for."""
    response = web.Response(status=403)
    response.force_close()
    return response


async def harden(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set the headers of every response, and keep the server's versions to itself."""
    response.headers.update(HEADERS)
    response.headers["Server"] = "quintet"
