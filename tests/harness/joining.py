"""A candidate and a sponsor of one session, and a wire between them that may lie."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from protocol.credentials import Secret, SessionId
from protocol.crypto.identity import NodeIdentity
from protocol.crypto.rsa_seal import CandidateKey
from protocol.errors import RemoteProtocolError
from protocol.handshake import Frame
from protocol.join.candidate import Candidate, CandidateEvent
from protocol.join.sponsor import Authenticated, Sponsor, SponsorEvent
from tests.harness.rsa_pairs import PAIR

SESSION: Final = SessionId.generate(lambda n: bytes(range(n)))
PRS: Final = Secret(b"p" * 32)
TAG_KEY: Final = Secret(b"t" * 32)
EXPORTER: Final = b"x" * 32
CANDIDATE_NODE: Final = NodeIdentity(Secret(b"c" * 32))
SPONSOR_NODE: Final = NodeIdentity(Secret(b"s" * 32))
EPOCH_KEY: Final = Secret(b"E" * 32)
COMMIT: Final = b"the commit"
ROSTER: Final = b"the roster"


def counting(label: str) -> Callable[[int], bytes]:
    """Random bytes that a test can repeat: every call gives others."""
    numbers = itertools.count()

    def random_bytes(size: int) -> bytes:
        return hashlib.shake_128(f"{label} {next(numbers)}".encode()).digest(size)

    return random_bytes


def candidate(
    *,
    session_id: SessionId = SESSION,
    prs: Secret = PRS,
    tag_key: Secret = TAG_KEY,
    exporter: bytes = EXPORTER,
    key: CandidateKey = PAIR,
    seed: str = "candidate",
    email: str = "anna@example.org",
) -> Candidate:
    return Candidate(
        session_id=session_id,
        prs=prs,
        tag_key=tag_key,
        exporter=exporter,
        key=key,
        node=CANDIDATE_NODE,
        name="Laptop",
        email=email,
        random_bytes=counting(seed),
    )


def sponsor(
    *,
    session_id: SessionId = SESSION,
    prs: Secret = PRS,
    tag_key: Secret = TAG_KEY,
    exporter: bytes = EXPORTER,
    seed: str = "sponsor",
    needs_approval: bool = False,
) -> Sponsor:
    return Sponsor(
        session_id=session_id,
        prs=prs,
        tag_key=tag_key,
        exporter=exporter,
        node=SPONSOR_NODE,
        index=2,
        name="Desktop",
        needs_approval=needs_approval,
        random_bytes=counting(seed),
    )


def events_of(machine: Candidate | Sponsor) -> Iterator[CandidateEvent | SponsorEvent]:
    while (event := machine.next_event()) is not None:
        yield event


@dataclass
class Run:
    """One join on a wire that *tamper* may change.

    Attributes:
        candidate_events: What the candidate reported.
        sponsor_events: What the sponsor reported.
        frames: Every frame as it was sent.
        broken: The error that ended it, if one did.
    """

    candidate: Candidate
    sponsor: Sponsor
    tamper: Callable[[Frame], Frame] = lambda frame: frame

    def __post_init__(self) -> None:
        self.candidate_events: list[CandidateEvent | SponsorEvent] = []
        self.sponsor_events: list[CandidateEvent | SponsorEvent] = []
        self.frames: list[Frame] = []
        self.broken: RemoteProtocolError | None = None

    def drive(self, *, now: float = 0.0) -> "Run":
        """Carry frames until nobody has any, admitting whoever is authenticated."""
        self.candidate.start(now=now)
        self.sponsor.start(now=now)
        return self.carry(now=now)

    def carry(self, *, now: float = 0.0) -> "Run":
        """The same for two sides that have started."""
        try:
            while self._step(now):
                pass
        except RemoteProtocolError as error:
            self.broken = error
        self._collect(now)
        return self

    def _collect(self, now: float) -> None:
        self.candidate_events += events_of(self.candidate)
        for event in events_of(self.sponsor):
            self.sponsor_events.append(event)
            if isinstance(event, Authenticated):
                self.sponsor.admit(EPOCH_KEY, 7, COMMIT, ROSTER, now=now)

    def _step(self, now: float) -> bool:
        self._collect(now)
        moved = False
        for source, target in (
            (self.candidate, self.sponsor),
            (self.sponsor, self.candidate),
        ):
            for frame in source.messages_to_send():
                moved = True
                self.frames.append(frame)
                target.receive_message(self.tamper(frame), now=now)
        return moved
