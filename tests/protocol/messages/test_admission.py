from typing import Any

import msgspec
import pytest
from hypothesis import given

from protocol.codec import decode, encode
from protocol.errors import MalformedMessage
from protocol.messages.admission import AdmissionMessage
from tests.harness.strategies import messages

WISH = bytes(16)

GOOD: dict[str, dict[str, Any]] = {
    "session.candidate_waiting": {
        "proposal": WISH,
        "name": "laptop",
        "email": "",
        "digits": "4821 0937 5512",
        "asks": True,
    },
    "session.candidate_gone": {"proposal": WISH, "outcome": 12, "by": 1},
    "session.candidate_decided": {"proposal": WISH, "admitted": True},
    "session.tries_reported": {
        "total": 5,
        "source": "203.0.113.7",
        "wrong": 5,
        "pause": 60,
        "closed": False,
    },
    "session.joining_reopened": {},
}

BAD: list[tuple[str, dict[str, Any]]] = [
    ("session.candidate_waiting", {"proposal": bytes(15)}),
    ("session.candidate_waiting", {"name": ""}),
    ("session.candidate_waiting", {"name": "n" * 65}),
    ("session.candidate_waiting", {"digits": "482109375512"}),
    ("session.candidate_waiting", {"digits": "4821 0937 5512\n"}),
    ("session.candidate_waiting", {"asks": 1}),
    ("session.candidate_gone", {"outcome": 22}),
    ("session.candidate_gone", {"outcome": -1}),
    ("session.candidate_gone", {"by": 256}),
    ("session.candidate_decided", {"admitted": None}),
    ("session.tries_reported", {"total": -1}),
    ("session.tries_reported", {"source": "s" * 46}),
    ("session.tries_reported", {"pause": 3601}),
    ("session.tries_reported", {"closed": 1}),
]


@given(messages(AdmissionMessage))
def test_every_message_survives_the_wire(message: AdmissionMessage) -> None:
    """Drawn from the declarations."""
    assert decode(encode(message), AdmissionMessage) == message


@pytest.mark.parametrize("tag", GOOD)
def test_a_message_is_what_the_document_says(tag: str) -> None:
    """Its name and its fields, written out."""
    message = decode(msgspec.msgpack.encode({"type": tag, **GOOD[tag]}), AdmissionMessage)

    assert msgspec.to_builtins(message, builtin_types=(bytes,)) == {"type": tag, **GOOD[tag]}


@pytest.mark.parametrize(("tag", "change"), BAD)
def test_a_field_out_of_its_bounds_is_malformed(tag: str, change: dict[str, Any]) -> None:
    """With everything else right."""
    data = msgspec.msgpack.encode({"type": tag, **GOOD[tag], **change})

    with pytest.raises(MalformedMessage):
        decode(data, AdmissionMessage)
