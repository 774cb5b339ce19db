"""``quintet demo`` as a person runs it: real processes, real sockets, a proof at the end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demonstration_ends_with_its_proof_and_leaves_nothing(tmp_path: Path) -> None:
    """Three computers are equal at the end, a second run plans nothing, all folders are gone."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("QUINTET_")}

    done = subprocess.run(
        [sys.executable, "-m", "peer.cli.main", "--lang", "en", "demo", "--members", "3"],
        env=environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=110,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "3 folders are equal, byte for byte and date for date" in done.stdout
    assert "nothing may be left to do" in done.stderr
    assert not list(tmp_path.iterdir())
