"""A session in virtual time: every member's cores, joined by links that delay, lose and break.

The network does what the daemon does: hands each message to the core it concerns, lets every
core say all it has to say after each input, tells the lifecycle of new rosters and the
membership of the phase. Links keep their order; two links keep none between them.
"""

import hashlib
import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from peer.errors import RightMissing, WrongPhase
from peer.session.lifecycle import Lifecycle
from peer.session.membership import MEMBERSHIP_MESSAGES, Membership
from peer.session.phases import Phase
from peer.session.reports import (
    EpochActivated,
    JoinAdmitted,
    LifecycleEvent,
    MembershipEvent,
    PhaseChanged,
    SyncOrdered,
)
from protocol import codec
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit, Reason
from protocol.errors import RemoteProtocolError
from protocol.limits import GRACE_TIME
from protocol.messages import session as wire
from protocol.messages.base import Message
from protocol.messages.inventory import HashingEnded, InventoryMessage, Kind
from protocol.messages.member import MemberMessage

DIGEST: Final = b"d" * 32
"""What everybody's plan has for its digest unless a test says otherwise."""

RETRY: Final = 0.05
"""Seconds after which a link whose ends do not know a common epoch is tried again."""


def source(name: str = "photos") -> wire.SourceInfo:
    return wire.SourceInfo(path=b"/" + name.encode(), kind=Kind.DIRECTORY)


@dataclass
class Member:
    """One computer: its cores, and what they have reported."""

    identity: NodeIdentity
    membership: Membership
    lifecycle: Lifecycle
    membership_events: list[MembershipEvent] = field(default_factory=list)
    lifecycle_events: list[LifecycleEvent] = field(default_factory=list)
    refused: list[Exception] = field(default_factory=list)
    """Acts of others that the tables refused."""
    inventories: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Whose inventory of which run has come in whole."""

    @property
    def me(self) -> int:
        return self.membership.me

    @property
    def phase(self) -> Phase:
        return self.lifecycle.phase

    def events(self, kind: type[Any]) -> list[Any]:
        """Return what was reported of one kind, in order."""
        return [
            each
            for each in (*self.membership_events, *self.lifecycle_events)
            if isinstance(each, kind)
        ]


class SessionNet:
    """A session, born with one member.

    Args:
        seed: Of keys and random bytes.
        latency: Of every link that has none of its own, seconds one way.
        grace: Seconds before who is silent may be removed, or succeeded.

    Attributes:
        now: Virtual time, seconds.
        latencies: Seconds from one member to another, for a link of its own kind.
        drop: Decides which messages ``(sender, receiver, message)`` are lost.
        answers: What a member does when a synchronisation is ordered.
        links_new_members: Whether who joins is linked to all at once.
        members: Who is in, by index.
        left: Who has left, by index.
        broken: Links that closed because a member broke the protocol, and how.
    """

    def __init__(self, *, seed: int = 0, latency: float = 0.01, grace: float = GRACE_TIME) -> None:
        self.grace = grace
        self.now = 0.0
        self.latency = latency
        self.latencies: dict[tuple[int, int], float] = {}
        self.drop: Callable[[int, int, Message], bool] = lambda sender, receiver, message: False
        self.answers: Callable[[Member, SyncOrdered], None] = lambda member, order: (
            member.lifecycle.accept_sync(order.sync, order.steps_digest)
        )
        self.links_new_members = True
        self.members: dict[int, Member] = {}
        self.left: dict[int, Member] = {}
        self.broken: list[tuple[int, int, RemoteProtocolError]] = []
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._candidates: dict[bytes, NodeIdentity] = {}
        self._up: dict[frozenset[int], int] = {}
        self._generation = itertools.count(1)
        self._arrivals: dict[tuple[int, int], float] = {}
        self._in_flight: list[tuple[float, int, Callable[[], None]]] = []
        identity = NodeIdentity.generate(self.random_bytes)
        membership = Membership.create(
            identity, "machine", "", random_bytes=self.random_bytes, grace=grace
        )
        self._add(identity, membership)

    def random_bytes(self, size: int) -> bytes:
        return self._random.randbytes(size)

    @property
    def is_full_mesh(self) -> bool:
        """Whether every member has a link to every other one in its roster."""
        return all(
            set(member.membership.roster.present) - {index} <= set(self._linked(index))
            for index, member in self.members.items()
        )

    def __getitem__(self, index: int) -> Member:
        return self.members[index]

    # --- what happens -------------------------------------------------------------------

    def propose(self, sponsor: int, identity: NodeIdentity | None = None) -> bytes:
        """Let a candidate ask *sponsor*; return the proposal's name."""
        identity = identity or NodeIdentity.generate(self.random_bytes)
        proposal = self.random_bytes(16)
        self._candidates[proposal] = identity
        member = self.members[sponsor]
        member.membership.propose_join(proposal, identity.node_key, "machine", "", now=self.now)
        self.drain(member)
        return proposal

    def join(self, sponsor: int = 0) -> int:
        """Let a candidate join over *sponsor* and settle; return its index."""
        before = set(self.members)
        self.propose(sponsor)
        self.settle()
        (index,) = set(self.members) - before
        return index

    def leave(self, index: int) -> None:
        """Let a member say that it leaves; its links end behind its last word."""
        member = self.members.pop(index)
        self.left[index] = member
        member.membership.leave()
        while (event := member.membership.next_event()) is not None:
            member.membership_events.append(event)
        for receiver, message in member.membership.messages_to_send():
            self._send(index, receiver, message)
        for other in self._linked(index):
            self._arrive(index, other, lambda other=other: self.unlink(index, other))  # type: ignore[misc]

    def die(self, index: int) -> Member:
        """Let a member's process end without a word; the others notice at once."""
        member = self.members.pop(index)
        for other in self._linked(index):
            self.unlink(index, other)
        return member

    def come_back(self, member: Member, sponsor: int) -> Member:
        """Let a new process take the place of a member that died, over *sponsor*."""
        self.propose(sponsor, member.identity)
        self.settle()
        return self.members[member.me]

    def divide(self, *sides: set[int]) -> None:
        """Cut every link between two sides."""
        for one, other in itertools.combinations(sides, 2):
            for left, right in itertools.product(sorted(one), sorted(other)):
                self.unlink(left, right)

    def link(self, left: int, right: int) -> None:
        """Open a link between two members, as soon as both know a common epoch."""
        if not {left, right} <= self.members.keys() or frozenset({left, right}) in self._up:
            return
        one, other = self.members[left], self.members[right]
        if not one.membership.rosters().keys() & other.membership.rosters().keys():
            self._after(RETRY, lambda: self.link(left, right))
            return
        generation = next(self._generation)
        self._up[frozenset({left, right})] = generation
        key = hashlib.sha256(f"{sorted((left, right))} {generation}".encode()).digest()
        for end, far in ((one, right), (other, left)):
            end.membership.link_up(far, Secret(key), now=self.now)
            end.lifecycle.link_up(far)
        for end in (one, other):
            self.drain(end)

    def unlink(self, left: int, right: int) -> None:
        """Cut a link; what is on its way is lost."""
        if self._up.pop(frozenset({left, right}), None) is None:
            return
        for end, far in ((left, right), (right, left)):
            if end in self.members:
                self.members[end].membership.link_down(far, now=self.now)
                self.drain(self.members[end])

    def act(self, index: int, act: Callable[[Lifecycle], object]) -> None:
        """Let a person at one member do something."""
        member = self.members[index]
        try:
            act(member.lifecycle)
        finally:
            self.drain(member)

    def tell(self, sender: int, receiver: int, message: Message) -> None:
        """Hand *receiver* a message as if from *sender*, at once.

        Raises:
            QuintetError: What the core says about it.
        """
        member = self.members[receiver]
        try:
            self._hand_over(member, sender, message)
        finally:
            self.drain(member)

    def finish_inventory(self, index: int) -> None:
        """Let one member's inventory of the present run end."""
        member = self.members[index]
        run = member.lifecycle.run
        member.inventories[run].add(index)
        for other in self._linked(index):
            self._send(index, other, HashingEnded(run=run))
        member.lifecycle.report(wire.Activity.INVENTORY_DONE, wire.Progress())
        self.drain(member)

    def finish_steps(self, index: int, how: wire.Activity = wire.Activity.SYNC_DONE) -> None:
        """Let one member's part of the synchronisation end."""
        self.act(index, lambda lifecycle: lifecycle.report(how, wire.Progress()))

    # --- time ------------------------------------------------------------------------------

    def settle(self, *, max_steps: int = 20_000) -> None:
        """Go on until nothing is on its way any more."""
        for _ in range(max_steps):
            due = self._next_timer()
            if due is not None and due[0] <= self.now:
                self._fire(due[1])
            elif self._in_flight:
                self._step(until=self._in_flight[0][0])
            else:
                return
        raise AssertionError(f"not settled after {max_steps} steps")

    def drive(self, seconds: float) -> None:
        """Let *seconds* pass, with every timer and message in them."""
        end = self.now + seconds
        while self._step(until=end):
            pass
        self.now = end

    def _step(self, *, until: float) -> bool:
        timer = self._next_timer()
        arrival = self._in_flight[0][0] if self._in_flight else None
        if arrival is not None and arrival <= until and (timer is None or arrival <= timer[0]):
            self.now, _, happen = heapq.heappop(self._in_flight)
            happen()
        elif timer is not None and timer[0] <= until:
            self._fire(timer[1])
        else:
            return False
        return True

    def _next_timer(self) -> tuple[float, int] | None:
        timers = [
            (moment, index)
            for index, member in self.members.items()
            if (moment := member.membership.get_timer()) is not None
        ]
        return min(timers, default=None)

    def _fire(self, index: int) -> None:
        member = self.members[index]
        moment = member.membership.get_timer()
        assert moment is not None
        self.now = max(self.now, moment)
        member.membership.handle_timer(now=self.now)
        self.drain(member)

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._in_flight, (self.now + seconds, next(self._order), happen))

    # --- messages ---------------------------------------------------------------------------

    def _linked(self, index: int) -> list[int]:
        return sorted(other for pair in self._up if index in pair for other in pair - {index})

    def _send(self, sender: int, receiver: int, message: Message) -> None:
        pair = frozenset({sender, receiver})
        if pair not in self._up or self.drop(sender, receiver, message):
            return
        payload = codec.encode(message)
        self._arrive(sender, receiver, lambda: self._deliver(sender, receiver, payload))

    def _arrive(self, sender: int, receiver: int, happen: Callable[[], None]) -> None:
        """Let something happen at the far end, behind all that was sent before."""
        pair = frozenset({sender, receiver})
        generation = self._up[pair]
        latency = self.latencies.get((sender, receiver), self.latency)
        moment = max(self.now + latency, self._arrivals.get((sender, receiver), 0.0))
        self._arrivals[sender, receiver] = moment

        def arrives() -> None:
            if self._up.get(pair) == generation:
                happen()

        heapq.heappush(self._in_flight, (moment, next(self._order), arrives))

    def _deliver(self, sender: int, receiver: int, payload: bytes) -> None:
        member = self.members.get(receiver)
        if member is None:
            return
        message: Message = codec.decode(payload, MemberMessage)
        try:
            self._hand_over(member, sender, message)
        except (RightMissing, WrongPhase) as error:
            member.refused.append(error)
        except RemoteProtocolError as error:
            self.broken.append((sender, receiver, error))
            self.unlink(sender, receiver)
        finally:
            self.drain(member)

    def _hand_over(self, member: Member, sender: int, message: Message) -> None:
        if isinstance(message, MEMBERSHIP_MESSAGES):
            member.membership.receive_message(sender, message, now=self.now)
        elif isinstance(message, InventoryMessage):
            assert isinstance(message, HashingEnded), "the only one this network needs"
            member.inventories[message.run].add(sender)
        else:
            member.lifecycle.receive_message(sender, message, now=self.now)

    # --- one input, then drain -----------------------------------------------------------------

    def drain(self, member: Member) -> None:
        """Hand out everything one member's cores have to say."""
        progress = True
        while progress:
            progress = False
            for receiver, message in member.membership.messages_to_send():
                progress = True
                self._send(member.me, receiver, message)
            for target, message in member.lifecycle.messages_to_send():
                progress = True
                for receiver in self._linked(member.me) if target is None else [target]:
                    self._send(member.me, receiver, message)
            while (event := member.membership.next_event()) is not None:
                progress = True
                member.membership_events.append(event)
                self._membership_event(member, event)
            while (happened := member.lifecycle.next_event()) is not None:
                progress = True
                member.lifecycle_events.append(happened)
                self._lifecycle_event(member, happened)
            progress |= self._compare(member)

    def _membership_event(self, member: Member, event: MembershipEvent) -> None:
        if isinstance(event, EpochActivated):
            take_roster(member.lifecycle, event.commit, event.returned)
        elif isinstance(event, JoinAdmitted):
            self._welcome(member, event)

    def _lifecycle_event(self, member: Member, event: LifecycleEvent) -> None:
        if isinstance(event, PhaseChanged):
            member.membership.locked = event.phase.activated
        elif isinstance(event, SyncOrdered):
            self.answers(member, event)

    def _compare(self, member: Member) -> bool:
        """Let the comparison begin where all inventories are in."""
        lifecycle = member.lifecycle
        present = set(member.membership.roster.present)
        if lifecycle.phase is not Phase.INVENTORY or (
            not present <= member.inventories[lifecycle.run]
        ):
            return False
        lifecycle.inventories_in(now=self.now)
        return True

    # --- members ----------------------------------------------------------------------------

    def _welcome(self, sponsor: Member, admitted: JoinAdmitted) -> None:
        """Do what J7 does: give the candidate the commit and its key."""
        identity = self._candidates.pop(admitted.proposal)
        key = sponsor.membership.epoch_key(admitted.commit.epoch)
        assert key is not None
        membership = Membership(
            identity, admitted.commit, key, random_bytes=self.random_bytes, grace=self.grace
        )
        returns = admitted.commit.reason is Reason.RETURN
        member = self._add(identity, membership, admitted.commit.committer if returns else None)
        if self.links_new_members:
            for other in sorted(self.members.keys() - {member.me}):
                self._after(0.0, lambda other=other: self.link(member.me, other))  # type: ignore[misc]

    def _add(
        self, identity: NodeIdentity, membership: Membership, told_by: int | None = None
    ) -> Member:
        lifecycle = Lifecycle(membership.me, identity=identity, told_by=told_by)
        member = Member(identity, membership, lifecycle)
        self.members[member.me] = member
        take_roster(member.lifecycle, membership.commit)
        self.drain(member)
        return member


def take_roster(lifecycle: Lifecycle, commit: Commit, returned: int | None = None) -> None:
    """Tell *lifecycle* of the roster of *commit*, and who came back by it."""
    lifecycle.roster_changed(
        {entry.index: entry.node_key for entry in commit.roster.members},
        frozenset(commit.roster.present),
        leader=commit.leader,
        epoch=commit.epoch,
        returned=returned,
    )


def session_of(count: int, **options: Any) -> SessionNet:
    """Return a settled session of *count* members with a source each."""
    net = SessionNet(**options)
    for _ in range(count - 1):
        net.join()
    for index in net.members:
        net.act(index, lambda lifecycle: lifecycle.change_sources([source()]))
    net.settle()
    return net


def compare(net: SessionNet) -> None:
    """Take a settled session from Preparation to Comparison."""
    leader = min(net.members)
    net.act(leader, lambda lifecycle: lifecycle.start_inventory())
    net.settle()
    for index in net.members:
        net.finish_inventory(index)
    net.settle()


def order(net: SessionNet, sync: bytes = b"s" * 16, leader: int = 0) -> None:
    """Let the leader order a synchronisation; nothing is delivered yet."""
    net.act(
        leader,
        lambda lifecycle: lifecycle.order_sync(
            sync, reference_time_ns=1_700_000_000_000_000_000, steps=3, steps_digest=DIGEST
        ),
    )
