"""What a user may choose for this computer, and where each choice came from.

Flags win over ``QUINTET_*`` variables, those over the file named with ``--config``, that over
the user's own file, that over the defaults below. A new setting is a field of ``Settings``: its
bounds, option, variable, TOML key and help follow by themselves. What the members of a session
share is not here but in ``peer.session.lifecycle``.
"""

import difflib
import os
import tempfile
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from peer.errors import SettingInvalid, SettingsUnreadable, SettingUnknown

VARIABLE_PREFIX: Final = "QUINTET_"
"""Every variable of the environment that sets something starts so."""

OTHER_VARIABLES: Final = frozenset({"QUINTET_HOME", "QUINTET_CONFIG"})
"""Variables that say where things are; they are no settings."""

NODE_VARIABLES: Final = ("QUINTET_RENDEZVOUS_", "QUINTET_NODE_")
"""Variables of the rendezvous node, which may run on the same computer."""

DEFAULT_UDP_PORT: Final = 47557
"""UDP port of a peer, so that a firewall rule can name it (interface.md, section 1)."""

FLAG: Final = "flag"
DEFAULT: Final = "default"

_CLOSE_ENOUGH: Final = 0.6
"""Likeness from which a known key is suggested for an unknown one; difflib's own default."""


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the other members of a session read about this one; sent only inside the join."""

    name: Annotated[
        str, Meta(max_length=64, description="Name the others see for this computer.")
    ] = ""
    email: Annotated[
        str, Meta(max_length=254, description="E-mail address the others see; may stay empty.")
    ] = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user may choose."""

    rendezvous: Annotated[
        str,
        Meta(
            max_length=2048,
            description="Meeting servers, HOST[:PORT][#FINGERPRINT], by commas; empty: none.",
        ),
    ] = ""
    access_file: Annotated[
        str,
        Meta(max_length=4096, description="File of mode 0600 with a private server's token."),
    ] = ""
    identity: Identity = Identity()
    ui_port: Annotated[
        int, Meta(ge=0, le=65535, description="Port of the page on this computer; 0: any free one.")
    ] = 0
    udp_port: Annotated[
        int,
        Meta(ge=0, le=65535, description="UDP port for the other members; any free one if taken."),
    ] = DEFAULT_UDP_PORT
    browser: Annotated[bool, Meta(description="Open the page in the browser.")] = True
    idle_minutes: Annotated[
        int,
        Meta(ge=1, le=1440, description="Minutes without a session before a background peer ends."),
    ] = 30
    lang: Annotated[
        Literal["auto", "en", "fr"], Meta(description="Language; auto: that of the system.")
    ] = "auto"
    log_format: Annotated[Literal["text", "json"], Meta(description="Form of the log.")] = "text"
    log_level: Annotated[
        Literal["error", "warning", "info", "debug"], Meta(description="What the log records.")
    ] = "info"


class Key(msgspec.Struct, frozen=True):
    """One setting by its dotted name."""

    name: str
    kind: Any
    """The annotation, bounds included."""
    default: bool | int | str
    description: str

    @property
    def variable(self) -> str:
        return VARIABLE_PREFIX + self.name.replace(".", "_").upper()

    @property
    def option(self) -> str:
        return "--" + self.name.replace(".", "-").replace("_", "-")

    @property
    def expected(self) -> str:
        """The bounds in signs that need no translation."""
        bare, meta = self.kind.__origin__, self.kind.__metadata__[0]
        if bare is bool:
            return "true | false"
        if bare is int:
            return f"{meta.ge} … {meta.le}"
        if bare is str:
            return f"≤ {meta.max_length}"
        return " | ".join(typing.get_args(bare))


class Resolved(msgspec.Struct, frozen=True):
    """Settings in force, and for each dotted key where its value came from.

    An origin is ``flag``, ``default``, the name of a variable or the path of a file.
    """

    settings: Settings
    origins: dict[str, str]


def _keys(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[Key]:
    hints = typing.get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        kind = hints[field.name]
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from _keys(kind, f"{prefix}{field.name}.")
        else:
            (meta,) = kind.__metadata__
            yield Key(f"{prefix}{field.name}", kind, field.default, meta.description)


KEYS: Final[Mapping[str, Key]] = {key.name: key for key in _keys(Settings)}
"""Every setting by its dotted name, in the order declared."""


def find(name: str) -> Key:
    """Return the setting called *name*.

    Raises:
        SettingUnknown: If there is none; carries the closest name.
    """
    if (key := KEYS.get(name)) is not None:
        return key
    close = difflib.get_close_matches(name.lower().replace("-", "_"), KEYS, 1, _CLOSE_ENOUGH)
    raise SettingUnknown(name, close[0] if close else "")


def checked(name: str, value: object) -> bool | int | str:
    """Return *value* as the setting *name* takes it; text is read as numbers and switches.

    Raises:
        SettingUnknown: If there is no such setting.
        SettingInvalid: If the value is out of its bounds.
    """
    key = find(name)
    try:
        converted: bool | int | str = msgspec.convert(value, key.kind, strict=False)
    except msgspec.ValidationError:
        raise SettingInvalid(name, key.expected) from None
    return converted


def values(settings: Settings) -> dict[str, bool | int | str]:
    """Return *settings* by dotted key."""
    flat: dict[str, bool | int | str] = {}
    for name in KEYS:
        value: Any = settings
        for part in name.split("."):
            value = getattr(value, part)
        flat[name] = value
    return flat


def build(flat: Mapping[str, bool | int | str]) -> Settings:
    """Return settings from values by dotted key, each of them checked before."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *outer, last = name.split(".")
        target = nested
        for part in outer:
            target = target.setdefault(part, {})
        target[last] = value
    return msgspec.convert(nested, Settings)


def load(
    *,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    config: Path | None,
    user_file: Path,
) -> Resolved:
    """Return the settings in force.

    Args:
        flags: Options given on the command line, by dotted key.
        environ: The environment.
        config: The file named with ``--config``; it must exist.
        user_file: The user's own file; it may be absent.

    Raises:
        SettingUnknown: If a source names a setting that does not exist.
        SettingInvalid: If a value is out of its bounds.
        SettingsUnreadable: If a file cannot be read or is no TOML.
    """
    flat = {name: key.default for name, key in KEYS.items()}
    origins = dict.fromkeys(KEYS, DEFAULT)
    layers: list[tuple[str | None, Mapping[str, object]]] = []
    if user_file.is_file():
        layers.append((str(user_file), read_file(user_file)))
    if config is not None:
        layers.append((str(config), read_file(config)))
    layers.append((None, _from_environ(environ)))
    layers.append((FLAG, flags))
    for origin, layer in layers:
        for name, value in layer.items():
            flat[name] = checked(name, value)
            origins[name] = KEYS[name].variable if origin is None else origin
    return Resolved(build(flat), origins)


def read_file(path: Path) -> dict[str, object]:
    """Return what the TOML file *path* sets, by dotted key; values are not checked yet.

    Raises:
        SettingsUnreadable: If it cannot be read or is no TOML.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsUnreadable(str(path)) from exc
    flat: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": entry for inner, entry in value.items()})
        else:
            flat[name] = value
    return flat


def write_value(path: Path, name: str, value: str) -> None:
    """Set *name* to *value* in the TOML file *path*, which is written anew.

    Each value is preceded by its description; other comments are not kept.

    Raises:
        SettingUnknown: If there is no such setting.
        SettingInvalid: If the value is out of its bounds.
        SettingsUnreadable: If the present file cannot be read.
    """
    flat = read_file(path) if path.is_file() else {}
    chosen = {known: checked(known, entry) for known, entry in flat.items()}
    chosen[name] = checked(name, value)
    lines: list[str] = []
    for known, key in KEYS.items():
        if known in chosen:
            lines += [f"# {key.description}", f"{known} = {_toml(chosen[known])}", ""]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, staged = tempfile.mkstemp(dir=path.parent, prefix=".config-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines))
    Path(staged).replace(path)


def _toml(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def _from_environ(environ: Mapping[str, str]) -> dict[str, object]:
    by_variable = {key.variable: name for name, key in KEYS.items()}
    found: dict[str, object] = {}
    for variable in sorted(environ):
        if not variable.startswith(VARIABLE_PREFIX) or variable in OTHER_VARIABLES:
            continue
        if variable in by_variable:
            found[by_variable[variable]] = environ[variable]
        elif not variable.startswith(NODE_VARIABLES):
            close = difflib.get_close_matches(variable, by_variable, 1, _CLOSE_ENOUGH)
            raise SettingUnknown(variable, close[0] if close else "")
    return found
