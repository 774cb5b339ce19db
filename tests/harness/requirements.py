"""What a test needs of its machine: skipped with the reason here, a failure in CI.

A test that silently skips where it matters proves nothing, so under ``CI=true`` a missing
tool is a broken machine, not an excuse.
"""

import os
import shutil
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Give up the running test because this machine lacks something."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must provide it: {reason}", pytrace=False)
    pytest.skip(reason)


def require_root() -> None:
    """Give up unless the test may make namespaces and mounts."""
    if os.geteuid() != 0:
        unavailable("needs root")


def require_tool(*names: str) -> None:
    """Give up unless every program of *names* is on the path."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        unavailable(f"needs {', '.join(missing)}")
