"""CPACE-X25519-SHA512, the password-authenticated key exchange, with libsodium's arithmetic.

No Python integer ever holds a value that depends on the password. libsodium offers the map to
the Edwards curve, multiplied by the cofactor; multiplying by its inverse leaves the part of
prime order, and the ladder's clamped scalars remove the rest of the draft's point as well. So
every share and every result equals the draft's, byte for byte (security.md, 3.5).

Source: draft-irtf-cfrg-cpace-21, sections 6, 7 and 8.1 (initiator and responder).
"""

import hashlib
import hmac
from typing import Final

import nacl.bindings
import nacl.exceptions

from protocol.errors import CryptoUnusable, SealBroken

SHARE_SIZE: Final = 32
SCALAR_SIZE: Final = 32

_DSI: Final = b"CPace255"
_HASH_BLOCK: Final = 128
"""Bytes SHA-512 takes at a time; the generator string pads the password to one block."""
_GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_INVERSE_OF_8: Final = pow(8, -1, _GROUP_ORDER).to_bytes(32, "little")


def _prefixed(data: bytes) -> bytes:
    """Return *data* after its length in LEB128."""
    length, prefix = len(data), b""
    while length > 127:  # noqa: PLR2004  # seven bits of a LEB128 byte
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return prefix + bytes([length]) + data


def _concatenated(*parts: bytes) -> bytes:
    return b"".join(map(_prefixed, parts))


def generator_string(prs: bytes, channel: bytes, sid: bytes) -> bytes:
    """Return what is hashed to the generator."""
    padding = max(0, _HASH_BLOCK - 1 - len(_prefixed(prs)) - len(_prefixed(_DSI)))
    return _concatenated(_DSI, prs, bytes(padding), channel, sid)


def _generator(prs: bytes, channel: bytes, sid: bytes) -> bytes:
    uniform = hashlib.sha512(generator_string(prs, channel, sid)).digest()[:32]
    point = nacl.bindings.crypto_core_ed25519_from_uniform(uniform)
    point = nacl.bindings.crypto_scalarmult_ed25519_noclamp(_INVERSE_OF_8, point)
    return nacl.bindings.crypto_sign_ed25519_pk_to_curve25519(point)


def share(prs: bytes, channel: bytes, sid: bytes, scalar: bytes) -> bytes:
    """Return the share to send for the fresh random *scalar* of 32 bytes.

    Args:
        prs: What both sides must know.
        channel: The channel identifier; other keys, roles or connections make another one.
        sid: Both sides' nonces.
        scalar: 32 random bytes, used in this run only.
    """
    return nacl.bindings.crypto_scalarmult(scalar, _generator(prs, channel, sid))


def session_key(
    scalar: bytes,
    sid: bytes,
    initiator: tuple[bytes, bytes],
    responder: tuple[bytes, bytes],
    *,
    initiating: bool,
) -> bytes:
    """Return the 64-byte intermediate session key.

    Args:
        scalar: The scalar of this side's share.
        sid: Both sides' nonces.
        initiator: Share and associated data of the initiator.
        responder: Share and associated data of the responder.
        initiating: Whether this side is the initiator.

    Raises:
        SealBroken: If the other side's share has a wrong size or a small order.
    """
    other, _ = responder if initiating else initiator
    if len(other) != SHARE_SIZE:
        raise SealBroken
    try:
        secret = nacl.bindings.crypto_scalarmult(scalar, other)
    except nacl.exceptions.RuntimeError:
        raise SealBroken from None
    # libsodium has refused this already; the draft asks for it, so it does not rest on that.
    if hmac.compare_digest(secret, bytes(SHARE_SIZE)):
        raise SealBroken
    transcript = _concatenated(*initiator) + _concatenated(*responder)
    return hashlib.sha512(_concatenated(_DSI + b"_ISK", sid, secret) + transcript).digest()


# The first run of appendix B.1 of the draft, shortened to what start-up compares.
_CHECK_PRS: Final = b"Password"
_CHECK_CHANNEL: Final = b"\x0bA_initiator\x0bB_responder"
_CHECK_SID: Final = bytes.fromhex("7e4b4791d6a8ef019b936c79fb7f2c57")
_CHECK_SCALAR: Final = bytes.fromhex(
    "21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080"
)
_CHECK_SHARE: Final = bytes.fromhex(
    "1d13c89278cdadd826f6d8d7f887701430f8380ddc17611cdd6dc989ce0c9f32"
)


def self_check() -> None:
    """Check at start-up that libsodium has the functions and computes the draft's share.

    Raises:
        CryptoUnusable: If not: some distributions build a libsodium without them.
    """
    if not (nacl.bindings.has_crypto_core_ed25519 and nacl.bindings.has_crypto_scalarmult_ed25519):
        raise CryptoUnusable("libsodium lacks the functions of Ed25519's group")
    if share(_CHECK_PRS, _CHECK_CHANNEL, _CHECK_SID, _CHECK_SCALAR) != _CHECK_SHARE:
        raise CryptoUnusable("libsodium computes another share than the draft")
