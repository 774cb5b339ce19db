"""The start-up check passes with the pinned library and refuses every other."""

import importlib.metadata
import os
import time

import pytest
from aioquic.quic.connection import QuicConnection

from protocol.errors import UnsafeLibrary
from protocol.quic import selftest
from protocol.quic.connection import BoundedQuicConnection
from protocol.quic.selftest import CALLED, check_library


def test_the_pinned_library_passes_in_no_time() -> None:
    """Every start pays for it: the CPU time stays under 100 ms."""
    check_library(os.urandom)
    begun = time.process_time()

    check_library(os.urandom)

    assert time.process_time() - begun < 0.1


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The overrides were read against one version only."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.8.0")

    with pytest.raises(UnsafeLibrary, match=r"1\.8\.0"):
        check_library(os.urandom)


@pytest.mark.parametrize("name", CALLED)
def test_a_method_that_is_gone_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renamed method would leave our override uncalled."""
    monkeypatch.delattr(QuicConnection, name)

    with pytest.raises(UnsafeLibrary, match=name):
        check_library(os.urandom)


@pytest.mark.parametrize(
    "name",
    [
        "_handle_crypto_frame",
        "_update_traffic_key",
        "_write_connection_limits",
        "_write_stream_limits",
    ],
)
def test_a_missing_override_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one of these guards the program does not start."""
    own = getattr(BoundedQuicConnection, name)
    monkeypatch.delattr(BoundedQuicConnection, name)
    assert getattr(BoundedQuicConnection, name) is not own

    with pytest.raises(UnsafeLibrary):
        check_library(os.urandom)


def test_a_method_the_library_no_longer_calls_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name may survive a change that moved the work elsewhere."""

    def by_another_way(self: QuicConnection, *args: object) -> None:
        return None

    monkeypatch.setattr(QuicConnection, "_write_application", by_another_way)

    with pytest.raises(UnsafeLibrary):
        check_library(os.urandom)


class Leaky(BoundedQuicConnection):
    """A connection that answers before it should."""

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        return label[:1] * length


def test_keying_material_too_early_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server would else bind to a client that never finished."""
    monkeypatch.setattr(selftest, "BoundedQuicConnection", Leaky)

    with pytest.raises(UnsafeLibrary, match="before the handshake"):
        check_library(os.urandom)
