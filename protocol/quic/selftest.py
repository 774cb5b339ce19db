"""The start-up check that the guards hold with the library that is installed.

``BoundedQuicConnection`` overrides private methods. Were one of them renamed, nothing
would fail: the windows would just grow again, and the exporter bind to nothing. So
every program runs this first, and refuses to start when it raises.
"""

import importlib.metadata
from collections.abc import Callable
from typing import Any, Final

from aioquic import tls
from aioquic.quic import events
from aioquic.quic.connection import QuicConnection

from protocol.errors import LocalProtocolError, UnsafeLibrary
from protocol.limits import PRE_AUTH_WINDOW, STREAM_WINDOW
from protocol.quic.connection import (
    BoundedQuicConnection,
    Identity,
    quic_configuration,
)

PINNED: Final = "1.7.2"
"""The version of aioquic whose private methods were read."""

CALLED: Final = (
    "_idle_timeout",
    "_payload_received",
    "_stream_limit",
    "_update_traffic_key",
    "_write_connection_limits",
    "_write_stream_limits",
)
"""Private methods the library must still have and call; frame handlers are looked up."""

_ALPN: Final = "selftest"
_PEER: Final = "peer"
_CRYPTO_FRAME: Final = 0x06
_ROUNDS: Final = 16
_STEP: Final = 0.01


def check_library(random_bytes: Callable[[int], bytes]) -> None:
    """Connect two ends in memory and look at everything the guards promise.

    Args:
        random_bytes: Source of a throw-away key.

    Raises:
        UnsafeLibrary: If any promise is broken. The program must not start.
    """
    installed = importlib.metadata.version("aioquic")
    _require(installed == PINNED, f"aioquic {installed} is installed, {PINNED} was examined")
    for name in CALLED:
        _require(hasattr(QuicConnection, name), f"{name} is gone")
    try:
        _Trial(random_bytes).run()
    except UnsafeLibrary:
        raise
    except Exception as exc:
        # Whatever breaks here, the guards cannot be trusted.
        raise UnsafeLibrary(f"the trial broke: {type(exc).__name__}") from exc


def _require(held: bool, finding: str) -> None:  # noqa: FBT001  # an assertion that -O keeps
    if not held:
        raise UnsafeLibrary(finding)


def _watched(connection: BoundedQuicConnection) -> set[str]:
    """Return a set that fills with the overridden methods *connection*'s library calls."""
    called: set[str] = set()

    def watch(name: str) -> None:
        method = getattr(connection, name)

        def note(*args: object, **kwargs: object) -> object:
            called.add(name)
            return method(*args, **kwargs)

        setattr(connection, name, note)

    for name in CALLED:
        watch(name)
    return called


class _Trial:
    """A client and a server whose datagrams are handed over directly."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._now = 0.0
        self.client = BoundedQuicConnection(configuration=quic_configuration(alpn=_ALPN))
        self.server = BoundedQuicConnection(
            configuration=quic_configuration(alpn=_ALPN, identity=Identity(random_bytes)),
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self._called = _watched(self.server)
        self.received = 0

    def run(self) -> None:
        try:
            self.client.export_keying_material(b"EXPORTER-selftest", b"", 32)
        except LocalProtocolError:
            pass
        else:
            raise UnsafeLibrary("keying material before the handshake")
        self.client.connect(_PEER, self._now)
        self._exchange()
        self._check_keys()
        self._check_windows()
        for name in CALLED:
            _require(name in self._called, f"{name} is not called")
        handlers: dict[int, tuple[Any, Any]] = vars(self.server)["_QuicConnection__frame_handlers"]
        handler, _ = handlers[_CRYPTO_FRAME]
        _require(
            handler.__func__ is not QuicConnection._handle_crypto_frame,
            "handshake data goes another way",
        )

    def _check_keys(self) -> None:
        exported = self.client.export_keying_material(b"EXPORTER-selftest", b"context", 32)
        _require(
            exported == self.server.export_keying_material(b"EXPORTER-selftest", b"context", 32),
            "the exporters differ",
        )
        _require(
            exported != self.server.export_keying_material(b"EXPORTER-selftest", b"other", 32),
            "the exporter ignores its context",
        )
        schedule = self.server.tls.key_schedule
        _require(
            schedule is not None and schedule.cipher_suite == tls.CipherSuite.AES_256_GCM_SHA384,
            "another cipher suite",
        )

    def _check_windows(self) -> None:
        stream_id = self.client.get_next_available_stream_id()
        self.client.send_stream_data(stream_id, bytes(2 * PRE_AUTH_WINDOW))
        self._exchange()
        stream = self.client._streams[stream_id]
        _require(self.received == PRE_AUTH_WINDOW, "the first window is another")
        _require(
            self.client._remote_max_data == PRE_AUTH_WINDOW,
            "the connection's window grows on receipt",
        )
        _require(
            stream.max_stream_data_remote == PRE_AUTH_WINDOW,
            "the stream's window grows on receipt",
        )
        self.server.consumed(stream_id, PRE_AUTH_WINDOW // 2)
        self._exchange()
        _require(
            self.received == PRE_AUTH_WINDOW + PRE_AUTH_WINDOW // 2,
            "the window does not follow the application",
        )
        self.server.authenticated()
        self._exchange()
        _require(self.received == 2 * PRE_AUTH_WINDOW, "authentication does not raise the window")
        _require(
            stream.max_stream_data_remote <= STREAM_WINDOW + 2 * PRE_AUTH_WINDOW,
            "the stream's window is too large",
        )

    def _exchange(self) -> None:
        for _ in range(_ROUNDS):
            self._now += _STEP
            for sender, receiver in ((self.client, self.server), (self.server, self.client)):
                timer = sender.get_timer()
                if timer is not None and timer <= self._now:
                    sender.handle_timer(self._now)
                for train in sender.send_batch(self._now):
                    receiver.receive_batch(train.buffers, _PEER, self._now)
                while (event := receiver.next_event()) is not None:
                    if isinstance(event, events.StreamDataReceived) and receiver is self.server:
                        self.received += len(event.data)
