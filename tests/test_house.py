"""The house rules that no linter knows, checked over the whole tree."""

import ast
import json
import pathlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any, Final

import importlinter.cli
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.harness.requirements import require_tool, unavailable

ROOT: Final = pathlib.Path(__file__).parent.parent
PACKAGES: Final = ("protocol", "rendezvous", "peer")
MODULES: Final = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

MAX_LINES: Final = 500
"""What is read in one sitting."""

FORBIDDEN_NAMES: Final = {
    *("util", "utils", "utility", "utilities", "helper", "helpers"),
    *("manager", "managers", "common", "misc", "base"),
}
"""Names under which anything could be put."""

NAMED_ON_PURPOSE: Final = {
    "protocol/messages/base.py": "holds exactly the base class of all messages",
}

TESTED_ELSEWHERE: Final[dict[str, str]] = {}
"""Modules without a twin under tests/, each with the reason."""

SPEAKING_BASES: Final = {"Struct", "Exception", "ExceptionGroup", "Message"}
"""Whoever derives from these says something to someone: it has a docstring."""

# A bracketed letter keeps this file from matching its own patterns.
UNFINISHED: Final = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X|NotImplemented[E]rror)\b")

FOREIGN_PLACES: Final = re.compile(
    r"""
    pypi[.]org | pythonhosted[.]org | npmjs[.]org | yarnpkg[.]com | golang[.]org
    | file:[/]{2}
    | (?<![\w.~-])[/](?:work|opt/pypi|opt/wheels)/
    | bash[_]jobs
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Hosts of package indexes, and paths of the machines this was written on."""


def name_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_module = pytest.mark.parametrize("path", MODULES, ids=name_of)


# --- modules ----------------------------------------------------------------


@each_module
def test_a_module_says_what_it_is_for_and_is_read_in_one_sitting(path: pathlib.Path) -> None:
    """Its docstring is the first thing a reader meets; past the cap it holds two things."""
    source = path.read_text()

    assert ast.get_docstring(ast.parse(source)), "a module starts with a docstring"
    assert source.count("\n") <= MAX_LINES, "split it"


@each_module
def test_a_module_is_named_after_what_it_holds(path: pathlib.Path) -> None:
    """Neither it nor its package nor a class of it has a name for anything."""
    words = {
        word for part in path.relative_to(ROOT).with_suffix("").parts for word in part.split("_")
    }
    if name_of(path) in NAMED_ON_PURPOSE:
        words.discard("base")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            words |= {word.lower() for word in re.findall("[A-Z][a-z]+", node.name)} - {"base"}

    assert not FORBIDDEN_NAMES & words


@each_module
def test_imports_are_absolute(path: pathlib.Path) -> None:
    """Where a name comes from stands in the line that imports it."""
    relative = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]

    assert not relative


@each_module
def test_a_module_is_finished(path: pathlib.Path) -> None:
    """No note of what is left to do, no function that only says it does not exist."""
    assert UNFINISHED.findall(path.read_text()) == []


@each_module
def test_a_package_file_holds_no_code_of_its_own(path: pathlib.Path) -> None:
    """Code in ``__init__.py`` would be code without a name and without a twin."""
    if path.name != "__init__.py":
        return
    code = [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert not code


def test_every_module_has_its_twin() -> None:
    """Who opens a module knows where its tests are: same path, same name."""
    lonely = {
        name_of(path)
        for path in MODULES
        if path.name != "__init__.py" and not twin_of(path).exists()
    }

    missing = sorted(lonely - set(TESTED_ELSEWHERE))

    assert not missing, "without a twin: " + " ".join(missing)
    assert sorted(set(TESTED_ELSEWHERE) - lonely) == [], "has a twin: take it off the list"


def twin_of(path: pathlib.Path) -> pathlib.Path:
    relative = path.relative_to(ROOT)
    return ROOT / "tests" / relative.parent / f"test_{relative.name}"


# --- docstrings -------------------------------------------------------------


def test_whatever_is_said_to_someone_has_a_docstring() -> None:
    """Messages, values, events, errors and settings are read by people who call them."""
    classes = [(path, node) for path in MODULES for node in classes_of(path)]
    speaking = speaking_names([node for _, node in classes]) | set(events_of(MODULES))
    silent = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path, node in classes
        if not node.name.startswith("_")
        and (node.name in speaking or path.stem in {"errors", "settings"})
        and not ast.get_docstring(node)
    ]

    assert speaking, "the tree has messages and errors: this test must see them"
    assert silent == []


def classes_of(path: pathlib.Path) -> Iterator[ast.ClassDef]:
    return (
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    )


def speaking_names(classes: list[ast.ClassDef]) -> set[str]:
    """Return the names of all classes that derive from a speaking one, however far."""
    names = set(SPEAKING_BASES)
    while True:
        found = {
            node.name for node in classes if names & {last_name(base) for base in node.bases}
        } - names
        if not found:
            return names - SPEAKING_BASES
        names |= found


def events_of(paths: list[pathlib.Path]) -> Iterator[str]:
    """Yield the members of every union called ``…Event``."""
    for path in paths:
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            value = getattr(node, "value", None)
            if value is None or not any(last_name(target).endswith("Event") for target in targets):
                continue
            yield from (last_name(part) for part in ast.walk(value) if isinstance(part, ast.Name))


def last_name(node: ast.expr) -> str:
    """Return ``Struct`` for ``Struct``, ``msgspec.Struct`` and ``Struct[T]``."""
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


# --- imports ----------------------------------------------------------------


def test_imports_go_one_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The contracts of ``pyproject.toml`` hold."""
    monkeypatch.chdir(ROOT)

    status = importlinter.cli.lint_imports(no_logo=True)

    assert status == importlinter.cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out


# --- languages --------------------------------------------------------------


def test_both_languages_say_the_same_things() -> None:
    """The same keys, and the same values to fill in."""
    english, french = (locale(language) for language in ("en", "fr"))

    assert sorted(english.keys() ^ french.keys()) == []
    assert [key for key in english if blanks(english[key]) != blanks(french[key])] == []


def locale(language: str) -> dict[str, Any]:
    path = ROOT / "peer" / "locales" / f"{language}.json"
    texts: dict[str, Any] = json.loads(path.read_text())
    return texts


def blanks(text: object) -> set[str]:
    """Return the names between braces of a text, or of all forms of a plural."""
    return set(re.findall(r"\{(\w+)", json.dumps(text, ensure_ascii=False)))


# --- dependencies (security.md, T30) ----------------------------------------

PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK_LINE: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[0-9][0-9a-z.+!]*)(?: ; [^\\]+)?"
    r"(?P<digests>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)


def locked(name: str) -> dict[str, str]:
    """Return the versions of a lock that is nothing but a header and digested pins."""
    header, _, body = (ROOT / "deploy" / name).read_text().partition("\n\n")
    assert all(line.startswith("#") for line in header.splitlines())
    assert LOCK_LINE.sub("", body) == "", "every line pins a version and digests of its files"
    return {match["name"]: match["version"] for match in LOCK_LINE.finditer(body)}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_no_address(name: str) -> None:
    """Where packages come from is for the installing machine to say."""
    text = (ROOT / "deploy" / name).read_text()

    assert "://" not in text
    assert "--" not in text.replace("--hash=", "").replace("--require-hashes", "")


def test_the_locks_hold_what_the_project_asks_for() -> None:
    """Every requirement is pinned, at a version it allows; both locks agree."""
    runtime, development = locked("requirements.lock"), locked("requirements-dev.lock")
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]

    unmet = [*unmet_by(runtime, asked), *unmet_by(development, PROJECT["dependency-groups"]["dev"])]

    assert unmet == [], "run deploy/lock.py"
    assert runtime.items() <= development.items()


def unmet_by(lock: dict[str, str], requirements: list[str]) -> Iterator[str]:
    for requirement in map(Requirement, requirements):
        version = lock.get(canonicalize_name(requirement.name))
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            yield str(requirement)


def test_the_quic_library_is_pinned_to_the_version_it_was_read_at() -> None:
    """Private methods of it are overridden: any other version may differ there."""
    (aioquic,) = (
        requirement
        for requirement in map(Requirement, PROJECT["project"]["dependencies"])
        if requirement.name == "aioquic"
    )
    (specifier,) = aioquic.specifier

    assert specifier.operator == "=="
    assert specifier.version == locked("requirements.lock")["aioquic"]


# --- what leaves the house --------------------------------------------------


def test_no_file_names_a_package_index_or_a_private_path() -> None:
    """The tree works anywhere and tells nobody where it was made."""
    found = [
        f"{name}:{number} {match[0]}"
        for name in tracked_files()
        for number, line in enumerate(lines_of(ROOT / name), start=1)
        if (match := FOREIGN_PLACES.search(line))
    ]

    assert found == []


def tracked_files() -> list[str]:
    require_tool("git")
    listing = subprocess.run(
        # The checkout may belong to someone else than who runs its tests.
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        unavailable("needs a git checkout")
    return [name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def lines_of(path: pathlib.Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
