"""What the join form says about every outcome, on a peer that is told how a join ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.web.app import LocalApi
from protocol.errors import JoinFailed, JoinOutcome
from tests.browser.chromium import Chromium, Tab
from tests.browser.staged_peer import StagedPeer
from tests.harness.fake_peer import PASSWORD, SESSION_ID, served

pytestmark = pytest.mark.slow

Served = tuple[StagedPeer, LocalApi]


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Served]:
    """A peer without a session."""
    peer = StagedPeer()
    peer.show()
    with served(peer, tmp_path) as api:
        yield peer, api


def fill_in(tab: Tab, api: LocalApi) -> None:
    tab.expected = ("status of",)
    tab.page.goto(api.new_entry())
    tab.page.locator(".choice").nth(1).click()
    tab.page.get_by_label("Session ID").fill(SESSION_ID)
    tab.page.get_by_label("Session Password").fill(PASSWORD)


def test_a_wrong_password_stands_beside_its_field_and_leaves_the_input(
    browser: Chromium, staged: Served
) -> None:
    """The tries that are left are told; the form can be sent again at once."""
    peer, api = staged
    peer.answers["join"] = JoinFailed(JoinOutcome.WRONG_PASSWORD, tries_left=3)
    with browser.tab() as tab:
        fill_in(tab, api)
        tab.button("Join the session").click()
        tab.sees("(3 tries left before a short wait.)")

        password = tab.page.get_by_label("Session Password")
        described = password.get_attribute("aria-describedby")
        assert tab.page.locator(f"[id='{described}']").inner_text().startswith("The password was")
        assert password.input_value() == PASSWORD
        assert tab.button("Join the session").is_enabled()


def test_a_wait_is_counted_down_and_then_over(browser: Chromium, staged: Served) -> None:
    """The button comes back by itself; the second try goes through."""
    peer, api = staged
    peer.answers["join"] = JoinFailed(JoinOutcome.THROTTLED, retry_after=6)
    with browser.tab() as tab:
        fill_in(tab, api)
        tab.button("Join the session").click()
        tab.sees("Too many tries. You can try again in 0:0")
        assert tab.page.locator("button[type=submit]").is_disabled()

        peer.answers.clear()
        tab.button("Join the session").click()
        tab.sees("Who takes part")


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (JoinOutcome.NOT_FOUND, "No open session has this Session ID."),
        (JoinOutcome.FULL, "This session already has 5 members."),
        (JoinOutcome.LOCKED, "This session has already started its inventory."),
        (JoinOutcome.UNREACHABLE, "none of its members could be reached directly"),
        (JoinOutcome.RENDEZVOUS_DOWN, "The meeting server cannot be reached."),
        (JoinOutcome.PAUSED, "Joining is paused because of many wrong passwords."),
    ],
)
def test_every_outcome_is_told_in_its_own_words(
    browser: Chromium, staged: Served, outcome: JoinOutcome, told: str
) -> None:
    """Once, with the input kept."""
    peer, api = staged
    peer.answers["join"] = JoinFailed(outcome)
    with browser.tab() as tab:
        fill_in(tab, api)
        tab.button("Join the session").click()
        tab.sees(told)

        assert tab.page.get_by_text(told).count() == 1
        assert tab.page.get_by_label("Session ID").input_value() == SESSION_ID
