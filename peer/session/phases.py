"""The phases of a session and the acts that move between them (product.md, section 2.3).

::

    PREPARATION --start_inventory--> INVENTORY --inventories_in--> COMPARISON
         ^                               |                             |
         +------- cancel_inventory ------+------ (crossing) -----------+
         |                               |                             |
         +------- restart ---------------+ (crossing) -----------------+
         |                                                             | begin_sync
         |                                                             v
         +------- restart ----- FINISHED <--steps_ended-- SYNCHRONISATION
                                                                       |
    PREPARATION <------ restart (crossing) ----------------------------+

(crossing): the word of one member overtook that of another; nobody does so of itself there.

Rule: whether an act is legal in a phase, and where it leads, is decided by ``TRANSITIONS`` alone.
"""

import enum
from collections.abc import Mapping
from typing import Final

from protocol.errors import LocalProtocolError


class Phase(enum.StrEnum):
    """Where the session stands; equal at every member but for messages under way."""

    PREPARATION = "preparation"
    INVENTORY = "inventory"
    COMPARISON = "comparison"
    SYNCHRONISATION = "synchronisation"
    FINISHED = "finished"

    @property
    def activated(self) -> bool:
        """Whether the inventory has started, so that nobody new is let in."""
        return self is not Phase.PREPARATION


class Move(enum.StrEnum):
    """What can lead from one phase to another."""

    START_INVENTORY = "start_inventory"
    CANCEL_INVENTORY = "cancel_inventory"
    INVENTORIES_IN = "inventories_in"
    BEGIN_SYNC = "begin_sync"
    STEPS_ENDED = "steps_ended"
    RESTART = "restart"


TRANSITIONS: Final[Mapping[tuple[Phase, Move], Phase]] = {
    (Phase.PREPARATION, Move.START_INVENTORY): Phase.INVENTORY,
    (Phase.INVENTORY, Move.INVENTORIES_IN): Phase.COMPARISON,
    (Phase.INVENTORY, Move.CANCEL_INVENTORY): Phase.PREPARATION,
    # Another member may cancel before it knows that all inventories are in.
    (Phase.COMPARISON, Move.CANCEL_INVENTORY): Phase.PREPARATION,
    (Phase.COMPARISON, Move.BEGIN_SYNC): Phase.SYNCHRONISATION,
    (Phase.SYNCHRONISATION, Move.STEPS_ENDED): Phase.FINISHED,
    # The leader may restart before the last hash, or word of the last step, is everywhere.
    (Phase.INVENTORY, Move.RESTART): Phase.PREPARATION,
    (Phase.SYNCHRONISATION, Move.RESTART): Phase.PREPARATION,
    (Phase.COMPARISON, Move.RESTART): Phase.PREPARATION,
    (Phase.FINISHED, Move.RESTART): Phase.PREPARATION,
    (Phase.PREPARATION, Move.RESTART): Phase.PREPARATION,
}


def after(phase: Phase, move: Move) -> Phase:
    """Return the phase that *move* leads to from *phase*.

    Raises:
        LocalProtocolError: If *move* is illegal there.
    """
    try:
        return TRANSITIONS[phase, move]
    except KeyError:
        raise LocalProtocolError(f"{move.value} while in {phase.value}") from None
