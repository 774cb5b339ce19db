"""Devices that were met: remembered by key, warned about by name."""

import stat
from pathlib import Path

import pytest

from peer.store.errors import StateExposed, StateUnusable
from peer.store.home import MAX_STATE_FILE, Home
from peer.store.known_peers import FILE, MAX_KNOWN, KnownPeer, KnownPeers, Standing

ANNA, OTHER, THIRD = b"a" * 32, b"o" * 32, b"t" * 32


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_device_is_known_once_it_was_met(home: Home) -> None:
    """In another process too."""
    known = KnownPeers(home)
    before = known.standing(ANNA, "Anna")

    known.seen(ANNA, "Anna", now=5)

    assert before is Standing.NEW
    assert KnownPeers(home).standing(ANNA, "Anna") is Standing.KNOWN
    assert KnownPeers(home).standing(OTHER, "Ben") is Standing.NEW


def test_a_known_name_with_another_key_is_a_changed_key(home: Home) -> None:
    """E17: however the name is written; the device that was met stays known."""
    known = KnownPeers(home)
    known.verify(ANNA, "Anna's laptop", now=5)

    assert known.standing(OTHER, "Anna's laptop") is Standing.CHANGED
    assert known.standing(OTHER, "ANNA'S LAPTOP") is Standing.CHANGED
    assert known.standing(ANNA, "Anna's laptop") is Standing.VERIFIED


def test_a_key_that_was_accepted_is_known_from_then_on(home: Home) -> None:
    """The warning comes once; it is not verified by being accepted."""
    known = KnownPeers(home)
    known.verify(ANNA, "Anna", now=5)

    known.seen(OTHER, "Anna", now=6)

    assert known.standing(OTHER, "Anna") is Standing.KNOWN


def test_what_a_person_verified_stays_so_when_the_device_is_met_again(home: Home) -> None:
    """First and last sight are kept, and the newest name."""
    known = KnownPeers(home)
    known.verify(ANNA, "Anna", now=5)

    known.seen(ANNA, "Anna's new name", now=9)

    (peer,) = KnownPeers(home)
    assert (peer.label, peer.first_seen, peer.last_seen) == ("Anna's new name", 5, 9)
    assert peer.verified


def test_forgetting_a_name_forgets_all_its_devices(home: Home) -> None:
    """The next meeting is the first again, without a warning."""
    known = KnownPeers(home)
    known.seen(ANNA, "Anna", now=1)
    known.seen(OTHER, "anna", now=2)
    known.seen(THIRD, "Ben", now=3)

    assert known.forget("Anna") == 2
    assert known.forget("nobody") == 0
    assert [peer.label for peer in KnownPeers(home)] == ["Ben"]
    assert known.standing(ANNA, "Anna") is Standing.NEW


def test_the_one_seen_last_comes_first(home: Home) -> None:
    """As people look for it."""
    known = KnownPeers(home)
    known.seen(ANNA, "Anna", now=1)
    known.seen(OTHER, "Ben", now=2)

    assert [peer.label for peer in known] == ["Ben", "Anna"]


def test_only_so_many_are_remembered_and_verified_ones_longest(home: Home) -> None:
    """Who knows a password cannot push a verified device out by coming under many keys."""
    known = KnownPeers(home)
    known.verify(ANNA, "Anna", now=0)
    known._known |= {
        number.to_bytes(32): KnownPeer(
            node_pk=number.to_bytes(32),
            label="\N{SNOWMAN}" * 64,
            first_seen=2**40,
            last_seen=2**40 + number,
        )
        for number in range(MAX_KNOWN - 1)
    }

    known.seen(OTHER, "one more", now=2**41)

    again = KnownPeers(home)
    assert len(list(again)) == MAX_KNOWN
    assert again.standing(ANNA, "Anna") is Standing.VERIFIED
    assert again.standing(OTHER, "one more") is Standing.KNOWN
    assert again.standing((0).to_bytes(32), "x") is Standing.NEW
    assert (home.path / FILE).stat().st_size < MAX_STATE_FILE


def test_t21_the_file_is_for_its_user_alone(home: Home) -> None:
    """One that others can change could hide a changed key."""
    KnownPeers(home).seen(ANNA, "Anna", now=1)
    path = home.path / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)

    with pytest.raises(StateExposed):
        KnownPeers(home)


@pytest.mark.parametrize("content", [b"{", b"[{}]", b'[{"node_pk":"AA=="}]'])
def test_a_spoiled_file_is_not_an_empty_one(home: Home, content: bytes) -> None:
    """A changed key would pass unnoticed."""
    home.write(FILE, content)

    with pytest.raises(StateUnusable):
        KnownPeers(home)
