"""Ask the advisory services about every locked package; fail if one of them knows a hole.

A service that cannot be reached is no result, and neither is one that answers but does not
know the package: pip-audit counts such packages as skipped and still says that no
vulnerability was found. Here a package counts as audited only if a service said so.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any, Final

LOCK: Final = pathlib.Path(__file__).resolve().parent / "requirements-dev.lock"
"""The larger lock: it holds everything the other one does."""

SERVICES: Final = ("pypi", "osv")
"""Where pip-audit can ask, as it names them; each knows advisories the other lacks."""

ANSWER_TIMEOUT: Final = 10
"""Seconds a service has for one answer."""

SERVICE_TIMEOUT: Final = 180
"""Seconds for the questions about all packages together."""

UNREACHABLE: Final = ("ConnectionError", "Timeout", "HTTPError", "ServiceError", "ProxyError")
"""What pip-audit's last words name when the service, not the question, was at fault."""


@dataclass(slots=True)
class Findings:
    """What the services said so far."""

    audited: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    advisories: set[str] = field(default_factory=set)

    def add(self, report: dict[str, Any]) -> None:
        """Take in one service's *report*, in pip-audit's JSON form."""
        for package in report["dependencies"]:
            if "skip_reason" in package:
                self.unknown.add(package["name"])
                continue
            self.audited.add(package["name"])
            self.advisories |= {
                f"{package['name']} {package['version']}: {advisory['id']}"
                for advisory in package["vulns"]
            }

    def verdict(self) -> tuple[str, int]:
        """Return the closing sentence and the exit status."""
        if self.advisories:
            return "advisories: FAILED\n" + "\n".join(sorted(self.advisories)), 1
        if not self.audited:
            return "no advisory service reachable: no audit result", 0
        sentence = f"advisories: none for {len(self.audited)} packages"
        left = sorted(self.unknown - self.audited)
        return (f"{sentence}; no result for {', '.join(left)}" if left else sentence), 0


def ask(service: str) -> dict[str, Any] | None:
    """Return what *service* says, None if it cannot be reached.

    Raises:
        RuntimeError: If pip-audit failed for another reason; that must not pass for silence.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "report.json"
        try:
            done = subprocess.run(  # noqa: S603  # fixed arguments
                [
                    *(sys.executable, "-m", "pip_audit", "--vulnerability-service", service),
                    *("--disable-pip", "--require-hashes", "--requirement", str(LOCK)),
                    *("--timeout", str(ANSWER_TIMEOUT), "--progress-spinner", "off"),
                    *("--format", "json", "--output", str(report)),
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=SERVICE_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return None
        if report.exists() and (written := report.read_text()):
            parsed: dict[str, Any] = json.loads(written)
            return parsed

    last_words = done.stderr.strip().rpartition("\n")[2]
    if any(word in done.stderr for word in UNREACHABLE) or "connect" in last_words:
        return None
    raise RuntimeError(f"pip-audit failed: {last_words}")


def main() -> int:
    """Ask every service and print what came of it."""
    findings = Findings()
    for service in SERVICES:
        report = ask(service)
        if report is not None:
            findings.add(report)
    sentence, status = findings.verdict()
    print(f"quintet: {sentence}")
    return status


if __name__ == "__main__":
    sys.exit(main())
