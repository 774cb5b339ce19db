"""One session of this peer: its cores, its links and its work, connected.

Whatever comes in, a message, a link, an act of the person, goes to one core; then everything
the cores have to say is handed out before the next thing is looked at. Decides nothing.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import structlog

from peer.daemon.member_link import MemberLink
from peer.errors import RightMissing, WrongPhase
from peer.session.door import Door, DoorEvent
from peer.session.lifecycle import Lifecycle
from peer.session.membership import MEMBERSHIP_MESSAGES, Membership
from peer.session.phases import Phase
from peer.session.reports import (
    Changed,
    DecisionsReplaced,
    Departed,
    EpochActivated,
    ForkSeen,
    Frozen,
    InventoryDropped,
    InventoryWanted,
    JoinAdmitted,
    JoinDenied,
    LinkStale,
    MemberBack,
    MemberLost,
    MembershipEvent,
    PasswordChanged,
    PhaseChanged,
    Refused,
    SideBehind,
    SyncBegun,
    SyncOrdered,
    SyncStopped,
    Thawed,
    WasRemoved,
    WithoutMember,
)
from protocol.credentials import Password, Secret
from protocol.endpoint.streams import Stream
from protocol.epochs import Commit
from protocol.errors import CloseCode, JoinFailed, LinkClosed, QuintetError
from protocol.messages import session as wire
from protocol.messages.admission import AdmissionMessage
from protocol.messages.base import Message
from protocol.messages.inventory import InventoryMessage
from protocol.messages.transfer import TransferMessage

log = structlog.get_logger()

MAX_NOTICES: Final = 50
"""Notices kept for people: another member can cause as many as it likes."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a task whose owner is the peer's task group."""


class Work(Protocol):
    """What a session makes its work do: inventory, comparison, synchronisation."""

    def start_inventory(self, run: int) -> None:
        """Take this member's inventory and collect the others'."""

    def drop(self) -> None:
        """Stop and forget everything of the present run."""

    def decisions_replaced(self, data: bytes) -> None:
        """Take the rules and targeted actions, encoded."""

    def sync_ordered(self, order: SyncOrdered) -> None:
        """Recompute the plan; accept or refuse through the lifecycle."""

    def sync_begun(self, sync: bytes) -> None:
        """Carry out the plan."""

    def sync_stopped(self, stopped: SyncStopped) -> None:
        """Stop cleanly."""

    def steps_ended(self) -> None:
        """Prove the end state: every member has ended its steps."""

    def receive_inventory(self, peer: int, message: InventoryMessage) -> None:
        """Take a part of another member's inventory."""

    def receive_transfer(self, peer: int, message: TransferMessage) -> None:
        """Take a message about a transfer."""

    def receive_stream(self, peer: int, stream: Stream) -> None:
        """Take a stream of file data."""

    def link_up(self, peer: int, link: MemberLink) -> None:
        """Take notice of a link."""

    def link_down(self, peer: int) -> None:
        """Take notice of its end."""

    def member_left(self, peer: int) -> None:
        """Wait for nothing of a member that has left."""


class Session:
    """The session this peer is in.

    Args:
        membership: Who is in it.
        lifecycle: Where it stands.
        spawn: Starts a task.
        changed: Called when something that people see has changed.
        on_path_offer: Takes an offer another member made us, and who handed it on.
        reach_missing: Called when links may be missing.
    """

    def __init__(
        self,
        membership: Membership,
        lifecycle: Lifecycle,
        *,
        spawn: Spawn,
        changed: Callable[[], None],
        on_path_offer: Callable[[wire.PathOffered, int], None],
        reach_missing: Callable[[], None],
    ) -> None:
        self.membership = membership
        self.lifecycle = lifecycle
        self.door = Door(membership.me)
        self.digits: dict[bytes, str] = {}
        """What two people may compare, by the node key of who joined through whom."""
        self.links: dict[int, MemberLink] = {}
        self.work: Work | None = None
        self.notices: deque[tuple[int, str, dict[str, object]]] = deque(maxlen=MAX_NOTICES)
        """Number, code and parameters of what people should read, newest last."""
        self.ended = asyncio.Event()
        """Set once this member has left or was removed."""
        self.on_epoch: Callable[[Commit], None] = lambda _commit: None
        self.on_password: Callable[[Password], None] = lambda _password: None
        self.on_end: Callable[[WasRemoved | SideBehind], None] = lambda _event: None
        """Takes why this member is in the session no more."""
        self.on_door: Callable[[DoorEvent], None] = lambda _event: None
        self.on_linked: Callable[[int], None] = lambda _peer: None
        self.on_candidate: Callable[[bytes, str], object] = lambda _key, _name: None
        self._spawn = spawn
        self._changed = changed
        self._on_path_offer = on_path_offer
        self._reach_missing = reach_missing
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._noticed = 0
        self._joins: dict[bytes, asyncio.Future[Commit]] = {}
        self._take_roster(membership.commit)
        self.drain()

    @property
    def me(self) -> int:
        return self.membership.me

    @property
    def now(self) -> float:
        """Loop time."""
        return self._loop.time()

    # --- links -----------------------------------------------------------------------

    def add_link(self, link: MemberLink, link_key: Secret) -> None:
        """Take a link whose handshake is done; it replaces an older one to the same member."""
        peer = link.peer
        old = self.links.pop(peer, None)
        if old is not None:
            self._link_gone(peer, notify=False)
            old.close(CloseCode.REPLACED)
        self.links[peer] = link
        link.switch(self.membership.epoch)
        self._spawn(self._run_link(link))
        self.membership.link_up(peer, link_key, now=self._loop.time())
        self.lifecycle.link_up(peer)
        self.door.link_up(peer)
        self.on_linked(peer)
        if self.work is not None:
            self.work.link_up(peer, link)
        self._changed()
        self.drain()

    async def _run_link(self, link: MemberLink) -> None:
        def take(peer: int, message: Message) -> None:
            # What a replaced link still holds was said again over its successor.
            if self.links.get(peer) is link and not self.ended.is_set():
                self._receive(peer, message)

        def take_stream(peer: int, stream: Stream) -> None:
            if self.links.get(peer) is link:
                self._receive_stream(peer, stream)

        try:
            how = await link.run(take, take_stream)
            log.info("session.link_closed", peer=link.peer, how=how.error_code)
        finally:
            if self.links.get(link.peer) is link:
                del self.links[link.peer]
                self._link_gone(link.peer)

    def _link_gone(self, peer: int, *, notify: bool = True) -> None:
        self.membership.link_down(peer, now=self._loop.time())
        self.door.link_down(peer)
        if self.work is not None:
            self.work.link_down(peer)
        if notify:
            self._changed()
            self.drain()
            if not self.ended.is_set():
                self._reach_missing()

    # --- messages -----------------------------------------------------------------------

    def send(self, receiver: int | None, message: Message) -> None:
        """Send *message* to one member, or to all that there is a link to."""
        if receiver is None:
            for _, link in sorted(self.links.items()):
                link.send(message)
        elif receiver in self.links:
            self.links[receiver].send(message)

    def _receive(self, peer: int, message: Message) -> None:
        """Hand one message to whom it concerns; a missing right changes nothing."""
        now = self._loop.time()
        try:
            match message:
                case wire.PathOffered():
                    self._forward(message, peer)
                case message if isinstance(message, MEMBERSHIP_MESSAGES):
                    self.membership.receive_message(peer, message, now=now)
                case message if isinstance(message, AdmissionMessage):
                    self.door.receive_message(peer, message, phase=self.lifecycle.phase, now=now)
                case message if isinstance(message, InventoryMessage):
                    if self.work is not None:
                        self.work.receive_inventory(peer, message)
                case message if isinstance(message, TransferMessage):
                    if self.work is not None:
                        self.work.receive_transfer(peer, message)
                case _:
                    self.lifecycle.receive_message(peer, message, now=now)
        except (RightMissing, WrongPhase) as error:
            log.warning(
                "session.act_refused", peer=peer, act=type(message).__name__, code=error.code
            )
            self.notice("act_refused", peer=peer, act=type(message).__name__)
        finally:
            self.drain()

    def _forward(self, message: wire.PathOffered, via: int) -> None:
        if message.destination == self.me:
            self._on_path_offer(message, via)
        else:
            self.send(message.destination, message)

    def _receive_stream(self, peer: int, stream: Stream) -> None:
        if self.work is None:
            stream.stop(CloseCode.REFUSED)
        else:
            self.work.receive_stream(peer, stream)

    # --- acts ------------------------------------------------------------------------------

    async def propose(self, proposal: bytes, node_key: bytes, name: str, email: str) -> Commit:
        """Have a candidate admitted; return the commit that admits it.

        Raises:
            JoinFailed: If it is not.
        """
        decided: asyncio.Future[Commit] = self._loop.create_future()
        self._joins[proposal] = decided
        try:
            self.membership.propose_join(proposal, node_key, name, email, now=self._loop.time())
            self.drain()
            return await decided
        finally:
            self._joins.pop(proposal, None)

    async def leave(self) -> None:
        """Tell all that this member leaves, and close its links."""
        self.ended.set()
        if self._timer is not None:
            self._timer.cancel()
        if self.work is not None:
            # What it would still say comes from nobody the others know.
            self.work.drop()
        self.membership.leave()
        for receiver, message in self.membership.messages_to_send():
            self.send(receiver, message)
        for link in list(self.links.values()):
            await link.finish()
            link.close(CloseCode.LEAVING)

    def notice(self, code: str, **params: object) -> None:
        """Keep something that people at this computer should read."""
        self._noticed += 1
        self.notices.append((self._noticed, code, params))
        self._changed()

    # --- one input, then drain ------------------------------------------------------------------

    def drain(self) -> None:
        """Hand out everything the cores have to say."""
        progress = True
        while progress:
            progress = False
            for receiver, message in self.membership.messages_to_send():
                self.send(receiver, message)
                progress = True
            for receiver_or_all, message in self.door.messages_to_send():
                self.send(receiver_or_all, message)
                progress = True
            for target, message in self.lifecycle.messages_to_send():
                self.send(target, message)
                progress = True
            while (event := self.membership.next_event()) is not None:
                self._membership_event(event)
                progress = True
            while (at_the_door := self.door.next_event()) is not None:
                self.on_door(at_the_door)
                self._changed()
                progress = True
            while (happened := self.lifecycle.next_event()) is not None:
                self._lifecycle_event(happened)
                progress = True
        self._arm()

    def _membership_event(self, event: MembershipEvent) -> None:
        match event:
            case EpochActivated(commit=commit, returned=returned):
                for link in list(self.links.values()):
                    # Who is not in it any more has no key of it; its link just ends.
                    if link.peer in commit.roster.present:
                        link.switch(commit.epoch)
                self._take_roster(commit, returned)
                self.on_epoch(commit)
                self._reach_missing()
                log.info("session.epoch", epoch=commit.epoch, members=len(commit.roster.members))
            case JoinAdmitted(proposal=proposal, commit=commit):
                decided = self._joins.get(proposal)
                if decided is not None and not decided.done():
                    decided.set_result(commit)
            case JoinDenied(proposal=proposal, outcome=outcome):
                decided = self._joins.get(proposal)
                if decided is not None and not decided.done():
                    decided.set_exception(JoinFailed(outcome))
            case Departed(index=index):
                if self.work is not None:
                    self.work.member_left(index)
                self.notice("member_left", member=self._name_of(index))
            case PasswordChanged(password=password):
                self.notice("password_changed")
                self.on_password(password)
            case WasRemoved() | SideBehind():
                self.on_end(event)
            case _:
                self._reach_changed(event)

    def _reach_changed(
        self, event: MemberLost | MemberBack | LinkStale | Frozen | Thawed | ForkSeen
    ) -> None:
        """Take what the membership says of who can be reached."""
        match event:
            case MemberLost(index=index):
                self.notice("member_lost", member=self._name_of(index))
            case MemberBack(index=index):
                self.notice("member_back", member=self._name_of(index))
            case LinkStale(index=index):
                if index in self.links:
                    self.links[index].close(CloseCode.REPLACED)
            case Frozen():
                self.notice("frozen")
            case Thawed():
                self.notice("thawed")
            case ForkSeen():
                self.notice("fork")

    def _take_roster(self, commit: Commit, returned: int | None = None) -> None:
        roster = commit.roster
        self.lifecycle.roster_changed(
            {entry.index: entry.node_key for entry in roster.members},
            frozenset(roster.present),
            leader=commit.leader,
            epoch=commit.epoch,
            returned=returned,
        )

    def _name_of(self, index: int) -> str:
        entry = self.membership.roster.entry(index)
        return entry.name if entry is not None else ""

    def _lifecycle_event(self, event: object) -> None:  # noqa: C901  # one arm an event
        work = self.work
        match event:
            case PhaseChanged(phase=phase):
                self.membership.locked = phase.activated
                if phase.activated:
                    self.door.activated()
                if phase is Phase.FINISHED and work is not None:
                    work.steps_ended()
            case InventoryWanted(run=run) if work is not None:
                work.start_inventory(run)
            case InventoryDropped() if work is not None:
                work.drop()
            case DecisionsReplaced(data=data) if work is not None:
                work.decisions_replaced(data)
            case SyncOrdered() if work is not None:
                work.sync_ordered(event)
            case SyncBegun(sync=sync) if work is not None:
                work.sync_begun(sync)
            case SyncStopped() if work is not None:
                work.sync_stopped(event)
            case Changed():
                pass
            case WithoutMember(index=index):
                if work is not None:
                    work.member_left(index)
                self.notice("without_member", member=self._name_of(index))
            case Refused(sender=sender, error=error):
                log.warning("session.act_refused", peer=sender, code=error.code)
            case _:
                log.debug("session.event_without_work", event_type=type(event).__name__)
        self._changed()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.membership.get_timer()
        if due is not None and not self.ended.is_set():
            self._timer = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.membership.handle_timer(now=self._loop.time())
        self.drain()

    async def close(self) -> None:
        """Drop the links without a word: the process ends."""
        self.ended.set()
        if self._timer is not None:
            self._timer.cancel()
        for link in list(self.links.values()):
            link.close()


async def contained(coroutine: Coroutine[Any, Any, None], name: str) -> None:
    """Run *coroutine*; what it raises on purpose ends it alone, and is logged."""
    with contextlib.suppress(LinkClosed):
        try:
            await coroutine
        except LinkClosed:
            raise
        except QuintetError as error:
            log.info("task.ended", task=name, code=error.code)
