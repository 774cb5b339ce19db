"""The certificate of a public authority that the operator's tools keep up to date."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from protocol.crypto.node_certificate import PrivateKey, prove

MAX_CHAIN: Final = 4
"""Certificates sent: one's own and those up to a root; the greeting has room for them."""


class CertificateUnusable(Exception):
    """Chain or key cannot be used; the sentence says which and why."""


@dataclass(frozen=True, slots=True)
class PublicCertificate:
    """A chain and its key."""

    chain: tuple[bytes, ...]
    """DER, the node's own first."""
    key: PrivateKey = field(repr=False)

    @classmethod
    def read(cls, chain: Path, key: Path) -> Self:
        """Return what is in two PEM files, as ACME clients write them.

        Raises:
            CertificateUnusable: If they cannot be read, or do not belong together.
        """
        try:
            certificates = x509.load_pem_x509_certificates(chain.read_bytes())
        except (OSError, ValueError) as error:
            raise CertificateUnusable(f"{chain}: {error}") from error
        try:
            private = load_pem_private_key(key.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise CertificateUnusable(f"{key}: {error}") from error
        kinds = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)
        if not isinstance(private, kinds):
            raise CertificateUnusable(f"{key}: a kind of key no authority certifies")
        if certificates[0].public_key() != private.public_key():
            raise CertificateUnusable(f"{key}: not the key of the first certificate of {chain}")
        ders = tuple(each.public_bytes(Encoding.DER) for each in certificates[:MAX_CHAIN])
        return cls(ders, private)

    def prove(self, exporter: bytes) -> bytes:
        """Return the signature for the connection of *exporter*."""
        return prove(self.key, exporter)
