"""CPace against the draft's numbers, and against the draft's algorithm in Python integers."""

import hashlib
import inspect

import nacl.bindings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crypto import cpace
from protocol.errors import CryptoUnusable, SealBroken

# draft-irtf-cfrg-cpace-21, appendix B.1: facts, repeated here so that a lone clone tests them.
PRS = b"Password"
CHANNEL = b"\x0bA_initiator\x0bB_responder"
SID = bytes.fromhex("7E4B4791D6A8EF019B936C79FB7F2C57")
YA_SCALAR = bytes.fromhex("21B4F4BD9E64ED355C3EB676A28EBEDAF6D8F17BDC365995B319097153044080")
YB_SCALAR = bytes.fromhex("848B0779FF415F0AF4EA14DF9DD1D3C29AC41D836C7808896C4EBA19C51AC40A")
YA = bytes.fromhex("1D13C89278CDADD826F6D8D7F887701430F8380DDC17611CDD6DC989CE0C9F32")
YB = bytes.fromhex("248CCCF6D5CDC3646F0AD593F9E6CEF4E69D4945F8372E623512ECEA32185623")
ISK = bytes.fromhex(
    "6E19B875F7A561D6B3CA3DBB9EF42AC55DE3E717881018204B8922B4D5E53BB2"
    "AA82C300BEA7B65D2B671DA71922DDF6472301B79BC270ADFA8BF413285F2263"
)

PRIME, COEFFICIENT = 2**255 - 19, 486662


def oracle_generator(prs: bytes, channel: bytes, sid: bytes) -> int:
    """The draft's generator, literally: Elligator 2 in integers. Its u coordinate."""
    hashed = hashlib.sha512(cpace.generator_string(prs, channel, sid)).digest()[:32]
    r = int.from_bytes(hashed, "little") & (2**255 - 1)
    v = -COEFFICIENT * pow(1 + 2 * r * r, -1, PRIME) % PRIME
    square = pow((v**3 + COEFFICIENT * v * v + v) % PRIME, (PRIME - 1) // 2, PRIME)
    return (square * v - (1 - square) * COEFFICIENT * pow(2, -1, PRIME)) % PRIME


def oracle_ladder(scalar: bytes, u: int) -> bytes:
    """X25519 in integers (RFC 7748, section 5)."""
    k = (int.from_bytes(scalar, "little") & ~7 & (2**255 - 1)) | 2**254
    x2, z2, x3, z3 = 1, 0, u, 1
    for bit in range(254, -1, -1):
        swap = k >> bit & 1
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a % PRIME, c * b % PRIME
        x3, z3 = (da + cb) ** 2 % PRIME, u * (da - cb) ** 2 % PRIME
        e = (a * a - b * b) % PRIME
        x2, z2 = a * a * b * b % PRIME, e * (a * a + 121665 * e) % PRIME
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, -1, PRIME) % PRIME).to_bytes(32, "little")


def test_shares_and_key_are_the_drafts() -> None:
    """Initiator and responder, as appendix B.1 has them."""
    initiator, responder = (YA, b"ADa"), (YB, b"ADb")

    assert cpace.share(PRS, CHANNEL, SID, YA_SCALAR) == YA
    assert cpace.share(PRS, CHANNEL, SID, YB_SCALAR) == YB
    for scalar, initiating in ((YA_SCALAR, True), (YB_SCALAR, False)):
        key = cpace.session_key(scalar, SID, initiator, responder, initiating=initiating)
        assert key == ISK


def test_lengths_over_127_take_more_than_one_byte() -> None:
    """LEB128, as the draft's prepend_len."""
    string = cpace.generator_string(b"p", b"c" * 300, b"s")

    assert string == b"\x08CPace255\x01p\x74" + bytes(116) + b"\xac\x02" + b"c" * 300 + b"\x01s"
    assert len(string[: string.index(b"\xac")]) == 128


@settings(max_examples=25)
@given(
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.binary(max_size=64),
    st.binary(min_size=32, max_size=32),
)
def test_any_share_equals_the_literal_algorithms(
    prs: bytes, channel: bytes, sid: bytes, scalar: bytes
) -> None:
    """The library's map differs from the draft's by torsion only, which no share keeps."""
    expected = oracle_ladder(scalar, oracle_generator(prs, channel, sid))

    assert cpace.share(prs, channel, sid, scalar) == expected


@pytest.mark.parametrize("different", ["prs", "channel", "sid", "data"])
def test_whoever_differs_in_anything_gets_another_key(different: str) -> None:
    """Password, channel identifier, nonces and associated data are all in the key."""
    channel = b"c" + (b"'" if different == "channel" else b"")
    sid = b"s" + (b"'" if different == "sid" else b"")
    data = b"b" + (b"'" if different == "data" else b"")
    prs = b"p" + (b"'" if different == "prs" else b"")
    ours, theirs = b"x" * 32, b"y" * 32
    a, b = cpace.share(b"p", b"c", b"s", ours), cpace.share(prs, channel, sid, theirs)

    left = cpace.session_key(ours, b"s", (a, b"a"), (b, b"b"), initiating=True)
    right = cpace.session_key(theirs, sid, (a, b"a"), (b, data), initiating=False)

    assert left != right


@pytest.mark.parametrize(
    "share",
    [
        bytes(32),
        b"\x01" + bytes(31),
        bytes.fromhex("ECFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF7F"),
        bytes.fromhex("E0EB7A7C3B41B8AE1656E3FAF19FC46ADA098DEB9C32B1FD866205165F49B800"),
        bytes.fromhex("5F9C95BCA3508C24B1D0B1559C83EF5B04445CC4581C8E86D8224EDDD09F1157"),
        b"short",
        bytes(33),
    ],
)
def test_shares_that_force_the_result_are_refused(share: bytes) -> None:
    """Points of small order and other sizes, for either role."""
    good = cpace.share(PRS, CHANNEL, SID, YA_SCALAR)

    for initiating in (True, False):
        pair = ((good, b""), (share, b"")) if initiating else ((share, b""), (good, b""))
        with pytest.raises(SealBroken):
            cpace.session_key(YA_SCALAR, SID, *pair, initiating=initiating)


def test_a_zero_result_is_refused_whatever_the_library_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The draft's own check stands even if libsodium stopped making it."""
    monkeypatch.setattr(nacl.bindings, "crypto_scalarmult", lambda *_: bytes(32))

    with pytest.raises(SealBroken):
        cpace.session_key(YA_SCALAR, SID, (YA, b""), (YB, b""), initiating=True)


def test_start_up_refuses_a_library_without_the_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A minimal libsodium, and one that computes something else."""
    cpace.self_check()

    with monkeypatch.context() as lacking:
        lacking.setattr(nacl.bindings, "has_crypto_core_ed25519", False)
        with pytest.raises(CryptoUnusable, match="lacks"):
            cpace.self_check()
    monkeypatch.setattr(nacl.bindings, "crypto_scalarmult_ed25519_noclamp", lambda _, point: point)
    monkeypatch.setattr(cpace, "_CHECK_SCALAR", YB_SCALAR)
    with pytest.raises(CryptoUnusable, match="another share"):
        cpace.self_check()


def test_no_python_integer_holds_a_password_dependent_value() -> None:
    """Only the public constant is ever computed with Python's arithmetic."""
    source = inspect.getsource(cpace)

    assert source.count("from_bytes") == 0
    assert source.count("pow(") == 1
