"""The device's key and its signatures."""

import pytest

from protocol.credentials import Secret
from protocol.crypto import identity
from protocol.crypto.identity import NodeIdentity, is_node_key, verify
from protocol.errors import SealBroken

NODE = NodeIdentity(Secret(bytes(range(32))))

SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


def test_a_signature_verifies_for_its_key_label_and_parts_only() -> None:
    """Shifting a byte from one part to the next, or to the label, breaks it."""
    signature = NODE.sign(identity.LINK, b"D", b"transcript")
    other = NodeIdentity.generate(bytes)

    verify(NODE.node_key, signature, identity.LINK, b"D", b"transcript")

    for key, label, parts in [
        (other.node_key, identity.LINK, (b"D", b"transcript")),
        (NODE.node_key, identity.COMMIT, (b"D", b"transcript")),
        (NODE.node_key, identity.LINK, (b"L", b"transcript")),
        (NODE.node_key, identity.LINK, (b"Dt", b"ranscript")),
        (NODE.node_key, identity.LINK + b"D", (b"transcript",)),
    ]:
        with pytest.raises(SealBroken):
            verify(key, signature, label, *parts)


@pytest.mark.parametrize("key", [*SMALL_ORDER, b"", b"\xff" * 32, bytes(33)])
def test_keys_that_sign_everything_are_none(key: bytes) -> None:
    """Points of small order, of no order, of other sizes."""
    assert not is_node_key(key)
    with pytest.raises(SealBroken):
        verify(key, bytes(64), identity.COMMIT, b"anything")


def test_the_key_survives_its_file() -> None:
    """The seed is all there is."""
    again = NodeIdentity(NODE.private_bytes())

    assert again.node_key == NODE.node_key
    assert is_node_key(again.node_key)


def test_an_identity_shows_its_fingerprint_and_no_more() -> None:
    """Its repr may reach a log."""
    assert repr(NODE) == f"<NodeIdentity {NODE.fingerprint}>"
    assert len(NODE.fingerprint) == 39


def test_every_label_is_another() -> None:
    """One signature never serves two uses."""
    labels = {
        identity.JOIN_CANDIDATE,
        identity.JOIN_SPONSOR,
        identity.LINK,
        identity.COMMIT,
        identity.START,
    }

    assert len(labels) == 5
