import asyncio

import pytest

import peer.daemon.attending
from peer.daemon.attending import Attending
from peer.daemon.joining import Admission, join_through
from peer.daemon.meeting import registration_token
from peer.daemon.session import Spawn
from protocol.address import from_sockaddr
from protocol.credentials import Secret, SessionId
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.errors import CloseCode, QuintetError, RemoteProtocolError
from protocol.framing import frame
from protocol.handshake import FrameType
from tests.harness.rsa_pairs import PAIR
from tests.harness.seats import (
    CREDENTIALS,
    Seat,
    Stranger,
    owning,
    strangers,
    table_of,
)
from tests.harness.waiting import until

NODE = NodeIdentity(Secret(b"c" * 32))


class NotedMeeting:
    """A line to the node that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    async def register(self, session_id: SessionId, token: bytes, *, create: bool) -> None:
        assert create
        self.asked.append(("create", token))

    async def register_again(self, session_id: SessionId, token: bytes) -> None:
        self.asked.append(("register", token))

    async def rotate(self, token: bytes, epoch: int) -> None:
        self.asked.append(("rotate", token))

    def leave(self) -> None:
        self.asked.append(("leave", b""))


def noted(seat: Seat) -> list[tuple[str, bytes]]:
    """Let a seat's line to the node note what it is asked."""
    meeting = NotedMeeting()
    seat.attending.meeting = meeting  # type: ignore[assignment]
    return meeting.asked


def token(seat: Seat) -> bytes:
    key = seat.session.membership.epoch_key(seat.session.membership.epoch)
    assert key is not None
    return registration_token(key)


async def admission(connection: Connection) -> Admission:
    return await join_through(connection, CREDENTIALS, key=PAIR, node=NODE, name="laptop", email="")


async def closed(connection: Connection) -> int:
    return (await asyncio.wait_for(connection.wait_closed(), 10)).error_code


async def test_a_candidate_joins_and_is_linked_on_one_connection() -> None:
    """The first stream is the join, the second becomes the link; a member it did not know links."""
    async with table_of(2) as table, strangers() as (stranger,), owning() as owner:
        connection = await stranger.knock(table[0])
        joined = await admission(connection)
        attending = seated(stranger, joined, owner.spawn)

        await attending.enter(connection, joined.sponsor)
        await until(lambda: set(attending.session.links) == {0, 1})

        assert set(table[0].session.links) == {1, 2}
        assert attending.session.links[0].connection is connection
        assert connection.is_authenticated
        await attending.close()


def seated(stranger: Stranger, joined: Admission, spawn: Spawn) -> Attending:
    """Seat a candidate that has just been admitted."""
    address = from_sockaddr(stranger.endpoint.addresses[0])
    return Attending(
        joined.membership,
        CREDENTIALS,
        node=NODE,
        name="laptop",
        paths=stranger.paths,
        meeting=NotedMeeting(),  # type: ignore[arg-type]
        make_offer=lambda: stranger.paths.make_offer([address], []),
        loopback_allowed=True,
        spawn=spawn,
        changed=lambda: None,
    )


async def test_a_refused_candidate_is_let_go() -> None:
    """It has read why; the connection serves nothing else."""
    async with table_of(1) as table, strangers() as (stranger,):
        table[0].session.membership.locked = True
        connection = await stranger.knock(table[0])

        with pytest.raises(QuintetError):
            await admission(connection)

        assert await closed(connection) == CloseCode.REFUSED


async def test_whoever_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stream, or a stream without a frame: neither keeps a place for long."""
    monkeypatch.setattr(peer.daemon.attending, "STEP_TIMEOUT", 0.02)
    async with table_of(1) as table, strangers(2) as (mute, mumbling):
        silent = await mute.knock(table[0])
        half = await mumbling.knock(table[0])
        half.open_stream().write_nowait(b"\x01")

        assert await closed(silent) == CloseCode.TIMEOUT
        assert await closed(half) == CloseCode.TIMEOUT


@pytest.mark.parametrize("kind", [FrameType.J6, FrameType.LINK_HELLO, FrameType.LINK_PROOF, 200])
async def test_a_first_frame_that_opens_nothing_ends_the_connection(kind: int) -> None:
    """Only J1 and a member's hello begin something; what they hold is checked by the machines."""
    async with table_of(1) as table, strangers() as (stranger,):
        connection = await stranger.knock(table[0])
        connection.open_stream().write_nowait(frame(kind, b"nonsense"))

        assert await closed(connection) == RemoteProtocolError.close_code
        assert table[0].session.links == {}


async def test_a_first_frame_that_is_too_long_ends_the_connection() -> None:
    """The header alone is enough to know."""
    async with table_of(1) as table, strangers() as (stranger,):
        connection = await stranger.knock(table[0])
        connection.open_stream().write_nowait(b"\x01\xff\xff\xff")

        assert await closed(connection) not in {CloseCode.NORMAL, CloseCode.TIMEOUT}


async def test_a_link_that_does_not_come_up_leaves_no_connection() -> None:
    """The dialler finds somebody else than the member it looked for."""
    async with table_of(3, linked=False) as table:
        one, other = await table.connect(0, 1)
        if not one.is_client:
            one, other = other, one
        dialler = table[0] if one.path.remote == table[1].endpoint.addresses[0] else table[1]
        answerer = table[1] if dialler is table[0] else table[0]
        serving = dialler.owner.spawn(answerer.attending.establish(other, dialler.me))

        with pytest.raises(QuintetError):
            await dialler.attending.establish(one, 2)
        await asyncio.wait([serving])

        assert await closed(other) != CloseCode.NORMAL
        assert one.is_closed
        assert dialler.session.links == answerer.session.links == {}


async def test_the_node_hears_of_every_epoch() -> None:
    """The leader lets the new token count; the others register with it."""
    async with table_of(2) as table:
        leader, other = noted(table[0]), noted(table[1])

        await table[0].session.propose(b"p" * 16, NODE.node_key, "laptop", "")
        await until(lambda: leader and other)

        assert leader == [("rotate", token(table[0]))]
        assert other == [("register", token(table[1]))]
        assert token(table[0]) == token(table[1])


async def test_a_new_session_is_registered_with_the_token_of_its_first_epoch() -> None:
    """Members that come later derive the same; the node cannot derive the key from it."""
    async with table_of(1) as table:
        asked = noted(table[0])

        await table[0].attending.create_at_node()

        assert asked == [("create", token(table[0]))]


async def test_leaving_tells_the_members_and_the_node() -> None:
    """In this order: the members' goodbye needs no node."""
    async with table_of(2) as table:
        asked = noted(table[1])

        await table[1].attending.leave()
        await until(lambda: table[0].session.membership.roster.present == (0,))

        assert asked == [("leave", b"")]


async def test_a_process_that_ends_closes_its_links_without_a_word() -> None:
    """The others wait for it to come back."""
    async with table_of(2) as table:
        await table[1].attending.close()
        await until(lambda: not table[0].session.links)

        assert table[0].session.membership.roster.present == (0, 1)
