"""What a person sees of this computer's disks when choosing a folder."""

import os
from pathlib import Path

import pytest

from peer.fs import folders
from peer.fs.errors import FileError, SourceMissing
from peer.fs.folders import look


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with two folders, a file, a hidden folder, a link and a pipe."""
    for name in ("Beta", "alpha", ".secret"):
        (tmp_path / name).mkdir()
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "far").symlink_to("/usr")
    (tmp_path / "nowhere").symlink_to("/does/not/exist")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def names(path: object, *, hidden: bool = False) -> list[str]:
    return [entry.name for entry in look(str(path), hidden=hidden).entries]


def test_folders_come_first_and_what_cannot_be_chosen_not_at_all(place: Path) -> None:
    """Pipes, sockets and links to nowhere are no data sources."""
    assert names(place) == ["alpha", "Beta", "far", "note.txt"]


def test_hidden_names_are_counted_and_shown_on_demand(place: Path) -> None:
    """What is left out is never silent."""
    assert look(str(place), hidden=False).hidden == 1
    assert ".secret" in names(place, hidden=True)
    assert names(place / ".se") == [".secret"]


def test_a_link_is_marked_and_leads_to_its_true_place(place: Path) -> None:
    """Opening it shows where it led, so that nobody offers another folder than they think."""
    (link,) = [entry for entry in look(str(place), hidden=False).entries if entry.link]

    opened = look(str(link.path), hidden=False)

    assert link.name == "far"
    assert opened.path == "/usr"


def test_a_half_typed_path_is_completed_without_case(place: Path) -> None:
    """The folder above is listed as far as the name fits."""
    told = look(str(place / "b"), hidden=False)

    assert [entry.name for entry in told.entries] == ["Beta"]
    assert told.beginning == "b"
    assert told.path == str(place)


def test_the_root_has_no_parent_and_disks_have_space() -> None:
    """Where it ends, and how much fits."""
    told = look("/", hidden=False)

    assert told.parent is None
    assert told.free is not None
    assert told.size is not None
    assert 0 <= told.free <= told.size


def test_nothing_typed_is_home(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most likely place to begin."""
    monkeypatch.setenv("HOME", str(place))

    assert look("", hidden=False).path == str(place)


@pytest.mark.parametrize("path", ["relative", "/nowhere/at/all", "/a\0b", "~nobody-of-this-name/x"])
def test_a_path_that_names_nothing_is_refused(path: str) -> None:
    """With the same reason as a source that does not exist."""
    with pytest.raises(SourceMissing):
        look(path, hidden=False)


def test_a_folder_that_cannot_be_listed_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's own refusal, not an empty folder."""

    def refuse(_: object) -> object:
        raise PermissionError(13, "denied")

    monkeypatch.setattr(folders.os, "scandir", refuse)

    with pytest.raises(FileError) as caught:
        look(str(place), hidden=False)

    assert caught.value.code == "fs.denied"


def test_names_that_deceive_are_shown_escaped(tmp_path: Path) -> None:
    """Control and direction characters are written out; a name that is no text names nothing."""
    (tmp_path / "a\x1b[31m\u202egpj").mkdir()
    (tmp_path / os.fsdecode(b"b\xff")).mkdir()

    first, second = look(str(tmp_path), hidden=False).entries

    assert "\x1b" not in first.name
    assert "\u202e" not in first.name
    assert first.path == str(tmp_path / "a\x1b[31m\u202egpj")
    assert second.path is None


def test_a_crowded_folder_says_that_there_is_more(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer stays small; typing narrows it."""
    monkeypatch.setattr(folders, "MAX_ENTRIES", 2)

    told = look(str(place), hidden=False)

    assert len(told.entries) == 2
    assert told.more


def test_a_disk_that_tells_no_space_is_still_listed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network mounts cannot say."""

    def refuse(_: object) -> object:
        raise OSError

    monkeypatch.setattr(folders.os, "statvfs", refuse)

    assert look(str(place), hidden=False).free is None
