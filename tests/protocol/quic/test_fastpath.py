"""The fast path and the library, fed the same, hold the same in the end."""

import random
from typing import Any

import pytest
from aioquic.quic.recovery import QuicPacketNumberWindow

from protocol.quic import fast_receive
from protocol.quic.fastpath import FastQuicConnection
from tests.harness.quic_pair import QuicPair
from tests.harness.quic_twins import Twins

LIFE = 60
"""Sequences after which other twins are made."""


def compare(sequences: int, first_seed: int) -> int:
    """Feed *sequences* random ones to twins; return how many packets went the fast way."""
    pair = QuicPair()
    pair.connect()
    pair.server.authenticated()
    pair.client.authenticated()
    pair.run()
    done = fast = 0
    seed = first_seed
    while done < sequences:
        end, peer = (pair.server, pair.client) if seed % 2 else (pair.client, pair.server)
        twins = Twins(end, peer, random.Random(seed), pair.now)
        for step in range(LIFE):
            try:
                twins.step()
            except AssertionError as exc:
                raise AssertionError(f"seed {seed}, step {step}: {exc}") from exc
            done += 1
            if twins.is_over:
                break
        fast += twins.fast.taken_fast
        seed += 1
    return fast


def test_random_datagrams_make_no_difference() -> None:
    """Loss, reordering, damage, all frames, new keys and connection IDs, narrow windows."""
    fast = compare(300, 0)

    assert fast > 200


@pytest.mark.slow
def test_ten_thousand_sequences_make_no_difference() -> None:
    """The same at length; the seed of a failure is printed."""
    fast = compare(10_000, 1_000_000)

    assert fast > 7_000


def test_a_planted_off_by_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary: were the comparison blind, it would prove nothing."""

    def one_less(window: QuicPacketNumberWindow, start: int, stop: int) -> None:
        window._received.update(range(start, stop - 1))
        window._lower = max(window._lower, stop - window._size)

    monkeypatch.setattr(fast_receive, "note_received", one_less)

    with pytest.raises(AssertionError, match="seed"):
        compare(300, 0)


def test_a_planted_shift_of_the_data_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for what the application gets."""
    usual = fast_receive.stream_frame

    def shifted(plain: bytes) -> Any:
        found = usual(plain)
        return found and (found[0], found[1], found[2] + 1)

    monkeypatch.setattr(fast_receive, "stream_frame", shifted)

    with pytest.raises(AssertionError, match="seed"):
        compare(300, 0)


def test_it_says_that_it_is_fast() -> None:
    """Only the class that is says so."""
    pair = QuicPair()

    assert isinstance(pair.server, FastQuicConnection)
    assert pair.server.is_fast
