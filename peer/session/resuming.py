"""Coming back to a session: the one that comes asks where it stands, the others tell.

::

    AWAITED --StandingStated--> KNOWN          (who never left, or came in Preparation, knows)

Until it knows, a member takes no command: the standing it is told holds what they led to.
"""

from collections.abc import Mapping
from typing import Final

from peer.session import letters
from peer.session.phases import Phase
from peer.session.reports import Changed, DecisionsVoid, Resumed, SyncBegun, SyncOrdered
from peer.session.session_settings import SessionSettings
from peer.session.standing import Standing
from peer.session.start import Start, statement
from protocol import codec
from protocol.crypto.identity import START, NodeIdentity, verify
from protocol.errors import RemoteProtocolError
from protocol.messages import session as wire
from protocol.messages.base import Message

OWN: Final = wire.SourcesChanged | wire.ActivityChanged
"""What members say of themselves; it is true whatever the session's standing."""


class Resuming(Standing):
    """What one member knows of the session, and how it learns it.

    Args:
        me: This member's index.
        identity: This member's node key; signs START.
        told_by: Who let this member in again and shall tell it where the session stands; None
            for who begins with it.
    """

    def __init__(self, me: int, *, identity: NodeIdentity, told_by: int | None = None) -> None:
        super().__init__(me, identity=identity)
        self._told_by = told_by
        self._unknowing: set[int] = set()
        """Who has asked the same."""
        self._others_say: wire.StandingStated | None = None
        """What somebody said who is not to tell."""
        self._resuming: bytes | None = None
        """The synchronisation under way that this member has yet to accept."""

    @property
    def is_awaiting(self) -> bool:
        """Whether this member does not know yet where the session stands."""
        return self._told_by is not None

    def _tell_standing(self, receiver: int) -> None:
        start = self.start
        if self.phase.activated:
            self._send_decisions(receiver)
        message = wire.StandingStated(
            epoch=self.epoch,
            stage=wire.Stage(self.phase.value),
            run=self.run,
            settings=codec.encode(self.settings),
            source_revisions=dict(self._revisions),
            without=sorted(self.without),
            paused=self.paused,
            ordered=start.ordered if start is not None else None,
            begun=start is not None and start.begun,
            participants=sorted(start.participants) if start is not None else [],
            yours=self._sources_of(receiver),
        )
        self._send(receiver, message)

    def _sources_of(self, index: int) -> wire.SourcesChanged | None:
        record = self.members[index]
        return wire.SourcesChanged(revision=record.revision, sources=record.sources)

    def _may_tell(self, sender: int) -> bool:
        """Whether *sender* is to tell where the session stands."""
        tellers = {self._told_by, self.leader} & (self._present - {self.me} - self._unknowing)
        return not tellers or sender in tellers

    def _take_question(self, sender: int) -> None:
        """Tell where the session stands, or see that another one does not know either."""
        if self._told_by is None:
            self._tell_standing(sender)
        elif sender not in self._unknowing:
            self._unknowing.add(sender)
            self._broadcast(wire.StandingAsked())
            if self._present <= {self.me, *self._unknowing}:
                # Everybody's process is new: the session stands where it began.
                self._told_by = None
                self._events.append(Resumed(self.phase, self.run))

    def _take_while_awaiting(self, sender: int, message: Message) -> bool:
        """Take *message* if this member awaits the standing; return whether it has."""
        if self._told_by is None or isinstance(message, OWN | wire.StandingAsked):
            return False
        if not self._may_tell(sender):
            if isinstance(message, wire.StandingStated):
                self._others_say = message
            return True
        if isinstance(message, wire.DecisionsChanged):
            self._decisions.check(message)
            self._decisions.take(message)
        elif isinstance(message, wire.StandingStated):
            self._take_standing(message)
        return True

    def _take_standing(self, message: wire.StandingStated) -> None:
        settings = codec.decode(message.settings, SessionSettings)
        start = self._start_of(message, settings)
        self._told_by = None
        self.settings, self.start = settings, start
        self.paused = message.paused
        self.without = set(message.without) & self.members.keys()
        self._revisions = message.source_revisions
        self._runs.resume(message.run)
        self.phase = Phase(message.stage.value)
        mine = self.members[self.me]
        if message.yours is not None:
            mine.sources, mine.revision = list(message.yours.sources), message.yours.revision
        self._broadcast(self._sources_message())
        if not self.phase.activated:
            self._decisions.forget()
        self._events.append(Resumed(self.phase, self.run))
        if start is not None and message.ordered is not None:
            self._resuming = start.sync if start.begun else None
            self._events.append(ordered_event(message.ordered))
        self._events.append(Changed())
        if self._others_say is not None:
            self._hear_other_standing(self._others_say)

    def _hear_other_standing(self, message: wire.StandingStated) -> None:
        """Call off, as the leader, what the others began and this member was not told of."""
        if self.me == self.leader and self.phase is Phase.PREPARATION and message.run > self.run:
            self._runs.resume(message.run)
            self._broadcast(wire.InventoryCancelled(run=message.run))

    def _start_of(self, message: wire.StandingStated, settings: SessionSettings) -> Start | None:
        ordered = message.ordered
        if ordered is None:
            if message.begun:
                raise RemoteProtocolError("begun, and nothing ordered")
            return None
        by = ordered.order.leader
        if by not in self._node_keys:
            raise RemoteProtocolError("ordered by nobody who is here")
        said = statement(ordered, settings, self._decisions.data)
        verify(self._node_keys[by], ordered.signature, START, said)
        return Start(
            by,
            ordered.sync,
            ordered.steps_digest,
            frozenset(message.participants),
            {by},
            begun=message.begun,
            ordered=ordered,
        )

    def _resume_sync(self, sync: bytes) -> bool:
        """Go on with the steps of a synchronisation that began without this member."""
        if self._resuming != sync:
            return False
        self._resuming = None
        self.members[self.me].activity = wire.Activity.SYNCHRONISING
        self._events.append(SyncBegun(sync))
        return True

    # --- letters ---------------------------------------------------------------------------

    def _void_if_moved(self, node_keys: Mapping[int, bytes]) -> None:
        """Void what was decided when a letter means somebody else than before."""
        before, after = in_order(self._node_keys), in_order(node_keys)
        has_decided = self.phase is Phase.COMPARISON and self._decisions.data
        if has_decided and letters.have_moved(before, after):
            self._is_void = True
            self._call_off(self.leader)
            self._events.append(DecisionsVoid())


def in_order(node_keys: Mapping[int, bytes]) -> list[bytes]:
    """Return the keys in the order of their letters."""
    return [key for _, key in sorted(node_keys.items())]


def ordered_event(message: wire.SynchronisationOrdered) -> SyncOrdered:
    """Return what the owner is told of an order."""
    return SyncOrdered(
        sync=message.sync,
        revision=message.revision,
        reference_time_ns=message.reference_time_ns,
        steps=message.steps,
        steps_digest=message.steps_digest,
    )
