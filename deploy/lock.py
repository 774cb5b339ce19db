"""Write the locks from ``pyproject.toml``.

``requirements.lock`` runs a peer or a node alone, ``requirements-redis.lock`` a node that
shares a Redis with others, ``requirements-dev.lock`` the tests.

``.venv/bin/python deploy/lock.py`` asks pip for the newest versions that fit together, then
the package index pip is set up with for the digest of every file of those releases, so that
one lock serves every platform. No address goes into a lock: whoever installs decides where
from, and the digests decide whether the files are the ones that were tested.

Where a package needs another one only on a platform or version other than this machine's,
that one is locked too, behind its marker.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any, Final

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

ROOT: Final = pathlib.Path(__file__).resolve().parent.parent
RUNTIME_LOCK: Final = ROOT / "deploy" / "requirements.lock"
REDIS_LOCK: Final = ROOT / "deploy" / "requirements-redis.lock"
DEVELOPMENT_LOCK: Final = ROOT / "deploy" / "requirements-dev.lock"

BUILD_TOOLS: Final = ("setuptools>=77", "wheel")
"""What installs the checkout itself without a build environment of its own, which pip would
fill with files no digest was checked for. Setuptools 77 is the first to read a licence
expression."""

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS: Final = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
)
"""Systems and versions a lock must install on."""

INDEX_TIMEOUT: Final = 60.0
"""Seconds the index has for one answer."""

JSON_INDEX: Final = "application/vnd.pypi.simple.v1+json"
"""Media type of the index's answer: Simple repository API, version 1."""


class LockError(Exception):
    """The lock cannot be made; the sentence says why."""


def main() -> None:
    """Resolve all sets together, so that a package has one version in every lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = [*project["project"]["dependencies"], *BUILD_TOOLS]
    shared = [*runtime, *project["project"]["optional-dependencies"]["redis"]]
    development = [*shared, *project["dependency-groups"]["dev"]]

    with tempfile.TemporaryDirectory() as scratch:
        everything = resolve(development, pathlib.Path(scratch))
        pins = [f"{name}=={item.version}" for name, item in everything.items()]
        needed = resolve(runtime, pathlib.Path(scratch), constraints=pins)
        with_redis = resolve(shared, pathlib.Path(scratch), constraints=pins)

    index = index_address()
    digests = {name: release_digests(index, item) for name, item in everything.items()}
    write(RUNTIME_LOCK, "runtime dependencies and build tools", needed, digests)
    write(REDIS_LOCK, "runtime dependencies, build tools and Redis", with_redis, digests)
    write(DEVELOPMENT_LOCK, "runtime and development dependencies", everything, digests)


class Locked:
    """One package of a resolution."""

    def __init__(self, name: str, version: str, digest: str, requires: Iterable[str]) -> None:
        self.name: Final = name
        self.version: Final = version
        self.digest: Final = digest
        self.requires: Final = [Requirement(text) for text in requires]
        self.marker: str | None = None
        """Where the package is needed; None where it is needed everywhere."""


Resolution = dict[NormalizedName, Locked]


def resolve(
    requirements: Iterable[str], scratch: pathlib.Path, *, constraints: Iterable[str] = ()
) -> Resolution:
    """Return what *requirements* come to, with what other platforms need besides.

    Each round adds the packages that were left out here because of a marker only; they may
    need others in turn.
    """
    wanted = sorted(set(requirements))
    markers: dict[NormalizedName, str] = {}
    while True:
        found = ask_pip(wanted, scratch, constraints)
        elsewhere = dict(needed_elsewhere(found))
        if not elsewhere:
            break
        for name, (requirement, marker) in elsewhere.items():
            markers[name] = marker
            wanted.append(requirement)

    # What is needed by a marked package alone is left without a marker: installing it
    # everywhere is harmless, a wrong marker is not.
    for name, marker in markers.items():
        found[name].marker = marker
    return dict(sorted(found.items()))


def ask_pip(
    requirements: Iterable[str], scratch: pathlib.Path, constraints: Iterable[str]
) -> Resolution:
    """Return pip's own resolution, nothing installed."""
    wanted = scratch / "wanted.txt"
    wanted.write_text("\n".join(requirements))
    bounds = scratch / "bounds.txt"
    bounds.write_text("\n".join(constraints))
    report = scratch / "report.json"
    pip(
        *("install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"),
        *("--report", str(report), "--requirement", str(wanted), "--constraint", str(bounds)),
    )

    found: Resolution = {}
    for item in json.loads(report.read_text())["install"]:
        metadata = item["metadata"]
        found[canonicalize_name(metadata["name"])] = Locked(
            name=canonicalize_name(metadata["name"]),
            version=metadata["version"],
            digest=item["download_info"]["archive_info"]["hashes"]["sha256"],
            requires=metadata.get("requires_dist", ()),
        )
    return found


def needed_elsewhere(found: Resolution) -> Iterator[tuple[NormalizedName, tuple[str, str]]]:
    """Yield the packages that *found* lacks and that some other platform needs."""
    for item in found.values():
        for requirement in item.requires:
            name = canonicalize_name(requirement.name)
            marker = requirement.marker
            if name in found or marker is None or not holds_somewhere(marker):
                continue
            yield name, (f"{requirement.name}{requirement.specifier}", str(marker))


def holds_somewhere(marker: Marker) -> bool:
    """Whether *marker* holds on a system we install on, no extra being asked for."""
    return any(
        marker.evaluate(
            {
                **platform,
                "python_version": python,
                "python_full_version": f"{python}.0",
                "extra": "",
            }
        )
        for platform in PLATFORMS
        for python in PYTHONS
    )


def index_address() -> str:
    """Return the index pip is set up with, as pip's own help names it.

    Environment and configuration come first because the help hides passwords.
    """
    configured = os.environ.get("PIP_INDEX_URL") or pip("config", "get", "global.index-url", ok=1)
    if configured.strip():
        return configured.strip().rstrip("/")

    shown = re.search(
        r"--index-url <url>.*?\(default\s+(\S+?)\)", pip("install", "--help"), re.DOTALL
    )
    if shown is None:
        raise LockError("pip does not say which index it uses; set PIP_INDEX_URL")
    return shown[1].rstrip("/")


def release_digests(index: str, item: Locked) -> list[str]:
    """Return the digest of every file of the release, sorted.

    Raises:
        LockError: If the file pip chose is not among them: pip then took it from somewhere
            else, and the lock would vouch for a file of unknown origin.
    """
    request = urllib.request.Request(  # noqa: S310  # pip's index, not a stranger's address
        f"{index}/{item.name}/", headers={"Accept": JSON_INDEX}
    )
    with urllib.request.urlopen(request, timeout=INDEX_TIMEOUT) as answer:  # noqa: S310  # same
        page: dict[str, Any] = json.load(answer)

    version = Version(item.version)
    digests = {
        file["hashes"]["sha256"]
        for file in page["files"]
        if file_version(file["filename"]) == version and "sha256" in file["hashes"]
    }
    if item.digest not in digests:
        raise LockError(f"{item.name} {item.version} did not come from the index of pip")
    return sorted(digests)


def file_version(filename: str) -> Version | None:
    """Return the version a distribution file carries, None for other files."""
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[1]
        return parse_sdist_filename(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def write(
    path: pathlib.Path, what: str, found: Resolution, digests: dict[NormalizedName, list[str]]
) -> None:
    """Write one lock, packages and digests sorted."""
    lines = [
        f"# Quintet's {what}: exact versions, and the SHA-256 digest of every",
        "# file of each release. Made by `.venv/bin/python deploy/lock.py` from pyproject.toml;",
        "# do not edit. Installed with `pip install --require-hashes -r`.",
        "",
    ]
    for name, item in found.items():
        marker = f" ; {item.marker}" if item.marker else ""
        hashes = [f"    --hash=sha256:{digest}" for digest in digests[name]]
        lines.append(" \\\n".join([f"{name}=={item.version}{marker}", *hashes]))
    path.write_text("\n".join(lines) + "\n")
    print(f"{path.relative_to(ROOT)}: {len(found)} packages")


def pip(*arguments: str, ok: int = 0) -> str:
    """Run pip and return what it printed.

    Args:
        *arguments: The command line.
        ok: An exit status that counts as an empty answer.
    """
    done = subprocess.run(  # noqa: S603  # this interpreter's own pip
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
        # A wide terminal keeps an address of the help text on one line.
        env={**os.environ, "COLUMNS": "1000"},
    )
    if done.returncode not in {0, ok}:
        raise LockError(f"pip {arguments[0]} failed:\n{done.stderr}")
    return done.stdout if done.returncode == 0 else ""


if __name__ == "__main__":
    try:
        main()
    except LockError as error:
        sys.exit(f"lock.py: {error}")
