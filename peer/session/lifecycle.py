"""The life of a session as one member knows it: phase, settings, sources, decisions, start.

Every member holds one and feeds it the messages of the others; the channel says who sent them.
The leader's word moves the phase; that all inventories are in and that all steps have ended,
each member sees for itself. Which act is legal when, and for whom, is the table of
``peer.session.rights``; where it leads, the table of ``peer.session.phases``.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from peer.errors import SessionAlone, WrongPhase
from peer.session.errors import PlanChanged, PlanEmpty
from peer.session.members import ENDED, RUNNING, MemberRecord
from peer.session.phases import Move, Phase
from peer.session.reports import (
    Changed,
    DecisionsReplaced,
    PauseChanged,
    Refused,
    SyncStopped,
    WithoutMember,
)
from peer.session.resuming import Resuming, ordered_event
from peer.session.rights import Act
from peer.session.session_settings import SessionSettings
from peer.session.standing import ABORTED
from peer.session.start import Start
from protocol import codec
from protocol.crypto.identity import START, verify
from protocol.errors import QuintetError, RemoteProtocolError, SealBroken
from protocol.messages import session as wire
from protocol.messages.base import Message

MAX_WAITING: Final = 16
"""Messages kept of members whose admission this member has not heard of yet."""


class Lifecycle(Resuming):
    """One member's state of the session.

    Args:
        me: This member's index.
        identity: This member's node key; signs START.
        told_by: Who let this member in again and shall tell it where the session stands; None
            for who begins with it.
    """

    # --- what the membership tells ------------------------------------------------

    def roster_changed(
        self,
        node_keys: Mapping[int, bytes],
        present: frozenset[int],
        *,
        leader: int,
        epoch: int,
        returned: int | None = None,
    ) -> None:
        """Take the roster of a new epoch: keys by index, who is present, who leads.

        Args:
            node_keys: Every member's key.
            present: Who is present.
            leader: Who leads.
            epoch: Its number.
            returned: Who came back with a new process: it counts its sources' changes anew.
        """
        succeeds = leader == self.me != self.leader
        self._void_if_moved(node_keys)
        self._node_keys = node_keys
        self._present = present
        self.leader, self.epoch = leader, epoch
        self.members = {
            index: self.members.get(index) or MemberRecord() for index in sorted(node_keys)
        }
        if returned is not None and returned != self.me:
            self._counts_anew.add(returned)
            if returned in self._past_sources:
                self._replace_sources(returned, self._past_sources.pop(returned))
        self._events.append(Changed())
        if self.start is not None and not self.start.begun and self.start.by != leader:
            # Nobody is left who could begin it.
            self._call_off(self.start.by)
        self.without &= self.members.keys()
        if succeeds and not self.is_awaiting:
            # The leader before may have left with its word not everywhere.
            self._repeat_decided(None)
        self._settle_start()
        self._retry_waiting()

    def link_up(self, index: int) -> None:
        """Tell the member of a new link what this one owns and decided; who knows ignores it."""
        mine = self.members[self.me]
        if self.is_awaiting:
            self._send(index, wire.StandingAsked())
            return
        self._outbox += [
            (index, self._sources_message()),
            (index, wire.ActivityChanged(activity=mine.activity, progress=mine.progress)),
        ]
        if self.me == self.leader:
            self._repeat_decided(index)

    # --- acts of this member --------------------------------------------------------

    def change_sources(self, sources: list[wire.SourceInfo]) -> None:
        """Replace this member's data sources."""
        self._check(Act.CHANGE_SOURCES, owner=self.me)
        mine = self.members[self.me]
        mine.sources, mine.revision = list(sources), mine.revision + 1
        self._broadcast(self._sources_message())
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
        message = self._inventory_message(self.run + 1)
        self._broadcast(message)
        self._begin_run(message.run, message.source_revisions)

    def cancel_inventory(self) -> None:
        """End the inventory for all; back to Preparation."""
        self._check(Act.CANCEL_INVENTORY)
        if self.phase is not Phase.INVENTORY:
            raise WrongPhase(self.phase.value)
        self._broadcast(wire.InventoryCancelled(run=self.run))
        self._drop_run(self.me)

    def inventories_in(self, *, now: float) -> None:
        """Enter Comparison: this member holds every inventory of the run."""
        self._move(Move.INVENTORIES_IN)
        self._runs.compared(now=now)
        self._events += self._held.values()
        self._held.clear()

    def change_decisions(self, data: bytes) -> None:
        """Replace the rules and targeted actions (encoded), at every member."""
        self._check(Act.DECIDE)
        if self.start is not None:
            raise WrongPhase(self.phase.value)
        self._is_void = False
        self._decisions.replace(data)
        self._send_decisions(None)
        self._events.append(DecisionsReplaced(*self.decisions))

    def order_sync(
        self, sync: bytes, *, reference_time_ns: int, steps: int, steps_digest: bytes
    ) -> None:
        """Sign and send START; it begins when every present member has accepted."""
        self._check(Act.START_SYNC)
        if self.start is not None:
            raise WrongPhase(self.phase.value)
        if not steps:
            raise PlanEmpty
        if self._is_void:
            raise PlanChanged
        unsigned = wire.SynchronisationOrdered(
            order=self._order(),
            sync=sync,
            revision=self.decisions[0],
            reference_time_ns=reference_time_ns,
            steps=steps,
            steps_digest=steps_digest,
            signature=bytes(64),
        )
        ordered = msgspec.structs.replace(
            unsigned, signature=self._identity.sign(START, self._statement(unsigned))
        )
        self._broadcast(ordered)
        self.start = Start(
            self.me,
            sync,
            steps_digest,
            self._present - self.without,
            {self.me},
            ordered=ordered,
        )
        self._begin_if_all_accepted()

    def accept_sync(self, sync: bytes, steps_digest: bytes) -> None:
        """Tell the leader that this member's own plan has the digest of START."""
        if self._resume_sync(sync):
            return
        if self._awaits_answer(sync) and self.me != self.leader:
            self._send(
                self.leader, wire.SynchronisationAccepted(sync=sync, steps_digest=steps_digest)
            )

    def refuse_sync(self, sync: bytes, code: str) -> None:
        """Tell the leader that this member does not take part."""
        if not self._awaits_answer(sync):
            return
        if self.me == self.leader:
            self.abort_sync(code)
        else:
            self._send(self.leader, wire.SynchronisationRefused(sync=sync, code=code))
            self.start = None

    def continue_without(self, index: int) -> None:
        """Go on without a member that is out of reach: its entries count as unknown."""
        self._check(Act.CONTINUE_WITHOUT)
        if index == self.me or index not in self.members:
            raise WrongPhase(self.phase.value)
        self._broadcast(wire.ContinuedWithout(order=self._order(), missing=index))
        self._go_without(index)

    def pause(self, *, paused: bool) -> None:
        """Pause, or resume, what is under way at every member."""
        self._check(Act.PAUSE)
        self._broadcast(wire.Paused(order=self._order(), paused=paused))
        self._set_paused(paused=paused)

    def abort_sync(self, code: str = ABORTED) -> None:
        """Stop the synchronisation for all; its leader may also before it has begun."""
        start = self.start
        if start is None or self.me != self.leader:
            self._check(Act.ABORT_SYNC)
        assert start is not None, "the phase says that one is under way"
        self._broadcast(wire.SynchronisationAborted(sync=start.sync, code=code))
        self._stop(start, code, self.me)

    def restart(self) -> None:
        """Go back to Preparation with members, letters, sources and settings.

        Raises:
            RightMissing: If this member does not lead.
            WrongPhase: While an inventory or a synchronisation runs anywhere.
        """
        if self.phase in {Phase.INVENTORY, Phase.SYNCHRONISATION}:
            self._check(Act.RESTART, phase=Phase.PREPARATION)
            raise WrongPhase(self.phase.value)
        self._check(Act.RESTART)
        self._broadcast(wire.Restarted(order=self._order()))
        self._clear(self.me)

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
            # Its word may overtake the committer's that it is in.
            if len(self._waiting) >= MAX_WAITING:
                raise RemoteProtocolError(f"messages of {sender}, who is not in the roster")
            self._waiting.append((sender, message, now))
            return
        if self._take_while_awaiting(sender, message):
            return
        match message:
            case wire.StandingAsked():
                self._take_question(sender)
            case wire.StandingStated():
                self._hear_other_standing(message)
            case wire.ContinuedWithout():
                self._check(Act.CONTINUE_WITHOUT, actor=sender)
                self._take_order(sender, message.order)
                self._go_without(message.missing)
            case wire.Paused():
                self._check(Act.PAUSE, actor=sender)
                self._take_order(sender, message.order)
                self._set_paused(paused=message.paused)
            case wire.SourcesChanged():
                self._take_sources(sender, message)
            case wire.ActivityChanged():
                record = self.members[sender]
                record.activity, record.progress = message.activity, message.progress
                self._events.append(Changed())
                self._settle_start()
            case wire.SettingsChanged():
                self._take_settings(sender, message)
            case wire.InventoryStarted():
                self._take_inventory_start(sender, message)
            case wire.InventoryCancelled():
                self._take_cancellation(sender, message, now=now)
            case wire.DecisionsChanged():
                self._take_decisions(sender, message)
            case wire.SynchronisationOrdered():
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
                if self.start.stopped_by is not None:
                    by, code = self.start.stopped_by
                    self._events.append(SyncStopped(message.sync, code, by))
            case wire.SynchronisationAborted():
                self._take_abort(sender, message)
            case wire.Restarted():
                self._check(Act.RESTART, actor=sender, phase=Phase.PREPARATION)
                if self.members[self.me].activity in RUNNING:
                    raise WrongPhase(self.phase.value)
                self._take_order(sender, message.order)
                self._clear(sender)
            case _:
                raise RemoteProtocolError(f"{type(message).__name__} is not for the lifecycle")

    # --- one message each ---------------------------------------------------------------

    def _take_sources(self, sender: int, message: wire.SourcesChanged) -> None:
        record = self.members[sender]
        if message.revision == record.revision and message.sources == record.sources:
            return  # a link came up again
        if message.revision <= record.revision and sender not in self._counts_anew:
            # Only who came back counts anew, and its word may overtake that it did.
            self._past_sources[sender] = message
            return
        self._counts_anew.discard(sender)
        # What the leader activated is not changed by being told late.
        activated = message.revision == self._revisions.get(sender)
        if self.phase.activated and not activated:
            # The owner stood in Preparation: it counts when this member is back there, too.
            self._late_sources[sender] = message
        phase = Phase.PREPARATION if activated else self.phase
        self._check(Act.CHANGE_SOURCES, actor=sender, owner=sender, phase=phase)
        self._replace_sources(sender, message)

    def _take_settings(self, sender: int, message: wire.SettingsChanged) -> None:
        settings = codec.decode(message.settings, SessionSettings)
        if sender == self.leader and settings == self.settings:
            return  # a link came up again
        self._check(Act.CHANGE_SETTINGS, actor=sender)
        self._take_order(sender, message.order)
        self.settings = settings
        self._events.append(Changed())

    def _take_inventory_start(self, sender: int, message: wire.InventoryStarted) -> None:
        known = message.run == self.run
        # While a run is under way, the next one says that it was cancelled: the leader's word
        # came before that of the member that did so.
        follows = self.phase in {Phase.INVENTORY, Phase.COMPARISON}
        phase = Phase.PREPARATION if known or follows else self.phase
        self._check(Act.START_INVENTORY, actor=sender, phase=phase)
        if message.run < self.run:
            raise RemoteProtocolError("an inventory of the past")
        self._take_order(sender, message.order)
        if known:
            if self.phase is Phase.PREPARATION:
                # This member's cancellation was lost with a link.
                self._send(sender, wire.InventoryCancelled(run=message.run))
            return
        if follows:
            self._drop_run(sender)
        self._begin_run(message.run, message.source_revisions)
        mine = self.members[self.me]
        if self.phase is Phase.INVENTORY and message.source_revisions.get(self.me) != mine.revision:
            # The leader activated what it had not yet seen changed.
            self.cancel_inventory()

    def _take_cancellation(
        self, sender: int, message: wire.InventoryCancelled, *, now: float
    ) -> None:
        if message.run > self.run:
            self._runs.void(message.run)
            return
        if message.run < self.run or self.phase is Phase.PREPARATION:
            return  # crossed our own cancellation
        self._check(Act.CANCEL_INVENTORY, actor=sender)
        if sender != self.leader and not self._runs.may_cross(now=now):
            raise WrongPhase(self.phase.value)
        self._drop_run(sender)
        if self.me == self.leader:
            # Somebody may have compared for too long to take it from anybody else.
            self._broadcast(message)

    def _take_decisions(self, sender: int, message: wire.DecisionsChanged) -> None:
        self._check(Act.DECIDE, actor=sender, phase=self._phase_of_leader())
        self._decisions.check(message)
        self._take_order(sender, message.order)
        self._call_off(sender)
        self._is_void = False
        if self._decisions.take(message):
            self._tell(DecisionsReplaced(*self.decisions))

    def _take_start(self, sender: int, message: wire.SynchronisationOrdered) -> None:
        self._check(Act.START_SYNC, actor=sender, phase=self._phase_of_leader())
        if self._is_void:
            raise WrongPhase(self.phase.value)
        verify(self._node_keys[sender], message.signature, START, self._statement(message))
        self._take_order(sender, message.order)
        self._call_off(sender)
        self.start = Start(
            sender,
            message.sync,
            message.steps_digest,
            self._present - self.without,
            {sender},
            ordered=message,
        )
        self._tell(ordered_event(message))

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
        self._stop(start, message.code, sender)

    def _take_abort(self, sender: int, message: wire.SynchronisationAborted) -> None:
        start = self.start
        if start is None or start.sync != message.sync:
            return  # already over here
        if start.begun or sender == self.leader:
            self._stop(start, message.code, sender)
        elif self.me == self.leader:
            raise WrongPhase(self.phase.value)
        else:
            # It has begun there: the leader's word is still on its way to us.
            start.stopped_by = start.stopped_by or (sender, message.code)

    def _begin_if_all_accepted(self) -> None:
        start = self.start
        assert start is not None, "called with a start ordered"
        if start.begun or not start.is_agreed(self._present - self.without):
            return
        self._broadcast(wire.SynchronisationBegun(order=self._order(), sync=start.sync))
        self._begin_sync()

    def _go_without(self, index: int) -> None:
        if index in self.members and index not in self.without:
            self.without.add(index)
            self._events.append(WithoutMember(index))
            self._settle_start()

    def _set_paused(self, *, paused: bool) -> None:
        if self.paused is not paused:
            self.paused = paused
            self._events.append(PauseChanged(paused))

    def _settle_start(self) -> None:
        """Finish when every participant that is still present has ended its steps."""
        start = self.start
        if start is None:
            return
        if not start.begun:
            if self.me == self.leader and self.me in start.accepted:
                self._begin_if_all_accepted()
            return
        waited_for = start.participants & self._present - self.without
        if all(self.members[index].activity in ENDED for index in waited_for):
            self._move(Move.STEPS_ENDED)
            self.start = None

    def _retry_waiting(self) -> None:
        """Take what members said before this one heard that they are in."""
        waiting, self._waiting = self._waiting, []
        for sender, message, now in waiting:
            if sender not in self.members:
                continue
            try:
                self.receive_message(sender, message, now=now)
            except QuintetError as error:
                self._events.append(Refused(sender, error))
