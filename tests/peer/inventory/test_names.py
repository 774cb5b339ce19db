import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.inventory import names

components = st.binary(min_size=1, max_size=24) | st.text(min_size=1, max_size=12).map(
    lambda name: name.encode("utf-8", "surrogatepass")
)


@pytest.mark.parametrize(
    "component", [b"", b".", b"..", b"a/b", b"/", b"a\0", b"x" * 256], ids=repr
)
def test_a_component_that_leads_elsewhere_is_invalid(component: bytes) -> None:
    """Nothing, here, up, two levels at once, cut short, too long."""
    assert not names.valid_component(component)
    assert not names.valid_path((b"a", component))


@pytest.mark.parametrize("component", [b"a", b"...", b"\xff", b"a\\b", b"x" * 255], ids=repr)
def test_any_other_bytes_are_a_valid_component(component: bytes) -> None:
    """Disks hold names that are no text; Linux takes a backslash for a letter."""
    assert names.valid_component(component)


def test_a_path_has_bounds() -> None:
    """Depth and length are those of the wire."""
    assert names.valid_path(())
    assert names.valid_path((b"a",) * 128)
    assert not names.valid_path((b"a",) * 129)
    assert names.valid_path((b"x" * 255,) * 16)
    assert not names.valid_path((b"x" * 255,) * 16 + (b"y",))


def test_composed_and_decomposed_names_are_the_same() -> None:
    """MacOS writes é in two characters, the others in one."""
    composed, decomposed = "é".encode(), unicodedata.normalize("NFD", "é").encode()

    assert composed != decomposed
    assert names.identity(composed) == names.identity(decomposed)


def test_case_matters_only_where_it_is_asked_for() -> None:
    """The identity keeps case; a folded one does not."""
    upper, lower = (b"Dir", "ÉTÉ".encode()), (b"dir", "été".encode())

    assert names.key_of(upper, insensitive=False) != names.key_of(lower, insensitive=False)
    assert names.key_of(upper, insensitive=True) == names.key_of(lower, insensitive=True)


def test_folding_never_joins_names_that_file_systems_keep_apart() -> None:
    """A full case folding would overwrite one street with another."""
    assert names.folded("straße") != names.folded("strasse")
    assert names.folded("STRAẞE") == names.folded("straße")
    assert names.folded("ﬁn") != names.folded("fin")


def test_bytes_that_are_no_text_keep_names_apart() -> None:
    """Two broken names never become one."""
    assert names.identity(b"\xff") != names.identity(b"\xfe")
    assert names.text(b"\xff").encode("utf-8", "surrogateescape") == b"\xff"


@given(components)
def test_folding_is_settled_after_one_turn(component: bytes) -> None:
    """An identity folded twice is the same: rows do not depend on who folds."""
    once = names.folded(names.identity(component))

    assert names.folded(once) == once


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (b"plain name.txt", "plain name.txt"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        ("a\u202egnp.exe".encode(), "a\\u{202e}gnp.exe"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"a\\x1b", "a\\\\x1b"),
        (b"a\nb", "a\\x0ab"),
        ("\u2028".encode(), "\\u{2028}"),
        ("\U000e0001".encode(), "\\u{e0001}"),
        ("été 日本 👩\u200d🔬".encode(), "été 日本 👩\u200d🔬"),
        ("\x9b1m".encode(), "\\u{9b}1m"),
    ],
)
def test_names_are_shown_without_anything_that_acts(component: bytes, expected: str) -> None:
    """No name colours a terminal, turns the text round or hides a line break (T28)."""
    assert names.shown_name(component) == expected


def test_a_path_is_shown_on_one_line() -> None:
    """Components are joined by slashes; the root has a name too."""
    assert names.shown((b"a", b"b\n")) == "a/b\\x0a"
    assert names.shown(()) == "."


@given(components, components)
def test_no_name_looks_like_another(left: bytes, right: bytes) -> None:
    """What is shown tells which bytes it stands for, whatever the bytes; and never fails."""
    same = names.shown_name(left) == names.shown_name(right)

    assert same == (left == right)


@pytest.mark.parametrize(
    "name",
    [
        "a:b", "what?", "a*", "<", ">", '"', "pipe|", "back\\slash", "tab\t", "nul", "NUL.txt",
        "Com1", "lpt9.tar.gz", "con ", "dot.", "space ", "com\xb9", "\U0001f600" * 128,
    ],
)  # fmt: skip
def test_names_that_windows_cannot_have_are_known(name: str) -> None:
    """Characters, devices, what is dropped at the end, length in UTF-16; no text at all."""
    assert not names.possible_on_windows(name.encode())
    assert not names.possible_on_windows(b"\xff" + name.encode())


@pytest.mark.parametrize("name", ["a", ".hidden", "console", "com0", "a b", "nul_", "\xe9" * 127])
def test_names_that_windows_can_have_are_left_alone(name: str) -> None:
    """What merely looks like one of them is none."""
    assert names.possible_on_windows(name.encode())
