"""The sponsor's side of a join: this member answers a candidate on its connection."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from peer.daemon.session import Session, Spawn
from peer.net.pump import HandshakePump
from peer.session.trust import Throttle
from protocol.credentials import Secret, SessionId
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.endpoint.paths import address_of, source_of
from protocol.endpoint.streams import Stream
from protocol.errors import (
    JoinFailed,
    JoinOutcome,
    QuintetError,
    RemoteProtocolError,
)
from protocol.framing import FrameReader
from protocol.join.dialog import OUTCOMES, Failed, Stage
from protocol.join.sponsor import (
    Admitted,
    Authenticated,
    Sponsor,
    SponsorEvent,
    TryCharged,
    TryUndone,
)
from protocol.limits import ADMISSION_TIMEOUT, MAX_JOINS, STEP_TIMEOUT
from protocol.versions import EXPORTER_SIZE, JOIN_EXPORTER

log = structlog.get_logger()

LINGER: Final = 2.0
"""Seconds a refused candidate has to read why before its connection is closed."""


@dataclass(frozen=True, slots=True)
class Candidacy:
    """Somebody who has proven the password and waits to be let in."""

    name: str
    digits: str


class Sponsoring:
    """Answers candidates for one session.

    Args:
        session: Admits them.
        session_id: Its name.
        prs: The password, stretched.
        tag_key: The Session ID, stretched.
        node: This device's identity.
        name: What this machine is called.
        spawn: Starts a task.
        changed: Called when ``waiting`` has changed.
    """

    def __init__(
        self,
        session: Session,
        *,
        session_id: SessionId,
        prs: Secret,
        tag_key: Secret,
        node: NodeIdentity,
        name: str,
        spawn: Spawn,
        changed: Callable[[], None],
    ) -> None:
        self.throttle = Throttle()
        self.waiting: dict[bytes, Candidacy] = {}
        self._session = session
        self._session_id = session_id
        self._prs = prs
        self._tag_key = tag_key
        self._node = node
        self._name = name
        self._spawn = spawn
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._running = 0

    async def serve(
        self, connection: Connection, stream: Stream, reader: FrameReader, first: tuple[int, bytes]
    ) -> bool:
        """Run one join whose first frame has come; return whether the candidate is in.

        Raises:
            LinkClosed: If the connection ended.
            RemoteProtocolError: If the candidate broke the protocol.
        """
        source = source_of(address_of(connection.path.remote))
        machine = Sponsor(
            session_id=self._session_id,
            prs=self._prs,
            tag_key=self._tag_key,
            exporter=connection.export(JOIN_EXPORTER, self._session_id.encoded, EXPORTER_SIZE),
            node=self._node,
            index=self._session.me,
            name=self._name,
            needs_approval=False,
            random_bytes=os.urandom,
        )
        machine.start(now=self._loop.time())
        pump: HandshakePump[SponsorEvent] = HandshakePump(machine, stream)
        pump.adopt(reader)
        self._running += 1
        try:
            self._check_room(source)
        except JoinFailed as refused:
            self._running -= 1
            machine.refuse(refused.outcome, refused.retry_after)
            await _say_goodbye(pump, stream)
            return False
        try:
            pump.take(first)
            return await self._run(connection, pump, machine, stream, source)
        except RemoteProtocolError:
            pump.flush()
            raise
        finally:
            self._running -= 1

    def _check_room(self, source: bytes) -> None:
        if self._running > MAX_JOINS:
            raise JoinFailed(JoinOutcome.THROTTLED, int(STEP_TIMEOUT))
        self.throttle.check(source, now=self._loop.time())

    async def _run(
        self,
        connection: Connection,
        pump: HandshakePump[SponsorEvent],
        machine: Sponsor,
        stream: Stream,
        source: bytes,
    ) -> bool:
        decision: asyncio.Task[None] | None = None
        try:
            while True:
                match await pump.event():
                    case TryCharged():
                        self._charge(machine, source)
                    case TryUndone():
                        self.throttle.undo(source)
                    case Authenticated() as candidate:
                        connection.extend(ADMISSION_TIMEOUT + STEP_TIMEOUT)
                        decision = self._spawn(self._decide(machine, pump, candidate))
                    case Admitted():
                        return True
                    case Failed(failure=failure):
                        log.info("sponsoring.refused", code=failure.code)
                        if decision is not None:
                            # Too late: the candidate has just been told something else.
                            decision.cancel()
                        await _say_goodbye(pump, stream)
                        return False
        finally:
            if decision is not None:
                decision.cancel()

    def _charge(self, machine: Sponsor, source: bytes) -> None:
        now = self._loop.time()
        self.throttle.charge(source, now=now)
        retry_after = 0
        try:
            self.throttle.check(source, now=now)
        except JoinFailed as wait:
            retry_after = wait.retry_after
        machine.charged(self.throttle.tries_left(source), retry_after)

    async def _decide(
        self, machine: Sponsor, pump: HandshakePump[SponsorEvent], candidate: Authenticated
    ) -> None:
        """Have the candidate admitted, and tell it."""
        proposal = os.urandom(16)
        self.waiting[proposal] = Candidacy(candidate.name, candidate.digits)
        self._changed()
        try:
            commit = await self._session.propose(
                proposal, candidate.node_key, candidate.name, candidate.email
            )
        except JoinFailed as refused:
            outcome = refused.outcome
            if outcome not in OUTCOMES[Stage.PROVEN]:
                # The committer's own trouble; another member may do better.
                outcome = JoinOutcome.MEMBERS_UNREACHABLE
            machine.refuse(outcome, refused.retry_after)
            self._session.notice("join_failed", name=candidate.name, reason=refused.code)
        except QuintetError:
            machine.refuse(JoinOutcome.DECLINED)
        else:
            key = self._session.membership.epoch_key(commit.epoch)
            assert key is not None, "admitted in the epoch that has just begun"
            machine.admit(
                key,
                commit.epoch,
                commit.encode(),
                commit.roster.encode(),
                now=self._loop.time(),
            )
        finally:
            del self.waiting[proposal]
            self._changed()
        pump.poke()


async def _say_goodbye(pump: HandshakePump[SponsorEvent], stream: Stream) -> None:
    """Let the candidate read why, then let its connection go."""
    pump.flush()
    stream.finish()
    try:
        async with asyncio.timeout(LINGER):
            await stream.drained()
    except (TimeoutError, QuintetError):
        log.debug("sponsoring.goodbye_unheard")
