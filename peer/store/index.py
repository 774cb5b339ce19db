"""What is known of contents: digests that need not be computed again (product.md, section 5).

A digest counts while the file's stamp is the one it had when it was read: size, modification
time, change time and number. A file written less than ``SETTLING`` before it was read is not
kept: within the resolution of its dates it could have been written once more without a trace.

Everything here can be computed again, so a file that SQLite cannot read is removed and begun
anew, and nothing waits for the disk.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from peer.inventory.stamp import Stamp
from peer.store.errors import StateUnusable
from protocol.ids import Digest
from protocol.messages.inventory import RelPath

SETTLING_NS: Final = 2_000_000_000
"""Nanoseconds a file must have rested before it was read: FAT's dates are the coarsest."""

KEEP_DAYS: Final = 90
"""Days a digest is kept that no inventory asked for."""

MAX_ROWS: Final = 8_000_000
"""Digests kept at most, about 1 GiB: four full inventories."""

TOUCH_DAYS: Final = 7
"""A digest in use is marked so at most this often, so that asking rarely writes."""

_DAY_NS: Final = 24 * 3600 * 10**9
_VERSION: Final = 1
_SPARSE: Final = 4
"""A range of the index is read as a whole unless it holds so many times what is asked for."""

Row = tuple[bytes, int, int, int, int, Digest, int]
"""Key, size, modification time, change time, number, digest, day last in use."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS roots (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS digests (
    root INTEGER NOT NULL, path BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, digest BLOB NOT NULL, day INTEGER NOT NULL,
    PRIMARY KEY (root, path)
) WITHOUT ROWID;
"""


def _key(path: RelPath) -> bytes:
    # NUL sorts before every byte of a name: keys are in the order of the components.
    return b"\0".join(path)


def _signed(number: int) -> int:
    """Return *number*, of 64 bits, as SQLite keeps it."""
    number &= 2**64 - 1
    return number - 2**64 if number >= 2**63 else number


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StateUnusable("index.sqlite") from error


class RootIndex:
    """The digests of one root.

    Args:
        index: Where they are kept.
        number: The root's number there.
    """

    def __init__(self, index: "Index", number: int) -> None:
        self._index = index
        self._number = number

    def get(self, wanted: Sequence[tuple[RelPath, Stamp]], *, now_ns: int) -> list[Digest | None]:
        """Return the known digest of each file, None where it must be read.

        Fastest for paths in the order of a scan.

        Args:
            wanted: Paths and what the files are now.
            now_ns: Nanoseconds since 1970.
        """
        if not wanted:
            return []
        keys = [_key(path) for path, _ in wanted]
        day = now_ns // _DAY_NS
        found = self._index.look_up(self._number, keys)
        stale: list[bytes] = []
        digests: list[Digest | None] = []
        for key, (_, stamp) in zip(keys, wanted, strict=True):
            row = found.get(key)
            if row is None or row[1:5] != tuple(map(_signed, stamp)):
                digests.append(None)
                continue
            digests.append(row[5])
            if row[6] <= day - TOUCH_DAYS:
                stale.append(key)
        if stale:
            self._index.touch(self._number, stale, day)
        return digests

    def put(self, known: Iterable[tuple[RelPath, Stamp, Digest]], *, read_at_ns: int) -> None:
        """Keep digests.

        Args:
            known: Paths, what the files were before and after they were read, and digests.
            read_at_ns: When the first of them began to be read, nanoseconds since 1970.
        """
        settled = read_at_ns - SETTLING_NS
        day = read_at_ns // _DAY_NS
        self._index.store(
            (self._number, _key(path), *map(_signed, stamp), digest, day)
            for path, stamp, digest in known
            if stamp.mtime_ns < settled and stamp.ctime_ns < settled
        )

    def forget(self) -> None:
        """Drop everything known of this root."""
        self._index.drop(self._number)


class Index:
    """Known digests of all roots. Any thread may use it; one at a time is served.

    Every method raises ``StateUnusable`` when the file fails it, such as on a full disk; whoever
    asks goes on without: nothing but time is lost.

    Args:
        path: The SQLite file, made 0600 by the folder it lies in.

    Raises:
        StateUnusable: If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = self._open()
        except (sqlite3.DatabaseError, OSError):
            self._connection = self._begin_anew()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def root(self, device: int, inode: int, path: Path) -> RootIndex:
        """Return the part for one root.

        Args:
            device: Of its directory.
            inode: Of its directory; another disk mounted at the place is another root.
            path: Canonical.
        """
        key = b"%d:%d:%s" % (device, inode, str(path).encode("utf-8", "surrogateescape"))
        with self._writing():
            run = self._connection.execute
            run("INSERT OR IGNORE INTO roots (key) VALUES (?)", (key,))
            ((number,),) = run("SELECT id FROM roots WHERE key = ?", (key,))
        return RootIndex(self, number)

    def prune(self, now_ns: int) -> int:
        """Drop what was not asked for in ``KEEP_DAYS`` and what is too much; return how many."""
        oldest = now_ns // _DAY_NS - KEEP_DAYS
        with self._writing():
            run = self._connection.execute
            dropped = run("DELETE FROM digests WHERE day < ?", (oldest,)).rowcount
            ((count,),) = run("SELECT count(*) FROM digests")
            if count > MAX_ROWS:
                # What was in use goes last.
                oldest_first = "SELECT root, path FROM digests ORDER BY day LIMIT ?"
                query = f"DELETE FROM digests WHERE (root, path) IN ({oldest_first})"  # noqa: S608  # constant
                dropped += run(query, (count - MAX_ROWS,)).rowcount
            run("DELETE FROM roots WHERE id NOT IN (SELECT DISTINCT root FROM digests)")
        return dropped

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction of one thread."""
        with self._lock, _usable(), self._connection:
            yield

    # --- for RootIndex ----------------------------------------------------------

    def look_up(self, root: int, keys: list[bytes]) -> dict[bytes, Row]:
        """Return the rows of *keys*, each beginning with its key."""
        columns = "SELECT path, size, mtime_ns, ctime_ns, inode, digest, day FROM digests"
        limit = _SPARSE * len(keys)
        with self._lock, _usable():
            run = self._connection.execute
            rows = run(
                f"{columns} WHERE root = ? AND path BETWEEN ? AND ? LIMIT ?",
                (root, min(keys), max(keys), limit),
            ).fetchall()
            if len(rows) == limit:
                query = f"{columns} WHERE root = ? AND path = ?"
                rows = [row for key in keys for row in run(query, (root, key))]
        return {row[0]: row for row in rows}

    def store(self, rows: Iterable[tuple[object, ...]]) -> None:
        with self._writing():
            self._connection.executemany(
                "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows
            )

    def touch(self, root: int, keys: list[bytes], day: int) -> None:
        with self._writing():
            self._connection.executemany(
                "UPDATE digests SET day = ? WHERE root = ? AND path = ?",
                ((day, root, key) for key in keys),
            )

    def drop(self, root: int) -> None:
        with self._writing():
            self._connection.execute("DELETE FROM digests WHERE root = ?", (root,))

    def _open(self) -> sqlite3.Connection:
        # SQLite would make it as the umask says; its side files follow the mode of this one.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
        connection = sqlite3.connect(self._path, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # After a crash the last digests may be gone: they are computed again.
            connection.execute("PRAGMA synchronous = NORMAL")
            ((version,),) = connection.execute("PRAGMA user_version")
            if version not in (0, _VERSION):
                connection.executescript("DROP TABLE digests; DROP TABLE roots;")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin_anew(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink()
        try:
            return self._open()
        except (sqlite3.DatabaseError, OSError) as error:
            raise StateUnusable(self._path.name) from error
