"""The sponsor's side."""

import sys

import pytest

from protocol import limits
from protocol.credentials import Secret
from protocol.crypto import join_keys
from protocol.crypto.transcript import lv, unlv
from protocol.errors import JoinOutcome, LocalProtocolError, RemoteProtocolError
from protocol.handshake import Frame, FrameType
from protocol.join.dialog import OUTCOMES, Failed, Stage
from protocol.join.sponsor import (
    TRANSITIONS,
    Admitted,
    Authenticated,
    Sponsor,
    SponsorState,
    TryCharged,
    TryUndone,
)
from tests.harness import joining
from tests.harness.joining import Run, candidate, events_of, sponsor

J1, J2, J3, J4, J5, J6, J7, J8 = (FrameType(number) for number in range(1, 9))
EPOCH = (joining.EPOCH_KEY, 7, joining.COMMIT, joining.ROSTER)


def stopped_at(kind: FrameType, **fields: object) -> Run:
    """A join whose frame of this type never arrives."""

    def tamper(frame: Frame) -> Frame:
        if frame.kind == kind:
            raise StopIteration
        return frame

    run = Run(candidate(), sponsor(**fields), tamper)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        run.drive()
    run.sponsor.messages_to_send()
    return run


def proven(**fields: object) -> Run:
    """A join that waits for its owner's decision."""
    run = stopped_at(J6, **fields)
    (event,) = [e for e in events_of(run.sponsor) if isinstance(e, Authenticated)]
    run.sponsor_events.append(event)
    return run


def outcome_of(machine: Sponsor) -> JoinOutcome | None:
    failures = [event.failure for event in events_of(machine) if isinstance(event, Failed)]
    return failures[0].outcome if failures else None


def test_an_honest_join_is_charged_undone_and_admitted() -> None:
    """In this order, with the candidate's identity in between."""
    run = Run(candidate(), sponsor()).drive()

    charged, undone, authenticated, admitted = run.sponsor_events
    assert charged == TryCharged()
    assert undone == TryUndone()
    assert isinstance(authenticated, Authenticated)
    assert authenticated.node_key == joining.CANDIDATE_NODE.node_key
    assert (authenticated.name, authenticated.email) == ("Laptop", "anna@example.org")
    assert admitted == Admitted()
    assert run.sponsor.state is SponsorState.ADMITTED
    assert run.sponsor.get_timer() is None


def test_a_wrong_password_stays_charged() -> None:
    """And so does a candidate that vanishes after J4."""
    wrong = Run(candidate(prs=Secret(b"q" * 32)), sponsor()).drive()
    vanished = stopped_at(J5)
    vanished._collect(0.0)

    assert [type(event) for event in wrong.sponsor_events] == [TryCharged, Failed]
    assert vanished.sponsor_events == [TryCharged()]


def test_a_stranger_to_the_session_id_hears_that_there_is_none() -> None:
    """In the clear, before any key was touched: nothing distinguishes it from a closed one."""
    run = Run(candidate(tag_key=Secret(b"u" * 32)), sponsor()).drive()

    (event,) = run.candidate_events
    assert isinstance(event, Failed)
    assert event.failure.outcome is JoinOutcome.NOT_FOUND
    assert run.frames[-1] == Frame(FrameType.J_ERR, b"\x00\x01\x00\x00\xff")
    assert [type(event) for event in run.sponsor_events] == [Failed]


def hello(**fields: bytes) -> bytes:
    machine = candidate()
    machine.start(now=0.0)
    ((_, body),) = machine.messages_to_send()
    names = ("versions", "suites", "tag", "nonce", "commitment", "spki")
    return lv(*(dict(zip(names, unlv(body, 6), strict=True)) | fields).values())


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"versions": b"\x02"}, JoinOutcome.VERSION),
        ({"suites": b"\x02\x03"}, JoinOutcome.VERSION),
        ({"versions": b"\x02\x01", "suites": b"\x01\x02"}, None),
        ({"tag": bytes(16)}, JoinOutcome.NOT_FOUND),
    ],
)
def test_offers_are_answered_with_the_version_both_speak_or_an_error(
    fields: dict[str, bytes], outcome: JoinOutcome | None
) -> None:
    """Newer candidates offer several; there is no fallback to what was not offered."""
    machine = sponsor()
    machine.start(now=0.0)

    machine.receive_message(Frame(J1, hello(**fields)), now=0.0)

    assert outcome_of(machine) is outcome
    assert machine.state is (SponsorState.SEEDED if outcome is None else SponsorState.CLOSED)


@pytest.mark.parametrize(
    "fields",
    [
        {"versions": b""},
        {"suites": b""},
        {"versions": b"\x01" * 17},
        {"suites": b"\x01" * 17},
        {"nonce": bytes(31)},
        {"spki": b""},
    ],
)
def test_a_malformed_hello_breaks_off(fields: dict[str, bytes]) -> None:
    """Without an answer."""
    machine = sponsor()
    machine.start(now=0.0)

    with pytest.raises(RemoteProtocolError):
        machine.receive_message(Frame(J1, hello(**fields)), now=0.0)

    assert machine.messages_to_send() == []


@pytest.mark.parametrize("outcome", sorted(OUTCOMES[Stage.CLEAR]))
def test_a_throttled_source_is_refused_before_its_hello_is_read(outcome: JoinOutcome) -> None:
    """The owner asked its throttle first."""
    run = Run(candidate(), sponsor())
    run.candidate.start(now=0.0)
    run.sponsor.start(now=0.0)

    run.sponsor.refuse(outcome, 30)

    (frame,) = run.sponsor.messages_to_send()
    run.candidate.receive_message(frame, now=0.0)
    (event,) = events_of(run.candidate)
    assert isinstance(event, Failed)
    assert event.failure.outcome is outcome
    assert event.failure.retry_after == 30


@pytest.mark.parametrize("outcome", sorted(OUTCOMES[Stage.RSA]))
@pytest.mark.parametrize("kind", [J3, J5])
def test_a_join_in_progress_can_be_refused(kind: FrameType, outcome: JoinOutcome) -> None:
    """Under the RSA channel's keys."""
    run = stopped_at(kind)

    run.sponsor.refuse(outcome, 99999)

    (frame,) = run.sponsor.messages_to_send()
    run.candidate.receive_message(frame, now=0.0)
    (event,) = events_of(run.candidate)
    assert isinstance(event, Failed)
    assert (event.failure.outcome, event.failure.retry_after) == (outcome, 65535)


@pytest.mark.parametrize("outcome", sorted(OUTCOMES[Stage.PROVEN]))
def test_a_proven_candidate_can_be_refused_with_the_true_reason(outcome: JoinOutcome) -> None:
    """Under the keys that need the password."""
    run = Run(candidate(), sponsor())
    run.candidate.start(now=0.0)
    run.sponsor.start(now=0.0)
    for _ in range(3):
        for frame in run.candidate.messages_to_send():
            run.sponsor.receive_message(frame, now=0.0)
        for frame in run.sponsor.messages_to_send():
            run.candidate.receive_message(frame, now=0.0)
    list(events_of(run.candidate))

    run.sponsor.refuse(outcome)

    (frame,) = run.sponsor.messages_to_send()
    run.candidate.receive_message(frame, now=0.0)
    (event,) = events_of(run.candidate)
    assert isinstance(event, Failed)
    assert event.failure.outcome is outcome


def test_what_must_not_be_said_yet_is_a_local_error() -> None:
    """FULL before the proof would tell a stranger something."""
    machine = sponsor()
    machine.start(now=0.0)

    with pytest.raises(LocalProtocolError):
        machine.refuse(JoinOutcome.FULL)
    machine.refuse(JoinOutcome.PAUSED)
    with pytest.raises(LocalProtocolError):
        machine.refuse(JoinOutcome.PAUSED)


def test_only_a_proven_candidate_is_admitted() -> None:
    """At no other time."""
    run = stopped_at(J5)

    with pytest.raises(LocalProtocolError):
        run.sponsor.admit(*EPOCH, now=0.0)


def test_a_welcome_that_exceeds_a_frame_is_a_local_error() -> None:
    """The candidate would refuse it unread."""
    run = proven()

    with pytest.raises(LocalProtocolError):
        run.sponsor.admit(joining.EPOCH_KEY, 7, bytes(limits.MAX_JOIN_FRAME), b"", now=0.0)


def test_while_people_decide_the_candidate_is_kept_company() -> None:
    """Every 5 seconds a sign of life; after two minutes the answer is TIMEOUT."""
    run = proven(needs_approval=True)
    machine = run.sponsor
    signs = 0
    now = 0.0
    while machine.state is SponsorState.PROVEN:
        timer = machine.get_timer()
        assert timer is not None
        assert timer > now
        now = timer
        machine.handle_timer(now=now - 0.001)
        assert machine.messages_to_send() == []
        machine.handle_timer(now=now)
        signs += sum(frame.kind == FrameType.PENDING for frame in machine.messages_to_send())

    assert signs == 23
    assert now == limits.APPROVAL_TIMEOUT
    assert outcome_of(machine) is JoinOutcome.TIMEOUT
    assert machine.get_timer() is None


@pytest.mark.parametrize("kind", [J1, J3, J5])
def test_ten_seconds_without_a_proof_end_the_join(kind: FrameType) -> None:
    """In the clear nothing is said; later TIMEOUT is, sealed."""
    run = stopped_at(kind)

    run.sponsor.handle_timer(now=limits.STEP_TIMEOUT)

    assert outcome_of(run.sponsor) is JoinOutcome.TIMEOUT
    assert run.sponsor.state is SponsorState.CLOSED
    assert len(run.sponsor.messages_to_send()) == (kind is not J1)


def test_a_candidate_that_does_not_answer_its_welcome_is_reported() -> None:
    """It is a member that went silent: the commit stands, so no error is sent."""
    run = proven()
    run.sponsor.admit(*EPOCH, now=5.0)
    run.sponsor.messages_to_send()

    assert run.sponsor.get_timer() == 5.0 + limits.STEP_TIMEOUT
    run.sponsor.handle_timer(now=5.0 + limits.STEP_TIMEOUT)

    assert outcome_of(run.sponsor) is JoinOutcome.TIMEOUT
    assert run.sponsor.messages_to_send() == []


@pytest.mark.parametrize(
    "content",
    [
        lv(bytes(32), b"candidate"),
        lv(b"\x09" + bytes(31), b"sponsor\x02"),
        lv(b"\x09" + bytes(30), b"candidate"),
    ],
)
def test_a_share_of_small_order_or_of_another_role_is_refused(content: bytes) -> None:
    """Nothing is charged: J4 did not go out."""
    run = stopped_at(J3)
    seen = run.sponsor._seen
    body = join_keys.seal(seen.rsa.to_sponsor, 0, seen.t1 + bytes([J3]), content)

    with pytest.raises(RemoteProtocolError):
        run.sponsor.receive_message(Frame(J3, body), now=0.0)

    assert list(events_of(run.sponsor)) == []


@pytest.mark.parametrize("change", ["key", "name", "email", "commitment", "signature"])
def test_a_candidate_that_proved_the_password_must_prove_its_key_too(change: str) -> None:
    """And open what it committed to; the try stays charged."""
    run = stopped_at(J5)
    list(events_of(run.sponsor))
    seen = run.sponsor._seen
    mac_c, sealed = unlv(run.frames[-1].body, 2)
    aad = seen.t2 + mac_c + bytes([J5])
    names = ("key", "name", "email", "commitment", "signature")
    values = unlv(join_keys.unseal(seen.proof.to_sponsor, 0, aad, sealed), 5)
    fields = dict(zip(names, values, strict=True))
    fields[change] = {
        "key": joining.SPONSOR_NODE.node_key,
        "name": b"",
        "email": b"\xff",
        "commitment": bytes(16),
        "signature": bytes(64),
    }[change]
    body = lv(mac_c, join_keys.seal(seen.proof.to_sponsor, 0, aad, lv(*fields.values())))

    with pytest.raises(RemoteProtocolError):
        run.sponsor.receive_message(Frame(J5, body), now=0.0)

    assert list(events_of(run.sponsor)) == []


def test_a_wrong_answer_to_the_welcome_is_refused() -> None:
    """Well sealed, of another key."""
    run = stopped_at(J8)
    seen = run.sponsor._seen
    list(events_of(run.sponsor))
    body = join_keys.seal(seen.proof.to_sponsor, 1, seen.t2 + bytes([J8]), bytes(32))

    with pytest.raises(RemoteProtocolError):
        run.sponsor.receive_message(Frame(J8, body), now=0.0)

    assert list(events_of(run.sponsor)) == []


def test_a_candidate_cannot_send_errors() -> None:
    """It closes the connection instead."""
    for kind in (J1, J3, J5, J8):
        run = stopped_at(kind)
        with pytest.raises(RemoteProtocolError):
            run.sponsor.receive_message(Frame(FrameType.J_ERR, b"\x00\x10\x00\x00\xff"), now=0.0)


def test_the_drawing_shows_every_state_and_frame_of_the_table() -> None:
    """What stands in the module's text is what runs."""
    drawing = sys.modules[Sponsor.__module__].__doc__ or ""

    for (before, kind), after in TRANSITIONS.items():
        assert all(name in drawing for name in (before.name, kind.name, after.name))
