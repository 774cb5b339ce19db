"""What requests carry is bounded, and a secret in it does not show."""

from typing import Any

import msgspec
import pytest

from peer.web import bodies
from peer.web.bodies import Join
from tests.harness.fake_peer import INVITATION, PASSWORD


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (bodies.StateQuery, {"wait": "31"}),
        (bodies.ComparisonQuery, {"limit": "10001"}),
        (bodies.ComparisonQuery, {"offset": "-1"}),
        (bodies.Entry, {"via_port": 0}),
        (bodies.Start, {"sources": ["x"] * 1001}),
        (bodies.AddSource, {"path": "x" * 4097}),
        (bodies.Nothing, {"anything": 1}),
        (bodies.Launch, {}),
    ],
)
def test_what_is_out_of_bounds_is_no_body(kind: type[Any], value: dict[str, object]) -> None:
    """The bounds stand in the declaration."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, kind, strict=False)


def test_a_password_never_shows_in_a_requests_repr() -> None:
    """A body may end up in a traceback."""
    assert PASSWORD not in repr(Join(password=PASSWORD, invitation=INVITATION))
