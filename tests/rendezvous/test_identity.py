from pathlib import Path

import pytest

from rendezvous.identity import KEY_FILE, IdentityUnusable, NodeIdentity


def test_the_identity_is_made_once_and_ours_alone(tmp_path: Path) -> None:
    """The second start finds the first one's key."""
    state = tmp_path / "state"

    first, second = NodeIdentity.open(state), NodeIdentity.open(state)

    assert first.public_key == second.public_key
    assert (state / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [each.name for each in state.iterdir()] == [KEY_FILE]
    assert len(first.fingerprint) == 16
    assert first.fingerprint in repr(first)


def test_a_signature_is_verified(tmp_path: Path) -> None:
    """Another message or node makes it worthless."""
    node, other = NodeIdentity.open(tmp_path / "1"), NodeIdentity.open(tmp_path / "2")
    signature = node.sign(b"lease")

    assert node.verify(b"lease", signature)
    assert not node.verify(b"other", signature)
    assert not other.verify(b"lease", signature)
    assert not node.verify(b"lease", b"")


def test_a_key_others_can_read_is_refused(tmp_path: Path) -> None:
    """A warning would be overlooked."""
    NodeIdentity.open(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)

    with pytest.raises(IdentityUnusable, match="chmod 600"):
        NodeIdentity.open(tmp_path)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_damaged_key_is_refused(tmp_path: Path, size: int) -> None:
    """Silently making another would change the node's address."""
    (tmp_path / KEY_FILE).write_bytes(bytes(size))
    (tmp_path / KEY_FILE).chmod(0o600)

    with pytest.raises(IdentityUnusable, match="not a key"):
        NodeIdentity.open(tmp_path)
