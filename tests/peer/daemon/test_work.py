import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import peer.daemon.work
from peer.daemon.held_sources import HeldSources
from peer.daemon.work import MAX_EARLY, SessionWork
from peer.fs.confine import Root
from peer.inventory.entries import State
from peer.inventory.stamp import Stamp
from peer.session.phases import Phase
from protocol.errors import CloseCode, RemoteProtocolError
from protocol.messages.inventory import (
    HashingEnded,
    IdentificationEnded,
    InventoryBegun,
    RelPath,
)
from protocol.messages.session import Activity
from protocol.messages.transfer import StepFailure, StepsFailed
from tests.harness.peers import fill, held
from tests.harness.seats import Seat, Table, table_of
from tests.harness.waiting import turns, until


class NoCache:
    """Knows no digest."""

    def get_many(self, root: Root, asked: Sequence[tuple[RelPath, Stamp]]) -> list[bytes | None]:
        del root
        return [None] * len(asked)

    def put_many(
        self, root: Root, found: Sequence[tuple[RelPath, Stamp, bytes]], *, read_at_ns: int
    ) -> None:
        """Forget it."""


class Place:
    """A seat with real work and a real folder."""

    def __init__(self, seat: Seat, base: Path, files: Mapping[str, str]) -> None:
        self.seat = seat
        self.folder = fill(base / f"data-{seat.me}", files)
        (base / f"state-{seat.me}").mkdir()
        self.sources = HeldSources(base / f"state-{seat.me}")
        self.sources.add(self.folder, create=False)
        self.changes = 0
        self.work = SessionWork(
            seat.session, self.sources, NoCache(), spawn=seat.owner.spawn, changed=self._note
        )
        seat.session.work = self.work
        seat.session.lifecycle.change_sources(self.sources.infos())
        seat.session.drain()

    def _note(self) -> None:
        self.changes += 1

    def do(self, act: Callable[[Any], object]) -> None:
        """Let the person at this computer do something."""
        act(self.seat.session.lifecycle)
        self.seat.session.drain()

    @property
    def phase(self) -> Phase:
        return self.seat.session.lifecycle.phase

    async def close(self) -> None:
        await self.work.close()
        self.sources.close()


class Office:
    """Places at one table; the first leads."""

    def __init__(self, table: Table, places: list[Place]) -> None:
        self.table = table
        self.places = places

    def __getitem__(self, index: int) -> Place:
        return self.places[index]

    def all(self, condition: Callable[[Place], object]) -> bool:
        return all(condition(place) for place in self.places)

    async def compare(self) -> None:
        self[0].do(lambda lifecycle: lifecycle.start_inventory())
        await until(lambda: self.all(lambda place: place.phase is Phase.COMPARISON))

    async def decide(self, preset: str) -> None:
        deciding = self[0].work.deciding
        assert deciding is not None
        data = deciding.with_rules(preset, [])
        self[0].do(lambda lifecycle: lifecycle.change_decisions(data))
        await until(
            lambda: self.all(
                lambda place: (
                    place.work.deciding is not None and place.work.deciding.decided is not None
                )
            )
        )

    def order(self, sync: bytes = b"s" * 16, **changes: object) -> None:
        """Order what the first place has planned, as *changes* say otherwise."""
        work = self[0].work
        assert work.deciding is not None
        decided = work.deciding.decided
        assert decided is not None
        work.prepare(sync, decided)
        told: dict[str, object] = {
            "reference_time_ns": decided.proposed.reference_time_ns,
            "steps": len(decided.plan.steps),
            "steps_digest": decided.plan.digest,
            **changes,
        }
        self[0].do(lambda lifecycle: lifecycle.order_sync(sync, **told))


@contextlib.asynccontextmanager
async def office(base: Path, *files: Mapping[str, str]) -> AsyncIterator[Office]:
    async with table_of(len(files)) as table:
        places = [Place(table[index], base, each) for index, each in enumerate(files)]
        made = Office(table, places)
        await until(
            lambda: made.all(
                lambda place: all(
                    record.sources for record in place.seat.session.lifecycle.members.values()
                )
            )
        )
        try:
            yield made
        finally:
            for place in places:
                await place.close()


FIRST, SECOND = {"same": "same", "a": "only A"}, {"same": "same", "b/c": "only B"}


# --- from the inventory to the proof ------------------------------------------------


async def test_members_compare_decide_synchronise_and_prove(tmp_path: Path) -> None:
    """Each does its part; all see the same plan, the same end and the same proof."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        digests = {place.work.deciding.decided.plan.digest for place in two.places}  # type: ignore[union-attr]
        two.order()
        await until(lambda: two.all(lambda place: place.work.proof is not None))

        assert len(digests) == 1
        assert held(two[0].folder) == held(two[1].folder) == {**FIRST, **SECOND}
        for place in two.places:
            sync, proof = place.work.sync_view(), place.work.proof_view()
            assert place.phase is Phase.FINISHED
            assert sync is not None
            assert proof is not None
            assert (sync["state"], sync["failed"], sync["steps"]) == ("done", 0, sync["done"])
            assert (proof["state"], proof["deviations"]) == ("equal", [])


async def test_nothing_is_shown_before_it_is_there(tmp_path: Path) -> None:
    """No comparison, no synchronisation, no proof."""
    async with office(tmp_path, FIRST) as one:
        work = one[0].work

        assert work.deciding is None
        assert work.sync_view() is None
        assert work.proof_view() is None
        assert await asyncio.wait_for(work.settled(), 1) is None


async def test_a_failed_step_is_shown_where_it_failed(tmp_path: Path) -> None:
    """With path, letter and reason, at all members; the end is one with errors."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        (two[0].folder / "b").write_text("in the way by now")
        two.order()
        await until(lambda: two.all(lambda place: place.work.proof is not None))

        for place in two.places:
            view = place.work.sync_view()
            assert view is not None
            assert view["state"] == "done_with_errors"
            failures = view["failures"]
            assert isinstance(failures, list)
            assert {"A"} == {failure["letter"] for failure in failures}
            assert "b/c" in {failure["path"] for failure in failures}
            proof = place.work.proof_view()
            assert proof is not None
        assert held(two[1].folder)["a"] == "only A"


async def test_a_proof_can_be_asked_for_again(tmp_path: Path) -> None:
    """What somebody changed since then deviates."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        two.order()
        await until(lambda: two.all(lambda place: place.work.proof is not None))
        (two[1].folder / "a").write_text("changed")
        work = two[0].work
        assert work.sync is not None

        proving = asyncio.get_running_loop().create_task(work.prove(work.sync, again=True))
        await turns()
        running = work.proof_view()
        outcome = await asyncio.wait_for(proving, 15)

        assert running is not None
        assert running["state"] == "running"
        assert not outcome.equal
        view = work.proof_view()
        assert view is not None
        assert view["state"] == "deviates"
        assert [each["path"] for each in view["deviations"]] == ["a"]  # type: ignore[attr-defined]


# --- starts that are refused -----------------------------------------------------------


async def test_a_members_own_brake_stops_the_start(tmp_path: Path) -> None:
    """Its person must say so first; nothing was touched anywhere."""
    many = {f"{number}.txt": str(number) for number in range(30)}
    async with office(tmp_path, {"kept": "1"}, many) as two:
        await two.compare()
        await two.decide("mirror A")
        two.order()
        await until(lambda: two[0].work.stopped is not None)
        stopped = two[0].work.stopped

        assert stopped is not None
        assert (stopped.code, stopped.by) == ("plan.brake", 1)
        assert [code for _, code, _ in two[1].seat.session.notices] == ["brake"]
        assert [code for _, code, _ in two[0].seat.session.notices] == ["sync_stopped"]
        assert two.all(lambda place: place.phase is Phase.COMPARISON)
        assert two.all(lambda place: place.work.sync is None)
        assert held(two[1].folder) == many


async def test_a_lifted_brake_lets_the_plan_pass(tmp_path: Path) -> None:
    """For as many deletions as were named."""
    many = {f"{number}.txt": str(number) for number in range(30)}
    async with office(tmp_path, {"kept": "1"}, many) as two:
        await two.compare()
        await two.decide("mirror A")
        two[1].work.allow_deletes = 30
        two.order()
        await until(lambda: two.all(lambda place: place.work.proof is not None))

        assert held(two[1].folder) == {"kept": "1"}


@pytest.mark.parametrize(
    "change", [{"steps": 1}, {"reference_time_ns": 1}, {"steps_digest": b"x" * 32}]
)
async def test_a_plan_that_is_not_this_members_is_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Whatever of it differs: nobody carries out what it did not compute itself."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        two.order(**change)
        await until(lambda: two[0].work.stopped is not None)
        stopped = two[0].work.stopped

        assert stopped is not None
        assert stopped.code == "plan.differs"
        assert held(two[0].folder) == FIRST


async def test_an_order_for_decisions_that_are_not_here_is_refused(tmp_path: Path) -> None:
    """They could not be used here: the plan would be another."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        two[1].work.deciding.decided = None  # type: ignore[union-attr]

        two.order()
        await until(lambda: two[0].work.stopped is not None)
        stopped = two[0].work.stopped

        assert stopped is not None
        assert stopped.code == "plan.changed"


async def test_decisions_that_cannot_be_used_leave_those_before(tmp_path: Path) -> None:
    """A leader of another version, or a hostile one; who waits for the plan goes on."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        work = two[1].work
        assert work.deciding is not None
        before = work.deciding.decided

        work.decisions_replaced(b"nonsense")
        await asyncio.wait_for(work.settled(), 10)

        assert work.deciding.decided is before


async def test_only_the_newest_decisions_count(tmp_path: Path) -> None:
    """A plan that took longer to compute does not replace a later one."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        work = two[0].work
        assert work.deciding is not None
        for preset in ("mirror A", "mirror B", "fill-gaps", "combine"):
            work.decisions_replaced(work.deciding.with_rules(preset, []))

        await asyncio.wait_for(work.settled(), 10)
        await work.idle()

        assert work.deciding.rules()["preset"] == "combine"


async def test_decisions_without_a_comparison_are_dropped(tmp_path: Path) -> None:
    """The run they were about is gone."""
    async with office(tmp_path, FIRST) as one:
        one[0].work.decisions_replaced(b"x")

        await asyncio.wait_for(one[0].work.settled(), 10)

        assert one[0].work.deciding is None


# --- stops ---------------------------------------------------------------------------------


async def test_an_aborted_synchronisation_ends_as_aborted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All stop cleanly, wherever they were; a notice says who did it."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        begun = SessionWork.sync_begun

        def abort_at_once(work: SessionWork, sync: bytes) -> None:
            begun(work, sync)
            if work is two[1].work:
                asyncio.get_running_loop().call_soon(
                    two[1].do, lambda lifecycle: lifecycle.abort_sync()
                )

        monkeypatch.setattr(SessionWork, "sync_begun", abort_at_once)
        two.order()
        await until(lambda: two.all(lambda place: place.phase is Phase.FINISHED))

        for place in two.places:
            view = place.work.sync_view()
            assert view is not None
            assert view["state"] == "aborted"
            assert "sync_stopped" in [code for _, code, _ in place.seat.session.notices]


async def test_a_cancelled_inventory_is_forgotten_everywhere(tmp_path: Path) -> None:
    """What still comes of it is dropped, however much it is; the next one begins anew."""
    async with office(tmp_path, FIRST, SECOND) as two:
        two[0].do(lambda lifecycle: lifecycle.start_inventory())
        two[0].do(lambda lifecycle: lifecycle.cancel_inventory())
        for _ in range(MAX_EARLY * 2):
            two[0].work.receive_inventory(1, HashingEnded(run=1))
        await until(lambda: two.all(lambda place: place.phase is Phase.PREPARATION))
        await two.compare()

        assert two.all(lambda place: place.work.deciding is not None)
        assert two[0].work._early == []


async def test_a_restart_forgets_everything(tmp_path: Path) -> None:
    """Comparison, plan, synchronisation and proof; the folders stay as they are."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        two.order()
        await until(lambda: two.all(lambda place: place.work.proof is not None))

        two[0].do(lambda lifecycle: lifecycle.restart())
        await until(lambda: two.all(lambda place: place.phase is Phase.PREPARATION))

        for place in two.places:
            work = place.work
            assert (work.deciding, work.sync, work.proof) == (None, None, None)
            await asyncio.wait_for(work.idle(), 10)
        assert held(two[0].folder) == {**FIRST, **SECOND}


async def test_closing_waits_until_the_disk_is_let_alone(tmp_path: Path) -> None:
    """In the middle of a proof that others never answer, too."""
    async with office(tmp_path, FIRST, SECOND) as two:
        await two.compare()
        await two.decide("combine")
        two[1].work.steps_ended = lambda: None  # type: ignore[method-assign]
        two.order()
        await until(lambda: two[0].work.proving)

        await asyncio.wait_for(two[0].work.close(), 10)

        assert two[0].work._tasks == set()


# --- what arrives at the wrong moment --------------------------------------------------------


async def test_an_inventory_may_be_faster_than_the_leaders_word(tmp_path: Path) -> None:
    """It waits for the start; two members' messages do not share one bound."""
    async with office(tmp_path, FIRST, SECOND) as two:
        work = two[1].work
        work.receive_inventory(
            0, InventoryBegun(run=1, case_insensitive=False, date_resolution_ns=1)
        )
        work.receive_inventory(0, IdentificationEnded(run=1, entries=0, skips=0))
        waiting = len(work._early)

        work.start_inventory(1)

        assert waiting == 2
        assert work._taking is not None
        assert work._taking.inventories[0].state is State.IDENTIFIED
        assert work._early == []


async def test_an_inventory_nobody_started_is_bounded(tmp_path: Path) -> None:
    """Who sends one without end is let go; the others' still wait."""
    async with office(tmp_path, FIRST) as one:
        work = one[0].work
        for _ in range(MAX_EARLY):
            work.receive_inventory(1, HashingEnded(run=9))

        with pytest.raises(RemoteProtocolError):
            work.receive_inventory(1, HashingEnded(run=9))
        work.receive_inventory(2, HashingEnded(run=9))
        work.link_down(1)

        assert [member for member, _ in work._early] == [2]


async def test_whoever_spoke_too_early_and_wrongly_answers_for_it(tmp_path: Path) -> None:
    """Not the leader, whose word makes it be looked at."""
    async with office(tmp_path, FIRST, SECOND, {}) as three:
        work = three[1].work
        liar = three.table[1].session.links[2].connection
        work.receive_inventory(2, HashingEnded(run=1))
        work.receive_inventory(7, HashingEnded(run=1))

        three[0].do(lambda lifecycle: lifecycle.start_inventory())
        how = await asyncio.wait_for(liar.wait_closed(), 10)

        assert how.error_code == RemoteProtocolError.close_code
        assert 0 in three.table[1].session.links


async def test_data_and_words_of_no_synchronisation_are_dropped(tmp_path: Path) -> None:
    """It has been forgotten here before the other side heard of it."""
    async with office(tmp_path, FIRST, SECOND) as two:
        stream = await two.table[1].session.links[0].open_data_stream()
        stream.write_nowait(b"data")
        failed = StepsFailed(sync=b"s" * 16, failures=[StepFailure(step=1, code="x")])
        two[0].work.receive_transfer(1, failed)
        await until(lambda: stream._refused is not None)

        assert two[0].work.sync_view() is None
        assert stream._refused is not None
        assert stream._refused.error_code == CloseCode.NORMAL


# --- members that go -----------------------------------------------------------------------------


async def test_a_member_that_stays_away_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After ten seconds its entries count as unknown; earlier if it comes back in time."""
    monkeypatch.setattr(peer.daemon.work, "UNREACHABLE_AFTER", 0.05)
    async with office(tmp_path, FIRST, SECOND) as two:
        gone = two[1]
        gone.work.start_inventory = lambda run: None  # type: ignore[method-assign]
        two[0].do(lambda lifecycle: lifecycle.start_inventory())
        two.table[1].attending._reaching._under_way |= {0}
        two.table[1].session.links[0].close()
        await until(lambda: two[0].phase is Phase.COMPARISON)

        assert two[0].work.deciding is not None
        assert two[0].work._taking is not None
        assert two[0].work._taking.inventories[1].failure == "member.unreachable"


async def test_a_member_that_came_back_in_time_is_heard_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link was lost in the middle of the inventory; both say everything again."""
    many = {f"{number}.txt": str(number) for number in range(50)}
    async with office(tmp_path, many, many) as two:
        for place in two.places:
            monkeypatch.setattr(place.work, "drained", paused(place.seat))
        two[0].do(lambda lifecycle: lifecycle.start_inventory())
        await until(lambda: two[0].work._taking is not None)
        two.table[1].attending._reaching._under_way |= {0}
        two.table[1].session.links[0].close()
        await until(lambda: not two.table.linked(0, 1))
        await two.table.link(0, 1)
        await until(lambda: two.all(lambda place: place.phase is Phase.COMPARISON))

        for place in two.places:
            assert place.work.deciding is not None
            assert place.work.deciding.totals()["blocked"] == 0


def paused(seat: Seat) -> Callable[[], Any]:
    async def drained() -> None:
        await until(lambda: seat.session.links)

    return drained


async def test_a_member_that_leaves_is_given_up_at_once(tmp_path: Path) -> None:
    """Nobody waits for its inventory."""
    async with office(tmp_path, FIRST, SECOND, FIRST) as three:
        three[2].work.start_inventory = lambda run: None  # type: ignore[method-assign]
        three[0].do(lambda lifecycle: lifecycle.start_inventory())
        await until(lambda: three[1].work._taking is not None)

        await three.table[2].session.leave()
        await until(lambda: three[0].phase is Phase.COMPARISON)

        assert three[0].work._taking is not None
        assert three[0].work._taking.inventories[2].failure == "member.unreachable"
        assert three[0].seat.session.lifecycle.members[0].activity is Activity.INVENTORY_DONE
