from packaging.version import Version

from tests.deploy.scripts import load

lock = load("lock")


def package(name: str, *requires: str) -> dict[str, object]:
    return {name: lock.Locked(name=name, version="1", digest="", requires=requires)}


def test_what_only_another_platform_needs_is_found_with_its_marker() -> None:
    """A lock made here installs there."""
    found = package("click", 'colorama>=0.4; sys_platform == "win32"')

    missing = dict(lock.needed_elsewhere(found))

    assert missing == {"colorama": ("colorama>=0.4", 'sys_platform == "win32"')}


def test_what_nobody_we_serve_needs_is_left_out() -> None:
    """Neither older interpreters nor extras nobody asked for widen the lock."""
    found = package("rich", 'old; python_version < "3.11"', 'more; extra == "jupyter"')

    missing = dict(lock.needed_elsewhere(found))

    assert missing == {}


def test_what_is_locked_already_is_not_asked_for_again() -> None:
    """The rounds of a resolution come to an end."""
    found = package("a", 'b; sys_platform == "win32"') | package("b")

    missing = dict(lock.needed_elsewhere(found))

    assert missing == {}


def test_a_release_is_every_file_of_its_version() -> None:
    """Wheels of all platforms and the source carry the version in their names."""
    names = [
        "PyNaCl-1.6.2-cp38-abi3-win_amd64.whl",
        "pynacl-1.6.2.tar.gz",
        "pynacl-1.6.20.tar.gz",
        "PyNaCl-1.6.2.exe",
    ]

    versions = [lock.file_version(name) for name in names]

    assert versions == [Version("1.6.2"), Version("1.6.2"), Version("1.6.20"), None]
