"""Datagrams are coupled into trains one system call can carry."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.quic.trains import (
    MAX_TRAIN_BYTES,
    MAX_TRAIN_DATAGRAMS,
    Train,
    couple,
    datagrams,
    prefixed,
)


@given(st.lists(st.sampled_from([1, 600, 1200, 1452, 9000]).map(bytes), max_size=200))
def test_coupling_loses_and_reorders_nothing(pieces: list[bytes]) -> None:
    """And every train obeys what the kernel demands of one."""
    trains = couple(pieces)

    assert [data for train in trains for data in train.buffers] == pieces
    for train in trains:
        assert train.count == len(train.buffers) <= MAX_TRAIN_DATAGRAMS
        assert train.size == sum(map(len, train.buffers)) <= MAX_TRAIN_BYTES
        assert all(len(data) == train.segment for data in train.buffers[:-1])
        assert len(train.buffers[-1]) <= train.segment


def test_equal_datagrams_share_a_train_and_a_short_one_ends_it() -> None:
    """Two full, one short, then another full: two trains."""
    trains = couple([bytes(1200), bytes(1200), bytes(100), bytes(1200)])

    assert [train.count for train in trains] == [3, 1]


def test_a_larger_datagram_begins_a_train() -> None:
    """All but the last must be of the first's size."""
    trains = couple([bytes(100), bytes(1200)])

    assert [train.segment for train in trains] == [100, 1200]


def test_trains_end_at_the_bounds() -> None:
    """64 datagrams, 64,000 bytes."""
    small = couple([bytes(100)] * 65)
    large = couple([bytes(9000)] * 8)

    assert [train.count for train in small] == [64, 1]
    assert [train.count for train in large] == [7, 1]


def test_a_prefix_goes_before_every_datagram() -> None:
    """Also where a datagram consists of several buffers."""
    train = Train([b"h1", b"body", b"h2", b"end"], 6, 2, 11)

    wrapped = prefixed(train, b"pre")

    assert wrapped == Train([b"pre", b"h1", b"body", b"pre", b"h2", b"end"], 9, 2, 17)


def test_a_train_comes_apart_into_its_datagrams() -> None:
    """Whatever number of buffers each of them consists of."""
    assert datagrams(Train([b"a", b"bc", b"d", b"e"], 3, 2, 5)) == [b"abc", b"de"]
    assert datagrams(Train([b"abc"], 3, 1, 3)) == [b"abc"]
