"""What becomes an entry: the session's settings, applied to one thing found on disk.

Whatever is left out is named with its reason, because skipped is never missing (product.md,
section 5). The scanner does not descend into a directory that is left out.
"""

from typing import Final

import pathspec

from peer.errors import SettingInvalid
from peer.inventory.names import OWN_PREFIX, folded, identity, text
from peer.session.session_settings import DataType, SessionSettings, Symlinks
from protocol.messages.inventory import Kind, RelPath, SkipReason

NOISE: Final = frozenset(
    {
        "$recycle.bin",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "recycler",
        "system volume information",
        "thumbs.db",
        "thumbs.db:encryptable",
        ".appledouble",
        ".documentrevisions-v100",
        ".ds_store",
        ".fseventsd",
        ".localized",
        ".lsoverride",
        ".spotlight-v100",
        ".temporaryitems",
        ".trashes",
        ".volumeicon.icns",
        ".directory",
        "icon\r",
        "lost+found",
    }
)
"""Names that Windows, macOS and Linux desktops leave behind, without case."""

NOISE_PREFIXES: Final = ("._", ".nfs0", ".fuse_hidden", ".trash-")
"""Beginnings of such names: AppleDouble, files deleted while open on NFS and FUSE, trash."""


_NOISE_NAMES: Final = frozenset(name.encode() for name in NOISE)


def _is_noise(name: bytes) -> bool:
    if name.isascii():
        # Lower case is all there is to folding ASCII.
        if name[0] != _DOT:
            return name.lower() in _NOISE_NAMES
        plain = name.decode("ascii").lower()
    else:
        plain = folded(identity(name))
    return plain in NOISE or plain.startswith(NOISE_PREFIXES)


_DOT: Final = ord(".")


class Inclusion:
    """The settings of one session, ready to decide about many entries.

    Raises:
        SettingInvalid: If a pattern is no gitignore syntax.
    """

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._include = _compiled("include", settings.include)
        self._exclude = _compiled("exclude", settings.exclude)

    def decide(
        self, path: RelPath, kind: Kind, *, hidden: bool = False, system: bool = False
    ) -> SkipReason | None:
        """Return why the thing at *path* is no entry, or None if it is one.

        Args:
            path: Relative to the root; the root itself is always an entry.
            kind: What stands there, links not followed.
            hidden: Whether the file system flags it hidden; dot names are known here.
            system: Whether the file system flags it as system.
        """
        if not path:
            return None
        name = path[-1]
        if name.startswith(OWN_PREFIX):
            return SkipReason.SYSTEM
        if kind is not Kind.DIRECTORY:
            by_kind = self._by_kind(kind)
            if by_kind is not None:
                return by_kind
        if self._settings.exclude_system:
            if system:
                return SkipReason.SYSTEM
            if _is_noise(name):
                return SkipReason.NOISE
        if self._settings.exclude_hidden and (hidden or name.startswith(b".")):
            return SkipReason.HIDDEN
        if self._exclude is None and self._include is None:
            return None
        return SkipReason.PATTERN if self._left_out_by_pattern(path, kind) else None

    def _by_kind(self, kind: Kind) -> SkipReason | None:
        if kind is Kind.LINK and self._settings.symlinks is Symlinks.SKIP:
            return SkipReason.LINK
        # Directories stay entries where only files are compared: a file's parents must be known.
        return SkipReason.DATA_TYPE if self._settings.data_type is DataType.DIRECTORIES else None

    def _left_out_by_pattern(self, path: RelPath, kind: Kind) -> bool:
        # The library takes a name for a directory's when it ends in a slash.
        full = "/".join(map(text, path)) + ("/" if kind is Kind.DIRECTORY else "")
        if self._exclude is not None and self._exclude.match_file(full):
            return True
        # Directories are walked whatever is to be included: what is wanted may lie below.
        return (
            self._include is not None
            and kind is not Kind.DIRECTORY
            and not self._include.match_file(full)
        )


def _compiled(setting: str, patterns: tuple[str, ...]) -> pathspec.GitIgnoreSpec | None:
    if not patterns:
        return None
    try:
        # The plain backend: every member must decide alike, whatever else is installed there.
        return pathspec.GitIgnoreSpec.from_lines(patterns, backend="simple")
    except ValueError as error:
        raise SettingInvalid(setting, "gitignore(5)") from error
