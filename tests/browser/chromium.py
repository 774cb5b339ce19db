"""A real Chromium, and tabs that remember what went wrong in them."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.harness.requirements import unavailable

PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome")

AXE: Final = Path(__file__).parent / "vendor" / "axe.min.js"

WAIT: Final = 15_000.0
"""Milliseconds anything on a page may take on a busy machine."""

WIDE: Final = (1280, 860)
NARROW: Final = (360, 740)

AXE_RUN: Final = """async () => {
  const told = await axe.run(document, {resultTypes: ["violations"]});
  const shown = (nodes) => nodes.slice(0, 3).map((each) => each.html.slice(0, 160)).join(" | ");
  return told.violations.map(({id, nodes}) => `${id}: ${shown(nodes)}`);
}"""

SETTLED: Final = (
    "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
)


class Chromium:
    """One browser; every tab has cookies, storage and token of its own."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    @contextlib.contextmanager
    def tab(
        self,
        size: tuple[int, int] = WIDE,
        *,
        language: str = "en",
        theme: str = "light",
        **options: Any,
    ) -> Iterator["Tab"]:
        """Open a tab; at its end, fail if anything went wrong in it."""
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            locale="fr-FR" if language == "fr" else "en-GB",
            color_scheme=theme,
            reduced_motion="reduce",
            **options,
        )
        context.set_default_timeout(WAIT)
        tab = Tab(context.new_page())
        try:
            yield tab
            tab.check()
        finally:
            context.close()


class Tab:
    """A page, with what its console and its requests said."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.expected: tuple[str, ...] = ()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("websocket", lambda socket: self.hosts.add(urlsplit(socket.url).hostname or ""))

    def _on_console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    def check(self) -> None:
        """Fail if the console complained or another host was asked."""
        unexpected = [
            each for each in self.complaints if not any(part in each for part in self.expected)
        ]
        assert unexpected == []
        assert self.hosts <= {"127.0.0.1", ""}

    def settle(self) -> None:
        """Return once what was told is drawn."""
        self.page.evaluate(SETTLED)

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    def text(self) -> str:
        return str(self.page.locator("body").inner_text())

    def sees(self, text: str) -> None:
        """Wait until *text* is on the page."""
        self.page.get_by_text(text).first.wait_for()

    def violations(self) -> list[str]:
        """Return what axe finds wrong."""
        if not self.page.evaluate("() => typeof axe === 'object'"):
            self.page.evaluate(AXE.read_text())
        found: list[str] = self.page.evaluate(AXE_RUN)
        return found

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return int(
            self.page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
        )


@contextlib.contextmanager
def chromium() -> Iterator[Chromium]:
    """Start the system's Chromium, or give up with the reason."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("needs playwright")
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        unavailable("needs chromium")
    arguments = ["--disable-gpu", "--disable-dev-shm-usage"]
    if os.geteuid() == 0:
        # Chromium's sandbox refuses root; what it loads here is our own page alone.
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield Chromium(browser)
        finally:
            browser.close()
