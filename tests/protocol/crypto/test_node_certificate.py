import datetime as dt

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding

from protocol.crypto.node_certificate import PrivateKey, _verify, check, prove
from protocol.crypto.transcript import lv
from protocol.errors import SealBroken
from tests.harness.authority import Authority, new_key

AUTHORITY = Authority()
NAME, EXPORTER = "node.example", b"e" * 32
KEY = new_key("p256")
CHAIN = [AUTHORITY.certify(NAME, KEY).public_bytes(Encoding.DER)]
PROOF = prove(KEY, EXPORTER)
NOW = dt.datetime.now(dt.UTC)


def checked(
    *,
    chain: list[bytes] = CHAIN,
    proof: bytes = PROOF,
    exporter: bytes = EXPORTER,
    name: str = NAME,
    authority: Authority = AUTHORITY,
    at: dt.datetime = NOW,
) -> None:
    check(chain, proof, exporter, name=name, roots=[authority.root], at=at)


def test_a_certified_node_is_known_by_its_name() -> None:
    """Nothing else need be known of it."""
    checked()


@pytest.mark.parametrize(
    "changed",
    [
        {"chain": []},
        {"chain": [b"not a certificate"]},
        {"proof": b""},
        {"proof": PROOF[:-1] + bytes([PROOF[-1] ^ 1])},
        {"exporter": b"of another connection".ljust(32)},
        {"name": "other.example"},
        {"name": ""},
        {"authority": Authority()},
        {"at": NOW + dt.timedelta(days=4000)},
    ],
)
def test_whatever_does_not_fit_is_refused(changed: dict[str, object]) -> None:
    """Chain, signature, connection, name, authority and time all count."""
    with pytest.raises(SealBroken):
        checked(**changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key",
    [KEY, ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)],
    ids=lambda key: type(key).__name__,
)
def test_every_kind_of_certified_key_signs(key: PrivateKey) -> None:
    """The authority's policy may still refuse a kind."""
    certificate = AUTHORITY.certify(NAME, key)

    _verify(certificate, prove(key, EXPORTER), lv(b"quintet/1 rv certificate", EXPORTER))


def test_a_key_that_cannot_sign_proves_nothing() -> None:
    """Its certificate may be genuine."""
    certificate = AUTHORITY.certify(NAME, x25519.X25519PrivateKey.generate())

    with pytest.raises(InvalidSignature):
        _verify(certificate, b"", b"")
