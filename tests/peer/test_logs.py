"""No log line carries a secret, and none above debug a path (security.md, T22)."""

import enum
import io
import json
import logging
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from peer import logs

SECRET = b"\x13\x37" * 16


class Colour(enum.Enum):
    RED = 1


@pytest.fixture
def logged() -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """Configures and reads back; leaves no configuration behind."""
    stream = io.StringIO()

    def lines(level: str = "debug") -> list[dict[str, Any]]:
        if not stream.getvalue():
            logs.configure(level=level, form="json", stream=stream)
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield lines
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [entry for entry in root.handlers if isinstance(entry, logs.ForeignLines)]:
        root.removeHandler(handler)


def _fail() -> None:
    raise ValueError(SECRET.hex())


def _kept(method: str = "info", /, **fields: Any) -> dict[str, Any]:
    return dict(logs.keep_harmless(None, method, {"event": "x.y", **fields}))


@pytest.mark.parametrize(
    "key",
    ["password", "session_password", "prs", "isk", "epoch_secret", "seed", "node_key", "key",
     "token", "bearer_token", "invitation", "session_id", "e_n", "launch_code", "Authorization",
     "private", "salt", "exporter"],
)  # fmt: skip
def test_fields_with_a_telling_name_are_removed(key: str) -> None:
    """Whatever they hold, as text too."""
    assert _kept(**{key: "K7QF2MNX9TBR"}) == {"event": "x.y", key: logs.REMOVED}


def test_reasons_from_a_closed_table_stay() -> None:
    """They look like such names and say nothing."""
    assert _kept(code="E04", close_code=3)["code"] == "E04"


@given(st.binary(min_size=9, max_size=64), st.sampled_from(["value", "answer", "raw"]))
def test_long_bytes_show_by_their_length_alone(value: bytes, name: str) -> None:
    """They may be a key; also inside lists and dictionaries, as bytearray and memoryview."""
    told = json.dumps(
        _kept(**{name: value, "many": [value, bytearray(value)], "deep": {"in": {"a": value}},
                 "view": memoryview(value)})
    )  # fmt: skip

    assert value.hex() not in told
    assert str(value)[2:-1] not in told or len(set(value)) < 2
    assert f'"{name}_bytes": {len(value)}' in told


@given(st.binary(max_size=8))
def test_short_bytes_are_numbers(value: bytes) -> None:
    """Eight bytes are no key."""
    assert _kept(value=value)["value"] == value.hex()


def test_paths_show_at_debug_alone() -> None:
    """Names of a person's files are nobody's business in a log that is passed on."""
    fields: dict[str, Any] = {"path": "a/b", "source": "/home/x", "where": pathlib.Path("/y")}

    above = _kept("info", **fields)
    below = _kept("debug", **fields)

    assert set(above.values()) == {"x.y", logs.REMOVED}
    assert below["path"] == "a/b"
    assert below["where"] == "/y"


def test_what_is_not_known_shows_by_its_type() -> None:
    """A repr may hold anything; nothing is followed without end."""

    class Keys:
        def __repr__(self) -> str:
            return "K7QF2MNX9TBR"

    endless: list[Any] = []
    endless.append(endless)
    kept = _kept(value=Keys(), colour=Colour.RED, endless=endless, long="x" * 500, n=1.5)

    assert kept["value"] == "<Keys>"
    assert kept["colour"] == "RED"
    assert "<list>" in str(kept["endless"])
    assert len(kept["long"]) == logs.MAX_TEXT + 1
    assert kept["n"] == 1.5


def test_an_exception_shows_by_type_and_place(
    logged: Callable[..., list[dict[str, Any]]],
) -> None:
    """Its words may quote data, also when a library logs it."""
    logged()
    log = structlog.get_logger()
    try:
        _fail()
    except ValueError as exc:
        log.exception("apply.failed")
        log.warning("apply.failed", exc_info=exc)
        log.warning("apply.failed", exc_info=(type(exc), exc, exc.__traceback__))
        logging.getLogger("aiohttp.server").exception("body was %s", SECRET.hex())

    lines = logged()
    assert [line["exception_type"] for line in lines] == ["ValueError"] * 4
    assert lines[0]["raised_at"].startswith("test_logs.py:")
    assert lines[3]["library"] == "aiohttp.server"
    assert SECRET.hex() not in json.dumps(lines)


def test_the_level_and_the_form_are_obeyed(logged: Callable[..., list[dict[str, Any]]]) -> None:
    """Below the level nothing is written; text lines carry the same fields."""
    logged("warning")
    structlog.get_logger().info("join.started")
    structlog.get_logger().warning("join.refused", tries=3)
    assert [line["event"] for line in logged("warning")] == ["join.refused"]

    stream = io.StringIO()
    logs.configure(level="info", form="text", stream=stream)
    structlog.get_logger().info("join.refused", password="x", tries=3)

    assert "join.refused" in stream.getvalue()
    assert "tries=3" in stream.getvalue()
    assert "password=[removed]" in stream.getvalue()
