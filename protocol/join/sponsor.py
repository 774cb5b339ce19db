"""The sponsor's side of a join: the member that a candidate contacted (security.md, 3.4).

::

    IDLE -start-> READY -J1-> SEEDED -J3-> SHARED -J5-> PROVEN -admit-> COMMITTED -J8-> ADMITTED
                    |            |           |            |                 |
                    +------------+--- refuse, deadline ---+-----------------+------> CLOSED

Rule: whether a frame is legal is decided by ``TRANSITIONS`` alone. A wrong try is charged when
J4 is sent and undone by a good J5, so that vanishing in between is no free guess.
"""

import enum
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from protocol import limits
from protocol.credentials import Secret, SessionId
from protocol.crypto import cpace, identity, join_keys, password, rsa_seal
from protocol.crypto.identity import NodeIdentity
from protocol.crypto.transcript import lv, number, text, unlv
from protocol.errors import (
    JoinFailed,
    JoinOutcome,
    LocalProtocolError,
    MalformedMessage,
    SealBroken,
)
from protocol.handshake import FrameType, Handshake
from protocol.join.dialog import (
    CANDIDATE_ROLE,
    ERROR_USE,
    FIRST_USE,
    MAX_OFFERED,
    OUTCOMES,
    PENDING_USES,
    SECOND_USE,
    SPONSOR_ROLE,
    TRIES_UNKNOWN,
    Failed,
    Stage,
    Transcript,
    read_name,
    sized,
)
from protocol.versions import SUITE, VERSION


class SponsorState(enum.Enum):
    """States of the sponsor; the drawing above shows them."""

    IDLE = enum.auto()
    READY = enum.auto()
    SEEDED = enum.auto()
    SHARED = enum.auto()
    PROVEN = enum.auto()
    COMMITTED = enum.auto()
    ADMITTED = enum.auto()
    CLOSED = enum.auto()


TRANSITIONS: Final[Mapping[tuple[SponsorState, FrameType], SponsorState]] = {
    (SponsorState.READY, FrameType.J1): SponsorState.SEEDED,
    (SponsorState.SEEDED, FrameType.J3): SponsorState.SHARED,
    (SponsorState.SHARED, FrameType.J5): SponsorState.PROVEN,
    (SponsorState.COMMITTED, FrameType.J8): SponsorState.ADMITTED,
}


@dataclass(frozen=True, slots=True)
class TryCharged:
    """J4 went out: the owner counts one wrong try for the source, now."""


@dataclass(frozen=True, slots=True)
class TryUndone:
    """A good J5 came: the owner takes that wrong try back."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The candidate proved the password and its node key; the owner admits or refuses it.

    Args:
        node_key: Its Ed25519 key.
        name: What its machine is called.
        email: Its person's address, or empty.
        digits: The verification digits.
    """

    node_key: bytes
    name: str
    email: str
    digits: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """The candidate opened its welcome; its link handshake may follow."""


SponsorEvent = TryCharged | TryUndone | Authenticated | Admitted | Failed


class Sponsor(Handshake[SponsorState, SponsorEvent]):
    """One join at the member that a candidate contacted.

    The owner asks its throttle before ``start`` and may ``refuse`` at once; it counts on
    ``TryCharged``, tells the result with ``charged``, and takes it back on ``TryUndone``.

    Args:
        session_id: The session.
        prs: From ``password.derive_prs``.
        tag_key: From ``password.derive_tag_key``.
        exporter: The connection's exporter for joins, after its handshake completed.
        node: This device's identity.
        index: This member's index.
        name: What this machine is called.
        needs_approval: Whether a person decides about every join.
        random_bytes: Source of random bytes.
    """

    def __init__(
        self,
        *,
        session_id: SessionId,
        prs: Secret,
        tag_key: Secret,
        exporter: bytes,
        node: NodeIdentity,
        index: int,
        name: str,
        needs_approval: bool,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(SponsorState.IDLE, SponsorState.CLOSED, TRANSITIONS)
        self._session_id = session_id
        self._prs = prs
        self._tag_key = tag_key
        self._exporter = exporter
        self._node = node
        self._index = index
        self._name = name
        self._needs_approval = needs_approval
        self._random_bytes = random_bytes
        self._seen = Transcript()
        self._spki = b""
        self._public: RSAPublicKey | None = None
        self._sas_commitment = b""
        self._answer = b""
        self._cost = (TRIES_UNKNOWN, 0)
        self._pending_at: float | None = None
        self._next_pending = PENDING_USES

    @property
    def needs_approval(self) -> bool:
        """Whether a person decides about this join."""
        return self._needs_approval

    def start(self, *, now: float) -> None:
        """Await J1; the proofs must be complete 10 seconds later."""
        self._require(SponsorState.IDLE)
        self.state = SponsorState.READY
        self._deadline = now + limits.STEP_TIMEOUT

    def charged(self, tries_left: int, retry_after: int) -> None:
        """Take what the throttle says after ``TryCharged``, for a wrong password's answer."""
        self._cost = (tries_left, retry_after)

    def admit(
        self, epoch_key: Secret, epoch: int, commit: bytes, roster: bytes, *, now: float
    ) -> None:
        """Send the session key, sealed to the candidate, with *commit* and *roster*.

        Raises:
            LocalProtocolError: If the candidate is not authenticated, or they exceed a frame.
        """
        self._require(SponsorState.PROVEN)
        assert self._public is not None
        seen = self._seen
        roster_digest = hashlib.sha256(roster).digest()
        secret = epoch_key.reveal() + number(epoch, 8) + roster_digest + seen.t2
        sealed = rsa_seal.seal(self._public, secret, rsa_seal.WELCOME)
        aad = seen.t2 + bytes([FrameType.J7])
        body = join_keys.seal(seen.proof.to_candidate, SECOND_USE, aad, lv(sealed, commit, roster))
        if len(body) > limits.MAX_JOIN_FRAME:
            raise LocalProtocolError(f"a welcome of {len(body)} bytes")
        self._answer = join_keys.welcome_mac(epoch_key.reveal(), seen.t2)
        self._send(FrameType.J7, body)
        self.state = SponsorState.COMMITTED
        self._pending_at = None
        self._deadline = now + limits.STEP_TIMEOUT

    def refuse(self, outcome: JoinOutcome, retry_after: int = 0) -> None:
        """End the join, telling the candidate *outcome* under the keys of the moment.

        Raises:
            LocalProtocolError: If this outcome may not be said now.
        """
        self._refuse(outcome, retry_after, TRIES_UNKNOWN)

    def handle_timer(self, *, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            if self.state in {SponsorState.READY, SponsorState.COMMITTED}:
                # Nothing was said yet, or the candidate is a member that went silent.
                self._end(JoinFailed(JoinOutcome.TIMEOUT))
            else:
                self.refuse(JoinOutcome.TIMEOUT)
        elif self._pending_at is not None and now >= self._pending_at:
            seen = self._seen
            aad = seen.t2 + bytes([FrameType.PENDING])
            body = join_keys.seal(seen.proof.to_candidate, self._next_pending, aad, b"")
            self._send(FrameType.PENDING, body)
            self._next_pending += 1
            self._pending_at = now + limits.PENDING_INTERVAL

    def get_timer(self) -> float | None:
        return min(
            (moment for moment in (self._deadline, self._pending_at) if moment is not None),
            default=None,
        )

    def _receive(self, kind: FrameType, body: bytes, now: float) -> None:
        match kind:
            case FrameType.J1:
                self._receive_hello(body)
            case FrameType.J3:
                self._receive_share(body)
            case FrameType.J5:
                self._receive_proof(body, now)
            case _:
                # The table admits nothing else but J8.
                self._receive_answer(body)

    def _receive_hello(self, j1: bytes) -> None:
        seen = self._seen
        versions, suites, tag, nonce_c, commitment, spki = unlv(j1, 6)
        if not 1 <= len(versions) <= MAX_OFFERED or not 1 <= len(suites) <= MAX_OFFERED:
            raise MalformedMessage("offers")
        if VERSION not in versions or SUITE not in suites:
            self._refuse(JoinOutcome.VERSION, 0, TRIES_UNKNOWN)
            return
        seen.nonce_c = sized(nonce_c, join_keys.NONCE_SIZE)
        if not hmac.compare_digest(tag, password.join_tag(self._tag_key, nonce_c)):
            self._refuse(JoinOutcome.NOT_FOUND, 0, TRIES_UNKNOWN)
            return
        self._public = rsa_seal.read_spki(spki)
        self._spki = spki
        self._sas_commitment = commitment
        seen.nonce_s = self._random_bytes(join_keys.NONCE_SIZE)
        seen.seed = self._random_bytes(join_keys.SEED_SIZE)
        sealed = rsa_seal.seal(self._public, seen.seed + join_keys.hello_digest(j1), rsa_seal.SEED)
        j2 = lv(bytes([VERSION]), bytes([SUITE]), seen.nonce_s, sealed)
        seen.t1 = join_keys.rsa_transcript(j1, j2)
        seen.rsa = join_keys.rsa_keys(seen.t1, seen.seed)
        self._send(FrameType.J2, j2)

    def _receive_share(self, j3: bytes) -> None:
        seen = self._seen
        aad = seen.t1 + bytes([FrameType.J3])
        share_c, role = unlv(join_keys.unseal(seen.rsa.to_sponsor, FIRST_USE, aad, j3), 2)
        if role != CANDIDATE_ROLE:
            raise MalformedMessage("role")
        channel = join_keys.channel_id(self._session_id, self._spki, seen.t1, self._exporter)
        scalar = self._random_bytes(cpace.SCALAR_SIZE)
        share_s = cpace.share(self._prs.reveal(), channel, seen.sid, scalar)
        own_role = SPONSOR_ROLE + bytes([self._index])
        isk = cpace.session_key(
            scalar, seen.sid, (share_c, role), (share_s, own_role), initiating=False
        )
        seen.sas_s = self._random_bytes(join_keys.SAS_SECRET_SIZE)
        j4 = join_keys.seal(
            seen.rsa.to_candidate,
            FIRST_USE,
            seen.t1 + bytes([FrameType.J4]),
            lv(share_s, own_role, seen.sas_s),
        )
        seen.t2 = join_keys.proof_transcript(seen.t1, j3, j4, self._exporter)
        seen.proof = join_keys.proof_keys(seen.t2, isk, seen.seed)
        self._send(FrameType.J4, j4)
        self._events.append(TryCharged())

    def _receive_proof(self, j5: bytes, now: float) -> None:
        seen = self._seen
        mac_c, sealed = unlv(j5, 2)
        if not hmac.compare_digest(mac_c, join_keys.candidate_mac(seen.proof, seen.t2)):
            tries_left, retry_after = self._cost
            self._refuse(JoinOutcome.WRONG_PASSWORD, retry_after, tries_left)
            return
        aad = seen.t2 + mac_c + bytes([FrameType.J5])
        opened = join_keys.unseal(seen.proof.to_sponsor, FIRST_USE, aad, sealed)
        node_key, name, email, sas_c, signature = unlv(opened, 5)
        if not hmac.compare_digest(join_keys.sas_commitment(sas_c), self._sas_commitment):
            raise SealBroken
        identity.verify(node_key, signature, identity.JOIN_CANDIDATE, seen.t2)
        authenticated = Authenticated(
            node_key,
            read_name(name),
            text(email, limits.MAX_EMAIL),
            join_keys.verification_digits(seen.proof, sas_c, seen.sas_s),
        )
        mac_s = join_keys.sponsor_mac(seen.proof, seen.t2, mac_c)
        who = lv(
            self._node.node_key,
            self._name.encode(),
            self._node.sign(identity.JOIN_SPONSOR, seen.t2),
            number(self._needs_approval, 1),
        )
        aad = seen.t2 + mac_s + bytes([FrameType.J6])
        sealed = join_keys.seal(seen.proof.to_candidate, FIRST_USE, aad, who)
        self._send(FrameType.J6, lv(mac_s, sealed))
        wait = limits.APPROVAL_TIMEOUT if self._needs_approval else limits.ADMISSION_TIMEOUT
        self._deadline = now + wait
        self._pending_at = now + limits.PENDING_INTERVAL
        self._events += [TryUndone(), authenticated]

    def _receive_answer(self, j8: bytes) -> None:
        seen = self._seen
        aad = seen.t2 + bytes([FrameType.J8])
        answer = join_keys.unseal(seen.proof.to_sponsor, SECOND_USE, aad, j8)
        if not hmac.compare_digest(answer, self._answer):
            raise SealBroken
        self._deadline = None
        self._seen = Transcript()
        self._events.append(Admitted())

    def _refuse(self, outcome: JoinOutcome, retry_after: int, tries_left: int) -> None:
        seen = self._seen
        self._require(
            SponsorState.READY, SponsorState.SEEDED, SponsorState.SHARED, SponsorState.PROVEN
        )
        stage, key, transcript = {
            SponsorState.READY: (Stage.CLEAR, b"", b""),
            SponsorState.PROVEN: (Stage.PROVEN, seen.proof.to_candidate, seen.t2),
        }.get(self.state, (Stage.RSA, seen.rsa.to_candidate, seen.t1))
        if outcome not in OUTCOMES[stage]:
            raise LocalProtocolError(f"{outcome.name} while {self.state.name}")
        content = number(outcome, 1) + number(min(retry_after, 65535), 2) + number(tries_left, 1)
        if stage is not Stage.CLEAR:
            aad = transcript + bytes([FrameType.J_ERR])
            content = join_keys.seal(key, ERROR_USE, aad, content)
        self._send(FrameType.J_ERR, bytes([stage]) + content)
        params = {} if tries_left == TRIES_UNKNOWN else {"tries_left": tries_left}
        self._end(JoinFailed(outcome, retry_after, **params))

    def _end(self, failure: JoinFailed) -> None:
        self._close()
        self._events.append(Failed(failure))

    def _close(self) -> None:
        super()._close()
        self._pending_at = None
        self._seen = Transcript()
