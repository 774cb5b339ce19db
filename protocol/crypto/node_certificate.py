"""How a node shows, beside its own key, a certificate that the public trusts.

TLS certificates are throw-away here (security.md, D6); so the one of a public authority travels
in the greeting, with a signature of its key over the exporter of this very connection. Whoever
demands it needs to know nothing of the node but its name.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from protocol.crypto.transcript import lv
from protocol.errors import SealBroken

_LABEL: Final = b"quintet/1 rv certificate"

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
"""What a public authority certifies."""


def prove(key: PrivateKey, exporter: bytes) -> bytes:
    """Return the signature of the certified key for the connection of *exporter*."""
    said = lv(_LABEL, exporter)
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(said, ec.ECDSA(hashes.SHA256()))
        case rsa.RSAPrivateKey():
            return key.sign(said, _pss(), hashes.SHA256())
        case _:
            return key.sign(said)


def check(
    chain: Sequence[bytes],
    proof: bytes,
    exporter: bytes,
    *,
    name: str,
    roots: Sequence[x509.Certificate],
    at: dt.datetime,
) -> None:
    """Check that a public authority vouches for the node *name* on this connection.

    Args:
        chain: The certificates the node sent, DER, its own first.
        proof: Its signature.
        exporter: Of the connection.
        name: The name people know the node by.
        roots: Authorities that are trusted.
        at: The time of day.

    Raises:
        SealBroken: If not.
    """
    try:
        leaf, *others = (x509.load_der_x509_certificate(each) for each in chain)
        policy = PolicyBuilder().store(Store(list(roots))).time(at)
        policy.build_server_verifier(x509.DNSName(name)).verify(leaf, others)
        _verify(leaf, proof, lv(_LABEL, exporter))
    except (ValueError, VerificationError, InvalidSignature):
        raise SealBroken from None


def _verify(leaf: x509.Certificate, proof: bytes, said: bytes) -> None:
    match leaf.public_key():
        case ec.EllipticCurvePublicKey() as key:
            key.verify(proof, said, ec.ECDSA(hashes.SHA256()))
        case rsa.RSAPublicKey() as key:
            key.verify(proof, said, _pss(), hashes.SHA256())
        case ed25519.Ed25519PublicKey() as key:
            key.verify(proof, said)
        case _:
            raise InvalidSignature


def _pss() -> padding.PSS:
    return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
