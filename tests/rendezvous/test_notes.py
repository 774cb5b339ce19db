import pytest

from rendezvous.notes import MAX_NOTE, Ask, Note, Told, decode_note, encode_note
from tests.harness.nodes import an_offer

ASK = Ask((b"i" * 16,), "ABCDEFGHJ", b"t" * 32, "0" * 16, an_offer())


@pytest.mark.parametrize("note", [ASK, Told(b"i" * 16, None), Told(b"i" * 16, an_offer(), 5)])
def test_a_note_survives_the_channel(note: Note) -> None:
    """Every field of it."""
    assert decode_note(encode_note(note)) == note


@pytest.mark.parametrize("data", [b"", b"\xff", encode_note(ASK) + b"\x00", bytes(MAX_NOTE + 1)])
def test_what_is_no_note_of_ours_counts_as_none(data: bytes) -> None:
    """Another version sent it, or somebody else."""
    assert decode_note(data) is None
