"""Whole sessions of real processes on real folders, with rsync as the oracle."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.trees import change, contents, large_file, many_files, odd_tree
from tests.acceptance.world import (
    Node,
    PeerProcess,
    World,
    assert_rsync_agrees,
    compare,
    disperse,
    meet,
    rsync_differences,
    settled,
    whole_session,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MIB = 1 << 20
GIB = 1 << 30

MOST_MEMORY = 250 * MIB
"""Bytes a peer may hold, whatever it synchronises."""

WITH_HIDDEN = ("exclude_hidden=off", "exclude_system=off")

Measure = Callable[[str, object], None]


@pytest.fixture
def measured(record_property: Measure) -> Measure:
    """Keeps a figure for the report, and shows it with ``-s``."""

    def keep(name: str, value: object) -> None:
        record_property(name, value)
        print(f"{name}: {value}")

    return keep


def a_second_session_does_nothing(
    node: Node, peers: list[PeerProcess], *preset: str, settings: tuple[str, ...] = WITH_HIDDEN
) -> None:
    """A new session of the same folders plans no step and sends no content."""
    disperse(peers)
    meet(node, peers)
    leader = peers[0]
    leader.ok("settings", *settings)
    plan = compare(leader, *preset)
    assert plan["steps"] == 0, plan
    assert all(figures["bytes_in"] == 0 for figures in plan["members"].values())
    answer = leader.json("sync", "--yes", "--wait")
    assert answer["sync"] is None


def test_twenty_thousand_files_and_a_gibibyte_are_mirrored(
    world: World, node: Node, measured: Measure
) -> None:
    """Every name, date and byte arrives; memory stays bounded; the second time nothing travels."""
    anna, ben = peers = world.peers(2)
    small = many_files(anna.root, files=20_000, folders=500)
    odd_tree(anna.root)
    large_file(anna.root / "large.bin", GIB)
    meet(node, peers)
    anna.ok("settings", *WITH_HIDDEN)

    began = time.monotonic()
    plan = compare(anna, "mirror", "A")
    compared = time.monotonic()
    told = anna.json("sync", "--yes", "--wait")
    ended = time.monotonic()

    assert told["proof"]["state"] == "equal", told["proof"]
    assert plan["members"]["B"]["create"] > 20_000
    settled(peers)
    assert_rsync_agrees(anna.root, ben.root)
    content = plan["members"]["B"]["bytes_in"]
    assert content >= GIB + small
    assert told["sync"]["bytes_done"] == content
    measured("compare s", round(compared - began, 1))
    measured("synchronise and prove s", round(ended - compared, 1))
    measured("synchronise s", told["sync"]["elapsed"])
    measured("MB/s", round(content / 1e6 / told["sync"]["elapsed"], 1))
    a_second_session_does_nothing(node, peers, "mirror", "A")
    for peer in peers:
        held = peer.running.peak_memory
        measured(f"{peer.name} MiB", held // MIB)
        assert held <= MOST_MEMORY


def test_what_only_moved_travels_not_at_all(world: World, node: Node, measured: Measure) -> None:
    """Files that change their folder, and one renamed: no content byte crosses, none is lost."""
    anna, ben = peers = world.peers(2)
    many_files(anna.root / "before", files=300, folders=10)
    large_file(anna.root / "large.bin", 40 * MIB)
    shutil.copytree(anna.root, ben.root, dirs_exist_ok=True)
    (anna.root / "before").rename(anna.root / "after")
    (anna.root / "large.bin").rename(anna.root / "after" / "renamed.bin")
    meet(node, peers)
    anna.ok("settings", *WITH_HIDDEN)

    plan = compare(anna, "mirror", "A")
    told = anna.json("sync", "--yes", "--wait")

    there = plan["members"]["B"]
    assert (there["bytes_in"], plan["links"]) == (0, {})
    # Empty files are nobody's in particular.
    full = [path for path in anna.root.rglob("*") if path.is_file() and path.stat().st_size]
    assert there["delete"] == 301
    assert plan["moves"] == there["moved"] == len(full)
    assert there["bytes_reused"] > 40 * MIB
    assert told["proof"]["state"] == "equal", told["proof"]
    settled(peers)
    received = ben.json("status")["sync"]["bytes_received_here"]
    measured("content bytes received", received)
    assert received == 0
    assert_rsync_agrees(anna.root, ben.root)
    a_second_session_does_nothing(node, peers, "mirror", "A")


def test_five_peers_are_combined(world: World, node: Node, measured: Measure) -> None:
    """One tree that five changed in their own way becomes the same everywhere, newest first."""
    peers = world.peers(5)
    first = peers[0].root
    many_files(first, files=2_000, folders=60)
    odd_tree(first)
    for peer in peers[1:]:
        shutil.copytree(first, peer.root, dirs_exist_ok=True)
    for seed, peer in enumerate(peers):
        change(peer.root, seed, share=0.1)
    assert rsync_differences(first, peers[1].root), "there is something to do"

    began = time.monotonic()
    told = whole_session(node, peers, "combine", settings=WITH_HIDDEN)
    measured("five peers s", round(time.monotonic() - began, 1))

    assert told["plan"]["undecided"] == told["plan"]["refused"] == 0
    for peer in peers[1:]:
        assert_rsync_agrees(first, peer.root)
    a_second_session_does_nothing(node, peers, "combine")
    for peer in peers:
        measured(f"{peer.name} MiB", peer.running.peak_memory // MIB)
        assert peer.running.peak_memory <= MOST_MEMORY


def test_a_mirror_with_modes_and_links_follows_its_settings(world: World, node: Node) -> None:
    """What is excluded stays on either side; modes and links travel when the leader says so."""
    anna, ben = peers = world.peers(2)
    many_files(anna.root, files=120, folders=8)
    odd_tree(anna.root)
    shutil.copytree(anna.root, ben.root, dirs_exist_ok=True)
    change(anna.root, 1)
    change(ben.root, 2)
    for number, path in enumerate(sorted(anna.root.glob("folder*/file*"))):
        path.chmod((0o600, 0o644, 0o755, 0o400)[number % 4])
    (anna.root / "link").symlink_to("large")
    (anna.root / "broken link").symlink_to(b"nowhere/\xff")
    (ben.root / "link").symlink_to("elsewhere")
    for root in (anna.root, ben.root):
        (root / ".hidden").write_text(root.name)
        (root / "scratch.tmp").write_text(root.name)
    settings = ("metadata=dates-and-mode", "symlinks=copy", "exclude=*.tmp")

    whole_session(node, peers, "mirror", "A", settings=settings)

    excluded = ("--exclude", ".*", "--exclude", "*.tmp")
    assert_rsync_agrees(anna.root, ben.root, flags=("-p", *excluded))
    assert (ben.root / ".hidden").read_text() == ben.root.name
    assert (ben.root / "scratch.tmp").read_text() == ben.root.name
    a_second_session_does_nothing(node, peers, "mirror", "A", settings=settings)


def test_consolidating_gives_one_member_everything_and_the_others_nothing(
    world: World, node: Node
) -> None:
    """Only the one that was named changes, and it loses nothing."""
    peers = world.peers(3)
    first = peers[0].root
    many_files(first, files=100, folders=6)
    odd_tree(first)
    for peer in peers[1:]:
        shutil.copytree(first, peer.root, dirs_exist_ok=True)
    for seed, peer in enumerate(peers):
        change(peer.root, seed)
    before = [contents(peer.root) for peer in peers]

    whole_session(node, peers, "consolidate", "C", settings=WITH_HIDDEN)

    after = [contents(peer.root) for peer in peers]
    assert after[:2] == before[:2]
    assert set(after[2]) == set().union(*before)
    assert all(after[2][path] == entry for path, entry in before[2].items())
    for peer in peers[:2]:
        # Without --delete: C may hold more.
        flags = ("--ignore-existing",)
        assert rsync_differences(peer.root, peers[2].root, flags=flags, delete=False) == ""
    a_second_session_does_nothing(node, peers, "consolidate", "C")


def test_single_files_and_several_folders_meet_in_lines(world: World, node: Node) -> None:
    """A1 belongs to B1 and A2 to B2, whatever they are called; a file may be a source."""
    anna, ben = world.peers(2)
    offered: dict[str, list[Path]] = {}
    for peer in (anna, ben):
        folder, file = peer.root / f"folder of {peer.name}", peer.root / f"{peer.name}.txt"
        folder.mkdir()
        (folder / f"only {peer.name}").write_text(peer.name)
        file.write_text(peer.name)
        os.utime(file, ns=(len(peer.name), len(peer.name)))
        offered[peer.name] = [folder, file]
    secrets = anna.start(node, *offered["anna"])
    assert ben.join(secrets, *offered["ben"]).status == 0
    for peer in (anna, ben):
        peer.wait_for_members(2)

    compare(anna, "combine")
    told = anna.json("sync", "--yes", "--wait")

    assert told["proof"]["state"] == "equal"
    settled([anna, ben])
    assert_rsync_agrees(offered["anna"][0], offered["ben"][0])
    # The newer of the two: four letters against three.
    assert offered["ben"][1].read_text() == "anna"
