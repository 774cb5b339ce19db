from peer.session.reach import Reach
from protocol.credentials import Secret
from protocol.limits import UNREACHABLE_AFTER

KEY = Secret(bytes(32))


def reach_of(*members: int, linked: tuple[int, ...] = ()) -> Reach:
    reach = Reach(0, grace=60.0)
    reach.expect({0, *members}, {0, *members})
    for index in linked:
        reach.up(index, KEY)
    return reach


def test_a_member_that_was_never_linked_is_counted_from_the_first_moment() -> None:
    """Machines are made without a clock."""
    reach = reach_of(1)
    assert reach.moments() == [0.0]

    reach.tick(100.0)

    assert reach.lost == frozenset()
    assert reach.moments() == [100.0 + UNREACHABLE_AFTER, 160.0]


def test_who_has_no_link_for_ten_seconds_is_lost_and_for_the_grace_time_overdue() -> None:
    """At that very moment."""
    reach = reach_of(1, 2, linked=(1, 2))
    reach.down(1, now=5.0)

    reach.tick(5.0 + UNREACHABLE_AFTER)
    assert reach.lost == {1}
    assert reach.overdue == frozenset()
    assert reach.moments() == [65.0]
    reach.tick(65.0)

    assert reach.overdue == {1}
    assert reach.moments() == []


def test_a_link_ends_the_absence_and_its_end_begins_another() -> None:
    """A link that comes down twice comes down once."""
    reach = reach_of(1, linked=(1,))
    reach.down(1, now=0.0)
    reach.tick(50.0)
    reach.up(1, KEY)
    assert reach.moments() == []

    reach.down(1, now=50.0)
    reach.down(1, now=55.0)
    reach.tick(60.0)

    assert reach.lost == {1}


def test_an_end_without_a_time_counts_from_the_next_moment() -> None:
    """Who closes a link may not know when it fell silent."""
    reach = reach_of(1, linked=(1,))
    reach.tick(7.0)
    reach.down(1, now=None)
    assert reach.moments() == [7.0]

    reach.tick(8.0)

    assert reach.moments()[0] == 8.0 + UNREACHABLE_AFTER


def test_who_comes_back_has_its_time_again() -> None:
    """It has yet to make its links."""
    reach = reach_of(1, 2, linked=(2,))
    reach.tick(0.0)
    reach.tick(100.0)

    reach.forgive(1)
    reach.forgive(2)

    assert reach.lost == frozenset()


def test_a_new_roster_forgets_who_is_gone_and_cuts_who_knows_no_key() -> None:
    """Who is absent from the new epoch has a place, and no link."""
    reach = reach_of(1, 2, 3, linked=(1, 2, 3))

    reach.expect({0, 1, 2, 4}, {0, 1, 4})
    reach.tick(1.0)
    reach.tick(1.0 + UNREACHABLE_AFTER)

    assert set(reach.links) == {1}
    assert reach.lost == {2, 4}
    reach.tick(0.0)
    assert reach.now == 1.0 + UNREACHABLE_AFTER, "time does not go back"
