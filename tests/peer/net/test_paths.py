import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass

import pytest

import peer.net.paths
import peer.traversal.agent
from peer.net.paths import MyOffer, Paths
from protocol.address import from_sockaddr
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.errors import CloseCode, JoinFailed, JoinOutcome, LinkClosed
from protocol.messages.rendezvous import Address, AddressKind
from protocol.versions import PEER_ALPN
from tests.harness.ports import free_port
from tests.harness.seats import LOOPBACK, meet, owning
from tests.harness.waiting import until


@dataclass
class Place:
    """An endpoint and its paths, running."""

    endpoint: Endpoint
    paths: Paths

    @property
    def address(self) -> Address:
        return from_sockaddr(self.endpoint.addresses[0])

    def offer(self, *addresses: Address) -> MyOffer:
        return self.paths.make_offer(list(addresses) or [self.address], [])

    async def open(self, mine: MyOffer, theirs: MyOffer, *, mix: bytes = b"") -> Connection:
        return await self.paths.open(mine, theirs.offer, loopback_allowed=True, mix=mix)


@contextlib.asynccontextmanager
async def places(count: int = 2, *, deaf: int = 0) -> AsyncIterator[list[Place]]:
    """So many places; the last *deaf* take in no connections."""
    async with owning() as owner:
        made = []
        for number in range(count):
            endpoint = Endpoint.open([(LOOPBACK, 0)], alpn_served=PEER_ALPN)
            made.append(Place(endpoint, Paths(endpoint)))
            if number < count - deaf:
                owner.spawn(made[-1].paths.run())
        try:
            yield made
        finally:
            owner.cancel()
            for place in made:
                await place.endpoint.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up within moments what is given up within seconds."""
    monkeypatch.setattr(peer.traversal.agent, "TRIES", (0.0, 0.02, 0.04))
    monkeypatch.setattr(peer.traversal.agent, "PATIENCE", 0.05)
    monkeypatch.setattr(peer.net.paths, "STEP_TIMEOUT", 0.2)


def in_roles(one: Place, other: Place) -> tuple[Place, MyOffer, Place, MyOffer]:
    """Return who will dial and its offer, then who will be dialled: the lower key dials."""
    mine, theirs = one.offer(), other.offer()
    if mine.keys.public < theirs.keys.public:
        return one, mine, other, theirs
    return other, theirs, one, mine


async def test_two_places_get_the_two_ends_of_one_connection() -> None:
    """The lower probe key dials, whoever was asked first."""
    async with places() as (left, right):
        dialler, mine, answerer, theirs = in_roles(left, right)
        async with asyncio.TaskGroup() as group:
            dialled = group.create_task(dialler.open(mine, theirs))
            answered = group.create_task(answerer.open(theirs, mine))
        client, server = dialled.result(), answered.result()
        client.open_stream().write_nowait(b"hello")
        heard = await (await server.accept_stream()).read()

        assert client.is_client
        assert not server.is_client
        assert heard == b"hello"
        assert client.path.remote == answerer.endpoint.addresses[0]


async def test_three_places_meet_in_pairs_at_the_same_time() -> None:
    """Each attempt gets the connection of the peer it was for."""
    async with places(3) as (a, b, c):
        async with asyncio.TaskGroup() as group:
            pairs = [
                (one, other, group.create_task(meet(one, other)))
                for one, other in ((a, b), (b, c), (c, a))
            ]

        for one, other, task in pairs:
            near, far = task.result()
            assert near.path.remote == other.endpoint.addresses[0]
            assert far.path.remote == one.endpoint.addresses[0]


async def test_every_offer_is_another() -> None:
    """A probe key is used once; the addresses are those of the moment."""
    mapped = Address(bytes([198, 51, 100, 7]), 4711)
    async with places(1) as (place,):
        first, second = place.offer(), place.paths.make_offer([place.address], [mapped])

    assert first.offer.generation < second.offer.generation
    assert first.offer.probe_key != second.offer.probe_key
    assert first.offer.tag != second.offer.tag
    assert {each.address: each.kind for each in second.offer.addresses} == {
        place.address: AddressKind.HOST,
        mapped: AddressKind.REFLEXIVE,
    }


async def test_a_connection_nobody_expects_is_refused() -> None:
    """Its source was let in once; no attempt is for it now."""
    async with places() as (stranger, host):
        until_then = asyncio.get_running_loop().time() + 60
        host.endpoint.allow(stranger.endpoint.addresses[0], until_then)

        connection = await stranger.endpoint.connect(host.endpoint.addresses[0], alpn=PEER_ALPN)
        how = await asyncio.wait_for(connection.wait_closed(), 10)

        assert how.error_code == CloseCode.REFUSED


async def test_a_connection_from_elsewhere_is_not_taken_for_the_peer() -> None:
    """Only where an authentic probe came from is the peer's."""
    async with places(3) as (left, right, stranger):
        dialler, mine, answerer, theirs = in_roles(left, right)
        loop = asyncio.get_running_loop()
        answerer.endpoint.allow(stranger.endpoint.addresses[0], loop.time() + 60)
        waiting = loop.create_task(answerer.open(theirs, mine))
        intruder = await stranger.endpoint.connect(answerer.endpoint.addresses[0], alpn=PEER_ALPN)
        how = await asyncio.wait_for(intruder.wait_closed(), 10)

        client = await dialler.open(mine, theirs)
        server = await asyncio.wait_for(waiting, 10)

        assert how.error_code == CloseCode.REFUSED
        assert server.path.remote == dialler.endpoint.addresses[0]
        client.close()


async def test_a_second_connection_of_the_same_peer_is_refused() -> None:
    """An attempt is for one connection."""
    async with places() as (left, right):
        dialler, mine, answerer, theirs = in_roles(left, right)
        async with asyncio.TaskGroup() as group:
            group.create_task(dialler.open(mine, theirs))
            group.create_task(answerer.open(theirs, mine))

        again = await dialler.endpoint.connect(answerer.endpoint.addresses[0], alpn=PEER_ALPN)
        how = await asyncio.wait_for(again.wait_closed(), 10)

        assert how.error_code == CloseCode.REFUSED


@pytest.mark.usefixtures("hasty")
async def test_nobody_at_the_address_is_unreachable() -> None:
    """Both roles learn it the same way, and nothing is left of the attempt."""
    nowhere = Address(bytes([127, 0, 0, 1]), free_port())
    async with places(1) as (place,), places(1) as (other,):
        gone = other.offer(nowhere)
        for mine in (place.offer() for _ in range(6)):
            with pytest.raises(JoinFailed) as failed:
                await place.open(mine, gone)

            assert failed.value.outcome is JoinOutcome.UNREACHABLE
            assert place.paths._agents == {}


@pytest.mark.usefixtures("hasty")
async def test_members_of_another_epoch_do_not_meet() -> None:
    """Their probes are sealed with a key of the epoch as well; strangers' do not open."""
    async with places() as (left, right):
        mine, theirs = left.offer(), right.offer()

        async with asyncio.TaskGroup() as group:
            failures = [
                group.create_task(failure_of(left.open(mine, theirs, mix=b"4" * 32))),
                group.create_task(failure_of(right.open(theirs, mine, mix=b"5" * 32))),
            ]

        assert [task.result() for task in failures] == [JoinOutcome.UNREACHABLE] * 2


async def failure_of(opening: Awaitable[Connection]) -> JoinOutcome | None:
    try:
        (await opening).close()
    except JoinFailed as failed:
        return failed.outcome
    return None


@pytest.mark.usefixtures("hasty")
async def test_a_path_without_a_connection_is_given_up() -> None:
    """The peer answers probes and never dials."""
    async with places() as (left, right):
        dialler, mine, answerer, theirs = in_roles(left, right)
        silent = peer.net.paths._Attempt(
            dialler.endpoint,
            peer.traversal.agent.Agent(
                mine=mine.offer,
                keys=mine.keys,
                theirs=theirs.offer,
                random_bytes=lambda size: bytes(range(size)),
                loopback_allowed=True,
            ),
        )
        dialler.paths._agents[mine.offer.tag] = [silent]
        silent.start(0.0)

        with pytest.raises(LinkClosed) as closed:
            await answerer.open(theirs, mine)

        silent.close(keep=None)
        assert closed.value.error_code == CloseCode.TIMEOUT
        assert answerer.paths._agents == {}


async def test_a_connection_that_comes_too_late_is_closed() -> None:
    """Cancelled in the moment it came: nobody would ever close it."""
    async with places() as (left, right):
        dialler, mine, answerer, theirs = in_roles(left, right)
        loop = asyncio.get_running_loop()
        answering = loop.create_task(answerer.open(theirs, mine))
        await until(lambda: answerer.paths._agents)
        (attempt,) = answerer.paths._agents[theirs.offer.tag]
        attempt.accepted.add_done_callback(lambda _: answering.cancel())

        client = await dialler.open(mine, theirs)
        how = await asyncio.wait_for(client.wait_closed(), 10)
        await asyncio.wait([answering])

        assert answering.cancelled()
        assert how.error_code == CloseCode.REFUSED
        assert answerer.paths._agents == {}


async def test_a_cancelled_attempt_leaves_nothing() -> None:
    """No timer, no tag; a late probe of the peer meets nobody."""
    async with places() as (left, right):
        mine, theirs = left.offer(), right.offer()
        opening = asyncio.get_running_loop().create_task(left.open(mine, theirs))
        await until(lambda: left.paths._agents)

        opening.cancel()
        await asyncio.wait([opening])
        right.endpoint.send_datagram(b"\x20" + mine.offer.tag + b"late", left.endpoint.addresses[0])

        assert opening.cancelled()
        assert left.paths._agents == {}


async def test_datagrams_that_are_no_probes_of_the_peer_are_dropped() -> None:
    """A tag is no secret: whoever saw it can send it, and reaches nothing with it."""
    async with places(3) as (left, right, stranger):
        dialler, mine, answerer, theirs = in_roles(left, right)
        answering = asyncio.get_running_loop().create_task(answerer.open(theirs, mine))
        await until(lambda: answerer.paths._agents)
        for junk in (b"\x20", b"\x20" + theirs.offer.tag, b"\x20" + theirs.offer.tag + b"x" * 50):
            stranger.endpoint.send_datagram(junk, answerer.endpoint.addresses[0])

        client = await dialler.open(mine, theirs)
        server = await asyncio.wait_for(answering, 10)

        assert server.path.remote == dialler.endpoint.addresses[0]
        client.close()
