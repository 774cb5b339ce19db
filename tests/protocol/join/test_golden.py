"""A recorded join and link: one changed byte is another version of the protocol.

Everything but RSA's own randomness is injected, so the two sealed blobs are inputs.
"""

import json
import pathlib
from typing import Final

import pytest

from protocol.crypto import rsa_seal
from protocol.handshake import Frame
from protocol.link import LinkUp
from tests.harness.joining import Run, candidate, events_of, sponsor
from tests.harness.linking import LinkRun, dialler, listener

GOLDEN: Final = json.loads(
    pathlib.Path(__file__).with_name("golden_join.json").read_text(encoding="utf-8")
)
JOIN: Final = [Frame(entry["type"], bytes.fromhex(entry["body"])) for entry in GOLDEN["join"]]


def test_the_candidate_answers_the_recorded_sponsor_as_it_did() -> None:
    """J1, J3, J5 and J8, byte for byte."""
    machine = candidate()
    sent = []

    machine.start(now=0.0)
    for frame in JOIN:
        if frame.kind in {2, 4, 6, 7}:
            machine.receive_message(frame, now=0.0)
        sent += machine.messages_to_send()

    assert sent == [frame for frame in JOIN if frame.kind in {1, 3, 5, 8}]
    digits = {event.digits for event in events_of(machine) if hasattr(event, "digits")}
    assert digits == {GOLDEN["digits"]}


def test_the_sponsor_answers_the_recorded_candidate_as_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """J2, J4, J6 and J7, byte for byte, with the recorded seals."""
    seals = [bytes.fromhex(sealed) for sealed in GOLDEN["seals"]]
    monkeypatch.setattr(rsa_seal, "seal", lambda *_: seals.pop(0))

    run = Run(candidate(), sponsor()).drive()

    assert run.frames == JOIN
    assert seals == []


def test_a_link_is_made_as_it_was() -> None:
    """L1 to L4 and the key."""
    run = LinkRun(dialler(), listener()).drive()

    (up,) = run.events[0]
    assert isinstance(up, LinkUp)
    assert [frame.body.hex() for frame in run.frames] == GOLDEN["link"]
    assert up.link_key.reveal().hex() == GOLDEN["link_key"]
