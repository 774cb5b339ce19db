from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import x448
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from peer.net import node_link
from peer.net.node_link import NodeAddress
from protocol.errors import SealBroken
from rendezvous.certificate import CertificateUnusable, PublicCertificate
from tests.harness.authority import Authority, new_key
from tests.harness.nodes import running_clients, running_node

AUTHORITY = Authority()


def written(folder: Path, name: str, key: Any, certified: Any = None) -> tuple[Path, Path]:
    """Write chain and key as an ACME client does."""
    folder.mkdir(exist_ok=True)
    chain, private = folder / "fullchain.pem", folder / "privkey.pem"
    certificate = AUTHORITY.certify(name, certified or key)
    chain.write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private.write_bytes(pem)
    return chain, private


def test_chain_and_key_are_read(tmp_path: Path) -> None:
    """And not shown."""
    chain, key = written(tmp_path, "localhost", new_key("p256"))

    certificate = PublicCertificate.read(chain, key)

    assert len(certificate.chain) == 1
    assert "PrivateKey" not in repr(certificate)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The file, and why."""
    chain, key = written(tmp_path, "localhost", new_key("p256"))
    _, other = written(tmp_path / "other", "localhost", new_key("p256"))
    _, strange = written(tmp_path / "odd", "localhost", x448.X448PrivateKey.generate(), new_key(""))
    absent = tmp_path / "absent.pem"

    for files, named in [
        ((absent, key), "absent"),
        ((chain, absent), "absent"),
        ((key, key), "privkey"),
        ((chain, chain), "fullchain"),
        ((chain, other), "not the key"),
        ((chain, strange), "no authority"),
    ]:
        with pytest.raises(CertificateUnusable, match=named):
            PublicCertificate.read(*files)


async def test_a_node_is_known_by_its_name_and_a_renewed_certificate_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a fingerprint, by an authority the system trusts; reloaded without a restart."""
    monkeypatch.setattr(node_link, "public_roots", lambda: [AUTHORITY.root])
    chain, key = written(tmp_path, "elsewhere.example", new_key("p256"))
    files = {"certificate": str(chain), "certificate_key": str(key)}
    async with running_node(tmp_path / "state", **files) as node, running_clients() as clients:
        refused = await clients.start(f"localhost:{node.port}#ca")
        with pytest.raises(SealBroken):
            await refused.wait_connected()

        written(tmp_path, "localhost", new_key("p256"))
        node.reload(node._settings)
        client = await clients.start(f"localhost:{node.port}#ca")
        await client.wait_connected()
        fingerprinted = await clients.start(node.address)
        await fingerprinted.wait_connected()

    assert NodeAddress.parse("node.example#ca").fingerprint == "ca"


async def test_a_node_without_a_certificate_is_not_taken_for_a_public_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for one gets one, or nothing."""
    monkeypatch.setattr(node_link, "public_roots", lambda: [AUTHORITY.root])
    async with running_node(tmp_path) as node, running_clients() as clients:
        client = await clients.start(f"localhost:{node.port}#ca")

        with pytest.raises(SealBroken):
            await client.wait_connected()
