import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import peer.daemon.meeting
import peer.traversal.agent
from peer.daemon.meeting import MAX_OFFERS, Meeting, _outcome, registration_token
from peer.net.broker_events import Introduced, NodeDown, RegistrationLost
from peer.net.node_link import NodeAddress
from peer.net.paths import Paths
from protocol.address import from_sockaddr
from protocol.credentials import Secret, SessionId
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint
from protocol.errors import (
    JoinFailed,
    JoinOutcome,
    NodeRefusal,
    NodeRefused,
    SealBroken,
)
from protocol.messages.rendezvous import Address, Start
from protocol.versions import PEER_ALPN
from rendezvous.server import Server
from tests.harness.nodes import LOOPBACK, an_offer, running_node
from tests.harness.ports import free_port
from tests.harness.seats import Owner, owning
from tests.harness.waiting import turns, until

SESSION = SessionId.generate(lambda size: bytes(range(size)))
ELSEWHERE = SessionId.generate(lambda size: bytes(range(9, 9 + size)))
OLD, NEW, NEWEST = b"o" * 32, b"n" * 32, b"N" * 32


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the node again within moments."""
    monkeypatch.setattr(peer.daemon.meeting, "REGISTER_AGAIN", (0.01,) * 40)
    monkeypatch.setattr(peer.daemon.meeting, "PATIENT_TRIES", 3)


class Line:
    """One peer's line to the node."""

    def __init__(self, owner: Owner, node: NodeAddress) -> None:
        self.endpoint = Endpoint.open([(LOOPBACK, 0)], alpn_served=PEER_ALPN)
        self.paths = Paths(self.endpoint)
        self.connections: list[Connection] = []
        self.states: list[str] = []
        self.meeting = Meeting(
            self.endpoint,
            self.paths,
            node,
            spawn=owner.spawn,
            on_connection=self.connections.append,
            changed=lambda: self.states.append(self.meeting.state),
        )
        owner.spawn(self.paths.run())
        owner.spawn(self.meeting.run())


class Lines:
    """Lines to one node."""

    def __init__(self, owner: Owner, node: Server) -> None:
        self.node = node
        self.made: list[Line] = []
        self._owner = owner

    def line(self, *, port: int = 0, fingerprint: str = "") -> Line:
        """Return a line to the node, or to whatever is at *port*."""
        address = NodeAddress(LOOPBACK, port or self.node.port, fingerprint)
        self.made.append(Line(self._owner, address))
        return self.made[-1]

    async def connected(self) -> Line:
        line = self.line()
        await line.meeting.connect()
        return line

    async def registered(self, token: bytes = OLD, *, create: bool = False) -> Line:
        line = await self.connected()
        await line.meeting.register(SESSION, token, create=create)
        return line


@pytest.fixture
async def lines(tmp_path: Path) -> AsyncIterator[Lines]:
    """A node, and lines to it."""
    async with running_node(tmp_path) as node, contextlib.AsyncExitStack() as stack:
        owner = await stack.enter_async_context(owning())
        lines = Lines(owner, node)
        yield lines
        owner.cancel()
        await turns()
        for line in lines.made:
            await line.endpoint.close()


async def found(line: Line, session: SessionId = SESSION) -> list[Start]:
    async with asyncio.timeout(10):
        return [start async for _, start in line.meeting.look_up(session)]


# --- the node --------------------------------------------------------------------


async def test_a_peer_learns_where_it_is_and_which_node_it_met(lines: Lines) -> None:
    """A node on the same machine means that all members may be there."""
    line = await lines.connected()
    await until(lambda: line.meeting.state == "connected")

    assert line.meeting.observed == from_sockaddr(line.endpoint.addresses[0])
    assert line.meeting.loopback_allowed
    assert line.meeting.fingerprint


async def test_a_node_that_does_not_answer_is_down(lines: Lines) -> None:
    """Nothing is known of this peer's address then, and nobody is looked for on loopback."""
    line = lines.line(port=free_port())
    client = line.meeting._client
    client.wait_connected = functools.partial(  # type: ignore[method-assign]
        client.wait_connected, 0.05
    )

    with pytest.raises(JoinFailed) as failed:
        await line.meeting.connect()

    assert failed.value.outcome is JoinOutcome.RENDEZVOUS_DOWN
    assert line.meeting.observed is None
    assert not line.meeting.loopback_allowed


async def test_another_node_than_the_one_we_were_told_is_none(lines: Lines) -> None:
    """The fingerprint in an invitation is that of the node the creator met."""
    line = lines.line(fingerprint="0" * 52)

    with pytest.raises(SealBroken):
        await line.meeting.connect()


async def test_the_state_is_shown_as_it_changes(lines: Lines) -> None:
    """Down when the node is lost; registered as soon as it is back."""
    line = await lines.registered(create=True)

    line.meeting._client._tell(NodeDown())
    await until(lambda: line.meeting.state == "down")

    assert line.states[-2:] == ["registered", "down"]


# --- introductions ---------------------------------------------------------------------


async def test_the_node_brings_a_candidate_and_a_member_together(lines: Lines) -> None:
    """The candidate gets an introduction and a path, the member a connection."""
    member, candidate = await lines.registered(create=True), await lines.connected()

    async with asyncio.timeout(10):
        introductions = [each async for each in candidate.meeting.look_up(SESSION)]
        connection = await candidate.meeting.open(*introductions[0])
    await until(lambda: member.connections)

    assert len(introductions) == 1
    assert member.connections[0].path.remote == candidate.endpoint.addresses[0]
    assert connection.path.remote == member.endpoint.addresses[0]


async def test_a_session_nobody_is_in_is_not_found(lines: Lines) -> None:
    """E01, as for a session that has ended."""
    line = await lines.connected()

    with pytest.raises(JoinFailed) as failed:
        await found(line, ELSEWHERE)

    assert failed.value.outcome is JoinOutcome.NOT_FOUND


async def test_a_node_that_is_lost_while_looking_up_is_down(lines: Lines) -> None:
    """E11: trying again later may help."""
    line = lines.line(port=free_port())

    with pytest.raises(JoinFailed) as failed:
        await found(line)

    assert failed.value.outcome is JoinOutcome.RENDEZVOUS_DOWN


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [
        (NodeRefusal.NOT_FOUND, JoinOutcome.NOT_FOUND),
        (NodeRefusal.THROTTLED, JoinOutcome.THROTTLED),
        (NodeRefusal.VERSION, JoinOutcome.VERSION),
    ],
)
def test_a_refusal_is_told_in_the_words_of_a_join(
    refusal: NodeRefusal, outcome: JoinOutcome
) -> None:
    """With the seconds to wait."""
    told = _outcome(NodeRefused(refusal, 7))

    assert isinstance(told, JoinFailed)
    assert (told.outcome, told.retry_after) == (outcome, 7)


def test_a_refusal_that_has_no_such_words_stays_what_it_is() -> None:
    """Whoever runs the node must change something."""
    refused = NodeRefused(NodeRefusal.ACCESS)

    assert _outcome(refused) is refused


async def test_an_introduction_nobody_can_follow_is_given_up(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The candidate's computer is gone, or behind what lets nothing through."""
    monkeypatch.setattr(peer.traversal.agent, "TRIES", (0.0,))
    monkeypatch.setattr(peer.traversal.agent, "PATIENCE", 0.02)
    member = await lines.registered(create=True)
    mine = member.meeting.make_offer()
    start = Start(
        introduction_id=bytes(16), offer=an_offer(), observed=Address(bytes(4), 1), delay=0
    )
    tasks = len(lines._owner.tasks)

    for own in (mine.offer, an_offer(b"gone")):
        member.meeting._client._tell(Introduced(SESSION.value, own, start))
    await until(lambda: len(lines._owner.tasks) > tasks)
    await until(lambda: len(lines._owner.tasks) == tasks)

    assert member.connections == []


async def test_the_keys_of_old_offers_are_forgotten(lines: Lines) -> None:
    """Nobody keeps a key for ever because somebody asked for an offer."""
    line = await lines.connected()
    first = line.meeting.make_offer()

    for _ in range(MAX_OFFERS):
        line.meeting.make_offer()

    assert len(line.meeting._offers) == MAX_OFFERS
    assert first.offer.tag not in line.meeting._offers


async def test_an_offer_names_this_machine_as_the_node_sees_it(lines: Lines) -> None:
    """Whatever the interfaces say."""
    line = await lines.connected()

    offer = line.meeting.make_offer().offer

    assert line.meeting.observed in {each.address for each in offer.addresses}


# --- tokens ---------------------------------------------------------------------------


async def test_members_follow_the_leader_to_a_new_token(lines: Lines) -> None:
    """They may ask before the leader's word has reached the node."""
    leader = await lines.registered(create=True)
    member = await lines.registered()
    following = asyncio.get_running_loop().create_task(member.meeting.register_again(SESSION, NEW))
    await until(lambda: "down" in member.states)

    await leader.meeting.rotate(NEW, 2)
    await asyncio.wait_for(following, 10)
    late = await lines.connected()
    with pytest.raises(NodeRefused):
        await late.meeting.register(SESSION, OLD, create=False)

    assert member.meeting.state == "registered"
    assert len(await found(late)) == 2


async def test_only_the_newest_token_is_asked_for(lines: Lines) -> None:
    """Two epochs in a row: the first one's answer would undo the second's."""
    leader = await lines.registered(create=True)
    member = await lines.registered()
    loop = asyncio.get_running_loop()
    first = loop.create_task(member.meeting.register_again(SESSION, NEW))
    await turns()
    second = loop.create_task(member.meeting.register_again(SESSION, NEWEST))

    await asyncio.wait_for(first, 10)
    early = second.done()
    await leader.meeting.rotate(NEW, 2)
    await leader.meeting.rotate(NEWEST, 3)
    await asyncio.wait_for(second, 10)

    assert not early
    assert member.meeting.state == "registered"


async def test_a_rotation_is_repeated_until_the_node_has_it(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node was just restarting: without the token nobody finds the others any more."""
    leader = await lines.registered(create=True)
    rotate, tries = leader.meeting._client.rotate, []

    async def refuse_twice(session_id: str, token: bytes, epoch: int) -> None:
        tries.append(token)
        if len(tries) <= 2:
            raise NodeRefused(NodeRefusal.THROTTLED)
        await rotate(session_id, token, epoch)

    monkeypatch.setattr(leader.meeting._client, "rotate", refuse_twice)
    await leader.meeting.rotate(NEW, 2)
    member = await lines.registered(NEW)

    assert len(tries) == 3
    assert member.meeting.state == "registered"


async def test_a_registration_the_node_no_longer_accepts_is_repeated(lines: Lines) -> None:
    """With the token this member knows; until that is accepted, people see that it is not."""
    leader = await lines.registered(create=True)
    member = await lines.registered()
    await leader.meeting.rotate(NEW, 2)

    lost = RegistrationLost(SESSION.value, NodeRefused(NodeRefusal.BAD_TOKEN))
    member.meeting._client._tell(lost)
    await until(lambda: member.meeting.state == "down")
    await member.meeting.register_again(SESSION, NEW)

    assert member.meeting.state == "registered"


async def test_a_member_that_never_gets_in_again_stops_asking(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown as down; the links of the session need no node."""
    monkeypatch.setattr(peer.daemon.meeting, "REGISTER_AGAIN", (0.001,) * 2)
    await lines.registered(create=True)
    member = await lines.connected()

    await member.meeting.register_again(SESSION, NEW)

    assert member.meeting.state == "down"


async def test_who_has_left_is_introduced_to_nobody(lines: Lines) -> None:
    """And asks for nothing any more, whatever was under way."""
    leader = await lines.registered(create=True)
    leaver = await lines.registered()
    asking = asyncio.get_running_loop().create_task(leaver.meeting.register_again(SESSION, NEWEST))
    await turns()

    leaver.meeting.leave()
    leaver.meeting.leave()
    await asyncio.wait_for(asking, 10)
    await leaver.meeting.rotate(NEW, 2)
    lost = RegistrationLost(SESSION.value, NodeRefused(NodeRefusal.BAD_TOKEN))
    leaver.meeting._client._tell(lost)
    seeker = await lines.connected()

    assert len(await found(seeker)) == 1
    assert leader.connections == leaver.connections == []


def test_the_token_of_an_epoch_tells_nothing_of_its_key() -> None:
    """Members derive it; the node, which sees it, learns neither the key nor another token."""
    one, other = (registration_token(Secret(bytes([number]) * 32)) for number in (1, 2))

    assert one != other
    assert len(one) == 32
    assert one not in (bytes([1]) * 32, bytes([2]) * 32)
    assert registration_token(Secret(bytes([1]) * 32)) == one
