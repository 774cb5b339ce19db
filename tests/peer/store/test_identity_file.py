from pathlib import Path

import pytest

from peer.store import identity_file
from peer.store.errors import StateExposed, StateUnusable
from peer.store.identity_file import load_identity, load_or_create_identity
from protocol.crypto.identity import NodeIdentity


def _never(_: int) -> bytes:
    raise AssertionError("no new key")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where no key is yet."""
    return tmp_path / "identity.key"


def test_the_key_is_made_once_and_kept(path: Path) -> None:
    """32 bytes, 0600; the next start has the same identity."""
    first = load_or_create_identity(path, lambda count: b"k" * count)
    second = load_or_create_identity(path, _never)

    assert first.node_key == second.node_key
    assert path.read_bytes() == b"k" * 32
    assert path.stat().st_mode & 0o777 == 0o600


def test_there_is_no_key_before_it_is_made(path: Path) -> None:
    """Looking makes none."""
    assert load_identity(path) is None
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_open_to_others_is_refused(path: Path, mode: int) -> None:
    """They may have it: it is not used again unnoticed."""
    load_or_create_identity(path, lambda count: b"k" * count)
    path.chmod(mode)

    with pytest.raises(StateExposed):
        load_or_create_identity(path, _never)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_what_is_no_key_is_not_overwritten(path: Path, size: int) -> None:
    """A cut file may be mended by its owner."""
    path.touch(0o600)
    path.write_bytes(b"k" * size)

    with pytest.raises(StateUnusable):
        load_or_create_identity(path, _never)
    assert path.stat().st_size == size


def test_of_two_that_make_a_key_at_once_both_use_the_first(path: Path) -> None:
    """The second finds the file when it links its own."""

    def random_bytes(count: int) -> bytes:
        load_or_create_identity(path, lambda count: b"1" * count)
        return b"2" * count

    identity = load_or_create_identity(path, random_bytes)

    assert path.read_bytes() == b"1" * 32
    assert identity.node_key == load_or_create_identity(path, _never).node_key


def test_a_key_that_comes_and_goes_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken for an identity that is not kept."""

    def taken(*_: object) -> None:
        raise FileExistsError

    monkeypatch.setattr(identity_file, "create_private", taken)
    with pytest.raises(StateUnusable):
        load_or_create_identity(path, lambda count: b"k" * count)


def test_the_key_shows_nowhere(path: Path) -> None:
    """Neither in the identity's text nor in its errors'."""
    identity: NodeIdentity = load_or_create_identity(path, lambda count: b"\x41" * count)

    assert "AAAA" not in repr(identity)
