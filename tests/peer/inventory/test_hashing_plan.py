from peer.inventory.hashing_plan import to_hash
from peer.session.session_settings import Analysis, SessionSettings
from protocol.messages.inventory import SkipReason
from tests.harness.inventories import DIRECTORY, Tree, file, identified

SMART = SessionSettings()
CHECKSUM = SessionSettings(analysis=Analysis.CHECKSUM)


def hashed(*trees: Tree, settings: SessionSettings = SMART, unreadable: str = "") -> list[set[str]]:
    """The paths each member must hash."""
    inventories = [
        identified(n, tree, unreadable=[unreadable] if n == 1 and unreadable else [])
        for n, tree in enumerate(trees)
    ]
    return [
        {
            b"/".join(inventory.path(number)).decode()
            for number in to_hash(inventory.member, inventories, settings)
        }
        for inventory in inventories
    ]


def test_equal_size_and_date_are_not_read() -> None:
    """Smart analysis believes them, and says so in the comparison."""
    same = file("same", at=1)

    assert hashed({"a": same}, {"a": same}) == [set(), set()]


def test_a_different_date_or_size_is_read_by_all_who_hold_it() -> None:
    """A third that is like the first is read too: it may serve, and must be told apart."""
    assert hashed({"a": file("x", at=1)}, {"a": file("y", at=2)}) == [{"a"}, {"a"}]
    assert hashed({"a": file("x")}, {"a": file("xx")}, {"a": file("x")}) == [{"a"}, {"a"}, {"a"}]


def test_dates_within_the_tolerance_are_not_read() -> None:
    """The tolerance of the comparison is that of the hashing."""
    settings = SessionSettings(date_tolerance_ms=1000)
    trees: list[Tree] = [{"a": file("x", at=1)}, {"a": file("y", at=2)}]

    assert hashed(*trees, settings=settings) == [set(), set()]


def test_checksum_reads_what_stands_in_two_places() -> None:
    """And no file that is alone, in size too."""
    same = file("same")

    assert hashed({"a": same, "b": file("1")}, {"a": same}, settings=CHECKSUM) == [{"a"}, {"a"}]


def test_a_lone_file_is_read_when_another_lone_file_has_its_size() -> None:
    """A move, a copy or a duplicate, on whichever member."""
    moved = hashed({"old": file("12345")}, {"new": file("12345")})
    duplicate = hashed({"a": file("12345"), "b": file("67890")}, {})
    unlike = hashed({"a": file("1")}, {"b": file("22")})
    matched = hashed({"a": file("12345"), "b": file("x")}, {"a": file("67890")})

    assert moved == [{"old"}, {"new"}]
    assert duplicate == [{"a", "b"}, set()]
    assert unlike == [set(), set()]
    assert matched == [set(), set()]


def test_empty_files_are_equal_unread() -> None:
    """Every package has an __init__.py."""
    assert hashed({"a": file(""), "b": file("")}, {"c": file("")}) == [set(), set()]


def test_what_is_blocked_is_not_read() -> None:
    """Neither does it make another file worth reading."""
    assert hashed({"d/a": file("x")}, {"d": SkipReason.HIDDEN, "y": file("y")}) == [
        {"d/a"},
        {"y"},
    ]
    assert hashed({"d/a": file("x")}, {"d/a": file("yy")}, unreadable="d") == [set(), set()]


def test_only_files_are_read() -> None:
    """A directory and a file at one path are a clash, not a difference in content."""
    assert hashed({"a": file("x")}, {"a": DIRECTORY}) == [set(), set()]
