"""The comparison's grid with a million rows: every one can be reached, and few exist."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium, Tab
from tests.browser.staged_peer import StagedPeer
from tests.browser.stages import STAGES
from tests.harness.fake_peer import served

pytestmark = pytest.mark.slow

MILLION = 1_000_000
ROW_HEIGHT = 32
HEAP = 50 * 1024**2
"""Bytes the page may hold (interface.md)."""

FRAME_TIMES = """async () => {
  const grid = document.querySelector(".grid");
  const frames = [];
  let last = performance.now();
  for (let step = 0; step < 90; step += 1) {
    grid.scrollTop += 640;
    await new Promise((done) => requestAnimationFrame(done));
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames.sort((one, other) => one - other)[45];
}"""


@pytest.fixture
def grid(browser: Chromium, tmp_path: Path) -> Iterator[Tab]:
    """A comparison of a million rows, shown."""
    peer = StagedPeer()
    peer.rows = MILLION
    STAGES["decide"](peer)
    with served(peer, tmp_path) as api, browser.tab() as tab:
        tab.page.goto(api.new_entry())
        tab.page.locator(".grid-row .path").first.wait_for()
        tab.sees("1,000,000 rows")
        yield tab


def scroll_to(tab: Tab, place: int) -> None:
    tab.page.evaluate(
        "(top) => { document.querySelector('.grid').scrollTop = top; }", place * ROW_HEIGHT
    )


def test_jumps_show_the_right_rows_and_few_exist(grid: Tab) -> None:
    """Any place of the bar shows the rows of that place; only those in sight are in the page."""
    for place in random.Random(7).sample(range(1000, MILLION - 1000), 8):
        scroll_to(grid, place)
        row = grid.page.locator(f"#row-{place + 3}")
        row.get_by_text(f"IMG_{place + 3:07}.jpg").wait_for()
        box, frame = row.bounding_box(), grid.page.locator(".grid").bounding_box()
        assert box is not None
        assert frame is not None
        assert frame["y"] <= box["y"] <= frame["y"] + frame["height"]

    assert grid.page.locator(".grid-row").count() < 80


def test_the_last_row_is_reached_by_one_key(grid: Tab) -> None:
    """End goes there, Home comes back; assistive technology is told the whole count."""
    widget = grid.page.get_by_role("grid")
    widget.focus()
    grid.page.keyboard.press("End")
    last = grid.page.locator(f"#row-{MILLION - 1}")
    last.get_by_text(f"IMG_{MILLION - 1:07}.jpg").wait_for()
    assert widget.get_attribute("aria-activedescendant") == f"row-{MILLION - 1}"
    assert widget.get_attribute("aria-rowcount") == str(MILLION + 1)
    assert last.get_attribute("aria-rowindex") == str(MILLION + 1)

    grid.page.keyboard.press("Home")

    grid.page.locator("#row-1").get_by_text("IMG_0000001.jpg").wait_for()


def test_rows_are_chosen_by_keyboard_and_acted_on(grid: Tab) -> None:
    """Space chooses, Shift extends, Enter shows the details, Control+A takes all."""
    page = grid.page
    page.get_by_role("grid").focus()
    page.keyboard.press("ArrowDown")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    grid.sees("4 selected")
    page.keyboard.press("Enter")
    page.locator(".detail", has_text="IMG_0000004.jpg").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("grid").focus()
    page.keyboard.press("Control+a")

    grid.sees("1,000,000 selected")


def test_scrolling_is_fluid_and_the_page_stays_small(grid: Tab) -> None:
    """Half of all frames within 20 ms where nothing else runs; the heap within its bound."""
    median = min(float(grid.page.evaluate(FRAME_TIMES)) for _ in range(3))
    client = grid.page.context.new_cdp_session(grid.page)
    client.send("HeapProfiler.collectGarbage")
    heap = client.send("Runtime.getHeapUsage")["usedSize"]

    assert median <= 20
    assert heap <= HEAP


def test_sorting_turns_the_order_round(grid: Tab) -> None:
    """The header says so to everybody."""
    head = grid.page.get_by_role("columnheader", name=re.compile("Path"))
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    grid.page.locator("#row-0").get_by_text(f"IMG_{MILLION - 1:07}.jpg").wait_for()

    assert head.get_attribute("aria-sort") == "descending"
