"""Pictures of the page for the README: ``python -m tests.browser.screenshots FOLDER``.

Every state is the staged one that the tests look at, so that the pictures repeat.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.browser.chromium import NARROW, Chromium, Tab, chromium
from tests.browser.staged_peer import StagedPeer
from tests.browser.stages import STAGES
from tests.harness.fake_peer import served

SIZE: Final = (1280, 860)

SHOWN: Final = {
    "start": ("start", "light"),
    "session": ("people", "light"),
    "comparison": ("decide", "light"),
    "plan": ("review", "light"),
    "synchronising": ("synchronising", "dark"),
    "finished": ("finished", "light"),
}
"""State and theme of each picture of the README."""

AIMED_AT: Final = {"decide": "#compare-title", "review": "#picture-title"}
"""What stands at the top of the picture where that is not the page's own top."""


def take(tab: Tab, peer: StagedPeer, address: str, state: str, path: Path) -> None:
    STAGES[state](peer)
    tab.page.goto(address)
    tab.page.locator("#main").wait_for()
    # A second and some more: the graph of the throughput needs two of them.
    tab.page.wait_for_timeout(700)
    if state == "synchronising":
        shown: Any = peer.view()
        for share in (36, 38, 40, 43):
            sync = {**shown["sync"], "bytes_done": share * shown["sync"]["bytes"] // 64}
            peer.show("synchronisation", members=shown["members"], plan=shown["plan"], sync=sync)
            tab.page.wait_for_timeout(1100)
    if state in AIMED_AT:
        tab.page.locator(AIMED_AT[state]).evaluate("(each) => each.scrollIntoView()")
        tab.page.locator(".grid-row").nth(3).or_(tab.page.locator(".picture")).first.wait_for()
        tab.page.wait_for_timeout(300)
    tab.page.screenshot(path=path)


def main(folder: Path, browser: Chromium, *, every: bool) -> None:
    """Take the pictures of the README, or *every* state wide and narrow, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    peer = StagedPeer()
    peer.evil = False
    with tempfile.TemporaryDirectory() as home, served(peer, Path(home)) as api:
        wanted = [(name, state, theme, SIZE) for name, (state, theme) in SHOWN.items()]
        if every:
            wanted = [
                (f"{state}-{theme}-{size[0]}", state, theme, size)
                for state in STAGES
                for theme, size in (("light", SIZE), ("dark", SIZE), ("light", NARROW))
            ]
        for name, state, theme, size in wanted:
            with browser.tab(size, theme=theme) as tab:
                take(tab, peer, api.new_entry(), state, folder / f"{name}.png")


if __name__ == "__main__":
    with chromium() as started:
        main(Path(sys.argv[1]), started, every="--every" in sys.argv)
