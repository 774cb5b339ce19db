"""What each member says of itself: its sources, what it is doing, how far it is."""

from dataclasses import dataclass, field
from typing import Final

from protocol.messages import session as wire

RUNNING: Final = frozenset(
    {
        wire.Activity.IDENTIFYING,
        wire.Activity.WAITING_IDENTIFICATION,
        wire.Activity.ANALYSING,
        wire.Activity.SYNCHRONISING,
    }
)
"""Activities that a restart must not cut off."""

ENDED: Final = frozenset(
    {wire.Activity.SYNC_DONE, wire.Activity.SYNC_ERRORS, wire.Activity.SYNC_FAILED}
)


@dataclass(slots=True)
class MemberRecord:
    """What one member says of itself."""

    sources: list[wire.SourceInfo] = field(default_factory=list)
    revision: int = 0
    activity: wire.Activity = wire.Activity.WAITING_INVENTORY
    progress: wire.Progress = field(default_factory=wire.Progress)
