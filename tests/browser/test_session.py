"""Whole sessions of real peers, driven by nothing but what people see in their browsers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.world import PeerProcess, World, new_world, rsync_differences
from tests.browser.chromium import Chromium, Tab
from tests.harness.requirements import require_tool

pytestmark = pytest.mark.slow

LONG = 60_000
"""Milliseconds a stage of a real session may take."""

CAN_COMPARE = """() => [...document.querySelectorAll(".button.primary")]
  .some((each) => !each.disabled && each.innerText.includes("Compare"))"""


@pytest.fixture
def world() -> Iterator[World]:
    """A temporary folder with everything that runs in it."""
    with new_world() as made:
        yield made


def fill(root: Path, own: str) -> None:
    """Lay out a folder that differs from the other's in names and contents."""
    (root / "shared").mkdir()
    (root / "shared" / "same.txt").write_text("the same everywhere")
    (root / "shared" / "changed.txt").write_text(f"as {own} has it")
    (root / f"only {own} <b>&amp;.txt").write_text(own)
    (root / f"deep-{own}").mkdir()
    (root / f"deep-{own}" / "blob.bin").write_bytes(own.encode() * 200_000)


def entry(peer: PeerProcess) -> str:
    return peer.ok("open", "--url").out.strip()


def choose_folder(tab: Tab, path: Path) -> None:
    """Add *path* through the folder browser, by typing and the keyboard."""
    tab.button("Add folder").click()
    box = tab.page.get_by_role("combobox", name="Path; type, paste or drop one")
    box.fill(str(path))
    tab.page.get_by_text("Nothing to choose in here.").or_(
        tab.page.locator(".folder-list li", has_text="shared")
    ).first.wait_for()
    tab.button("Choose this").click()


def wait_title(tab: Tab, title: str) -> None:
    tab.page.get_by_role("heading", name=title, level=1).wait_for(timeout=LONG)


def test_two_people_go_from_start_to_the_proof(browser: Chromium, world: World) -> None:
    """Two browsers, two peers, one node: at the end the folders are equal, byte and date."""
    require_tool("rsync")
    node = world.node()
    anna, ben = world.peers(2)
    fill(anna.root, "anna")
    fill(ben.root, "ben")
    with browser.tab() as here, browser.tab() as there:
        here.page.goto(entry(anna))
        there.page.goto(entry(ben))

        here.page.locator(".choice", has_text="Start a session").click()
        choose_folder(here, anna.root)
        here.page.get_by_label("Meeting server").fill(node.address)
        here.button("Start a session").click()
        wait_title(here, "Who takes part")
        link = here.page.get_by_role("textbox", name="Invitation link").input_value()
        assert link.startswith("quintet://join#")

        there.page.locator(".choice", has_text="Join a session").click()
        there.page.get_by_role("textbox", name="Invitation link").fill(link)
        choose_folder(there, ben.root)
        there.button("Join the session").click()
        wait_title(there, "Who takes part")
        there.sees("Waiting for A (anna) to start the comparison.")

        compare = here.button("Compare the folders")
        here.page.wait_for_function(CAN_COMPARE, timeout=LONG)
        compare.click()
        wait_title(here, "Decide")
        wait_title(there, "Decide")
        there.sees("Waiting for A (anna) to decide.")
        here.page.locator(".grid-row", has_text="only ben <b>&amp;.txt").wait_for()

        here.button("Choose and see the plan: Make all the same").click()
        wait_title(here, "Review the plan")
        wait_title(there, "Review the plan")
        there.sees("On this computer")
        assert there.button("Synchronise").count() == 0

        here.button("Synchronise").click()
        for tab in (here, there):
            tab.page.get_by_text("Proved: the end state is the planned one").wait_for(timeout=LONG)

        # A reload shows the same truth.
        there.page.reload()
        there.page.get_by_text("Proved: the end state is the planned one").wait_for()

        here.button("Compare again").click()
        wait_title(here, "Who takes part")
        here.page.locator(".menu > summary").click()
        here.button("Leave the session").first.click()
        here.page.locator("dialog").get_by_role("button", name="Leave the session").click()
        here.sees("You left the session.")
        there.sees("You lead the session now.")

    assert rsync_differences(anna.root, ben.root) == ""
    assert (ben.root / "only anna <b>&amp;.txt").read_text() == "anna"


def test_two_folders_of_one_computer_are_made_equal(browser: Chromium, world: World) -> None:
    """A local session: no node, no invitation, the same steps to the same proof."""
    require_tool("rsync")
    (anna,) = world.peers(1)
    other = world.folder / "other"
    other.mkdir()
    fill(anna.root, "anna")
    fill(other, "ben")
    with browser.tab() as tab:
        tab.page.goto(entry(anna))
        tab.page.locator(".choice", has_text="Local session").click()
        choose_folder(tab, anna.root)
        choose_folder(tab, other)
        tab.button("Local session").click()
        wait_title(tab, "Who takes part")
        tab.button("Compare the folders").click()
        wait_title(tab, "Decide")
        tab.button("Choose and see the plan: Make all the same").click()
        tab.button("Synchronise").click()
        tab.page.get_by_text("Proved: the end state is the planned one").wait_for(timeout=LONG)

    assert rsync_differences(anna.root, other) == ""


def test_what_goes_wrong_when_joining_is_said_beside_its_field(
    browser: Chromium, world: World
) -> None:
    """A typing mistake, a wrong password until the pause, and a node that is down; input stays."""
    node = world.node()
    anna, ben = world.peers(2)
    secrets = anna.start(node)
    wrong = "2222-2222-2222"
    with browser.tab() as tab:
        tab.expected = ("status of 4", "status of 5")
        page = tab.page
        page.goto(entry(ben))
        page.locator(".choice", has_text="Join a session").click()
        id_field, password = page.get_by_label("Session ID"), page.get_by_label("Session Password")
        page.get_by_label("Meeting server").fill(node.address)

        id_field.fill("7GQ-2M9-KXT")
        password.fill(wrong)
        tab.button("Join the session").click()
        tab.sees("This Session ID contains a typing mistake.")
        assert id_field.get_attribute("aria-invalid") == "true"

        id_field.fill(secrets["session_id"])
        tab.button("Join the session").click()
        tab.sees("This password contains a typing mistake.")
        assert password.get_attribute("aria-invalid") == "true"
        assert id_field.input_value() == secrets["session_id"]
        assert password.input_value() == wrong

        page.get_by_role("textbox", name="Invitation link").fill("quintet://join#1.nonsense")
        tab.button("Join the session").click()
        tab.sees("This is not a whole invitation.")
        page.get_by_role("textbox", name="Invitation link").fill("")

        node.kill()
        password.fill(secrets["password"])
        tab.button("Join the session").click()
        page.get_by_text("The meeting server cannot be reached.").wait_for(timeout=LONG)
        assert password.input_value() == secrets["password"]
