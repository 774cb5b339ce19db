"""The foreground form of a peer."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from peer.cli.serve import with_free_udp_port
from peer.settings import Resolved, Settings
from tests.harness.commands import FOREGROUND, runner


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_up_serves_until_a_signal(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """Clean: the address is removed, no traceback; ^C is told apart from a service's stop."""
    environ: dict[str, Any] = {
        name: value for name, value in os.environ.items() if not name.startswith("QUINTET_")
    }
    with subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, "--home", str(tmp_path), "up", "--no-browser"],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[3],
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 30
        while not (tmp_path / "api.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        answer = runner(tmp_path)("status", "--json")
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)

    assert json.loads(answer.stdout)["running"]
    assert process.returncode == status
    assert output == ""
    assert "Traceback" not in errors
    assert not (tmp_path / "api.json").exists()


def test_a_taken_udp_port_gives_way_to_any_free_one() -> None:
    """Two peers of one computer need no setting for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 0))
        port = taken.getsockname()[1]
        wanted = Resolved(Settings(udp_port=port), {})
        assert with_free_udp_port(wanted).settings.udp_port == 0

    assert with_free_udp_port(wanted).settings.udp_port == port
