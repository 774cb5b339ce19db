import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from peer.net.broker_client import BrokerClient
from peer.net.broker_events import Introduced, NodeDown, NodeUp, RegistrationLost
from peer.net.pace import Pace
from protocol.errors import LinkClosed, NodeRefusal, NodeRefused, SealBroken
from protocol.messages.rendezvous import Start
from rendezvous.server import Server
from tests.harness.endpoints import until
from tests.harness.nodes import Clients, an_offer, running_clients, running_node

SESSION = "ABCDEFGHJ"
TOKEN, OTHER_TOKEN, NEW_TOKEN = b"t" * 32, b"o" * 32, b"n" * 32
WITHIN = 10.0
"""Seconds for what takes milliseconds on a quiet machine."""

EventT = TypeVar("EventT")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Server]:
    """A node on the loopback."""
    async with running_node(tmp_path) as server:
        yield server


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Starts clients and ends them."""
    async with running_clients() as clients:
        yield clients


async def event_of(client: BrokerClient, kind: type[EventT]) -> EventT:
    """Return the client's next event of this kind."""
    async with asyncio.timeout(WITHIN):
        while not isinstance(event := await client.next_event(), kind):
            pass
    return event


async def starts_of(client: BrokerClient, session: str = SESSION) -> list[Start]:
    async with asyncio.timeout(WITHIN):
        return [start async for start in client.look_up(session, an_offer(b"seek"))]


async def refusal_of(awaited: Any) -> NodeRefused:
    with pytest.raises(NodeRefused) as error:
        await awaited
    return error.value


async def test_a_client_learns_its_address_and_which_node_it_met(
    node: Server, clients: Clients
) -> None:
    """The fingerprint in the address is that of the key which signed the exporter."""
    client = await clients.start(node.address)

    up = await event_of(client, NodeUp)

    assert node.address.endswith("#" + up.fingerprint)
    assert client.observed == up.observed
    assert up.observed.host == bytes([127, 0, 0, 1])
    assert client.is_connected


async def test_a_seeker_and_a_member_are_introduced_to_each_other(
    node: Server, clients: Clients
) -> None:
    """Both get the other's offer, with the address the node saw first in it."""
    member = await clients.start(node.address, name=b"memb")
    seeker = await clients.start(node.address)
    await member.wait_connected()
    await seeker.wait_connected()
    await member.register(SESSION, TOKEN, create=True)

    (start,) = await starts_of(seeker)
    introduced = await event_of(member, Introduced)

    assert start.offer.tag == b"memb"
    assert start.offer.addresses[0].address == member.observed
    assert introduced.session_id == SESSION
    assert introduced.own.tag == b"memb"
    assert introduced.start.offer.tag == b"seek"
    assert introduced.start.offer.addresses[0].address == seeker.observed
    assert introduced.start.introduction_id == start.introduction_id
    assert introduced.start.observed == member.observed


async def test_an_id_in_use_is_refused_and_the_registration_not_kept(
    node: Server, clients: Clients
) -> None:
    """The creator draws another one."""
    first = await clients.start(node.address)
    second = await clients.start(node.address)
    await first.wait_connected()
    await first.register(SESSION, TOKEN, create=True)
    await second.wait_connected()

    error = await refusal_of(second.register(SESSION, OTHER_TOKEN, create=True))

    assert error.refusal is NodeRefusal.TAKEN
    await second.register("000000000", OTHER_TOKEN, create=True)
    assert node.broker.sessions == 2


async def test_unknown_locked_and_left_sessions_are_not_found(
    node: Server, clients: Clients
) -> None:
    """All three look the same from outside."""
    member = await clients.start(node.address)
    seeker = await clients.start(node.address)
    await member.wait_connected()
    await seeker.wait_connected()

    unknown = await refusal_of(starts_of(seeker))
    await member.register(SESSION, TOKEN, listening=False)
    locked = await refusal_of(starts_of(seeker))
    await member.register(SESSION, TOKEN)
    found = await starts_of(seeker)
    member.unregister(SESSION)
    member.unregister(SESSION)
    # The same connection carries it in order: the answer to this comes after it.
    await member.register("000000000", TOKEN)
    left = await refusal_of(starts_of(seeker))

    assert [unknown.refusal, locked.refusal, left.refusal] == [NodeRefusal.NOT_FOUND] * 3
    assert len(found) == 1


async def test_a_member_that_declines_is_not_met(node: Server, clients: Clients) -> None:
    """No offer, no introduction."""
    member = await clients.start(node.address, name=b"")
    seeker = await clients.start(node.address)
    await member.wait_connected()
    await seeker.wait_connected()
    await member.register(SESSION, TOKEN)

    error = await refusal_of(starts_of(seeker))

    assert error.refusal is NodeRefusal.NOT_FOUND


async def test_a_node_with_another_key_is_not_believed(node: Server, clients: Clients) -> None:
    """The fingerprint came with the invitation; whoever answers must have its key."""
    address, _, fingerprint = node.address.partition("#")
    wrong = ("1" if fingerprint[0] == "0" else "0") + fingerprint[1:]
    client = await clients.start(f"{address}#{wrong}")

    with pytest.raises(SealBroken):
        await client.wait_connected()


async def test_a_private_node_serves_only_its_people(tmp_path: Path, clients: Clients) -> None:
    """The access token is carried in invitations."""
    async with running_node(tmp_path, access_tokens=("open sesame",)) as node:
        invited = await clients.start(node.address, access="open sesame")
        stranger = await clients.start(node.address)

        error = await refusal_of(stranger.wait_connected())
        await invited.wait_connected()
        clients.stop()

    assert error.refusal is NodeRefusal.ACCESS


async def test_an_unreachable_node_is_a_timeout_and_requests_fail_at_once(
    clients: Clients,
) -> None:
    """The caller says what that means to people."""
    client = await clients.start("127.0.0.1:1")

    with pytest.raises(TimeoutError):
        await client.wait_connected(within=0.05)
    with pytest.raises(LinkClosed):
        await starts_of(client)
    assert client.observed is None
    assert client.round_trip == 0.0


async def test_a_restarted_node_gets_its_sessions_back(tmp_path: Path, clients: Clients) -> None:
    """Same ID, same token, without the owner doing anything."""
    async with running_node(tmp_path) as node:
        address, port = node.address, node.port
        member = await clients.start(address, name=b"memb")
        await member.wait_connected()
        await member.register(SESSION, TOKEN, create=True)
    await event_of(member, NodeDown)

    async with running_node(tmp_path, port=port) as node:
        await event_of(member, NodeUp)
        seeker = await clients.start(address)
        await seeker.wait_connected()
        await until(lambda: node.broker.members == 1)
        (start,) = await starts_of(seeker)
        clients.stop()

    assert start.offer.tag == b"memb"


async def test_a_node_that_falls_silent_is_given_up(tmp_path: Path, clients: Clients) -> None:
    """A crash sends no goodbye; the next address in the list takes over."""
    async with running_node(tmp_path / "1") as first, running_node(tmp_path / "2") as second:
        member = await clients.start(first.address, second.address)
        up = await event_of(member, NodeUp)
        await member.register(SESSION, TOKEN, create=True)
        for udp in first._endpoint._sockets:
            asyncio.get_running_loop().remove_reader(udp)
        await event_of(member, NodeDown)
        # The first is tried again before the second, and answers as little as before.
        after = await event_of(member, NodeUp)
        await until(lambda: second.broker.members == 1)
        clients.stop()

    assert first.address.endswith(up.fingerprint)
    assert second.address.endswith(after.fingerprint)


async def test_registrations_are_refreshed(node: Server, clients: Clients) -> None:
    """The session stays the same one."""
    member = await clients.start(node.address, pace=Pace(refresh=0.05))
    await member.wait_connected()
    await member.register(SESSION, TOKEN)
    registration = member._registrations[SESSION]
    first_due = registration.due

    await until(lambda: registration.due > first_due + 0.1)

    assert node.broker.sessions == 1


async def test_who_has_only_the_old_token_loses_its_registration(
    node: Server, clients: Clients
) -> None:
    """The one who rotated stays registered; the other is told (T6)."""
    stays = await clients.start(node.address, pace=Pace(refresh=0.05))
    leaves = await clients.start(node.address, pace=Pace(refresh=0.05))
    for member in (stays, leaves):
        await member.wait_connected()
        await member.register(SESSION, TOKEN)

    await stays.rotate(SESSION, NEW_TOKEN, 2)
    lost = await event_of(leaves, RegistrationLost)

    assert (lost.session_id, lost.error.refusal) == (SESSION, NodeRefusal.BAD_TOKEN)
    assert node.broker.members == 1
    await leaves.register(SESSION, NEW_TOKEN)
    assert node.broker.members == 2


async def test_a_throttled_seeker_is_told_how_long_to_wait(
    tmp_path: Path, clients: Clients
) -> None:
    """The default limit of look-ups, over a real connection (T5)."""
    async with running_node(tmp_path, look_ups_per_minute=20) as node:
        seeker = await clients.start(node.address)
        await seeker.wait_connected()

        errors = [await refusal_of(starts_of(seeker)) for _ in range(21)]
        clients.stop()

    assert [each.refusal for each in errors[:20]] == [NodeRefusal.NOT_FOUND] * 20
    assert errors[20].refusal is NodeRefusal.THROTTLED
    assert 0 < errors[20].retry_after <= 4
