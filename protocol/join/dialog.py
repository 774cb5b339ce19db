"""What both sides of a join share: its refusals, its uses of keys, what they collect.

Roles do not depend on who dialled. Everything after J2 travels under a seed that was sealed to
the candidate's own RSA key; everything after J4 also under the password proof.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.crypto.join_keys import ProofKeys, RsaKeys
from protocol.crypto.transcript import text
from protocol.errors import JoinFailed, JoinOutcome, MalformedMessage
from protocol.limits import MAX_NAME

TRIES_UNKNOWN: Final = 255
"""What J_ERR says where the tries left are not known, or not meant to be."""

MAX_OFFERED: Final = 16
"""Versions, or suites, one candidate may offer."""

CANDIDATE_ROLE: Final = b"candidate"
SPONSOR_ROLE: Final = b"sponsor"
FIRST_USE, SECOND_USE, PENDING_USES = 0, 1, 2
"""Uses of one key, as nonces: J3 to J6, then J7 and J8, then every PENDING in turn."""
ERROR_USE: Final = 2**32
"""The use of a key for J_ERR, which no counting reaches."""


class Stage(enum.IntEnum):
    """Under which keys a J_ERR stands; explicit, so that no receiver tries several."""

    CLEAR = 0
    RSA = 1
    PROVEN = 2


OUTCOMES: Final[Mapping[Stage, frozenset[JoinOutcome]]] = {
    Stage.CLEAR: frozenset(
        {
            JoinOutcome.NOT_FOUND,
            JoinOutcome.THROTTLED,
            JoinOutcome.PAUSED,
            JoinOutcome.VERSION,
        }
    ),
    Stage.RSA: frozenset(
        {
            JoinOutcome.WRONG_PASSWORD,
            JoinOutcome.THROTTLED,
            JoinOutcome.PAUSED,
            JoinOutcome.TIMEOUT,
        }
    ),
    # Who knows only the ID must not learn that the session has started, or is full.
    Stage.PROVEN: frozenset(
        {
            JoinOutcome.FULL,
            JoinOutcome.LOCKED,
            JoinOutcome.DECLINED,
            JoinOutcome.MEMBERS_UNREACHABLE,
            JoinOutcome.TIMEOUT,
            JoinOutcome.REMOVED,
            JoinOutcome.ALREADY_IN,
        }
    ),
}
"""What a sponsor may say, and when."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The join ended with one of the outcomes people are told."""

    failure: JoinFailed


_NO_RSA_KEYS: Final = RsaKeys(b"", b"")
_NO_PROOF_KEYS: Final = ProofKeys(b"", b"", b"", b"", b"")


@dataclass(slots=True, repr=False)
class Transcript:
    """What both sides collect on the way; much of it secret, so it shows nothing."""

    j1: bytes = b""
    j3: bytes = b""
    nonce_c: bytes = b""
    nonce_s: bytes = b""
    t1: bytes = b""
    t2: bytes = b""
    mac_c: bytes = b""
    sas_c: bytes = b""
    sas_s: bytes = b""
    scalar: bytes = b""
    share_c: bytes = b""
    seed: bytes = b""
    rsa: RsaKeys = _NO_RSA_KEYS
    proof: ProofKeys = _NO_PROOF_KEYS

    @property
    def sid(self) -> bytes:
        return self.nonce_c + self.nonce_s


def sized(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise MalformedMessage("field of a wrong size")
    return data


def read_name(data: bytes) -> str:
    """Return a machine's name: 1 to 64 characters."""
    name = text(data, MAX_NAME)
    if not name:
        raise MalformedMessage("no name")
    return name
