"""The life of a session as one member knows it: phase, settings, sources, decisions, start.

Every member holds one and feeds it the messages of the others; the channel says who sent them.
The leader's word moves the phase; that all inventories are in and that all steps have ended,
each member sees for itself. Which act is legal when, and for whom, is the table of
``peer.session.rights``; where it leads, the table of ``peer.session.phases``.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

import msgspec

from peer.errors import PlanEmpty, SessionAlone, WrongPhase
from peer.session import phases, rights
from peer.session.members import ENDED, RUNNING, MemberRecord
from peer.session.orders import Orders
from peer.session.phases import Move, Phase
from peer.session.reports import (
    Changed,
    DecisionsReplaced,
    InventoryDropped,
    InventoryWanted,
    LifecycleEvent,
    PhaseChanged,
    SyncBegun,
    SyncOrdered,
    SyncStopped,
)
from peer.session.rights import Act
from peer.session.session_settings import SessionSettings
from peer.session.start import Start, statement
from protocol import codec
from protocol.crypto.identity import START, NodeIdentity, verify
from protocol.errors import RemoteProtocolError, SealBroken
from protocol.ids import letter_of
from protocol.limits import MAX_CONTROL_PLAINTEXT
from protocol.messages import session as wire
from protocol.messages.base import Message

CROSSING_TIME: Final = 5.0
"""Seconds into Comparison in which a member that still waits for the last hash may cancel."""

DECISION_PART: Final = MAX_CONTROL_PLAINTEXT // 4
"""Bytes of the rules and actions in one message."""

MAX_EARLY: Final = 4200
"""Messages of the leader kept while this member still waits for the last hash."""


class Lifecycle:
    """One member's state of the session.

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
        self.run = 0
        self.decisions: tuple[int, bytes] = (0, b"")
        self.members: dict[int, MemberRecord] = {me: MemberRecord()}
        self.start: Start | None = None
        self._identity = identity
        self._node_keys: Mapping[int, bytes] = {}
        self._present: frozenset[int] = frozenset({me})
        self._orders = Orders()
        self._compared_at: float | None = None
        self._early: list[tuple[int, Message]] = []
        self._parts: list[bytes] = []
        self._outbox: list[tuple[int | None, Message]] = []
        self._events: deque[LifecycleEvent] = deque()

    # --- what the membership tells ------------------------------------------------

    def roster_changed(
        self, node_keys: Mapping[int, bytes], present: frozenset[int], *, leader: int, epoch: int
    ) -> None:
        """Take the roster of a new epoch: keys by index, who is present, who leads."""
        self._node_keys = node_keys
        self._present = present
        self.leader, self.epoch = leader, epoch
        self.members = {
            index: self.members.get(index) or MemberRecord() for index in sorted(node_keys)
        }
        self._events.append(Changed())
        self._settle_start()

    def link_up(self, index: int) -> None:
        """Tell the member at the other end of a new link what this one owns."""
        mine = self.members[self.me]
        self._outbox += [
            (index, wire.SourcesChanged(revision=mine.revision, sources=mine.sources)),
            (index, wire.ActivityChanged(activity=mine.activity, progress=mine.progress)),
        ]
        if self.me == self.leader:
            self._outbox.append((index, self._settings_message()))

    # --- acts of this member --------------------------------------------------------

    def change_sources(self, sources: list[wire.SourceInfo]) -> None:
        """Replace this member's data sources."""
        self._check(Act.CHANGE_SOURCES, owner=self.me)
        mine = self.members[self.me]
        mine.sources, mine.revision = list(sources), mine.revision + 1
        self._broadcast(wire.SourcesChanged(revision=mine.revision, sources=mine.sources))
        self._events.append(Changed())

    def change_settings(self, settings: SessionSettings) -> None:
        """Replace the session's settings."""
        self._check(Act.CHANGE_SETTINGS)
        self.settings = settings
        self._broadcast(self._settings_message())
        self._events.append(Changed())

    def start_inventory(self) -> None:
        """Activate the session: every member takes its inventory.

        Raises:
            SessionAlone: With fewer than two members, or fewer than two that offer a source.
        """
        self._check(Act.START_INVENTORY)
        present = sorted(self._present)
        if len(present) < 2:  # noqa: PLR2004  # product.md, section 2.4
            raise SessionAlone
        offering = [index for index in present if self.members[index].sources]
        if len(offering) < 2:  # noqa: PLR2004  # the same
            raise SessionAlone
        message = wire.InventoryStarted(
            order=self._order(),
            run=self.run + 1,
            source_revisions={index: self.members[index].revision for index in present},
        )
        self._broadcast(message)
        self._begin_run(message.run)

    def cancel_inventory(self) -> None:
        """End the inventory for all; back to Preparation."""
        self._check(Act.CANCEL_INVENTORY)
        if self.phase is not Phase.INVENTORY:
            raise WrongPhase(self.phase.value)
        self._broadcast(wire.InventoryCancelled(run=self.run))
        self._drop_run()

    def inventories_in(self, *, now: float) -> None:
        """Enter Comparison: this member holds every inventory of the run."""
        self._move(Move.INVENTORIES_IN)
        self._compared_at = now
        early, self._early = self._early, []
        for sender, message in early:
            self.receive_message(sender, message, now=now)

    def change_decisions(self, data: bytes) -> None:
        """Replace the rules and targeted actions (encoded), at every member."""
        self._check(Act.DECIDE)
        revision = self.decisions[0] + 1
        parts = [data[i : i + DECISION_PART] for i in range(0, len(data), DECISION_PART)] or [b""]
        for number, part in enumerate(parts):
            self._broadcast(
                wire.DecisionsChanged(
                    order=self._order(),
                    revision=revision,
                    part=number,
                    parts=len(parts),
                    data=part,
                )
            )
        self.decisions = (revision, data)
        self._events.append(DecisionsReplaced(revision, data))

    def order_sync(
        self, sync: bytes, *, reference_time_ns: int, steps: int, steps_digest: bytes
    ) -> None:
        """Sign and send START; it begins when every present member has accepted."""
        self._check(Act.START_SYNC)
        if self.start is not None:
            raise WrongPhase(self.phase.value)
        if not steps:
            raise PlanEmpty
        unsigned = wire.SynchronisationOrdered(
            order=self._order(),
            sync=sync,
            revision=self.decisions[0],
            reference_time_ns=reference_time_ns,
            steps=steps,
            steps_digest=steps_digest,
            signature=bytes(64),
        )
        self._broadcast(
            msgspec.structs.replace(
                unsigned, signature=self._identity.sign(START, self._statement(unsigned))
            )
        )
        self.start = Start(sync, steps_digest, self._present, {self.me})
        self._begin_if_all_accepted()

    def accept_sync(self, sync: bytes, steps_digest: bytes) -> None:
        """Tell the leader that this member's own plan has the digest of START."""
        if self.start is not None and self.start.sync == sync:
            self._send(
                self.leader, wire.SynchronisationAccepted(sync=sync, steps_digest=steps_digest)
            )

    def refuse_sync(self, sync: bytes, code: str) -> None:
        """Tell the leader that this member does not take part."""
        if self.start is not None and self.start.sync == sync:
            self._send(self.leader, wire.SynchronisationRefused(sync=sync, code=code))
            self.start = None

    def abort_sync(self, code: str = "sync.aborted") -> None:
        """Stop the synchronisation for all."""
        self._check(Act.ABORT_SYNC)
        assert self.start is not None, "the phase says that one is under way"
        self._broadcast(wire.SynchronisationAborted(sync=self.start.sync, code=code))
        self._events.append(SyncStopped(self.start.sync, code, self.me))

    def restart(self) -> None:
        """Go back to Preparation with members, letters, sources and settings.

        Raises:
            RightMissing: If this member does not lead.
            WrongPhase: While an inventory or a synchronisation runs anywhere.
        """
        if self.phase in {Phase.INVENTORY, Phase.SYNCHRONISATION}:
            rights.check(Act.RESTART, actor=self.me, leader=self.leader, phase=Phase.PREPARATION)
            raise WrongPhase(self.phase.value)
        self._check(Act.RESTART)
        self._broadcast(wire.Restarted(order=self._order()))
        self._clear()

    def report(self, activity: wire.Activity, progress: wire.Progress) -> None:
        """Tell all what this member is doing and how far it is."""
        mine = self.members[self.me]
        mine.activity, mine.progress = activity, progress
        self._broadcast(wire.ActivityChanged(activity=activity, progress=progress))
        self._events.append(Changed())
        self._settle_start()

    # --- messages of the others ---------------------------------------------------------

    def receive_message(self, sender: int, message: Message, *, now: float) -> None:  # noqa: C901, PLR0912  # one arm a message
        """Take one message of member *sender*.

        Raises:
            RightMissing, WrongPhase: If it lacks the right; nothing has changed.
            RemoteProtocolError: If the message contradicts what is known; nothing has changed.
        """
        if sender not in self.members:
            raise RemoteProtocolError(f"message of {sender}, who is not in the roster")
        match message:
            case wire.SourcesChanged():
                self._take_sources(sender, message)
            case wire.ActivityChanged():
                record = self.members[sender]
                record.activity, record.progress = message.activity, message.progress
                self._events.append(Changed())
                self._settle_start()
            case wire.SettingsChanged():
                self._check(Act.CHANGE_SETTINGS, actor=sender)
                settings = codec.decode(message.settings, SessionSettings)
                self._take_order(sender, message.order)
                self.settings = settings
                self._events.append(Changed())
            case wire.InventoryStarted():
                self._check(Act.START_INVENTORY, actor=sender)
                if message.run <= self.run:
                    raise RemoteProtocolError("an inventory of the past")
                self._take_order(sender, message.order)
                self._begin_run(message.run)
                if message.source_revisions.get(self.me) != self.members[self.me].revision:
                    # The leader activated what it had not yet seen changed.
                    self.cancel_inventory()
            case wire.InventoryCancelled():
                self._take_cancellation(sender, message, now=now)
            case wire.DecisionsChanged():
                if not self._came_early(sender, message):
                    self._take_decisions(sender, message)
            case wire.SynchronisationOrdered():
                if not self._came_early(sender, message):
                    self._take_start(sender, message)
            case wire.SynchronisationAccepted():
                self._take_acceptance(sender, message)
            case wire.SynchronisationRefused():
                self._take_refusal(sender, message)
            case wire.SynchronisationBegun():
                self._check(Act.START_SYNC, actor=sender)
                if self.start is None or self.start.sync != message.sync:
                    raise RemoteProtocolError("begin of a synchronisation nobody ordered")
                self._take_order(sender, message.order)
                self._begin_sync()
            case wire.SynchronisationAborted():
                self._take_abort(sender, message)
            case wire.Restarted():
                if self.members[self.me].activity in RUNNING:
                    raise WrongPhase(self.phase.value)
                rights.check(Act.RESTART, actor=sender, leader=self.leader, phase=Phase.PREPARATION)
                self._take_order(sender, message.order)
                self._clear()
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} is not for the lifecycle")

    def messages_to_send(self) -> list[tuple[int | None, Message]]:
        """Return ``(receiver, message)``, None standing for all members with a link."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> LifecycleEvent | None:
        return self._events.popleft() if self._events else None

    # --- effects --------------------------------------------------------------------------

    def _take_sources(self, sender: int, message: wire.SourcesChanged) -> None:
        record = self.members[sender]
        if message.revision == record.revision and message.sources == record.sources:
            return  # a link came up again
        self._check(Act.CHANGE_SOURCES, actor=sender, owner=sender)
        if message.revision < record.revision:
            raise RemoteProtocolError("sources of the past")
        record.sources, record.revision = message.sources, message.revision
        self._events.append(Changed())

    def _take_cancellation(
        self, sender: int, message: wire.InventoryCancelled, *, now: float
    ) -> None:
        if message.run < self.run or self.phase is Phase.PREPARATION:
            return  # crossed our own cancellation
        self._check(Act.CANCEL_INVENTORY, actor=sender)
        if message.run > self.run:
            raise RemoteProtocolError("cancels an inventory nobody started")
        if self._compared_at is not None and now > self._compared_at + CROSSING_TIME:
            raise WrongPhase(self.phase.value)
        self._drop_run()

    def _came_early(self, sender: int, message: Message) -> bool:
        """Keep what the leader says in Comparison while this member awaits the last hash."""
        if self.phase is not Phase.INVENTORY:
            return False
        rights.check(Act.DECIDE, actor=sender, leader=self.leader, phase=Phase.COMPARISON)
        if len(self._early) >= MAX_EARLY:
            raise RemoteProtocolError("too much said before the comparison")
        self._early.append((sender, message))
        return True

    def _take_decisions(self, sender: int, message: wire.DecisionsChanged) -> None:
        self._check(Act.DECIDE, actor=sender)
        if message.part != len(self._parts) and message.part != 0:
            raise RemoteProtocolError("a part of the decisions is missing")
        if message.part >= message.parts:
            raise RemoteProtocolError("more parts than announced")
        self._take_order(sender, message.order)
        if message.part == 0:
            self._parts = []
        self._parts.append(message.data)
        if len(self._parts) == message.parts:
            self.decisions = (message.revision, b"".join(self._parts))
            self._parts = []
            self._events.append(DecisionsReplaced(*self.decisions))

    def _take_start(self, sender: int, message: wire.SynchronisationOrdered) -> None:
        self._check(Act.START_SYNC, actor=sender)
        verify(
            self._node_keys[sender],
            message.signature,
            START,
            statement(message, self.settings, self.decisions[1]),
        )
        self._take_order(sender, message.order)
        self.start = Start(message.sync, message.steps_digest, self._present, {sender})
        self._events.append(
            SyncOrdered(
                sync=message.sync,
                revision=message.revision,
                reference_time_ns=message.reference_time_ns,
                steps=message.steps,
                steps_digest=message.steps_digest,
            )
        )

    def _take_acceptance(self, sender: int, message: wire.SynchronisationAccepted) -> None:
        start = self._my_start(message.sync)
        if start is None:
            return
        if message.steps_digest != start.steps_digest:
            raise SealBroken
        start.accepted.add(sender)
        self._begin_if_all_accepted()

    def _take_refusal(self, sender: int, message: wire.SynchronisationRefused) -> None:
        start = self._my_start(message.sync)
        if start is None or start.begun:
            return
        self._broadcast(wire.SynchronisationAborted(sync=message.sync, code=message.code))
        self.start = None
        self._events.append(SyncStopped(message.sync, message.code, sender))

    def _take_abort(self, sender: int, message: wire.SynchronisationAborted) -> None:
        if self.start is None or self.start.sync != message.sync:
            return  # already over here
        if not self.start.begun:
            # Before the beginning only the leader can call it off: somebody refused.
            rights.check(Act.START_SYNC, actor=sender, leader=self.leader, phase=Phase.COMPARISON)
            self.start = None
        else:
            self._check(Act.ABORT_SYNC, actor=sender)
        self._events.append(SyncStopped(message.sync, message.code, sender))

    def _my_start(self, sync: bytes) -> Start | None:
        """Return the start this member leads, if *sync* names it."""
        if self.me != self.leader or self.start is None or self.start.sync != sync:
            return None
        return self.start

    def _begin_if_all_accepted(self) -> None:
        start = self.start
        assert start is not None, "called with a start ordered"
        if start.begun or not start.is_agreed(self._present):
            return
        self._broadcast(wire.SynchronisationBegun(order=self._order(), sync=start.sync))
        self._begin_sync()

    def _begin_sync(self) -> None:
        assert self.start is not None, "checked by the callers"
        self._move(Move.BEGIN_SYNC)
        self.start.begun = True
        for record in self.members.values():
            record.activity = wire.Activity.SYNCHRONISING
        self._events.append(SyncBegun(self.start.sync))

    def _settle_start(self) -> None:
        """Finish when every participant that is still present has ended its steps."""
        start = self.start
        if start is None:
            return
        if not start.begun:
            if self.me == self.leader and self.me in start.accepted:
                self._begin_if_all_accepted()
            return
        waited_for = start.participants & self._present
        if all(self.members[index].activity in ENDED for index in waited_for):
            self._move(Move.STEPS_ENDED)
            self.start = None

    def _begin_run(self, run: int) -> None:
        self._move(Move.START_INVENTORY)
        self.run = run
        self._compared_at = None
        for record in self.members.values():
            record.activity, record.progress = wire.Activity.IDENTIFYING, wire.Progress()
        self._events.append(InventoryWanted(run))

    def _drop_run(self) -> None:
        self._move(Move.CANCEL_INVENTORY)
        self._early.clear()
        for record in self.members.values():
            record.activity = wire.Activity.INVENTORY_CANCELLED
        self._forget_decisions()
        self._events.append(InventoryDropped(self.run))

    def _clear(self) -> None:
        self._move(Move.RESTART)
        self._early.clear()
        self.start = None
        for record in self.members.values():
            record.activity, record.progress = wire.Activity.WAITING_INVENTORY, wire.Progress()
        self._forget_decisions()
        self._events.append(InventoryDropped(self.run))

    def _forget_decisions(self) -> None:
        self.decisions = (self.decisions[0], b"")
        self._parts = []
        self._compared_at = None

    def _move(self, move: Move) -> None:
        self.phase = phases.after(self.phase, move)
        self._events.append(PhaseChanged(self.phase))

    def _check(self, act: Act, *, actor: int | None = None, owner: int | None = None) -> None:
        rights.check(
            act,
            actor=self.me if actor is None else actor,
            leader=self.leader,
            phase=self.phase,
            owner=owner,
            leader_letter=letter_of(self.leader, list(self.members)),
        )

    def _statement(self, message: wire.SynchronisationOrdered) -> bytes:
        return statement(message, self.settings, self.decisions[1])

    def _order(self) -> wire.Order:
        return self._orders.make(epoch=self.epoch, me=self.me)

    def _take_order(self, sender: int, order: wire.Order) -> None:
        self._orders.take(sender, order, epoch=self.epoch)

    def _settings_message(self) -> wire.SettingsChanged:
        return wire.SettingsChanged(order=self._order(), settings=codec.encode(self.settings))

    def _broadcast(self, message: Message) -> None:
        self._outbox.append((None, message))

    def _send(self, receiver: int, message: Message) -> None:
        self._outbox.append((receiver, message))
