"""Folders of one computer, compared and synchronised without a node and without a network."""

import json
import os
import re
from pathlib import Path

import pytest

from protocol.errors import ExitStatus
from tests.acceptance.refusals import assert_refused
from tests.acceptance.trees import many_files
from tests.acceptance.world import PeerProcess, World, assert_rsync_agrees

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def anna(world: World) -> PeerProcess:
    """A computer whose peer runs; in no session."""
    (peer,) = world.peers(1)
    return peer


def folders(world: World, count: int) -> list[Path]:
    """Return so many folders; each has something of its own, and an older file of all."""
    made = []
    for number in range(count):
        folder = world.folder / f"folder {number}"
        many_files(folder / f"only in {number}", files=20, folders=3)
        (folder / "of all").write_text(f"version {number}")
        moment = 1_700_000_000 + 100 * number
        os.utime(folder / "of all", (moment, moment))
        (folder / "of two").mkdir()
        if number in {0, count - 1}:
            (folder / "of two" / "same").write_text("same")
        made.append(folder)
    return made


def assert_equal(made: list[Path]) -> None:
    for other in made[1:]:
        assert_rsync_agrees(made[0], other)


def test_five_folders_become_equal_and_a_second_run_plans_nothing(
    world: World, anna: PeerProcess
) -> None:
    """Lettered A to E; the newest version wins; rsync finds nothing left to do."""
    made = folders(world, 5)

    view = anna.json("local", *map(str, made))

    assert [member["letter"] for member in view["members"]] == list("ABCDE")
    assert [member["me"] for member in view["members"]] == [True, False, False, False, False]
    assert [member["link"] for member in view["members"]] == [None] * 5
    assert [member["sources"][0]["path"] for member in view["members"]] == list(map(str, made))
    assert [member["name"] for member in view["members"]] == [folder.name for folder in made]
    assert view["session"]["local"] is True
    assert view["session"]["rendezvous"] is None

    anna.ok("settings", "analysis=checksum")
    anna.ok("inventory", "--wait")
    assert anna.run("compare", "--exit-code").status == ExitStatus.DIFFERENCES
    anna.ok("rules", "preset", "combine")
    told = anna.json("sync", "--yes", "--wait")
    assert told["proof"]["state"] == "equal", told
    assert_equal(made)
    assert {(folder / "of all").read_text() for folder in made} == {"version 4"}
    assert anna.ok("verify").status == 0
    assert "Local session" in anna.ok("status").out

    anna.ok("restart")
    anna.ok("inventory", "--wait")
    anna.ok("rules", "preset", "combine")
    assert anna.json("plan")["steps"] == 0
    anna.ok("leave", "--yes")
    assert anna.view["session"] is None


def test_nothing_is_sent_anywhere(world: World, anna: PeerProcess) -> None:
    """No line to a node is opened, though one is set; nothing of it is in the log."""
    made = folders(world, 2)
    anna.ok("local", *map(str, made))
    anna.ok("inventory", "--wait")
    anna.ok("rules", "preset", "mirror", "A")
    anna.ok("sync", "--yes", "--wait", "--allow-deletes", "1000")

    assert_equal(made)
    assert not re.search(r"meeting|broker|reaching|node_link", anna.log)


def test_the_brakes_of_all_folders_are_this_persons(world: World, anna: PeerProcess) -> None:
    """Refused at first; lifted here for all of them."""
    made = [world.folder / name for name in "ab"]
    for folder in made:
        folder.mkdir()
    for number in range(60):
        (made[1] / f"only here {number}").write_text("x")
    anna.ok("local", *map(str, made))
    anna.ok("inventory", "--wait")
    anna.ok("rules", "preset", "mirror", "A")

    assert anna.run("sync", "--yes", "--wait").status == ExitStatus.BRAKE
    assert len(list(made[1].glob("only here *"))) == 60

    anna.ok("sync", "--yes", "--wait", "--allow-deletes", "100")
    assert not list(made[1].glob("only here *"))


def test_what_cannot_be_a_local_session_is_refused(world: World, anna: PeerProcess) -> None:
    """One folder, six, one inside another; in it, everything that needs others."""
    made = folders(world, 6)
    for count in (1, 6):
        answer = anna.run("local", *map(str, made[:count]))
        assert_refused(answer, "local.sources", ExitStatus.USAGE, least=2, most=5)
    answer = anna.run("local", str(made[0]), str(made[0] / "of two"))
    assert_refused(answer, "source.inside_another", ExitStatus.REFUSED)
    assert anna.view["session"] is None

    anna.ok("local", str(made[0]), str(made[1]))
    for command in (["invite"], ["source", "add", str(made[2])], ["source", "drop", "A1"]):
        assert_refused(anna.run(*command), "session.local", ExitStatus.REFUSED)
    assert_refused(anna.run("local", *map(str, made)), "session.already_in", ExitStatus.REFUSED)


def test_a_peer_that_ends_in_a_local_session_ends_cleanly(world: World, anna: PeerProcess) -> None:
    """Also while it compares; the folders are as they were and can be used again."""
    made = folders(world, 3)
    anna.ok("local", *map(str, made))
    anna.ok("inventory")

    assert anna.running.stop() == 0
    assert "Traceback" not in anna.log
    anna.up()
    told = json.loads(anna.ok("local", *map(str, made), "--json").out)
    assert len(told["members"]) == 3
