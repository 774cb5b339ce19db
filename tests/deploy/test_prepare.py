import os
import pathlib
import subprocess
import sys

import pytest

from tests.deploy.scripts import ROOT

RUNTIME = "prepare deploy/requirements.lock quintet-runtime quintet-development"
DEVELOPMENT = "prepare deploy/requirements-dev.lock quintet-development"

PYTHON = """#!/bin/sh
case "$*" in
    *"pip -qq install"*)
        echo "$*" >>"{log}"
        exit "$(cat "{status}")" ;;
esac
exec "{python}" "$@"
"""


class Checkout:
    """A checkout whose environment notes what it would install instead of installing it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.log = root / "installed"
        self.status = root / "status"
        self.lock = root / "deploy" / "requirements.lock"
        self.status.write_text("0")
        (root / "deploy").mkdir()
        for name in ("deploy/prepare.sh", "pyproject.toml"):
            (root / name).write_text((ROOT / name).read_text())
        self.lock.write_text("a==1\n")
        (root / "deploy" / "requirements-dev.lock").write_text("a==1\nb==2\n")
        python = root / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(PYTHON.format(log=self.log, status=self.status, python=sys.executable))
        python.chmod(0o755)

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            ["sh", "-euc", f". deploy/prepare.sh; {command}"],
            cwd=self.root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def installs(self) -> int:
        return len(self.log.read_text().splitlines())


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> Checkout:
    return Checkout(tmp_path)


def test_packages_are_installed_by_digest_and_the_project_without_dependencies(
    checkout: Checkout,
) -> None:
    """Nothing unchecked comes in by either way."""
    done = checkout.run(RUNTIME)

    packages, project = checkout.log.read_text().splitlines()
    assert done.returncode == 0
    assert "--require-hashes --requirement deploy/requirements.lock" in packages
    assert "--no-deps --no-build-isolation --no-index --editable ." in project


def test_a_second_run_installs_nothing(checkout: Checkout) -> None:
    """It starts at once."""
    checkout.run(RUNTIME)

    done = checkout.run(RUNTIME)

    assert done.returncode == 0
    assert (checkout.installs, done.stdout) == (0, "")


def test_the_larger_environment_serves_the_smaller_need_but_not_the_other_way(
    checkout: Checkout,
) -> None:
    """After the tests the demonstration starts at once; after it the tests still install."""
    checkout.run(RUNTIME)

    checkout.run(DEVELOPMENT)
    larger = checkout.installs
    checkout.run(RUNTIME)

    assert (larger, checkout.installs) == (2, 0)


def test_a_changed_lock_installs_again(checkout: Checkout) -> None:
    """An upgrade of the checkout upgrades its environment."""
    checkout.run(RUNTIME)
    checkout.lock.write_text("a==2\n")

    checkout.run(RUNTIME)

    assert checkout.installs == 2


def test_a_failed_installation_is_not_taken_for_done(checkout: Checkout) -> None:
    """It says so, and the next run tries again."""
    checkout.status.write_text("1")
    failed = checkout.run(RUNTIME)
    checkout.status.write_text("0")

    checkout.run(RUNTIME)

    assert failed.returncode == 1
    assert "could not be installed" in failed.stderr
    assert checkout.installs == 2


def test_an_interpreter_that_is_too_old_is_named(checkout: Checkout) -> None:
    """The person learns what is missing, not a traceback."""
    done = checkout.run("find_python", QUINTET_PYTHON="false")

    assert done.returncode == 1
    assert done.stderr == "quintet: QUINTET_PYTHON=false is no Python of 3.11 or newer\n"


def test_a_missing_part_of_python_is_named(checkout: Checkout) -> None:
    """Who may not install Debian packages learns which one to ask for."""
    bare = checkout.root / "bare-python"
    bare.write_text(
        f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    bare.chmod(0o755)

    done = checkout.run(
        "apt_install() { return 1; }; find_python; need_venv", QUINTET_PYTHON=str(bare)
    )

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert f"install python{version}-venv and start again" in done.stderr
