"""What holds for every test: how properties are explored, in which order tests run."""

import os

import hypothesis
import pytest

from tests.harness.requirements import require_root

# A busy machine is slow, not wrong: no deadlines, and slow generation is no failure.
hypothesis.settings.register_profile(
    "quick",
    deadline=None,
    max_examples=50,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "thorough",
    hypothesis.settings.get_profile("quick"),
    max_examples=2000,
    derandomize=False,
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_SETTING", "quick"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick tests first, so that a broken rule shows before a whole session runs.

    The browser's come last: its driver keeps an event loop of its own on the main thread until
    the very end, and no other loop can run there then.
    """
    items.sort(
        key=lambda item: (
            item.path.parent.name == "browser",
            item.get_closest_marker("slow") is not None,
        )
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let ``@pytest.mark.root`` mean what it says."""
    if item.get_closest_marker("root") is not None:
        require_root()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Repeat above the closing line which checks of ``deploy/test.sh`` failed before."""
    failed = os.environ.get("QUINTET_FAILED_CHECKS", "").split()
    if failed:
        terminalreporter.section("checks that failed before the tests", red=True, bold=True)
        terminalreporter.line(", ".join(failed))
