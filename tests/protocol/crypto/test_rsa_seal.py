"""The candidate's RSA pair."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.crypto.rsa_seal import (
    SEALED_SIZE,
    SEED,
    SPKI_SIZE,
    WELCOME,
    CandidateKey,
    read_spki,
    seal,
)
from protocol.errors import MalformedMessage, SealBroken
from tests.harness.rsa_pairs import PAIR, SECOND_PAIR


def spki(public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_what_is_sealed_opens_with_the_pair_and_label_it_was_sealed_for() -> None:
    """Nothing else opens it, and every failure looks the same."""
    sealed = seal(read_spki(PAIR.spki), b"seed", SEED)
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]

    assert len(sealed) == SEALED_SIZE
    assert PAIR.open(sealed, SEED) == b"seed"
    for pair, data, label in [
        (SECOND_PAIR, sealed, SEED),
        (PAIR, sealed, WELCOME),
        (PAIR, flipped, SEED),
        (PAIR, sealed[1:], SEED),
        (PAIR, b"", SEED),
    ]:
        with pytest.raises(SealBroken) as caught:
            pair.open(data, label)
        assert str(caught.value) == "seal broken"


def test_a_generated_pair_is_one_the_sponsor_accepts() -> None:
    """3072 bits, exponent 65537, canonical."""
    pair = CandidateKey.generate()

    public = read_spki(pair.spki)

    assert public.key_size == 3072
    assert len(pair.spki) == SPKI_SIZE
    assert repr(pair) == "<CandidateKey>"


def unusual_keys() -> list[bytes]:
    """Encodings of the right size, or keys of another kind or size."""
    good = PAIR.spki
    modulus = int.from_bytes(good[-SEALED_SIZE - 5 : -5], "big")
    exponent_3 = spki(rsa.RSAPublicNumbers(3, modulus).public_key())
    return [
        b"",
        good[:-1],
        good + b"\x00",
        good[:-3] + b"\x01\x00\x03",
        bytes([good[0] ^ 1]) + good[1:],
        # The algorithm's parameters, NULL, become another type of the same size.
        good.replace(b"\x05\x00\x03\x82", b"\x02\x00\x03\x82"),
        # One leading bit less: a modulus of 3071 bits.
        good.replace(modulus.to_bytes(SEALED_SIZE), (modulus >> 1 | 1).to_bytes(SEALED_SIZE)),
        exponent_3,
        exponent_3.ljust(SPKI_SIZE, b"\x00"),
        spki(rsa.RSAPublicNumbers(65537, (1 << 2047) | 1).public_key()),
        spki(ec.generate_private_key(ec.SECP256R1()).public_key()),
        spki(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()),
        # Another curve's key padded to the size, which is all the first check sees.
        spki(ec.generate_private_key(ec.SECP256R1()).public_key()).ljust(SPKI_SIZE, b"\x00"),
        bytes(SPKI_SIZE),
    ]


@pytest.mark.parametrize("number", range(len(unusual_keys())))
def test_only_canonical_3072_bit_keys_are_read(number: int) -> None:
    """RSA-2048, other exponents, other curves, other encodings of the same key."""
    with pytest.raises(MalformedMessage):
        read_spki(unusual_keys()[number])


def test_a_key_that_cannot_seal_is_malformed() -> None:
    """OpenSSL refuses an even modulus when it encrypts, or the parser before; never a crash."""
    good = PAIR.spki
    even = good[:-6] + bytes([good[-6] & 0xFE]) + good[-5:]

    with pytest.raises(MalformedMessage):
        seal(read_spki(even), b"seed", SEED)
    with pytest.raises(MalformedMessage):
        seal(read_spki(good), bytes(319), SEED)
