"""The key schedule of a join: transcripts, channel keys, confirmations (security.md, 3.4).

Two bindings stand in it, each enough alone against somebody in the middle: the channel
identifier of the password proof, and the transcript in the confirmation keys.
"""

import hashlib
import hmac
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.credentials import SessionId
from protocol.crypto.transcript import PROTOCOL_LABEL, digest, expand, extract, lv
from protocol.errors import SealBroken

NONCE_SIZE: Final = 32
"""Bytes of each side's nonce."""
SEED_SIZE: Final = 32
SAS_SECRET_SIZE: Final = 16
MAC_SIZE: Final = 32

_SAS_MODULUS: Final = 10**12


class RsaKeys(NamedTuple):
    """Keys of the channel under the seed that was sealed to the candidate's RSA key."""

    to_sponsor: bytes
    to_candidate: bytes


class ProofKeys(NamedTuple):
    """Keys that need the password, the seed and the whole transcript."""

    confirm_candidate: bytes
    confirm_sponsor: bytes
    to_sponsor: bytes
    to_candidate: bytes
    sas: bytes


def hello_digest(j1: bytes) -> bytes:
    """Return what J2 seals beside the seed: the candidate sees that its J1 arrived whole."""
    return digest(b"j1", j1)


def sas_commitment(secret: bytes) -> bytes:
    """Return what J1 shows of the candidate's part of the verification digits."""
    return digest(b"sas-commit", secret)


def rsa_transcript(j1: bytes, j2: bytes) -> bytes:
    """Return T1."""
    return digest(b"T1", j1, j2)


def rsa_keys(t1: bytes, seed: bytes) -> RsaKeys:
    prk = extract(t1, seed)
    return RsaKeys(expand(prk, b"rsa c2s"), expand(prk, b"rsa s2c"))


def channel_id(session_id: SessionId, spki: bytes, t1: bytes, exporter: bytes) -> bytes:
    """Return what the password proof is about: this session, RSA key, exchange, connection."""
    spki_digest = hashlib.sha256(spki).digest()
    return lv(
        PROTOCOL_LABEL,
        b"join",
        b"candidate",
        b"sponsor",
        session_id.encoded,
        spki_digest,
        t1,
        exporter,
    )


def proof_transcript(t1: bytes, j3: bytes, j4: bytes, exporter: bytes) -> bytes:
    """Return T2."""
    return digest(b"T2", t1, j3, j4, exporter)


def proof_keys(t2: bytes, isk: bytes, seed: bytes) -> ProofKeys:
    """Return the keys of everything after the shares.

    Args:
        t2: The transcript.
        isk: The result of CPace.
        seed: What was sealed to the candidate's RSA key.
    """
    prk = extract(t2, lv(isk, seed))
    return ProofKeys(
        expand(prk, b"confirm c"), expand(prk, b"confirm s"), expand(prk, b"c2s"),
        expand(prk, b"s2c"), prk,
    )  # fmt: skip


def candidate_mac(keys: ProofKeys, t2: bytes) -> bytes:
    """Return MAC_c: the candidate proves the password first."""
    return hmac.digest(keys.confirm_candidate, t2 + b"candidate", "sha256")


def sponsor_mac(keys: ProofKeys, t2: bytes, mac_c: bytes) -> bytes:
    """Return MAC_s, the sponsor's answer to *mac_c*."""
    return hmac.digest(keys.confirm_sponsor, t2 + mac_c + b"sponsor", "sha256")


def verification_digits(keys: ProofKeys, candidate: bytes, sponsor: bytes) -> str:
    """Return the twelve digits both screens show, in groups of four.

    Args:
        keys: From ``proof_keys``.
        candidate: What the candidate committed to in J1 and opened in J5.
        sponsor: What the sponsor sent in J4.
    """
    material = expand(keys.sas, lv(b"sas", candidate, sponsor), 16)
    digits = f"{int.from_bytes(material, 'big') % _SAS_MODULUS:012d}"
    return " ".join((digits[:4], digits[4:8], digits[8:]))


def welcome_mac(epoch_key: bytes, t2: bytes) -> bytes:
    """Return what J8 answers: only who opened J7 can."""
    return hmac.digest(expand(epoch_key, b"ack"), t2, "sha256")


def seal(key: bytes, number: int, transcript: bytes, plaintext: bytes) -> bytes:
    """Return *plaintext* sealed as the *number*-th use of *key*."""
    return AESGCM(key).encrypt(number.to_bytes(12, "big"), plaintext, transcript)


def unseal(key: bytes, number: int, transcript: bytes, ciphertext: bytes) -> bytes:
    """Return the plaintext of ``seal``.

    Raises:
        SealBroken: If anything differs.
    """
    try:
        return AESGCM(key).decrypt(number.to_bytes(12, "big"), ciphertext, transcript)
    except InvalidTag:
        raise SealBroken from None
