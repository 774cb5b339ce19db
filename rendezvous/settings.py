"""What the operator of a node may choose, read from one TOML file."""

import difflib
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

PortNumber = Annotated[int, Meta(ge=0, le=65_535)]


MIN_TOKEN: Final = 8
MAX_TOKEN: Final = 64
"""Characters of an access token; a peer's greeting has room for no more."""


class SettingsInvalid(Exception):
    """The configuration file cannot be used; the sentence says where and why."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of one node; every field is a key of the file."""

    hosts: Annotated[
        tuple[str, ...], Meta(min_length=1, max_length=2, description="Addresses to listen at.")
    ] = ("0.0.0.0", "::")  # noqa: S104  # a public service
    port: Annotated[PortNumber, Meta(description="UDP port peers connect to.")] = 47555
    discovery_port: Annotated[
        PortNumber, Meta(description="Second UDP port, for address discovery.")
    ] = 47556
    public_host: Annotated[
        str,
        Meta(max_length=253, description="Name or address that peers use; only printed."),
    ] = ""
    health_port: Annotated[
        PortNumber, Meta(description="TCP port on 127.0.0.1 for /healthz and /metrics; 0: none.")
    ] = 47580
    state: Annotated[str, Meta(min_length=1, description="Folder of the node's identity.")] = (
        "/var/lib/quintet-rendezvous"
    )
    store: Annotated[
        str,
        Meta(
            pattern=r"^(memory|(redis|rediss|unix)://\S+)\Z",
            max_length=500,
            description="Where sessions are kept: memory, or the URL of a Redis all nodes share.",
        ),
    ] = "memory"
    certificate: Annotated[
        str, Meta(description="Chain of a public authority, a PEM file; empty: none is shown.")
    ] = ""
    certificate_key: Annotated[str, Meta(description="Its key, a PEM file.")] = ""
    access_token_file: Annotated[
        str, Meta(description="Serve only peers that show a line of this file.")
    ] = ""
    access_tokens: Annotated[
        tuple[Annotated[str, Meta(min_length=MIN_TOKEN, max_length=MAX_TOKEN)], ...],
        Meta(max_length=1000, description="Serve only peers that show one of these."),
    ] = ()
    max_sessions: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Sessions kept at most.")
    ] = 100_000
    max_connections: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Connections served at a time.")
    ] = 20_000
    max_half_open: Annotated[
        int, Meta(ge=1, le=100_000, description="Connections that have not greeted, in total.")
    ] = 256
    max_half_open_per_source: Annotated[
        int, Meta(ge=1, le=100_000, description="Connections that have not greeted, per source.")
    ] = 16
    look_ups_per_minute: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Look-ups of one source address.")
    ] = 20
    registrations_per_minute: Annotated[
        int, Meta(ge=1, le=1_000_000, description="New sessions of one source address.")
    ] = 5
    questions_per_second: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Discovery questions of one source address.")
    ] = 20
    keepalive_seconds: Annotated[
        int, Meta(ge=1, le=60, description="Seconds between the datagrams of a resting member.")
    ] = 10
    max_resting: Annotated[
        int, Meta(ge=0, le=10_000_000, description="Members that may rest at a time.")
    ] = 500_000
    loopback: Annotated[bool, Meta(description="Introduce peers of this machine at 127.0.0.1.")] = (
        False
    )
    log_format: Annotated[str, Meta(pattern=r"^(json|console)\Z", max_length=7)] = "json"


DEVELOPMENT = Settings(
    hosts=("127.0.0.1",),
    discovery_port=0,
    health_port=0,
    max_half_open=4096,
    max_half_open_per_source=4096,
    look_ups_per_minute=100_000,
    registrations_per_minute=100_000,
    questions_per_second=1_000_000,
    loopback=True,
    log_format="console",
)
"""What ``serve --dev`` starts from: one machine or one LAN, generous limits."""


def load(path: Path) -> Settings:
    """Return the settings in the file at *path*.

    Raises:
        SettingsInvalid: If it cannot be read, is no TOML, holds an unknown key or a value
            out of bounds.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: {error}") from error
    known = Settings.__struct_fields__
    for key in sorted(values):
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SettingsInvalid(f"{path}: unknown key {key!r}{hint}")
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(f"{path}: {error}") from error
    return _with_token_file(settings) if settings.access_token_file else settings


def _with_token_file(settings: Settings) -> Settings:
    path = Path(settings.access_token_file)
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: cannot be read as access tokens") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP:
        raise SettingsInvalid(f"{path}: others can read it; chmod 600 it")
    tokens = tuple(line.strip() for line in lines if line.strip() and line[0] != "#")
    if not tokens or any(not MIN_TOKEN <= len(each) <= MAX_TOKEN for each in tokens):
        raise SettingsInvalid(f"{path}: lines of {MIN_TOKEN} to {MAX_TOKEN} characters expected")
    return msgspec.structs.replace(settings, access_tokens=(*settings.access_tokens, *tokens))


def in_user_folder(settings: Settings) -> Settings:
    """Return *settings* with the identity in the user's own state folder."""
    import platformdirs

    return msgspec.structs.replace(
        settings, state=platformdirs.user_state_dir("quintet-rendezvous")
    )


def described(settings: Settings) -> list[str]:
    """Return a line per setting; of access tokens their number, of a store its kind only."""
    values = msgspec.structs.asdict(settings)
    if settings.store != "memory":
        values["store"] = settings.store.partition("://")[0] + "://..."
    values["access_tokens"] = f"{len(settings.access_tokens)} of them"
    return [f"{name} = {value}" for name, value in values.items()]
