"""Members of one session in one process: real sockets on the loopback, no node, no join.

A ``Seat`` is what a peer holds while it is in a session: an endpoint, its paths, its node key
and an ``Attending``. The seats of a ``Table`` have been admitted by the cores in virtual time;
links between them are made by real probes, connections and handshakes.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Protocol

from peer.daemon.attending import Attending
from peer.daemon.joining import Credentials
from peer.daemon.meeting import Meeting
from peer.daemon.member_link import MemberLink
from peer.daemon.session import Session, contained
from peer.net.node_link import NodeAddress
from peer.net.paths import MyOffer, Paths
from peer.session.membership import Membership
from peer.session.reports import SyncOrdered, SyncStopped
from protocol.address import from_sockaddr
from protocol.credentials import Password
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.streams import Stream
from protocol.messages.inventory import InventoryMessage
from protocol.messages.transfer import TransferMessage
from protocol.versions import PEER_ALPN
from tests.harness.joining import PRS, SESSION, TAG_KEY
from tests.harness.session_net import SessionNet, session_of

LOOPBACK = "127.0.0.1"
CREDENTIALS = Credentials(SESSION, Password.generate(lambda size: bytes(range(size))), PRS, TAG_KEY)
"""Of the session that every table holds; stretched by nobody."""


class Owner:
    """Owns tasks as a peer does: their failures are their own, the end ends them all."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(contained(work, "seat"))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        # Cancelled before its first step, the task never awaits it.
        task.add_done_callback(lambda _: work.close())
        return task

    def cancel(self) -> None:
        for task in list(self.tasks):
            task.cancel()


@contextlib.asynccontextmanager
async def owning() -> AsyncIterator[Owner]:
    """Own tasks for the time of a block."""
    async with asyncio.TaskGroup() as group:
        owner = Owner(group)
        try:
            yield owner
        finally:
            owner.cancel()


class NotedWork:
    """The work of a session that only notes what it is told."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, object]] = []
        self.streams: list[Stream] = []

    def named(self, name: str) -> list[object]:
        """Return what was told under one name, in order."""
        return [value for each, value in self.noted if each == name]

    def start_inventory(self, run: int) -> None:
        self.noted.append(("start_inventory", run))

    def drop(self) -> None:
        self.noted.append(("drop", None))

    def decisions_replaced(self, data: bytes) -> None:
        self.noted.append(("decisions", data))

    def sync_ordered(self, order: SyncOrdered) -> None:
        self.noted.append(("ordered", order))

    def sync_begun(self, sync: bytes) -> None:
        self.noted.append(("begun", sync))

    def sync_stopped(self, stopped: SyncStopped) -> None:
        self.noted.append(("stopped", stopped))

    def steps_ended(self) -> None:
        self.noted.append(("steps_ended", None))

    def receive_inventory(self, peer: int, message: InventoryMessage) -> None:
        self.noted.append(("inventory", (peer, message)))

    def receive_transfer(self, peer: int, message: TransferMessage) -> None:
        self.noted.append(("transfer", (peer, message)))

    def receive_stream(self, peer: int, stream: Stream) -> None:
        self.noted.append(("stream", peer))
        self.streams.append(stream)

    def link_up(self, peer: int, link: MemberLink) -> None:
        del link
        self.noted.append(("link_up", peer))

    def link_down(self, peer: int) -> None:
        self.noted.append(("link_down", peer))

    def member_left(self, peer: int) -> None:
        self.noted.append(("member_left", peer))


class Seat:
    """One member, and what its peer holds for it."""

    def __init__(self, node: NodeIdentity, membership: Membership, owner: Owner) -> None:
        self.node = node
        self.owner = owner
        self.endpoint = Endpoint.open([(LOOPBACK, 0)], alpn_served=PEER_ALPN)
        self.paths = Paths(self.endpoint)
        self.changes = 0
        self.offers: list[MyOffer] = []
        self.reachable = True
        """Whether the offers of this seat name its address."""
        self.meeting = Meeting(
            self.endpoint,
            self.paths,
            NodeAddress("node.invalid", 47555, ""),
            spawn=owner.spawn,
            on_connection=self._take_connection,
            changed=self._note_change,
        )
        self.attending = Attending(
            membership,
            CREDENTIALS,
            node=node,
            name=f"machine {membership.me}",
            paths=self.paths,
            meeting=self.meeting,
            make_offer=self.make_offer,
            loopback_allowed=True,
            spawn=owner.spawn,
            changed=self._note_change,
        )
        self.work = NotedWork()
        self.session.work = self.work
        owner.spawn(self.paths.run())

    @property
    def session(self) -> Session:
        return self.attending.session

    @property
    def me(self) -> int:
        return self.session.me

    def make_offer(self) -> MyOffer:
        hosts = [from_sockaddr(self.endpoint.addresses[0])] if self.reachable else []
        offer = self.paths.make_offer(hosts, [])
        self.offers.append(offer)
        return offer

    def _note_change(self) -> None:
        self.changes += 1

    def _take_connection(self, connection: Connection) -> None:
        self.attending.take_connection(connection)


class Table:
    """The seats of one session, by index."""

    def __init__(self, seats: list[Seat]) -> None:
        self.seats = {seat.me: seat for seat in seats}

    def __getitem__(self, index: int) -> Seat:
        return self.seats[index]

    async def connect(self, left: int, right: int) -> tuple[Connection, Connection]:
        """Open a path between two seats as if the node had introduced them."""
        return await meet(self[left], self[right])

    async def link(self, left: int, right: int) -> None:
        """Give two seats a link."""
        one, other = await self.connect(left, right)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(self[left].attending.establish(one, right))
            group.create_task(self[right].attending.establish(other, left))

    def linked(self, left: int, right: int) -> bool:
        """Whether both of two seats hold a link to the other."""
        return right in self[left].session.links and left in self[right].session.links


class Site(Protocol):
    """Where paths begin: a seat, or an endpoint and its paths alone."""

    endpoint: Endpoint
    paths: Paths


async def meet(one: Site, other: Site) -> tuple[Connection, Connection]:
    """Open a path with offers handed over by the test; the paths of both must be running."""
    mine, theirs = (
        site.paths.make_offer([from_sockaddr(site.endpoint.addresses[0])], [])
        for site in (one, other)
    )
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        opening = group.create_task(one.paths.open(mine, theirs.offer, loopback_allowed=True))
        answering = group.create_task(other.paths.open(theirs, mine.offer, loopback_allowed=True))
    return opening.result(), answering.result()


def admitted(count: int, **options: Any) -> list[tuple[NodeIdentity, Membership]]:
    """Return so many members of one session, as fresh as if all had just been restarted."""
    net: SessionNet = session_of(count, **options)
    members = []
    for member in net.members.values():
        commit, key = member.membership.commit, member.membership.epoch_key(member.membership.epoch)
        assert key is not None
        membership = Membership(member.identity, commit, key, random_bytes=os.urandom)
        members.append((member.identity, membership))
    return members


@contextlib.asynccontextmanager
async def table_of(count: int, *, linked: bool = True, seed: int = 0) -> AsyncIterator[Table]:
    """Seat *count* members of the session *seed*, all linked with one another if *linked*."""
    async with owning() as owner:
        seats = [Seat(node, membership, owner) for node, membership in admitted(count, seed=seed)]
        table = Table(seats)
        try:
            if linked:
                for right in table.seats:
                    for left in range(right):
                        await table.link(left, right)
            yield table
        finally:
            for seat in seats:
                await seat.attending.close()
            owner.cancel()
            for seat in seats:
                await seat.endpoint.close()


class Stranger:
    """A computer that is in no session: an endpoint and its paths, running."""

    def __init__(self, owner: Owner) -> None:
        self.endpoint = Endpoint.open([(LOOPBACK, 0)], alpn_served=PEER_ALPN)
        self.paths = Paths(self.endpoint)
        owner.spawn(self.paths.run())

    async def knock(self, seat: Seat) -> Connection:
        """Return a connection to a member, as if the node had introduced both."""
        near, far = await meet(self, seat)
        seat.attending.take_connection(far)
        return near


@contextlib.asynccontextmanager
async def strangers(count: int = 1) -> AsyncIterator[list[Stranger]]:
    """So many strangers for the time of a block."""
    async with owning() as owner:
        made = [Stranger(owner) for _ in range(count)]
        try:
            yield made
        finally:
            owner.cancel()
            for stranger in made:
                await stranger.endpoint.close()
