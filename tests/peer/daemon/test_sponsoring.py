import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from peer.daemon.joining import Admission, Credentials, join_through
from peer.session.phases import Phase
from peer.session.session_settings import SessionSettings
from peer.session.trust import FREE_TRIES, TOTAL_TRIES, WINDOW
from protocol import limits
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.endpoint.paths import source_of
from protocol.errors import CloseCode, JoinFailed, JoinOutcome
from protocol.framing import frame
from protocol.handshake import FrameType
from protocol.join.candidate import Candidate, SponsorAuthenticated
from protocol.limits import MAX_JOINS
from protocol.messages.inventory import Kind
from protocol.messages.session import SourceInfo
from protocol.versions import EXPORTER_SIZE, JOIN_EXPORTER
from tests.harness.joining import counting
from tests.harness.rsa_pairs import PAIR
from tests.harness.seats import CREDENTIALS, Seat, Stranger, Table, strangers, table_of
from tests.harness.waiting import turns, until

NODE = NodeIdentity(Secret(b"c" * 32))
WRONG = dataclasses.replace(CREDENTIALS, prs=Secret(b"!" * 32))
SOURCE = source_of(("127.0.0.1", 1))


async def join(
    connection: Connection, credentials: Credentials = CREDENTIALS, node: NodeIdentity = NODE
) -> Admission:
    async with asyncio.timeout(20):
        return await join_through(
            connection, credentials, key=PAIR, node=node, name="laptop", email=""
        )


async def failure(connection: Connection, credentials: Credentials = CREDENTIALS) -> JoinFailed:
    with pytest.raises(JoinFailed) as failed:
        await join(connection, credentials)
    return failed.value


@contextlib.asynccontextmanager
async def door(members: int = 1, *, linked: bool = True) -> AsyncIterator[tuple[Seat, Stranger]]:
    """A sponsor, and a computer that wants to join through it."""
    async with table_of(members, linked=linked) as table, strangers() as (stranger,):
        yield table[0], stranger


def waiting(seat: Seat) -> list[str]:
    return [each.name for each in seat.session.door.waiting]


def notices(seat: Seat) -> list[tuple[str, dict[str, object]]]:
    return [(code, params) for _, code, params in seat.session.notices]


class Halting:
    """A candidate that says so much and no more."""

    def __init__(self, connection: Connection, credentials: Credentials = CREDENTIALS) -> None:
        self.connection = connection
        self.stream = connection.open_stream()
        self.machine = Candidate(
            session_id=credentials.session_id,
            prs=credentials.prs,
            tag_key=credentials.tag_key,
            exporter=connection.export(
                JOIN_EXPORTER, credentials.session_id.encoded, EXPORTER_SIZE
            ),
            key=PAIR,
            node=NODE,
            name="laptop",
            email="",
            random_bytes=counting("halting"),
        )
        self.machine.start(now=0.0)

    def hello(self) -> None:
        """Send J1."""
        for out in self.machine.messages_to_send():
            self.stream.write_nowait(frame(out.kind, out.body))


# --- guessing -----------------------------------------------------------------


async def test_wrong_passwords_make_their_source_wait() -> None:
    """Five tries, then half a minute; the candidate is told how long."""
    async with door() as (seat, stranger):
        wrong = [await failure(await stranger.knock(seat), WRONG) for _ in range(FREE_TRIES)]
        throttled = await failure(await stranger.knock(seat), WRONG)

    assert [each.outcome for each in wrong] == [JoinOutcome.WRONG_PASSWORD] * FREE_TRIES
    assert [each.params["tries_left"] for each in wrong] == [4, 3, 2, 1, 0]
    assert wrong[-1].retry_after > 0
    assert throttled.outcome is JoinOutcome.THROTTLED
    assert throttled.retry_after > 0


async def test_the_right_password_forgives_the_tries_before() -> None:
    """A person who mistyped is no attacker."""
    async with door() as (seat, stranger):
        for _ in range(FREE_TRIES - 1):
            await failure(await stranger.knock(seat), WRONG)

        await join(await stranger.knock(seat))

        assert seat.attending.sponsoring.throttle.tries_left(SOURCE) == FREE_TRIES


async def test_a_candidate_that_vanishes_after_the_share_has_tried() -> None:
    """J4 lets it check one guess: going away quietly makes that no cheaper."""
    async with door() as (seat, stranger):
        sponsoring = seat.attending.sponsoring
        connection = await stranger.knock(seat)
        joining = asyncio.get_running_loop().create_task(join(connection, WRONG))
        await until(lambda: sponsoring.throttle.tries_left(SOURCE) < FREE_TRIES)
        connection.close()
        await asyncio.wait([joining])
        await until(lambda: sponsoring._running == 0)

        assert joining.exception() is not None
        assert sponsoring.throttle.tries_left(SOURCE) == FREE_TRIES - 1
        assert waiting(seat) == []


async def test_t10_whoever_vanishes_after_the_share_is_counted_before_everybody() -> None:
    """Four wrong passwords and one that was never proven: the sixth hears E05, all hear of it."""
    async with table_of(2) as table, strangers() as (stranger,):
        sponsor, other = table[0], table[1]
        for _ in range(FREE_TRIES - 1):
            await failure(await stranger.knock(sponsor), WRONG)
        connection = await stranger.knock(sponsor)
        joining = asyncio.get_running_loop().create_task(join(connection, WRONG))
        await until(lambda: sponsor.attending.sponsoring.throttle.total == FREE_TRIES)
        connection.close()
        await asyncio.wait([joining])
        assert joining.exception() is not None

        refused = await failure(await stranger.knock(sponsor))

        assert (refused.outcome, refused.retry_after) == (JoinOutcome.THROTTLED, 30)
        named = ("wrong_passwords", {"source": "127.0.0.1", "count": FREE_TRIES})
        await until(lambda: notices(other))
        assert notices(sponsor) == notices(other) == [named]
        assert other.session.door.wrong_tries == FREE_TRIES


async def test_t10_after_a_hundred_wrong_tries_a_member_must_allow_joining_again() -> None:
    """Whichever presses the button, and not before; everybody is told of both."""
    async with table_of(2) as table, strangers() as (stranger,):
        sponsor, other = table[0], table[1]
        throttle = sponsor.attending.sponsoring.throttle
        for number in range(TOTAL_TRIES - 1):
            throttle.charge(b"%d" % number, now=-WINDOW)
        throttle._recent.clear()
        throttle._paused_until = 0.0
        await failure(await stranger.knock(sponsor), WRONG)
        refused = await failure(await stranger.knock(sponsor))
        await until(lambda: notices(other))

        other.session.door.reopen(phase=Phase.PREPARATION)
        other.session.drain()
        await until(lambda: throttle.total == 0)
        admission = await join(await stranger.knock(sponsor))

        assert refused.outcome is JoinOutcome.PAUSED
        assert admission.membership.me == 2
        told = [
            ("joining_paused", {"member": "machine"}),
            ("joining_reopened", {"member": "machine"}),
        ]
        assert notices(sponsor) == notices(other) == told


# --- asking people ---------------------------------------------------------------------


def ask_before_join(table: Table) -> None:
    leader = table[0].session
    leader.lifecycle.change_settings(SessionSettings(ask_before_join=True))
    leader.drain()


@pytest.mark.parametrize("sponsor", [0, 1])
@pytest.mark.parametrize("decider", [0, 1])
async def test_where_people_are_asked_any_member_lets_in(sponsor: int, decider: int) -> None:
    """Whoever sponsors; nothing is proposed before the answer, and the digits are there."""
    async with table_of(2) as table, strangers() as (stranger,):
        ask_before_join(table)
        await until(lambda: table[1].session.lifecycle.settings.ask_before_join)
        seen: list[SponsorAuthenticated] = []
        connection = await stranger.knock(table[sponsor])
        joining = asyncio.get_running_loop().create_task(
            join_through(
                connection,
                CREDENTIALS,
                key=PAIR,
                node=NODE,
                name="laptop",
                email="",
                on_sponsor=seen.append,
            )
        )
        await until(lambda: seen and waiting(table[decider]) == ["laptop"])
        await turns()
        assert seen[0].needs_approval
        assert [each.digits for each in table[decider].session.door.waiting] == [seen[0].digits]
        assert table[sponsor].session._joins == {}

        door = table[decider].session.door
        door.decide("laptop", admit=True, phase=Phase.PREPARATION)
        table[decider].session.drain()

        assert (await joining).membership.me == 2
        await until(lambda: not waiting(table[decider]))
        assert ("join_asked", {"name": "laptop"}) in notices(table[decider])


@pytest.mark.parametrize("decider", [0, 1])
async def test_where_people_are_asked_any_member_may_decline(decider: int) -> None:
    """E12; everybody reads who did. A second answer changes nothing."""
    async with table_of(2) as table, strangers() as (stranger,):
        ask_before_join(table)
        joining = asyncio.get_running_loop().create_task(failure(await stranger.knock(table[0])))
        await until(lambda: waiting(table[decider]) == ["laptop"])

        for admit in (False, True):
            table[decider].session.door.decide("laptop", admit=admit, phase=Phase.PREPARATION)
        table[decider].session.drain()

        assert (await joining).outcome is JoinOutcome.DECLINED
        declined = ("join_declined", {"name": "laptop", "member": "machine"})
        await until(lambda: declined in notices(table[0]) and declined in notices(table[1]))
        assert table[0].session.membership.epoch == table[1].session.membership.epoch


async def test_who_comes_back_is_not_asked_about() -> None:
    """It was let in before; whether it may come back is no question of taste."""
    async with table_of(2) as table, strangers() as (stranger,):
        ask_before_join(table)

        with contextlib.suppress(JoinFailed):
            await join(await stranger.knock(table[0]), node=table[1].node)

        assert all(code != "join_asked" for code, _ in notices(table[0]))


async def test_who_waits_for_an_answer_when_the_inventory_starts_is_told_so() -> None:
    """At once, and not after two minutes."""
    async with table_of(2) as table, strangers() as (stranger,):
        ask_before_join(table)
        joining = asyncio.get_running_loop().create_task(failure(await stranger.knock(table[0])))
        await until(lambda: waiting(table[0]))
        for seat in table.seats.values():
            source = SourceInfo(path=b"/data", kind=Kind.DIRECTORY)
            seat.session.lifecycle.change_sources([source])
            seat.session.drain()
        leader = table[0].session
        await until(lambda: leader.lifecycle.members[1].sources)

        leader.lifecycle.start_inventory()
        leader.drain()

        assert (await joining).outcome is JoinOutcome.LOCKED


async def test_a_candidate_that_nobody_answers_is_kept_no_longer_than_two_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then it is told; nobody waits at the door any more."""
    monkeypatch.setattr(limits, "APPROVAL_TIMEOUT", 0.05)
    async with table_of(1) as table, strangers() as (stranger,):
        ask_before_join(table)

        failed = await failure(await stranger.knock(table[0]))
        await until(lambda: not waiting(table[0]))

        assert failed.outcome is JoinOutcome.TIMEOUT
        assert table[0].session.membership.epoch == 1


# --- room ------------------------------------------------------------------------


async def test_only_so_many_joins_run_at_a_time() -> None:
    """Whoever comes next is told to wait a little, and the others go on."""
    async with table_of(1) as table, strangers(MAX_JOINS + 1) as computers:
        seat = table[0]
        halting = []
        for computer in computers[:-1]:
            halting.append(Halting(await computer.knock(seat)))
            halting[-1].hello()
        await until(lambda: seat.attending.sponsoring._running == MAX_JOINS)

        refused = await failure(await computers[-1].knock(seat))
        halting[0].connection.close()
        await until(lambda: seat.attending.sponsoring._running < MAX_JOINS)
        admission = await join(await computers[-1].knock(seat))

    assert refused.outcome is JoinOutcome.THROTTLED
    assert refused.retry_after > 0
    assert admission.membership.me == 1


# --- the members' decision ----------------------------------------------------------


async def test_a_session_that_has_started_lets_nobody_in() -> None:
    """Who knew the password learns so; people at the sponsor read that somebody tried."""
    async with door() as (seat, stranger):
        seat.session.membership.locked = True

        failed = await failure(await stranger.knock(seat))

        assert failed.outcome is JoinOutcome.LOCKED
        assert [(code, params["name"]) for _, code, params in seat.session.notices] == [
            ("join_failed", "laptop")
        ]


async def test_what_may_not_be_said_to_a_candidate_becomes_what_may() -> None:
    """The committer has too much to do: the candidate tries another member, at once."""
    async with door(2) as (seat, stranger):
        joining = asyncio.get_running_loop().create_task(failure(await stranger.knock(seat)))
        seat.session.membership.propose_join = (  # type: ignore[method-assign]
            lambda proposal, *_, **__: None
        )
        await until(lambda: seat.session._joins)
        (decided,) = seat.session._joins.values()
        decided.set_exception(JoinFailed(JoinOutcome.THROTTLED))

        failed = await joining

        assert failed.outcome is JoinOutcome.MEMBERS_UNREACHABLE


async def test_people_see_who_waits_while_the_members_agree() -> None:
    """A member without a link holds the agreement up; then it goes through."""
    async with table_of(2, linked=False) as table, strangers() as (stranger,):
        seat = table[0]
        joining = asyncio.get_running_loop().create_task(join(await stranger.knock(seat)))
        await until(lambda: waiting(seat))
        names, changes = waiting(seat), seat.changes
        await table.link(0, 1)

        admission = await joining

        assert names == ["laptop"]
        assert waiting(seat) == []
        assert seat.changes > changes
        assert admission.membership.me == 2


async def test_the_members_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidate is not kept for ever; what the members decide later meets nobody."""
    monkeypatch.setattr(limits, "ADMISSION_TIMEOUT", 0.05)
    async with table_of(2, linked=False) as table, strangers() as (stranger,):
        seat = table[0]

        failed = await failure(await stranger.knock(seat))
        await until(lambda: not waiting(seat))
        await table.link(0, 1)
        await turns()

        assert failed.outcome is JoinOutcome.TIMEOUT
        assert table.linked(0, 1)


async def test_a_candidate_that_goes_away_before_the_decision_is_waited_for_no_more() -> None:
    """Nobody can tell it any more; the session goes on."""
    async with table_of(2, linked=False) as table, strangers() as (stranger,):
        seat = table[0]
        connection = await stranger.knock(seat)
        joining = asyncio.get_running_loop().create_task(join(connection))
        await until(lambda: waiting(seat))

        connection.close()
        await asyncio.wait([joining])
        await until(lambda: not waiting(seat))
        await table.link(0, 1)
        await turns()

        assert joining.exception() is not None
        assert seat.session._joins == {}
        assert table.linked(0, 1)


# --- candidates that break the rules --------------------------------------------------


async def test_a_frame_out_of_turn_ends_the_candidates_connection() -> None:
    """J5 before J3: no error is explained to who speaks another protocol."""
    async with door() as (seat, stranger):
        candidate = Halting(await stranger.knock(seat))
        candidate.hello()
        candidate.stream.write_nowait(frame(FrameType.J5, b"x" * 40))

        how = await asyncio.wait_for(candidate.connection.wait_closed(), 10)

        assert how.error_code == CloseCode.PROTOCOL
        assert seat.attending.sponsoring._running == 0


async def test_a_candidate_that_reads_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was told why; after a moment its connection goes."""
    monkeypatch.setattr("peer.daemon.sponsoring.LINGER", 0.01)
    async with door() as (seat, stranger):
        seat.attending.sponsoring.throttle.charge(SOURCE, now=0.0)
        for _ in range(FREE_TRIES):
            seat.attending.sponsoring.throttle.charge(SOURCE, now=seat.session.now)
        candidate = Halting(await stranger.knock(seat))
        candidate.hello()
        loop = asyncio.get_running_loop()
        for udp in stranger.endpoint._sockets:
            loop.remove_reader(udp)

        await until(
            lambda: (
                not any(
                    each.is_authenticated or not each.is_closed
                    for each in seat.endpoint.connections
                    if not each.is_client
                )
            )
        )
