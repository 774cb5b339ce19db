from typing import get_args

from rendezvous.events import Event


def test_no_event_can_carry_a_name_of_a_session_or_a_peer() -> None:
    """Events go to logs and metrics as they are."""
    fields = {name for kind in get_args(Event) for name in kind.__annotations__}

    assert fields == {
        "expired", "request", "reason", "outcome", "seconds", "connection_id", "close_code",
    }  # fmt: skip
