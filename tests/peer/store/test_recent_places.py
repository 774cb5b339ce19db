"""The places that were offered lately."""

from pathlib import Path

from peer.store.home import Home
from peer.store.recent_places import FILE, MAX_PLACES, RecentPlaces


def test_the_newest_come_first_and_once(tmp_path: Path) -> None:
    """Offering a place again moves it up."""
    recent = RecentPlaces(Home(tmp_path))
    recent.add("/a", "/b")
    recent.add("/c", "/a")

    assert recent.places() == ["/c", "/a", "/b"]
    assert RecentPlaces(Home(tmp_path)).places() == ["/c", "/a", "/b"]


def test_only_some_are_kept(tmp_path: Path) -> None:
    """The oldest is forgotten."""
    recent = RecentPlaces(Home(tmp_path))
    for number in range(MAX_PLACES + 3):
        recent.add(f"/{number}")

    assert len(recent.places()) == MAX_PLACES
    assert recent.places()[0] == f"/{MAX_PLACES + 2}"


def test_a_spoiled_or_exposed_file_is_no_failure(tmp_path: Path) -> None:
    """Forgetting is better than stopping."""
    recent = RecentPlaces(Home(tmp_path))
    recent.add("/a")
    (tmp_path / FILE).write_text("{")
    assert recent.places() == []
    (tmp_path / FILE).chmod(0o644)
    assert recent.places() == []

    recent.add("/b")

    assert recent.places() == ["/b"]


def test_a_folder_that_takes_no_writes_is_no_failure(tmp_path: Path) -> None:
    """The session goes on; the place is not remembered."""
    recent = RecentPlaces(Home(tmp_path))
    (tmp_path / f".{FILE}.new").mkdir()

    recent.add("/a")

    assert recent.places() == []
