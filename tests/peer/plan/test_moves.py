from msgspec.structs import replace

from peer.plan.moves import moves
from peer.plan.steps import CopyFile, Delete
from tests.peer.transfer.plans import copy, entry, path

CONTENT, OTHER = bytes(32), bytes([1]) * 32


def made(text: str, *, member: int = 0, reuse: str | None = None) -> CopyFile:
    place = None if reuse is None else (0, path(reuse))
    return replace(copy(text, member=member, digest=CONTENT), reuse=place)


def gone(text: str, *, member: int = 0, content: bytes | None = CONTENT) -> Delete:
    return Delete(
        member=member, source=0, path=path(text), expected=entry(text), expected_digest=content
    )


def test_a_copy_from_a_place_that_is_deleted_is_a_move() -> None:
    """On the same member; where it goes tells where it comes from."""
    found = moves([made("new", reuse="old"), gone("old")])

    assert found == {(0, 0, path("new")): (0, 0, path("old"))}


def test_a_file_moves_to_one_place_only() -> None:
    """Its content goes to two places: the first is the move."""
    found = moves([made("one", reuse="old"), made("two", reuse="old"), gone("old")])

    assert list(found) == [(0, 0, path("one"))]


def test_of_several_files_that_are_alike_each_moves_once() -> None:
    """All are reused from the first, and still every deleted one goes somewhere."""
    found = moves([made("one", reuse="a"), made("two", reuse="a"), gone("a"), gone("b"), gone("c")])

    assert found == {
        (0, 0, path("one")): (0, 0, path("a")),
        (0, 0, path("two")): (0, 0, path("b")),
    }


def test_a_copy_of_what_stays_or_travels_is_no_move() -> None:
    """Nor one whose content is deleted on another member, or was never read."""
    assert not moves([made("new", reuse="stays"), gone("other", content=OTHER)])
    assert not moves([made("new"), gone("old")])
    assert not moves([made("new", reuse="old"), gone("old", member=1)])
    assert not moves([made("new", reuse="old"), gone("old", content=None)])
