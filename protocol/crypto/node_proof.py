"""How the rendezvous node shows who it is, on one very connection.

TLS certificates are throw-away here (security.md, D6). The node signs the connection's
exporter with its long-term key instead: nobody in between can pass the proof on, because
theirs are two connections with two exporters.
"""

from collections.abc import Callable
from typing import Final

from protocol.crypto.identity import verify
from protocol.crypto.transcript import lv

EXPORTER_LABEL: Final = b"EXPORTER-quintet-rv-v1"
EXPORTER_SIZE: Final = 32

_LABEL: Final = b"quintet/1 rv node"


def prove(exporter: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Return the proof for the connection of *exporter*, 64 bytes."""
    return sign(lv(_LABEL, exporter))


def check(node_key: bytes, exporter: bytes, proof: bytes) -> None:
    """Check that the holder of *node_key* is at the other end.

    Raises:
        SealBroken: If it is not.
    """
    verify(node_key, proof, _LABEL, exporter)
