"""The trial passes, costs nothing to speak of, and finds a fast path that differs."""

import importlib.metadata
import os
import time
from typing import Any

import pytest
from aioquic.quic.recovery import QuicPacketNumberWindow

from protocol.quic import fast_receive, fast_send
from protocol.quic.fast_receive import BatchReceiver
from protocol.quic.fast_recovery import BatchRecovery
from protocol.quic.fast_trial import fault_of_fast_path


def test_the_fast_path_passes_in_no_time() -> None:
    """Every start pays for it: the CPU time stays under 100 ms."""
    fault_of_fast_path(os.urandom)
    begun = time.process_time()

    fault = fault_of_fast_path(os.urandom)

    assert fault is None
    assert time.process_time() - begun < 0.1


def test_another_version_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its private state was never read."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.8.0")

    assert "1.8.0" in str(fault_of_fast_path(os.urandom))


def test_a_receiver_that_counts_wrongly_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One packet more acknowledged than came."""

    def one_more(window: QuicPacketNumberWindow, start: int, stop: int) -> None:
        for number in range(start, stop + 1):
            window.add(number)

    monkeypatch.setattr(fast_receive, "note_received", one_more)

    assert fault_of_fast_path(os.urandom) == "batches are received differently"


def test_a_fast_path_nobody_takes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the other comparisons would prove nothing."""
    monkeypatch.setattr(BatchReceiver, "_may_take", lambda self, peer: False)

    assert fault_of_fast_path(os.urandom) == "the fast path was not taken"


def test_a_sender_that_loses_count_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in flight for ever ends every transfer in the end."""
    usual = BatchRecovery._take_acknowledged

    def forget(self: Any, ranges: Any, now: float, space: Any) -> None:
        usual(self, ranges, now, space)
        self._cc.bytes_in_flight += 1

    monkeypatch.setattr(BatchRecovery, "_take_acknowledged", forget)

    assert fault_of_fast_path(os.urandom) == "a transfer ends differently"


def test_a_sender_that_breaks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised is a reason, never an end."""
    monkeypatch.setattr(fast_send, "FRAME", None)

    assert fault_of_fast_path(os.urandom) == "the trial broke: TypeError"


def test_a_damaged_train_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that arrive in another place are other bytes."""
    monkeypatch.setattr(fast_send, "OFFSET_FORM", (0xC0 << 56) + 1)

    assert fault_of_fast_path(os.urandom) is not None
