"""The file of the long-term key: 32 bytes, for this user alone (security.md, T21)."""

from collections.abc import Callable
from pathlib import Path

from peer.store.errors import StateUnusable
from peer.store.home import create_private, read_private
from protocol.credentials import Secret
from protocol.crypto.identity import KEY_SIZE, NodeIdentity


def load_identity(path: Path) -> NodeIdentity | None:
    """Return the identity kept in *path*; None if there is none.

    Raises:
        StateExposed: If others may read or change the file; its key may be known to them.
        StateUnusable: If it holds no key.
    """
    data = read_private(path, limit=KEY_SIZE)
    if data is None:
        return None
    if len(data) != KEY_SIZE:
        raise StateUnusable(path.name)
    return NodeIdentity(Secret(data))


def load_or_create_identity(path: Path, random_bytes: Callable[[int], bytes]) -> NodeIdentity:
    """Return the identity kept in *path*, made and kept there the first time.

    Raises:
        StateExposed: If others may read or change the file; its key may be known to them.
        StateUnusable: If it holds no key, or cannot be written.
    """
    identity = load_identity(path)
    if identity is not None:
        return identity
    made = NodeIdentity.generate(random_bytes)
    try:
        create_private(path, made.private_bytes().reveal())
    except FileExistsError:
        # Another process was faster: there is one identity, and it is the one in the file.
        identity = load_identity(path)
        if identity is None:
            raise StateUnusable(path.name) from None
        return identity
    return made
