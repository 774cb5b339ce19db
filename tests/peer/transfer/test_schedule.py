import itertools
import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.plan.steps import AnyStep, CopyFile, Delete, SetDate
from peer.transfer import schedule as module
from peer.transfer.phases import phases_of
from peer.transfer.schedule import Again, Cancel, Command, LocalCopy, Schedule, Transfer
from protocol import limits
from protocol.errors import LocalProtocolError
from tests.peer.transfer.plans import copy, entry, path

LARGE = module.SMALL + 1


def scheduled(steps: Sequence[AnyStep], *up: int) -> Schedule:
    """A schedule of member 0 with numbered transfer ids and links to *up*."""
    numbers = itertools.count(1)
    schedule = Schedule(
        0,
        steps,
        phases_of(steps, 0),
        random_bytes=lambda size: next(numbers).to_bytes(size, "big"),
    )
    for peer in up:
        schedule.link_up(peer)
    return schedule


def transfers(schedule: Schedule, now: float = 0.0) -> list[Transfer]:
    return [c for c in schedule.commands(now=now) if isinstance(c, Transfer)]


def finish(schedule: Schedule, transfer: Transfer) -> None:
    schedule.transfer_ended(transfer.transfer, (), "")
    for number in transfer.steps:
        schedule.step_done(number)


def test_small_files_travel_in_packs_and_large_ones_alone() -> None:
    """The size decides, at the bound of one chunk."""
    steps = [copy("a"), copy("b", size=LARGE), copy("c", size=module.SMALL)]

    found = transfers(scheduled(steps, 1))

    assert [(t.steps, t.large) for t in found] == [((0, 2), False), ((1,), True)]
    assert found[0].size == 3 + module.SMALL


def test_packs_are_bounded_in_files_and_bytes() -> None:
    """Neither a thousand tiny files too many nor eight megabytes too much."""
    many = transfers(scheduled([copy(f"{n}", size=0) for n in range(module.PACK_STEPS + 1)], 1))
    heavy = transfers(scheduled([copy(f"{n}", size=module.SMALL) for n in range(40)], 1))

    assert [len(t.steps) for t in many] == [module.PACK_STEPS, 1]
    assert [len(t.steps) for t in heavy] == [32, 8]
    assert all(t.size <= module.PACK_SIZE for t in heavy)


def test_places_of_a_link_are_bounded_and_small_files_keep_theirs() -> None:
    """Large files never fill a link; nothing exceeds what the holder admits."""
    small = [copy(f"s{n}", size=module.SMALL) for n in range(300)]
    large = [copy(f"l{n}", size=LARGE) for n in range(9)]
    schedule = scheduled([*large, *small], 1)

    found = transfers(schedule)

    assert sum(t.large for t in found) == module.LARGE_PLACES
    assert sum(not t.large for t in found) == module.SMALL_PLACES
    assert len(found) <= limits.MAX_TRANSFERS_PER_LINK
    assert transfers(schedule) == []

    finish(schedule, next(t for t in found if t.large))
    assert [t.large for t in transfers(schedule)] == [True]


def test_the_holder_with_the_fewest_bytes_outstanding_is_asked() -> None:
    """Two holders share equal files evenly."""
    steps = [copy(f"{n}", size=LARGE, holders=(1, 2)) for n in range(4)]

    found = transfers(scheduled(steps, 1, 2))

    assert sorted(t.peer for t in found) == [1, 1, 2, 2]
    assert sorted(number for t in found for number in t.steps) == [0, 1, 2, 3]


def test_a_failed_step_goes_to_another_holder_then_once_more_to_all_at_the_end() -> None:
    """Each holder is tried twice at most; the last reason stays."""
    schedule = scheduled([copy("a", holders=(1, 2))], 1, 2)
    asked = []

    for _ in range(4):
        (transfer,) = transfers(schedule)
        asked.append(transfer.peer)
        schedule.transfer_ended(transfer.transfer, transfer.steps, f"reason{len(asked)}")

    assert sorted(asked[:2]) == sorted(asked[2:]) == [1, 2]
    assert transfers(schedule) == []
    assert schedule.finished
    assert schedule.failures() == {0: "reason4"}


def test_trouble_on_this_side_is_tried_again_only_when_the_rest_is_done() -> None:
    """A full disk does not hold up what still fits."""
    schedule = scheduled([copy("a", size=LARGE), copy("b", size=LARGE)], 1)
    first, second = transfers(schedule)

    schedule.transfer_ended(first.transfer, (), "")
    schedule.step_failed(0, "fs.no_space", Again.LATER)
    assert transfers(schedule) == []

    finish(schedule, second)
    (again,) = transfers(schedule)
    schedule.transfer_ended(again.transfer, (), "")
    schedule.step_failed(0, "fs.no_space", Again.LATER)

    assert transfers(schedule) == []
    assert schedule.finished
    assert schedule.failures() == {0: "fs.no_space"}


def test_a_destination_that_changed_is_not_tried_again() -> None:
    """What stands there now is somebody's; asking once more changes nothing."""
    schedule = scheduled([copy("a", holders=(1, 2))], 1, 2)
    (transfer,) = transfers(schedule)

    schedule.step_failed(0, "fs.changed_since", Again.NEVER)
    schedule.transfer_ended(transfer.transfer, (), "")

    assert transfers(schedule) == []
    assert schedule.failures() == {0: "fs.changed_since"}


def test_a_step_without_a_holder_waits_and_fails_when_nothing_else_is_left() -> None:
    """The patience begins when everything else is settled."""
    schedule = scheduled([copy("a", holders=(2,)), copy("b", holders=(1,))], 1)
    (transfer,) = transfers(schedule, now=10.0)
    finish(schedule, transfer)

    assert transfers(schedule, now=20.0) == []
    assert transfers(schedule, now=25.0) == []
    assert schedule.get_timer() == 20.0 + module.PATIENCE
    schedule.handle_timer(now=20.0 + module.PATIENCE)

    assert schedule.finished
    assert schedule.failures() == {0: "transfer.unreachable"}
    assert schedule.get_timer() is None


def test_a_holder_that_comes_back_in_time_is_asked() -> None:
    """Waiting ends with the link."""
    schedule = scheduled([copy("a", holders=(2,))])
    assert transfers(schedule, now=0.0) == []

    schedule.link_up(2)
    (transfer,) = transfers(schedule, now=30.0)
    schedule.handle_timer(now=module.PATIENCE)

    assert transfer.peer == 2
    assert not schedule.finished
    assert schedule.get_timer() == 30.0 + module.STALL


def test_a_lost_holder_is_asked_no_more() -> None:
    """Its transfer is ended by whoever received it, and its steps go elsewhere."""
    schedule = scheduled([copy("a", holders=(1, 2))], 1, 2)
    (transfer,) = transfers(schedule)
    other = 3 - transfer.peer

    schedule.link_down(transfer.peer)
    schedule.transfer_ended(transfer.transfer, transfer.steps, "interrupted")

    assert [t.peer for t in transfers(schedule)] == [other]


def test_a_stuck_holder_is_given_up_once() -> None:
    """Silence is bounded; every byte digested moves the bound."""
    schedule = scheduled([copy("a")], 1)
    (transfer,) = transfers(schedule, now=0.0)
    schedule.progress(transfer.transfer, now=5.0)
    schedule.progress(b"unknown", now=500.0)

    schedule.handle_timer(now=module.STALL)
    assert list(schedule.commands(now=module.STALL)) == []
    schedule.handle_timer(now=5.0 + module.STALL)
    found: list[Command] = list(schedule.commands(now=5.0 + module.STALL))
    schedule.handle_timer(now=1e9)

    assert found == [Cancel(transfer.transfer, 1)]
    assert list(schedule.commands(now=1e9)) == []
    assert schedule.get_timer() is None


def test_content_this_member_holds_is_copied_locally() -> None:
    """No bytes travel, whoever else holds it; bounded like everything."""
    steps = [
        copy(f"new{n}", size=size, holders=(1, (0, 2, path(f"old{n}"))))
        for n, size in enumerate([3, LARGE, 3])
    ]
    schedule = scheduled(steps, 1)

    first = list(schedule.commands(now=0.0))
    assert first == [LocalCopy(0, 2, path("old0")), LocalCopy(2, 2, path("old2"))]

    schedule.step_done(0)
    assert list(schedule.commands(now=0.0)) == [LocalCopy(1, 2, path("old1"))]


def test_a_local_copy_that_fails_is_fetched() -> None:
    """The content may have changed since; another member still has it."""
    schedule = scheduled([copy("new", holders=(1, (0, 0, path("old"))))], 1)
    list(schedule.commands(now=0.0))

    schedule.step_failed(0, "fs.changed_since", Again.ELSEWHERE)

    assert [t.peer for t in transfers(schedule)] == [1]


def test_what_the_plan_replaces_here_is_not_copied_from() -> None:
    """Its content may be gone when its turn comes; deleting comes late enough."""
    replaced = [copy("old", holders=(1,)), copy("new", holders=(1, (0, 0, path("old"))))]
    deleted = [
        Delete(member=0, source=0, path=path("old"), expected=entry("old")),
        copy("new", holders=(1, (0, 0, path("old")))),
    ]

    assert [t.steps for t in transfers(scheduled(replaced, 1))] == [(0, 1)]
    assert list(scheduled(deleted, 1).commands(now=0.0)) == [LocalCopy(1, 0, path("old"))]


@pytest.mark.parametrize("failing", [True, False])
def test_a_holder_whose_own_entry_is_about_to_change_is_asked_last(failing: bool) -> None:
    """Member 2 sets its file's date: it may no longer be what was inventoried."""
    steps: list[AnyStep] = [
        SetDate(member=2, source=0, path=path("a"), expected=entry("a"), mtime_ns=9),
        copy("a", holders=(2, 1)),
    ]
    schedule = scheduled(steps, 1, 2)
    (transfer,) = transfers(schedule, now=0.0)
    assert transfer.peer == 1

    if failing:
        schedule.transfer_ended(transfer.transfer, transfer.steps, "fs.changed_since")
    else:
        schedule.link_down(1)
        schedule.transfer_ended(transfer.transfer, (), "")
        schedule.step_failed(1, "fs.no_space", Again.LATER)
        assert transfers(schedule, now=0.0) == []
        schedule.handle_timer(now=module.PATIENCE)

    assert [t.peer for t in transfers(schedule, now=module.PATIENCE)] == [2]


def test_a_holder_about_to_change_is_asked_when_there_is_no_other() -> None:
    """It may not have begun; its check decides."""
    steps: list[AnyStep] = [
        Delete(member=2, source=0, path=path("a"), expected=entry("a")),
        copy("a", holders=(2,)),
    ]

    assert [t.peer for t in transfers(scheduled(steps, 2))] == [2]


def test_reports_about_steps_nobody_asked_for_are_our_bug() -> None:
    """Neither done nor failed before it was asked."""
    schedule = scheduled([copy("a")])

    with pytest.raises(LocalProtocolError):
        schedule.step_done(0)
    with pytest.raises(LocalProtocolError):
        schedule.step_failed(0, "x", Again.LATER)


def test_an_end_that_comes_twice_counts_once() -> None:
    """A link's loss and the transfer's end may both report it."""
    schedule = scheduled([copy("a", holders=(1, 2))], 1, 2)
    (transfer,) = transfers(schedule)

    for _ in range(2):
        schedule.transfer_ended(transfer.transfer, (*transfer.steps, 0), "interrupted")

    assert len(transfers(schedule)) == 1


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_every_copy_is_settled_exactly_once_whatever_happens(
    chance: random.Random, count: int
) -> None:
    """Holders come, go, refuse and fail at random; every step ends done or failed."""
    steps: list[CopyFile] = [
        copy(
            f"{n}",
            holders=tuple(chance.sample([1, 2, 3, 4], chance.randint(1, 4))),
            size=chance.choice([0, 3, LARGE]),
        )
        for n in range(count)
    ]
    schedule = scheduled(steps, 1, 2, 3, 4)
    open_transfers: list[Transfer] = []
    done: set[int] = set()
    now = 0.0

    for _ in range(2000):
        open_transfers += transfers(schedule, now)
        if schedule.finished:
            break
        if not open_transfers:
            now = schedule.get_timer() or now
            schedule.handle_timer(now=now)
            continue
        transfer = open_transfers.pop(chance.randrange(len(open_transfers)))
        fates = [chance.choice(["done", "failed", "later"]) for _ in transfer.steps]
        pairs = list(zip(transfer.steps, fates, strict=True))
        schedule.transfer_ended(
            transfer.transfer, [n for n, fate in pairs if fate == "failed"], "lost"
        )
        for number, fate in pairs:
            if fate == "done":
                assert number not in done
                done.add(number)
                schedule.step_done(number)
            elif fate == "later":
                schedule.step_failed(number, "fs.no_space", Again.LATER)
        if chance.random() < 0.1:
            schedule.link_down(chance.randint(1, 4))

    assert schedule.finished
    assert done | set(schedule.failures()) == set(range(count))
    assert not done & set(schedule.failures())


def test_content_that_only_moved_is_copied_here_and_asked_of_nobody() -> None:
    """The plan says where it stays until the copies are done, though it is deleted then."""
    moved = msgspec.structs.replace(copy("new"), reuse=(0, path("old")))
    gone = Delete(member=0, source=0, path=path("old"), expected=entry("old"))

    found = list(scheduled([moved, gone], 1).commands(now=0.0))

    assert found == [LocalCopy(0, 0, path("old"))]


def test_content_that_is_no_longer_where_it_was_is_asked_of_its_holder() -> None:
    """What was to be reused has changed meanwhile: then it travels."""
    schedule = scheduled([msgspec.structs.replace(copy("new"), reuse=(0, path("old")))], 1)
    list(schedule.commands(now=0.0))

    schedule.step_failed(0, "fs.changed_since", Again.ELSEWHERE)

    assert [(t.peer, t.steps) for t in transfers(schedule)] == [(1, (0,))]
