"""Every page and state: both languages, both themes, wide and narrow, with nothing wrong in any."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.web.app import LocalApi
from tests.browser.chromium import NARROW, WIDE, Chromium, Tab
from tests.browser.staged_peer import StagedPeer
from tests.browser.stages import STAGES
from tests.harness.fake_peer import served

pytestmark = pytest.mark.slow

RAW_KEY = re.compile(r"\b(?:page|member|phase|reason|error|sync|proof)\.[a-z_]+\b(?!\()")

Served = tuple[StagedPeer, LocalApi]


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Served]:
    """A peer to be staged, and where it is served."""
    peer = StagedPeer()
    peer.show()
    with served(peer, tmp_path) as api:
        yield peer, api


def wrong_in(tab: Tab, *, several_primaries: bool = False) -> list[str]:
    """Return what is wrong with what *tab* shows."""
    tab.settle()
    found = tab.violations()
    if (wider := tab.overflow()) > 0:
        found.append(f"{wider} pixels wider than the window")
    found += RAW_KEY.findall(tab.text())
    primaries = tab.page.locator(
        "main .button.primary:visible, main .button.danger:visible"
    ).count()
    if primaries > 1 and not several_primaries:
        found.append(f"{primaries} primary buttons")
    return found


def told(wrong: dict[str, list[str]]) -> str:
    """Return what is wrong as lines: a comparison of texts is shown whole."""
    return "\n".join(f"{name}: {each}" for name, found in wrong.items() for each in found)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "fr"])
def test_no_state_has_anything_wrong(
    browser: Chromium, staged: Served, language: str, theme: str, size: tuple[int, int]
) -> None:
    """Axe, the console, the width, the words and the one primary button, in each of them."""
    peer, api = staged
    wrong: dict[str, list[str]] = {}
    with browser.tab(size, language=language, theme=theme) as tab:
        tab.page.goto(api.new_entry())
        tab.page.locator(".choices").wait_for()
        for name, show in STAGES.items():
            show(peer)
            tab.page.wait_for_function(
                "(wanted) => document.querySelectorAll('.strip-member').length === wanted",
                arg=len(peer.view()["members"]),  # type: ignore[arg-type]
            )
            tab.page.wait_for_timeout(60)
            if found := wrong_in(tab):
                wrong[name] = found

        assert tab.page.locator("html").get_attribute("lang") == language

    assert told(wrong) == ""


def test_dialogs_and_panels_have_nothing_wrong(browser: Chromium, staged: Served) -> None:
    """What opens over a state: the forms, the folder browser, the invitation, details, actions."""
    peer, api = staged
    wrong: dict[str, list[str]] = {}

    def look(name: str) -> None:
        if found := wrong_in(tab, several_primaries=True):
            wrong[name] = found

    with browser.tab(NARROW, language="en", theme="dark") as tab:
        page = tab.page
        page.goto(api.new_entry())
        tab.button("More").or_(page.locator(".menu > summary")).first.click()
        look("menu")
        page.keyboard.press("Escape")
        page.locator(".choice").first.click()
        look("start form")
        tab.button("Add folder").click()
        page.locator(".folder-list").wait_for()
        look("folder browser")
        page.keyboard.press("Escape")
        tab.button("Cancel").click()
        page.locator(".choice").nth(1).click()
        look("join form")
        tab.button("Cancel").click()
        STAGES["people"](peer)
        tab.button("Invite").click()
        page.locator("dialog .qr path").wait_for(state="attached")
        look("invitation")
        page.keyboard.press("Escape")
        page.get_by_text("Session settings").click()
        look("settings")
        STAGES["decide"](peer)
        page.get_by_text("Advanced: rules").click()
        look("rules")
        page.locator(".grid-row").nth(3).click()
        page.locator(".detail").wait_for()
        look("detail")
        tab.button("Decide for the selected rows").click()
        look("action")
        page.keyboard.press("Escape")
        page.locator(".menu > summary").first.click()
        tab.button("Leave the session").click()
        look("leaving")

    assert told(wrong) == ""


def test_names_reach_the_page_as_text_alone(browser: Chromium, staged: Served) -> None:
    """Markup in a name is shown, not obeyed; what acts on direction was escaped before (T28)."""
    peer, api = staged
    evil = '<b onmouseover="x">Anna</b><script>alert(1)</script>'
    with browser.tab() as tab:
        STAGES["review"](peer)
        tab.page.goto(api.new_entry())
        tab.sees("On this computer")
        peer.show(
            "comparison", "ABC", members=[{**each, "name": evil} for each in view_members(peer)]
        )
        tab.page.locator(".strip-member", has_text=evil).first.wait_for()
        cell = tab.page.locator(".grid-row .path", has_text="<img src=x")
        cell.first.wait_for()

        assert tab.page.locator("img").count() == 0
        assert tab.page.locator("b, #page script").count() == 0
        assert "\\u{202e}" in cell.first.inner_text()


def view_members(peer: StagedPeer) -> list[dict[str, object]]:
    members = peer.view()["members"]
    assert isinstance(members, list)
    return members


def test_a_used_entry_or_none_shows_how_to_get_in(browser: Chromium, staged: Served) -> None:
    """The address works once; without it nothing of the session is shown."""
    peer, api = staged
    STAGES["people"](peer)
    entry = api.new_entry()
    with browser.tab() as first:
        first.page.goto(entry)
        first.sees("Who takes part")
        assert "#" not in first.page.url
    with browser.tab() as second:
        second.expected = ("403",)
        second.page.goto(entry)
        second.sees("This page needs a fresh entry")
        assert "Anna" not in second.text()


def test_changes_of_the_session_are_told(browser: Chromium, staged: Served) -> None:
    """Another leader, an end from outside, a peer that vanished: each says what it means."""
    peer, api = staged
    with browser.tab() as tab:
        STAGES["people"](peer)
        tab.page.goto(api.new_entry())
        tab.sees("Who takes part")
        peer.show("preparation", "ABC", leader="B")
        tab.sees("Studio Mac mini (B) leads the session now.")
        assert tab.button("Compare the folders").count() == 0
        peer.show()
        tab.sees("You are no longer in the session.")


def test_a_peer_that_ends_is_told_with_the_way_back(browser: Chromium, tmp_path: Path) -> None:
    """What the page showed stays, under a plain sentence."""
    peer = StagedPeer()
    STAGES["people"](peer)
    with browser.tab() as tab:
        tab.expected = ("ERR_CONNECTION_REFUSED", "WebSocket connection")
        with served(peer, tmp_path) as api:
            tab.page.goto(api.new_entry())
            tab.sees("Who takes part")
        tab.sees("Quintet does not answer on this computer.")

        assert "quintet open" in tab.text()
        assert "Who takes part" in tab.text()


def test_a_tap_changes_language_and_theme_and_both_are_kept(
    browser: Chromium, staged: Served
) -> None:
    """For this browser, at once, and after a reload."""
    _, api = staged
    with browser.tab(theme="light") as tab:
        page = tab.page
        page.goto(api.new_entry())
        page.locator(".menu > summary").click()
        tab.button("Français").click()
        tab.sees("Démarrer une session")
        tab.button("Sombre").click()
        page.reload()
        tab.sees("Démarrer une session")

        assert page.locator("html").get_attribute("data-theme") == "dark"


def test_a_wrong_filter_points_at_its_place_and_shows_nothing_else(
    browser: Chromium, staged: Served
) -> None:
    """The rows of the last good filter stay; a filter without hits offers the way back."""
    peer, api = staged
    STAGES["decide"](peer)
    with browser.tab() as tab:
        tab.expected = ("400",)
        page = tab.page
        page.goto(api.new_entry())
        box = page.get_by_role("combobox", name="Filter")
        box.fill("is:")
        tab.sees("The expression ends too early, at character 3.")
        assert box.get_attribute("aria-invalid") == "true"
        page.get_by_role("option", name="is:different").wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert box.input_value() == "is:dir "
        box.fill("nothing")
        tab.sees("No row matches this filter.")
        tab.button("Show all rows").click()
        tab.sees("4,210 rows")


def test_above_the_brake_the_number_is_typed(browser: Chromium, staged: Served) -> None:
    """The button carries the act, and waits for the number."""
    peer, api = staged
    STAGES["brake"](peer)
    with browser.tab() as tab:
        tab.page.goto(api.new_entry())
        button = tab.button("Synchronise, delete 1,200 items on Anna’s PC")
        button.wait_for()
        assert button.is_disabled()
        tab.page.locator(".brake input").fill("1200")

        assert button.is_enabled()


def test_what_is_typed_outlives_an_answer_that_is_late(
    browser: Chromium, staged: Served, tmp_path: Path
) -> None:
    """The first listing comes while a path is being typed already: it must not replace it."""
    _, api = staged
    (tmp_path / "wanted").mkdir()
    with browser.tab() as tab:
        page = tab.page
        held: list[Any] = []
        page.route(re.compile("/folders[?]path=&"), lambda route: held.append(route))  # noqa: PLW0108  # playwright counts its arguments
        page.goto(api.new_entry())
        page.locator(".choice").first.click()
        tab.button("Add folder").click()
        box = page.get_by_role("combobox", name="Path; type, paste or drop one")
        box.fill(f"{tmp_path}/want")
        held[0].continue_()
        page.get_by_role("option", name="wanted").wait_for()

        assert box.input_value() == f"{tmp_path}/want"
