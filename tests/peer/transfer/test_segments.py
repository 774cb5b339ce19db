import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.transfer.segments import HEADER, MAX_SEGMENT, End, Piece, SegmentReader, header
from protocol.errors import FrameTooLarge, RemoteProtocolError

ONE, TWO = b"1" * 16, b"2" * 16


def any_transfer(transfer: bytes) -> bool:
    return True


@given(st.data())
def test_interleaved_transfers_come_apart_whatever_the_splits(data: st.DataObject) -> None:
    """Each transfer's bytes arrive whole and in order, its end after them."""
    parts = data.draw(
        st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.binary(min_size=1)), max_size=8)
    )
    wire = b"".join(header(7, transfer, len(part)) + part for transfer, part in parts)
    wire += header(7, ONE, 0)
    reader = SegmentReader(any_transfer)
    received = {ONE: b"", TWO: b""}
    ends = []

    while wire:
        size = data.draw(st.integers(1, len(wire)))
        for found in reader.feed(wire[:size]):
            if isinstance(found, Piece):
                assert found.epoch == 7
                received[found.transfer] += found.data
            else:
                ends.append(found)
        wire = wire[size:]

    assert received == {
        which: b"".join(part for transfer, part in parts if transfer == which)
        for which in (ONE, TWO)
    }
    assert ends == [End(7, ONE)]
    assert reader.between_segments


def test_a_transfer_nobody_agreed_on_is_refused_before_its_bytes() -> None:
    """The header alone decides."""
    reader = SegmentReader(lambda transfer: transfer == ONE)

    with pytest.raises(RemoteProtocolError):
        list(reader.feed(header(1, TWO, 5)))


def test_a_segment_over_the_bound_is_refused_at_its_header() -> None:
    """Nothing of it is waited for."""
    reader = SegmentReader(any_transfer)
    word = header(1, ONE, MAX_SEGMENT)[:-4] + (MAX_SEGMENT + 1).to_bytes(4, "big")

    with pytest.raises(FrameTooLarge):
        list(reader.feed(word))


@pytest.mark.parametrize("cut", [1, HEADER - 1, HEADER, HEADER + 2])
def test_a_stream_cut_off_inside_a_segment_shows(cut: int) -> None:
    """Inside the header as inside the bytes."""
    reader = SegmentReader(any_transfer)

    list(reader.feed((header(1, ONE, 3) + b"abc")[:cut]))

    assert not reader.between_segments
