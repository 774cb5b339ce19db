from msgspec.structs import replace

from peer.plan.moves import moves
from peer.plan.steps import CopyFile, Delete
from tests.peer.transfer.plans import copy, entry, path


def made(text: str, *, member: int = 0, reuse: str | None = None) -> CopyFile:
    place = None if reuse is None else (0, path(reuse))
    return replace(copy(text, member=member), reuse=place)


def gone(text: str, *, member: int = 0) -> Delete:
    return Delete(member=member, source=0, path=path(text), expected=entry(text))


def test_a_copy_from_a_place_that_is_deleted_is_a_move() -> None:
    """On the same member; where it goes tells where it comes from."""
    found = moves([made("new", reuse="old"), gone("old")])

    assert found == {(0, 0, path("new")): (0, 0, path("old"))}


def test_a_file_moves_to_one_place_only() -> None:
    """Its content goes to two places: the first is the move."""
    found = moves([made("one", reuse="old"), made("two", reuse="old"), gone("old")])

    assert list(found) == [(0, 0, path("one"))]


def test_a_copy_of_what_stays_or_travels_is_no_move() -> None:
    """Nor one whose place is deleted on another member."""
    assert not moves([made("new", reuse="stays"), gone("other")])
    assert not moves([made("new"), gone("old")])
    assert not moves([made("new", reuse="old"), gone("old", member=1)])
