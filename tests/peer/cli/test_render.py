"""Nothing that is shown acts on the terminal, whatever a name holds (security.md, T28)."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.cli import render
from tests.harness.fake_peer import EVIL_NAME


class Terminal(io.StringIO):
    """A stdout that says it is one."""

    def isatty(self) -> bool:
        return True


@given(st.text())
def test_no_control_or_bidirectional_character_is_shown(text: str) -> None:
    """Printable text stays as it is."""
    told = render.shown(text)

    hidden = {character for character in told if unicodedata.category(character) in {"Cc", "Cf"}}
    assert hidden <= render.JOINERS
    assert told.isprintable() or told != text or not text.isprintable()
    if text.isprintable():
        assert told == text


@pytest.mark.parametrize(
    ("text", "told"),
    [("a\x1b[2Jb", "a\\x1b[2Jb"), ("x\u202ey", "x\\u{202e}y"), ("l\n2", "l\\x0a2"),
     ("\x9b1m", "\\u{9b}1m"), ("👨‍👩‍👧", "👨‍👩‍👧"), ("é 花", "é 花"), ("\udc80", "\\u{dc80}")],
)  # fmt: skip
def test_what_acts_is_written_out(text: str, told: str) -> None:
    """ESC, RLO, a line break, CSI; joiners belong to how emoji are written."""
    assert render.shown(text) == told


def test_a_table_is_drawn_on_a_terminal_and_plain_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Square brackets in a name are no markup; nothing acts in either form."""
    rows = [["[red]name[/red]", "1"], [EVIL_NAME, "22"]]
    render.table(["Name", "N"], rows, numbers=(1,))
    plain = capsys.readouterr().out
    drawn = Terminal()
    monkeypatch.setattr("sys.stdout", drawn)
    render.table(["Name", "N"], rows, numbers=(1,))

    assert plain.splitlines()[1].startswith("[red]name[/red]")
    assert plain.splitlines()[1].endswith("  1")
    assert "[red]name[/red]" in drawn.getvalue()
    for told in (plain, drawn.getvalue()):
        assert "\u202e" not in told
        assert "\x1b[31m" not in told


def test_symbols_are_grouped_for_reading_aloud() -> None:
    """However they were written before."""
    assert render.grouped("7GQ2M9KXT", 3) == "7GQ-2M9-KXT"
    assert render.grouped("7GQ-2M9-KXT", 3) == "7GQ-2M9-KXT"
