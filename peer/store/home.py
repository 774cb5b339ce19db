"""The state folder of a peer: one place, for one user, used by one peer at a time.

::

    <home>/                 0700
        lock                held while a peer runs
        identity.key        the long-term key (``peer.store.identity_file``)
        index.sqlite        known digests (``peer.store.index``)
        api.json            address and token of the running peer, 0600
"""

import contextlib
import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import platformdirs

from peer.errors import PeerAlreadyRunning
from peer.store.errors import StateExposed, StateUnusable

IDENTITY: Final = "identity.key"
INDEX: Final = "index.sqlite"
LOCK: Final = "lock"
API: Final = "api.json"

MAX_STATE_FILE: Final = 1024 * 1024
"""Bytes of a small state file; what is larger was not written by a peer."""

_OTHERS: Final = 0o077


def default_home() -> Path:
    """Return where the system wants a user's state: ``$XDG_STATE_HOME/quintet`` on Linux."""
    return platformdirs.user_state_path("quintet", appauthor=False)


class ApiAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How the commands of this user reach the running peer."""

    address: str
    """Of the local API, such as ``http://127.0.0.1:40123``."""
    token: str
    """What every request must carry."""

    def __repr__(self) -> str:
        return f"<ApiAccess {self.address}>"


class Home:
    """One state folder.

    Args:
        path: Where it is; made when it does not exist.

    Raises:
        StateExposed: If others may read or change it.
        StateUnusable: If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path.absolute()
        self._lock = -1
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StateUnusable(self.path.name) from error
        status = self.path.stat()
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise StateExposed(self.path.name)

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unlock()

    @property
    def identity(self) -> Path:
        return self.path / IDENTITY

    @property
    def index(self) -> Path:
        return self.path / INDEX

    def lock(self) -> None:
        """Take the folder for this process; the system gives it back however the process ends.

        Raises:
            PeerAlreadyRunning: If another process has it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self.path / LOCK, flags, 0o600)
        except OSError as error:
            raise StateUnusable(LOCK) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if isinstance(error, BlockingIOError):
                raise PeerAlreadyRunning from None
            raise StateUnusable(LOCK) from error
        self._lock = handle

    def unlock(self) -> None:
        if self._lock >= 0:
            handle, self._lock = self._lock, -1
            os.close(handle)

    def write(self, name: str, data: bytes) -> None:
        """Replace the small file *name* by *data*, wholly or not at all; 0600.

        Raises:
            StateUnusable: If it cannot be written; the old one stays.
        """
        new = self.path / f".{name}.new"
        try:
            with contextlib.suppress(FileNotFoundError):
                # Of a peer that was killed while writing.
                new.unlink()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path / name)
            _sync_folder(self.path)
        except OSError as error:
            raise StateUnusable(name) from error

    def read(self, name: str) -> bytes | None:
        """Return the content of the small file *name*; None if there is none.

        Raises:
            StateExposed: If others may read or change it.
            StateUnusable: If it cannot be read.
        """
        return read_private(self.path / name, limit=MAX_STATE_FILE)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.path / name).unlink()

    def write_api(self, access: ApiAccess) -> None:
        """Tell the commands of this user how to reach the running peer."""
        self.write(API, msgspec.json.encode(access))

    def read_api(self) -> ApiAccess | None:
        """Return how to reach the running peer; None if none has said so.

        Raises:
            StateExposed: If others may read the token.
            StateUnusable: If the file is not what a peer writes.
        """
        data = self.read(API)
        if data is None:
            return None
        try:
            return msgspec.json.decode(data, type=ApiAccess)
        except msgspec.DecodeError as error:
            raise StateUnusable(API) from error


def read_private(path: Path, *, limit: int) -> bytes | None:
    """Return the content of a file that only this user may read; None if there is none.

    Args:
        path: Not followed if it is a link.
        limit: Most bytes it may have.

    Raises:
        StateExposed: If others may read or change it, or own it.
        StateUnusable: If it is no regular file, too long or unreadable.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnusable(path.name) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise StateUnusable(path.name)
        if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
            raise StateExposed(path.name)
        data = os.read(handle, limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise StateUnusable(path.name)
    return data


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def create_private(path: Path, data: bytes) -> None:
    """Make the file *path* with *data*, 0600, only if nothing stands there.

    It appears whole: written under another name, then linked to its own.

    Raises:
        FileExistsError: If something stands there.
        StateUnusable: If it cannot be written.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path, follow_symlinks=False)
        finally:
            new.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise StateUnusable(path.name) from error
