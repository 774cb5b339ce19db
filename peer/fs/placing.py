"""Putting something in its place, and clearing a place, without an instant of loss.

::

    nothing stood there:    moved into place, refused if anything stands there by now
    something stands there: what is new moves to the place in the trash, then the two change
                            places in one step (RENAME_EXCHANGE): new at the path, old in the trash

What the exchange brought out is compared with what was expected: if it was written or replaced
at the last moment, the two change back. File systems that cannot exchange get a hard link in
the trash, those without links a copy, before the rename in the place of the old.
"""

import contextlib
import errno
import os
from typing import Final

from peer.fs.confine import Place, kind_of
from peer.fs.errors import ChangedSince, Exists, FileError, Missing
from peer.fs.staging import StagedFile
from peer.fs.trash import Trash
from protocol.messages.inventory import Kind, RelPath

_CANNOT: Final = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK}
)
"""How file systems say that they lack links, or a kind of rename."""


def found_name(status: os.stat_result | None) -> str:
    """Return what *status* describes, as ``ChangedSince`` says it."""
    if status is None:
        return "nothing"
    kind = kind_of(status)
    return "special" if kind is None else kind.name.lower()


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether it is one file with one content; a change of name changes its ctime."""
    return (one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_dev,
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )


class Placing:
    """Puts and clears, with one trash.

    Args:
        trash: Where what stood there goes.
    """

    def __init__(self, trash: Trash) -> None:
        self._trash = trash
        self._exchanges = True

    def put_new(self, waiting: Place, place: Place) -> None:
        """Move what is *waiting* to *place*, where nothing stands.

        Raises:
            ChangedSince: If something stands there.
            FileError: If the system refuses; it still waits.
        """
        try:
            try:
                waiting.folder.rename_new(waiting.name, *place)
            except FileError as error:
                if error.number not in _CANNOT:
                    raise
                _put_new_by_link(waiting, place)
        except Exists:
            raise ChangedSince(found_name(place.folder.find(place.name))) from None

    def put_over(
        self, waiting: Place, place: Place, old: os.stat_result, path: RelPath, *, now_ns: int
    ) -> None:
        """Move what is *waiting* to *place*, and what stands there to the trash.

        Args:
            waiting: What is new.
            place: Where it belongs.
            old: What stands there; anything else is left alone.
            path: The place in the data source, for the trash.
            now_ns: Nanoseconds since 1970, for the trash.

        Raises:
            ChangedSince: If something else stands there.
            FileError: If the system refuses; it still waits.
        """
        layer, kept = self._trash.place(path)
        self._trash.note(path, layer, old, when_ns=now_ns, reason="replaced")
        if self._exchanges and self._exchange(waiting, place, old, kept):
            return
        _keep(place, old, kept)
        waiting.folder.rename_into(waiting.name, *place)

    def _exchange(self, waiting: Place, place: Place, old: os.stat_result, kept: Place) -> bool:
        """Do it in one step; tell whether the file system can."""
        waiting.folder.rename_into(waiting.name, *kept)
        try:
            kept.folder.exchange(kept.name, *place)
        except FileError as error:
            kept.folder.rename_into(kept.name, *waiting)
            if isinstance(error, Missing):
                raise ChangedSince("nothing") from None
            if error.number not in _CANNOT:
                raise
            self._exchanges = False
            return False
        out = kept.folder.stat(kept.name)
        if _same(out, old):
            return True
        kept.folder.exchange(kept.name, *place)
        kept.folder.rename_into(kept.name, *waiting)
        raise ChangedSince(found_name(out))

    def clear(self, place: Place, old: os.stat_result, path: RelPath, *, now_ns: int) -> None:
        """Move what stands at *place* to the trash.

        Raises:
            ChangedSince: If it is not *old* any more; it stays.
            FileError: If the system refuses; it stays.
        """
        layer, kept = self._trash.place(path)
        self._trash.note(path, layer, old, when_ns=now_ns, reason="deleted")
        try:
            place.folder.rename_into(place.name, *kept)
        except Missing:
            raise ChangedSince("nothing") from None
        out = kept.folder.stat(kept.name)
        if not _same(out, old):
            # If its place was taken again meanwhile it stays in the trash: kept either way.
            with contextlib.suppress(ChangedSince):
                self.put_new(kept, place)
            raise ChangedSince(found_name(out))


def _put_new_by_link(waiting: Place, place: Place) -> None:
    try:
        # A link never takes the place of anything either.
        waiting.folder.link(waiting.name, *place)
    except FileError as error:
        if error.number not in _CANNOT:
            raise
        # Nothing better is left than to look and move at once.
        if place.folder.find(place.name) is not None:
            raise Exists from None
        waiting.folder.rename_into(waiting.name, *place)
    else:
        waiting.folder.unlink(waiting.name)


def _keep(place: Place, old: os.stat_result, kept: Place) -> None:
    """Give what stands at *place* a second place in the trash: a link, else a copy.

    Raises:
        ChangedSince: If it is not *old*, or was written while it was copied.
    """
    _expect(place, old)
    try:
        try:
            place.folder.link(place.name, *kept)
        except FileError as error:
            if error.number not in _CANNOT:
                raise
            _copy(place, old, kept)
        _expect(place, old)
    except FileError:
        with contextlib.suppress(Missing):
            kept.folder.unlink(kept.name)
        raise
    # The rename that follows must not reach the disk before this.
    kept.folder.sync()


def _expect(place: Place, old: os.stat_result) -> None:
    now = place.folder.find(place.name)
    if now is None or not _same(now, old):
        raise ChangedSince(found_name(now))


def _copy(place: Place, old: os.stat_result, kept: Place) -> None:
    if kind_of(old) is Kind.LINK:
        kept.folder.make_link(kept.name, place.folder.read_link(place.name))
        kept.folder.set_date(kept.name, old.st_mtime_ns)
        return
    handle = place.folder.open_file(place.name)
    try:
        with StagedFile(*kept, kept.folder.create_file(kept.name)) as copy:
            copy.clone(handle)
            copy.finish(old.st_mode & 0o7777, old.st_mtime_ns)
            copy.sync()
    finally:
        os.close(handle)
