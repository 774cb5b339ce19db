import pytest
from hypothesis import given
from hypothesis import strategies as st

from rendezvous.quota import Quota, Rate


def test_a_burst_is_taken_and_the_next_one_waits() -> None:
    """20 a minute: the 21st is told to wait for one twentieth of a minute."""
    quota = Quota(Rate.per_minute(20))

    waits = [quota.take(b"source", now=0.0) for _ in range(21)]

    assert waits == [0.0] * 20 + [3.0]


def test_a_refusal_costs_nothing_and_the_bucket_refills() -> None:
    """Who waits as told is served."""
    quota = Quota(Rate(1, 0.5))
    quota.take(b"source", now=0.0)

    assert quota.take(b"source", now=1.0) == pytest.approx(1.0)
    assert quota.take(b"source", now=2.0) == 0.0
    assert quota.take(b"source", now=100.0) == 0.0
    assert quota.take(b"source", now=100.0) > 0.0, "no more than the burst is saved up"


def test_sources_do_not_share() -> None:
    """One greedy source harms itself only."""
    quota = Quota(Rate(1, 1))
    quota.take(b"greedy", now=0.0)

    assert quota.take(b"greedy", now=0.0) > 0.0
    assert quota.take(b"other", now=0.0) == 0.0


@given(st.lists(st.integers(0, 40), max_size=100))
def test_the_table_is_bounded(sources: list[int]) -> None:
    """The least recent source is forgotten, and only then."""
    quota = Quota(Rate(1, 0.001), capacity=10)

    for source in sources:
        quota.take(bytes([source]), now=0.0)

    assert len(quota) == min(10, len(set(sources)))
    for source in sources[-1:]:
        assert quota.take(bytes([source]), now=0.0) > 0.0
