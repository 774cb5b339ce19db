"""What this device knows of the members of a session, and what it demands before it stays."""

from pathlib import Path

import pytest

from peer.daemon.trust_acts import TrustActs
from peer.daemon.trusting import Trusting, Vetting, known_view
from peer.errors import NoSession
from peer.session.errors import CandidateUnknown, MemberUnknown, NothingToCompare
from peer.store.home import Home
from peer.store.known_peers import FILE, KnownPeers, Standing
from protocol.credentials import SHORT_FINGERPRINT, fingerprint, fingerprint_symbols
from protocol.errors import JoinFailed, JoinOutcome
from protocol.roster import Roster, RosterEntry
from tests.harness.seats import Seat, Table, table_of

ANNA, BEN, OTHER = b"a" * 32, b"b" * 32, b"o" * 32
ROSTER = Roster((RosterEntry(0, ANNA, "Anna"), RosterEntry(1, BEN, "Ben")))


@pytest.fixture
def known(tmp_path: Path) -> KnownPeers:
    return KnownPeers(Home(tmp_path / "home"))


def short(key: bytes) -> str:
    return fingerprint_symbols(key)[:SHORT_FINGERPRINT]


def trusting_of(seat: Seat, known: KnownPeers) -> Trusting:
    return Trusting(known, seat.session, changed=lambda: None)


def entry_of(table: Table, index: int) -> RosterEntry:
    entry = table[0].session.membership.roster.entry(index)
    assert entry is not None
    return entry


# --- vetting -------------------------------------------------------------------------


def refusal(vetting: Vetting, roster: Roster = ROSTER) -> JoinFailed:
    with pytest.raises(JoinFailed) as failed:
        vetting.check(roster, BEN)
    return failed.value


@pytest.mark.parametrize("creator", ["", short(ANNA), short(BEN)])
def test_a_session_with_whom_the_invitation_names_is_entered(
    known: KnownPeers, creator: str
) -> None:
    """Or with an invitation that names nobody."""
    vetting = Vetting(known, creator=creator)

    vetting.check(ROSTER, BEN)

    assert not vetting.misses_creator(ROSTER)


def test_another_key_in_the_creators_place_is_an_impostor(known: KnownPeers) -> None:
    """Accepting changed keys does not help it."""
    refused = refusal(Vetting(known, accept_new_key=True, creator=short(OTHER)))

    assert refused.outcome is JoinOutcome.IMPOSTOR


def test_a_creator_that_has_left_cannot_be_missed_silently(known: KnownPeers) -> None:
    """Its place stays empty for ever, so nobody can stand in it."""
    vetting = Vetting(known, creator=short(ANNA))
    left = Roster((RosterEntry(1, BEN, "Ben"), RosterEntry(2, OTHER, "Cleo")))

    vetting.check(left, BEN)

    assert vetting.misses_creator(left)


def test_any_member_with_a_known_name_and_another_key_stops_the_join(known: KnownPeers) -> None:
    """Not only the one that lets in; never oneself; unless a person has said so."""
    known.seen(OTHER, "anna", now=1)
    known.seen(b"p" * 32, "Ben", now=1)

    refused = refusal(Vetting(known))

    assert refused.outcome is JoinOutcome.KEY_CHANGED
    assert refused.params["member"] == "Anna"
    Vetting(known, accept_new_key=True).check(ROSTER, BEN)


# --- badges --------------------------------------------------------------------------


async def test_a_member_is_new_until_the_next_session(known: KnownPeers) -> None:
    """The badge says what was known before; the file knows it from now on."""
    async with table_of(2) as table:
        other = entry_of(table, 1)
        trusting = trusting_of(table[0], known)

        picture = trusting.pictures()[1]

        assert picture == {
            "known": "new",
            "fingerprint": fingerprint(other.node_key),
            "digits": None,
        }
        assert known.standing(other.node_key, other.name) is Standing.KNOWN
        assert trusting_of(table[0], known).pictures()[1]["known"] == "known"


async def test_a_member_is_remembered_when_its_link_is_made(known: KnownPeers) -> None:
    """Not when the roster names it: its key is proven by the link."""
    async with table_of(2, linked=False) as table:
        trusting_of(table[0], known)
        before = known_view(known)

        await table.link(0, 1)

        assert before == []
        (seen,) = known_view(known)
        assert seen["fingerprint"] == fingerprint(entry_of(table, 1).node_key)
        assert seen["verified"] is False


async def test_a_changed_key_is_said_once(known: KnownPeers) -> None:
    """By the candidate's wish first; the flag stays until a person verifies."""
    async with table_of(2) as table:
        other = entry_of(table, 1)
        known.seen(OTHER, other.name, now=1)
        seat = table[0]
        trusting = trusting_of(seat, known)
        seat.session.on_candidate(other.node_key, other.name)
        trusting.linked(1)
        notices = [(code, params) for _, code, params in seat.session.notices]
        flagged = trusting.pictures()[1]["known"]

        trusting.verify(other)

        assert notices == [("key_changed", {"name": other.name})]
        assert flagged == "changed"
        assert trusting.pictures()[1]["known"] == "verified"
        assert known.standing(other.node_key, other.name) is Standing.VERIFIED


async def test_without_a_link_there_is_nothing_to_verify(known: KnownPeers) -> None:
    """Nobody has proven that key."""
    async with table_of(2, linked=False) as table:
        trusting = trusting_of(table[0], known)

        with pytest.raises(NothingToCompare):
            trusting.verify(entry_of(table, 1))


async def test_a_session_works_where_nothing_can_be_remembered(tmp_path: Path) -> None:
    """The next one will not know the device."""
    home = Home(tmp_path / "home")
    known = KnownPeers(home)
    (home.path / FILE).mkdir()
    async with table_of(2) as table:
        trusting = trusting_of(table[0], known)

        assert trusting.pictures()[1]["known"] == "new"
        trusting.linked(99)


# --- acts ------------------------------------------------------------------------------


class Person(TrustActs):
    """Somebody at the computer of a seat."""

    def __init__(self, seat: Seat, known: KnownPeers) -> None:
        super().__init__(known)
        self._attending = seat.attending
        self._trusting = trusting_of(seat, known)


async def test_people_verify_forget_and_list(known: KnownPeers) -> None:
    """By letter, however written; nobody verifies oneself or nobody."""
    async with table_of(2) as table:
        person = Person(table[0], known)

        await person.verify_peer("b")

        assert [each["verified"] for each in person.peers()] == [True]
        for letter in ("A", "C", ""):
            with pytest.raises(MemberUnknown):
                await person.verify_peer(letter)
        assert await person.forget_peer(entry_of(table, 1).name) == 1
        assert person.peers() == []


async def test_people_decide_and_reopen_only_in_a_session(known: KnownPeers) -> None:
    """And only about who is there."""
    async with table_of(1) as table:
        person = Person(table[0], known)

        with pytest.raises(CandidateUnknown):
            await person.decide_candidate("nobody", admit=True)
        await person.allow_joining()

        assert [code for _, code, _ in table[0].session.notices] == ["joining_reopened"]
    nobody = TrustActs(known)
    with pytest.raises(NoSession):
        await nobody.allow_joining()
    with pytest.raises(NoSession):
        await nobody.verify_peer("B")
