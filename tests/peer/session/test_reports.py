import dataclasses
from typing import get_args

import pytest

from peer.session.reports import LifecycleEvent, MembershipEvent

EVENTS = [*get_args(MembershipEvent), *get_args(LifecycleEvent)]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_a_value_with_a_sentence(event: type) -> None:
    """Owners compare, keep and log them; nobody changes one."""
    assert dataclasses.is_dataclass(event)
    assert event.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (event.__doc__ or "").endswith(".")


def test_no_event_belongs_to_both_machines() -> None:
    """The owner tells by the kind whom it comes from."""
    assert len(set(EVENTS)) == len(EVENTS)
