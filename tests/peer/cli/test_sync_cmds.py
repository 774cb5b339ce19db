"""Plan, synchronisation and proof as commands."""

import json

import pytest

from tests.harness.commands import Run
from tests.harness.fake_peer import EVIL_NAME, FakePeer


def test_a_plan_is_shown_and_confirmed(compared: Run, fake: FakePeer) -> None:
    """Without --yes and without a terminal nothing happens."""
    assert "2.0 KiB" in compared("plan").stdout
    assert json.loads(compared("plan", "--format", "json").stdout)["steps"] == 4
    assert compared("sync").exit_code == 2
    assert compared("sync", interactive=True, stdin="n\n").exit_code == 5
    assert "start_sync" not in fake.calls
    result = compared("sync", "--wait", "--allow-deletes", "3", interactive=True, stdin="y\n")

    assert result.exit_code == 0
    assert "Proved" in result.stdout
    assert fake.allowed_deletes == 3


def _failure(code: str) -> dict[str, object]:
    return {"letter": "B", "path": EVIL_NAME, "code": code, "params": {}}


@pytest.mark.parametrize(
    ("ending", "status"),
    [(([], "equal", 0), 0), (([], "equal", 2), 4), ((["fs.no_space"], "equal", 0), 4),
     (([], "deviates", 0), 3), ((["plan.brake"], "equal", 0), 8)],
)  # fmt: skip
def test_the_status_tells_how_a_synchronisation_ended(
    compared: Run, fake: FakePeer, ending: tuple[list[str], str, int], status: int
) -> None:
    """0 only if everything is in sync and proved."""
    failures, fake.proof_state, fake.undecided = ending
    fake.failures = [_failure(code) for code in failures]

    result = compared("sync", "--yes", "--wait", "--json")

    assert result.exit_code == status
    assert json.loads(result.stdout)["proof"]["state"] == fake.proof_state


def test_failures_and_deviations_are_named_with_their_reason(compared: Run, fake: FakePeer) -> None:
    """Member, path, and why in words."""
    fake.failures = [_failure("fs.no_space")]
    fake.proof_state = "deviates"

    result = compared("sync", "--yes", "--wait")

    assert "B  evil\\x1b[31m\\u{202e}gnp.exe: not enough free space" in result.stdout
    assert "not there" in result.stdout


def test_nothing_to_do_needs_no_confirmation(compared: Run, fake: FakePeer) -> None:
    """A second run ends at once."""
    fake.steps = 0

    result = compared("sync", "--wait")

    assert result.exit_code == 0
    assert "Nothing to do." in result.stdout


def test_verify_abort_restart_and_cancel(compared: Run, fake: FakePeer) -> None:
    """A deviation is status 3."""
    assert compared("verify").exit_code == 0
    fake.proof_state = "deviates"
    assert compared("verify").exit_code == 3
    assert json.loads(compared("verify", "--json").stdout)["state"] == "deviates"
    assert compared("abort").exit_code == 0
    assert compared("restart").exit_code == 0
    assert compared("cancel").exit_code == 0
    assert compared("inventory", "--cancel").exit_code == 0
