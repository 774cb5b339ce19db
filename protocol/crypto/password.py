"""What is derived from the two credentials: the PAKE's input and the Session ID's tags.

Each derivation of a key takes about 0.2 s and 64 MiB; callers run it in a thread, once per
password or Session ID (security.md, 3.3 and T8).
"""

import hmac
from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from protocol.credentials import Password, Secret, SessionId
from protocol.crypto.transcript import PROTOCOL_LABEL, digest

ARGON2_ITERATIONS: Final = 3
ARGON2_MEMORY: Final = 64 * 1024
"""KiB: RFC 9106, section 4, second recommended option."""
ARGON2_LANES: Final = 4

TAG_SIZE: Final = 16
"""Bytes of a tag."""


def _stretch(secret: bytes, salt: bytes) -> Secret:
    kdf = Argon2id(
        salt=salt,
        length=32,
        iterations=ARGON2_ITERATIONS,
        lanes=ARGON2_LANES,
        memory_cost=ARGON2_MEMORY,
    )
    return Secret(kdf.derive(secret))


def derive_prs(password: Password, session_id: SessionId) -> Secret:
    """Return the 32 bytes that CPace proves both sides to know.

    Source: RFC 9106 (Argon2id).
    """
    salt = digest(PROTOCOL_LABEL, b"pw-salt", session_id.encoded)[:16]
    return _stretch(password.normalised, salt)


def derive_tag_key(session_id: SessionId) -> Secret:
    """Return the key of the tags that show knowledge of a Session ID without sending it.

    Slow on purpose: a tag is public on the LAN, and 40 bits under a plain hash would fall in
    minutes. The salt is fixed because a stranger has nothing to derive another one from.
    """
    return _stretch(session_id.encoded, digest(PROTOCOL_LABEL, b"tag-salt")[:16])


def join_tag(tag_key: Secret, nonce: bytes) -> bytes:
    """Return the tag of J1 for its *nonce*: 16 bytes."""
    return hmac.digest(tag_key.reveal(), nonce, "sha256")[:TAG_SIZE]


def discovery_tag(tag_key: Secret, nonce: bytes) -> bytes:
    """Return the tag a member announces on the LAN for its *nonce*: 16 bytes.

    Labelled, so that no announced tag is one of J1: who only heard the LAN must not be able
    to open joins.
    """
    return hmac.digest(tag_key.reveal(), b"mdns" + nonce, "sha256")[:TAG_SIZE]
