from typing import Any, cast

import pytest

from protocol.errors import CloseCode, NodeRefusal
from rendezvous.events import (
    ConnectionRefused,
    Event,
    IntroductionEnded,
    MemberRests,
    MemberWoke,
    Outcome,
    RequestRefused,
    SessionEnded,
    SessionOpened,
)
from rendezvous.metrics import Metrics
from rendezvous.reflector import Reflector


class IdleBroker:
    """A broker with known figures."""

    sessions = 3
    members = 7
    resting = 5
    introducing = 2
    forged = 1


@pytest.fixture
def metrics() -> Metrics:
    """Figures of an idle node."""
    broker: Any = IdleBroker()
    return Metrics(cast("Any", broker), Reflector([]))


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (SessionOpened(), "sessions_opened_total 1.0"),
        (SessionEnded(expired=True), 'sessions_ended_total{how="expired"} 1.0'),
        (SessionEnded(expired=False), 'sessions_ended_total{how="left"} 1.0'),
        (
            RequestRefused("LookUp", NodeRefusal.THROTTLED),
            'refusals_total{reason="throttled",request="LookUp"} 1.0',
        ),
        (
            IntroductionEnded(Outcome.STARTED, 0.2),
            'introductions_total{result="started"} 1.0',
        ),
        (IntroductionEnded(Outcome.STARTED, 0.2), "introduction_seconds_count 1.0"),
        (MemberRests(1), 'rests_total{what="slept"} 1.0'),
        (MemberWoke(), 'rests_total{what="woke"} 1.0'),
        (
            ConnectionRefused(1, CloseCode.TIMEOUT),
            'connections_refused_total{reason="timeout"} 1.0',
        ),
    ],
)
def test_every_event_is_counted(metrics: Metrics, event: Event, line: str) -> None:
    """Under a name and labels that say nothing about who."""
    metrics.count(event)

    assert f"quintet_rendezvous_{line}" in metrics.render().decode().splitlines()


def test_sessions_and_datagrams_are_read_when_asked(metrics: Metrics) -> None:
    """They are somebody else's figures."""
    lines = metrics.render().decode().splitlines()

    assert "quintet_rendezvous_sessions 3.0" in lines
    assert "quintet_rendezvous_members 7.0" in lines
    assert "quintet_rendezvous_resting 5.0" in lines
    assert "quintet_rendezvous_introductions_pending 2.0" in lines
    assert "quintet_rendezvous_forged_datagrams 1.0" in lines
    assert 'quintet_rendezvous_discovery_datagrams{result="answered"} 0.0' in lines
