"""The candidate's side."""

import hashlib
import sys

import pytest

from protocol import limits
from protocol.credentials import Secret
from protocol.crypto import join_keys, password, rsa_seal
from protocol.crypto.transcript import lv, unlv
from protocol.errors import JoinFailed, JoinOutcome, LocalProtocolError, RemoteProtocolError
from protocol.handshake import Frame, FrameType
from protocol.join.candidate import (
    TRANSITIONS,
    Candidate,
    CandidateState,
    SponsorAuthenticated,
    Welcomed,
)
from protocol.join.dialog import OUTCOMES, Failed, Stage
from protocol.join.sponsor import Authenticated
from tests.harness import joining
from tests.harness.joining import Run, candidate, sponsor
from tests.harness.rsa_pairs import PAIR

J1, J2, J3, J4, J5, J6, J7, J8 = (FrameType(number) for number in range(1, 9))


def failure(run: Run) -> JoinFailed:
    (event,) = [event for event in run.candidate_events if isinstance(event, Failed)]
    return event.failure


def stopped_at(kind: FrameType) -> tuple[Candidate, Run]:
    """A join whose frame of this type never arrives, and its candidate."""
    lost = []

    class Lost(Exception):
        """Ends the run where the frame would arrive."""

    def tamper(frame: Frame) -> Frame:
        if frame.kind == kind:
            lost.append(frame)
            raise Lost
        return frame

    run = Run(candidate(), sponsor(), tamper)
    with pytest.raises(Lost):
        run.drive()
    run._collect(0.0)
    return run.candidate, run


def test_an_honest_join_ends_with_the_session_key() -> None:
    """Eight frames; both sides know each other, and show the same digits."""
    run = Run(candidate(), sponsor()).drive()

    authenticated, welcomed = run.candidate_events
    assert isinstance(authenticated, SponsorAuthenticated)
    assert authenticated.node_key == joining.SPONSOR_NODE.node_key
    assert (authenticated.name, authenticated.index) == ("Desktop", 2)
    assert not authenticated.needs_approval
    assert welcomed == Welcomed(joining.EPOCH_KEY, 7, joining.COMMIT, joining.ROSTER)
    (digits,) = {e.digits for e in run.sponsor_events if isinstance(e, Authenticated)}
    assert authenticated.digits == digits
    assert [len(group) for group in digits.split(" ")] == [4, 4, 4]
    assert [frame.kind for frame in run.frames] == [J1, J2, J3, J4, J5, J6, J7, J8]
    assert run.candidate.state is CandidateState.JOINED
    assert run.candidate.get_timer() is None


def test_a_whole_join_is_small() -> None:
    """Under two kilobytes and a half, commit and roster aside."""
    run = Run(candidate(), sponsor()).drive()

    assert sum(len(frame.body) for frame in run.frames) < 2500


def test_nothing_secret_travels_in_the_clear() -> None:
    """Neither the ID, nor names, nor node keys, nor anything of the password."""
    run = Run(candidate(), sponsor()).drive()
    wire = b"".join(frame.body for frame in run.frames)

    for secret in (
        joining.SESSION.encoded,
        joining.PRS.reveal(),
        joining.TAG_KEY.reveal(),
        joining.EPOCH_KEY.reveal(),
        joining.CANDIDATE_NODE.node_key,
        joining.SPONSOR_NODE.node_key,
        b"Laptop",
        b"Desktop",
        b"anna@example.org",
        joining.ROSTER,
    ):
        assert secret not in wire


def test_a_wrong_password_is_told_with_the_tries_left() -> None:
    """The candidate learns it under the RSA channel's keys; it never tries by itself."""
    run = Run(candidate(prs=Secret(b"q" * 32)), sponsor())
    run.sponsor.charged(3, 30)

    run.drive()

    assert failure(run).outcome is JoinOutcome.WRONG_PASSWORD
    assert failure(run).params == {"retry_after": 30, "tries_left": 3}
    assert run.frames[-1].kind == FrameType.J_ERR
    assert run.candidate.messages_to_send() == []
    assert run.candidate.state is CandidateState.FAILED


def test_a_sponsor_without_the_password_is_an_impostor() -> None:
    """It takes any MAC_c, but its own cannot be right."""

    def believe(frame: Frame) -> Frame:
        return Frame(J6, lv(bytes(32), b"")) if frame.kind == FrameType.J_ERR else frame

    run = Run(candidate(), sponsor(prs=Secret(b"q" * 32)), believe).drive()

    assert failure(run).outcome is JoinOutcome.IMPOSTOR
    assert not any(isinstance(event, SponsorAuthenticated) for event in run.candidate_events)


@pytest.mark.parametrize("kind", [J2, J4, J6])
def test_ten_seconds_without_a_proof_end_the_join(kind: FrameType) -> None:
    """Counted from J1, whatever came in between."""
    machine, run = stopped_at(kind)
    assert machine.get_timer() == limits.STEP_TIMEOUT

    machine.handle_timer(now=limits.STEP_TIMEOUT - 0.1)
    early = machine.next_event()
    machine.handle_timer(now=limits.STEP_TIMEOUT)
    run._collect(0.0)

    assert early is None
    assert failure(run).outcome is JoinOutcome.TIMEOUT
    assert machine.get_timer() is None


@pytest.mark.parametrize(
    ("needs_approval", "wait"),
    [(False, limits.ADMISSION_TIMEOUT), (True, limits.APPROVAL_TIMEOUT)],
)
def test_the_wait_for_admission_is_longer_where_a_person_decides(
    needs_approval: bool, wait: float
) -> None:
    """60 or 120 seconds after J6."""
    run = Run(candidate(), sponsor(needs_approval=needs_approval), drop_admission)

    with pytest.raises(StopIteration):
        run.drive()

    run._collect(0.0)
    assert run.candidate.get_timer() == wait
    (event,) = run.candidate_events
    assert isinstance(event, SponsorAuthenticated)
    assert event.needs_approval is needs_approval


def drop_admission(frame: Frame) -> Frame:
    if frame.kind == J7:
        raise StopIteration
    return frame


def test_signs_of_life_are_taken_in_their_order_only() -> None:
    """A repeated one is no sign of life."""
    machine, run = stopped_at(J7)
    signs = []
    seen = machine._seen
    for use in (2, 3):
        aad = seen.t2 + bytes([FrameType.PENDING])
        body = join_keys.seal(seen.proof.to_candidate, use, aad, b"")
        signs.append(Frame(FrameType.PENDING, body))

    for sign in signs:
        machine.receive_message(sign, now=1.0)

    assert machine.state is CandidateState.WAITING
    with pytest.raises(RemoteProtocolError):
        machine.receive_message(signs[1], now=2.0)
    assert run.candidate.state is CandidateState.FAILED


def test_a_sign_of_life_has_no_content() -> None:
    """There is nothing it could say."""
    machine, _ = stopped_at(J7)
    seen = machine._seen
    aad = seen.t2 + bytes([FrameType.PENDING])
    body = join_keys.seal(seen.proof.to_candidate, 2, aad, b"?")

    with pytest.raises(RemoteProtocolError):
        machine.receive_message(Frame(FrameType.PENDING, body), now=1.0)


def error_frame(machine: Candidate, stage: Stage, content: bytes) -> Frame:
    """A J_ERR as a sponsor would seal it at this stage."""
    seen = machine._seen
    if stage is not Stage.CLEAR:
        key, transcript = {
            Stage.RSA: (seen.rsa.to_candidate, seen.t1),
            Stage.PROVEN: (seen.proof.to_candidate, seen.t2),
        }[stage]
        aad = transcript + bytes([FrameType.J_ERR])
        content = join_keys.seal(key, 2**32, aad, content)
    return Frame(FrameType.J_ERR, bytes([stage]) + content)


PLACES = [(J2, Stage.CLEAR), (J4, Stage.RSA), (J6, Stage.RSA), (J7, Stage.PROVEN)]


@pytest.mark.parametrize(("kind", "stage"), PLACES)
@pytest.mark.parametrize("outcome", list(JoinOutcome))
def test_every_refusal_is_believed_at_its_stage_only(
    kind: FrameType, stage: Stage, outcome: JoinOutcome
) -> None:
    """LOCKED or FULL before the proof is no answer of a sponsor."""
    machine, run = stopped_at(kind)
    frame = error_frame(machine, stage, bytes([outcome]) + b"\x00\x1e\xff")

    if outcome in OUTCOMES[stage]:
        machine.receive_message(frame, now=1.0)
        run._collect(1.0)
        assert failure(run).outcome is outcome
        assert failure(run).params == {"retry_after": 30}
    else:
        with pytest.raises(RemoteProtocolError):
            machine.receive_message(frame, now=1.0)
    assert machine.state is CandidateState.FAILED


@pytest.mark.parametrize(("kind", "stage"), PLACES)
def test_a_refusal_of_another_stage_or_size_is_none(kind: FrameType, stage: Stage) -> None:
    """In the clear after J2, sealed with another key, cut off, too long, altered."""
    contents = [b"\x05\x00\x1e", b"\x05\x00\x1e\xff\x00", b"\x63\x00\x1e\xff", b""]
    for content in contents:
        machine, _ = stopped_at(kind)
        with pytest.raises(RemoteProtocolError):
            machine.receive_message(error_frame(machine, stage, content), now=1.0)
    for other in Stage:
        machine, _ = stopped_at(kind)
        frame = error_frame(machine, stage, b"\x0f\x00\x1e\xff")
        with pytest.raises(RemoteProtocolError):
            machine.receive_message(
                Frame(frame.kind, bytes([other]) + frame.body[1:] + b"\x00"), now=1.0
            )


def seeded(version: bytes, suite: bytes, nonce: bytes, content: bytes) -> bytes:
    sealed = rsa_seal.seal(rsa_seal.read_spki(PAIR.spki), content, rsa_seal.SEED)
    return lv(version, suite, nonce, sealed)


@pytest.mark.parametrize(
    "fields",
    [
        {"version": b"\x02"},
        {"suite": b"\x02"},
        {"version": b""},
        {"nonce": bytes(31)},
        {"content": bytes(64)},
        {"content": bytes(32)},
    ],
)
def test_a_seed_for_another_hello_or_version_is_refused(fields: dict[str, bytes]) -> None:
    """Well sealed, and still not an answer to this J1."""
    machine = candidate()
    machine.start(now=0.0)
    ((_, j1),) = machine.messages_to_send()
    good = {
        "version": b"\x01",
        "suite": b"\x01",
        "nonce": bytes(32),
        "content": bytes(32) + join_keys.hello_digest(j1),
    }
    accepted = candidate()
    accepted.start(now=0.0)

    accepted.receive_message(Frame(J2, seeded(**good)), now=0.0)

    assert accepted.state is CandidateState.SHARE
    with pytest.raises(RemoteProtocolError):
        machine.receive_message(Frame(J2, seeded(**good | fields)), now=0.0)


@pytest.mark.parametrize(
    "content",
    [
        lv(bytes(32), b"sponsor\x02", bytes(16)),
        lv(b"\x09" + bytes(31), b"candidate", bytes(16)),
        lv(b"\x09" + bytes(31), b"", bytes(16)),
        lv(b"\x09" + bytes(31), b"sponsor\x02", bytes(15)),
        lv(b"\x09" + bytes(30), b"sponsor\x02", bytes(16)),
    ],
)
def test_a_share_of_small_order_or_of_another_role_is_refused(content: bytes) -> None:
    """By somebody who owns the RSA channel."""
    machine, _ = stopped_at(J4)
    seen = machine._seen
    body = join_keys.seal(seen.rsa.to_candidate, 0, seen.t1 + bytes([J4]), content)

    with pytest.raises(RemoteProtocolError):
        machine.receive_message(Frame(J4, body), now=1.0)


@pytest.mark.parametrize("change", ["signature", "name", "approval", "key"])
def test_a_sponsor_that_proved_the_password_must_prove_its_key_too(change: str) -> None:
    """A member cannot pass for another one."""
    machine, run = stopped_at(J6)
    seen = run.sponsor._seen
    mac_s, sealed = unlv(run.frames[-1].body, 2)
    aad = seen.t2 + mac_s + bytes([J6])
    key, name, signature, approval = unlv(
        join_keys.unseal(seen.proof.to_candidate, 0, aad, sealed), 4
    )
    fields = {"key": key, "name": name, "signature": signature, "approval": approval}
    wrong = {"key": joining.CANDIDATE_NODE.node_key, "name": b"", "approval": b""}
    fields[change] = wrong.get(change, bytes(64))
    body = lv(mac_s, join_keys.seal(seen.proof.to_candidate, 0, aad, lv(*fields.values())))

    with pytest.raises(RemoteProtocolError):
        machine.receive_message(Frame(J6, body), now=1.0)

    assert run.candidate_events == []


@pytest.mark.parametrize("change", ["roster", "t2", "length", "pair"])
def test_a_welcome_binds_roster_and_transcript(change: str) -> None:
    """Also against a sponsor's own mistake: the roster is the one the sealed digest names."""
    machine, run = stopped_at(J7)
    seen = machine._seen
    digest = hashlib.sha256(joining.ROSTER).digest()
    secret = {
        "roster": bytes(40) + bytes(32) + seen.t2,
        "t2": bytes(40) + digest + bytes(32),
        "length": bytes(40) + digest + seen.t2 + b"\x00",
        "pair": bytes(40) + digest + seen.t2,
    }[change]
    label = rsa_seal.SEED if change == "pair" else rsa_seal.WELCOME
    sealed = rsa_seal.seal(rsa_seal.read_spki(PAIR.spki), secret, label)
    content = lv(sealed, joining.COMMIT, joining.ROSTER)
    body = join_keys.seal(seen.proof.to_candidate, 1, seen.t2 + bytes([J7]), content)

    with pytest.raises(RemoteProtocolError):
        machine.receive_message(Frame(J7, body), now=1.0)

    assert not any(isinstance(event, Welcomed) for event in run.candidate_events)


def test_a_join_starts_once() -> None:
    """Fresh nonces need a fresh machine."""
    machine = candidate()
    machine.start(now=0.0)

    with pytest.raises(LocalProtocolError):
        machine.start(now=0.0)
    assert candidate().get_timer() is None
    candidate().handle_timer(now=99.0)


def test_the_hello_shows_only_what_it_must() -> None:
    """Version, suite, tag, nonce, commitment and RSA key."""
    machine = candidate()
    machine.start(now=0.0)

    ((kind, body),) = machine.messages_to_send()

    versions, suites, tag, nonce, commitment, spki = unlv(body, 6)
    assert (kind, versions, suites) == (J1, b"\x01", b"\x01")
    assert tag == password.join_tag(joining.TAG_KEY, nonce)
    assert len(commitment) == 32
    assert spki == PAIR.spki


def test_the_drawing_shows_every_state_and_frame_of_the_table() -> None:
    """What stands in the module's text is what runs."""
    drawing = sys.modules[Candidate.__module__].__doc__ or ""

    for (before, kind), after in TRANSITIONS.items():
        assert all(name in drawing for name in (before.name, kind.name, after.name))
