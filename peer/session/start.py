"""The start of a synchronisation: what the leader signs, and who has agreed."""

from dataclasses import dataclass

from peer.session.session_settings import SessionSettings
from protocol import codec
from protocol.crypto.transcript import lv, number
from protocol.messages.session import SynchronisationOrdered


@dataclass(slots=True)
class Start:
    """A synchronisation ordered or under way.

    Attributes:
        by: Who ordered it.
        sync: Its random name.
        steps_digest: Digest of the plan's steps, equal at every member that accepts.
        participants: Who was present when it was ordered.
        accepted: Who said that its own plan has that digest.
        begun: Whether the steps are being carried out.
        ordered: The order as it was signed, for who comes back.
        stopped_by: Who aborted it first, and why, as a code.
    """

    by: int
    sync: bytes
    steps_digest: bytes
    participants: frozenset[int]
    accepted: set[int]
    begun: bool = False
    ordered: SynchronisationOrdered | None = None
    stopped_by: tuple[int, str] | None = None

    def is_agreed(self, present: frozenset[int]) -> bool:
        """Whether every participant that is still there has accepted."""
        return self.participants & present <= self.accepted


def statement(
    message: SynchronisationOrdered, settings: SessionSettings, decisions: bytes
) -> bytes:
    """Return what START signs: the steps' digest and all that led to the steps.

    Args:
        message: The order; its signature is not part of the statement.
        settings: The session's settings.
        decisions: Rules and targeted actions, encoded.
    """
    return lv(
        number(message.order.epoch, 8),
        number(message.order.leader, 1),
        number(message.order.sequence, 8),
        message.sync,
        number(message.revision, 4),
        message.reference_time_ns.to_bytes(16, "big", signed=True),
        number(message.steps, 8),
        message.steps_digest,
        codec.encode(settings),
        decisions,
    )
