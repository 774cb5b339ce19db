import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from protocol.errors import ExitStatus
from rendezvous.cli import main
from tests.harness.ports import free_port


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_configuration_is_checked_and_shown(tmp_path: Path) -> None:
    """Every setting with its value, tokens only counted."""
    path = tmp_path / "rendezvous.toml"
    path.write_text('port = 4000\naccess_tokens = ["secret-token"]')

    result = run("check-config", str(path))

    assert result.exit_code == ExitStatus.DONE
    assert "port = 4000" in result.output.splitlines()
    assert "secret-token" not in result.output


def test_a_mistake_in_the_configuration_is_a_usage_error(tmp_path: Path) -> None:
    """With a suggestion."""
    path = tmp_path / "rendezvous.toml"
    path.write_text("prot = 4000")

    result = run("check-config", str(path))

    assert result.exit_code == ExitStatus.USAGE
    assert "did you mean 'port'" in result.output


@pytest.mark.parametrize("arguments", [[], ["--dev", "--config", "x.toml"]])
def test_serving_needs_one_source_of_settings(arguments: list[str]) -> None:
    """Neither nothing nor both."""
    result = run("serve", *arguments)

    assert result.exit_code == ExitStatus.USAGE
    assert "--dev" in result.output


def test_a_damaged_identity_stops_the_start(tmp_path: Path) -> None:
    """One line says why."""
    (tmp_path / "node.key").write_bytes(b"short")
    (tmp_path / "node.key").chmod(0o600)

    result = run("serve", "--dev", "--state", str(tmp_path))

    assert result.exit_code == ExitStatus.FAILURE
    assert "not a key" in result.output


@pytest.mark.parametrize("command", ["health", "stats"])
def test_a_node_that_is_not_there_is_unreachable(command: str) -> None:
    """The status tells the container that it is unwell."""
    result = run(command, "--health-port", str(free_port()))

    assert result.exit_code == ExitStatus.UNREACHABLE
    assert "does not answer" in result.output


def test_help_is_answered_at_once() -> None:
    """Nothing slow is imported for it: no QUIC, no HTTP server."""
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, rendezvous.cli; print(*sorted(sys.modules))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert not {"aioquic", "aiohttp", "prometheus_client", "structlog"} & set(loaded)


@pytest.mark.slow
def test_a_development_node_starts_answers_and_stops(tmp_path: Path) -> None:
    """The first line is the address; SIGTERM ends it cleanly."""
    health_port = str(free_port())
    command = [sys.executable, "-c", "from rendezvous.cli import main; main()"]
    command += ["serve", "--dev", "--port", "0", "--health-port", health_port]
    with subprocess.Popen(
        [*command, "--state", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            health = run("health", "--health-port", health_port)
            as_json = run("health", "--json", "--health-port", health_port)
            stats = run("stats", "--health-port", health_port)
            started = time.monotonic()
            process.send_signal(signal.SIGTERM)
            status = process.wait(10)
            took = time.monotonic() - started
        finally:
            process.kill()
        errors = process.stderr.read()

    assert re.fullmatch(r"127\.0\.0\.1:\d+#[0-9A-Z]{16}\n", line)
    assert (health.exit_code, health.output) == (0, "ok: 0 sessions\n")
    assert '"schema": 1' in as_json.output
    assert "sessions 0.0" in stats.output.splitlines()
    assert (status, errors) == (0, "")
    assert took < 5
