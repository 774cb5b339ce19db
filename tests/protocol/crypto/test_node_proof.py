import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.crypto.node_proof import check, prove
from protocol.errors import SealBroken

NODE = Ed25519PrivateKey.from_private_bytes(b"n" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
NODE_KEY = NODE.public_key().public_bytes_raw()
OTHER_KEY = OTHER.public_key().public_bytes_raw()
EXPORTER = b"e" * 32


def test_the_node_proves_itself_on_its_connection() -> None:
    """Nothing is raised; the proof has the size of a signature."""
    proof = prove(EXPORTER, NODE.sign)

    check(NODE_KEY, EXPORTER, proof)
    assert len(proof) == 64


@pytest.mark.parametrize(
    ("key", "exporter", "proof"),
    [
        (OTHER_KEY, EXPORTER, prove(EXPORTER, NODE.sign)),
        (NODE_KEY, b"x" * 32, prove(EXPORTER, NODE.sign)),
        (NODE_KEY, EXPORTER, prove(EXPORTER, OTHER.sign)),
        (NODE_KEY, EXPORTER, bytes(64)),
        (NODE_KEY, EXPORTER, NODE.sign(EXPORTER)),
    ],
)
def test_another_key_connection_or_statement_proves_nothing(
    key: bytes, exporter: bytes, proof: bytes
) -> None:
    """Above all a proof that somebody in between passes on."""
    with pytest.raises(SealBroken):
        check(key, exporter, proof)


def test_a_key_that_signs_everything_proves_nothing() -> None:
    """Under a point of small order a blank signature fits every fourth statement."""
    for number in range(32):
        with pytest.raises(SealBroken):
            check(bytes(32), bytes([number]) * 32, bytes(64))
