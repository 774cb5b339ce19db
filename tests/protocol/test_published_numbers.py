"""The numbers that PROTOCOL.md publishes are the ones the code sends."""

import enum
import pathlib
import re
from typing import Final

import pytest

from protocol.crypto.records import MAX_CIPHERTEXT, RecordType
from protocol.epochs import Reason
from protocol.errors import CloseCode, JoinOutcome
from protocol.handshake import FrameType
from protocol.join.dialog import OUTCOMES, Stage
from protocol.limits import FILE_CHUNK, MAX_JOIN_FRAME

TEXT: Final = (pathlib.Path(__file__).resolve().parents[2] / "protocol" / "PROTOCOL.md").read_text(
    encoding="utf-8"
)


def section(title: str) -> str:
    return re.split(r"^##+ ", TEXT.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def published(text: str) -> dict[int, str]:
    """The numbers between code marks, each with the capitals after it."""
    return {int(n): name for n, name in re.findall(r"`(\d+)`(?: \| | )([A-Z][A-Z_0-9]+)", text)}


def of(kinds: type[enum.IntEnum]) -> dict[int, str]:
    return {int(kind): kind.name for kind in kinds}


@pytest.mark.parametrize(
    ("title", "kinds"),
    [
        ("Frames", FrameType),
        ("Commits", Reason),
        ("Records", RecordType),
        ("Close codes", CloseCode),
    ],
)
def test_a_table_lists_every_member_of_its_enumeration(
    title: str, kinds: type[enum.IntEnum]
) -> None:
    """And no other."""
    assert published(section(title)) == of(kinds)


@pytest.mark.parametrize("stage", list(Stage))
def test_the_refusals_of_every_stage_are_published(stage: Stage) -> None:
    """A stranger reads there what may be said to it."""
    (row,) = [row for row in section("J_ERR").splitlines() if row.startswith(f"| `{stage:d}` ")]

    assert published(row.split("|", 3)[3]) == {
        int(outcome): outcome.name for outcome in OUTCOMES[stage]
    }
    assert set(OUTCOMES[stage]) <= set(JoinOutcome)


def test_the_published_sizes_are_the_bounds() -> None:
    """Where the text names a size, it is the limit's."""
    assert f"at most {MAX_JOIN_FRAME} bytes of body" in section("Frames")
    assert f"16 to {MAX_CIPHERTEXT} bytes" in section("Records")
    assert f"has {FILE_CHUNK} bytes before its" in section("Chunked file data")
