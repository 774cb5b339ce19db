"""What can go wrong with files and data sources, in the tree that begins in the protocol.

* QuintetError
    * FileError                something in a data source could not be read or written
        * ChangedSince         it is not what the step expected
        * NotEmpty             a directory still holds something
        * Outside              the path leaves its data source, or is kept for Quintet
        * Missing              nothing stands there, or a parent does not exist
        * Exists               something stands there already
        * NotADirectory        a parent is no directory (a link is none either)
        * SpecialFile          neither a file, nor a directory, nor a link
        * NoSpace              the disk or the quota is full
        * ReadOnly             the file system takes no writes
        * Denied               the permissions forbid it
        * OtherDevice          the place lies on another file system than its source's root
        * NameRefused          the file system cannot hold this name
        * TooLarge             the file system cannot hold a file of this size
        * DiskFailed           anything else the system answered
    * SourceRefused            a path cannot be a data source
        * SourceMissing, SourceNotReadable, SourceSpecial, SourceInsideAnother,
          SourceAroundAnother, SourceAlreadyGiven, SourceSystemLocation, SourceOwnState

``code`` is stable: the API, the journal and both languages go by it.
"""

import errno
from collections.abc import Mapping
from typing import Final

from protocol.errors import ExitStatus, QuintetError


class FileError(QuintetError):
    """Something in a data source could not be read or written; one step fails, others go on.

    Args:
        number: The system's error number, 0 where this side decided.
    """

    code = "fs.failed"
    exit_status = ExitStatus.SOME_FAILED

    def __init__(self, number: int = 0) -> None:
        super().__init__(number)
        self.number = number

    @property
    def params(self) -> dict[str, object]:
        return {"errno": errno.errorcode.get(self.number, "")}

    def __str__(self) -> str:
        reason = errno.errorcode.get(self.number)
        return f"{self.code} ({reason})" if reason else self.code


class ChangedSince(FileError):
    """What stands there is not what was inventoried; nothing was touched.

    Args:
        found: What stands there now: ``nothing``, ``file``, ``directory``, ``link``, ``special``.
    """

    code = "fs.changed_since"

    def __init__(self, found: str) -> None:
        super().__init__()
        self.args = (found,)
        self.found = found

    @property
    def params(self) -> dict[str, object]:
        return {"found": self.found}

    def __str__(self) -> str:
        return f"changed since the inventory: {self.found} stands there"


class NotEmpty(FileError):
    """A directory still holds something and stays.

    Args:
        count: How many entries it holds; at least so many where it is ``NotEmpty.MOST``.
    """

    code = "fs.not_empty"
    MOST: Final = 1000

    def __init__(self, count: int) -> None:
        super().__init__()
        self.args = (count,)
        self.count = count

    @property
    def params(self) -> dict[str, object]:
        return {"count": self.count}

    def __str__(self) -> str:
        return f"the directory still holds {self.count} entries"


class Outside(FileError):
    """A path leaves its data source, or belongs to what Quintet keeps there for itself."""

    code = "fs.outside"
    exit_status = ExitStatus.REFUSED


class Missing(FileError):
    """Nothing stands there, or a parent does not exist."""

    code = "fs.missing"


class Exists(FileError):
    """Something stands there already."""

    code = "fs.exists"


class NotADirectory(FileError):
    """A parent is no directory; a link is none either, wherever it points."""

    code = "fs.not_directory"


class SpecialFile(FileError):
    """Neither a file, nor a directory, nor a link: never opened."""

    code = "fs.special"


class NoSpace(FileError):
    """The disk or the quota is full."""

    code = "fs.no_space"


class ReadOnly(FileError):
    """The file system takes no writes."""

    code = "fs.read_only"


class Denied(FileError):
    """The permissions forbid it."""

    code = "fs.denied"


class OtherDevice(FileError):
    """The place lies on another file system than its source's root: no rename reaches it."""

    code = "fs.other_device"


class NameRefused(FileError):
    """The file system cannot hold this name."""

    code = "fs.name_refused"


class TooLarge(FileError):
    """The file system cannot hold a file of this size."""

    code = "fs.too_large"


class DiskFailed(FileError):
    """The system answered with anything else, such as an input or output error."""

    code = "fs.io_error"


FILE_ERRORS: Final[Mapping[int, type[FileError]]] = {
    errno.ENOENT: Missing,
    errno.ESTALE: Missing,
    errno.EEXIST: Exists,
    # A path may not pass through a link: O_NOFOLLOW answers ELOOP, with O_DIRECTORY ENOTDIR.
    errno.ENOTDIR: NotADirectory,
    errno.ELOOP: NotADirectory,
    errno.ENXIO: SpecialFile,
    errno.ENODEV: SpecialFile,
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: NoSpace,
    errno.EROFS: ReadOnly,
    errno.EACCES: Denied,
    errno.EPERM: Denied,
    errno.EXDEV: OtherDevice,
    errno.ENAMETOOLONG: NameRefused,
    errno.EILSEQ: NameRefused,
    errno.EINVAL: NameRefused,
    errno.EFBIG: TooLarge,
}
"""Which error each of the system's numbers is; the one place."""


def file_error(error: OSError) -> FileError:
    """Return *error* as one of this tree; without the path it may name."""
    number = error.errno or 0
    return FILE_ERRORS.get(number, DiskFailed)(number)


class SourceRefused(QuintetError):
    """A path cannot be a data source of this member."""

    code = "source.refused"
    exit_status = ExitStatus.REFUSED

    def __str__(self) -> str:
        return self.code


class SourceMissing(SourceRefused):
    """Nothing stands at this path; it may be created."""

    code = "source.missing"


class SourceNotReadable(SourceRefused):
    """The permissions forbid reading it."""

    code = "source.not_readable"


class SourceSpecial(SourceRefused):
    """It is neither a file nor a directory."""

    code = "source.special"


class SourceInsideAnother(SourceRefused):
    """It lies inside a source already given.

    Args:
        other: Position of that source.
    """

    code = "source.inside_another"

    def __init__(self, other: int = 0) -> None:
        super().__init__(other)
        self.other = other

    @property
    def params(self) -> dict[str, object]:
        return {"other": self.other}


class SourceAroundAnother(SourceInsideAnother):
    """A source already given lies inside it."""

    code = "source.around_another"


class SourceAlreadyGiven(SourceInsideAnother):
    """It is a source already given, perhaps under another name."""

    code = "source.already_given"


class SourceSystemLocation(SourceRefused):
    """It belongs to the system (``/proc``, ``/sys``, ``/dev``, ``/run``) or holds such a place."""

    code = "source.system_location"


class SourceOwnState(SourceRefused):
    """It is the state folder of this peer, or lies in it."""

    code = "source.own_state"
