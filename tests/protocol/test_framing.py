import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import FrameTooLarge
from protocol.framing import HEADER, MAX_BODY, FrameReader, frame

frames = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=8)


@given(frames, st.lists(st.integers(1, 20), max_size=40))
def test_frames_come_out_as_they_went_in_whatever_the_splits(
    sent: list[tuple[int, bytes]], splits: list[int]
) -> None:
    """A stream has no message borders of its own."""
    data = b"".join(frame(kind, body) for kind, body in sent)
    reader = FrameReader(50)
    received = []
    for size in [*splits, len(data) + 1]:
        received += list(reader.feed(data[:size]))
        data = data[size:]

    assert received == sent
    assert reader.buffered == 0


def test_a_frame_is_its_type_a_length_and_a_body() -> None:
    """``type u8 | length u24 | body``."""
    assert frame(0x12, b"abc") == b"\x12\x00\x00\x03abc"


@pytest.mark.parametrize("limit", [0, 10, 8192, 2**16 + 1])
def test_a_body_up_to_the_limit_passes(limit: int) -> None:
    """The bound itself is allowed."""
    (received,) = FrameReader(limit).feed(frame(1, bytes(limit)))

    assert received == (1, bytes(limit))


@pytest.mark.parametrize("limit", [0, 10, 8192])
def test_a_longer_body_is_refused_at_its_header(limit: int) -> None:
    """Before a byte of it is kept."""
    reader = FrameReader(limit)

    with pytest.raises(FrameTooLarge) as refused:
        list(reader.feed(frame(1, bytes(limit + 1))[:HEADER]))

    assert (refused.value.size, refused.value.limit) == (limit + 1, limit)


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_never_more_is_held_than_a_frame(chunks: list[bytes]) -> None:
    """Whatever arrives: memory is the limit plus the header."""
    reader = FrameReader(20)
    try:
        for chunk in chunks:
            list(reader.feed(chunk))
            assert reader.buffered < 20 + HEADER
    except FrameTooLarge:
        return


def test_the_limit_may_change_between_frames() -> None:
    """A state admits larger frames than the one before."""
    reader = FrameReader(4)
    data = frame(1, b"ab") + frame(2, bytes(100))
    received = []

    for each in reader.feed(data):
        received.append(each)
        reader.limit = 100

    assert received == [(1, b"ab"), (2, bytes(100))]


def test_a_half_frame_waits_for_the_rest() -> None:
    """Neither header nor body is handed out in part."""
    reader = FrameReader(10)
    data = frame(3, b"abcd")

    assert list(reader.feed(data[:3])) == []
    assert list(reader.feed(data[3:7])) == []
    assert reader.buffered == 7
    assert list(reader.feed(data[7:])) == [(3, b"abcd")]


def test_a_body_over_u24_is_a_mistake_of_the_caller() -> None:
    """No header could announce it."""
    with pytest.raises(AssertionError):
        frame(1, bytes(MAX_BODY + 1))


def test_what_follows_the_last_frame_is_given_back_once() -> None:
    """A connection may go on with something else than frames."""
    reader = FrameReader(10)
    received = list(reader.feed(frame(1, b"last") + b"xy"))

    assert received == [(1, b"last")]
    assert reader.rest() == b"xy"
    assert reader.rest() == b""
    assert reader.buffered == 0
