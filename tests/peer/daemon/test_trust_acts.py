import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.daemon.facade import Peer
from peer.errors import NoSession
from peer.session.errors import CandidateUnknown, MemberUnknown
from peer.session.phases import Phase
from peer.session.trust import TOTAL_TRIES
from protocol.errors import JoinFailed, JoinOutcome
from tests.harness.peers import House, house, hurry, phase, seen
from tests.harness.waiting import until


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither keys nor passwords take long."""
    hurry(monkeypatch)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """A node, and peers to come."""
    async with house(tmp_path) as built:
        yield built


async def knocking(home: House, anna: Peer) -> tuple[Peer, asyncio.Task[None]]:
    """Let somebody ask to be let in where a person decides."""
    await anna.set_settings(["ask_before_join=on"])
    ben = await home.open("ben")
    joining = asyncio.get_running_loop().create_task(
        ben.join_by_invitation(invitation=anna.secrets()["invitation"], sources=[])
    )
    await until(lambda: [each["name"] for each in seen(anna)["joining"] if each["asks"]])
    return ben, joining


async def test_without_a_session_only_what_was_met_is_known(home: House) -> None:
    """Nobody waits, nobody can be compared; the list is that of the days before."""
    anna = await home.open("anna")

    for act in (
        anna.decide_candidate("ben", admit=True),
        anna.allow_joining(),
        anna.verify_peer("B"),
    ):
        with pytest.raises(NoSession):
            await act

    assert anna.peers() == []
    assert await anna.forget_peer("ben") == 0


async def test_a_person_lets_somebody_in(home: House) -> None:
    """By the name it gave, however written; nobody else can be let in by mistake."""
    anna = await home.start("anna")
    ben, joining = await knocking(home, anna)

    with pytest.raises(CandidateUnknown):
        await anna.decide_candidate("cleo", admit=True)
    await anna.decide_candidate("BEN", admit=True)
    await asyncio.wait_for(joining, 15)

    assert phase(ben) is Phase.PREPARATION
    await until(lambda: seen(anna)["joining"] == [])


async def test_a_person_sends_somebody_away(home: House) -> None:
    """It is told so, and may ask again."""
    anna = await home.start("anna")
    ben, joining = await knocking(home, anna)

    await anna.decide_candidate("ben", admit=False)
    await asyncio.wait([joining], timeout=15)
    error = joining.exception()

    assert isinstance(error, JoinFailed)
    assert error.outcome is JoinOutcome.DECLINED
    assert seen(ben)["session"] is None
    assert len(seen(anna)["members"]) == 1


async def test_people_remember_whom_they_have_compared(home: House) -> None:
    """By letter; the next session shows it, until it is forgotten."""
    anna = await home.start("anna", {"a": "1"})
    ben = await home.join("ben", anna, {"b": "1"})

    for letter in ("A", "C", "", "é"):
        with pytest.raises(MemberUnknown):
            await anna.verify_peer(letter)
    await anna.verify_peer("b")
    verified = {peer["name"]: peer["verified"] for peer in anna.peers()}
    badges = [member["known"] for member in seen(anna)["members"] if not member["me"]]
    forgotten = await anna.forget_peer("ben")

    assert verified == {"ben": True}
    assert badges == ["verified"]
    assert forgotten == 1
    assert anna.peers() == []
    assert [peer["name"] for peer in ben.peers()] == ["anna"]


async def test_joining_is_allowed_again_at_a_members_word(home: House) -> None:
    """The wrong tries of all strangers are forgiven."""
    anna = await home.start("anna")
    throttle = anna._attending.sponsoring.throttle  # type: ignore[union-attr]
    for number in range(TOTAL_TRIES):
        throttle.charge(number.to_bytes(4, "big"), now=0.0)
    paused = throttle.is_paused

    await anna.allow_joining()

    assert paused
    assert not throttle.is_paused
