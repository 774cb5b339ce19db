"""Commits: who is in the session, and under which key, one epoch after another.

Every commit names the whole roster, commits to the new key without showing it, is signed by
its committer, and holds the digest of the commit before it: members that hold the same last
commit agree on all that went before. The functions here make and check commits; when to make
one, and whom to call unreachable, is the session's to decide (security.md, 3.7).
"""

import enum
import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.credentials import Password, Secret
from protocol.crypto import identity
from protocol.crypto.identity import NodeIdentity
from protocol.crypto.transcript import expand, lv, number, unlv, unnumber
from protocol.errors import (
    LocalProtocolError,
    MalformedMessage,
    RemoteProtocolError,
    SealBroken,
    SecretUnusable,
)
from protocol.roster import MAX_INDEX, Roster, RosterEntry

KEY_SIZE: Final = 32
"""Bytes of a session key."""
DIGEST_SIZE: Final = 32
GENESIS_PREV: Final = bytes(DIGEST_SIZE)
"""What the first commit names as the one before it."""
MAX_EPOCH: Final = 2**63 - 1
MAX_ATTEMPT: Final = 2**32 - 1

_NONCE: Final = bytes(12)
"""A wrap's key is used once, so its nonce may be fixed."""


class Reason(enum.IntEnum):
    """Why a commit was made; the number is on the wire."""

    GENESIS = 0
    JOIN = 1
    RETURN = 2
    LEAVE = 3
    REMOVE = 4
    ABSENT = 5
    ROTATE = 6
    REFRESH = 7
    RECOVER = 8
    TAKE_OVER = 9


_REMOVING: Final = frozenset(
    {
        Reason.JOIN,
        Reason.LEAVE,
        Reason.REMOVE,
        Reason.ABSENT,
        Reason.RECOVER,
        Reason.TAKE_OVER,
    }
)
"""Reasons under which members may be missing from the new roster."""
_RENAMING: Final = frozenset({Reason.RETURN, Reason.RECOVER})
"""Reasons under which a member may come back with another name or address."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One step of the session's chain.

    Args:
        epoch: Number of the key it brings, from 1.
        attempt: Tells commits apart that were tried for the same epoch.
        prev: SHA-256 of the commit before it.
        reason: Why it was made.
        roster: The members from now on.
        next_index: Index the next new member will get; 256 when none is left.
        absent: Members whose acknowledgement was not asked for, ascending.
        acting_leader: Who leads in place of the lowest index present, or None.
        key_commit: What only the new session key can match.
        lease_key_hash: SHA-256 of the new lease key at the rendezvous, or empty.
        committer: Who made it.
        signature: Its Ed25519 signature over all of the above.
    """

    epoch: int
    attempt: int
    prev: bytes
    reason: Reason
    roster: Roster
    next_index: int
    absent: tuple[int, ...]
    acting_leader: int | None
    key_commit: bytes
    lease_key_hash: bytes
    committer: int
    signature: bytes = b""

    def __post_init__(self) -> None:
        indices = self.roster.indices
        away = {entry.index for entry in self.roster.members if not entry.present}
        if not (
            1 <= self.epoch <= MAX_EPOCH
            and 0 <= self.attempt <= MAX_ATTEMPT
            and len(self.prev) == len(self.key_commit) == DIGEST_SIZE
            and len(self.lease_key_hash) in {0, DIGEST_SIZE}
            and indices[-1] < self.next_index <= MAX_INDEX + 1
            and list(self.absent) == sorted(set(self.absent))
            and away <= set(self.absent) <= set(indices)
        ):
            raise ValueError("shape of a commit")
        if self.committer not in indices or self.committer in self.absent:
            raise ValueError("committer")
        if self.acting_leader is not None and self.acting_leader not in self.roster.present:
            raise ValueError("acting leader")

    @property
    def leader(self) -> int:
        """Who leads under this commit."""
        # The committer is present, so somebody is.
        return self.roster.present[0] if self.acting_leader is None else self.acting_leader

    def body(self) -> bytes:
        """Return what is signed."""
        acting = b"" if self.acting_leader is None else number(self.acting_leader, 1)
        return lv(
            number(self.epoch, 8),
            number(self.attempt, 4),
            self.prev,
            number(self.reason, 1),
            self.roster.encode(),
            number(self.next_index, 2),
            bytes(self.absent),
            acting,
            self.key_commit,
            self.lease_key_hash,
            number(self.committer, 1),
        )

    def encode(self) -> bytes:
        """Return the canonical bytes, signature included."""
        return lv(self.body(), self.signature)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the commit that *data* is the canonical form of; nothing is verified yet.

        Raises:
            MalformedMessage: If it is none.
        """
        body, signature = unlv(data, 2)
        fields = unlv(body, 11)
        epoch, attempt, prev, reason, roster, next_index, absent, acting = fields[:8]
        key_commit, lease_key_hash, committer = fields[8:]
        try:
            return cls(
                epoch=unnumber(epoch, 8),
                attempt=unnumber(attempt, 4),
                prev=prev,
                reason=Reason(unnumber(reason, 1)),
                roster=Roster.decode(roster),
                next_index=unnumber(next_index, 2),
                absent=tuple(absent),
                acting_leader=unnumber(acting, 1) if acting else None,
                key_commit=key_commit,
                lease_key_hash=lease_key_hash,
                committer=unnumber(committer, 1),
                signature=signature,
            )
        except ValueError as error:
            raise MalformedMessage(str(error)) from None


def commit_hash(commit: Commit) -> bytes:
    """Return SHA-256 of the commit's bytes: what the next one names, and ACKs answer."""
    return hashlib.sha256(commit.encode()).digest()


def key_commitment(session_key: Secret) -> bytes:
    """Return the value by which all members see that they got the same key."""
    return expand(session_key.reveal(), b"key commit")


# --- making ---------------------------------------------------------------------------


def genesis(
    node: NodeIdentity, name: str, email: str, session_key: Secret, lease_key_hash: bytes = b""
) -> Commit:
    """Return the creator's first commit: epoch 1, member 0 alone."""
    commit = Commit(
        epoch=1,
        attempt=0,
        prev=GENESIS_PREV,
        reason=Reason.GENESIS,
        roster=Roster((RosterEntry(0, node.node_key, name, email),)),
        next_index=1,
        absent=(),
        acting_leader=None,
        key_commit=key_commitment(session_key),
        lease_key_hash=lease_key_hash,
        committer=0,
    )
    return _signed(commit, node)


def successor(
    current: Commit,
    node: NodeIdentity,
    *,
    reason: Reason,
    roster: Roster,
    session_key: Secret,
    attempt: int = 0,
    absent: Collection[int] = (),
    acting_leader: int | None = None,
    lease_key_hash: bytes = b"",
) -> Commit:
    """Return a signed commit after *current*, made by the member with the key of *node*.

    Members of *roster* that are not present count as *absent* without being named.

    Raises:
        LocalProtocolError: If no such commit can be.
    """
    own = roster.find(node.node_key)
    if own is None:
        raise LocalProtocolError("who commits is a member")
    away = {entry.index for entry in roster.members if not entry.present}
    try:
        commit = Commit(
            epoch=current.epoch + 1,
            attempt=attempt,
            prev=commit_hash(current),
            reason=reason,
            roster=roster,
            next_index=max(current.next_index, roster.indices[-1] + 1),
            absent=tuple(sorted(away | set(absent))),
            acting_leader=acting_leader,
            key_commit=key_commitment(session_key),
            lease_key_hash=lease_key_hash,
            committer=own.index,
        )
    except ValueError as error:
        raise LocalProtocolError(str(error)) from None
    return _signed(commit, node)


def _signed(commit: Commit, node: NodeIdentity) -> Commit:
    signature = node.sign(identity.COMMIT, commit.body())
    fields = {name: getattr(commit, name) for name in Commit.__slots__}
    return Commit(**fields | {"signature": signature})


# --- checking -------------------------------------------------------------------------


def rightful_committer(current: Commit, gone: Collection[int] = ()) -> int | None:
    """Return who may commit after *current*: its leader, else the lowest index present.

    Args:
        current: The commit in force.
        gone: Members that this member itself knows to be out of reach, or to have left.
    """
    order = (current.leader, *current.roster.present)
    return next((index for index in order if index not in gone), None)


def has_quorum(roster: Roster, side: Collection[int], leader: int) -> bool:
    """Whether the members of *side* may remove others or replace the leader.

    They may if they are more than half of the roster, or half of it and the leader.
    """
    reached = sum(index in side for index in roster.indices)
    return 2 * reached > len(roster.indices) or (
        2 * reached == len(roster.indices) and leader in side
    )


def check_commit(current: Commit, new: Commit, *, gone: Collection[int] = ()) -> None:
    """Check that *new* may follow *current*.

    Args:
        current: The commit in force.
        new: What a committer sent.
        gone: As in ``rightful_committer``: a member that still sees the leader refuses
            every successor.

    Raises:
        SealBroken: If its signature is not that of its committer.
        RemoteProtocolError: If it breaks a rule.
    """
    if new.epoch != current.epoch + 1 or new.prev != commit_hash(current):
        raise RemoteProtocolError("the commit does not follow ours")
    signer = current.roster.entry(new.committer)
    if signer is None or new.committer != rightful_committer(current, gone):
        raise RemoteProtocolError("another member commits")
    identity.verify(signer.node_key, new.signature, identity.COMMIT, new.body())
    _check_leadership(current, new)
    _check_members(current, new)


def _check_leadership(current: Commit, new: Commit) -> None:
    if new.acting_leader not in {None, current.acting_leader, new.committer}:
        raise RemoteProtocolError("a leader nobody chose")
    # Who replaces the leader must lead under its own commit; a leader that comes back within
    # its grace time is let in again by the next in line, and leads on.
    returns = new.reason is Reason.RETURN and new.leader == current.leader
    if new.committer not in {current.leader, new.leader} and not returns:
        raise RemoteProtocolError("a committer that does not lead")


def _check_members(current: Commit, new: Commit) -> None:
    before, after = set(current.roster.indices), set(new.roster.indices)
    joined = after - before
    if joined != ({current.next_index} if new.reason is Reason.JOIN else set()):
        raise RemoteProtocolError("who joined")
    if new.next_index != current.next_index + len(joined):
        raise RemoteProtocolError("the next index")
    if before - after and new.reason not in _REMOVING:
        raise RemoteProtocolError("who is missing")
    if new.reason is Reason.GENESIS:
        raise RemoteProtocolError("a second genesis")
    for old in current.roster.members:
        entry = new.roster.entry(old.index)
        if entry is None:
            continue
        if entry.node_key != old.node_key:
            raise RemoteProtocolError("another key at an index")
        renamed = (entry.name, entry.email) != (old.name, old.email)
        if renamed and new.reason not in _RENAMING:
            raise RemoteProtocolError("another name at an index")


def check_key(commit: Commit, session_key: Secret) -> None:
    """Check that *session_key* is the key all members of *commit* were promised.

    Raises:
        SealBroken: If not: its committer sent different keys.
    """
    if not hmac.compare_digest(commit.key_commit, key_commitment(session_key)):
        raise SealBroken


def check_welcome(commit: Commit, session_key: Secret) -> None:
    """Check a commit that a candidate received with its key, and cannot chain to another.

    Raises:
        SealBroken: If its own committer did not sign it, or the key is another one.
    """
    signer = commit.roster.entry(commit.committer)
    assert signer is not None  # a commit without its committer in the roster cannot be
    identity.verify(signer.node_key, commit.signature, identity.COMMIT, commit.body())
    check_key(commit, session_key)


# --- the key on its way ---------------------------------------------------------------


def _wrap_aead(link_key: Secret, commit: Commit) -> tuple[AESGCM, bytes]:
    """Return the cipher and the associated data of one commit's wrap on one link.

    The key depends on the commit itself: two committers that try the same epoch and attempt
    on one link (each believing the other gone) must never share a key and a nonce.
    """
    bound = commit_hash(commit)
    label = lv(b"rekey", number(commit.epoch, 8), number(commit.attempt, 4), bound)
    return AESGCM(expand(link_key.reveal(), label)), bound


def wrap_key(
    link_key: Secret, commit: Commit, session_key: Secret, password: Password | None = None
) -> bytes:
    """Return the new session key, and a new password if there is one, sealed for one link.

    One commit is wrapped with one content: a changed content needs the next attempt.
    """
    aead, bound = _wrap_aead(link_key, commit)
    content = session_key.reveal() + (password.normalised if password is not None else b"")
    return aead.encrypt(_NONCE, content, bound)


def unwrap_key(link_key: Secret, commit: Commit, wrap: bytes) -> tuple[Secret, Password | None]:
    """Return the session key that *commit* promises, and the new password or None.

    Raises:
        SealBroken: If *wrap* does not open, or holds another key.
        MalformedMessage: If its password is none.
    """
    aead, bound = _wrap_aead(link_key, commit)
    try:
        content = aead.decrypt(_NONCE, wrap, bound)
    except InvalidTag:
        raise SealBroken from None
    session_key = Secret(content[:KEY_SIZE])
    check_key(commit, session_key)
    rest = content[KEY_SIZE:]
    try:
        return session_key, Password.parse(rest.decode("latin-1")) if rest else None
    except SecretUnusable:
        raise MalformedMessage("no password") from None


def ack(session_key: Secret, commit: Commit) -> bytes:
    """Return a member's acknowledgement: 32 bytes that need the new key."""
    key = expand(session_key.reveal(), b"ack")
    return hmac.digest(key, commit_hash(commit), "sha256")


def check_ack(session_key: Secret, commit: Commit, received: bytes) -> None:
    """Check an acknowledgement.

    Raises:
        SealBroken: If it is not one of *commit*.
    """
    if not hmac.compare_digest(ack(session_key, commit), received):
        raise SealBroken
