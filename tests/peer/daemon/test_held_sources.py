import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.daemon.held_sources import HeldSource, HeldSources
from peer.fs.confine import RESERVED
from peer.fs.errors import SourceInsideAnother, SourceOwnState, SourceRefused
from peer.fs.probe import Probe
from protocol.messages.inventory import Kind
from tests.harness.peers import fill


@pytest.fixture
def held(tmp_path: Path) -> Iterator[HeldSources]:
    """The sources of a peer whose state folder is ``state``."""
    (tmp_path / "state").mkdir()
    sources = HeldSources(tmp_path / "state")
    yield sources
    sources.close()


def is_open(source: HeldSource) -> bool:
    try:
        os.fstat(source.root.top.handle)
    except OSError:
        return False
    return True


def test_sources_keep_the_order_they_were_added_in(held: HeldSources, tmp_path: Path) -> None:
    """Their positions are what the other members name."""
    photos = fill(tmp_path / "photos", {"a": "1"})
    note = fill(tmp_path / "notes", {"note.txt": "1"}) / "note.txt"

    held.add(photos, create=False)
    held.add(note, create=False)

    assert [(os.fsdecode(info.path), info.kind) for info in held.infos()] == [
        (str(photos), Kind.DIRECTORY),
        (str(note), Kind.FILE),
    ]
    assert sorted(held.roots()) == [0, 1]
    assert [probe.root for probe in held.probes()] == [held.roots()[0], held.roots()[1]]


def test_a_source_that_is_refused_leaves_the_others_as_they_were(
    held: HeldSources, tmp_path: Path
) -> None:
    """Inside another one, the peer's own state, or not there at all."""
    photos = fill(tmp_path / "photos", {"sub/a": "1"})
    held.add(photos, create=False)

    for path, error in (
        (photos / "sub", SourceInsideAnother),
        (tmp_path / "state", SourceOwnState),
        (tmp_path / "nowhere", SourceRefused),
    ):
        with pytest.raises(error):
            held.add(path, create=False)

    assert len(held.sources) == 1


def test_a_folder_can_be_made(held: HeldSources, tmp_path: Path) -> None:
    """Only when asked for."""
    held.add(tmp_path / "new" / "folder", create=True)

    assert (tmp_path / "new" / "folder").is_dir()


def test_what_is_not_offered_any_more_is_closed(held: HeldSources, tmp_path: Path) -> None:
    """The disk may be taken out; the files stay."""
    names = ("a", "b", "c", "d")
    a, b, c, d = (held.add(fill(tmp_path / name, {"f": name}), create=False) for name in names)

    held.drop(0)
    held.discard(c)
    held.discard(c)
    left = list(held.sources)
    held.close()

    assert left == [b, d]
    assert not any(map(is_open, (a, b, c, d)))
    assert (tmp_path / "a" / "f").read_text() == "a"


def test_what_a_killed_synchronisation_left_is_swept_up(held: HeldSources, tmp_path: Path) -> None:
    """Nothing of it is under way any more when the source is offered anew."""
    photos = fill(tmp_path / "photos", {"a": "1"})
    left = photos / os.fsdecode(RESERVED) / "staging" / "0123456789abcdef0123456789abcdef"
    fill(left, {"half": "of a file"})

    held.add(photos, create=False)

    assert not (left / "half").exists()
    assert (photos / "a").exists()


def test_a_probe_that_fails_leaves_nothing_open(
    held: HeldSources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may fail between being opened and being tried."""
    opened = []

    def fail(root: object) -> Probe:
        opened.append(root)
        raise SourceOwnState

    monkeypatch.setattr("peer.daemon.held_sources.probe", fail)

    with pytest.raises(SourceOwnState):
        held.add(fill(tmp_path / "photos", {}), create=False)

    assert held.sources == []
    assert opened[0].top.handle == -1  # type: ignore[attr-defined]


def test_people_are_told_that_a_source_is_on_the_network(held: HeldSources, tmp_path: Path) -> None:
    """By the name of its file system; a local disk needs no label."""
    source = held.add(fill(tmp_path / "photos", {}), create=False)
    remote = HeldSource(source.root, source.probe._replace(network=True, file_system="nfs4" * 20))

    assert source.info.label == ""
    assert remote.info.label == ("nfs4" * 20)[:32]
