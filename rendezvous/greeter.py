"""Who is served at all, and how the node shows who it is."""

import hmac
from collections.abc import Callable, Iterable
from typing import Protocol

from protocol.crypto.node_proof import prove
from protocol.errors import NodeRefusal, NodeRefused
from protocol.messages.rendezvous import Address, Hello, Welcome
from protocol.versions import RENDEZVOUS_VERSIONS


class Certificate(Protocol):
    """What the node shows of a public authority."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """DER, the node's own first."""

    def prove(self, exporter: bytes) -> bytes:
        """Return the certified key's signature for one connection."""


class Greeter:
    """Answers every ``Hello``.

    Args:
        node_key: The node's Ed25519 public key.
        sign: Returns the node's signature of its argument.
        access: Tokens, one of which a peer must show; none: all are served.
    """

    def __init__(
        self, node_key: bytes, sign: Callable[[bytes], bytes], access: Iterable[str]
    ) -> None:
        self._node_key = node_key
        self._sign = sign
        self._certificate: Certificate | None = None
        self._access: set[bytes] = set()
        self.admit(access)

    def admit(self, tokens: Iterable[str]) -> None:
        """Serve only peers that show one of *tokens*; none of them: serve all."""
        # Looked up by digest, so that the time it takes says nothing about a token.
        self._access = {self._digest(each) for each in tokens}

    def certify(self, certificate: Certificate | None) -> None:
        """Show this certificate to peers from now on."""
        self._certificate = certificate

    def welcome(self, hello: Hello, source: Address, exporter: bytes) -> Welcome:
        """Return the answer to a peer that is served.

        Raises:
            NodeRefused: VERSION or ACCESS, if it is not.
        """
        if hello.version not in RENDEZVOUS_VERSIONS:
            raise NodeRefused(NodeRefusal.VERSION)
        if self._access and self._digest(hello.access) not in self._access:
            raise NodeRefused(NodeRefusal.ACCESS)
        certificate = self._certificate
        return Welcome(
            version=hello.version,
            observed=source,
            node_key=self._node_key,
            proof=prove(exporter, self._sign),
            chain=() if certificate is None else certificate.chain,
            chain_proof=b"" if certificate is None else certificate.prove(exporter),
        )

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._node_key, token.encode(), "sha256")
