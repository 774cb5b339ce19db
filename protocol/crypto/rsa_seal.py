"""The candidate's RSA pair and what a sponsor seals to it (security.md, D1 and 3.1)."""

from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from protocol.errors import MalformedMessage, SealBroken

MODULUS_BITS: Final = 3072
PUBLIC_EXPONENT: Final = 65537
SPKI_SIZE: Final = 422
"""Bytes of the canonical DER of a public key with this modulus and exponent."""
SEALED_SIZE: Final = MODULUS_BITS // 8

SEED: Final = b"quintet/1 seed"
WELCOME: Final = b"quintet/1 welcome"
"""OAEP labels: what was sealed for J2 opens nowhere else."""


def _oaep(label: bytes) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label)


def _encode(public: rsa.RSAPublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class CandidateKey:
    """The RSA pair of one join dialog; dropped with it, never stored.

    Args:
        private: A private key of ``MODULUS_BITS``.
    """

    __slots__ = ("_private", "spki")

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private
        self.spki: Final = _encode(private.public_key())

    @classmethod
    def generate(cls) -> Self:
        """Make a pair: 0.2 s in the median, over 1 s at worst; callers use a thread.

        The random bytes are OpenSSL's own; it takes none from outside.
        """
        return cls(rsa.generate_private_key(PUBLIC_EXPONENT, MODULUS_BITS))

    def open(self, sealed: bytes, label: bytes) -> bytes:
        """Return what was sealed to this key under *label*.

        Raises:
            SealBroken: For every reason alike.
        """
        try:
            return self._private.decrypt(sealed, _oaep(label))
        except ValueError:
            raise SealBroken from None

    def __repr__(self) -> str:
        return "<CandidateKey>"


def read_spki(spki: bytes) -> rsa.RSAPublicKey:
    """Return the public key of a candidate.

    Raises:
        MalformedMessage: Unless *spki* is the canonical DER of an RSA key of exactly
            3072 bits with exponent 65537.
    """
    # The size alone refuses every other size and every padded encoding before OpenSSL parses.
    if len(spki) != SPKI_SIZE:
        raise MalformedMessage("no key of a candidate")
    try:
        public = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedMessage("no public key") from None
    # The parser takes strict DER only; comparing the encoding does not rest on that.
    if not (
        isinstance(public, rsa.RSAPublicKey)
        and public.key_size == MODULUS_BITS
        and public.public_numbers().e == PUBLIC_EXPONENT
        and _encode(public) == spki
    ):
        raise MalformedMessage("no key of a candidate")
    return public


def seal(public: rsa.RSAPublicKey, plaintext: bytes, label: bytes) -> bytes:
    """Return *plaintext* (at most 318 bytes) sealed to *public*: 384 bytes.

    Raises:
        MalformedMessage: If OpenSSL refuses the key, which a stranger chose.

    Source: RFC 8017, section 7.1 (RSAES-OAEP with SHA-256 and MGF1 of it).
    """
    try:
        return public.encrypt(plaintext, _oaep(label))
    except ValueError:
        raise MalformedMessage("unusable key") from None
