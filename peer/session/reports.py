"""What the session's machines report to their owner."""

from dataclasses import dataclass

from peer.session.phases import Phase
from protocol.epochs import Commit
from protocol.errors import JoinOutcome, QuintetError

# --- of the membership --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EpochActivated:
    """A commit is in force: the roster, the leader and the session key are new."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class JoinAdmitted:
    """The candidate this member sponsors is in: give it key and commit (J7)."""

    proposal: bytes
    commit: Commit


@dataclass(frozen=True, slots=True)
class JoinDenied:
    """The candidate this member sponsors is not admitted."""

    proposal: bytes
    outcome: JoinOutcome


@dataclass(frozen=True, slots=True)
class Departed:
    """A member said that it leaves."""

    index: int


MembershipEvent = EpochActivated | JoinAdmitted | JoinDenied | Departed

# --- of the lifecycle ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """The session stands in another phase now."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class InventoryWanted:
    """This member's inventory shall begin."""

    run: int


@dataclass(frozen=True, slots=True)
class InventoryDropped:
    """The inventory under way is void; stop it."""

    run: int


@dataclass(frozen=True, slots=True)
class DecisionsReplaced:
    """The rules and targeted actions are these now."""

    revision: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SyncOrdered:
    """The leader orders a synchronisation; recompute the plan, then accept or refuse."""

    sync: bytes
    revision: int
    reference_time_ns: int
    steps: int
    steps_digest: bytes


@dataclass(frozen=True, slots=True)
class SyncBegun:
    """Everyone accepted; carry out the plan."""

    sync: bytes


@dataclass(frozen=True, slots=True)
class SyncStopped:
    """The synchronisation was refused or aborted; stop cleanly."""

    sync: bytes
    code: str
    by: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that had to wait for its sender's admission was refused; nothing has changed."""

    sender: int
    error: QuintetError


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that people see has changed: settings, sources, activities."""


LifecycleEvent = (
    PhaseChanged
    | InventoryWanted
    | InventoryDropped
    | DecisionsReplaced
    | SyncOrdered
    | SyncBegun
    | SyncStopped
    | Refused
    | Changed
)
