"""The access token of a private node, from a file that only its owner can read.

It is never an argument or a variable: both show in lists of processes.
"""

import os
import stat
from pathlib import Path
from typing import Final

from peer.errors import SettingInvalid

SETTING: Final = "access_file"
"""The setting that names the file."""

MAX_ACCESS: Final = 64
"""Characters of a token, as the greeting carries it."""


MAX_READ: Final = 4096
"""Bytes of the file that are looked at."""


def read_access(path: str) -> str:
    """Return the first line of the file at *path*; empty if no file is named.

    Raises:
        SettingInvalid: If others can read the file, or it holds no token.
    """
    if not path:
        return ""
    try:
        handle = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        raise SettingInvalid(SETTING, "a readable file") from None
    try:
        found = os.fstat(handle)
        shared = os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077
        if not stat.S_ISREG(found.st_mode) or shared:
            raise SettingInvalid(SETTING, "a file of mode 0600")
        lines = os.read(handle, MAX_READ).splitlines()
    finally:
        os.close(handle)
    line = lines[0].decode("utf-8", "replace").strip() if lines else ""
    if not 0 < len(line) <= MAX_ACCESS or not line.isprintable():
        raise SettingInvalid(SETTING, f"a line of 1 … {MAX_ACCESS}")
    return line
