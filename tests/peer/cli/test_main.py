"""How commands end, and that the help comes at once."""

import subprocess
import sys
import time

import pytest

from tests.harness.commands import Run


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["nope"], 2, "no such command"),
        (["statsu"], 2, "mean status"),
        (["status", "--jsn"], 2, "--jsn"),
        (["status", "surplus"], 2, "too many"),
        (["act", "copy"], 2, "missing"),
        (["act", "copy", "--filter", "x"], 2, ""),
        (["start", "--members", "9", "--preset", "x"], 2, "not possible"),
        (["start", "--members", "2"], 2, "cannot be used"),
        (["start", "--lan", "--rendezvous", "x"], 2, "cannot be used"),
        (["plan"], 6, "No peer is running"),
        (["config", "set", "udp_prot=1"], 2, "Did you mean udp_port?"),
        (["config", "set", "udp_port=70000"], 2, "0 … 65535"),
        (["--config", "/nowhere.toml", "config", "show"], 2, "/nowhere.toml"),
        (["completion", "nosh"], 2, "not possible"),
    ],
)
def test_a_mistake_is_one_line_a_hint_and_a_status(
    alone: Run, args: list[str], status: int, words: str
) -> None:
    """Never a traceback, never on stdout."""
    result = alone(*args)

    assert result.exit_code == status
    assert result.stderr.startswith("quintet: ")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) <= 2
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


IMPORTED = """
import sys
from peer.cli.main import main
try:
    main(["--help"])
except SystemExit:
    heavy = {"rich", "aiohttp", "asyncio", "peer.cli.session_cmds", "structlog"}
    print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def test_help_comes_at_once() -> None:
    """It imports no command; the bound leaves room for a busy machine (200 ms at rest)."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "peer.cli.main", "--help"], check=True,
                       capture_output=True, timeout=20)  # fmt: skip
        took.append(time.monotonic() - began)
    loaded = subprocess.run(
        [sys.executable, "-c",
         IMPORTED],
        check=True, capture_output=True, text=True, timeout=20,
    )  # fmt: skip

    assert min(took) < 1.0
    assert loaded.stderr.strip() == "[]"
