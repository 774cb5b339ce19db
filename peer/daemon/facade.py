"""One running peer: what the local API asks of it.

Owns the sockets, the state folder and, while there is one, the session. Every act of a person
comes through here; the cores say whether it is allowed.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

import structlog

from peer.daemon import views
from peer.daemon.attending import Attending
from peer.daemon.deciding import SORTS, Deciding
from peer.daemon.entering import Entrance, enter_by_creating, enter_by_joining
from peer.daemon.held_sources import HeldSources
from peer.daemon.known_digests import KnownDigests
from peer.daemon.pictures import invitation_view, session_view
from peer.daemon.work import SessionWork
from peer.errors import (
    AlreadyInSession,
    ConfirmationNeeded,
    NoSession,
    RightMissing,
    SettingInvalid,
    WrongPhase,
)
from peer.net.node_link import NodeAddress
from peer.net.paths import Paths
from peer.session.errors import (
    BrakeTripped,
    LinksMissing,
    PlanChanged,
    PlanEmpty,
    PresetUnknown,
    RendezvousNeeded,
    SourceUnknown,
)
from peer.session.phases import Phase
from peer.session.session_settings import parse_assignments
from peer.session.trust import OwnTries
from peer.settings import Settings
from peer.store.home import Home
from peer.store.identity_file import load_or_create_identity
from peer.store.index import Index
from protocol.credentials import Invitation, Password, SessionId, fingerprint_symbols
from protocol.endpoint.drive import Endpoint
from protocol.errors import JoinFailed, JoinOutcome, QuintetError
from protocol.limits import MAX_NAME
from protocol.quic.selftest import check_library
from protocol.versions import PEER_ALPN

log = structlog.get_logger()

RUNNING: Final = frozenset({Phase.INVENTORY, Phase.SYNCHRONISATION})
"""Phases that must be left by cancelling or aborting."""


class Peer:
    """One peer of one state folder; made by ``Peer.open``."""

    def __init__(self, home: Home, settings: Settings, tasks: asyncio.TaskGroup) -> None:
        self._home = home
        self._settings = settings
        self._tasks = tasks
        self._node = load_or_create_identity(home.identity, os.urandom)
        self._index = Index(home.index)
        self._endpoint = Endpoint.open(
            [("0.0.0.0", settings.udp_port), ("::", settings.udp_port)],  # noqa: S104  # members come from anywhere
            alpn_served=PEER_ALPN,
        )
        self._paths = Paths(self._endpoint)
        self._sources = HeldSources(home.path)
        self._attending: Attending | None = None
        self._work: SessionWork | None = None
        self._entrance: Entrance | None = None
        self._revision = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._tries = OwnTries()
        self._stack = contextlib.AsyncExitStack()
        self._background: list[asyncio.Task[None]] = [self.spawn(self._paths.run())]

    @classmethod
    async def open(cls, path: Path, settings: Settings) -> Self:
        """Return the peer of the state folder *path*, running.

        Raises:
            PeerAlreadyRunning: If another process has the folder.
            StateExposed, StateUnusable: If the folder is not fit to hold a key.
            UnsafeLibrary: If the QUIC library is not the one this was built for.
        """
        check_library(os.urandom)
        stack = contextlib.AsyncExitStack()
        try:
            home = stack.enter_context(Home(path))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            peer = cls(home, settings, tasks)
        except BaseException:
            await stack.aclose()
            raise
        peer._stack = stack
        return peer

    async def close(self) -> None:
        """End everything: links, tasks, sockets, files."""
        if self._attending is not None:
            await self._attending.leave()
        self._forget_session()
        await self._endpoint.close()
        for task in self._background:
            task.cancel()
        self._index.close()
        await self._stack.aclose()

    # --- tasks and changes ------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task of this peer; its failure is its own."""
        return self._tasks.create_task(_contained(coroutine))

    def _touch(self) -> None:
        self._revision += 1
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self, since: int, timeout: float) -> None:  # noqa: ASYNC109  # a long poll
        """Return when the view's revision exceeds *since*, or after *timeout* seconds."""
        if self._revision > since:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await waiter

    # --- a session begins and ends ----------------------------------------------------

    async def start(
        self, *, sources: list[str], rendezvous: str | None, lan: bool, create: bool = False
    ) -> None:
        """Create a session with these sources.

        Raises:
            QuintetError: If a source is refused, or the node cannot be used; nothing stands then.
        """
        self._require_no_session()
        node = self._node_address(rendezvous, lan=lan)
        await self._hold(sources, create=create)
        await self._enter(lambda: enter_by_creating(self._new_entrance(node)))

    async def join(
        self, *, session_id: str, password: str, rendezvous: str | None, sources: list[str]
    ) -> None:
        """Join a session; return when this peer is a member.

        Raises:
            SecretUnusable: If ID or password holds a typing mistake; nothing was sent.
            JoinFailed: With the outcome people are told.
        """
        self._require_no_session()
        parsed = SessionId.parse(session_id)
        secret = Password.parse(password)
        await self._join(parsed, secret, self._node_address(rendezvous, lan=False), sources)

    async def join_by_invitation(self, *, invitation: str, sources: list[str]) -> None:
        """Join by an invitation's link; see ``join``."""
        self._require_no_session()
        parsed = Invitation.parse(invitation)
        if not parsed.host:
            raise RendezvousNeeded
        node = NodeAddress(parsed.host, parsed.port, parsed.node)
        await self._join(parsed.session_id, parsed.password, node, sources)

    async def _join(
        self, session_id: SessionId, password: Password, node: NodeAddress, sources: list[str]
    ) -> None:
        now = asyncio.get_running_loop().time
        self._tries.check(session_id.value, now=now())
        await self._hold(sources, create=False)
        try:
            await self._enter(
                lambda: enter_by_joining(self._new_entrance(node), session_id, password)
            )
        except JoinFailed as failed:
            if failed.outcome is JoinOutcome.WRONG_PASSWORD:
                self._tries.wrong(session_id.value, now=now())
            raise
        self._tries.clear(session_id.value)

    async def _enter(self, enter: Any) -> None:
        try:
            self._attending = await enter()
        except BaseException:
            self._forget_session()
            raise
        session = self._attending.session
        self._work = SessionWork(
            session,
            self._sources,
            KnownDigests(self._index),
            spawn=self.spawn,
            changed=self._touch,
        )
        session.work = self._work
        session.lifecycle.change_sources(self._sources.infos())
        session.drain()
        self._touch()

    def _new_entrance(self, node: NodeAddress) -> Entrance:
        self._entrance = Entrance(
            node=node,
            endpoint=self._endpoint,
            paths=self._paths,
            identity=self._node,
            name=self._name,
            email=self._settings.identity.email,
            spawn=self.spawn,
            changed=self._touch,
        )
        return self._entrance

    @property
    def _name(self) -> str:
        name = self._settings.identity.name or socket.gethostname()
        printable = "".join(character for character in name if character.isprintable())
        return printable[:MAX_NAME].strip() or "computer"

    def _node_address(self, rendezvous: str | None, *, lan: bool) -> NodeAddress:
        chosen = rendezvous or self._settings.rendezvous
        if lan or not chosen:
            raise RendezvousNeeded
        return NodeAddress.parse(chosen)

    async def _hold(self, sources: list[str], *, create: bool) -> None:
        try:
            for path in sources:
                await asyncio.to_thread(self._sources.add, Path(path), create=create)
        except BaseException:
            self._sources.close()
            raise

    def _require_no_session(self) -> None:
        if self._attending is not None or self._entrance is not None:
            raise AlreadyInSession

    def _forget_session(self) -> None:
        if self._work is not None:
            self._work.close()
        if self._entrance is not None:
            self._entrance.close()
        self._attending = self._work = self._entrance = None
        self._sources.close()
        self._touch()

    async def leave(self, *, confirmed: bool) -> None:
        """Leave the session.

        Raises:
            WrongPhase: While this member's inventory or synchronisation runs.
            ConfirmationNeeded: If others depend on this member and *confirmed* is not said.
        """
        attending = self._require_session()
        phase = attending.session.lifecycle.phase
        if phase in RUNNING:
            raise WrongPhase(phase.value)
        if phase is not Phase.FINISHED and not confirmed:
            raise ConfirmationNeeded
        await attending.leave()
        self._forget_session()

    def secrets(self) -> dict[str, str]:
        """Return Session ID, password and invitation, for the person at this computer."""
        attending = self._require_session()
        return invitation_view(attending, creator=fingerprint_symbols(self._node.node_key))

    # --- sources and settings ---------------------------------------------------------

    async def add_source(self, path: str, *, create: bool = False) -> str:
        """Offer another source; return its code."""
        session = self._require_session().session
        self._require_preparation()
        await asyncio.to_thread(self._sources.add, Path(path), create=create)
        session.lifecycle.change_sources(self._sources.infos())
        session.drain()
        return f"{self._letter}{len(self._sources.sources)}"

    async def drop_source(self, code: str) -> None:
        """Offer a source no more; its files stay."""
        session = self._require_session().session
        self._require_preparation()
        position = int(code[1:]) - 1 if code[1:].isdecimal() and code[1:].isascii() else -1
        if code[:1].upper() != self._letter or not 0 <= position < len(self._sources.sources):
            raise SourceUnknown(code)
        self._sources.drop(position)
        session.lifecycle.change_sources(self._sources.infos())
        session.drain()

    async def set_settings(self, assignments: list[str]) -> None:
        """Change settings of the session: ``key=value``."""
        session = self._require_session().session
        settings = parse_assignments(assignments, session.lifecycle.settings)
        session.lifecycle.change_settings(settings)
        session.drain()

    # --- inventory --------------------------------------------------------------------

    async def start_inventory(self) -> None:
        """Start the inventory of all members."""
        session = self._require_session().session
        self._require_links()
        session.lifecycle.start_inventory()
        session.drain()

    async def cancel_inventory(self) -> None:
        """End the inventory for all."""
        session = self._require_session().session
        session.lifecycle.cancel_inventory()
        session.drain()

    async def restart(self) -> None:
        """Go back to Preparation."""
        session = self._require_session().session
        session.lifecycle.restart()
        session.drain()

    def comparison(
        self,
        *,
        filter: str = "",  # noqa: A002  # the name people type
        sort: str = "path",
        offset: int = 0,
        limit: int = 100,
    ) -> dict[str, object]:
        """Return a window of the comparison."""
        if sort.removeprefix("-") not in SORTS:
            raise SettingInvalid("sort", " | ".join(SORTS))
        return self._require_deciding().window(filter, sort, offset, limit)

    # --- decisions --------------------------------------------------------------------

    async def set_rules(self, *, preset: str | None, rules: list[str]) -> None:
        """Replace the rules, by a preset's and by text."""
        deciding = self._require_deciding()
        try:
            data = deciding.with_rules(preset, rules)
        except ValueError:
            raise PresetUnknown(preset or "") from None
        await self._change_decisions(data)

    def rules(self) -> dict[str, object]:
        """Return the rules in force."""
        return self._require_deciding().rules()

    async def act(
        self,
        *,
        filter: str,  # noqa: A002  # the name people type
        action: str,
        origin: str | None,
        targets: list[str],
    ) -> dict[str, object]:
        """Set an action on the rows that a filter selects."""
        deciding = self._require_deciding()
        words = [action, *([origin] if origin else []), "->", ", ".join(targets) or "all"]
        data, count = deciding.with_action(filter, " ".join(words))
        await self._change_decisions(data)
        return {"applied": count, "refused": deciding.refusals()}

    async def _change_decisions(self, data: bytes) -> None:
        session = self._require_session().session
        session.lifecycle.change_decisions(data)
        session.drain()
        await self._require_work().settled()

    def plan(self) -> dict[str, object]:
        """Return the plan, and what it leaves alone."""
        deciding = self._require_deciding()
        planned = deciding.plan_view()
        if planned is None:
            raise PlanEmpty
        return {**planned, "refusals": deciding.refusals()}

    # --- synchronisation --------------------------------------------------------------

    async def start_sync(self, *, allow_deletes: int | None = None) -> None:
        """Start the synchronisation; on a member that does not lead, lift its own brake.

        Raises:
            BrakeTripped: If this member's own brake must be lifted first.
            PlanEmpty: If there is nothing to do.
        """
        session, work = self._require_session().session, self._require_work()
        lifecycle = session.lifecycle
        if allow_deletes is not None:
            work.allow_deletes = allow_deletes
        if session.me != lifecycle.leader:
            if allow_deletes is None:
                raise RightMissing(views.letters(session.membership)[lifecycle.leader])
            return
        self._require_links()
        await work.settled()
        decided = self._require_deciding().decided
        if decided is None or not decided.plan.steps:
            raise PlanEmpty
        for brake in decided.brakes:
            if brake.member == session.me and brake.count > work.allow_deletes:
                raise BrakeTripped(brake.count, brake.files)
        sync = os.urandom(16)
        if work.sync is not None or lifecycle.phase is not Phase.COMPARISON:
            raise PlanChanged
        work.prepare(sync, decided)
        try:
            lifecycle.order_sync(
                sync,
                reference_time_ns=decided.proposed.reference_time_ns,
                steps=len(decided.plan.steps),
                steps_digest=decided.plan.digest,
            )
        except QuintetError:
            work.drop_sync()
            raise
        session.drain()

    async def abort(self) -> None:
        """Stop the synchronisation for all."""
        session = self._require_session().session
        session.lifecycle.abort_sync()
        session.drain()

    async def verify(self) -> dict[str, object]:
        """Read the planned end state back on all members."""
        work = self._require_work()
        if work.sync is None:
            raise WrongPhase(self._require_session().session.lifecycle.phase.value)
        await work.prove(work.sync, again=True)
        return work.proof_view() or {}

    # --- what people see --------------------------------------------------------------

    def view(self) -> dict[str, object]:
        """Return the whole state, JSON-safe."""
        common: dict[str, object] = {
            "schema": 1,
            "revision": self._revision,
            "version": version("quintet"),
            "home_name": self._home.path.name,
            "me": {
                "fingerprint": self._node.fingerprint,
                "name": self._name,
                "letter": None if self._attending is None else self._letter,
            },
        }
        return common | session_view(self._attending, self._work)

    @property
    def _letter(self) -> str:
        membership = self._require_session().session.membership
        return views.letters(membership)[membership.me]

    # --- what acts need ---------------------------------------------------------------

    def _require_session(self) -> Attending:
        if self._attending is None:
            raise NoSession
        return self._attending

    def _require_work(self) -> SessionWork:
        if self._work is None:
            raise NoSession
        return self._work

    def _require_deciding(self) -> Deciding:
        work = self._require_work()
        if work.deciding is None:
            raise WrongPhase(self._require_session().session.lifecycle.phase.value)
        return work.deciding

    def _require_preparation(self) -> None:
        phase = self._require_session().session.lifecycle.phase
        if phase is not Phase.PREPARATION:
            raise WrongPhase(phase.value)

    def _require_links(self) -> None:
        session = self._require_session().session
        names = views.letters(session.membership)
        missing = [
            names[index]
            for index in session.membership.roster.present
            if index != session.me and index not in session.links
        ]
        if missing:
            raise LinksMissing(" ".join(missing))


async def _contained(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run *coroutine*; an error we raise on purpose ends it alone, any other is logged whole.

    A defect that one member's message can trigger must not end the peer for all others.
    """
    try:
        await coroutine
    except QuintetError as error:
        log.info("task.ended", code=error.code)
    except Exception:
        log.exception("task.failed")
