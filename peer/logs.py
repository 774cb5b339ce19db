"""How this peer logs: event names and fields, never a secret, no path above debug.

Every line goes through ``keep_harmless`` first, whoever wrote it. It keeps numbers and short
texts and replaces all else, because a value that is merely unknown may hold a key (security.md,
T22). What libraries log is kept by the name of the library alone; their sentences can quote data.
"""

import enum
import logging
import pathlib
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog

LogFormat = Literal["text", "json"]

HARMLESS_BYTES: Final = 8
"""A byte string up to this long is a counter or a number; a longer one may be a key (T22)."""

MAX_TEXT: Final = 200
"""Characters of one text in a log line; longer ones are cut."""

MAX_DEPTH: Final = 4
"""Nesting of containers in a log line; deeper ones are shown by their type."""

SECRET_KEY: Final = re.compile(
    r"pass(word|phrase)?|secret|token|invitation|seed|prs|isk|psk|ikm|okm|private|credential"
    r"|session_id|launch|authorization|cookie"
    r"|(^|_)(key|salt|nonce|mac|code|exporter|epoch_key|e_n)($|_)",
    re.IGNORECASE,
)
"""Names of fields that may hold a secret, or the Session ID, which no line carries."""

HARMLESS_KEYS: Final = frozenset({"close_code", "error_code", "exit_code", "code"})
"""Names that look like those but hold a reason from a closed table."""

PATH_KEY: Final = re.compile(
    r"(^|_)(paths?|file(name)?|folder|director(y|ies)|root|home|source|target|label)($|_)",
    re.IGNORECASE,
)
"""Names of fields that hold a path or a name of a person's file."""

REMOVED: Final = "[removed]"

_STRUCTLOG_KEYS: Final = frozenset({"event", "level", "timestamp", "exc_info", "_record"})


def keep_harmless(
    _logger: object, method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace what may be a secret, and above debug what tells about a person's files."""
    kept = _harmless_fields(event_dict, paths_allowed=method == "debug", depth=0)
    event_dict.clear()
    event_dict.update(kept)
    return event_dict


def name_exception(
    _logger: object, _method: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace an exception by its type and the place in our code; its words quote data."""
    exc = event_dict.pop("exc_info", None)
    if exc is True:
        exc = sys.exc_info()[1]
    elif isinstance(exc, tuple):
        exc = exc[1]
    if isinstance(exc, BaseException):
        event_dict["exception_type"] = type(exc).__name__
        frames = traceback.extract_tb(exc.__traceback__)
        if frames:
            last = frames[-1]
            event_dict["raised_at"] = f"{pathlib.PurePath(last.filename).name}:{last.lineno}"
    return event_dict


def configure(*, level: str, form: LogFormat, stream: TextIO) -> None:
    """Send all lines of at least *level* to *stream*, one JSON object each or readable text."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=24)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            name_exception,
            keep_harmless,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    foreign = logging.getLogger()
    for handler in list(foreign.handlers):
        if isinstance(handler, ForeignLines):
            foreign.removeHandler(handler)
    foreign.addHandler(ForeignLines(max(threshold, logging.WARNING)))


class ForeignLines(logging.Handler):
    """Turns what libraries log into one event that names the library and nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        exc = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno,
            "library.logged",
            library=record.name,
            at=f"{record.module}:{record.lineno}",
            exc_info=exc,
        )


def _harmless_fields(
    fields: Mapping[str, Any], *, paths_allowed: bool, depth: int
) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in fields.items():
        if depth == 0 and key in _STRUCTLOG_KEYS:
            kept[key] = value
        elif isinstance(value, bytes | bytearray | memoryview) and len(value) > HARMLESS_BYTES:
            kept[f"{key}_bytes"] = len(value)
        elif _telling(key, value, paths_allowed=paths_allowed):
            kept[key] = REMOVED
        else:
            kept[key] = _harmless(value, paths_allowed=paths_allowed, depth=depth)
    return kept


def _telling(key: str, value: object, *, paths_allowed: bool) -> bool:
    if SECRET_KEY.search(key) and key not in HARMLESS_KEYS:
        return True
    return not (paths_allowed or isinstance(value, int)) and bool(PATH_KEY.search(key))


def _harmless(value: Any, *, paths_allowed: bool, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex() if len(value) <= HARMLESS_BYTES else f"[{len(value)} bytes]"
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…"
    if isinstance(value, pathlib.PurePath):
        return str(value) if paths_allowed else REMOVED
    if depth < MAX_DEPTH:
        if isinstance(value, dict):
            inner = {str(key): entry for key, entry in value.items()}
            return _harmless_fields(inner, paths_allowed=paths_allowed, depth=depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return [
                _harmless(entry, paths_allowed=paths_allowed, depth=depth + 1) for entry in value
            ]
    # Its repr may hold anything.
    return f"<{type(value).__name__}>"
