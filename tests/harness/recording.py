"""Programs that are the real ones, and note beside it what a test must search for.

``python -m tests.harness.recording peer NOTES …`` is ``quintet`` that notes every secret it
derives; ``… node NOTES …`` is ``quintet-rendezvous`` that notes everything it is sent, after the
transport's encryption is off. Notes are lines of a kind and bytes in hexadecimal.
"""

import os
import sys
from pathlib import Path
from typing import Any, Final

PEER: Final = "peer"
NODE: Final = "node"

TOKEN: Final = b"rendezvous token"
"""Label of the one derived value that is meant for the node."""


class Notes:
    """Appends to a file, from any thread."""

    def __init__(self, path: str) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, kind: str, value: bytes) -> None:
        os.write(self._handle, f"{kind} {value.hex()}\n".encode())


def read_notes(path: Path) -> dict[str, list[bytes]]:
    """Return what was noted, by kind."""
    found: dict[str, list[bytes]] = {}
    for line in path.read_text().splitlines():
        kind, _, value = line.partition(" ")
        found.setdefault(kind, []).append(bytes.fromhex(value))
    return found


def note_secrets(notes: Notes) -> None:
    """Note every secret and derived key; call it before anything else is imported."""
    from protocol import credentials
    from protocol.crypto import transcript

    keep = credentials.Secret.__init__
    expand, extract = transcript.expand, transcript.extract

    def noted_secret(self: credentials.Secret, value: bytes) -> None:
        notes.add("secret", value)
        keep(self, value)

    def noted_expand(prk: bytes, label: bytes, length: int = 32) -> bytes:
        value = expand(prk, label, length)
        notes.add("token" if TOKEN in label else "derived", value)
        return value

    def noted_extract(salt: bytes, material: bytes) -> bytes:
        value = extract(salt, material)
        notes.add("derived", value)
        return value

    patched: dict[Any, dict[str, Any]] = {
        credentials.Secret: {"__init__": noted_secret},
        transcript: {"expand": noted_expand, "extract": noted_extract},
    }
    for place, changes in patched.items():
        for name, value in changes.items():
            setattr(place, name, value)


def note_received(notes: Notes) -> None:
    """Note every byte of every stream, and every message as it was understood."""
    from protocol import codec, framing
    from rendezvous import broker

    feed, receive = framing.FrameReader.feed, broker.Broker.receive_message

    def noted_feed(self: Any, data: bytes) -> Any:
        notes.add("bytes", bytes(data))
        return feed(self, data)

    def noted_receive(self: Any, connection_id: int, message: Any, *, now: float) -> None:
        notes.add("message", codec.encode(message))
        receive(self, connection_id, message, now=now)

    for place, name, value in (
        (framing.FrameReader, "feed", noted_feed),
        (broker.Broker, "receive_message", noted_receive),
    ):
        setattr(place, name, value)


def _main() -> None:
    kind, path, *arguments = sys.argv[1:]
    notes = Notes(path)
    sys.argv[1:] = arguments
    if kind == PEER:
        note_secrets(notes)
        from peer.cli.main import main as quintet

        quintet()
    else:
        note_received(notes)
        from rendezvous.cli import main as node

        node()


if __name__ == "__main__":
    _main()
