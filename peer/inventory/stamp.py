"""By what a file's content is taken to be unchanged without reading it."""

from typing import NamedTuple


class Stamp(NamedTuple):
    """What the system says of a file; equal stamps mean the content was not written since.

    On network file systems the change time and the number of the file are not to be trusted
    (product.md, section 4): ``weak`` leaves them out.
    """

    size: int
    """Bytes."""
    mtime_ns: int
    """Modification time, nanoseconds since 1970."""
    ctime_ns: int
    """Time of the last change to content or metadata, nanoseconds since 1970."""
    inode: int

    def weak(self) -> "Stamp":
        return Stamp(self.size, self.mtime_ns, 0, 0)
