"""Where one member's session stands, and every change of it.

The effects here are code without an ``if`` about rights: ``peer.session.lifecycle``, which is
built on this, asks the tables first.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from peer.session import phases, rights
from peer.session.decisions import Decisions
from peer.session.members import ENDED, MemberRecord
from peer.session.orders import Orders
from peer.session.phases import Move, Phase
from peer.session.reports import (
    Changed,
    InventoryDropped,
    InventoryWanted,
    LifecycleEvent,
    PhaseChanged,
    SyncBegun,
    SyncOrdered,
    SyncStopped,
)
from peer.session.rights import Act
from peer.session.runs import Runs
from peer.session.session_settings import SessionSettings
from peer.session.start import Start, statement
from protocol import codec
from protocol.crypto.identity import NodeIdentity
from protocol.ids import letter_of
from protocol.messages import session as wire
from protocol.messages.base import Message

ABORTED: Final = "sync.aborted"
"""Code of a synchronisation that somebody called off."""


class Standing:
    """What one member knows of the session, and what changes it.

    Args:
        me: This member's index.
        identity: This member's node key; signs START.
    """

    def __init__(self, me: int, *, identity: NodeIdentity) -> None:
        self.me = me
        self.leader = me
        self.epoch = 1
        self.phase = Phase.PREPARATION
        self.settings = SessionSettings()
        self.members: dict[int, MemberRecord] = {me: MemberRecord()}
        self.start: Start | None = None
        self.without: set[int] = set()
        """Members the session goes on without: their entries count as unknown."""
        self.paused = False
        self._identity = identity
        self._node_keys: Mapping[int, bytes] = {}
        self._present: frozenset[int] = frozenset({me})
        self._orders = Orders()
        self._runs = Runs()
        self._revisions: Mapping[int, int] = {}
        """Of each member's sources, as the leader saw them when it started the inventory."""
        self._decisions = Decisions()
        self._late_sources: dict[int, wire.SourcesChanged] = {}
        self._counts_anew: set[int] = set()
        """Who came back, and may not know how often it had changed its sources."""
        self._past_sources: dict[int, wire.SourcesChanged] = {}
        """Sources of members that may have come back before this one hears of it."""
        self._is_void = False
        """Whether letters have moved since the decisions were made."""
        self._held: dict[type[LifecycleEvent], LifecycleEvent] = {}
        self._waiting: list[tuple[int, Message, float]] = []
        self._outbox: list[tuple[int | None, Message]] = []
        self._events: deque[LifecycleEvent] = deque()

    @property
    def run(self) -> int:
        """Number of the last inventory begun; 0 before the first."""
        return self._runs.number

    @property
    def decisions_void(self) -> bool:
        """Whether letters have moved since the decisions were made: they bind nobody."""
        return self._is_void

    @property
    def decisions(self) -> tuple[int, bytes]:
        """Revision of the rules and targeted actions in force, and their bytes."""
        return self._decisions.revision, self._decisions.data

    def messages_to_send(self) -> list[tuple[int | None, Message]]:
        """Return ``(receiver, message)``, None standing for all members with a link."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> LifecycleEvent | None:
        return self._events.popleft() if self._events else None

    # --- effects: their legality is checked by who calls them -----------------------------

    def _begin_run(self, run: int, revisions: Mapping[int, int]) -> None:
        self._revisions = revisions
        if not self._runs.begin(run):
            return  # cancelled before this member heard of it
        self._move(Move.START_INVENTORY)
        for record in self.members.values():
            record.activity, record.progress = wire.Activity.IDENTIFYING, wire.Progress()
        self._events.append(InventoryWanted(run))

    def _drop_run(self, by: int) -> None:
        self._call_off(by)
        self._move(Move.CANCEL_INVENTORY)
        for record in self.members.values():
            record.activity = wire.Activity.INVENTORY_CANCELLED
        self._forget_run()

    def _clear(self, by: int) -> None:
        self._call_off(by)
        self._move(Move.RESTART)
        self.start = None
        for record in self.members.values():
            record.activity, record.progress = wire.Activity.WAITING_INVENTORY, wire.Progress()
        self._forget_run()

    def _forget_run(self) -> None:
        self._held.clear()
        self._decisions.forget()
        self._is_void, self.paused = False, False
        self.without.clear()
        self._events.append(InventoryDropped(self.run))
        for index, message in self._late_sources.items():
            if index in self.members:
                self._replace_sources(index, message)
        self._late_sources.clear()

    def _replace_sources(self, index: int, message: wire.SourcesChanged) -> None:
        record = self.members[index]
        record.sources, record.revision = message.sources, message.revision
        self._events.append(Changed())

    def _begin_sync(self) -> None:
        assert self.start is not None, "checked by the callers"
        self._move(Move.BEGIN_SYNC)
        self.start.begun = True
        for record in self.members.values():
            # Who has nothing to do may have said so before the leader's word was here.
            if record.activity not in ENDED:
                record.activity = wire.Activity.SYNCHRONISING
        self._events.append(SyncBegun(self.start.sync))

    def _stop(self, start: Start, code: str, by: int) -> None:
        """Stop what is under way, once; forget what has not begun."""
        if not start.begun:
            self.start = None
            if self._held.pop(SyncOrdered, None) is not None:
                return  # nobody was told
        elif start.stopped_by is not None:
            return
        start.stopped_by = (by, code)
        self._events.append(SyncStopped(start.sync, code, by))

    def _call_off(self, by: int) -> None:
        """Forget the synchronisation that has not begun, if there is one."""
        if self.start is not None and not self.start.begun:
            self._stop(self.start, ABORTED, by)

    def _move(self, move: Move) -> None:
        self.phase = phases.after(self.phase, move)
        self._events.append(PhaseChanged(self.phase))

    def _tell(self, event: LifecycleEvent) -> None:
        """Report what belongs to the comparison: not before this member compares."""
        if self.phase is Phase.INVENTORY:
            self._held.pop(type(event), None)
            self._held[type(event)] = event
        else:
            self._events.append(event)

    # --- what is legal --------------------------------------------------------------------------

    def _check(
        self,
        act: Act,
        *,
        actor: int | None = None,
        owner: int | None = None,
        phase: Phase | None = None,
    ) -> None:
        rights.check(
            act,
            actor=self.me if actor is None else actor,
            leader=self.leader,
            phase=phase or self.phase,
            owner=owner,
            leader_letter=letter_of(self.leader, list(self.members)),
        )

    def _order(self) -> wire.Order:
        return self._orders.make(epoch=self.epoch, me=self.me)

    def _take_order(self, sender: int, order: wire.Order) -> None:
        self._orders.take(sender, order, epoch=self.epoch)

    def _phase_of_leader(self) -> Phase:
        """Return where the leader may stand: it may compare before the last hash is here."""
        return Phase.COMPARISON if self.phase is Phase.INVENTORY else self.phase

    def _awaits_answer(self, sync: bytes) -> bool:
        """Whether *sync* is ordered and has not begun."""
        return self.start is not None and self.start.sync == sync and not self.start.begun

    def _my_start(self, sync: bytes) -> Start | None:
        """Return the start this member leads, if *sync* names it."""
        if self.me != self.leader or self.start is None or self.start.sync != sync:
            return None
        return self.start

    def _statement(self, message: wire.SynchronisationOrdered) -> bytes:
        return statement(message, self.settings, self._decisions.data)

    # --- what is said ---------------------------------------------------------------------------

    def _sources_message(self) -> wire.SourcesChanged:
        mine = self.members[self.me]
        return wire.SourcesChanged(revision=mine.revision, sources=mine.sources)

    def _settings_message(self) -> wire.SettingsChanged:
        return wire.SettingsChanged(order=self._order(), settings=codec.encode(self.settings))

    def _inventory_message(self, run: int) -> wire.InventoryStarted:
        revisions = {index: self.members[index].revision for index in sorted(self._present)}
        return wire.InventoryStarted(order=self._order(), run=run, source_revisions=revisions)

    def _repeat_decided(self, receiver: int | None) -> None:
        """Say as the leader what the session's settings are and how far it is."""
        self._send(receiver, self._settings_message())
        if self.phase is Phase.INVENTORY:
            self._send(receiver, self._inventory_message(self.run))
        elif self.phase is Phase.PREPARATION and self.run:
            self._send(receiver, wire.InventoryCancelled(run=self.run))
        elif self.phase is Phase.COMPARISON and self.start is None:
            self._send_decisions(receiver)

    def _send_decisions(self, receiver: int | None) -> None:
        parts = self._decisions.parts()
        for number, part in enumerate(parts):
            message = wire.DecisionsChanged(
                order=self._order(),
                revision=self._decisions.revision,
                part=number,
                parts=len(parts),
                data=part,
            )
            self._send(receiver, message)

    def _broadcast(self, message: Message) -> None:
        self._outbox.append((None, message))

    def _send(self, receiver: int | None, message: Message) -> None:
        self._outbox.append((receiver, message))
