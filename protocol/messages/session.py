"""Session messages on the control channel: membership, phases, settings, sources, decisions.

The channel says who sent a message; no message repeats it. Commands of the leader carry
``Order``: the epoch, the leader's index and a sequence number, so that an old leader's or an
old moment's command is known (security.md, section 3.7).
"""

import enum
from typing import Annotated

from msgspec import Meta

from protocol import limits
from protocol.ids import Digest, Epoch, MemberIndex, NodeKey
from protocol.messages.base import Message, Value
from protocol.messages.inventory import Kind, Run
from protocol.messages.rendezvous import Offer

Name = Annotated[str, Meta(max_length=limits.MAX_NAME)]
Email = Annotated[str, Meta(max_length=limits.MAX_EMAIL)]
ProposalId = Annotated[bytes, Meta(min_length=16, max_length=16)]
SyncId = Annotated[bytes, Meta(min_length=16, max_length=16)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Mac = Annotated[bytes, Meta(min_length=32, max_length=32)]
Revision = Annotated[int, Meta(ge=0, le=2**32 - 1)]
ReasonCode = Annotated[str, Meta(max_length=64, pattern=r"\A[a-zA-Z0-9_.]+\Z")]
"""A stable code of the error tables; the text is made by whoever shows it."""


class Order(Value):
    """What makes a leader's command current: the receiver knows all three already."""

    epoch: Epoch
    leader: MemberIndex
    sequence: Annotated[int, Meta(ge=1, le=2**53)]


# --- membership -----------------------------------------------------------------


class JoinProposed(Message, tag="session.join_proposed"):
    """Sponsor to leader: a candidate has proven the password; admit it."""

    proposal: ProposalId
    node_key: NodeKey
    name: Name
    email: Email


class JoinRefused(Message, tag="session.join_refused"):
    """Leader to sponsor: this candidate is not admitted."""

    proposal: ProposalId
    outcome: Annotated[int, Meta(ge=1, le=21)]
    """A ``JoinOutcome``."""
    retry_after: Annotated[int, Meta(ge=0, le=65535)] = 0


class CommitOffered(Message, tag="session.commit_offered"):
    """Committer to member: the next epoch, its key wrapped under our link's key."""

    commit: Annotated[bytes, Meta(max_length=limits.MAX_JOIN_FRAME)]
    wrap: Annotated[bytes, Meta(max_length=256)]
    proposal: ProposalId | None = None
    """The sponsor's proposal this commit answers."""
    returned: MemberIndex | None = None
    """Who comes back by it, with a new process."""


class CommitAcknowledged(Message, tag="session.commit_acknowledged"):
    """Member to committer: I hold the key and agree."""

    commit_hash: Digest
    mac: Mac


class CommitActivated(Message, tag="session.commit_activated"):
    """Committer to member: all agreed; the epoch is in force."""

    commit_hash: Digest


class CommitAborted(Message, tag="session.commit_aborted"):
    """Committer to member: not all agreed; the epoch before stays in force."""

    commit_hash: Digest


class Leaving(Message, tag="session.leaving"):
    """Member to all: I leave; renew the key without me."""


class EpochAsked(Message, tag="session.epoch_asked"):
    """Member to member: which epoch are you in, and which commit have you acknowledged?"""


class EpochStated(Message, tag="session.epoch_stated"):
    """Member to member: the epoch I am in, the commit I have acknowledged, whom I have links to."""

    epoch: Epoch
    active: Digest
    """SHA-256 of the commit in force."""
    pending: Digest | None = None
    """SHA-256 of the commit acknowledged and not yet in force."""
    awaited: Annotated[list[MemberIndex], Meta(max_length=limits.MAX_MEMBERS)] = []  # noqa: RUF012  # msgspec copies it
    """Who had to acknowledge the pending commit; its committer comes first."""
    attempt: Annotated[int, Meta(ge=0, le=2**32 - 1)] = 0
    """The next attempt that would be acknowledged."""
    sees: Annotated[list[MemberIndex], Meta(max_length=limits.MAX_MEMBERS)] = []  # noqa: RUF012  # the same
    history: Annotated[list[Digest], Meta(max_length=limits.MAX_HISTORY)] = []  # noqa: RUF012  # the same
    """SHA-256 of the commit in force and of those before it, newest first."""


class MembersStated(Message, tag="session.members_stated"):
    """Leader to all: who is out of reach, who has left its place, who is banned."""

    epoch: Epoch
    unreachable: Annotated[list[MemberIndex], Meta(max_length=limits.MAX_MEMBERS)] = []  # noqa: RUF012  # msgspec copies it
    left: Annotated[list[MemberIndex], Meta(max_length=limits.MAX_MEMBERS)] = []  # noqa: RUF012  # the same
    banned: Annotated[list[NodeKey], Meta(max_length=limits.MAX_BANNED)] = []  # noqa: RUF012  # the same
    frozen: bool = False
    """Whether the leader's side is too small to change who is in the session."""


class Removed(Message, tag="session.removed"):
    """Leader to member: you are not in this session any more."""

    epoch: Epoch
    """The epoch that began without you."""


class PathOffered(Message, tag="session.path_offered"):
    """Member to member, over any common member: where I can be reached."""

    origin: MemberIndex
    destination: MemberIndex
    offer: Offer
    wanted: bool
    """Whether the destination shall answer with its own offer."""


# --- what members own ---------------------------------------------------------------


class SourceInfo(Value):
    """One data source of a member."""

    path: Annotated[bytes, Meta(min_length=1, max_length=limits.MAX_PATH)]
    """Absolute path on its owner's machine; shown, never opened by anybody else."""
    kind: Kind
    label: Annotated[str, Meta(max_length=32)] = ""
    """What the file system is, where that matters: nfs, cifs, fuse …"""


class SourcesChanged(Message, tag="session.sources_changed"):
    """Owner to all: my data sources, whole."""

    revision: Revision
    sources: Annotated[list[SourceInfo], Meta(max_length=limits.MAX_SOURCES)]


class Activity(enum.StrEnum):
    """What a member is doing (product.md, section 2.2); *unreachable* is said by others."""

    WAITING_INVENTORY = "waiting_inventory"
    IDENTIFYING = "identifying"
    WAITING_IDENTIFICATION = "waiting_identification"
    ANALYSING = "analysing"
    INVENTORY_DONE = "inventory_done"
    INVENTORY_CANCELLED = "inventory_cancelled"
    INVENTORY_FAILED = "inventory_failed"
    SYNCHRONISING = "synchronising"
    SYNC_DONE = "sync_done"
    SYNC_ERRORS = "sync_errors"
    SYNC_FAILED = "sync_failed"


Count = Annotated[int, Meta(ge=0, le=2**62)]


class Progress(Value):
    """How far a member is in its inventory or its part of the synchronisation."""

    files: Count = 0
    directories: Count = 0
    size: Count = 0
    """Bytes found."""
    skipped: Annotated[dict[ReasonCode, Count], Meta(max_length=32)] = {}  # noqa: RUF012  # msgspec copies it
    """Skips by reason."""
    errors: Count = 0
    to_hash_files: Count = 0
    to_hash_size: Count = 0
    hashed_files: Count = 0
    hashed_size: Count = 0
    steps: Count = 0
    steps_done: Count = 0
    steps_failed: Count = 0
    content: Count = 0
    """Content bytes this member shall receive."""
    content_done: Count = 0


class ActivityChanged(Message, tag="session.activity"):
    """Member to all: what I am doing and how far I am."""

    activity: Activity
    progress: Progress


# --- the leader's commands -------------------------------------------------------------


class SettingsChanged(Message, tag="session.settings_changed"):
    """Leader to all: the session's settings, whole."""

    order: Order
    settings: Annotated[bytes, Meta(max_length=limits.MAX_CONTROL_PLAINTEXT // 2)]
    """``SessionSettings`` as MessagePack."""


class InventoryStarted(Message, tag="session.inventory_started"):
    """Leader to all: inventory now. The session is activated."""

    order: Order
    run: Run
    source_revisions: Annotated[dict[MemberIndex, Revision], Meta(max_length=limits.MAX_MEMBERS)]
    """What the leader saw of each member; a member whose sources differ refuses."""


class InventoryCancelled(Message, tag="session.inventory_cancelled"):
    """Any member to all: this run ends; back to Preparation."""

    run: Run


class DecisionsChanged(Message, tag="session.decisions_changed"):
    """Leader to all: a part of the rules and targeted actions; whole when all parts are in."""

    order: Order
    revision: Revision
    part: Annotated[int, Meta(ge=0, le=4095)]
    parts: Annotated[int, Meta(ge=1, le=4096)]
    data: Annotated[bytes, Meta(max_length=limits.MAX_CONTROL_PLAINTEXT // 2)]


class SynchronisationOrdered(Message, tag="session.sync_ordered"):
    """Leader to all: carry out the plan that these decisions give; START of security.md."""

    order: Order
    sync: SyncId
    revision: Revision
    reference_time_ns: int
    """The plan's instant: nanoseconds since 1970, leader's clock."""
    steps: Count
    steps_digest: Digest
    signature: Signature
    """By the leader's node key over the fields above."""


class SynchronisationAccepted(Message, tag="session.sync_accepted"):
    """Member to leader: my plan has the same digest; I am ready."""

    sync: SyncId
    steps_digest: Digest


class SynchronisationRefused(Message, tag="session.sync_refused"):
    """Member to leader: I do not take part in this, and why."""

    sync: SyncId
    code: ReasonCode


class SynchronisationBegun(Message, tag="session.sync_begun"):
    """Leader to all: everyone accepted; begin."""

    order: Order
    sync: SyncId


class SynchronisationAborted(Message, tag="session.sync_aborted"):
    """Any member to all: stop cleanly, leave only whole files."""

    sync: SyncId
    code: ReasonCode


class Restarted(Message, tag="session.restarted"):
    """Leader to all: back to Preparation; members, letters, sources and settings stay."""

    order: Order


class Stage(enum.StrEnum):
    """Where the session stands, for a member that comes back to it."""

    PREPARATION = "preparation"
    INVENTORY = "inventory"
    COMPARISON = "comparison"
    SYNCHRONISATION = "synchronisation"
    FINISHED = "finished"


class StandingAsked(Message, tag="session.standing_asked"):
    """Member that came back to all: where do we stand?"""


class StandingStated(Message, tag="session.standing"):
    """Member to one that came back: where we stand; the decisions came before it."""

    epoch: Epoch
    stage: Stage
    run: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    """The last inventory begun; 0 before the first."""
    settings: Annotated[bytes, Meta(max_length=limits.MAX_CONTROL_PLAINTEXT // 2)]
    source_revisions: Annotated[
        dict[MemberIndex, Revision], Meta(max_length=limits.MAX_MEMBERS)
    ] = {}  # noqa: RUF012  # msgspec copies it
    without: Annotated[list[MemberIndex], Meta(max_length=limits.MAX_MEMBERS)] = []  # noqa: RUF012  # the same
    """Members the session goes on without."""
    paused: bool = False
    ordered: SynchronisationOrdered | None = None
    """The synchronisation ordered or under way, as its leader signed it."""
    begun: bool = False
    participants: Annotated[list[MemberIndex], Meta(max_length=limits.MAX_MEMBERS)] = []  # noqa: RUF012  # the same
    """Who takes part in it."""
    yours: SourcesChanged | None = None
    """The data sources of the member that asked, as last heard of."""


class ContinuedWithout(Message, tag="session.continued_without"):
    """Leader to all: go on without this member; its entries count as unknown."""

    order: Order
    missing: MemberIndex


class Paused(Message, tag="session.paused"):
    """Leader to all: pause, or resume, what is under way."""

    order: Order
    paused: bool


SessionMessage = (
    JoinProposed
    | JoinRefused
    | CommitOffered
    | CommitAcknowledged
    | CommitActivated
    | CommitAborted
    | Leaving
    | EpochAsked
    | EpochStated
    | MembersStated
    | Removed
    | PathOffered
    | SourcesChanged
    | ActivityChanged
    | SettingsChanged
    | InventoryStarted
    | InventoryCancelled
    | DecisionsChanged
    | SynchronisationOrdered
    | SynchronisationAccepted
    | SynchronisationRefused
    | SynchronisationBegun
    | SynchronisationAborted
    | Restarted
    | StandingAsked
    | StandingStated
    | ContinuedWithout
    | Paused
)
