"""Computers in virtual time that meet in a session, lose each other, die and come back.

Everything the daemon does is done here by rule: links are kept wherever two computers can reach
each other and share an epoch, messages are readable only to who holds the key they were sealed
under, who is refused comes back through a join with its node key, and who finds nobody alive
recovers the session from what it has stored.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from peer.errors import RightMissing, WrongPhase
from peer.session.chain import UNBINDING
from peer.session.lifecycle import Lifecycle
from peer.session.membership import MEMBERSHIP_MESSAGES, Membership
from peer.session.reports import (
    EpochActivated,
    ForkSeen,
    JoinAdmitted,
    JoinDenied,
    LinkStale,
    PasswordChanged,
    PhaseChanged,
    SideBehind,
    WasRemoved,
)
from protocol import codec
from protocol.credentials import Password, Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit, Reason
from protocol.errors import RemoteProtocolError
from protocol.messages import session as wire
from protocol.messages.base import Message
from protocol.messages.member import MemberMessage
from tests.harness.session_net import take_roster

GRACE: Final = 60.0
"""Seconds; shorter than in life so that histories need not be longer."""

RETRY: Final = 2.0
"""Seconds between tries to link and to come back."""

IDLE: Final = 12.0
"""Seconds after which a link whose other end died silently is given up."""

RECOVER_AFTER: Final = 30.0
"""Seconds in which nobody alive was found."""


class Process:
    """One running peer: its cores."""

    def __init__(self, node: "Node", membership: Membership, lifecycle: Lifecycle) -> None:
        self.node = node
        self.membership = membership
        self.lifecycle = lifecycle
        self.welcomed_at = membership.epoch
        self.timer: float | None = None
        """When its cores want to be told the time."""
        self.seats: dict[int, bytes] = {}
        """Whose every index is that this process ever knew."""

    @property
    def me(self) -> int:
        return self.membership.me


@dataclass
class Node:
    """One computer, whether its peer runs or not."""

    number: int
    identity: NodeIdentity
    process: Process | None = None
    record: Commit | None = None
    """The newest commit it has stored; None when it is in no session."""
    bound: Commit | None = None
    """The newest of those by which it has promised anything."""
    password: Password | None = None
    alone_since: float | None = None
    behind: list[Process] = field(default_factory=list)
    """Whose sides have fallen behind what it has promised."""
    asking: bytes | None = None
    keys: dict[bytes, int] = field(default_factory=dict)
    """Every session key that this computer ever held."""


@dataclass
class Link:
    """One link: each end seals under its own epoch."""

    generation: int
    epochs: dict[int, int]


class World:
    """All computers and what is between them.

    Args:
        seed: Of everything.
        membership: The class of the cores; a planted fault is a subclass.
        lifecycle: The same.
    """

    def __init__(
        self,
        seed: int,
        *,
        membership: type[Membership] = Membership,
        lifecycle: type[Lifecycle] = Lifecycle,
    ) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.trace: list[tuple[object, ...]] = []
        self.nodes: list[Node] = []
        self.groups: dict[int, int] = {}
        """Which part of a divided network a computer is in."""
        self.loss: float = 0.0
        """Probability that a link breaks with a message."""
        self.broken: list[tuple[int, int, RemoteProtocolError]] = []
        self.forks: list[tuple[int, int]] = []
        self.taken_over = False
        self.forgot = False
        """Whether a process died between its acknowledgement and the word that all had agreed:
        its promise is forgotten with it, and only a person can say which side goes on."""
        self.denied: list[tuple[int, str]] = []
        self.on_commit: Callable[[Process, Commit, bytes, bool], None] = lambda *_: None
        self._membership = membership
        self._lifecycle = lifecycle
        self._links: dict[frozenset[int], Link] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._generation = itertools.count(1)
        self._arrivals: dict[tuple[int, int], float] = {}
        self._proposals: dict[bytes, tuple[Node, Process]] = {}
        self._after(RETRY, self._keep_links)

    # --- people ---------------------------------------------------------------------------

    def found(self) -> Node:
        """Let a computer create the session."""
        node = self.add_node()
        membership = self._membership.create(
            node.identity, "machine", "", random_bytes=self.random.randbytes, grace=GRACE
        )
        node.password = Password.generate(self.random.randbytes)
        self._start(node, membership, None)
        return node

    def add_node(self) -> Node:
        identity = NodeIdentity.generate(self.random.randbytes)
        node = Node(len(self.nodes), identity)
        self.nodes.append(node)
        self.groups[node.number] = 0
        return node

    def ask_in(self, node: Node, sponsor: Process) -> None:
        """Let a person with the password join over *sponsor*, or come back."""
        if node.asking is not None or not self.reaches(node, sponsor.node):
            return
        proposal = self.random.randbytes(16)
        node.asking = proposal
        self._proposals[proposal] = (node, sponsor)
        self._after(20.0, lambda: self._give_up(proposal))
        self._do(
            sponsor,
            lambda: sponsor.membership.propose_join(
                proposal, node.identity.node_key, "machine", "", now=self.now
            ),
        )

    def leave(self, process: Process) -> None:
        """Let a person leave; the last words go out before the links end."""
        process.membership.leave()
        for receiver, message in process.membership.messages_to_send():
            self._send(process, receiver, message)
        node = process.node
        node.process, node.record, node.bound = None, None, None
        for other in self._linked(node.number):
            self._arrive(
                node.number,
                other,
                lambda other=other: self._cut(node.number, other),  # type: ignore[misc]
            )

    def kill(self, process: Process) -> None:
        """End a process; the others notice in their time."""
        node = process.node
        node.process = None
        self.forgot |= process.membership._pending is not None
        for other in self._linked(node.number):
            pair = frozenset({node.number, other})
            generation = self._links[pair].generation
            wait = self.random.uniform(0.0, IDLE)
            self._after(wait, lambda p=pair, g=generation: self._cut_if(p, g))  # type: ignore[misc]

    def divide(self, groups: dict[int, int]) -> None:
        """Divide the network, or heal it; links across end in their time."""
        self.groups = dict(groups)
        for pair, link in list(self._links.items()):
            left, right = sorted(pair)
            if self.groups[left] != self.groups[right]:
                wait = self.random.uniform(0.0, IDLE)
                generation = link.generation
                self._after(wait, lambda p=pair, g=generation: self._cut_if(p, g))  # type: ignore[misc]

    def do(self, process: Process, act: Callable[[], object]) -> None:
        """Let a person do something at one computer."""
        self._do(process, act)

    # --- what there is -----------------------------------------------------------------------

    @property
    def running(self) -> list[Process]:
        return [node.process for node in self.nodes if node.process is not None]

    def reaches(self, one: Node, other: Node) -> bool:
        return self.groups[one.number] == self.groups[other.number]

    def run(self, seconds: float) -> None:
        """Let time pass, with every timer and message in it."""
        end = self.now + seconds
        while True:
            timer = min(
                (
                    (process.timer, process.node.number)
                    for process in self.running
                    if process.timer is not None
                ),
                default=None,
            )
            arrival = self._queue[0][0] if self._queue else None
            if arrival is not None and arrival <= end and (timer is None or arrival <= timer[0]):
                self.now, _, happen = heapq.heappop(self._queue)
                happen()
            elif timer is not None and timer[0] <= end:
                self.now = max(self.now, timer[0])
                process = self.nodes[timer[1]].process
                assert process is not None
                self._do(process, lambda p=process: p.membership.handle_timer(now=self.now))  # type: ignore[misc]
            else:
                break
        self.now = end

    # --- links ------------------------------------------------------------------------------------

    def _keep_links(self) -> None:
        """Do what every daemon does again and again."""
        self._after(RETRY, self._keep_links)
        for left, right in itertools.combinations(self.nodes, 2):
            pair = frozenset({left.number, right.number})
            if pair in self._links or not self.reaches(left, right):
                continue
            if left.process is not None and right.process is not None:
                self._link(left.process, right.process)
        for node in self.nodes:
            if node.record is not None:
                self._come_back(node)

    def _link(self, left: Process, right: Process) -> None:
        """Open a link if both know a common epoch."""
        one, other = left.membership, right.membership
        for epoch in sorted(one.rosters().keys() & other.rosters().keys(), reverse=True):
            mine, theirs = one.rosters()[epoch], other.rosters()[epoch]
            seat = mine.find(right.node.identity.node_key)
            place = theirs.find(left.node.identity.node_key)
            if (mine.digest, one.epoch_key(epoch)) != (theirs.digest, other.epoch_key(epoch)):
                if seat is not None and place is not None:
                    self._do(left, self._refusal(one, seat.index, epoch))
                continue
            if seat is None or place is None:
                continue
            numbers = left.node.number, right.node.number
            link = Link(next(self._generation), dict.fromkeys(numbers, epoch))
            self._links[frozenset(numbers)] = link
            left.seats[seat.index] = right.node.identity.node_key
            right.seats[place.index] = left.node.identity.node_key
            key = Secret(self.random.randbytes(32))
            for end, far in ((left, right), (right, left)):
                if end.membership.epoch > epoch:
                    link.epochs[end.node.number] = end.membership.epoch
                self._do(end, lambda e=end, f=far, k=key: self._link_up(e, f, k))  # type: ignore[misc]
            return

    def _refusal(self, membership: Membership, index: int, epoch: int) -> Callable[[], None]:
        return lambda: membership.link_refused(index, epoch, now=self.now)

    def _link_up(self, end: Process, far: Process, key: Secret) -> None:
        end.membership.link_up(far.me, key, now=self.now)
        end.lifecycle.link_up(far.me)

    def _cut_if(self, pair: frozenset[int], generation: int) -> None:
        link = self._links.get(pair)
        if link is not None and link.generation == generation:
            self._cut(*sorted(pair))

    def _cut(self, left: int, right: int) -> None:
        if self._links.pop(frozenset({left, right}), None) is None:
            return
        for end, far in ((left, right), (right, left)):
            process = self.nodes[end].process
            seat = None
            if process is not None:
                seat = process.membership.roster.find(self.nodes[far].identity.node_key)
            if process is not None and seat is not None:
                index = seat.index
                self._do(
                    process,
                    lambda p=process, i=index: p.membership.link_down(i, now=self.now),  # type: ignore[misc]
                )

    def _come_back(self, node: Node) -> None:
        """Return through a join, where the link handshake is refused or the process is new."""
        process = node.process
        if process is not None and not process.membership.may_return:
            return
        there = [
            each
            for each in self.running
            if each not in node.behind
            and each.node is not node
            and self.reaches(node, each.node)
            and not self._fits(node, each)
        ]
        if there:
            node.alone_since = None
            sponsor = self.random.choice(there)
            seat = sponsor.membership.roster.find(node.identity.node_key)
            if seat is not None and sponsor.node.password != node.password:
                return
            if seat is not None or not sponsor.membership.locked:
                self.ask_in(node, sponsor)
            return
        if process is not None:
            return
        if node.alone_since is None:
            node.alone_since = self.now
        if self.now >= node.alone_since + RECOVER_AFTER:
            self._recover(node)

    def _fits(self, node: Node, other: Process) -> bool:
        """Whether a link between the two is only a matter of time."""
        process = node.process
        return process is not None and any(
            other.membership.rosters().get(epoch) == roster
            for epoch, roster in process.membership.rosters().items()
        )

    def _recover(self, node: Node) -> None:
        there = [
            each
            for each in self.nodes
            if each.process is None and each.bound is not None and self.reaches(node, each)
        ]
        # What a side too small to decide made of it is no part of the session's way.
        promised = [each.bound for each in there if each.bound is not None]
        if not promised:
            return
        newest = max(promised, key=lambda each: each.epoch)
        entry = newest.roster.find(node.identity.node_key)
        if entry is None or any(
            (seat := newest.roster.find(each.identity.node_key)) is not None
            and seat.index < entry.index
            for each in there
        ):
            return
        membership = self._membership.recover(
            node.identity, newest, random_bytes=self.random.randbytes, grace=GRACE
        )
        self._start(node, membership, None)

    # --- messages ------------------------------------------------------------------------------

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), happen))

    def _linked(self, number: int) -> list[int]:
        return sorted(other for pair in self._links if number in pair for other in pair - {number})

    def _node_of(self, process: Process, index: int) -> Node | None:
        key = process.seats.get(index)
        return next((each for each in self.nodes if each.identity.node_key == key), None)

    def _send(self, process: Process, receiver: int, message: Message) -> None:
        node = self._node_of(process, receiver)
        if node is None:
            return
        number, far = process.node.number, node.number
        link = self._links.get(frozenset({number, far}))
        if link is None:
            return
        if self.random.random() < self.loss:
            self._after(0.0, lambda: self._cut_if(frozenset({number, far}), link.generation))
            return
        epoch = link.epochs[number]
        key = process.membership.epoch_key(epoch)
        payload = codec.encode(message)
        self._arrive(number, far, lambda: self._deliver(number, far, payload, epoch, key))

    def _arrive(self, sender: int, receiver: int, happen: Callable[[], None]) -> None:
        pair = frozenset({sender, receiver})
        link = self._links[pair]
        latency = self.random.choice([0.001, 0.02, 0.1, 0.4])
        moment = max(self.now + latency, self._arrivals.get((sender, receiver), 0.0))
        self._arrivals[sender, receiver] = moment
        generation = link.generation

        def arrives() -> None:
            now = self._links.get(pair)
            if (
                now is not None
                and now.generation == generation
                and self.groups[sender] == self.groups[receiver]
            ):
                happen()

        heapq.heappush(self._queue, (moment, next(self._order), arrives))

    def _deliver(
        self, sender: int, receiver: int, payload: bytes, epoch: int, key: Secret | None
    ) -> None:
        process = self.nodes[receiver].process
        if process is None:
            return
        entry = None
        for roster in process.membership.rosters().values():
            entry = entry or roster.find(self.nodes[sender].identity.node_key)
        if entry is None or key is None or process.membership.epoch_key(epoch) != key:
            # The record does not open.
            self._cut(sender, receiver)
            return
        message: Message = codec.decode(payload, MemberMessage)
        index = entry.index
        self.trace.append((round(self.now, 6), sender, receiver, type(message).__name__))
        self._do(process, lambda: self._hand_over(process, sender, index, message))

    def _hand_over(self, process: Process, sender: int, index: int, message: Message) -> None:
        try:
            if isinstance(message, MEMBERSHIP_MESSAGES):
                process.membership.receive_message(index, message, now=self.now)
            else:
                process.lifecycle.receive_message(index, message, now=self.now)
        except (RightMissing, WrongPhase):
            pass
        except RemoteProtocolError as error:
            self.broken.append((sender, process.node.number, error))
            self._cut(sender, process.node.number)

    # --- one input, then drain -------------------------------------------------------------------

    def _do(self, process: Process, act: Callable[[], object]) -> None:
        try:
            act()
        finally:
            if process.node.process is process:
                self._drain(process)
            process.timer = process.membership.get_timer()

    def _drain(self, process: Process) -> None:
        progress = True
        while progress and process.node.process is process:
            progress = False
            for receiver, message in process.membership.messages_to_send():
                progress = True
                self._send(process, receiver, message)
            for target, message in process.lifecycle.messages_to_send():
                progress = True
                targets = sorted(process.membership._links) if target is None else [target]
                for receiver in targets:
                    self._send(process, receiver, message)
            while (event := process.membership.next_event()) is not None:
                progress = True
                self._event(process, event)
            while (happened := process.lifecycle.next_event()) is not None:
                progress = True
                if isinstance(happened, PhaseChanged):
                    process.membership.locked = happened.phase.activated

    def _event(self, process: Process, event: Any) -> None:  # one arm an event
        node = process.node
        match event:
            case EpochActivated(commit=commit, returned=returned, binds=binds):
                self._activated(process, commit, returned, binds=binds)
            case PasswordChanged(password=password):
                node.password = password
            case JoinAdmitted(proposal=proposal, commit=commit):
                self._welcome(process, proposal, commit)
            case JoinDenied(proposal=proposal, outcome=outcome):
                asking = self._proposals.pop(proposal, None)
                if asking is not None:
                    asking[0].asking = None
                    self.denied.append((asking[0].number, outcome.name))
            case LinkStale(index=index):
                stale = self._node_of(process, index)
                if stale is not None:
                    self._cut(node.number, stale.number)
            case ForkSeen(epoch=epoch):
                self.forks.append((node.number, epoch))
            case WasRemoved():
                self._forget(node)
            case SideBehind():
                self._give_up_process(process)
            case _:
                pass

    def _give_up_process(self, process: Process) -> None:
        """Leave a side that has fallen behind, to come back elsewhere."""
        node = process.node
        node.process = None
        here = process.membership.commit
        node.behind += [each for each in self.running if each.membership.commit == here]
        for other in self._linked(node.number):
            self._cut(node.number, other)

    def _forget(self, node: Node) -> None:
        node.process, node.record, node.bound = None, None, None
        for other in self._linked(node.number):
            self._cut(node.number, other)

    def _activated(
        self, process: Process, commit: Commit, returned: int | None = None, *, binds: bool
    ) -> None:
        node = process.node
        node.record = commit
        if binds:
            node.bound = commit
        process.seats |= {entry.index: entry.node_key for entry in commit.roster.members}
        key = process.membership.epoch_key(commit.epoch)
        assert key is not None
        node.keys[key.reveal()] = commit.epoch
        self.trace.append((round(self.now, 6), node.number, commit.epoch, commit.reason.name))
        self.taken_over |= commit.reason is Reason.TAKE_OVER
        take_roster(process.lifecycle, commit, returned)
        for other in self._linked(node.number):
            entry = commit.roster.find(self.nodes[other].identity.node_key)
            link = self._links[frozenset({node.number, other})]
            if entry is not None and entry.index not in commit.absent:
                link.epochs[node.number] = max(link.epochs[node.number], commit.epoch)
            else:
                generation = link.generation
                pair = frozenset({node.number, other})
                self._after(0.5, lambda p=pair, g=generation: self._cut_if(p, g))  # type: ignore[misc]
        self.on_commit(process, commit, key.reveal(), binds)

    def _welcome(self, sponsor: Process, proposal: bytes, commit: Commit) -> None:
        """Do what J7 does, if who asked is still there to hear it."""
        asking = self._proposals.pop(proposal, None)
        if asking is None:
            return
        node, _ = asking
        node.asking = None
        key = sponsor.membership.epoch_key(commit.epoch)
        if key is None or not self.reaches(node, sponsor.node):
            return
        if node.bound is not None and commit.epoch <= node.bound.epoch:
            node.behind.append(sponsor)
            return  # that side is behind what this computer knows
        if node.process is not None and node.process.membership.is_fork(commit):
            self._drain(node.process)
            return
        for other in self._linked(node.number):
            self._cut(node.number, other)
        node.process = None
        membership = self._membership(
            node.identity,
            commit,
            key,
            random_bytes=self.random.randbytes,
            grace=GRACE,
            known=node.bound,
        )
        node.password = sponsor.node.password
        self._start(node, membership, commit.committer)

    def _start(self, node: Node, membership: Membership, told_by: int | None) -> None:
        returns = membership.commit.reason is Reason.RETURN
        lifecycle = self._lifecycle(
            membership.me, identity=node.identity, told_by=told_by if returns else None
        )
        process = Process(node, membership, lifecycle)
        node.process, node.alone_since = process, None
        binds = membership.commit.reason not in UNBINDING
        self._activated(process, membership.commit, binds=binds)
        self._do(process, lambda: None)

    def _give_up(self, proposal: bytes) -> None:
        asking = self._proposals.pop(proposal, None)
        if asking is not None:
            asking[0].asking = None


def usurpation(process: Process, marker: bytes) -> wire.SettingsChanged:
    """Return a leader's command made by somebody who does not lead."""
    order = wire.Order(epoch=process.membership.epoch, leader=process.me, sequence=2**40)
    return wire.SettingsChanged(order=order, settings=marker)
