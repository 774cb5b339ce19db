import dataclasses
from typing import get_args

import pytest

from peer.net.broker_events import Event, RegistrationLost
from protocol.errors import NodeRefusal, NodeRefused


def test_no_event_carries_a_token() -> None:
    """Events reach logs and views; tokens stay in the client."""
    fields = {field.name for kind in get_args(Event) for field in dataclasses.fields(kind)}

    assert fields == {
        "node", "fingerprint", "observed", "session_id", "own", "start", "error",
    }  # fmt: skip


def test_an_event_does_not_change() -> None:
    """It may be handed to several owners."""
    event = RegistrationLost("ABCDEFGHJ", NodeRefused(NodeRefusal.BAD_TOKEN))

    with pytest.raises(dataclasses.FrozenInstanceError):
        event.session_id = "000000000"  # type: ignore[misc]
