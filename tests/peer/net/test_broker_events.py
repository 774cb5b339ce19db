import dataclasses
from typing import get_args

import pytest

from peer.net import broker_events
from peer.net.broker_events import Event, Introduced, NodeDown, NodeUp, RegistrationLost
from peer.net.node_link import NodeAddress
from protocol.errors import NodeRefusal, NodeRefused
from protocol.messages.rendezvous import Address, Start
from tests.harness.nodes import an_offer

EXAMPLES: tuple[Event, ...] = (
    NodeUp(NodeAddress("node.example", 47555, ""), "ABCD", Address(bytes(4), 1)),
    NodeDown(),
    Introduced(
        "ABCDEFGHJ",
        an_offer(),
        Start(
            introduction_id=bytes(16),
            offer=an_offer(b"they"),
            observed=Address(bytes(4), 1),
            delay=0,
        ),
    ),
    RegistrationLost("ABCDEFGHJ", NodeRefused(NodeRefusal.NOT_FOUND)),
)


def test_the_union_holds_every_event_and_nothing_else() -> None:
    """Whoever matches all of it has matched all there is."""
    declared = {
        value
        for value in vars(broker_events).values()
        if isinstance(value, type) and value.__module__ == broker_events.__name__
    }

    assert declared == set(get_args(Event)) == {type(event) for event in EXAMPLES}


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_does_not_change_once_told(event: Event) -> None:
    """It may wait in a queue while its subject goes on."""
    for field in dataclasses.fields(event):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field.name, None)

    assert event == dataclasses.replace(event)
