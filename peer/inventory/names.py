"""Names: which are valid, which are the same, and how people see them.

On the wire and on disk a name is bytes, and its bytes are kept. Two names are the same thing
when their identities are equal: text in Unicode form NFC, without case where any of the file
systems compared has none (product.md, section 6).
"""

import unicodedata
from typing import Final

from protocol.limits import MAX_COMPONENT, MAX_DEPTH, MAX_PATH
from protocol.messages.inventory import RelPath

WINDOWS_CHARACTERS: Final = frozenset('<>:"|?*\\') | frozenset(map(chr, range(32)))
"""Characters that no name has on FAT, exFAT, NTFS and SMB."""

WINDOWS_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "123456789\xb9\xb2\xb3"}
)
"""Names that mean a device there, whatever extension they have."""

WINDOWS_LENGTH: Final = 255
"""UTF-16 units of a name there."""

Key = tuple[str, ...]
"""Identity of a path within its line: the identities of its components."""

OWN_PREFIX: Final = b".quintet"
"""What our own staging and trash folders begin with; never part of an inventory."""

JOINERS: Final = frozenset("\u200c\u200d")
"""Invisible, but part of how Persian words, Indic scripts and emoji are written."""

_ESCAPED: Final = range(0xDC80, 0xDD00)
"""How text carries bytes that are no UTF-8: 0xDC00 added (Python's surrogateescape)."""

_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def valid_component(component: bytes) -> bool:
    """Tell whether *component* can name something in a directory, and nothing elsewhere."""
    return (
        0 < len(component) <= MAX_COMPONENT
        and component not in (b".", b"..")
        and b"/" not in component
        and b"\0" not in component
    )


def valid_path(path: RelPath) -> bool:
    """Tell whether *path* stays below its root and within the bounds of the wire."""
    return (
        len(path) <= MAX_DEPTH
        and sum(map(len, path)) + len(path) <= MAX_PATH
        and all(map(valid_component, path))
    )


def possible_on_windows(component: bytes) -> bool:
    """Tell whether a file system with the rules of Windows can have this name.

    Some accept a few of these and change them silently: a trailing dot or space is dropped,
    and another file is hit.
    """
    try:
        name = component.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return (
        WINDOWS_CHARACTERS.isdisjoint(name)
        and name[-1] not in ". "
        and name.partition(".")[0].rstrip(" ").lower() not in WINDOWS_DEVICES
        and len(name.encode("utf-16-le")) // 2 <= WINDOWS_LENGTH
    )


def text(component: bytes) -> str:
    """Return *component* as text; bytes that are no UTF-8 stay as lone surrogates."""
    return component.decode("utf-8", "surrogateescape")


def identity(component: bytes) -> str:
    """Return what makes two names the same where case matters: text in form NFC."""
    if component.isascii():
        return component.decode("ascii")
    return unicodedata.normalize("NFC", text(component))


def folded(name: str) -> str:
    """Return *name* (an identity) without case.

    Character by character, as file systems fold: a full folding would take ``ß`` for ``ss``
    and so make one item of two files that NTFS and APFS keep apart.
    """
    if name.isascii():
        return name.lower()
    decomposed = unicodedata.normalize("NFD", name)
    return unicodedata.normalize("NFC", "".join(map(_folded_character, decomposed)))


def _folded_character(character: str) -> str:
    folding = character.casefold()
    return folding if len(folding) == 1 else character.lower()


def key_of(path: RelPath, *, insensitive: bool) -> Key:
    """Return the identity of *path*."""
    names = map(identity, path)
    return tuple(map(folded, names)) if insensitive else tuple(names)


def shown(path: RelPath) -> str:
    """Return *path* for people: on one line, and with nothing that acts on a terminal or page.

    Control, bidirectional and invisible characters and bytes that are no UTF-8 are written as
    escapes; a backslash is doubled, so that no name looks like another. The root is ``.``.
    """
    return "/".join(shown_name(component) for component in path) or "."


def shown_name(component: bytes) -> str:
    """Return one component for people; see ``shown``."""
    name = text(component)
    if name.isascii() and name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_shown_character, name))


def _shown_character(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if code in _ESCAPED:
        return f"\\x{code & 0xFF:02x}"
    if unicodedata.category(character) not in _HIDDEN_CATEGORIES or character in JOINERS:
        return character
    if character.isascii():
        return f"\\x{code:02x}"
    return f"\\u{{{code:x}}}"
