"""The sponsor's side of a join: this member answers a candidate on its connection."""

import asyncio
import os
from typing import Final

import structlog

from peer.daemon.session import Session, Spawn
from peer.net.pump import HandshakePump
from peer.session.door import (
    Arrived,
    Decided,
    DoorEvent,
    JoiningPaused,
    JoiningReopened,
    Refused,
    SourceWaits,
)
from peer.session.phases import Phase
from peer.session.trust import FREE_TRIES, Throttle
from protocol.address import from_sockaddr, to_sockaddr
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
from protocol.limits import ADMISSION_TIMEOUT, APPROVAL_TIMEOUT, MAX_JOINS, STEP_TIMEOUT
from protocol.versions import EXPORTER_SIZE, JOIN_EXPORTER

log = structlog.get_logger()

LINGER: Final = 2.0
"""Seconds a refused candidate has to read why before its connection is closed."""


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
    ) -> None:
        self.throttle = Throttle()
        self._session = session
        self._session_id = session_id
        self._prs = prs
        self._tag_key = tag_key
        self._node = node
        self._name = name
        self._spawn = spawn
        self._answers: dict[bytes, asyncio.Future[Decided]] = {}
        self._loop = asyncio.get_running_loop()
        self._running = 0
        session.on_door = self.take_door_event

    def renew(self, prs: Secret) -> None:
        """Let only the session's new password be proven from now on."""
        self._prs = prs

    async def serve(
        self, connection: Connection, stream: Stream, reader: FrameReader, first: tuple[int, bytes]
    ) -> bool:
        """Run one join whose first frame has come; return whether the candidate is in.

        Raises:
            LinkClosed: If the connection ended.
            RemoteProtocolError: If the candidate broke the protocol.
        """
        address = address_of(connection.path.remote)
        source = source_of(address)
        machine = Sponsor(
            session_id=self._session_id,
            prs=self._prs,
            tag_key=self._tag_key,
            exporter=connection.export(JOIN_EXPORTER, self._session_id.encoded, EXPORTER_SIZE),
            node=self._node,
            index=self._session.me,
            name=self._name,
            needs_approval=self._asks,
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
            wrong_before = self.throttle.wrong(source)
            return await self._run(connection, pump, machine, stream, source)
        except RemoteProtocolError:
            pump.flush()
            raise
        finally:
            self._running -= 1
            if self.throttle.wrong(source) > wrong_before:
                # However it ended: a try that went away in between has tried, too.
                self._report(source, to_sockaddr(from_sockaddr(address))[0], wrong_before)

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
                        wait = APPROVAL_TIMEOUT if machine.needs_approval else ADMISSION_TIMEOUT
                        connection.extend(wait + STEP_TIMEOUT)
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
        session, proposal = self._session, os.urandom(16)
        outcome: JoinOutcome | None = None
        by: int | None = None
        session.on_candidate(candidate.node_key, candidate.name)
        # Who comes back has been let in before; once activated there is nothing to decide.
        asks = (
            machine.needs_approval
            and session.lifecycle.phase is Phase.PREPARATION
            and session.membership.roster.find(candidate.node_key) is None
        )
        session.door.candidate_waits(
            proposal,
            candidate.name,
            candidate.email,
            candidate.digits,
            asks=asks,
        )
        session.drain()
        try:
            if asks:
                answer = await self._answer(proposal)
                if not answer.admitted:
                    by = answer.by
                    raise JoinFailed(JoinOutcome.DECLINED)  # noqa: TRY301  # told as any refusal is
            commit = await self._session.propose(
                proposal, candidate.node_key, candidate.name, candidate.email
            )
        except JoinFailed as refused:
            outcome = refused.outcome
            if outcome not in OUTCOMES[Stage.PROVEN]:
                # The committer's own trouble; another member may do better.
                outcome = JoinOutcome.MEMBERS_UNREACHABLE
            machine.refuse(outcome, refused.retry_after)
            self._tell_refused(candidate.name, refused.outcome, by)
        except QuintetError:
            outcome = JoinOutcome.DECLINED
            machine.refuse(outcome)
        else:
            session.digits[candidate.node_key] = candidate.digits
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
            session.door.candidate_gone(proposal, outcome, by)
            session.drain()
        pump.poke()

    @property
    def _asks(self) -> bool:
        return self._session.lifecycle.settings.ask_before_join

    async def _answer(self, proposal: bytes) -> Decided:
        """Return what some member answers; the candidate's own deadline ends the wait."""
        self._answers[proposal] = self._loop.create_future()
        try:
            return await self._answers[proposal]
        finally:
            del self._answers[proposal]

    # --- the door ------------------------------------------------------------------------

    def take_door_event(self, event: DoorEvent) -> None:
        """Act on what happened at the door, here or at another member; tell people."""
        notice = self._session.notice
        match event:
            case Decided(proposal=proposal):
                answer = self._answers.get(proposal)
                if answer is not None and not answer.done():
                    answer.set_result(event)
            case Arrived(waiting=waiting):
                if waiting.asks:
                    notice("join_asked", name=waiting.name)
            case Refused(name=name, outcome=outcome, by=by):
                self._tell_refused(name, outcome, by)
            case SourceWaits(source=source, wrong=wrong):
                notice("wrong_passwords", source=source, count=wrong)
            case JoiningPaused(member=member):
                notice("joining_paused", member=self._name_of(member))
            case JoiningReopened(by=by):
                self.throttle.reopen()
                notice("joining_reopened", member=self._name_of(by))

    def _tell_refused(self, name: str, outcome: JoinOutcome, by: int | None) -> None:
        if by is None:
            self._session.notice("join_failed", name=name, reason=JoinFailed(outcome).code)
        else:
            self._session.notice("join_declined", name=name, member=self._name_of(by))

    def _name_of(self, member: int) -> str:
        entry = self._session.membership.roster.entry(member)
        return "" if entry is None else entry.name

    def _report(self, source: bytes, address: str, wrong_before: int) -> None:
        """Tell everybody of a wrong try here; name who has just come to its last free one."""
        now, wrong = self._loop.time(), self.throttle.wrong(source)
        self._session.door.tries(
            self.throttle.total,
            source=address if wrong_before < FREE_TRIES <= wrong else "",
            wrong=wrong,
            pause=self.throttle.pause(now=now),
            closed=self.throttle.is_paused,
            now=now,
        )
        self._session.drain()


async def _say_goodbye(pump: HandshakePump[SponsorEvent], stream: Stream) -> None:
    """Let the candidate read why, then let its connection go."""
    pump.flush()
    stream.finish()
    try:
        async with asyncio.timeout(LINGER):
            await stream.drained()
    except (TimeoutError, QuintetError):
        log.debug("sponsoring.goodbye_unheard")
