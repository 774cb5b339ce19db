"""Members that are folders of one computer."""

from pathlib import Path

import pytest

from peer.daemon.facade import Peer
from peer.errors import AlreadyInSession, NoSession
from peer.session.errors import BrakeTripped, LocalSourcesWrong, SessionIsLocal
from peer.session.phases import Phase
from peer.settings import Identity, Settings
from tests.harness.peers import fill, held, phase, seen
from tests.harness.waiting import until


async def open_peer(folder: Path) -> Peer:
    return await Peer.open(
        folder / "home", Settings(rendezvous="", udp_port=0, identity=Identity(name="computer"))
    )


def sources(folder: Path, count: int) -> list[str]:
    return [
        str(fill(folder / f"data {number}", {f"of {number}": str(number)}))
        for number in range(count)
    ]


async def synchronise(peer: Peer, *preset: str) -> None:
    await peer.start_inventory()
    await until(lambda: phase(peer) is Phase.COMPARISON)
    await peer.set_rules(preset=" ".join(preset), rules=[])
    await peer.start_sync()
    await until(lambda: (seen(peer)["proof"] or {}).get("state") == "equal")


@pytest.mark.parametrize("count", [2, 5])
async def test_every_source_is_a_member_with_a_letter(tmp_path: Path, count: int) -> None:
    """The first is the one people act through; none has a link or an address."""
    peer = await open_peer(tmp_path)
    try:
        await peer.start_local(sources=sources(tmp_path, count))
        view = seen(peer)
        members = view["members"]
        await peer.leave(confirmed=True)
        left = seen(peer)
    finally:
        await peer.close()

    assert [member["letter"] for member in members] == list("ABCDE"[:count])
    assert [member["me"] for member in members] == [True] + [False] * (count - 1)
    assert [member["name"] for member in members] == [f"data {n}" for n in range(count)]
    assert all(member["link"] is None and member["address"] is None for member in members)
    assert [member["sources"][0]["code"] for member in members] == [
        f"{letter}1" for letter in "ABCDE"[:count]
    ]
    assert {member["state"] for member in members} == {"waiting_inventory"}
    assert (view["session"]["local"], view["session"]["id"]) == (True, None)
    assert left["session"] is None


async def test_the_same_acts_lead_to_equal_folders(tmp_path: Path) -> None:
    """Inventory, rules, synchronisation, proof, restart; then nothing is left to do."""
    peer = await open_peer(tmp_path)
    made = sources(tmp_path, 3)
    try:
        await peer.start_local(sources=made)
        await synchronise(peer, "combine")
        found = [held(Path(path)) for path in made]
        verified = await peer.verify()
        await peer.restart()
        await peer.start_inventory()
        await until(lambda: phase(peer) is Phase.COMPARISON)
        await peer.set_rules(preset="combine", rules=[])
        again = peer.plan()
    finally:
        await peer.close()

    assert found == [{"of 0": "0", "of 1": "1", "of 2": "2"}] * 3
    assert verified["state"] == "equal"
    assert again["steps"] == 0


async def test_the_brakes_of_all_members_are_this_persons_to_lift(tmp_path: Path) -> None:
    """Nobody else could."""
    peer = await open_peer(tmp_path)
    made = sources(tmp_path, 2)
    fill(Path(made[1]), {f"more {number}": "x" for number in range(60)})
    try:
        await peer.start_local(sources=made)
        await peer.start_inventory()
        await until(lambda: phase(peer) is Phase.COMPARISON)
        await peer.set_rules(preset="mirror A", rules=[])
        with pytest.raises(BrakeTripped):
            await peer.start_sync()
        await peer.start_sync(allow_deletes=100)
        await until(lambda: (seen(peer)["proof"] or {}).get("state") == "equal")
    finally:
        await peer.close()

    assert held(Path(made[1])) == {"of 0": "0"}


async def test_nobody_joins_it_and_its_sources_stay(tmp_path: Path) -> None:
    """Too few or too many are no session; a second one is none either."""
    peer = await open_peer(tmp_path)
    made = sources(tmp_path, 6)
    try:
        for wrong in (made[:1], made):
            with pytest.raises(LocalSourcesWrong):
                await peer.start_local(sources=wrong)
        with pytest.raises(NoSession):
            peer.secrets()
        await peer.start_local(sources=made[:2])
        with pytest.raises(SessionIsLocal):
            peer.secrets()
        with pytest.raises(SessionIsLocal):
            await peer.add_source(made[2])
        with pytest.raises(SessionIsLocal):
            await peer.drop_source("A1")
        with pytest.raises(AlreadyInSession):
            await peer.start_local(sources=made[2:4])
        await peer.start_inventory()
    finally:
        # In the middle of it.
        await peer.close()

    assert [held(Path(path)) for path in made] == [{f"of {n}": str(n)} for n in range(6)]
