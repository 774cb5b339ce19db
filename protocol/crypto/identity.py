"""The long-term Ed25519 key of a device, and what it signs."""

from collections.abc import Callable
from typing import Final, Self

import nacl.bindings
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol import credentials
from protocol.credentials import Secret
from protocol.crypto.transcript import lv
from protocol.errors import SealBroken

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64

JOIN_CANDIDATE: Final = b"quintet/1 join id c"
JOIN_SPONSOR: Final = b"quintet/1 join id s"
LINK: Final = b"quintet/1 link"
COMMIT: Final = b"quintet/1 commit"
START: Final = b"quintet/1 start"
"""What a signature is for; no two uses share a label, so none passes for another."""


class NodeIdentity:
    """A device's key pair.

    Args:
        private: The 32-byte seed (RFC 8032, section 5.1.5), from ``private_bytes`` or random.
    """

    __slots__ = ("_key", "node_key")

    def __init__(self, private: Secret) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private.reveal())
        self.node_key: Final = self._key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes]) -> Self:
        return cls(Secret(random_bytes(KEY_SIZE)))

    def private_bytes(self) -> Secret:
        """Return the seed, for the one file it is kept in."""
        return Secret(self._key.private_bytes_raw())

    @property
    def fingerprint(self) -> str:
        """What people compare: eight groups of four symbols."""
        return credentials.fingerprint(self.node_key)

    def sign(self, label: bytes, *parts: bytes) -> bytes:
        """Return the 64-byte signature of *parts* under one of this module's labels."""
        return self._key.sign(lv(label, *parts))

    def __repr__(self) -> str:
        return f"<NodeIdentity {self.fingerprint}>"


def is_node_key(node_key: bytes) -> bool:
    """Whether *node_key* is a point of the prime-order group, in its one encoding.

    Points of small order would let one signature pass for every message.
    """
    return len(node_key) == KEY_SIZE and nacl.bindings.crypto_core_ed25519_is_valid_point(node_key)


def verify(node_key: bytes, signature: bytes, label: bytes, *parts: bytes) -> None:
    """Check that the owner of *node_key* signed *parts* under *label*.

    Raises:
        SealBroken: If not, or if *node_key* is no usable key.
    """
    if not is_node_key(node_key):
        raise SealBroken
    try:
        Ed25519PublicKey.from_public_bytes(node_key).verify(signature, lv(label, *parts))
    except InvalidSignature:
        raise SealBroken from None
