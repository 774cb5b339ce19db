"""What a member keeps about its registration of one session, and shows to any node."""

import hashlib
import os
from dataclasses import dataclass
from typing import Final, Self

from protocol.messages.rendezvous import Register, Rotate

LEASE_KEY_SIZE: Final = 32
"""Bytes of the key that authorises the next change of a session's token."""


@dataclass(slots=True)
class Registration:
    """One session this peer is a member of."""

    session_id: str
    token: bytes
    create: bool
    listening: bool
    lease: bytes = b""
    """What the node last returned."""
    lease_key: bytes = b""
    """Authorises the next change of the token, where this peer may make it (T6)."""
    proposed: tuple[bytes, bytes] | None = None
    """Token and key of a change that the node may have made without our hearing of it."""
    due: float = 0.0
    """Loop time of the next refresh."""

    @classmethod
    def following(
        cls, known: Self | None, session_id: str, token: bytes, *, create: bool, listening: bool
    ) -> Self:
        """Return a registration that keeps what is still true of *known*."""
        new = cls(session_id, token, create, listening)
        if create:
            new.lease_key = os.urandom(LEASE_KEY_SIZE)
        if known is not None and known.token == token:
            new.lease, new.lease_key = known.lease, known.lease_key
        elif known is not None and known.proposed is not None and known.proposed[0] == token:
            new.lease_key = known.proposed[1]
        return new

    def message(self, request_id: int) -> Register:
        """Return what registers or refreshes."""
        # The key itself is shown once the node has its hash, as its keeper's sign of life.
        return Register(
            request_id=request_id,
            session_id=self.session_id,
            token=self.token,
            lease=self.lease,
            create=self.create,
            listening=self.listening,
            lease_key=b"" if self.create else self.lease_key,
            lease_key_hash=_hash(self.lease_key) if self.create else b"",
        )

    def propose(self, request_id: int, new_token: bytes, new_epoch: int) -> Rotate:
        """Return what lets another token count, with a new key for the change after it."""
        self.proposed = new_token, os.urandom(LEASE_KEY_SIZE)
        return Rotate(
            request_id=request_id,
            session_id=self.session_id,
            token=self.token,
            new_token_hash=_hash(new_token),
            new_epoch=new_epoch,
            lease_key=self.lease_key,
            new_lease_key_hash=_hash(self.proposed[1]),
        )

    def rotated(self, lease: bytes) -> None:
        """The node made the proposed change."""
        assert self.proposed is not None, "only what was proposed is made"
        self.token, self.lease_key = self.proposed
        self.lease, self.create, self.proposed = lease, False, None


def _hash(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest() if secret else b""
