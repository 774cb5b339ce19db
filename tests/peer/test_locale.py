# ruff: noqa: E501  # the agreed sentences stand whole
"""Every text stands in both languages, every used key exists, and no text is left over."""

import ast
import pathlib
import re
import string
import typing
from collections.abc import Iterator

import pytest

from peer import locale
from peer.cli.main import COMMANDS
from peer.inventory.pairing import Block
from peer.plan.guards import Reason
from peer.settings import KEYS
from peer.web import peer_like
from protocol.errors import JoinOutcome, NodeRefusal

ROOT = pathlib.Path(__file__).parent.parent.parent
ENGLISH = locale.catalogue("en")
FRENCH = locale.catalogue("fr")

DYNAMIC = re.compile(
    r"^(phase|node_state|member|link|kind|sync|proof|demo|known|peers|plan|status|compare|source)\."
)
"""Keys put together from a word of a closed table; the word itself stands in the code."""


def _literals() -> Iterator[str]:
    for package in ("peer", "protocol"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


LITERALS = frozenset(_literals())
PAGE = frozenset(
    word
    for path in (ROOT / "peer" / "web" / "static" / "js").glob("*.js")
    for word in re.findall(r'"([\w.-]+)"|\b(\w+):|[`.$}](_\w+)`', path.read_text())
    for word in word
    if word
)
"""What the page's modules spell out: whole keys, and the words it makes keys of."""


def _fields(entry: str | dict[str, str]) -> set[str]:
    texts = [entry["one"], entry["other"]] if isinstance(entry, dict) else [entry]
    return {
        f"{name}:{form}"
        for text in texts
        for _, name, form, _ in string.Formatter().parse(text)
        if name is not None
    }


def test_both_languages_have_the_same_keys() -> None:
    """Nothing is said in one language only."""
    assert set(ENGLISH.texts) == set(FRENCH.texts)


@pytest.mark.parametrize("key", sorted(ENGLISH.texts))
def test_both_languages_name_the_same_values(key: str) -> None:
    """A value that English shows, French shows too, in the same form."""
    assert _fields(ENGLISH.texts[key]) == _fields(FRENCH.texts[key])


def _is_used(key: str) -> bool:
    if key in LITERALS:
        return True
    prefix, _, rest = key.partition(".")
    if prefix == "error":
        words = {f"E{outcome:02}" for outcome in JoinOutcome}
        words |= {f"node.{refusal.value}" for refusal in NodeRefusal}
        code, _, problem = rest.rpartition(".")
        return rest in words or rest in LITERALS or (code in LITERALS and problem in LITERALS)
    if prefix == "page":
        return _is_used_by_the_page(key, rest)
    if prefix in {"hint", "notice", "reason"}:
        return rest in LITERALS or rest in {f"E{outcome:02}" for outcome in JoinOutcome}
    if prefix == "command":
        return rest in COMMANDS or rest in LITERALS
    if prefix == "setting":
        return rest in KEYS
    return bool(DYNAMIC.match(key)) and rest in LITERALS


def _is_used_by_the_page(key: str, rest: str) -> bool:
    if key in PAGE:
        return True
    topic, _, word = rest.partition(".")
    if topic == "skip":
        return word.upper() in Block.__members__ or word in LITERALS
    if topic == "hint":
        return word in LITERALS
    words = {word, word.replace("_", "-"), word.removeprefix("how_").removesuffix("_text")}
    words |= {word.removeprefix(prefix) for prefix in ("col_", "here_", "theme_")}
    words |= {rest.removeprefix("theme_"), word.removesuffix("_text").replace("_", "-")}
    return bool(words & PAGE)


@pytest.mark.parametrize("key", sorted(ENGLISH.texts))
def test_every_text_is_used(key: str) -> None:
    """A text nobody shows is a text nobody keeps right."""
    assert _is_used(key)


def _used_keys() -> Iterator[str]:
    for path in (ROOT / "peer" / "cli").glob("*.py"):
        source = path.read_text()
        yield from re.findall(r'(?:\.text|\bask)\(\s*(?:app, )?"([\w.]+)"', source)
        yield from re.findall(r'help="(\w+\.[\w.]+)"', source)
        yield from (
            f"command.{name}" for name in re.findall(r'^@command\("([\w.]+)"', source, re.MULTILINE)
        )
        yield from (f"demo.{name}" for name in re.findall(r'\.stage\("(\w+)"', source))
    yield from (f"command.{name}" for name in COMMANDS)
    yield from (f"setting.{name}" for name in KEYS if name not in {"lang", "log_format"})


@pytest.mark.parametrize("key", sorted(set(_used_keys())))
def test_every_key_the_commands_use_exists(key: str) -> None:
    """An unknown key would be shown as it is."""
    assert key in ENGLISH.texts


def _codes() -> Iterator[str]:
    for path in [*(ROOT / "peer").rglob("errors.py"), ROOT / "protocol" / "errors.py"]:
        yield from re.findall(r'^    code(?:: \w+)? = "([\w.]+)"', path.read_text(), re.MULTILINE)


WORDS = {
    "phase": peer_like.Phase, "node_state": peer_like.NodeState, "member": peer_like.MemberState,
    "sync": peer_like.SyncState, "proof": peer_like.ProofState, "kind": peer_like.SourceKind, "link": peer_like.LinkKind,
    "known": peer_like.Known,
}  # fmt: skip


@pytest.mark.parametrize("prefix", sorted(WORDS))
def test_every_word_of_the_view_has_a_text(prefix: str) -> None:
    """The closed tables of the local API."""
    assert {f"{prefix}.{word}" for word in typing.get_args(WORDS[prefix])} <= set(ENGLISH.texts)


@pytest.mark.parametrize("code", sorted(set(_codes())))
def test_every_error_has_a_text(code: str) -> None:
    """What can go wrong is said in words."""
    assert f"error.{code}" in ENGLISH.texts


@pytest.mark.parametrize("reason", sorted(Reason))
def test_every_reason_of_a_refusal_has_a_text(reason: Reason) -> None:
    """The plan says why it leaves something alone."""
    assert f"reason.{reason.value}" in ENGLISH.texts


E_TEXTS = {
    "E01": "No open session has this Session ID. Check it with the person who invited you, and that their session is still open.",
    "E02": "This Session ID contains a typing mistake. It has 9 letters and digits, like 7GQ-2M9-KXT.",
    "E03": "This password contains a typing mistake. It has 12 letters and digits, like K7QF-2MNX-9TBR.",
    "E04": "The password was not accepted. Correct it and try again. (3 tries left before a short wait.) If you are sure it is right, someone may be interfering with the connection.",
    "E05": "Too many tries. You can try again in 0:30.",
    "E06": 'Joining is paused because of many wrong passwords. Ask a member to press "Allow joining again".',
    "E07": "This session already has 5 members.",
    "E08": "This session has already started its inventory. New members can join after its leader restarts it.",
    "E09": "Your version (1.4) cannot join this session (1.2). Update the older one.",
    "E10": "The session exists, but none of its members could be reached directly. Check firewalls, or connect both devices to the same network.",
    "E11": "The meeting server cannot be reached. Devices on the same local network are still found automatically.",
    "E12": "A member declined your request.",
    "E13": "Not all members could confirm your arrival. Try again in a moment.",
    "E14": "The device that answered could not prove that it knows the password. Nothing was shared. Check the network you are on.",
    "E15": "No answer within 15 seconds.",
    "E16": "Joining was cancelled.",
    "E17": '"Anna\'s laptop" has a different device key than last time. Verify the 12 digits before you continue.',
    "E18": "You were removed from this session. Ask for a new password and to be allowed again.",
    "E19": "This device is already in the session.",
    "E20": "The other device sent something unexpected. The connection was closed. (Details in the log: E20-xx.)",
    "E21": 'You joined, but the direct link to "C" is not working yet. Retrying.',
}  # fmt: skip
E_VALUES: dict[str, dict[str, object]] = {
    "E04": {"tries_left": 3},
    "E05": {"retry_after": 30},
    "E09": {"ours": "1.4", "theirs": "1.2"},
    "E17": {"member": "Anna's laptop"},
    "E20": {"detail": "xx"},
    "E21": {"member": "C"},
}


@pytest.mark.parametrize("code", sorted(E_TEXTS))
def test_the_outcomes_of_a_join_are_told_as_agreed(code: str) -> None:
    """The sentences of security.md, section 4.1, to the letter."""
    assert ENGLISH.error(code, E_VALUES.get(code, {})) == E_TEXTS[code]


def test_wording_follows_the_number() -> None:
    """In French nothing takes the singular, in English the plural."""
    assert ENGLISH.text("progress.files", count=0) == "0 files"
    assert ENGLISH.text("progress.files", count=1) == "1 file"
    assert FRENCH.text("progress.files", count=0) == "0 fichier"
    assert FRENCH.text("progress.files", count=2) == "2 fichiers"


@pytest.mark.parametrize(
    ("count", "english", "french"),
    [(0, "0 B", "0 o"), (1023, "1023 B", "1023 o"), (1536, "1.5 KiB", "1,5 Kio"),
     (5 * 1024**3, "5.0 GiB", "5,0 Gio")],
)  # fmt: skip
def test_sizes_are_short(count: int, english: str, french: str) -> None:
    """With the unit and the comma of the language."""
    assert ENGLISH.size(count) == english
    assert FRENCH.size(count) == french


def test_numbers_set_their_thousands_apart() -> None:
    """By comma, or by a narrow space that does not break."""
    assert ENGLISH.number(1234567) == "1,234,567"
    assert FRENCH.number(1234.5) == "1\u202f234,5"


def test_a_text_reaches_into_no_object_and_lacks_no_value() -> None:
    """Values are plain; one that was not given is a question mark."""
    odd = locale.Catalogue("en", {"a": "{x.__class__} {0} {y:size}"})

    assert odd.text("a", x=1, y="text") == "? ? text"
    assert odd.text("b") == "b"


def test_an_error_without_a_text_shows_its_code() -> None:
    """Better than nothing."""
    assert "new.thing" in ENGLISH.error("new.thing", {})


def test_what_is_wrong_with_a_filter_is_told_in_words() -> None:
    """The problem chooses the text."""
    told = ENGLISH.error(
        "expression.malformed", {"problem": "bad_value", "found": "x", "position": 3}
    )

    assert told == "“x” at character 3 is not a possible value."


@pytest.mark.parametrize(
    ("setting", "environ", "language"),
    [("fr", {"LANG": "en_GB.UTF-8"}, "fr"), ("en", {"LANG": "fr_FR"}, "en"),
     ("auto", {"LANG": "fr_FR.UTF-8"}, "fr"), ("auto", {"LC_ALL": "C", "LANG": "fr_FR"}, "en"),
     ("auto", {}, "en"), ("auto", {"LC_ALL": "", "LANG": "fr"}, "fr")],
)  # fmt: skip
def test_the_language_is_that_of_the_system_unless_set(
    setting: str, environ: dict[str, str], language: str
) -> None:
    """In the order POSIX gives the variables."""
    assert locale.choose(setting, environ) == language


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (30, "0:30"), (3723, "1:02:03")])
def test_a_duration_is_a_clock(seconds: int, text: str) -> None:
    """Hours only where there are some."""
    assert locale.clock(seconds) == text
