"""The candidate's side of a join (security.md, 3.4).

::

    IDLE -start-> HELLO -J2-> SHARE -J4-> CONFIRM -J6-> WAITING -J7-> JOINED
                    |           |            |           |   ^
                    |           |            |           |   +--- PENDING
                    +-----------+--- J_ERR, deadline ----+------------------> FAILED

Rule: whether a frame is legal is decided by ``TRANSITIONS`` alone.
"""

import enum
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol import limits
from protocol.credentials import Secret, SessionId
from protocol.crypto import cpace, identity, join_keys, password, rsa_seal
from protocol.crypto.identity import NodeIdentity
from protocol.crypto.rsa_seal import CandidateKey
from protocol.crypto.transcript import lv, unlv, unnumber
from protocol.errors import (
    JoinFailed,
    JoinOutcome,
    MalformedMessage,
    SealBroken,
)
from protocol.handshake import FrameType, Handshake
from protocol.join.dialog import (
    CANDIDATE_ROLE,
    ERROR_USE,
    FIRST_USE,
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


class CandidateState(enum.Enum):
    """States of the candidate; the drawing above shows them."""

    IDLE = enum.auto()
    HELLO = enum.auto()
    SHARE = enum.auto()
    CONFIRM = enum.auto()
    WAITING = enum.auto()
    JOINED = enum.auto()
    FAILED = enum.auto()


TRANSITIONS: Final[Mapping[tuple[CandidateState, FrameType], CandidateState]] = {
    (CandidateState.HELLO, FrameType.J2): CandidateState.SHARE,
    (CandidateState.HELLO, FrameType.J_ERR): CandidateState.FAILED,
    (CandidateState.SHARE, FrameType.J4): CandidateState.CONFIRM,
    (CandidateState.SHARE, FrameType.J_ERR): CandidateState.FAILED,
    (CandidateState.CONFIRM, FrameType.J6): CandidateState.WAITING,
    (CandidateState.CONFIRM, FrameType.J_ERR): CandidateState.FAILED,
    (CandidateState.WAITING, FrameType.PENDING): CandidateState.WAITING,
    (CandidateState.WAITING, FrameType.J7): CandidateState.JOINED,
    (CandidateState.WAITING, FrameType.J_ERR): CandidateState.FAILED,
}


@dataclass(frozen=True, slots=True)
class SponsorAuthenticated:
    """The sponsor proved the password and its node key.

    Args:
        node_key: Its Ed25519 key, to compare with the invitation and the known peers.
        name: What its machine is called.
        index: Its member index.
        digits: The verification digits.
        needs_approval: Whether a person decides, so that the wait may take two minutes.
    """

    node_key: bytes
    name: str
    index: int
    digits: str
    needs_approval: bool


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The candidate is a member; a link handshake follows.

    Args:
        epoch_key: The session key.
        epoch: Its epoch.
        commit: Bytes of the commit that admits it; its signature is the receiver's to check.
        roster: Bytes of the roster, equal to what the sponsor sealed the digest of.
    """

    epoch_key: Secret
    epoch: int
    commit: bytes
    roster: bytes


CandidateEvent = SponsorAuthenticated | Welcomed | Failed


class Candidate(Handshake[CandidateState, CandidateEvent]):
    """One attempt to join one session through one member.

    Args:
        session_id: The session.
        prs: From ``password.derive_prs``.
        tag_key: From ``password.derive_tag_key``.
        exporter: The connection's exporter for joins, after its handshake completed.
        key: The RSA pair of this join dialog.
        node: This device's identity, shown only to who proved the password.
        name: What this machine is called.
        email: Its person's address, or empty.
        random_bytes: Source of random bytes.
    """

    def __init__(
        self,
        *,
        session_id: SessionId,
        prs: Secret,
        tag_key: Secret,
        exporter: bytes,
        key: CandidateKey,
        node: NodeIdentity,
        name: str,
        email: str,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(CandidateState.IDLE, CandidateState.FAILED, TRANSITIONS)
        self._session_id = session_id
        self._prs = prs
        self._tag_key = tag_key
        self._exporter = exporter
        self._key = key
        self._node = node
        self._name = name
        self._email = email
        self._random_bytes = random_bytes
        self._seen = Transcript()
        self._sponsor_index = 0
        self._next_pending = PENDING_USES

    def start(self, *, now: float) -> None:
        """Send J1; the proofs must be complete 10 seconds later."""
        self._require(CandidateState.IDLE)
        seen = self._seen
        seen.nonce_c = self._random_bytes(join_keys.NONCE_SIZE)
        seen.sas_c = self._random_bytes(join_keys.SAS_SECRET_SIZE)
        seen.j1 = lv(
            bytes([VERSION]),
            bytes([SUITE]),
            password.join_tag(self._tag_key, seen.nonce_c),
            seen.nonce_c,
            join_keys.sas_commitment(seen.sas_c),
            self._key.spki,
        )
        self._send(FrameType.J1, seen.j1)
        self.state = CandidateState.HELLO
        self._deadline = now + limits.STEP_TIMEOUT

    def handle_timer(self, *, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._fail(JoinFailed(JoinOutcome.TIMEOUT))

    def _receive(self, kind: FrameType, body: bytes, now: float) -> None:
        match kind:
            case FrameType.J2:
                self._receive_seed(body)
            case FrameType.J4:
                self._receive_share(body)
            case FrameType.J6:
                self._receive_proof(body, now)
            case FrameType.PENDING:
                self._receive_pending(body)
            case FrameType.J7:
                self._receive_welcome(body)
            case _:
                # The table admits nothing else but J_ERR.
                self._receive_error(body)

    def _receive_seed(self, j2: bytes) -> None:
        seen = self._seen
        version, suite, nonce_s, sealed = unlv(j2, 4)
        if (version, suite) != (bytes([VERSION]), bytes([SUITE])):
            raise MalformedMessage("a version or suite that was not offered")
        seen.nonce_s = sized(nonce_s, join_keys.NONCE_SIZE)
        opened = self._key.open(sealed, rsa_seal.SEED)
        seen.seed, hello = opened[: join_keys.SEED_SIZE], opened[join_keys.SEED_SIZE :]
        if not hmac.compare_digest(hello, join_keys.hello_digest(seen.j1)):
            raise SealBroken
        seen.t1 = join_keys.rsa_transcript(seen.j1, j2)
        seen.rsa = join_keys.rsa_keys(seen.t1, seen.seed)
        channel = join_keys.channel_id(self._session_id, self._key.spki, seen.t1, self._exporter)
        seen.scalar = self._random_bytes(cpace.SCALAR_SIZE)
        seen.share_c = cpace.share(self._prs.reveal(), channel, seen.sid, seen.scalar)
        seen.j3 = join_keys.seal(
            seen.rsa.to_sponsor,
            FIRST_USE,
            seen.t1 + bytes([FrameType.J3]),
            lv(seen.share_c, CANDIDATE_ROLE),
        )
        self._send(FrameType.J3, seen.j3)

    def _receive_share(self, j4: bytes) -> None:
        seen = self._seen
        aad = seen.t1 + bytes([FrameType.J4])
        share_s, role, sas_s = unlv(join_keys.unseal(seen.rsa.to_candidate, FIRST_USE, aad, j4), 3)
        if role[:-1] != SPONSOR_ROLE:
            raise MalformedMessage("role")
        self._sponsor_index = role[-1]
        seen.sas_s = sized(sas_s, join_keys.SAS_SECRET_SIZE)
        isk = cpace.session_key(
            seen.scalar, seen.sid, (seen.share_c, CANDIDATE_ROLE), (share_s, role), initiating=True
        )
        seen.t2 = join_keys.proof_transcript(seen.t1, seen.j3, j4, self._exporter)
        seen.proof = join_keys.proof_keys(seen.t2, isk, seen.seed)
        seen.mac_c = join_keys.candidate_mac(seen.proof, seen.t2)
        who = lv(
            self._node.node_key,
            self._name.encode(),
            self._email.encode(),
            seen.sas_c,
            self._node.sign(identity.JOIN_CANDIDATE, seen.t2),
        )
        aad = seen.t2 + seen.mac_c + bytes([FrameType.J5])
        sealed = join_keys.seal(seen.proof.to_sponsor, FIRST_USE, aad, who)
        self._send(FrameType.J5, lv(seen.mac_c, sealed))

    def _receive_proof(self, j6: bytes, now: float) -> None:
        seen = self._seen
        mac_s, sealed = unlv(j6, 2)
        if not hmac.compare_digest(mac_s, join_keys.sponsor_mac(seen.proof, seen.t2, seen.mac_c)):
            self._fail(JoinFailed(JoinOutcome.IMPOSTOR))
            return
        aad = seen.t2 + mac_s + bytes([FrameType.J6])
        opened = join_keys.unseal(seen.proof.to_candidate, FIRST_USE, aad, sealed)
        node_key, name, signature, approval = unlv(opened, 4)
        identity.verify(node_key, signature, identity.JOIN_SPONSOR, seen.t2)
        needs_approval = unnumber(approval, 1) != 0
        wait = limits.APPROVAL_TIMEOUT if needs_approval else limits.ADMISSION_TIMEOUT
        self._deadline = now + wait
        self._events.append(
            SponsorAuthenticated(
                node_key,
                read_name(name),
                self._sponsor_index,
                join_keys.verification_digits(seen.proof, seen.sas_c, seen.sas_s),
                needs_approval,
            )
        )

    def _receive_pending(self, body: bytes) -> None:
        seen = self._seen
        aad = seen.t2 + bytes([FrameType.PENDING])
        if join_keys.unseal(seen.proof.to_candidate, self._next_pending, aad, body):
            raise MalformedMessage("a sign of life with a content")
        self._next_pending += 1

    def _receive_welcome(self, j7: bytes) -> None:
        seen = self._seen
        aad = seen.t2 + bytes([FrameType.J7])
        opened = join_keys.unseal(seen.proof.to_candidate, SECOND_USE, aad, j7)
        sealed, commit, roster = unlv(opened, 3)
        secret = self._key.open(sealed, rsa_seal.WELCOME)
        epoch_key, epoch = secret[:32], secret[32:40]
        expected = hashlib.sha256(roster).digest() + seen.t2
        if not hmac.compare_digest(secret[40:], expected):
            raise SealBroken
        aad = seen.t2 + bytes([FrameType.J8])
        answer = join_keys.welcome_mac(epoch_key, seen.t2)
        self._send(FrameType.J8, join_keys.seal(seen.proof.to_sponsor, SECOND_USE, aad, answer))
        self._deadline = None
        self._seen = Transcript()
        self._events.append(
            Welcomed(Secret(epoch_key), int.from_bytes(epoch, "big"), commit, roster)
        )

    def _receive_error(self, body: bytes) -> None:
        seen = self._seen
        stage, keys, transcript = {
            CandidateState.HELLO: (Stage.CLEAR, b"", b""),
            CandidateState.SHARE: (Stage.RSA, seen.rsa.to_candidate, seen.t1),
            CandidateState.CONFIRM: (Stage.RSA, seen.rsa.to_candidate, seen.t1),
            CandidateState.WAITING: (Stage.PROVEN, seen.proof.to_candidate, seen.t2),
        }[self.state]
        if body[:1] != bytes([stage]):
            raise MalformedMessage("stage of an error")
        content = body[1:]
        if stage is not Stage.CLEAR:
            aad = transcript + bytes([FrameType.J_ERR])
            content = join_keys.unseal(keys, ERROR_USE, aad, content)
        code, retry_after, tries_left = content[:1], content[1:3], sized(content, 4)[3]
        if code[0] not in OUTCOMES[stage]:
            raise MalformedMessage("an outcome that cannot be said now")
        params = {} if tries_left == TRIES_UNKNOWN else {"tries_left": tries_left}
        retry = int.from_bytes(retry_after, "big")
        self._fail(JoinFailed(JoinOutcome(code[0]), retry, **params))

    def _fail(self, failure: JoinFailed) -> None:
        self._close()
        self._events.append(Failed(failure))

    def _close(self) -> None:
        super()._close()
        self._seen = Transcript()
