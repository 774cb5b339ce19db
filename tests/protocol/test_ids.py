import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import (
    LETTERS,
    Digest,
    Epoch,
    MemberIndex,
    NodeKey,
    TransferId,
    index_of,
    letter_of,
)

rosters = st.lists(st.integers(0, 255), min_size=1, max_size=5, unique=True)


@given(rosters)
def test_letters_are_ranks_without_gaps(indices: list[int]) -> None:
    """However the roster is ordered, and whoever has left before."""
    letters = [letter_of(index, indices) for index in sorted(indices)]

    assert "".join(letters) == LETTERS[: len(indices)]


@given(rosters, st.booleans())
def test_a_letter_leads_back_to_its_index(indices: list[int], lower: bool) -> None:
    """Typed in either case."""
    for index in indices:
        letter = letter_of(index, indices)
        assert index_of(letter.lower() if lower else letter, indices) == index


def test_who_is_not_a_member_has_no_letter() -> None:
    """Callers ask for members only."""
    with pytest.raises(ValueError, match="2"):
        letter_of(2, (0, 1))


@pytest.mark.parametrize("letter", ["C", "Z", "", "AB", "1", "É"])
def test_a_letter_of_nobody_is_refused(letter: str) -> None:
    """There are two members here, A and B."""
    with pytest.raises(ValueError, match="no member"):
        index_of(letter, (0, 7))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (MemberIndex, [0, 255], [-1, 256]),
        (Epoch, [1, 2**63 - 1], [0, 2**63]),
        (TransferId, [bytes(16)], [bytes(15), bytes(17)]),
        (NodeKey, [bytes(32)], [bytes(31), bytes(33)]),
        (Digest, [bytes(32)], [bytes(31), bytes(33)]),
    ],
)
def test_names_keep_their_bounds_on_the_wire(
    kind: type, good: list[object], bad: list[object]
) -> None:
    """The bound is part of the type, so no message can forget it."""
    for value in good:
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind) == value
    for value in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=kind)
