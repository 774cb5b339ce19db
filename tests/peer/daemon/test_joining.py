import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from peer.daemon.joining import Admission, Credentials, _membership, join_through
from protocol.credentials import Password, Secret, SessionId
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.errors import JoinFailed, JoinOutcome, LinkClosed, RemoteProtocolError
from protocol.framing import frame
from protocol.handshake import FrameType
from tests.harness.joining import SESSION
from tests.harness.rsa_pairs import PAIR
from tests.harness.seats import CREDENTIALS, Stranger, Table, admitted, meet, strangers, table_of

NODE = NodeIdentity(Secret(b"c" * 32))
WRONG = dataclasses.replace(CREDENTIALS, prs=Secret(b"!" * 32))
OTHER_SESSION = dataclasses.replace(CREDENTIALS, tag_key=Secret(b"?" * 32))


async def join(
    connection: Connection, credentials: Credentials = CREDENTIALS, node: NodeIdentity = NODE
) -> Admission:
    async with asyncio.timeout(20):
        return await join_through(
            connection, credentials, key=PAIR, node=node, name="laptop", email="a@example.org"
        )


async def failure(connection: Connection, credentials: Credentials) -> JoinFailed:
    with pytest.raises(JoinFailed) as failed:
        await join(connection, credentials)
    return failed.value


@contextlib.asynccontextmanager
async def at_the_door(members: int = 1) -> AsyncIterator[tuple[Table, Stranger]]:
    """A session, and a computer that wants to be in it."""
    async with table_of(members) as table, strangers() as (stranger,):
        yield table, stranger


async def test_who_knows_the_password_becomes_a_member() -> None:
    """It holds the key of the epoch that begins with it; the roster names it as it named itself."""
    async with at_the_door() as (table, stranger):
        admission = await join(await stranger.knock(table[0]))

        sponsor = table[0].session.membership
        membership = admission.membership
        entry = sponsor.roster.find(NODE.node_key)
        assert entry is not None
        assert (entry.name, entry.email) == ("laptop", "a@example.org")
        assert (admission.sponsor, membership.me, membership.epoch) == (0, 1, sponsor.epoch)
        assert membership.epoch_key(membership.epoch) == sponsor.epoch_key(sponsor.epoch)


async def test_both_people_can_compare_the_same_digits() -> None:
    """The sponsor keeps them by the key of who joined."""
    async with at_the_door() as (table, stranger):
        session = table[0].session
        admission = await join(await stranger.knock(table[0]))

    assert list(session.digits.values()) == [admission.digits]
    assert list(session.door.waiting) == []


async def test_a_wrong_password_is_named_and_the_tries_are_counted() -> None:
    """The candidate learns how many are left before it must wait."""
    async with at_the_door() as (table, stranger):
        failed = await failure(await stranger.knock(table[0]), WRONG)

        assert failed.outcome is JoinOutcome.WRONG_PASSWORD
        assert failed.params["tries_left"] == 4
        assert table[0].session.membership.epoch == 1


async def test_a_member_of_another_session_does_not_know_the_id() -> None:
    """The node led the candidate to the wrong computer; nothing was sealed to it."""
    async with at_the_door() as (table, stranger):
        failed = await failure(await stranger.knock(table[0]), OTHER_SESSION)

        assert failed.outcome is JoinOutcome.NOT_FOUND


async def test_an_answer_that_is_no_join_is_a_broken_protocol() -> None:
    """Whoever answers there is no member of this version."""
    async with at_the_door() as (table, stranger):
        near, far = await meet(stranger, table[0])
        joining = asyncio.get_running_loop().create_task(failure(near, CREDENTIALS))
        stream = await far.accept_stream()
        stream.write_nowait(frame(FrameType.J6, b"nonsense"))

        failed = await joining

        assert failed.outcome is JoinOutcome.PROTOCOL


async def test_a_member_that_goes_away_is_a_closed_link() -> None:
    """Not a refusal: another member may do."""
    async with at_the_door() as (table, stranger):
        near, far = await meet(stranger, table[0])
        joining = asyncio.get_running_loop().create_task(join(near))
        await far.accept_stream()
        far.close()

        with pytest.raises(LinkClosed):
            await joining


def test_a_welcome_for_somebody_else_is_refused() -> None:
    """A sponsor that welcomes another key than ours has not let us in."""
    (_, membership), *_ = admitted(1)
    key = membership.epoch_key(membership.epoch)
    assert key is not None

    with pytest.raises(RemoteProtocolError):
        _membership(NODE, membership.commit.encode(), key)


def test_credentials_are_stretched_and_never_shown() -> None:
    """The same words give the same keys on both sides; no word of them is in a log."""
    password = Password.generate(lambda size: bytes(range(size)))
    one, other = (Credentials.derive(SESSION, password) for _ in range(2))
    elsewhere = SessionId.generate(lambda size: bytes(range(7, 7 + size)))

    assert one == other
    assert Credentials.derive(elsewhere, password).prs != one.prs
    assert password.shown() not in repr(one)
    assert one.prs.reveal().hex() not in repr(one)
