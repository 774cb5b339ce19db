import os
from pathlib import Path

import pytest

from peer.fs.errors import (
    FileError,
    SourceAlreadyGiven,
    SourceAroundAnother,
    SourceInsideAnother,
    SourceMissing,
    SourceNotReadable,
    SourceOwnState,
    SourceRefused,
    SourceSpecial,
    SourceSystemLocation,
)
from peer.fs.sources import Source, check_source
from protocol.messages.inventory import Kind


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The peer's own state folder, beside the folders ``a``, ``a/b`` and the file ``a/f``."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "f").touch()
    (tmp_path / "state" / "inner").mkdir(parents=True)
    return tmp_path / "state"


def _check(path: Path, state: Path, *given: Path, create: bool = False) -> Source:
    return check_source(path, given=given, state=state, create=create)


def test_a_directory_or_a_file_is_taken_by_its_canonical_path(state: Path, tmp_path: Path) -> None:
    """Links on the way are resolved once, here."""
    (tmp_path / "link").symlink_to(tmp_path / "a")

    assert _check(tmp_path / "link" / "." / "b" / "..", state) == (
        *(tmp_path / "a", Kind.DIRECTORY, ()),
    )
    assert _check(tmp_path / "link" / "f", state) == (tmp_path / "a" / "f", Kind.FILE, ())


def test_home_is_written_with_a_tilde(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As people write it."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert _check(Path("~/a"), state).path == tmp_path / "a"


@pytest.mark.parametrize(
    "path", ["/no/such/place", "relative", "", "a\0b", "~nobody-of-this-name/x"]
)
def test_what_names_nothing_is_missing(state: Path, path: str) -> None:
    """A relative path would depend on where the peer was started."""
    with pytest.raises(SourceMissing):
        _check(Path(path), state)


def test_a_file_on_the_way_or_a_loop_is_missing(state: Path, tmp_path: Path) -> None:
    """Nothing can lie there."""
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "a" / "f" / "x", tmp_path / "loop"):
        with pytest.raises(SourceMissing):
            _check(path, state)


@pytest.mark.parametrize(
    ("given", "path", "refusal"),
    [
        ("a", "a", SourceAlreadyGiven),
        ("a", "a/b", SourceInsideAnother),
        ("a", "a/f", SourceInsideAnother),
        ("a/b", "a", SourceAroundAnother),
        ("a/f", "a", SourceAroundAnother),
        ("a/f", "a/f", SourceAlreadyGiven),
    ],
)
def test_no_two_sources_overlap(
    state: Path, tmp_path: Path, given: str, path: str, refusal: type[SourceInsideAnother]
) -> None:
    """The refusal names the other one."""
    with pytest.raises(SourceRefused) as caught:
        _check(tmp_path / path, state, tmp_path / "state-2", tmp_path / given)

    assert type(caught.value) is refusal
    assert caught.value.params == {"other": 1}


def test_neighbours_are_no_overlap(state: Path, tmp_path: Path) -> None:
    """Names that begin alike, two files of one folder, two names of one file."""
    (tmp_path / "a-b").mkdir()
    os.link(tmp_path / "a" / "f", tmp_path / "a" / "g")

    assert _check(tmp_path / "a-b", state, tmp_path / "a").kind is Kind.DIRECTORY
    assert _check(tmp_path / "a" / "g", state, tmp_path / "a" / "f").kind is Kind.FILE


def test_one_directory_under_two_names_is_one_source(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounted twice, or named in other case: its number tells."""
    (tmp_path / "twin" / "b").mkdir(parents=True)
    real = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        # As a second mount of the same folder shows it.
        return real(tmp_path / "a" if path == tmp_path / "twin" else path)

    monkeypatch.setattr(Path, "lstat", lstat)
    with pytest.raises(SourceInsideAnother):
        _check(tmp_path / "twin" / "b", state, tmp_path / "a")
    with pytest.raises(SourceAlreadyGiven):
        _check(tmp_path / "twin", state, tmp_path / "a")


@pytest.mark.parametrize("path", ["/proc/self", "/sys", "/dev/null", "/run/lock", "/"])
def test_the_system_is_no_source(state: Path, path: str) -> None:
    """Nor what holds it."""
    with pytest.raises(SourceSystemLocation):
        _check(Path(path), state)


def test_removable_disks_are_no_part_of_the_system(state: Path) -> None:
    """Desktops mount them below /run."""
    with pytest.raises(SourceMissing):
        _check(Path("/run/media/somebody/disk"), state)


def test_the_own_state_is_no_source_and_closed_within_one(state: Path, tmp_path: Path) -> None:
    """A whole home may be a source: the state within is not entered."""
    for path in (state, state / "inner"):
        with pytest.raises(SourceOwnState):
            _check(path, state)

    assert _check(tmp_path, state).closed == ((b"state",),)


def test_our_own_folders_are_no_source(state: Path, tmp_path: Path) -> None:
    """Staging and trash of another source."""
    (tmp_path / "a" / ".quintet" / "trash").mkdir(parents=True)
    with pytest.raises(SourceOwnState):
        _check(tmp_path / "a" / ".quintet" / "trash", state)


def test_special_files_are_no_source(state: Path, tmp_path: Path) -> None:
    """A pipe has no content to keep."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceSpecial):
        _check(tmp_path / "pipe", state)


def test_a_missing_directory_is_made_when_asked_for(state: Path, tmp_path: Path) -> None:
    """With its parents; a refusal makes nothing."""
    with pytest.raises(SourceInsideAnother):
        _check(tmp_path / "a" / "new", state, tmp_path / "a", create=True)
    made = _check(tmp_path / "x" / "new", state, create=True)
    with pytest.raises(FileError):
        _check(Path("/proc/../") / ("n" * 300), state, create=True)

    assert made.path.is_dir()
    assert not (tmp_path / "a" / "new").exists()


@pytest.mark.root
@pytest.mark.parametrize("name", ["a", "a/f", "a/b"])
def test_what_may_not_be_read_is_no_source(state: Path, tmp_path: Path, name: str) -> None:
    """Asked with the rights of this process, or of somebody else if that is root."""
    if os.geteuid():
        if os.environ.get("CI") == "true":
            pytest.fail("needs root")
        pytest.skip("needs root")
    for place in (tmp_path, *tmp_path.parents[:3]):
        place.chmod(place.stat().st_mode | 0o755)
    (tmp_path / name).chmod(0)
    os.seteuid(65534)
    try:
        with pytest.raises(SourceNotReadable):
            _check(tmp_path / name, state)
    finally:
        os.seteuid(0)
