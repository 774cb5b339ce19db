"""What the leader may choose about a session, each with its bounds, default and meaning.

A field is all there is to a setting: the API, the page's form, the command line's
``KEY=VALUE`` and the wire read names, bounds, defaults and texts off the declaration.
"""

import difflib
import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from peer.errors import SettingInvalid, SettingUnknown
from protocol.ids import MemberIndex
from protocol.limits import MAX_MEMBERS, MAX_SOURCES
from protocol.messages.base import Value
from protocol.messages.inventory import SourcePosition

MAX_PATTERNS: Final = 200
"""Include or exclude patterns of one session: a page of them, and bounded work per entry."""

MAX_PATTERN: Final = 1_000
"""Characters of one pattern: far above any written by hand."""

MAX_STARS: Final = 4
"""Stars of one pattern. The library matches by backtracking, which costs up to the name's
length to the power of the stars: a leader must not be able to stall a member with one."""

MAX_TOLERANCE_MS: Final = 3_600_000
"""Milliseconds: one hour, the error of a clock that took daylight saving for time."""


class DataType(enum.StrEnum):
    """What becomes an item."""

    FILES_AND_DIRECTORIES = "files-and-directories"
    FILES = "files"
    DIRECTORIES = "directories"


class Matching(enum.StrEnum):
    """What makes entries of several members the same item."""

    RELATIVE_PATH = "relative-path"
    NAME = "name"


class Pairing(enum.StrEnum):
    """Which sources belong together."""

    LINES = "lines"
    MERGED = "merged"


class Case(enum.StrEnum):
    """Whether names that differ only in case are one."""

    AUTOMATIC = "automatic"
    SENSITIVE = "sensitive"
    INSENSITIVE = "insensitive"


class Analysis(enum.StrEnum):
    """Whose content is hashed."""

    SMART = "smart"
    CHECKSUM = "checksum"


class Symlinks(enum.StrEnum):
    """What becomes of symbolic links; none is ever followed."""

    SKIP = "skip"
    COPY = "copy"


class Metadata(enum.StrEnum):
    """What a copy carries besides content."""

    DATES = "dates"
    DATES_AND_MODE = "dates-and-mode"


Pattern = Annotated[str, Meta(min_length=1, max_length=MAX_PATTERN, pattern=r"\A[^\x00\r\n]*\Z")]
"""One line of gitignore syntax."""

Patterns = Annotated[tuple[Pattern, ...], Meta(max_length=MAX_PATTERNS)]


class Paired(Value):
    """One source of one member, by index and position."""

    member: MemberIndex
    source: SourcePosition


Line = Annotated[tuple[Paired, ...], Meta(min_length=1, max_length=MAX_MEMBERS)]
"""Sources that belong together, one of a member."""


class SessionSettings(Value):
    """Settings of a session: the leader's in Preparation, read-only to the others (product §3)."""

    data_type: Annotated[DataType, Meta(description="What is compared and synchronised.")] = (
        DataType.FILES_AND_DIRECTORIES
    )
    matching: Annotated[Matching, Meta(description="What makes two entries the same item.")] = (
        Matching.RELATIVE_PATH
    )
    pairing: Annotated[
        Pairing,
        Meta(description="Whether A1, B1, C1 … belong together, or all sources form one tree."),
    ] = Pairing.LINES
    pairs: Annotated[
        Annotated[tuple[Line, ...], Meta(max_length=MAX_SOURCES)],
        Meta(description="Sources that belong together otherwise than by their numbers."),
    ] = ()
    case: Annotated[
        Case,
        Meta(
            description="Whether upper and lower case matter; automatic: "
            "not when any folder lies on a file system that ignores case."
        ),
    ] = Case.AUTOMATIC
    analysis: Annotated[
        Analysis,
        Meta(
            description="smart: content is read only where size or date differ; "
            "checksum: of every item present in two or more places."
        ),
    ] = Analysis.SMART
    exclude_hidden: Annotated[bool, Meta(description="Leave out hidden files and folders.")] = True
    exclude_system: Annotated[
        bool, Meta(description="Leave out system files such as desktop.ini or .DS_Store.")
    ] = True
    include: Annotated[
        Patterns, Meta(description="Only files matching one of these patterns; none: all.")
    ] = ()
    exclude: Annotated[
        Patterns, Meta(description="Nothing that matches these patterns (gitignore syntax).")
    ] = ()
    symlinks: Annotated[
        Symlinks, Meta(description="Skip symbolic links or copy them as links.")
    ] = Symlinks.SKIP
    metadata: Annotated[
        Metadata, Meta(description="What a copy carries besides content: dates, or mode as well.")
    ] = Metadata.DATES
    date_tolerance_ms: Annotated[
        Annotated[int, Meta(ge=0, le=MAX_TOLERANCE_MS)] | None,
        Meta(
            description="Milliseconds two dates may differ and count as equal; "
            "automatic: the coarsest resolution of the folders compared."
        ),
    ] = None

    ask_before_join: Annotated[
        bool, Meta(description="Let a member decide about everybody who wants to join.")
    ] = False

    def __post_init__(self) -> None:
        for pattern in (*self.include, *self.exclude):
            if pattern.replace("**", "*").count("*") > MAX_STARS:
                raise ValueError(f"a pattern has more than {MAX_STARS} stars")


PAIRS_EXPECTED: Final = "A1+B2"
"""How a line is written; letters are known only where people are."""


def with_line(settings: SessionSettings, line: Sequence[Paired]) -> SessionSettings:
    """Return *settings* with these sources in one line, out of whatever lines they were in.

    Raises:
        SettingInvalid: If they are fewer than two, or two of one member.
    """
    members = {pair.member for pair in line}
    if len(line) < 2 or len(members) < len(line):  # noqa: PLR2004  # one source is no pair
        raise SettingInvalid("pairs", PAIRS_EXPECTED)
    others = (tuple(pair for pair in other if pair not in line) for other in settings.pairs)
    # What is left of a line with one source alone is paired by its number again.
    kept = tuple(other for other in others if len(other) > 1)
    return msgspec.structs.replace(settings, pairs=(*kept, tuple(line)))


KEYS: Final = tuple(SessionSettings.__struct_fields__)
"""Every setting's name, in the order of the paper."""

_SWITCH: Final = {
    **dict.fromkeys(("on", "yes", "true", "1"), True),
    **dict.fromkeys(("off", "no", "false", "0"), False),
}
_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def parse_assignments(
    assignments: Iterable[str], base: SessionSettings | None = None
) -> SessionSettings:
    """Return *base* (or the defaults) with every ``KEY=VALUE`` of *assignments* applied.

    A key may be written with hyphens. A pattern list takes one pattern per assignment, the
    first replacing what was there; an empty value empties it. A tolerance takes a unit
    (``ms``, ``s``, ``m``, ``h``; milliseconds without) or ``automatic``.

    Raises:
        SettingUnknown: With the closest name there is.
        SettingInvalid: Naming the key and what it takes.
    """
    changed: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        key = _key(name.strip())
        if not equals:
            raise SettingInvalid(key, _expected(key))
        text = text.strip()
        if key in ("include", "exclude"):
            changed[key] = (*changed.get(key, ()), text) if text else ()
        else:
            changed[key] = _value(key, text)
    kept = msgspec.to_builtins(base or SessionSettings())
    return settings_from({**kept, **changed})


def settings_from(values: Mapping[str, Any]) -> SessionSettings:
    """Return *values* (plain data of the API or a profile) as settings, bounds checked.

    Raises:
        SettingUnknown: With the closest name there is.
        SettingInvalid: Naming the key and what it takes.
    """
    known = {_key(name): value for name, value in values.items()}
    for key, value in known.items():
        # One by one, so that the error names the key and no path into a structure.
        try:
            msgspec.convert({key: value}, SessionSettings)
        except msgspec.ValidationError as error:
            raise SettingInvalid(key, _expected(key)) from error
    return msgspec.convert(known, SessionSettings)


def _key(name: str) -> str:
    key = name.replace("-", "_")
    key = {"date_tolerance": "date_tolerance_ms"}.get(key, key)
    if key not in KEYS:
        near = difflib.get_close_matches(key, KEYS, n=1)
        raise SettingUnknown(name, near[0] if near else "")
    return key


def _value(key: str, text: str) -> object:
    if key == "pairs":
        # Without letters there is only the empty table: everything by its number again.
        return text or ()
    if isinstance(getattr(SessionSettings(), key), bool):
        return _SWITCH.get(text.lower(), text)
    if key == "date_tolerance_ms":
        return _milliseconds(text)
    return text.lower().replace("_", "-")


def _milliseconds(text: str) -> int | str | None:
    if text.lower() == "automatic":
        return None
    digits = text.rstrip("hms")
    unit = text[len(digits) :] or "ms"
    if not (digits.isascii() and digits.isdigit() and unit in _UNITS):
        return text
    return int(digits) * _UNITS[unit]


def _expected(key: str) -> str:
    if key == "pairs":
        return PAIRS_EXPECTED
    default = getattr(SessionSettings(), key)
    if isinstance(default, enum.StrEnum):
        return " | ".join(type(default))
    if isinstance(default, bool):
        return "on | off"
    if default is None:
        return "automatic | 0ms … 1h"
    return f"≤ {MAX_PATTERNS} × ≤ {MAX_PATTERN} a-z*?!/, ≤ {MAX_STARS} *"
