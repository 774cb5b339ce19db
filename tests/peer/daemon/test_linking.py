import asyncio

import pytest

from peer.daemon.linking import dial, listen
from peer.net.mesh import Link
from peer.net.pump import first_frame
from protocol import limits
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.errors import CloseCode, LinkClosed, QuintetError, RemoteProtocolError
from protocol.framing import FrameReader
from protocol.limits import MAX_JOIN_FRAME
from protocol.messages.base import Message
from protocol.messages.inventory import HashingEnded
from tests.harness.seats import Seat, Table, table_of
from tests.harness.waiting import until

STRANGER = NodeIdentity(Secret(b"?" * 32))


async def listening(connection: Connection, seat: Seat) -> tuple[Link, Secret]:
    stream = await connection.accept_stream()
    reader = FrameReader(MAX_JOIN_FRAME)
    first = await first_frame(stream, reader)
    return await listen(connection, stream, reader, first, session=seat.session, node=seat.node)


async def outcome(linking: asyncio.Task[tuple[Link, Secret]]) -> QuintetError | None:
    try:
        await linking
    except QuintetError as error:
        return error
    return None


async def linked_by_hand(
    table: Table, dialler: Connection, answerer: Connection, **dialling: object
) -> tuple[asyncio.Task[tuple[Link, Secret]], asyncio.Task[tuple[Link, Secret]]]:
    """Let seat 0 dial, as *dialling* changes it, and seat 1 listen; the first to fail closes."""
    loop = asyncio.get_running_loop()
    chosen = {"session": table[0].session, "node": table[0].node, "peer": 1, **dialling}
    near = loop.create_task(dial(dialler, **chosen))  # type: ignore[arg-type]
    far = loop.create_task(listening(answerer, table[1]))
    await asyncio.wait([near, far], return_when=asyncio.FIRST_EXCEPTION)
    for task, connection in ((near, dialler), (far, answerer)):
        if task.done() and task.exception() is not None:
            connection.close(CloseCode.AUTHENTICATION)
    await asyncio.wait([near, far])
    return near, far


async def test_both_members_get_a_link_to_the_other_under_one_key() -> None:
    """In the epoch both are in."""
    async with table_of(2, linked=False) as table:
        near, far = await linked_by_hand(table, *await table.connect(0, 1))
        (link, key), (other, same) = near.result(), far.result()

        assert (link.peer, other.peer) == (1, 0)
        assert key.reveal() == same.reveal()
        assert link.epoch == other.epoch == table[0].session.membership.epoch
        assert link.connection.is_authenticated
        assert other.connection.is_authenticated


async def test_what_is_said_right_behind_the_handshake_arrives() -> None:
    """The side that is ready first does not wait for the other."""
    async with table_of(2, linked=False) as table:
        near, far = await linked_by_hand(table, *await table.connect(0, 1))
        link, other = near.result()[0], far.result()[0]
        heard: list[Message] = []
        other.send(HashingEnded(run=1))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(link.run(lambda _, message: heard.append(message), lambda *_: None))
            await until(lambda: heard)
            link.close()

    assert heard == [HashingEnded(run=1)]


async def test_a_member_other_than_the_one_meant_is_refused() -> None:
    """An answer by somebody else, even of the same session, is no answer."""
    async with table_of(3, linked=False) as table:
        near, far = await linked_by_hand(table, *await table.connect(0, 1), peer=2)

        assert isinstance(await outcome(far), RemoteProtocolError)
        assert await outcome(near) is not None


async def test_who_is_not_in_the_roster_gets_no_link() -> None:
    """It may know the session's key: without a node key of the roster it is nobody."""
    async with table_of(2, linked=False) as table:
        near, far = await linked_by_hand(table, *await table.connect(0, 1), node=STRANGER)

        assert isinstance(await outcome(far), RemoteProtocolError)
        assert isinstance(await outcome(near), LinkClosed)


async def test_members_of_another_session_get_no_link() -> None:
    """Same indices, another chain of commits."""
    async with table_of(2, linked=False) as table, table_of(2, linked=False, seed=7) as others:
        near, far = await linked_by_hand(
            table, *await table.connect(0, 1), session=others[0].session, node=others[0].node
        )

        assert isinstance(await outcome(far), RemoteProtocolError)
        assert isinstance(await outcome(near), LinkClosed)


async def test_silence_ends_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection and says nothing is let go."""
    monkeypatch.setattr(limits, "STEP_TIMEOUT", 0.02)
    async with table_of(2, linked=False) as table:
        one, other = await table.connect(0, 1)

        with pytest.raises(LinkClosed) as closed:
            await dial(one, table[0].session, table[0].node, 1)
        how = await asyncio.wait_for(other.wait_closed(), 10)

        assert closed.value.error_code == CloseCode.TIMEOUT
        assert closed.value.by_us
        assert how.error_code == CloseCode.TIMEOUT
