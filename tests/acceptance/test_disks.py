"""Disks that are full, closed or changed: the rest is done, the reason is told, nothing is lost."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from protocol.errors import ExitStatus
from tests.acceptance.refusals import assert_says, assert_still_usable
from tests.acceptance.trees import contents, large_file, many_files
from tests.acceptance.world import Node, PeerProcess, World, compare, meet, settled
from tests.harness.requirements import require_tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 1 << 20

NO_PRIVILEGE = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")
"""Before a command: permissions count for root too."""


def bound_by_permissions() -> Sequence[str]:
    """Return what makes permissions count for this user."""
    if os.geteuid() != 0:
        return ()
    require_tool("setpriv")
    return NO_PRIVILEGE


def two_of_them(
    world: World, *, wrap: Sequence[str] = (), root: Path | None = None
) -> list[PeerProcess]:
    """Return two running computers; *wrap* is for the first, *root* for the second."""
    anna = world.peer("anna", wrap=wrap)
    ben = world.peer("ben", root=root)
    for peer in (anna, ben):
        peer.up()
    return [anna, ben]


def failures(told: dict[str, object]) -> set[tuple[str, str, str]]:
    """Return letter, path and code of what failed."""
    sync = told["sync"]
    assert isinstance(sync, dict)
    return {(each["letter"], each["path"], each["code"]) for each in sync["failures"]}


def test_what_cannot_be_read_is_neither_overwritten_nor_deleted(world: World, node: Node) -> None:
    """An unreadable file or folder counts as unknown, never as missing."""
    anna, ben = peers = two_of_them(world, wrap=bound_by_permissions())
    for peer in peers:
        (peer.root / "closed").mkdir()
        (peer.root / "file").write_text(f"of {peer.name}")
        (peer.root / "readable").write_text(f"of {peer.name}")
    os.utime(anna.root / "readable", (2_000_000_000, 2_000_000_000))
    (ben.root / "closed" / "inside").write_text("kept")
    (anna.root / "file").chmod(0)
    (anna.root / "closed").chmod(0)
    meet(node, peers)

    plan = compare(anna, "mirror", "A")
    answer = anna.run("sync", "--yes", "--wait")

    assert plan["refused"] or plan["undecided"], plan
    assert answer.status == ExitStatus.SOME_FAILED, answer
    assert "the origin cannot be read" in answer.said
    assert (ben.root / "file").read_text() == "of ben"
    assert (ben.root / "closed" / "inside").read_text() == "kept"
    assert (ben.root / "readable").read_text() == "of anna"
    (anna.root / "file").chmod(0o644)
    (anna.root / "closed").chmod(0o755)
    settled(peers)
    anna.ok("restart")
    assert_still_usable(peers)


def test_a_source_that_cannot_be_read_is_refused(world: World, node: Node) -> None:
    """Before a session is made of it."""
    anna = world.peer("anna", wrap=bound_by_permissions())
    anna.up()
    anna.root.chmod(0)

    answer = anna.run("start", str(anna.root), "--rendezvous", node.address)

    assert_says(answer, "source.not_readable")
    assert answer.status == ExitStatus.REFUSED
    assert anna.view["session"] is None
    anna.root.chmod(0o755)
    assert anna.start(node)["session_id"]


@pytest.mark.root
def test_a_full_disk_takes_what_fits_and_loses_nothing(world: World, node: Node) -> None:
    """What does not fit is named; the old file it would have replaced is whole."""
    anna, ben = peers = two_of_them(world, root=world.small_disk("small", "24m"))
    many_files(anna.root, files=30, folders=3)
    large_file(anna.root / "large", 40 * MIB)
    (ben.root / "large").write_text("old")
    os.utime(ben.root / "large", (0, 0))
    meet(node, peers)
    compare(anna, "combine")

    answer = anna.run("sync", "--yes", "--wait", "--json")

    assert answer.status == ExitStatus.SOME_FAILED, answer
    assert failures(answer.value) == {("B", "large", "fs.no_space")}
    assert (ben.root / "large").read_text() == "old"
    wanted = contents(anna.root)
    found = contents(ben.root)
    assert {path for path, entry in wanted.items() if found.get(path) != entry} == {Path("large")}
    assert_says(anna.run("status"), "fs.no_space")
    settled(peers)
    (anna.root / "large").unlink()
    anna.ok("restart")
    assert_still_usable(peers)


@pytest.mark.root
def test_a_disk_that_takes_no_writes_is_named(world: World, node: Node) -> None:
    """It stays as it is; the other side does its part."""
    anna, ben = peers = two_of_them(world, root=world.small_disk("small", "24m"))
    (anna.root / "of anna").write_text("anna")
    (ben.root / "of ben").write_text("ben")
    meet(node, peers)
    compare(anna, "combine")
    world.read_only(ben.root)
    before = contents(ben.root)

    answer = anna.run("sync", "--yes", "--wait", "--json")

    assert answer.status == ExitStatus.SOME_FAILED, answer
    assert failures(answer.value) == {("B", "of anna", "fs.read_only")}
    assert contents(ben.root) == before
    assert (anna.root / "of ben").read_text() == "ben"
    assert_says(anna.run("status"), "fs.read_only")
    settled(peers)
    subprocess.run(["mount", "-o", "remount,rw", str(ben.root)], check=True)
    anna.ok("restart")
    assert_still_usable(peers)


@pytest.mark.parametrize("side", ["origin", "destination"])
def test_what_changed_since_the_inventory_is_left_alone(
    world: World, node: Node, side: str
) -> None:
    """Whoever worked on it in between keeps the work; the next session sees it."""
    anna, ben = peers = two_of_them(world)
    for number in range(4):
        for peer in peers:
            (peer.root / f"file {number}").write_text(f"old {peer.name}")
            os.utime(peer.root / f"file {number}", (len(peer.name), len(peer.name)))
    (ben.root / "to delete").write_text("old")
    meet(node, peers)
    compare(anna, "mirror", "A")
    changed = anna if side == "origin" else ben
    (changed.root / "file 1").write_text("work in between")
    (ben.root / "to delete").write_text("work in between")

    answer = anna.run("sync", "--yes", "--wait", "--json")

    assert answer.status == ExitStatus.SOME_FAILED, answer
    assert {path for _, path, _ in failures(answer.value)} == {"file 1", "to delete"}
    kept = "old ben" if side == "origin" else "work in between"
    assert (ben.root / "file 1").read_text() == kept
    assert (ben.root / "to delete").read_text() == "work in between"
    assert (ben.root / "file 2").read_text() == "old anna"
    assert_says(anna.run("status"), "fs.changed_since")
    settled(peers)
    anna.ok("restart")
    assert_still_usable(peers)
