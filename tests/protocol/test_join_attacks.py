"""Whoever stands between candidate and sponsor, or at one end of them.

The harness that refuses is run against deliberately weakened builds as well: if somebody in
the middle did not succeed there, the tests would be blind.
"""

import copy
import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.credentials import Secret, SessionId
from protocol.crypto import cpace, join_keys, rsa_seal
from protocol.crypto.rsa_seal import CandidateKey
from protocol.crypto.transcript import digest, expand, lv, unlv
from protocol.errors import JoinOutcome, RemoteProtocolError, SealBroken
from protocol.handshake import Frame, FrameType
from protocol.join.candidate import Candidate, SponsorAuthenticated, Welcomed
from protocol.join.dialog import Failed
from protocol.join.sponsor import Admitted, Authenticated, Sponsor, TryCharged, TryUndone
from protocol.link import LinkDialler, LinkListener
from tests.harness import joining
from tests.harness.joining import EXPORTER, PRS, SESSION, Run, candidate, sponsor
from tests.harness.linking import LinkRun, dialler, listener
from tests.harness.rsa_pairs import PAIR, SECOND_PAIR

OTHER_EXPORTER: Final = b"y" * 32
WRONG: Final = Secret(b"q" * 32)
SAMPLE: Final = 41
"""Every 41st bit in the quick tests: a prime, so that all places of a byte are met."""

MachineT = TypeVar("MachineT", Candidate, Sponsor)
EVERYTHING: Final = frozenset({SponsorAuthenticated, Authenticated, Welcomed, Admitted})
FORBIDDEN: Final = {
    6: EVERYTHING - {Authenticated},
    7: frozenset({Welcomed, Admitted}),
    8: frozenset({Admitted}),
}
"""What nobody may report once a frame was changed; all of it for J1 to J5."""


TO_SPONSOR: Final = frozenset({1, 3, 5, 8})


def reports(run: Run) -> set[type]:
    return {type(event) for event in run.candidate_events + run.sponsor_events}


def outcome(run: Run) -> JoinOutcome | None:
    failures = [event.failure for event in run.candidate_events if isinstance(event, Failed)]
    return failures[0].outcome if failures else None


class Stopped(Exception):
    """The wire is cut where a frame would arrive."""


def before(kind: int) -> tuple[Run, Frame]:
    """An honest join stopped where its frame of this type would arrive, and that frame."""
    found: list[Frame] = []

    def tamper(frame: Frame) -> Frame:
        if frame.kind == kind:
            found.append(frame)
            raise Stopped
        return frame

    run = Run(candidate(), sponsor(), tamper)
    with pytest.raises(Stopped):
        run.drive()
    return run, found[0]


def twin_of(machine: MachineT) -> MachineT:
    """A machine in the same state, sharing only what never changes."""
    twin = copy.copy(machine)
    twin._seen = replace(machine._seen)
    twin._outbox = []
    twin._events = deque(machine._events)
    return twin


def with_frame(run: Run, kind: int, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Run]]:
    """Give each of *frames* to a twin of the receiver, and carry on to the end."""
    for frame in frames:
        twins = Run(twin_of(run.candidate), twin_of(run.sponsor))
        receiver = twins.sponsor if kind in TO_SPONSOR else twins.candidate
        try:
            receiver.receive_message(frame, now=0.0)
        except RemoteProtocolError:
            pass
        else:
            twins.carry()
        yield frame, twins


def accepted(kind: int, frames: Callable[[Frame], Iterable[Frame]]) -> tuple[int, list[Frame]]:
    """How many changed frames of this type were tried, and which were believed."""
    run, honest = before(kind)
    forbidden = FORBIDDEN.get(kind, EVERYTHING)
    tried, believed = 0, []
    for frame, twins in with_frame(run, kind, frames(honest)):
        tried += 1
        if reports(twins) & forbidden:
            believed.append(frame)
    return tried, believed


# --- altered frames ---------------------------------------------------------------------


def flipped(frame: Frame, step: int) -> Iterator[Frame]:
    """The frame with one bit changed, of its type or its body."""
    for bit in range(8):
        yield Frame(frame.kind ^ 1 << bit, frame.body)
    for bit in range(0, len(frame.body) * 8, step):
        body = bytearray(frame.body)
        body[bit // 8] ^= 1 << bit % 8
        yield Frame(frame.kind, bytes(body))


def resized(frame: Frame) -> Iterator[Frame]:
    """The frame cut off, extended, empty."""
    body = frame.body
    for changed in (b"", body[:1], body[:-1], body[: len(body) // 2], body + b"\x00", body * 2):
        yield Frame(frame.kind, changed)


def test_the_honest_frame_is_believed() -> None:
    """Else the attacks below would be refused for another reason."""
    for kind in range(1, 9):
        _, believed = accepted(kind, lambda frame: [frame])

        assert len(believed) == 1


@pytest.mark.parametrize("kind", range(1, 9))
def test_a_flipped_bit_is_never_accepted(kind: int) -> None:
    """A sample of all bits of J1 to J8."""
    tried, believed = accepted(kind, lambda frame: flipped(frame, SAMPLE))

    assert tried > 10
    assert believed == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", range(1, 9))
def test_no_flipped_bit_is_ever_accepted(kind: int) -> None:
    """Every bit of J1 to J8."""
    _, honest = before(kind)

    tried, believed = accepted(kind, lambda frame: flipped(frame, 1))

    assert tried == 8 + len(honest.body) * 8
    assert believed == []


@pytest.mark.parametrize("kind", range(1, 9))
def test_a_cut_extended_or_empty_frame_is_never_accepted(kind: int) -> None:
    """Nor one sent twice in one body."""
    _, believed = accepted(kind, resized)

    assert believed == []


@pytest.mark.parametrize("kind", range(1, 9))
def test_t3_a_frame_of_another_join_is_never_accepted(kind: int) -> None:
    """Replayed from a recorded run with the same password, same RSA pair, same exporter."""
    recorded = Run(candidate(seed="recorded"), sponsor(seed="also recorded")).drive().frames

    _, believed = accepted(kind, lambda _: [frame for frame in recorded if frame.kind == kind])

    if kind == 1:
        # A replayed hello is answered, and the candidate refuses the answer.
        run, _ = before(1)
        ((_, twins),) = with_frame(run, 1, recorded[:1])
        assert twins.broken is not None
    assert believed == []


@pytest.mark.parametrize("kind", range(1, 9))
def test_t3_no_frame_passes_for_another_one(kind: int) -> None:
    """Every frame of this very join under every other type, and reflected to its sender."""
    frames = Run(candidate(), sponsor()).drive().frames
    others = [Frame(kind, frame.body) for frame in frames if frame.kind != kind]

    _, believed = accepted(kind, lambda _: others)

    assert len(others) == 7
    assert believed == []


@pytest.mark.parametrize(
    "other", [{"session_id": SessionId.generate(bytes)}, {"exporter": OTHER_EXPORTER}]
)
def test_t4_another_session_or_connection_is_refused_though_the_password_is_right(
    other: dict[str, object],
) -> None:
    """The node that meets them can neither cross sessions nor relay between connections."""
    run = Run(candidate(), sponsor(**other)).drive()  # type: ignore[arg-type]

    assert outcome(run) is JoinOutcome.WRONG_PASSWORD
    assert not reports(run) & EVERYTHING


def keys_of_other_kinds() -> list[bytes]:
    small = rsa.generate_private_key(65537, 2048).public_key()
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    return [
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in (small, curve)
    ]


def test_candidates_with_weak_or_other_keys_are_refused() -> None:
    """RSA-2048 and P-256, in an otherwise honest hello."""

    def hellos(frame: Frame) -> Iterator[Frame]:
        fields = unlv(frame.body, 6)
        for spki in keys_of_other_kinds():
            yield Frame(frame.kind, lv(*fields[:5], spki))

    tried, believed = accepted(1, hellos)

    assert (tried, believed) == (2, [])


# --- in the middle ----------------------------------------------------------------------


class Middle:
    """Ends the candidate's RSA channel at its own key and opens another to the sponsor.

    It knows nothing of the password: shares and proofs it can only pass on.
    """

    def __init__(self, pair: CandidateKey, own: CandidateKey) -> None:
        self._pair = pair
        self._own = own
        self._hello = b""
        self._legs = (b"", b"")
        self._keys = (join_keys.RsaKeys(b"", b""), join_keys.RsaKeys(b"", b""))

    def relay(self, frame: Frame) -> Frame:
        match frame.kind:
            case FrameType.J1:
                self._hello = frame.body
                fields = unlv(frame.body, 6)
                self._forged = lv(*fields[:5], self._own.spki)
                return Frame(frame.kind, self._forged)
            case FrameType.J2:
                return Frame(frame.kind, self._reseal_seed(frame.body))
            case FrameType.J3:
                body = self._reseal(frame, self._keys[0].to_sponsor, self._keys[1].to_sponsor, 0)
                return Frame(frame.kind, body)
            case FrameType.J4:
                keys = self._keys[1].to_candidate, self._keys[0].to_candidate
                return Frame(frame.kind, self._reseal(frame, *keys, 1))
            case FrameType.J_ERR if frame.body[:1] == b"\x01":
                aad = bytes([frame.kind])
                content = join_keys.unseal(
                    self._keys[1].to_candidate, 2**32, self._legs[1] + aad, frame.body[1:]
                )
                sealed = join_keys.seal(
                    self._keys[0].to_candidate, 2**32, self._legs[0] + aad, content
                )
                return Frame(frame.kind, b"\x01" + sealed)
            case _:
                return frame

    def _reseal_seed(self, j2: bytes) -> bytes:
        version, suite, nonce, sealed = unlv(j2, 4)
        seed = self._own.open(sealed, rsa_seal.SEED)[:32]
        content = seed + join_keys.hello_digest(self._hello)
        resealed = rsa_seal.seal(rsa_seal.read_spki(self._pair.spki), content, rsa_seal.SEED)
        answer = lv(version, suite, nonce, resealed)
        to_candidate = join_keys.rsa_transcript(self._hello, answer)
        to_sponsor = join_keys.rsa_transcript(self._forged, j2)
        self._legs = (to_candidate, to_sponsor)
        self._keys = (join_keys.rsa_keys(to_candidate, seed), join_keys.rsa_keys(to_sponsor, seed))
        return answer

    def _reseal(self, frame: Frame, opened_with: bytes, sealed_with: bytes, source: int) -> bytes:
        kind = bytes([frame.kind])
        content = join_keys.unseal(opened_with, 0, self._legs[source] + kind, frame.body)
        return join_keys.seal(sealed_with, 0, self._legs[1 - source] + kind, content)


def in_the_middle(exporter: bytes) -> Run:
    """A join through somebody with an own RSA pair; the sponsor's connection has *exporter*."""
    middle = Middle(PAIR, SECOND_PAIR)
    return Run(candidate(), sponsor(exporter=exporter), middle.relay).drive()


def weaken_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The password proof is about nothing but the session."""
    monkeypatch.setattr(join_keys, "channel_id", lambda session, *_: session.encoded)


def weaken_transcript(monkeypatch: pytest.MonkeyPatch) -> None:
    """The confirmation keys do not know what was said before."""
    monkeypatch.setattr(join_keys, "proof_transcript", lambda *_: digest(b"T2"))


@pytest.mark.parametrize("exporter", [EXPORTER, OTHER_EXPORTER])
def test_t1_substituting_the_rsa_key_and_relaying_the_shares_is_refused(exporter: bytes) -> None:
    """With equal and with different connections; the candidate hears WRONG_PASSWORD."""
    run = in_the_middle(exporter)

    assert outcome(run) is JoinOutcome.WRONG_PASSWORD
    assert not reports(run) & EVERYTHING
    assert TryCharged in reports(run)
    assert TryUndone not in reports(run)


def test_t1_relaying_everything_as_it_is_changes_nothing() -> None:
    """On one connection a verbatim relay is a wire: the join is end to end."""
    assert reports(Run(candidate(), sponsor()).drive()) >= EVERYTHING


@pytest.mark.parametrize("exporter", [EXPORTER, OTHER_EXPORTER])
@pytest.mark.parametrize("weaken", [weaken_channel, weaken_transcript])
def test_t1_each_of_the_two_bindings_is_enough_alone(
    weaken: Callable[[pytest.MonkeyPatch], None],
    exporter: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the one, the other still refuses; an honest join still works."""
    weaken(monkeypatch)

    run = in_the_middle(exporter)
    honest = Run(candidate(), sponsor()).drive()

    assert not reports(run) & EVERYTHING
    assert reports(honest) >= EVERYTHING


@pytest.mark.parametrize("exporter", [EXPORTER, OTHER_EXPORTER])
def test_t1_without_both_bindings_somebody_in_the_middle_succeeds(
    exporter: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: this harness does find a weak build."""
    weaken_channel(monkeypatch)
    weaken_transcript(monkeypatch)

    run = in_the_middle(exporter)

    assert reports(run) >= {SponsorAuthenticated, Authenticated}


def test_a_sponsor_that_confirms_first_would_be_an_oracle() -> None:
    """The candidate's proof comes first: a false one is never answered with the sponsor's."""
    run = Run(candidate(prs=WRONG), sponsor()).drive()

    assert [frame.kind for frame in run.frames] == [1, 2, 3, 4, 5, FrameType.J_ERR]
    assert TryUndone not in reports(run)


# --- guessing ---------------------------------------------------------------------------


def words(count: int) -> Iterator[Secret]:
    """A dictionary that has the true password's value in its middle."""
    for number in range(count):
        guess = hashlib.sha256(f"word {number}".encode()).digest()
        yield PRS if number == count // 2 else Secret(guess)


def guesses_confirmed(used: Secret, dictionary: Iterable[Secret]) -> list[Secret]:
    """What a false sponsor learns that used one word online and tries all others afterwards.

    It owns its scalar, the seed, and the candidate's MAC_c.
    """
    false = sponsor(prs=used)
    run = Run(candidate(), false, stop_at_proof)
    with pytest.raises(Stopped):
        run.drive()
    seen = false._seen
    j3, j4, j5 = (frame.body for frame in run.frames[2:5])
    mac_c = unlv(j5, 2)[0]
    share_c, role_c = unlv(join_keys.unseal(seen.rsa.to_sponsor, 0, seen.t1 + b"\x03", j3), 2)
    share_s, role_s, _ = unlv(join_keys.unseal(seen.rsa.to_candidate, 0, seen.t1 + b"\x04", j4), 3)
    # The sponsor's calls for random bytes, in their order: nonce, seed, scalar.
    source = joining.counting("sponsor")
    scalar = [source(32) for _ in range(3)][2]
    channel = join_keys.channel_id(SESSION, PAIR.spki, seen.t1, EXPORTER)
    assert cpace.share(used.reveal(), channel, seen.sid, scalar) == share_s
    confirmed = []
    for guess in dictionary:
        # Had it used the guess, its share would have been this one.
        share = cpace.share(guess.reveal(), channel, seen.sid, scalar)
        isk = cpace.session_key(
            scalar, seen.sid, (share_c, role_c), (share, role_s), initiating=False
        )
        keys = join_keys.proof_keys(seen.t2, isk, seen.seed)
        if hmac.compare_digest(join_keys.candidate_mac(keys, seen.t2), mac_c):
            confirmed.append(guess)
    return confirmed


def stop_at_proof(frame: Frame) -> Frame:
    if frame.kind == FrameType.J5:
        raise Stopped
    return frame


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_t2_a_false_sponsor_tests_one_word_of_its_dictionary_and_no_other(count: int) -> None:
    """The one it used online; the true password among the others stays unknown."""
    assert guesses_confirmed(WRONG, words(count)) == []
    assert guesses_confirmed(PRS, words(count)) == [PRS]


def view_of(run: Run, pair: CandidateKey) -> list[bytes]:
    """All an observer has who was given the RSA key: every field it can open, and the rest."""
    j1, j2, j3, j4, j5, j6, j7, j8 = (frame.body for frame in run.frames)
    version, suite, nonce, sealed = unlv(j2, 4)
    opened = pair.open(sealed, rsa_seal.SEED)
    t1 = join_keys.rsa_transcript(j1, j2)
    keys = join_keys.rsa_keys(t1, opened[:32])
    return [
        *unlv(j1, 6), version, suite, nonce, opened[:32], opened[32:], t1, *keys,
        *unlv(join_keys.unseal(keys.to_sponsor, 0, t1 + b"\x03", j3), 2),
        *unlv(join_keys.unseal(keys.to_candidate, 0, t1 + b"\x04", j4), 3),
        *unlv(j5, 2), *unlv(j6, 2), j7, j8,
    ]  # fmt: skip


def confirms(guess: Secret, view: list[bytes]) -> bool:
    """Whether anything in the view is a plain function of the guess and what is public."""
    value = guess.reveal()
    derived = {value, hashlib.sha256(value).digest(), hashlib.sha512(value).digest()}
    for public in [*view, SESSION.encoded, EXPORTER]:
        derived |= {
            hmac.digest(value, public, "sha256"),
            hmac.digest(public, value, "sha256"),
            hashlib.sha256(value + public).digest(),
            hashlib.sha256(public + value).digest(),
            digest(value, public),
            digest(public, value),
            expand(value, public),
            cpace.generator_string(value, public, b""),
        }
    prefixes = {found[:16] for found in derived}
    return any(
        field[place : place + 16] in prefixes
        for field in view
        for place in range(max(len(field) - 15, 0))
    )


def test_t11_nothing_on_the_wire_confirms_a_guess_offline() -> None:
    """Not even with the RSA key, the seed and the exporter (T11)."""
    view = view_of(Run(candidate(), sponsor()).drive(), PAIR)

    assert len(view) > 20
    assert not any(confirms(guess, view) for guess in words(9))


def test_t11_the_oracle_cracks_a_leaky_variant() -> None:
    """A tag keyed by the password's value is all it takes: the oracle is not blind."""
    run = Run(candidate(tag_key=PRS), sponsor(tag_key=PRS)).drive()
    view = view_of(run, PAIR)

    assert [guess for guess in words(9) if confirms(guess, view)] == [PRS]


class PlainSeal:
    """A stand-in for RSA without randomness, so that two runs differ by the password alone."""

    spki = PAIR.spki

    def __init__(self) -> None:
        self._content: dict[bytes, bytes] = {}

    def seal(self, _public: object, content: bytes, label: bytes) -> bytes:
        sealed = hashlib.shake_128(content + label).digest(384)
        self._content[sealed] = content
        return sealed

    def open(self, sealed: bytes, _label: bytes) -> bytes:
        if sealed not in self._content:
            raise SealBroken
        return self._content[sealed]


def test_the_password_changes_the_shares_and_what_is_under_their_result_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two runs with the same random bytes and other passwords: all else is equal."""
    views = []
    for prs in (PRS, WRONG):
        plain = PlainSeal()
        monkeypatch.setattr(rsa_seal, "seal", plain.seal)
        pair: CandidateKey = plain  # type: ignore[assignment]
        run = Run(candidate(prs=prs, key=pair), sponsor(prs=prs)).drive()
        assert reports(run) >= EVERYTHING
        views.append(view_of(run, pair))

    differing = [place for place, pair in enumerate(zip(*views, strict=True)) if len(set(pair)) > 1]

    # Y_a in J3, Y_b in J4, then MAC and box of J5 and J6, J7, J8.
    assert differing == [14, 16, 19, 20, 21, 22, 23, 24]


# --- links ------------------------------------------------------------------------------


def link_with(place: int, change: Callable[[Frame], Frame]) -> LinkRun:
    return LinkRun(
        dialler(), listener(), lambda at, frame: change(frame) if at == place else frame
    ).drive()


def linked(place: int, run: LinkRun) -> bool:
    """Whether the receiver of the changed frame, or anybody after it, believes in the link."""
    # L3 has reached the listener before L4 is changed.
    return bool(run.events[0]) or (place < 3 and bool(run.events[1]))


@pytest.mark.parametrize("step", [SAMPLE, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("place", range(4))
def test_no_flipped_bit_of_a_link_handshake_is_accepted(place: int, step: int) -> None:
    """A sample, and all bits, of L1 to L4."""
    honest = LinkRun(dialler(), listener()).drive().frames[place]
    believed = []

    for frame in flipped(honest, step):
        run = link_with(place, lambda _, changed=frame: changed)  # type: ignore[misc]
        if linked(place, run):
            believed.append(frame)

    assert believed == []


@pytest.mark.parametrize("place", range(4))
def test_no_resized_replayed_or_exchanged_frame_of_a_link_is_accepted(place: int) -> None:
    """Cut, extended, empty; from a recorded handshake; under another type; reflected."""
    own = LinkRun(dialler(), listener()).drive().frames
    recorded = LinkRun(dialler(seed="recorded"), listener(seed="also")).drive().frames
    honest = own[place]
    changed = [
        *resized(honest),
        recorded[place],
        *(Frame(honest.kind, frame.body) for frame in own if frame != honest),
        *(frame for frame in own if frame != honest),
    ]

    believed = [
        frame
        for frame in changed
        if linked(place, link_with(place, lambda _, f=frame: f))  # type: ignore[misc]
    ]

    assert linked(place, link_with(place, lambda frame: frame))
    assert believed == []


def test_a_link_relayed_between_two_connections_is_refused() -> None:
    """A member that knows the epoch's key cannot stand between two others (T14)."""
    run = LinkRun(dialler(exporter=EXPORTER), listener(exporter=OTHER_EXPORTER)).drive()
    machines: list[LinkDialler | LinkListener] = [run.dialler, run.listener]

    assert run.broken is not None
    assert run.events == ([], [])
    assert all(machine.get_timer() is None or machine.state.name == "PROOF" for machine in machines)
