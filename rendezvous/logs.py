"""What the node writes to its log: event names and fields, as JSON or for a person.

Addresses come in blurred, and nothing else that could name a session or a peer is ever handed
to a log call; bytes are dropped to make sure of it.
"""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def configure(form: str, *, debug: bool = False) -> None:
    """Send log lines to standard error, as ``json`` or for the ``console``."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            drop_bytes,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug" if debug else "info"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def drop_bytes(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace bytes by their number: they may be a token or a key."""
    del logger, method
    for name, value in event.items():
        if isinstance(value, bytes):
            event[name] = f"<{len(value)} bytes>"
    return event
