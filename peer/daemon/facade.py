"""One running peer: what the local API asks of it.

Owns the sockets, the state folder and, while there is one, the session. Every act of a person
comes through here; the cores say whether it is allowed.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

import structlog

from peer.daemon.attending import Attending
from peer.daemon.entering import Entrance, enter_by_creating, enter_by_joining
from peer.daemon.held_sources import HeldSource, HeldSources
from peer.daemon.known_digests import KnownDigests
from peer.daemon.local_session import LocalAttending
from peer.daemon.pictures import entering_view, invitation_view, session_view
from peer.daemon.trust_acts import TrustActs
from peer.daemon.trusting import FOUNDER, Trusting, Vetting
from peer.daemon.work import SessionWork
from peer.daemon.workers import in_worker
from peer.errors import (
    AlreadyInSession,
    ConfirmationNeeded,
    WrongPhase,
)
from peer.net.node_access import read_access
from peer.net.node_link import NodeAddress
from peer.net.paths import Paths
from peer.session.errors import (
    LocalSourcesWrong,
    RendezvousNeeded,
    SessionIsLocal,
    SourceUnknown,
)
from peer.session.phases import Phase
from peer.session.reports import SideBehind, WasRemoved
from peer.session.trust import OwnTries
from peer.settings import Settings
from peer.store.home import Home
from peer.store.identity_file import load_or_create_identity
from peer.store.index import Index
from peer.store.known_peers import KnownPeers
from protocol.credentials import Invitation, Password, SessionId, fingerprint_symbols
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.machines import fast_path_fault
from protocol.errors import JoinFailed, JoinOutcome, QuintetError
from protocol.limits import MAX_MEMBERS, MAX_NAME, STEP_TIMEOUT
from protocol.quic.selftest import check_library
from protocol.versions import PEER_ALPN

log = structlog.get_logger()

RUNNING: Final = frozenset({Phase.INVENTORY, Phase.SYNCHRONISATION})
"""Phases that must be left by cancelling or aborting."""

MIN_LOCAL: Final = 2
"""Sources a local session begins with: one has nothing to be compared with."""


class Peer(TrustActs):
    """One peer of one state folder; made by ``Peer.open``."""

    def __init__(
        self, home: Home, index: Index, settings: Settings, tasks: asyncio.TaskGroup
    ) -> None:
        super().__init__(KnownPeers(home))
        self._home = home
        self._index = index
        self._settings = settings
        self._tasks = tasks
        self._node = load_or_create_identity(home.identity, os.urandom)
        self._endpoint = Endpoint.open(
            [("0.0.0.0", settings.udp_port), ("::", settings.udp_port)],  # noqa: S104  # members come from anywhere
            alpn_served=PEER_ALPN,
        )
        fault = fast_path_fault()
        if fault is not None:
            log.warning("link.fast_path_off", reason=fault)
        self._paths = Paths(self._endpoint)
        self._sources = HeldSources(home.path)
        self._entrance: Entrance | None = None
        self._entering: asyncio.Task[Any] | None = None
        """The task that is about to enter a session."""
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="sources")
        self._revision = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._tries = OwnTries()
        self._farewell = ""
        """Code of the notice that says why there is no session any more."""
        self._stack = contextlib.AsyncExitStack()
        self._running: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self.spawn(self._paths.run())

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
            index = stack.enter_context(Index(home.index))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            peer = cls(home, index, settings, tasks)
        except BaseException:
            await stack.aclose()
            raise
        peer._stack = stack
        return peer

    async def close(self) -> None:
        """End everything: links, tasks, threads, sockets, files."""
        if self._is_closing:
            return
        self._is_closing = True
        while self._entering is not None:
            self._entering.cancel()
            await self.changed(self._revision, STEP_TIMEOUT)
        if self._attending is not None:
            await self._attending.leave()
        await self._forget_session()
        await self._endpoint.close()
        for task in self._running:
            task.cancel()
        await self._stack.aclose()
        self._disk.shutdown()

    # --- tasks and changes ------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task of this peer; its failure is its own."""
        task = self._tasks.create_task(_contained(coroutine))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # Cancelled before its first step, the task never awaits it.
        task.add_done_callback(lambda _: coroutine.close())
        return task

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
        async with self._enter():
            node = self._node_address(rendezvous, lan=lan)
            await self._hold(sources, create=create)
            self._attend(await enter_by_creating(self._new_entrance(node)))

    async def start_local(self, *, sources: list[str], create: bool = False) -> None:
        """Begin a session of these sources alone: one member each, no node, no network.

        Raises:
            QuintetError: If a source is refused, or there are too few or too many.
        """
        async with self._enter():
            if not MIN_LOCAL <= len(sources) <= MAX_MEMBERS:
                raise LocalSourcesWrong(MIN_LOCAL, MAX_MEMBERS)
            await self._hold(sources, create=create)
            self._attending = local = LocalAttending(
                self._node,
                self._sources.shares(),
                KnownDigests(self._index),
                spawn=self.spawn,
                changed=self._touch,
            )
            self._work = local.work
            await local.settled()

    async def join(
        self,
        *,
        session_id: str,
        password: str,
        rendezvous: str | None,
        sources: list[str],
        accept_new_key: bool = False,
    ) -> None:
        """Join a session; return when this peer is a member.

        Raises:
            SecretUnusable: If ID or password holds a typing mistake; nothing was sent.
            JoinFailed: With the outcome people are told.
        """
        vetting = Vetting(self._known, accept_new_key)
        async with self._enter():
            parsed = SessionId.parse(session_id)
            secret = Password.parse(password)
            node = self._node_address(rendezvous, lan=False)
            await self._join(parsed, secret, node, sources, vetting)

    async def join_by_invitation(
        self, *, invitation: str, sources: list[str], accept_new_key: bool = False
    ) -> None:
        """Join by an invitation's link; see ``join``."""
        async with self._enter():
            parsed = Invitation.parse(invitation)
            if not parsed.host:
                raise RendezvousNeeded
            node = NodeAddress(parsed.host, parsed.port, parsed.node, parsed.access)
            vetting = Vetting(self._known, accept_new_key, parsed.creator)
            await self._join(parsed.session_id, parsed.password, node, sources, vetting)

    async def _join(
        self,
        session_id: SessionId,
        password: Password,
        node: NodeAddress,
        sources: list[str],
        vetting: Vetting,
    ) -> None:
        now = asyncio.get_running_loop().time
        self._tries.check(session_id.value, now=now())
        await self._hold(sources, create=False)
        try:
            entered = await enter_by_joining(self._new_entrance(node), session_id, password)
        except JoinFailed as failed:
            if failed.outcome is JoinOutcome.WRONG_PASSWORD:
                self._tries.wrong(session_id.value, now=now())
            raise
        self._tries.clear(session_id.value)
        roster = entered.session.membership.roster
        try:
            vetting.check(roster, self._node.node_key)
        except JoinFailed:
            # It is in by now; the others must not take it for a member that went away.
            await entered.leave()
            raise
        self._attend(entered)
        if vetting.misses_creator(roster):
            entered.session.notice("creator_gone")

    @contextlib.asynccontextmanager
    async def _enter(self) -> AsyncIterator[None]:
        """Enter a session in the block, one at a time; nothing stands if it fails."""
        if self._attending is not None or self._entering is not None or self._is_closing:
            raise AlreadyInSession
        self._entering = asyncio.current_task()
        try:
            yield
        except BaseException:
            await self._forget_session()
            raise
        finally:
            self._entering = None
            self._touch()

    def _attend(self, attending: Attending) -> None:
        """Let *attending* be the session of this peer; nothing else happens in between."""
        self._attending = attending
        session = attending.session
        self._trusting = Trusting(self._known, session, changed=self._touch)
        self._work = SessionWork(
            session,
            self._sources,
            KnownDigests(self._index),
            spawn=self.spawn,
            changed=self._touch,
        )
        session.work = self._work
        session.on_end = self._session_ended
        self._farewell = ""
        session.lifecycle.change_sources(self._sources.infos())
        session.drain()
        self._touch()

    def _session_ended(self, event: WasRemoved | SideBehind) -> None:
        self._farewell = "removed" if isinstance(event, WasRemoved) else "side_behind"
        self.spawn(self._end_session())

    async def _end_session(self) -> None:
        if self._attending is not None:
            await self._attending.session.close()
        await self._forget_session()

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
        access = read_access(self._settings.access_file)
        return replace(NodeAddress.parse(chosen), access=access)

    async def _hold(self, sources: list[str], *, create: bool) -> None:
        for path in sources:
            await self._add(path, create=create)

    async def _add(self, path: str, *, create: bool) -> HeldSource:
        return await in_worker(
            self._disk,
            partial(self._sources.add, Path(path), create=create),
            late=self._sources.discard,
        )

    async def _forget_session(self) -> None:
        if self._work is not None:
            # Its threads read and write in the sources, which are closed next.
            await self._work.close()
        if self._entrance is not None:
            self._entrance.close()
        self._attending = self._work = self._entrance = self._trusting = None
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
        await self._forget_session()

    def secrets(self) -> dict[str, str]:
        """Return Session ID, password and invitation, for the person at this computer."""
        attending = self._require_shared()
        roster = attending.session.membership.roster
        # Of who stands in the creator's place nobody else can be: who left never comes back to it.
        creator = roster.entry(FOUNDER)
        key = self._node.node_key if creator is None else creator.node_key
        return invitation_view(attending, creator=fingerprint_symbols(key))

    # --- sources and settings ---------------------------------------------------------

    async def add_source(self, path: str, *, create: bool = False) -> str:
        """Offer another source; return its code."""
        session = self._require_shared().session
        self._require_preparation()
        held = await self._add(path, create=create)
        try:
            self._require_session()
            session.lifecycle.change_sources(self._sources.infos())
        except QuintetError:
            # The inventory has begun, or the session has ended, while the disk was looked at.
            self._sources.discard(held)
            raise
        session.drain()
        return self._codes()[self._sources.sources.index(held)]

    async def drop_source(self, code: str) -> None:
        """Offer a source no more; its files stay."""
        session, work = self._require_shared().session, self._require_work()
        self._require_preparation()
        # An inventory that was cancelled just now may still be reading in it.
        await work.idle()
        self._require_preparation()
        if code.upper() not in self._codes():
            raise SourceUnknown(code)
        self._sources.drop(self._codes().index(code.upper()))
        session.lifecycle.change_sources(self._sources.infos())
        session.drain()

    def _require_shared(self) -> Attending:
        attending = self._require_session()
        if isinstance(attending, LocalAttending):
            raise SessionIsLocal
        return attending

    def _codes(self) -> list[str]:
        return [f"{self._letter}{number + 1}" for number in range(len(self._sources.sources))]

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
        entrance = self._entrance
        sponsor = None if entrance is None or self._attending else entrance.sponsor
        common["entering"] = None if sponsor is None else entering_view(sponsor)
        picture = session_view(self._attending, self._work, self._trusting)
        if self._attending is None and self._farewell:
            picture["notices"] = [{"number": 1, "code": self._farewell, "params": {}}]
        return common | picture


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
