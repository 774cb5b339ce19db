"""What both sides of a join share."""

import pytest

from protocol.errors import JoinOutcome, MalformedMessage
from protocol.join.dialog import OUTCOMES, Stage, Transcript, read_name, sized

LOCKED_DOORS = {
    JoinOutcome.FULL,
    JoinOutcome.LOCKED,
    JoinOutcome.REMOVED,
    JoinOutcome.ALREADY_IN,
}


def test_who_did_not_prove_the_password_learns_nothing_about_the_session() -> None:
    """That it is full, locked, or knows this device is said after the proof only."""
    assert OUTCOMES[Stage.PROVEN] >= LOCKED_DOORS
    assert not LOCKED_DOORS & (OUTCOMES[Stage.CLEAR] | OUTCOMES[Stage.RSA])


def test_a_name_has_1_to_64_characters() -> None:
    """Checked before it reaches a screen."""
    assert read_name(b"Laptop") == "Laptop"
    for data in (b"", b"n" * 65, b"a\x1bb"):
        with pytest.raises(MalformedMessage):
            read_name(data)


def test_a_field_has_exactly_its_size() -> None:
    """Neither more nor less."""
    assert sized(b"ab", 2) == b"ab"
    with pytest.raises(MalformedMessage):
        sized(b"ab", 3)


def test_a_transcript_shows_nothing() -> None:
    """It holds the seed and the scalar."""
    transcript = Transcript(seed=b"SEED", scalar=b"SCALAR", nonce_c=b"c", nonce_s=b"s")

    assert "SEED" not in repr(transcript)
    assert "SCALAR" not in repr(transcript)
    assert transcript.sid == b"cs"
