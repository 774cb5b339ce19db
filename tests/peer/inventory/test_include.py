import pytest

from peer.errors import SettingInvalid
from peer.inventory.include import Inclusion
from peer.session.session_settings import DataType, SessionSettings, Symlinks
from protocol.messages.inventory import Kind, RelPath, SkipReason

FILE, DIRECTORY, LINK = Kind


def decide(settings: SessionSettings, *path: bytes, kind: Kind = FILE) -> SkipReason | None:
    return Inclusion(settings).decide(path, kind)


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ((), DIRECTORY, None),
        ((), FILE, None),
        ((b"a",), FILE, None),
        ((b"a",), DIRECTORY, None),
        ((b"a",), LINK, SkipReason.LINK),
        ((b".bashrc",), FILE, SkipReason.HIDDEN),
        ((b".git",), DIRECTORY, SkipReason.HIDDEN),
        ((b"photos", b"Thumbs.db"), FILE, SkipReason.NOISE),
        ((b"$RECYCLE.BIN",), DIRECTORY, SkipReason.NOISE),
        ((b".DS_Store",), FILE, SkipReason.NOISE),
        ((b"._photo.jpg",), FILE, SkipReason.NOISE),
        ((b".quintet-trash",), DIRECTORY, SkipReason.SYSTEM),
    ],
)
def test_the_defaults_leave_out_what_nobody_means(
    path: RelPath, kind: Kind, reason: SkipReason | None
) -> None:
    """One table of what becomes an entry and why not."""
    assert Inclusion(SessionSettings()).decide(path, kind) is reason


def test_flags_of_the_file_system_count_like_names() -> None:
    """Windows and macOS hide by flag."""
    inclusion = Inclusion(SessionSettings())

    assert inclusion.decide((b"a",), FILE, hidden=True) is SkipReason.HIDDEN
    assert inclusion.decide((b"a",), FILE, system=True) is SkipReason.SYSTEM


def test_what_is_left_out_can_be_let_in() -> None:
    """Except for our own staging and trash, which are nobody's files."""
    inclusion = Inclusion(
        SessionSettings(exclude_hidden=False, exclude_system=False, symlinks=Symlinks.COPY)
    )

    assert inclusion.decide((b".bashrc",), FILE, hidden=True) is None
    assert inclusion.decide((b"Thumbs.db",), FILE, system=True) is None
    assert inclusion.decide((b"link",), LINK) is None
    assert inclusion.decide((b".quintet",), DIRECTORY) is SkipReason.SYSTEM


def test_directories_alone_leave_out_files_and_links() -> None:
    """They are named, so that a directory which holds them is not taken for empty."""
    settings = SessionSettings(data_type=DataType.DIRECTORIES, symlinks=Symlinks.COPY)

    assert decide(settings, b"a") is SkipReason.DATA_TYPE
    assert decide(settings, b"a", kind=LINK) is SkipReason.DATA_TYPE
    assert decide(settings, b"a", kind=DIRECTORY) is None


def test_files_alone_keep_their_directories() -> None:
    """A file's parents must be known to create it elsewhere."""
    assert decide(SessionSettings(data_type=DataType.FILES), b"a", kind=DIRECTORY) is None


def test_exclude_patterns_are_gitignore() -> None:
    """Anchors, directories, negation: the library's business, shown here once."""
    settings = SessionSettings(exclude=("*.tmp", "!keep.tmp", "/build/", "a/**/z"))

    assert decide(settings, b"x", b"y.tmp") is SkipReason.PATTERN
    assert decide(settings, b"keep.tmp") is None
    assert decide(settings, b"build", kind=DIRECTORY) is SkipReason.PATTERN
    assert decide(settings, b"build") is None
    assert decide(settings, b"a", b"b", b"z") is SkipReason.PATTERN
    assert decide(settings, b"\xff.tmp") is SkipReason.PATTERN


def test_include_patterns_choose_files_and_walk_directories() -> None:
    """What is wanted may lie below a directory that no pattern names."""
    settings = SessionSettings(include=("*.jpg",), exclude=("bad.jpg",))

    assert decide(settings, b"d", kind=DIRECTORY) is None
    assert decide(settings, b"d", b"a.jpg") is None
    assert decide(settings, b"d", b"a.png") is SkipReason.PATTERN
    assert decide(settings, b"d", b"bad.jpg") is SkipReason.PATTERN


def test_a_pattern_that_is_none_is_refused_before_anything_is_walked() -> None:
    """Naming the setting."""
    with pytest.raises(SettingInvalid) as caught:
        Inclusion(SessionSettings(exclude=("trailing\\",)))

    assert caught.value.name == "exclude"
