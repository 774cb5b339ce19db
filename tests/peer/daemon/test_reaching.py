import asyncio

import pytest

import peer.daemon.reaching
import peer.traversal.agent
from peer.net.mesh import Link
from protocol.endpoint.connections import Connection
from protocol.errors import LinkClosed
from protocol.messages.session import PathOffered
from tests.harness.nodes import an_offer
from tests.harness.seats import Seat, Table, table_of
from tests.harness.waiting import turns, until


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again within moments, and give up within moments."""
    monkeypatch.setattr(peer.daemon.reaching, "RETRIES", (0.01, 0.02))
    monkeypatch.setattr(peer.traversal.agent, "TRIES", (0.0, 0.02, 0.04, 0.08))
    monkeypatch.setattr(peer.traversal.agent, "PATIENCE", 0.1)


def reach(*seats: Seat) -> None:
    """Let members look for the links they lack."""
    for seat in seats:
        seat.attending._reaching.reach_missing()


async def cut(table: Table, left: int, right: int) -> None:
    """End the link of two members; return when the first of them has noticed."""
    link: Link = table[left].session.links[right]
    link.close()
    await until(lambda: table[left].session.links.get(right) is not link)


async def test_two_members_meet_over_the_one_they_both_know() -> None:
    """The one that came later asks, the other answers; both open the path at once."""
    async with table_of(3, linked=False) as table:
        await table.link(0, 1)
        await table.link(0, 2)
        reach(table[2])
        await until(lambda: table.linked(1, 2))

        assert len(table[2].offers) == len(table[1].offers) == 1


async def test_a_lost_link_is_made_anew() -> None:
    """Whichever side noticed first; the session goes on meanwhile."""
    async with table_of(3) as table:
        before = table[2].session.links[1]

        await cut(table, 2, 1)
        await until(lambda: table.linked(1, 2))

        assert table[2].session.links[1] is not before


async def test_links_lost_at_the_same_time_all_come_back() -> None:
    """As long as one member still has a link to each."""
    async with table_of(4) as table:
        for left, right in ((1, 2), (1, 3), (2, 3)):
            await cut(table, left, right)

        await until(lambda: all(table.linked(*pair) for pair in ((1, 2), (1, 3), (2, 3))))


async def test_without_a_common_member_nobody_is_asked_until_there_is_one() -> None:
    """It is looked for again and again, quietly."""
    async with table_of(3, linked=False) as table:
        reach(*table.seats.values())
        await until(lambda: table[2].owner.tasks)
        asked_alone = list(table[2].offers)

        await table.link(0, 1)
        await table.link(0, 2)
        await until(lambda: table.linked(1, 2))

        assert asked_alone == []


async def test_another_common_member_is_tried_when_one_does_not_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first may have lost its own link to the one looked for."""
    monkeypatch.setattr(peer.daemon.reaching, "ANSWER_TIME", 0.05)
    async with table_of(4, linked=False) as table:
        for pair in ((0, 3), (1, 3), (1, 2)):
            table[pair[0]].attending._reaching._under_way |= {0, 1, 2}
            await table.link(*pair)
        table[2].attending._reaching._under_way |= {0, 1}

        reach(table[3])
        await until(lambda: table.linked(2, 3))

        assert not table.linked(0, 2)


async def test_a_member_that_cannot_be_reached_is_tried_again() -> None:
    """Behind its router today, at the same desk tomorrow."""
    async with table_of(3, linked=False) as table:
        table[1].reachable = table[2].reachable = False
        await table.link(0, 1)
        await table.link(0, 2)
        reach(table[2])
        await until(lambda: len(table[2].offers) >= 3)
        met_too_early = table.linked(1, 2)

        table[1].reachable = True
        await until(lambda: table.linked(1, 2))

        assert not met_too_early


async def test_a_link_that_cannot_be_made_leaves_no_connection_open() -> None:
    """The path opened, the handshake failed: the next try starts from nothing."""
    connections: list[Connection] = []

    async def fail(connection: Connection, peer: int) -> None:
        connections.append(connection)
        raise LinkClosed

    async with table_of(3, linked=False) as table:
        reaching = table[2].attending._reaching
        establish, reaching._establish = reaching._establish, fail
        await table.link(0, 1)
        await table.link(0, 2)
        reach(table[2])
        await until(lambda: len(connections) >= 2)
        reaching._establish = establish
        await until(lambda: table.linked(1, 2))

        assert all(connection.is_closed for connection in connections)


async def test_who_has_left_is_not_looked_for() -> None:
    """Nor does who has left look for anybody."""
    async with table_of(3) as table:
        await table[2].session.leave()
        await until(lambda: table[1].session.membership.roster.present == (0, 1))
        offers = [len(seat.offers) for seat in table.seats.values()]

        reach(*table.seats.values())
        await turns()

        assert [len(seat.offers) for seat in table.seats.values()] == offers


async def test_offers_of_nobody_are_dropped() -> None:
    """A member may hand on what it likes: only members are answered."""
    async with table_of(3) as table:
        reaching = table[0].attending._reaching
        for origin in (0, 4):
            offered = PathOffered(origin=origin, destination=0, offer=an_offer(), wanted=True)
            reaching.take(offered, 1)

        assert table[0].offers == []


async def test_a_member_that_asks_without_end_keeps_one_opening_busy() -> None:
    """The newest offer counts: it has given up on those before."""
    async with table_of(3) as table:
        seat = table[0]
        before = len(seat.owner.tasks)
        for _ in range(50):
            offered = PathOffered(origin=2, destination=0, offer=an_offer(), wanted=True)
            seat.attending._reaching.take(offered, 1)
            await turns()

        assert len(seat.owner.tasks) - before <= 2
        assert len(seat.paths._agents) <= 2


async def test_an_answer_nobody_waits_for_is_dropped() -> None:
    """It came after its question was given up."""
    async with table_of(2) as table:
        seat = table[1]

        late = PathOffered(origin=0, destination=1, offer=an_offer(), wanted=False)
        seat.attending._reaching.take(late, 0)
        await turns()

        assert seat.offers == []
        assert table.linked(0, 1)


async def test_a_second_answer_does_not_count() -> None:
    """The first is being acted on."""
    async with table_of(3) as table:
        reaching = table[2].attending._reaching
        waiting = asyncio.get_running_loop().create_future()
        reaching._answers[1] = waiting
        for tag in (b"one!", b"two!"):
            reaching.take(
                PathOffered(origin=1, destination=2, offer=an_offer(tag), wanted=False), 0
            )

        assert (await waiting).tag == b"one!"
