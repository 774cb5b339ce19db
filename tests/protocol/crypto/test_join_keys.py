"""The key schedule of a join."""

import pytest

from protocol.credentials import SessionId
from protocol.crypto import join_keys
from protocol.errors import SealBroken

SESSION = SessionId.generate(bytes)
OTHER = SessionId.generate(lambda n: bytes([1]) * n)


def test_every_key_and_proof_is_another() -> None:
    """One secret, many uses, no two equal; twelve digits from the last key."""
    rsa = join_keys.rsa_keys(b"t1", b"seed")
    proof = join_keys.proof_keys(b"t2", b"isk", b"seed")
    mac_c = join_keys.candidate_mac(proof, b"t2")
    mac_s = join_keys.sponsor_mac(proof, b"t2", mac_c)

    assert len({*rsa, *proof, mac_c, mac_s}) == 9
    digits = join_keys.verification_digits(proof, b"c", b"s")
    assert digits.replace(" ", "").isdigit()
    assert len(digits) == 14


def test_all_that_is_bound_changes_what_is_derived() -> None:
    """The channel identifier, both transcripts, the keys, the digits."""
    assert len(
        {
            join_keys.channel_id(SESSION, b"spki", b"t1", b"x"),
            join_keys.channel_id(OTHER, b"spki", b"t1", b"x"),
            join_keys.channel_id(SESSION, b"spkj", b"t1", b"x"),
            join_keys.channel_id(SESSION, b"spki", b"t2", b"x"),
            join_keys.channel_id(SESSION, b"spki", b"t1", b"y"),
        }
    ) == 5  # fmt: skip
    transcripts = [(b"a", b"b", b"c", b"d"), (b"ab", b"", b"c", b"d"), (b"a", b"b", b"c", b"e")]
    assert len({join_keys.proof_transcript(*parts) for parts in transcripts}) == 3
    keys = [(b"t", b"isk", b"seed"), (b"u", b"isk", b"seed"), (b"t", b"isks", b"eed")]
    assert len({join_keys.proof_keys(*parts) for parts in keys}) == 3
    proof = join_keys.proof_keys(*keys[0])
    secrets = [(b"c", b"s"), (b"cs", b""), (b"c", b"t")]
    assert len({join_keys.verification_digits(proof, *pair) for pair in secrets}) == 3


def test_a_seal_opens_for_its_key_use_and_transcript_only() -> None:
    """One error for everything."""
    sealed = join_keys.seal(b"k" * 32, 1, b"t", b"content")

    assert join_keys.unseal(b"k" * 32, 1, b"t", sealed) == b"content"
    for key, number, transcript, data in [
        (b"l" * 32, 1, b"t", sealed),
        (b"k" * 32, 2, b"t", sealed),
        (b"k" * 32, 1, b"u", sealed),
        (b"k" * 32, 1, b"t", sealed[:-1]),
        (b"k" * 32, 1, b"t", b""),
    ]:
        with pytest.raises(SealBroken):
            join_keys.unseal(key, number, transcript, data)
