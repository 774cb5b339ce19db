"""The local API: what a page or a command may ask of the running peer, as one table of routes.

Bodies and queries are declared types, decoded within their bounds; answers are JSON. An error is
``{"error": {"code", "params", "exit"}}``: the text is made from the catalogue by whoever shows it,
``exit`` is the status a command returns.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from peer.errors import RequestMalformed, RequestUnknown
from peer.fs import folders
from peer.store.recent_places import RecentPlaces
from peer.web.bodies import (
    Act,
    AddSource,
    Body,
    ComparisonQuery,
    Decide,
    Entry,
    Join,
    Launch,
    Leave,
    Look,
    Nothing,
    Preview,
    Remove,
    SetRules,
    SetSettings,
    Start,
    StartLocal,
    StartSync,
    StateQuery,
    Verify,
    Without,
)
from peer.web.guard import LAUNCH_PATH, Guard, Handler, refusal
from peer.web.peer_like import PeerLike
from peer.web.qr import qr_path
from protocol.errors import ExitStatus, QuintetError

log = structlog.get_logger()

SCHEMA: Final = 1
"""Version of the shape of every answer."""


# --- the table ------------------------------------------------------------------------


class Api:
    """What the routes work with.

    Args:
        peer: The running peer.
        guard: Holds the token and the launch codes.
        recent: Remembers what was offered.
        address: The port people reach the page at; 0 until it listens.
        stop: Called to end the process after the answer.
        now: The loop's clock.
        version: Of this program.
    """

    def __init__(
        self,
        peer: PeerLike,
        guard: Guard,
        recent: RecentPlaces,
        *,
        stop: Callable[[], None],
        now: Callable[[], float],
        version: str,
    ) -> None:
        self.peer = peer
        self.guard = guard
        self.recent = recent
        self.port = 0
        self.stop = stop
        self.now = now
        self.version = version


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table: what it does, what it takes, who answers."""

    method: str
    path: str
    does: str
    answer: Callable[[Api, Any, dict[str, str]], Awaitable[object]]
    body: type[Body] | None = None
    query: type[Body] | None = None


async def _state(api: Api, query: StateQuery, _path: dict[str, str]) -> object:
    if query.wait:
        await api.peer.changed(query.since, query.wait)
    return api.peer.view()


async def _launch(api: Api, body: Launch, _path: dict[str, str]) -> object:
    return {"token": api.guard.token} if api.guard.redeem(body.code, api.now()) else None


async def _entry(api: Api, body: Entry, _path: dict[str, str]) -> object:
    if body.via_port is not None:
        api.guard.admit_port(body.via_port)
    code = api.guard.new_launch_code(api.now())
    return {"url": f"http://127.0.0.1:{body.via_port or api.port}/#{code}"}


async def _start(api: Api, body: Start, _path: dict[str, str]) -> object:
    await api.peer.start(
        sources=body.sources, rendezvous=body.rendezvous, lan=body.lan, create=body.create
    )
    api.recent.add(*body.sources)
    return {}


async def _start_local(api: Api, body: StartLocal, _path: dict[str, str]) -> object:
    await api.peer.start_local(sources=body.sources, create=body.create)
    api.recent.add(*body.sources)
    return {}


async def _join(api: Api, body: Join, _path: dict[str, str]) -> object:
    if body.invitation:
        await api.peer.join_by_invitation(
            invitation=body.invitation,
            sources=body.sources,
            accept_new_key=body.accept_new_key,
        )
    else:
        await api.peer.join(
            session_id=body.session_id,
            password=body.password,
            rendezvous=body.rendezvous,
            sources=body.sources,
            accept_new_key=body.accept_new_key,
        )
    api.recent.add(*body.sources)
    return {}


async def _decide(api: Api, body: Decide, _path: dict[str, str]) -> object:
    await api.peer.decide_candidate(body.name, admit=body.admit)
    return {}


async def _allow(api: Api, _body: object, _path: dict[str, str]) -> object:
    await api.peer.allow_joining()
    return {}


async def _remove(api: Api, body: Remove, _path: dict[str, str]) -> object:
    await api.peer.remove_member(body.letter)
    return {}


async def _without(api: Api, body: Without, _path: dict[str, str]) -> object:
    await api.peer.continue_without(body.letter)
    return {}


async def _new_password(api: Api, _body: object, _path: dict[str, str]) -> object:
    await api.peer.new_password()
    return {}


async def _take_over(api: Api, _body: object, _path: dict[str, str]) -> object:
    await api.peer.take_over()
    return {}


async def _peers(api: Api, _body: object, _path: dict[str, str]) -> object:
    return {"peers": api.peer.peers()}


async def _verify_peer(api: Api, body: Verify, _path: dict[str, str]) -> object:
    await api.peer.verify_peer(body.letter)
    return {}


async def _forget_peer(api: Api, _body: object, path: dict[str, str]) -> object:
    return {"forgotten": await api.peer.forget_peer(path["name"])}


async def _secrets(api: Api, _body: object, _path: dict[str, str]) -> object:
    return api.peer.secrets()


async def _qr(api: Api, _body: object, _path: dict[str, str]) -> object:
    return qr_path(api.peer.secrets()["invitation"])


async def _folders(api: Api, query: Look, _path: dict[str, str]) -> object:
    # A disk that was switched off keeps a thread waiting, not the peer.
    listing = await asyncio.to_thread(folders.look, query.path, hidden=query.hidden)
    return {**msgspec.structs.asdict(listing), "recent": api.recent.places()}


async def _leave(api: Api, body: Leave, _path: dict[str, str]) -> object:
    await api.peer.leave(confirmed=body.confirmed)
    return {}


async def _restart(api: Api, _body: object, _path: dict[str, str]) -> object:
    await api.peer.restart()
    return {}


async def _add_source(api: Api, body: AddSource, _path: dict[str, str]) -> object:
    code = await api.peer.add_source(body.path, create=body.create)
    api.recent.add(body.path)
    return {"code": code}


async def _drop_source(api: Api, _body: object, path: dict[str, str]) -> object:
    await api.peer.drop_source(path["code"])
    return {}


async def _settings(api: Api, _body: object, _path: dict[str, str]) -> object:
    session = api.peer.view().get("session")
    return {"settings": session["settings"] if isinstance(session, dict) else None}


async def _set_settings(api: Api, body: SetSettings, path: dict[str, str]) -> object:
    await api.peer.set_settings(body.set)
    return await _settings(api, body, path)


async def _start_inventory(api: Api, _body: object, _path: dict[str, str]) -> object:
    await api.peer.start_inventory()
    return {}


async def _cancel_inventory(api: Api, _body: object, _path: dict[str, str]) -> object:
    await api.peer.cancel_inventory()
    return {}


async def _comparison(api: Api, query: ComparisonQuery, _path: dict[str, str]) -> object:
    return api.peer.comparison(
        filter=query.filter, sort=query.sort, offset=query.offset, limit=query.limit
    )


async def _rules(api: Api, _body: object, _path: dict[str, str]) -> object:
    return api.peer.rules()


async def _set_rules(api: Api, body: SetRules, _path: dict[str, str]) -> object:
    await api.peer.set_rules(preset=body.preset, rules=body.rules)
    return api.peer.rules()


async def _act(api: Api, body: Act, _path: dict[str, str]) -> object:
    return await api.peer.act(
        filter=body.filter, action=body.action, origin=body.origin, targets=body.targets
    )


async def _preview(api: Api, query: Preview, _path: dict[str, str]) -> object:
    return await api.peer.preview(query.preset)


async def _plan(api: Api, _body: object, _path: dict[str, str]) -> object:
    return api.peer.plan()


async def _start_sync(api: Api, body: StartSync, _path: dict[str, str]) -> object:
    await api.peer.start_sync(allow_deletes=body.allow_deletes)
    return {}


async def _abort(api: Api, _body: object, _path: dict[str, str]) -> object:
    await api.peer.abort()
    return {}


async def _verify(api: Api, _body: object, _path: dict[str, str]) -> object:
    return await api.peer.verify()


async def _shutdown(api: Api, _body: object, _path: dict[str, str]) -> object:
    api.stop()
    return {}


async def _version(api: Api, _body: object, _path: dict[str, str]) -> object:
    return {"version": api.version}


async def _openapi(api: Api, _body: object, _path: dict[str, str]) -> object:
    from peer.web.openapi import document

    return document(ROUTES, api.version)


def _get(path: str, does: str, answer: Any, query: type[Body] | None = None) -> Route:
    return Route(method="GET", path=f"/api/v1/{path}", does=does, answer=answer, query=query)


def _post(path: str, does: str, answer: Any, body: type[Body] = Nothing) -> Route:
    return Route(method="POST", path=f"/api/v1/{path}", does=does, answer=answer, body=body)


ROUTES: Final[tuple[Route, ...]] = (
    _get("state", "The whole state; with wait, once it has changed.", _state, StateQuery),
    Route(
        method="POST",
        path=LAUNCH_PATH,
        does="Exchange a launch code for the token.",
        answer=_launch,
        body=Launch,
    ),
    _post("entries", "Make an address that opens the page once.", _entry, Entry),
    _post("session/start", "Create a session.", _start, Start),
    _post("session/local", "Begin a session of this computer's folders.", _start_local, StartLocal),
    _post("session/join", "Join a session.", _join, Join),
    _post("session/leave", "Leave the session.", _leave, Leave),
    _post("session/restart", "Go back to the preparation.", _restart),
    _post("joining/decide", "Let in, or decline, somebody who waits.", _decide, Decide),
    _post("joining/allow", "Allow joining again after wrong passwords.", _allow),
    _post("members/remove", "Put a member out and change the password.", _remove, Remove),
    _post("members/without", "Go on without a member out of reach.", _without, Without),
    _post("session/password", "Change the session's password.", _new_password),
    _post("session/take-over", "Go on though too few are reachable.", _take_over),
    _get("peers", "The devices this computer has met.", _peers),
    _post("peers/verify", "Say that both screens show the same.", _verify_peer, Verify),
    Route(
        method="DELETE",
        path="/api/v1/peers/{name}",
        does="Forget every device of this name.",
        answer=_forget_peer,
    ),
    _get("session/secrets", "Session ID, password and invitation.", _secrets),
    _get("session/qr", "The invitation as a QR code, an SVG path.", _qr),
    _get("folders", "What stands in a folder of this computer.", _folders, Look),
    _post("sources", "Offer a folder or a file.", _add_source, AddSource),
    Route(
        method="DELETE",
        path="/api/v1/sources/{code}",
        does="Take a source out of the session; its files stay.",
        answer=_drop_source,
    ),
    _get("settings", "The session's settings.", _settings),
    Route(
        method="PATCH",
        path="/api/v1/settings",
        does="Set session settings.",
        answer=_set_settings,
        body=SetSettings,
    ),
    _post("inventory/start", "Start the inventory.", _start_inventory),
    _post("inventory/cancel", "Cancel the inventory, for all.", _cancel_inventory),
    _get("comparison", "A window of the comparison.", _comparison, ComparisonQuery),
    _get("rules", "The preset and the rules.", _rules),
    Route(
        method="PUT",
        path="/api/v1/rules",
        does="Replace the preset and the rules.",
        answer=_set_rules,
        body=SetRules,
    ),
    _post("actions", "Set an action on every item a filter matches.", _act, Act),
    _get("preview", "What a preset would do.", _preview, Preview),
    _get("plan", "What would happen, and what it costs.", _plan),
    _post("sync/start", "Confirm the plan and start.", _start_sync, StartSync),
    _post("sync/abort", "Stop the synchronisation, for all.", _abort),
    _post("verify", "Read the planned end state again on all members.", _verify),
    _post("shutdown", "End this peer.", _shutdown),
    _get("version", "The program's version.", _version),
    _get("openapi.json", "This description.", _openapi),
)

HTTP_STATUS: Final = {
    ExitStatus.USAGE: 400,
    ExitStatus.REFUSED: 409,
    ExitStatus.BRAKE: 409,
    ExitStatus.UNREACHABLE: 503,
    ExitStatus.TIMED_OUT: 504,
}
"""HTTP status of an error by what a command would return; 500 for the rest."""


def handler_of(route: Route, api: Api) -> Handler:
    """Return what aiohttp calls for *route*: decode, answer, encode."""

    async def handle(request: web.Request) -> web.StreamResponse:
        arguments: Body | None = None
        if route.query is not None:
            arguments = _decoded(
                lambda: msgspec.convert(_query(request), route.query, strict=False)
            )
        elif route.body is not None:
            raw = await request.read()
            arguments = _decoded(lambda: msgspec.json.decode(raw or b"{}", type=route.body))
        value = await route.answer(api, arguments, dict(request.match_info))
        # Only a launch code that does not wait has no answer: it is met like a wrong token.
        return refusal() if value is None else as_json(value)

    return handle


def _query(request: web.Request) -> dict[str, str]:
    return dict(request.query)


def _decoded(decode: Callable[[], Any]) -> Any:
    try:
        return decode()
    except msgspec.MsgspecError as exc:
        # A validation error names the field and its bound; it never quotes the value.
        where = str(exc) if isinstance(exc, msgspec.ValidationError) else "JSON"
        raise RequestMalformed(where) from None


def as_json(value: object, status: int = 200) -> web.Response:
    """Return *value* as a JSON response."""
    body = msgspec.json.encode(value, enc_hook=str)
    return web.Response(status=status, body=body, content_type="application/json")


def as_error(error: QuintetError) -> web.Response:
    """Return *error* as the API speaks of errors."""
    told = {"code": error.code, "params": error.params, "exit": int(error.exit_status)}
    return as_json({"error": told}, HTTP_STATUS.get(error.exit_status, 500))


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into the API's errors; unexpected ones say nothing but that."""
    try:
        return await handler(request)
    except QuintetError as exc:
        return as_error(exc)
    except web.HTTPRequestEntityTooLarge:
        return as_error(RequestMalformed("size"))
    except web.HTTPException:
        return as_error(RequestUnknown())
    except Exception:
        # The last place before the wire.
        log.exception("api.failed")
        return as_error(QuintetError())
