"""What happened at the node, in numbers for logs and metrics: no ID, no token, no address."""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from protocol.errors import CloseCode, NodeRefusal


class Outcome(enum.StrEnum):
    """How an introduction ended."""

    STARTED = "started"
    DECLINED = "declined"
    UNANSWERED = "unanswered"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A session was registered that the node did not know."""


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session was forgotten: its last member left, or it was not refreshed."""

    expired: bool


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A peer was refused something."""

    request: str
    reason: NodeRefusal


@dataclass(frozen=True, slots=True)
class IntroductionEnded:
    """A seeker and a member were brought together, or not."""

    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class ConnectionRefused:
    """The connection must be closed; nothing more is accepted from it."""

    connection_id: int
    close_code: CloseCode


@dataclass(frozen=True, slots=True)
class MemberRests:
    """A member stays registered without its connection, which ends."""

    connection_id: int


@dataclass(frozen=True, slots=True)
class MemberWoke:
    """A member that rested goes on with another connection."""


Event: TypeAlias = (
    SessionOpened
    | SessionEnded
    | RequestRefused
    | IntroductionEnded
    | ConnectionRefused
    | MemberRests
    | MemberWoke
)
