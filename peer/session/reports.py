"""What the session's machines report to their owner."""

from dataclasses import dataclass

from peer.session.phases import Phase
from protocol.credentials import Password
from protocol.epochs import Commit
from protocol.errors import JoinOutcome, QuintetError

# --- of the membership --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EpochActivated:
    """A commit is in force: the roster, the leader and the session key are new."""

    commit: Commit
    returned: int | None = None
    """Who came back by it, with a new process."""
    binds: bool = True
    """Whether this member has promised it to a side that may decide (``SessionRecord``)."""


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


@dataclass(frozen=True, slots=True)
class MemberLost:
    """The committer has had no path to a member for ten seconds."""

    index: int


@dataclass(frozen=True, slots=True)
class MemberBack:
    """A member that was unreachable is here again."""

    index: int


@dataclass(frozen=True, slots=True)
class LinkStale:
    """A member comes back with a new process: close the link to the old one."""

    index: int


@dataclass(frozen=True, slots=True)
class Frozen:
    """This side is too small to change who is in the session; a person may take over."""


@dataclass(frozen=True, slots=True)
class Thawed:
    """This side is large enough again."""


@dataclass(frozen=True, slots=True)
class ForkSeen:
    """Another part of the session has gone another way; the two never merge."""

    epoch: int
    """Where both have a commit, and not the same."""


@dataclass(frozen=True, slots=True)
class PasswordChanged:
    """The session has a new password; who holds only the old one does not get in."""

    password: Password


@dataclass(frozen=True, slots=True)
class SideBehind:
    """Who let this member in again has fallen behind what it knew: leave, and try elsewhere."""


@dataclass(frozen=True, slots=True)
class WasRemoved:
    """The leader has removed this member; the session has ended for it."""


MembershipEvent = (
    EpochActivated
    | JoinAdmitted
    | JoinDenied
    | Departed
    | MemberLost
    | MemberBack
    | LinkStale
    | Frozen
    | Thawed
    | ForkSeen
    | PasswordChanged
    | SideBehind
    | WasRemoved
)

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
class Resumed:
    """This member came back and knows again where the session stands."""

    phase: Phase
    run: int


@dataclass(frozen=True, slots=True)
class WithoutMember:
    """The session goes on without a member: its entries count as unknown."""

    index: int


@dataclass(frozen=True, slots=True)
class DecisionsVoid:
    """Letters have moved: what was decided must be looked at and confirmed again."""


@dataclass(frozen=True, slots=True)
class PauseChanged:
    """The leader has paused, or resumed, what is under way."""

    paused: bool


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
    | Resumed
    | WithoutMember
    | DecisionsVoid
    | PauseChanged
    | Changed
)
