from peer.net.pace import Pace
from peer.net.rest import REPEATS
from rendezvous.broker import KEEPALIVE_INTERVAL

BACK_WITHIN = 15.0
"""Seconds after a crash of the node within which its members are back (node.md, section 2)."""


def test_a_member_is_back_within_fifteen_seconds_of_a_crash() -> None:
    """With a connection or at rest: the time to notice and one pause fit."""
    pace = Pace()
    connected = pace.silence + pace.first_delay
    at_rest = KEEPALIVE_INTERVAL - REPEATS[0] + sum(REPEATS) + pace.first_delay

    assert connected < BACK_WITHIN
    assert at_rest < BACK_WITHIN
