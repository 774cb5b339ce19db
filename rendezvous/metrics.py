"""What the operator sees in numbers: no session, no address stands in a label."""

from typing import Protocol, assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from protocol.endpoint.admission import Admission
from rendezvous.broker import Broker
from rendezvous.events import (
    ConnectionRefused,
    Event,
    IntroductionEnded,
    MemberRests,
    MemberWoke,
    RequestRefused,
    SessionEnded,
    SessionOpened,
)
from rendezvous.reflector import Reflector


class StoreHealth(Protocol):
    """What is shown of the store."""

    failures: int
    is_reached: bool


class Metrics:
    """The figures of one node, in a registry of their own.

    Args:
        broker: Asked for sessions and members whenever the figures are read.
        reflector: Asked for answers.
        admission: Asked who was not let in.
        store: Asked how often the store failed.
    """

    def __init__(
        self, broker: Broker, reflector: Reflector, admission: Admission, store: StoreHealth
    ) -> None:
        self._admission = admission
        self._store = store
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        prefix = "quintet_rendezvous"
        self._broker = broker
        self._reflector = reflector
        self._sessions = Gauge(f"{prefix}_sessions", "Sessions known.", registry=registry)
        self._members = Gauge(f"{prefix}_members", "Members connected.", registry=registry)
        self._discovery = Gauge(
            f"{prefix}_discovery_datagrams",
            "Address discovery datagrams since the start.",
            ["result"],
            registry=registry,
        )
        self.connections = Gauge(
            f"{prefix}_connections", "Connections served now.", registry=registry
        )
        self._opened = Counter(
            f"{prefix}_sessions_opened", "Sessions registered.", registry=registry
        )
        self._ended = Counter(
            f"{prefix}_sessions_ended", "Sessions forgotten.", ["how"], registry=registry
        )
        self._refused = Counter(
            f"{prefix}_refusals", "Requests refused.", ["request", "reason"], registry=registry
        )
        self._closed = Counter(
            f"{prefix}_connections_refused",
            "Connections closed by the node.",
            ["reason"],
            registry=registry,
        )
        self._introductions = Counter(
            f"{prefix}_introductions", "Introductions by result.", ["result"], registry=registry
        )
        self._rests = Counter(
            f"{prefix}_rests",
            "Members that rested or woke.",
            ["what"],
            registry=registry,
        )
        self._resting = Gauge(f"{prefix}_resting", "Members at rest.", registry=registry)
        self._introducing = Gauge(
            f"{prefix}_introductions_pending", "Introductions not answered yet.", registry=registry
        )
        self._forged = Gauge(
            f"{prefix}_forged_datagrams",
            "Keepalives nobody sent.",
            registry=registry,
        )
        self._initials = Gauge(
            f"{prefix}_initials", "First packets not let in.", ["why"], registry=registry
        )
        self._half_open = Gauge(
            f"{prefix}_half_open", "Connections that have not greeted.", registry=registry
        )
        self._store_failures = Gauge(
            f"{prefix}_store_failures", "Times the store did not answer.", registry=registry
        )
        self._store_up = Gauge(f"{prefix}_store_up", "Whether it did last.", registry=registry)
        self._latency = Histogram(
            f"{prefix}_introduction_seconds",
            "From the look-up to the start or its failure.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0),
            registry=registry,
        )

    def count(self, event: Event) -> None:
        """Count one event of the broker."""
        match event:
            case SessionOpened():
                self._opened.inc()
            case SessionEnded(expired=expired):
                self._ended.labels("expired" if expired else "left").inc()
            case RequestRefused(request=request, reason=reason):
                self._refused.labels(request, reason.value).inc()
            case IntroductionEnded(outcome=outcome, seconds=seconds):
                self._introductions.labels(outcome.value).inc()
                self._latency.observe(seconds)
            case ConnectionRefused(close_code=close_code):
                self._closed.labels(close_code.name.lower()).inc()
            case MemberRests():
                self._rests.labels("slept").inc()
            case MemberWoke():
                self._rests.labels("woke").inc()
            case _:
                assert_never(event)

    def turned_away(self, reason: str) -> None:
        """Count a connection the shell closed."""
        self._closed.labels(reason).inc()

    def render(self) -> bytes:
        """Return all figures in the text format of Prometheus."""
        self._sessions.set(self._broker.sessions)
        self._members.set(self._broker.members)
        self._resting.set(self._broker.resting)
        self._introducing.set(self._broker.introducing)
        self._forged.set(self._broker.forged)
        self._initials.labels("challenged").set(self._admission.challenged)
        self._initials.labels("turned_away").set(self._admission.turned_away)
        self._initials.labels("forged").set(self._admission.forged)
        self._half_open.set(self._admission.unauthenticated)
        self._store_failures.set(self._store.failures)
        self._store_up.set(self._store.is_reached)
        self._discovery.labels("answered").set(self._reflector.answered)
        self._discovery.labels("dropped").set(self._reflector.dropped)
        return generate_latest(self._registry)
