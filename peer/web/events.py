"""Changes of the state over one WebSocket: a snapshot, then numbered deltas.

The page speaks first and shows the token, ``{"token": …}``; before that it hears nothing. Then it
hears ``{"type": "snapshot", "number": 0, "state": {…}}`` and, at most ten times a second,
``{"type": "delta", "number": n, "set": {…}}`` with the parts of the state that are new. Whoever
misses a number connects again; a new snapshot is the whole truth.
"""

import asyncio
import contextlib
import hmac
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from peer.web.bodies import Hello
from peer.web.guard import Guard, Handler, refusal
from peer.web.peer_like import PeerLike

HELLO_TIME: Final = 5.0
"""Seconds the token may take to arrive."""

PACE: Final = 0.1
"""Seconds between two deltas at least: what an eye follows, and no more work than that."""

WAIT: Final = 20.0
"""Seconds one wait for a change lasts before the next begins."""

HEARTBEAT: Final = 15.0
"""Seconds between pings; a page that was put to sleep is noticed by them."""

MAX_HELLO: Final = 1024
"""Bytes of the longest message a page may send."""

MAX_LISTENERS: Final = 32
"""Pages that listen at once; more tabs than anybody keeps open."""

REFUSED: Final = 4403
"""Close code of a page without the token; private use (RFC 6455, section 7.4.2)."""

CROWDED: Final = 4429
"""Close code where too many pages listen already."""

ENDING: Final = 1001
"""Close code of a peer that ends (RFC 6455, section 7.4.1)."""

State = dict[str, Any]


class Events:
    """Serves the changes of one peer.

    Args:
        peer: The running peer.
        guard: Knows the token.
    """

    def __init__(self, peer: PeerLike, guard: Guard) -> None:
        self._peer = peer
        self._guard = guard
        self._listening: set[web.WebSocketResponse] = set()

    def handler(self) -> Handler:
        """Return what aiohttp calls for the path of the events."""
        return self._serve

    async def close(self) -> None:
        """Tell every page that the peer ends."""
        for socket in list(self._listening):
            await socket.close(code=ENDING)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT, max_msg_size=MAX_HELLO, compress=False, timeout=1.0
        )
        if not socket.can_prepare(request):
            return refusal()
        await socket.prepare(request)
        if not await self._is_ours(socket):
            await socket.close(code=REFUSED)
        elif len(self._listening) >= MAX_LISTENERS:
            await socket.close(code=CROWDED)
        else:
            self._listening.add(socket)
            try:
                await self._tell(socket)
            finally:
                self._listening.discard(socket)
        return socket

    async def _is_ours(self, socket: web.WebSocketResponse) -> bool:
        try:
            async with asyncio.timeout(HELLO_TIME):
                message = await socket.receive()
        except TimeoutError:
            return False
        if message.type is not WSMsgType.TEXT:
            return False
        try:
            hello = msgspec.json.decode(message.data, type=Hello)
        except msgspec.MsgspecError:
            return False
        return hmac.compare_digest(hello.token.encode(), self._guard.token.encode())

    async def _tell(self, socket: web.WebSocketResponse) -> None:
        """Tell until the page goes; listen only to learn that."""
        with contextlib.suppress(ConnectionError, _PageGone):
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_until_gone(socket))
                    tasks.create_task(self._tell_changes(socket))
            except* _PageGone:
                raise _PageGone from None
            except* ConnectionError:
                raise ConnectionError from None

    async def _tell_changes(self, socket: web.WebSocketResponse) -> None:
        state = self._peer.view()
        await _send(socket, {"type": "snapshot", "number": 0, "state": state})
        number = 0
        while True:
            await self._peer.changed(int(str(state["revision"])), WAIT)
            new = self._peer.view()
            changed = changes(state, new)
            state = new
            if not changed:
                continue
            number += 1
            await _send(socket, {"type": "delta", "number": number, "set": changed})
            await asyncio.sleep(PACE)


class _PageGone(Exception):
    """The page closed its socket, or said more than its greeting."""


def changes(old: State, new: State) -> State:
    """Return the parts of *new* that *old* had otherwise or not at all."""
    return {key: value for key, value in new.items() if key not in old or old[key] != value}


async def _until_gone(socket: web.WebSocketResponse) -> None:
    await socket.receive()
    raise _PageGone


async def _send(socket: web.WebSocketResponse, message: State) -> None:
    await socket.send_str(msgspec.json.encode(message, enc_hook=str).decode())
