"""Which versions this build speaks: one decision, one place."""

from typing import Final

VERSION: Final = 1
"""Version of the join, link and session protocol; inside J1, so inside every transcript."""

SUITE: Final = 1
"""RSA-3072-OAEP-SHA256, CPACE-X25519-SHA512, AES-256-GCM; 2 is reserved (with ML-KEM)."""

PEER_ALPN: Final = "quintet/1"
"""ALPN between members (T26: exactly one)."""

RENDEZVOUS_ALPN: Final = "quintet-rv/1"
"""ALPN between a peer and the rendezvous node."""

RENDEZVOUS_VERSION: Final = 1
"""Version of the rendezvous messages a peer speaks."""

RENDEZVOUS_VERSIONS: Final = frozenset({RENDEZVOUS_VERSION})
"""Versions a node serves: this one and, once there is one, the one before."""

JOIN_EXPORTER: Final = b"EXPORTER-quintet-join-v1"
"""Label of the TLS exporter a join is bound to; its context is the Session ID (RFC 9266's way)."""

LINK_EXPORTER: Final = b"EXPORTER-quintet-link-v1"
"""Label of the TLS exporter a link is bound to; its context is empty."""

EXPORTER_SIZE: Final = 32
"""Bytes taken of either."""
