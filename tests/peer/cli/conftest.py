"""Commands against a small peer behind the real local API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.commands import Run, runner
from tests.harness.fake_peer import FakePeer, served


@pytest.fixture
def fake() -> FakePeer:
    """A peer with one other member as soon as it is in a session."""
    return FakePeer(others=1)


@pytest.fixture
def run(fake: FakePeer, tmp_path: Path) -> Iterator[Run]:
    """Runs commands against the served fake."""
    with served(fake, tmp_path):
        yield runner(tmp_path)


@pytest.fixture
def alone(tmp_path: Path) -> Run:
    """Runs commands where no peer runs."""
    return runner(tmp_path)


@pytest.fixture
def compared(run: Run) -> Run:
    """In a session whose comparison stands."""
    assert run("start", "/a", "--lan").exit_code == 0
    assert run("inventory", "--wait").exit_code == 0
    return run
