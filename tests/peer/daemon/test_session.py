import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from peer.daemon.session import MAX_NOTICES, Session, contained
from peer.session.lifecycle import Lifecycle
from peer.session.phases import Phase
from peer.session.reports import (
    ForkSeen,
    Frozen,
    LinkStale,
    MemberBack,
    MemberLost,
    MembershipEvent,
    Thawed,
    WasRemoved,
)
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Commit
from protocol.errors import (
    CloseCode,
    JoinFailed,
    JoinOutcome,
    LinkClosed,
    RemoteProtocolError,
)
from protocol.messages import session as wire
from protocol.messages.base import Message
from protocol.messages.inventory import HashingEnded, Kind
from protocol.messages.transfer import FetchCancelled
from tests.harness.nodes import an_offer
from tests.harness.seats import NotedWork, Owner, admitted, owning, table_of
from tests.harness.waiting import turns, until

KEY = Secret(b"k" * 32)
CANDIDATE = NodeIdentity(Secret(b"c" * 32))
SOURCE = wire.SourceInfo(path=b"/photos", kind=Kind.DIRECTORY)


class NotedLink:
    """A link that notes what is sent over it and brings what the test says."""

    def __init__(self, peer: int) -> None:
        self.peer = peer
        self.sent: list[Message] = []
        self.epochs: list[int] = []
        self.closed: int | None = None
        self.finished = False
        self.bring: Callable[[int, Message], None] = lambda peer, message: None
        self.bring_stream: Callable[[int, Any], None] = lambda peer, stream: None
        self.fault: Exception | None = None
        self._over = asyncio.Event()

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def switch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    async def run(
        self, on_message: Callable[[int, Message], None], on_stream: Callable[[int, Any], None]
    ) -> LinkClosed:
        self.bring, self.bring_stream = on_message, on_stream
        await self._over.wait()
        if self.fault is not None:
            raise self.fault
        return LinkClosed(self.closed or CloseCode.NORMAL)

    async def finish(self) -> None:
        self.finished = True

    def close(self, code: int = CloseCode.NORMAL) -> None:
        self.closed = code
        self._over.set()

    def kinds(self) -> set[type]:
        return {type(message) for message in self.sent}


class NotedStream:
    """A data stream that notes how it was stopped."""

    def __init__(self) -> None:
        self.stopped: int | None = None

    def stop(self, code: int = CloseCode.NORMAL) -> None:
        self.stopped = code


class Desk:
    """One member's session and what it asked its owner for."""

    def __init__(self, owner: Owner, *, me: int = 0, members: int = 2) -> None:
        identity, place = admitted(members)[me]
        self.offers: list[tuple[wire.PathOffered, int]] = []
        self.reached = 0
        self.changes = 0
        self.tasks: list[asyncio.Task[None]] = []
        self._owner = owner
        self.session = Session(
            place,
            Lifecycle(place.me, identity=identity),
            spawn=self._spawn,
            changed=self._note_change,
            on_path_offer=lambda message, via: self.offers.append((message, via)),
            reach_missing=self._note_reaching,
        )
        self.work = NotedWork()
        self.session.work = self.work

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._owner.spawn(work)
        self.tasks.append(task)
        return task

    def _note_change(self) -> None:
        self.changes += 1

    def _note_reaching(self) -> None:
        self.reached += 1

    async def link(self, peer: int) -> NotedLink:
        link = NotedLink(peer)
        self.session.add_link(link, KEY)  # type: ignore[arg-type]
        await turns()
        return link

    def offer_sources(self, *peers: int) -> None:
        """Let this member and its peers have a source each."""
        self.session.lifecycle.change_sources([SOURCE])
        for peer in peers:
            message = wire.SourcesChanged(revision=1, sources=[SOURCE])
            self.session.lifecycle.receive_message(peer, message, now=self.session.now)
        self.session.drain()


@contextlib.asynccontextmanager
async def desk(**options: int) -> AsyncIterator[Desk]:
    async with owning() as owner:
        made = Desk(owner, **options)
        try:
            yield made
        finally:
            await made.session.close()


# --- links ------------------------------------------------------------------


async def test_a_new_link_is_told_what_this_member_owns_in_the_epoch_in_force() -> None:
    """The cores repeat what was said while there was no link; the work hears of it."""
    async with desk() as one:
        link = await one.link(1)

        assert one.session.links == {1: link}
        assert link.epochs == [one.session.membership.epoch]
        assert {wire.SourcesChanged, wire.ActivityChanged, wire.SettingsChanged} <= link.kinds()
        assert one.work.named("link_up") == [1]
        assert one.changes > 0


async def test_a_link_that_ends_is_reached_for_again() -> None:
    """Only a session that has not ended does so."""
    async with desk() as one:
        link = await one.link(1)
        reached = one.reached

        link.close(CloseCode.TIMEOUT)
        await until(lambda: not one.session.links)

        assert one.work.named("link_down") == [1]
        assert one.reached == reached + 1


async def test_a_newer_link_replaces_the_one_before() -> None:
    """Its work hears the end before the beginning; the end of the old one changes nothing more."""
    async with desk() as one:
        old = await one.link(1)
        new = await one.link(1)
        await turns()

        assert old.closed == CloseCode.REPLACED
        assert one.session.links == {1: new}
        assert [name for name, _ in one.work.noted if name.startswith("link")] == [
            "link_up",
            "link_down",
            "link_up",
        ]


async def test_what_a_replaced_link_still_holds_is_dropped() -> None:
    """Everything is said again over the new one: mixed, the two would contradict each other."""
    async with desk() as one:
        old = await one.link(1)
        await one.link(1)
        stream = NotedStream()

        old.bring(1, HashingEnded(run=1))
        old.bring_stream(1, stream)

        assert one.work.named("inventory") == []
        assert one.work.named("stream") == []


async def test_a_fault_while_a_link_runs_does_not_leave_it_standing() -> None:
    """A link nobody runs any more would look like a member that never answers."""
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.suppress(ExceptionGroup):
            async with desk() as one:
                link = await one.link(1)
                link.fault = ZeroDivisionError()
                link.close()
                await until(lambda: not one.session.links)
        await stack.aclose()

    assert one.session.links == {}
    assert one.work.named("link_down") == [1]


# --- messages ----------------------------------------------------------------


async def test_messages_go_to_one_member_or_to_all_that_are_linked() -> None:
    """Who has no link gets nothing, and nobody minds."""
    async with desk(members=3) as one:
        first, second = await one.link(1), await one.link(2)
        first.sent.clear()
        second.sent.clear()

        one.session.send(None, HashingEnded(run=1))
        one.session.send(2, HashingEnded(run=2))
        one.session.send(4, HashingEnded(run=3))

    assert first.sent == [HashingEnded(run=1)]
    assert second.sent == [HashingEnded(run=1), HashingEnded(run=2)]


async def test_the_work_gets_what_is_the_works() -> None:
    """Inventories, transfers and streams; before there is work, nothing of them is kept."""
    inventory, transfer = HashingEnded(run=1), FetchCancelled(transfer=bytes(16))
    async with desk() as one:
        link = await one.link(1)
        one.session.work = None
        early = NotedStream()
        for message in (inventory, transfer):
            link.bring(1, message)
        link.bring_stream(1, early)
        one.session.work = one.work

        link.bring(1, inventory)
        link.bring(1, transfer)
        link.bring_stream(1, NotedStream())

    assert early.stopped == CloseCode.REFUSED
    assert one.work.named("inventory") == [(1, inventory)]
    assert one.work.named("transfer") == [(1, transfer)]
    assert one.work.named("stream") == [1]


async def test_an_act_without_the_right_changes_nothing_and_is_shown() -> None:
    """The link stays: who lost a race is no attacker."""
    async with desk() as one:
        link = await one.link(1)
        order = wire.Order(epoch=one.session.membership.epoch, leader=1, sequence=1)

        link.bring(1, wire.Restarted(order=order))

        assert one.session.links == {1: link}
        assert [(code, params["act"]) for _, code, params in one.session.notices] == [
            ("act_refused", "Restarted")
        ]


async def test_what_cannot_be_true_is_the_links_to_punish() -> None:
    """The link hears the error, after everything else that was due has been handed out."""
    async with desk() as one:
        link = await one.link(1)

        with pytest.raises(RemoteProtocolError):
            link.bring(1, wire.CommitOffered(commit=b"x" * 100, wrap=b"y" * 48))


async def test_an_offer_of_a_path_is_taken_or_handed_on() -> None:
    """Between members without a link any common member is the mediator."""
    async with desk(members=3) as one:
        first, second = await one.link(1), await one.link(2)
        second.sent.clear()

        def offered(destination: int) -> wire.PathOffered:
            return wire.PathOffered(
                origin=1, destination=destination, offer=an_offer(), wanted=True
            )

        for destination in (2, 0, 3):
            first.bring(1, offered(destination))

    assert second.sent == [offered(2)]
    assert one.offers == [(offered(0), 1)]


async def test_notices_are_numbered_and_bounded() -> None:
    """A member that provokes them for ever fills nobody's memory; the numbers go on."""
    async with desk() as one:
        for number in range(MAX_NOTICES + 7):
            one.session.notice("brake", member=str(number))

    numbers = [number for number, _, _ in one.session.notices]
    assert numbers == list(range(8, MAX_NOTICES + 8))


# --- membership ----------------------------------------------------------------


async def test_a_lone_member_admits_a_candidate_at_once() -> None:
    """The commit is in force, the owner hears of the epoch, missing links are reached for."""
    async with desk(members=1) as one:
        epochs: list[Commit] = []
        one.session.on_epoch = epochs.append
        before = one.reached

        commit = await one.session.propose(b"p" * 16, CANDIDATE.node_key, "laptop", "")

        assert commit.roster.find(CANDIDATE.node_key) is not None
        assert epochs == [commit]
        assert one.session.membership.epoch == commit.epoch
        assert sorted(one.session.lifecycle.members) == [0, 1]
        assert one.reached > before


async def test_a_candidate_that_is_not_admitted_hears_why() -> None:
    """The inventory has begun."""
    async with desk(members=1) as one:
        one.session.membership.locked = True

        with pytest.raises(JoinFailed) as failed:
            await one.session.propose(b"q" * 16, CANDIDATE.node_key, "laptop", "")

    assert failed.value.outcome is JoinOutcome.LOCKED
    assert one.session._joins == {}


async def test_time_is_told_to_the_membership() -> None:
    """A member that nobody can reach holds up a join only so long."""
    async with desk() as one:
        session = one.session
        proposing = asyncio.get_running_loop().create_task(
            session.propose(b"p" * 16, CANDIDATE.node_key, "laptop", "")
        )
        await until(lambda: session._timer is not None)
        assert session._timer is not None
        due, armed = session.membership.get_timer(), session._timer.when()
        session._timer.cancel()
        session._expire()
        waiting = not proposing.done()
        assert due is not None
        session.membership.handle_timer(now=due)
        session.drain()

        with pytest.raises(JoinFailed) as failed:
            await asyncio.wait_for(proposing, 10)

    assert armed == due
    assert waiting
    assert failed.value.outcome is JoinOutcome.MEMBERS_UNREACHABLE


async def test_a_cancelled_proposal_is_forgotten() -> None:
    """Its candidate went away; the answer, if one comes, meets nobody."""
    async with desk(members=1) as one:
        waiting = asyncio.get_running_loop().create_task(
            one.session.propose(b"p" * 16, CANDIDATE.node_key, "laptop", "")
        )
        waiting.cancel()
        await asyncio.wait([waiting])
        await turns()

        assert one.session._joins == {}


async def test_members_change_their_epoch_on_every_link_that_is_in_it() -> None:
    """The sealing of each link follows the commit; so does the lifecycle's roster."""
    async with table_of(2) as table:
        before = table[0].session.membership.epoch
        commit = await table[0].session.propose(b"p" * 16, CANDIDATE.node_key, "laptop", "")
        await until(lambda: table[1].session.membership.epoch == commit.epoch)

        assert commit.epoch == before + 1
        assert table[0].session.links[1].epoch == commit.epoch
        assert table[1].session.links[0].epoch == commit.epoch
        assert sorted(table[1].session.lifecycle.members) == [0, 1, 2]


async def test_who_leaves_says_so_and_closes_its_links() -> None:
    """The others read a notice, wait for nothing of it, and go on in a new epoch."""
    async with table_of(3) as table:
        epoch = table[0].session.membership.epoch

        await table[2].session.leave()
        await until(lambda: all(table[index].session.membership.epoch > epoch for index in (0, 1)))

        assert table[2].session.ended.is_set()
        assert table[2].work.named("drop") == [None]
        for index in (0, 1):
            session = table[index].session
            assert session.membership.roster.present == (0, 1)
            assert [code for _, code, _ in session.notices] == ["member_left"]
            assert table[index].work.named("member_left") == [2]
            await until(lambda session=session: 2 not in session.links)


# --- what happens to the session ---------------------------------------------


async def test_the_work_does_what_the_lifecycle_says() -> None:
    """One inventory, cancelled, taken again; decisions; back to Preparation."""
    async with desk() as one:
        await one.link(1)
        one.offer_sources(1)
        lifecycle, session = one.session.lifecycle, one.session

        lifecycle.start_inventory()
        session.drain()
        locked = session.membership.locked
        lifecycle.cancel_inventory()
        session.drain()
        unlocked = session.membership.locked
        lifecycle.start_inventory()
        session.drain()
        lifecycle.inventories_in(now=session.now)
        session.drain()
        lifecycle.change_decisions(b"decided")
        session.drain()
        lifecycle.restart()
        session.drain()

    told = [entry for entry in one.work.noted if not entry[0].startswith("link")]
    assert told == [
        ("start_inventory", 1),
        ("drop", None),
        ("start_inventory", 2),
        ("decisions", b"decided"),
        ("drop", None),
    ]
    assert locked
    assert not unlocked


async def test_a_synchronisation_runs_through_the_work_of_both() -> None:
    """Ordered, accepted, begun, ended at both, proved at both."""
    async with table_of(2) as table:
        for seat in table.seats.values():
            seat.session.lifecycle.change_sources([SOURCE])
            seat.session.drain()
        await until(lambda: table[0].session.lifecycle.members[1].sources)
        table[0].session.lifecycle.start_inventory()
        table[0].session.drain()
        await until(lambda: table[1].work.named("start_inventory") == [1])
        for seat in table.seats.values():
            seat.session.lifecycle.inventories_in(now=seat.session.now)
            seat.session.drain()
        sync = b"s" * 16
        table[0].session.lifecycle.order_sync(
            sync, reference_time_ns=1, steps=3, steps_digest=b"d" * 32
        )
        table[0].session.drain()
        await until(lambda: table[1].work.named("ordered"))
        table[1].session.lifecycle.accept_sync(sync, b"d" * 32)
        table[1].session.drain()
        await until(lambda: all(seat.work.named("begun") for seat in table.seats.values()))
        for seat in table.seats.values():
            seat.session.lifecycle.report(wire.Activity.SYNC_DONE, wire.Progress())
            seat.session.drain()
        await until(lambda: all(seat.work.named("steps_ended") for seat in table.seats.values()))

        for seat in table.seats.values():
            assert seat.session.lifecycle.phase is Phase.FINISHED
            assert seat.work.named("begun") == [sync]


async def test_a_stopped_synchronisation_is_stopped_in_the_work() -> None:
    """With the code and who said so."""
    async with desk() as one:
        await one.link(1)
        one.offer_sources(1)
        session, lifecycle = one.session, one.session.lifecycle
        lifecycle.start_inventory()
        lifecycle.inventories_in(now=session.now)
        lifecycle.order_sync(b"s" * 16, reference_time_ns=1, steps=3, steps_digest=b"d" * 32)
        session.drain()

        lifecycle.abort_sync()
        session.drain()

        (stopped,) = one.work.named("stopped")
        assert (stopped.by, stopped.sync) == (0, b"s" * 16)  # type: ignore[attr-defined]


async def test_what_happens_before_there_is_work_is_no_fault() -> None:
    """It is built a moment after the session."""
    async with desk() as one:
        one.session.work = None
        link = await one.link(1)
        one.offer_sources(1)

        one.session.lifecycle.start_inventory()
        one.session.drain()
        link.close()
        await until(lambda: not one.session.links)

        assert one.session.lifecycle.phase is Phase.INVENTORY


# --- the end --------------------------------------------------------------------


async def test_an_ended_session_waits_for_nothing() -> None:
    """Its links are closed after their last word; no timer is left."""
    async with desk() as one:
        link = await one.link(1)
        one.session.membership.propose_join(
            b"p" * 16, CANDIDATE.node_key, "laptop", "", now=one.session.now
        )
        one.session.drain()
        reached = one.reached

        await one.session.leave()
        await until(lambda: not one.session.links)
        one.session.drain()

        assert link.finished
        assert link.closed == CloseCode.LEAVING
        assert wire.Leaving in link.kinds()
        assert one.reached == reached
        assert one.session._timer is None or one.session._timer.cancelled()


async def test_a_task_ends_by_itself_with_what_it_raises_on_purpose() -> None:
    """Anything else is a defect and goes on to whoever owns the task."""

    async def raising(error: Exception) -> None:
        raise error

    await contained(raising(LinkClosed()), "test")
    await contained(raising(RemoteProtocolError("x")), "test")
    with pytest.raises(ZeroDivisionError):
        await contained(raising(ZeroDivisionError()), "test")


async def test_a_removed_member_learns_it_and_the_others_get_a_new_password() -> None:
    """The leader puts it out: its session ends, and what it knows opens nothing any more."""
    async with table_of(3) as table:
        ended: list[object] = []
        passwords: list[object] = []
        table[2].session.on_end = ended.append
        table[1].session.on_password = passwords.append
        leader = table[0].session

        leader.membership.remove(2, now=leader.now)
        leader.drain()
        await until(lambda: bool(ended) and bool(passwords))

        assert isinstance(ended[0], WasRemoved)
        assert leader.membership.roster.indices == (0, 1)
        assert ("password_changed", {}) in [
            (code, params) for _, code, params in table[1].session.notices
        ]


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (MemberLost(0), "member_lost"),
        (MemberBack(0), "member_back"),
        (Frozen(), "frozen"),
        (Thawed(), "thawed"),
        (ForkSeen(3), "fork"),
    ],
)
async def test_people_read_who_can_be_reached(event: MembershipEvent, code: str) -> None:
    """What the membership finds out about the others has a text."""
    async with desk() as one:
        one.session._membership_event(event)

        assert [noticed for _, noticed, _ in one.session.notices] == [code]


async def test_the_link_to_a_process_that_is_gone_is_closed() -> None:
    """Its member came back with a new one; without a link there is nothing to close."""
    async with desk() as one:
        link = await one.link(1)

        one.session._membership_event(LinkStale(1))
        one.session._membership_event(LinkStale(4))

        assert link.closed == CloseCode.REPLACED


async def test_going_on_without_a_member_waits_for_nothing_of_it() -> None:
    """The leader's word reaches everybody's work."""
    async with table_of(3) as table:
        leader = table[0].session
        leader.lifecycle.change_sources([SOURCE])
        leader.drain()
        table[1].session.lifecycle.change_sources([SOURCE])
        table[1].session.drain()
        await until(lambda: bool(leader.lifecycle.members[1].sources))
        leader.lifecycle.start_inventory()
        leader.drain()
        await until(lambda: table[1].session.lifecycle.phase is Phase.INVENTORY)

        leader.lifecycle.continue_without(2)
        leader.drain()
        await until(lambda: table[1].work.named("member_left") == [2])

        assert table[0].work.named("member_left") == [2]
        assert [code for _, code, _ in leader.notices] == ["without_member"]
