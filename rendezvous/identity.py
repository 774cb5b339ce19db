"""The node's identity: an Ed25519 key in the state folder, made at the first start.

It is all there is to back up. Peers know the node by the first symbols of its fingerprint,
and the node signs with it on every connection and under every lease.
"""

import os
import stat
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.credentials import SHORT_FINGERPRINT, fingerprint_symbols

KEY_FILE: Final = "node.key"
KEY_SIZE: Final = 32


class IdentityUnusable(Exception):
    """The key file is damaged, or others can read it; the sentence says which."""


class NodeIdentity:
    """The node's key pair.

    Args:
        key: Its private key.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self._public = key.public_key()
        self.public_key = self._public.public_bytes_raw()
        """32 bytes."""
        self.fingerprint = fingerprint_symbols(self.public_key)[:SHORT_FINGERPRINT]
        """What stands after the ``#`` of the node's address."""

    def __repr__(self) -> str:
        return f"<NodeIdentity {self.fingerprint}>"

    @classmethod
    def open(cls, state: Path) -> Self:
        """Return the identity kept in *state*; make folder and key if there are none.

        Raises:
            IdentityUnusable: If the key file is not ours alone, or is no key.
            OSError: If the folder cannot be used.
        """
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = state / KEY_FILE
        try:
            return cls(_read(path))
        except FileNotFoundError:
            pass
        key = Ed25519PrivateKey.generate()
        # Complete under another name first: a crash must not leave half a key behind.
        draft = state / f"{KEY_FILE}.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.private_bytes_raw())
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether *signature* is ours over *message*."""
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def _read(path: Path) -> Ed25519PrivateKey:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise IdentityUnusable(f"{path}: others can read it; chmod 600 it")
        data = file.read(KEY_SIZE + 1)
    if len(data) != KEY_SIZE:
        raise IdentityUnusable(f"{path}: not a key of {KEY_SIZE} bytes")
    return Ed25519PrivateKey.from_private_bytes(data)
