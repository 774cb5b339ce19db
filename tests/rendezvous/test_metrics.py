from typing import Any, cast

import pytest

from protocol.endpoint.admission import Admission
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


class LostStore:
    """A store that failed."""

    failures = 4
    is_reached = False


@pytest.fixture
def metrics() -> Metrics:
    """Figures of an idle node."""
    broker: Any = IdleBroker()
    admission = Admission(retry=True, random_bytes=bytes)
    admission.challenged, admission.turned_away, admission.forged = 3, 2, 1
    return Metrics(cast("Any", broker), Reflector([]), admission, LostStore())


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
    assert 'quintet_rendezvous_initials{why="challenged"} 3.0' in lines
    assert 'quintet_rendezvous_initials{why="turned_away"} 2.0' in lines
    assert 'quintet_rendezvous_initials{why="forged"} 1.0' in lines
    assert "quintet_rendezvous_half_open 0.0" in lines
    assert "quintet_rendezvous_store_failures 4.0" in lines
    assert "quintet_rendezvous_store_up 0.0" in lines


def test_what_the_shell_closes_is_counted(metrics: Metrics) -> None:
    """Beside what the broker closes."""
    metrics.turned_away("too_many")

    line = 'quintet_rendezvous_connections_refused_total{reason="too_many"} 1.0'
    assert line in metrics.render().decode().splitlines()
