import msgspec
import pytest

from peer.session.session_settings import Analysis, SessionSettings
from peer.session.start import Start, statement
from protocol.messages.session import Order, SynchronisationOrdered

ORDERED = SynchronisationOrdered(
    order=Order(epoch=2, leader=0, sequence=5),
    sync=b"s" * 16,
    revision=3,
    reference_time_ns=-1,
    steps=7,
    steps_digest=b"d" * 32,
    signature=bytes(64),
)
SIGNED = statement(ORDERED, SessionSettings(), b"rules")


@pytest.mark.parametrize(
    "change",
    [
        {"order": Order(epoch=3, leader=0, sequence=5)},
        {"order": Order(epoch=2, leader=1, sequence=5)},
        {"order": Order(epoch=2, leader=0, sequence=6)},
        {"sync": b"t" * 16},
        {"revision": 4},
        {"reference_time_ns": 1},
        {"steps": 8},
        {"steps_digest": b"e" * 32},
    ],
)
def test_the_signature_covers_every_field(change: dict[str, object]) -> None:
    """Two orders that differ anywhere have two statements."""
    changed = msgspec.structs.replace(ORDERED, **change)

    assert statement(changed, SessionSettings(), b"rules") != SIGNED


def test_the_signature_covers_settings_and_decisions() -> None:
    """Members that hold others would compute another plan."""
    other = SessionSettings(analysis=Analysis.CHECKSUM)

    assert statement(ORDERED, other, b"rules") != SIGNED
    assert statement(ORDERED, SessionSettings(), b"") != SIGNED


def test_the_signature_does_not_cover_itself() -> None:
    """It is made over the rest."""
    signed = msgspec.structs.replace(ORDERED, signature=b"x" * 64)

    assert statement(signed, SessionSettings(), b"rules") == SIGNED


def test_a_start_is_agreed_when_all_who_are_still_there_accept() -> None:
    """Who left is not waited for; who came later was not asked."""
    start = Start(0, b"s" * 16, b"d" * 32, frozenset({0, 1, 2}), {0, 1})

    assert not start.is_agreed(frozenset({0, 1, 2}))
    assert start.is_agreed(frozenset({0, 1}))
    assert start.is_agreed(frozenset({0, 1, 7}))
