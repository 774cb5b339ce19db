"""Published vectors through our wrappers, or through the primitive a wrapper calls."""

import hashlib
import hmac
import json
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

import nacl.bindings
import nacl.exceptions
import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_der_private_key

from protocol.credentials import Secret
from protocol.crypto import cpace
from protocol.crypto.chunked import HEADER_SIZE, ChunkOpener
from protocol.crypto.identity import is_node_key
from protocol.crypto.rsa_seal import CandidateKey
from protocol.crypto.transcript import extract
from protocol.errors import LocalProtocolError, SealBroken

VECTORS = pathlib.Path(__file__).resolve().parents[3].parent / "shared" / "vectors"

# The folder stands beside the project's checkouts; a lone clone has none, its CI neither.
pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="no shared/vectors beside this clone")


def load(name: str) -> dict[str, Any]:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def cases(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in load(name)["testGroups"]:
        for case in group["tests"]:
            yield group, case


def unhex(case: dict[str, Any], *names: str) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(case[name]) for name in names)


def test_aes_256_gcm() -> None:
    """All 66 with a 256-bit key, a 96-bit nonce and a whole tag."""
    seen, wrong = 0, []
    for group, case in cases("aes_gcm_test"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        key, iv, aad, message, ciphertext, tag = unhex(case, "key", "iv", "aad", "msg", "ct", "tag")
        seen += 1
        try:
            good = AESGCM(key).decrypt(iv, ciphertext + tag, aad) == message
            good = good and AESGCM(key).encrypt(iv, message, aad) == ciphertext + tag
        except InvalidTag:
            good = False
        if good != (case["result"] == "valid"):
            wrong.append(case["tcId"])

    assert (seen, wrong) == (66, [])


def test_rsa_oaep_3072_sha256() -> None:
    """All 37: what is invalid ends in the one error."""
    seen, wrong = 0, []
    (group,) = load("rsa_oaep_3072_sha256_mgf1sha256_test")["testGroups"]
    private = load_der_private_key(bytes.fromhex(group["privateKeyPkcs8"]), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    for case in group["tests"]:
        message, ciphertext, label = unhex(case, "msg", "ct", "label")
        seen += 1
        try:
            good = CandidateKey(private).open(ciphertext, label) == message
        except SealBroken:
            good = False
        if good != (case["result"] == "valid"):
            wrong.append(case["tcId"])

    assert (seen, wrong) == (37, [])


@pytest.mark.parametrize(
    ("name", "algorithm", "count"),
    [
        ("hkdf_sha256_test", hashes.SHA256(), 86),
        ("hkdf_sha512_test", hashes.SHA512(), 83),
    ],
)
def test_hkdf(name: str, algorithm: hashes.HashAlgorithm, count: int) -> None:
    """Extract and expand; more than 255 blocks are refused."""
    seen, wrong = 0, []
    for _, case in cases(name):
        key, salt, info, expected = unhex(case, "ikm", "salt", "info", "okm")
        seen += 1
        try:
            good = HKDF(algorithm, case["size"], salt, info).derive(key) == expected
        except ValueError:
            good = False
        if good != (case["result"] == "valid"):
            wrong.append(case["tcId"])

    assert (seen, wrong) == (count, [])


def test_hmac_sha256() -> None:
    """All 174, truncated tags compared by their prefix."""
    seen, wrong = 0, []
    for group, case in cases("hmac_sha256_test"):
        key, message, tag = unhex(case, "key", "msg", "tag")
        seen += 1
        computed = extract(key, message)[: group["tagSize"] // 8]
        if hmac.compare_digest(computed, tag) != (case["result"] == "valid"):
            wrong.append(case["tcId"])

    assert (seen, wrong) == (174, [])


def test_x25519() -> None:
    """All 518; a result of zero is refused instead of returned."""
    seen, wrong = 0, []
    for _, case in cases("x25519_test"):
        public, private, shared = unhex(case, "public", "private", "shared")
        seen += 1
        try:
            good = nacl.bindings.crypto_scalarmult(private, public) == shared
        except nacl.exceptions.RuntimeError:
            good = shared == bytes(32)
        if not good:
            wrong.append(case["tcId"])

    assert (seen, wrong) == (518, [])


def test_ed25519() -> None:
    """All 151; every key of a valid signature is one a device may have."""
    seen, wrong = 0, []
    for group, case in cases("ed25519_test"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = unhex(case, "msg", "sig")
        seen += 1
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            good = is_node_key(public)
        except InvalidSignature:
            good = False
        if good != (case["result"] == "valid"):
            wrong.append(case["tcId"])

    assert (seen, wrong) == (151, [])


def test_chunked_encryption() -> None:
    """All 35, byte by byte through the opener and in one piece."""
    seen, wrong = 0, []
    for _, case in cases("c2sp_chunked_encryption_aes_256_gcm_test"):
        key, context, packed = unhex(case, "key", "ctx", "ct")
        message = zlib.decompress(packed)
        seen += 1
        for step in (max(len(message), 1), 4099):
            found, valid = read_chunked(key, context, message, step)
            expected = case.get("msgSha512") if valid or found else None
            if valid != (case["result"] == "valid") or (
                expected is not None and hashlib.sha512(found).hexdigest() != expected
            ):
                wrong.append(case["tcId"])

    assert (seen, wrong) == (35, [])


def read_chunked(key: bytes, context: bytes, message: bytes, step: int) -> tuple[bytes, bool]:
    """What the opener gives of a message, and whether it calls it whole."""
    found = b""
    try:
        opener = ChunkOpener(Secret(key), context, len(message), 16 * 1024)
        for place in range(0, len(message), step):
            found += b"".join(opener.feed(message[place : place + step]))
    except (SealBroken, LocalProtocolError):
        return found, False
    assert len(message) >= HEADER_SIZE
    return found, opener.finished


def test_cpace() -> None:
    """The group's whole run, and every point that must be refused."""
    vectors = load("cpace_draft21")
    group = vectors["G_25519"]
    prs, channel, sid = unhex(group, "PRS", "CI", "sid")
    scalar_a, data_a, share_a = unhex(group, "ya", "ADa", "Ya")
    scalar_b, data_b, share_b = unhex(group, "yb", "ADb", "Yb")
    initiator, responder = (share_a, data_a), (share_b, data_b)

    assert cpace.share(prs, channel, sid, scalar_a) == share_a
    assert cpace.share(prs, channel, sid, scalar_b) == share_b
    for scalar, initiating in ((scalar_a, True), (scalar_b, False)):
        key = cpace.session_key(scalar, sid, initiator, responder, initiating=initiating)
        assert key == bytes.fromhex(group["ISK_IR"])
    refused = set()
    for name, point in vectors["X25519_points"].items():
        bad = (bytes.fromhex(point), b"")
        try:
            cpace.session_key(scalar_a, sid, initiator, bad, initiating=True)
        except SealBroken:
            refused.add(name.removeprefix("Invalid Y"))
    # The others are harmless once the top bit is masked, which RFC 7748 asks for.
    assert refused == {"0", "1", "2", "3", "4", "5", "7"}


def test_argon2id() -> None:
    """RFC 9106, section 5.3, with the library our derivation calls."""
    kdf = Argon2id(
        salt=b"\x02" * 16,
        length=32,
        iterations=3,
        lanes=4,
        memory_cost=32,
        ad=b"\x04" * 12,
        secret=b"\x03" * 8,
    )

    assert kdf.derive(b"\x01" * 32).hex() == (
        "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    )
