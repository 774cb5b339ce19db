"""A rendezvous node in a process of its own, so that it can be killed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.harness.ports import free_port

SERVE: Final = "from rendezvous.cli import main; main()"


class NodeProcess:
    """One node; started, killed and started again on the same port.

    Args:
        folder: Holds its configuration and its identity.
        settings: Keys of the configuration on top of those of a test.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "rendezvous.toml"
        self._process: subprocess.Popen[str] | None = None
        values: dict[str, object] = {
            "hosts": ["127.0.0.1"],
            "port": free_port(),
            "discovery_port": 0,
            "health_port": 0,
            "state": str(folder),
            "loopback": True,
            "look_ups_per_minute": 100_000,
            "registrations_per_minute": 100_000,
            **settings,
        }
        lines = [f"{name} = {_toml(value)}" for name, value in values.items()]
        self._config.write_text("\n".join(lines))
        self.address = ""

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVE, "serve", "--config", str(self._config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        assert self.address, "the node did not start"

    def kill(self) -> None:
        """End it as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
