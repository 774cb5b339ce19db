"""Work that is stopped, left or killed: every path holds its old or its whole new content."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from protocol.errors import ExitStatus
from tests.acceptance.refusals import assert_says, assert_still_usable
from tests.acceptance.trees import contents, large_file, many_files
from tests.acceptance.world import (
    Node,
    PeerProcess,
    World,
    assert_rsync_agrees,
    compare,
    meet,
    settled,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MIB = 1 << 20
LARGE = 200 * MIB


def assert_old_or_new(root: Path, *versions: dict[Path, tuple[bytes, int] | None]) -> None:
    """Demand that every path in *root* is whole: as it was before, or as it was to become."""
    for path, entry in contents(root).items():
        assert any(path in known and known[path] == entry for known in versions), path


def size_of(path: Path) -> int:
    """Return its size; 0 when it has gone meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def staged(root: Path) -> list[Path]:
    """Return what of unfinished transfers lies in *root*."""
    return [path for path in root.glob(".quintet/*/**/*") if "trash" not in path.parts]


def in_the_middle(
    node: Node, peers: Sequence[PeerProcess], receiver: PeerProcess
) -> list[dict[Path, tuple[bytes, int] | None]]:
    """Let a synchronisation of large and small files run half-way; return old and new contents."""
    leader = peers[0]
    many_files(leader.root, files=300, folders=10)
    large_file(leader.root / "folder 0" / "large", LARGE)
    for peer in peers[1:]:
        (peer.root / "folder 0").mkdir()
        (peer.root / "folder 0" / "large").write_text("old")
        os.utime(peer.root / "folder 0" / "large", (0, 0))
    versions = [contents(receiver.root), contents(leader.root)]
    meet(node, peers)
    compare(leader, "mirror", "A")
    leader.ok("sync", "--yes")
    wait_for(lambda: any(size_of(path) > 10 * MIB for path in staged(receiver.root)))
    return versions


def test_an_abort_in_the_middle_leaves_only_whole_files(world: World, node: Node) -> None:
    """Any member may; what waits for the end is told, and the session goes on."""
    anna, ben = peers = world.peers(2)
    versions = in_the_middle(node, peers, ben)
    large = ben.root / "folder 0" / "large"
    waiting = anna.popen("status", "--watch", "--json")

    ben.ok("abort")

    for peer in peers:
        peer.wait_until(lambda view: view["session"]["phase"] == "finished")
        assert peer.view["sync"]["state"] == "aborted"
    waiting.terminate()
    waiting.communicate()
    assert large.read_text() == "old"
    assert_old_or_new(ben.root, *versions)
    assert not staged(ben.root)
    anna.ok("restart")
    assert_still_usable(peers)


def test_a_wait_for_an_aborted_synchronisation_says_so(world: World, node: Node) -> None:
    """And exits with a failure."""
    anna, ben = peers = world.peers(2)
    large_file(anna.root / "large", LARGE)
    meet(node, peers)
    compare(anna, "combine")
    waiting = anna.popen("sync", "--yes", "--wait")
    ben.wait_until(lambda view: view["session"]["phase"] == "synchronisation")

    ben.ok("abort")

    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == ExitStatus.FAILURE, (out, err)
    assert "The synchronisation was stopped" in out
    assert not (ben.root / "large").exists()


def test_a_cancelled_inventory_leads_back_to_the_preparation(world: World, node: Node) -> None:
    """Any member may; whoever waited is told."""
    anna, ben = peers = world.peers(2)
    for peer in peers:
        (peer.root / peer.name).write_text(peer.name)
        with (peer.root / "long to read").open("wb") as stream:
            stream.truncate(40_000 * MIB)
    meet(node, peers)
    anna.ok("settings", "analysis=checksum")
    waiting = anna.popen("inventory", "--wait")
    ben.wait_until(lambda view: view["session"]["phase"] == "inventory")

    ben.ok("cancel")

    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == ExitStatus.FAILURE, (out, err)
    assert "The inventory ended without a comparison." in err
    for peer in peers:
        peer.wait_until(lambda view: view["session"]["phase"] == "preparation")
        (peer.root / "long to read").unlink()
    assert_still_usable(peers)


def test_who_stays_goes_on_when_others_leave(world: World, node: Node) -> None:
    """Letters close up; with the leader gone the next one leads."""
    anna, ben, cleo, dora = peers = world.peers(4)
    for peer in peers:
        (peer.root / peer.name).write_text(peer.name)
    secrets = meet(node, peers)
    compare(anna, "combine")
    anna.ok("sync", "--yes", "--wait")
    settled(peers)

    ben.ok("leave")
    anna.wait_for_present(3)
    anna.ok("restart")
    anna.wait_until(lambda view: [each["letter"] for each in view["members"]] == ["A", "B", "C"])
    assert_still_usable([anna, cleo, dora])
    anna.ok("leave")

    cleo.wait_for_present(2)
    cleo.ok("restart")
    cleo.wait_until(lambda view: view["session"]["leader"] == view["me"]["letter"] == "A")
    assert_still_usable([cleo, dora])
    cleo.ok("restart")
    assert ben.join(secrets).status == 0
    for peer in (cleo, dora, ben):
        peer.wait_for_members(3)
    assert_still_usable([cleo, dora, ben])


def test_leaving_asks_and_does_not_interrupt_what_runs(world: World, node: Node) -> None:
    """In the middle of a synchronisation one must abort first."""
    anna, ben = peers = world.peers(2)
    in_the_middle(node, peers, ben)

    answer = ben.run("leave", "--yes")

    assert answer.status == ExitStatus.REFUSED
    ben.ok("abort")
    ben.wait_until(lambda view: view["session"]["phase"] == "finished")
    anna.ok("restart")
    assert_says(ben.run("leave"), "confirmation.needed")
    ben.ok("leave", "--yes")
    anna.wait_for_present(1)


def test_a_killed_peer_leaves_nothing_half_written(world: World, node: Node) -> None:
    """The others end their part; what it had begun to write is gone when it starts again."""
    anna, ben, cleo = peers = world.peers(3)
    versions = in_the_middle(node, peers, ben)

    ben.running.kill()

    assert_old_or_new(ben.root, *versions)
    wait_for(lambda: contents(cleo.root) == versions[1], within=90, what="the other's part")
    assert contents(anna.root) == versions[1]
    assert staged(ben.root), "it had no time to clean up"
    for peer in (anna, cleo):
        # The session waits for the one that was killed.
        peer.running.stop()
        peer.up()
    ben.up()
    meet(node, peers)
    assert not staged(ben.root)
    assert_old_or_new(ben.root, *versions)
    compare(anna, "mirror", "A")
    anna.ok("sync", "--yes", "--wait")
    settled(peers)
    assert_rsync_agrees(anna.root, ben.root)


def test_a_killed_leader_leaves_the_others_whole(world: World, node: Node) -> None:
    """Its steps were begun: nothing of them is half-done."""
    anna, ben = peers = world.peers(2)
    versions = in_the_middle(node, peers, ben)

    anna.running.kill()

    ben.wait_until(lambda view: view["members"][0]["state"] == "unreachable")
    assert_old_or_new(ben.root, *versions)
    if ben.phase == "synchronisation":
        ben.run("abort")
    ben.wait_until(lambda view: view["session"]["phase"] == "finished")
    assert_old_or_new(ben.root, *versions)
    assert not staged(ben.root)
    ben.ok("leave")
    anna.up()
    meet(node, peers)
    assert_still_usable(peers)
