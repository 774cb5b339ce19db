"""Who may do what, and when: one table, asked by every receiver (product.md, section 2.4).

The interface asks the same table to grey out a button, but a right is enforced where a message
arrives: a member that lacks it changes nothing.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from peer.errors import RightMissing, WrongPhase
from peer.session.phases import Phase


class Act(enum.StrEnum):
    """Every act that needs a right."""

    CHANGE_SOURCES = "change_sources"
    CHANGE_SETTINGS = "change_settings"
    START_INVENTORY = "start_inventory"
    CANCEL_INVENTORY = "cancel_inventory"
    BROWSE = "browse"
    DECIDE = "decide"
    START_SYNC = "start_sync"
    ABORT_SYNC = "abort_sync"
    RESTART = "restart"
    VERIFY = "verify"
    DECLINE = "decline"
    """Or let in, where a member is asked."""
    REOPEN_JOINING = "reopen_joining"
    NEW_PASSWORD = "new_password"  # noqa: S105  # an act, not a secret
    REMOVE_MEMBER = "remove_member"
    CONTINUE_WITHOUT = "continue_without"
    PAUSE = "pause"


class Who(enum.Enum):
    """Whose right it is."""

    LEADER = enum.auto()
    OWNER = enum.auto()
    """The member whose own thing it is; nobody can do it to another."""
    ANY = enum.auto()


ALL_PHASES: Final = frozenset(Phase)
FROM_COMPARISON: Final = frozenset({Phase.COMPARISON, Phase.SYNCHRONISATION, Phase.FINISHED})


@dataclass(frozen=True, slots=True)
class Right:
    """One line of the table."""

    who: Who
    phases: frozenset[Phase]


RIGHTS: Final[Mapping[Act, Right]] = {
    Act.CHANGE_SOURCES: Right(Who.OWNER, frozenset({Phase.PREPARATION})),
    Act.CHANGE_SETTINGS: Right(Who.LEADER, frozenset({Phase.PREPARATION})),
    Act.START_INVENTORY: Right(Who.LEADER, frozenset({Phase.PREPARATION})),
    # In Comparison only for a cancellation that crossed the last hash on its way.
    Act.CANCEL_INVENTORY: Right(Who.ANY, frozenset({Phase.INVENTORY, Phase.COMPARISON})),
    Act.BROWSE: Right(Who.ANY, FROM_COMPARISON),
    Act.DECIDE: Right(Who.LEADER, frozenset({Phase.COMPARISON})),
    Act.START_SYNC: Right(Who.LEADER, frozenset({Phase.COMPARISON})),
    Act.ABORT_SYNC: Right(Who.ANY, frozenset({Phase.SYNCHRONISATION})),
    Act.RESTART: Right(
        Who.LEADER, frozenset({Phase.PREPARATION, Phase.COMPARISON, Phase.FINISHED})
    ),
    Act.VERIFY: Right(Who.ANY, FROM_COMPARISON),
    Act.DECLINE: Right(Who.ANY, frozenset({Phase.PREPARATION})),
    Act.REOPEN_JOINING: Right(Who.ANY, frozenset({Phase.PREPARATION})),
    Act.NEW_PASSWORD: Right(Who.LEADER, ALL_PHASES),
    Act.REMOVE_MEMBER: Right(Who.LEADER, ALL_PHASES),
    Act.CONTINUE_WITHOUT: Right(Who.LEADER, ALL_PHASES - {Phase.PREPARATION}),
    Act.PAUSE: Right(Who.LEADER, frozenset({Phase.INVENTORY, Phase.SYNCHRONISATION})),
}


def check(
    act: Act,
    *,
    actor: int,
    leader: int,
    phase: Phase,
    owner: int | None = None,
    leader_letter: str = "",
) -> None:
    """Let member *actor* do *act*, or say why not.

    Args:
        act: What it wants to do.
        actor: Its index.
        leader: The index of the member that leads now.
        phase: Where the session stands.
        owner: Whose thing it is, for acts of owners.
        leader_letter: What people call the leader, for the error.

    Raises:
        RightMissing: If the act is another member's.
        WrongPhase: If it is not possible now.
    """
    right = RIGHTS[act]
    if right.who is Who.LEADER and actor != leader:
        raise RightMissing(leader_letter)
    if right.who is Who.OWNER and actor != owner:
        raise RightMissing("")
    if phase not in right.phases:
        raise WrongPhase(phase.value)
