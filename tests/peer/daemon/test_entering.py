import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import msgspec
import pytest

import peer.daemon.entering
import peer.traversal.agent
from peer.daemon.attending import Attending
from peer.daemon.entering import Entrance, enter_by_creating, enter_by_joining
from peer.net.node_link import NodeAddress
from peer.net.paths import MyOffer, Paths
from protocol.credentials import Password, SessionId
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.endpoint.drive import Endpoint, ignore
from protocol.errors import (
    CloseCode,
    JoinFailed,
    JoinOutcome,
    LinkClosed,
    NodeRefused,
    RemoteProtocolError,
)
from protocol.messages.rendezvous import Start
from protocol.versions import PEER_ALPN
from rendezvous.server import Server
from tests.harness.joining import counting
from tests.harness.nodes import LOOPBACK, running_node
from tests.harness.peers import hurry
from tests.harness.ports import free_port
from tests.harness.seats import Owner, meet, owning
from tests.harness.waiting import until

WRONG = Password.generate(lambda size: bytes(range(90, 90 + size)))
NOBODYS = SessionId.generate(lambda size: bytes(range(40, 40 + size)))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor unreachable members take long."""
    hurry(monkeypatch)
    monkeypatch.setattr(peer.traversal.agent, "TRIES", (0.0, 0.02, 0.05))
    monkeypatch.setattr(peer.traversal.agent, "PATIENCE", 0.3)


class Visitor:
    """A peer at the door of sessions."""

    def __init__(self, owner: Owner, port: int, name: str) -> None:
        self.endpoint = Endpoint.open([(LOOPBACK, 0)], alpn_served=PEER_ALPN)
        self.paths = Paths(self.endpoint)
        self.running = owner.spawn(self.paths.run())
        self.entrance = Entrance(
            node=NodeAddress(LOOPBACK, port, ""),
            endpoint=self.endpoint,
            paths=self.paths,
            identity=NodeIdentity.generate(counting(name)),
            name=name,
            email="",
            spawn=owner.spawn,
            changed=lambda: None,
        )

    async def create(self) -> Attending:
        async with asyncio.timeout(20):
            return await enter_by_creating(self.entrance)

    async def join(self, host: Attending, password: Password | None = None) -> Attending:
        known = host.credentials
        async with asyncio.timeout(20):
            return await enter_by_joining(
                self.entrance, known.session_id, password or known.password
            )

    def hide(self) -> None:
        """Meet nobody any more, as behind a firewall that lets nothing through."""
        self.entrance.meeting._on_connection = Connection.close
        self.endpoint.on_probe = ignore

        def nowhere() -> MyOffer:
            mine = make_offer()
            silent = msgspec.structs.replace(mine.offer, addresses=())
            mine.offer = silent  # type: ignore[misc]
            return mine

        make_offer, self.entrance.meeting.make_offer = self.entrance.meeting.make_offer, nowhere  # type: ignore[method-assign]
        self.entrance.meeting.open = unmet  # type: ignore[method-assign]

    @property
    def open_connections(self) -> list[Connection]:
        """To other peers; the node's is not counted."""
        return [
            each
            for each in self.endpoint.connections
            if each.alpn == PEER_ALPN and not each.is_closed
        ]


async def unmet(mine: MyOffer, start: Start) -> Connection:
    """Open no path."""
    del mine, start
    raise JoinFailed(JoinOutcome.UNREACHABLE)


class Hall:
    """Visitors of one node."""

    def __init__(self, owner: Owner, node: Server) -> None:
        self.visitors: list[Visitor] = []
        self.node = node
        self.owner = owner

    def visitor(self, name: str, *, port: int = 0) -> Visitor:
        self.visitors.append(Visitor(self.owner, port or self.node.port, name))
        return self.visitors[-1]

    async def session(self, *names: str) -> list[tuple[Visitor, Attending]]:
        """Create a session of the first name, and let the others join it, each linked to all."""
        members: list[tuple[Visitor, Attending]] = []
        for name in names:
            visitor = self.visitor(name)
            host = members[0][1] if members else None
            attending = await (visitor.create() if host is None else visitor.join(host))
            members.append((visitor, attending))
            await until(
                lambda: all(len(each.session.links) == len(members) - 1 for _, each in members)
            )
        await until(lambda: all(each.meeting.state == "registered" for _, each in members))
        return members


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    """A node and its visitors."""
    async with running_node(tmp_path) as node, contextlib.AsyncExitStack() as stack:
        owner = await stack.enter_async_context(owning())
        hall = Hall(owner, node)
        yield hall
        for visitor in hall.visitors:
            if visitor.entrance.attending is not None:
                await visitor.entrance.attending.close()
            visitor.entrance.close()
        owner.cancel()
        for visitor in hall.visitors:
            await visitor.endpoint.close()


async def failure(joining: Awaitable[Attending]) -> JoinFailed:
    with pytest.raises(JoinFailed) as failed:
        await joining
    return failed.value


# --- in ----------------------------------------------------------------------------


async def test_members_enter_one_after_another_and_find_each_other(hall: Hall) -> None:
    """The third joins over whichever answers, and is linked to both."""
    members = await hall.session("anna", "ben", "cleo")

    for _, attending in members:
        roster = attending.session.membership.roster
        assert [entry.name for entry in roster.members] == ["anna", "ben", "cleo"]
        assert attending.session.membership.epoch == 3


async def test_the_member_that_answers_first_is_the_sponsor(hall: Hall) -> None:
    """One that cannot be reached holds nobody up."""
    members = await hall.session("anna", "ben")
    members[0][0].hide()

    attending = await hall.visitor("cleo").join(members[0][1])

    assert attending.session.membership.me == 2
    assert list(attending.session.links) == [1]


# --- out ---------------------------------------------------------------------------


async def test_a_wrong_password_is_wrong_at_every_member(hall: Hall) -> None:
    """E04 from the first is enough: the others are not asked, nor is it tried there."""
    members = await hall.session("anna", "ben")
    visitor = hall.visitor("cleo")

    failed = await failure(visitor.join(members[0][1], WRONG))
    await until(lambda: not visitor.open_connections, within=5)

    charged = [each.sponsoring.throttle._total for _, each in members]
    assert failed.outcome is JoinOutcome.WRONG_PASSWORD
    assert sorted(charged) == [0, 1]
    assert visitor.entrance.attending is None


async def test_a_session_that_is_not_there_is_not_found(hall: Hall) -> None:
    """E01."""
    visitor = hall.visitor("anna")

    failed = await failure(enter_by_joining(visitor.entrance, NOBODYS, WRONG))

    assert failed.outcome is JoinOutcome.NOT_FOUND


@pytest.mark.parametrize("create", [True, False])
async def test_a_node_that_does_not_answer_is_down(hall: Hall, *, create: bool) -> None:
    """E11, whichever way in was tried."""
    visitor = hall.visitor("anna", port=free_port())
    client = visitor.entrance.meeting._client
    client.wait_connected = functools.partial(  # type: ignore[method-assign]
        client.wait_connected, 0.05
    )

    failed = await failure(
        visitor.create() if create else enter_by_joining(visitor.entrance, NOBODYS, WRONG)
    )

    assert failed.outcome is JoinOutcome.RENDEZVOUS_DOWN


async def test_members_that_cannot_be_reached_are_unreachable(hall: Hall) -> None:
    """E10, once the last of them has been tried."""
    members = await hall.session("anna", "ben")
    for visitor, _ in members:
        visitor.hide()

    failed = await failure(hall.visitor("cleo").join(members[0][1]))

    assert failed.outcome is JoinOutcome.UNREACHABLE


async def test_a_member_lost_in_the_middle_of_a_join_is_not_the_only_one(hall: Hall) -> None:
    """The next one is tried; what is left of the first is closed."""
    members = await hall.session("anna", "ben")
    lost: list[Connection] = []

    def lose(connection: Connection) -> None:
        lost.append(connection)
        connection.close(CloseCode.INTERNAL)

    members[0][0].entrance.attending.take_connection = lose  # type: ignore[union-attr,method-assign]
    visitor = hall.visitor("cleo")
    attending = await visitor.join(members[0][1])

    assert attending.session.membership.me == 2
    assert all(connection.is_closed for connection in lost)


@pytest.mark.parametrize("name", ["anna", "ben"])
async def test_a_refusal_that_may_be_one_members_alone_is_not_the_last_word(
    hall: Hall, name: str
) -> None:
    """Another member may have the links that this one lacks."""
    members = await hall.session("anna", "ben")
    refusing = next(each for visitor, each in members if visitor.entrance.name == name)
    asked: list[bytes] = []

    async def refuse(proposal: bytes, *_: object) -> None:
        asked.append(proposal)
        raise JoinFailed(JoinOutcome.MEMBERS_UNREACHABLE)

    refusing.session.propose = refuse  # type: ignore[assignment]
    attending = await hall.visitor("cleo").join(members[0][1])

    assert attending.session.membership.me == 2
    assert len(asked) <= 1


async def test_a_first_link_that_fails_leaves_no_session(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E21: let in, and yet not there; neither timer nor connection is left."""
    ((_, host),) = await hall.session("anna")
    left: list[Attending] = []

    async def fail(attending: Attending, connection: Connection, sponsor: int) -> None:
        del connection, sponsor
        left.append(attending)
        raise RemoteProtocolError("not that member")

    monkeypatch.setattr(Attending, "enter", fail)
    visitor = hall.visitor("ben")

    failed = await failure(visitor.join(host))

    assert failed.outcome is JoinOutcome.LINK_FAILED
    assert visitor.entrance.attending is None
    assert left[0].session.ended.is_set()
    assert visitor.open_connections == []


async def test_a_join_has_its_time(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """E15: a member that says nothing is not waited for until the morning."""
    ((host, attending),) = await hall.session("anna")
    monkeypatch.setattr(peer.daemon.entering, "CONNECT_TIME", 0.05)
    monkeypatch.setattr(peer.daemon.entering, "STEP_TIMEOUT", 0.05)
    held: list[Connection] = []
    host.entrance.attending.take_connection = held.append  # type: ignore[union-attr,method-assign]
    visitor = hall.visitor("ben")

    failed = await failure(visitor.join(attending))

    assert failed.outcome is JoinOutcome.TIMEOUT
    await until(lambda: not visitor.open_connections, within=5)


async def test_a_cancelled_join_leaves_nothing_open(hall: Hall) -> None:
    """The person has thought better of it."""
    ((host, attending),) = await hall.session("anna")
    held: list[Connection] = []
    host.entrance.attending.take_connection = held.append  # type: ignore[union-attr,method-assign]
    visitor = hall.visitor("ben")
    joining = asyncio.get_running_loop().create_task(visitor.join(attending))
    await until(lambda: held)

    joining.cancel()
    await asyncio.wait([joining])
    await until(lambda: not visitor.open_connections, within=5)

    assert joining.cancelled()


async def test_a_session_the_node_will_not_have_is_none(hall: Hall) -> None:
    """What was begun for it is put away."""
    visitor = hall.visitor("anna")
    await visitor.entrance.connect()

    async def refuse(*_: object, **__: object) -> None:
        raise LinkClosed

    visitor.entrance.meeting.register = refuse  # type: ignore[method-assign]
    failed = await failure(visitor.create())

    assert failed.outcome is JoinOutcome.RENDEZVOUS_DOWN
    assert visitor.entrance.attending is None


async def test_what_the_node_refuses_is_told_as_it_is(tmp_path: Path) -> None:
    """It has no room, or wants a token: no join's words fit."""
    async with running_node(tmp_path, max_sessions=1) as node, owning() as owner:
        visitors = [Visitor(owner, node.port, name) for name in ("anna", "ben")]
        await visitors[0].create()

        with pytest.raises(NodeRefused):
            await visitors[1].create()

        for visitor in visitors:
            if visitor.entrance.attending is not None:
                await visitor.entrance.attending.close()
            visitor.entrance.close()
        owner.cancel()
        for visitor in visitors:
            await visitor.endpoint.close()


async def test_who_is_not_in_a_session_lets_nobody_in(hall: Hall) -> None:
    """A connection that comes after the end, or before the beginning, is refused."""
    visitor, caller = hall.visitor("anna"), hall.visitor("ben")
    far, near = await meet(visitor, caller)

    visitor.entrance._take_connection(far)
    how = await asyncio.wait_for(near.wait_closed(), 10)

    assert how.error_code == CloseCode.REFUSED
