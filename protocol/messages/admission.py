"""Messages about the door of a session: who waits at it, who tried a wrong password, who lets in.

Who sponsors a candidate asks, anybody answers; the sponsor goes by the first answer.
"""

from typing import Annotated

from msgspec import Meta

from protocol.ids import MemberIndex
from protocol.messages.base import Message
from protocol.messages.session import Email, Name, ProposalId

Digits = Annotated[str, Meta(max_length=14, pattern=r"\A[0-9]{4} [0-9]{4} [0-9]{4}\Z")]
"""What two people compare: twelve decimal digits in three groups."""

Source = Annotated[str, Meta(max_length=45)]
"""An IP address as text: at most an IPv6 address that holds an IPv4 one."""

Tries = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class CandidateWaiting(Message, tag="session.candidate_waiting"):
    """Sponsor to all: somebody has proven the password and waits to be let in."""

    proposal: ProposalId
    name: Annotated[Name, Meta(min_length=1)]
    email: Email
    digits: Digits
    """As the candidate shows them."""
    asks: bool
    """Whether a member must let it in; otherwise the leader's commit does."""


class CandidateGone(Message, tag="session.candidate_gone"):
    """Sponsor to all: this candidate waits no more."""

    proposal: ProposalId
    outcome: Annotated[int, Meta(ge=0, le=21)]
    """A ``JoinOutcome``; 0 once it is in, or has gone away by itself."""
    by: MemberIndex | None = None
    """Who declined it."""


class CandidateDecided(Message, tag="session.candidate_decided"):
    """Any member to sponsor: let this candidate in, or send it away."""

    proposal: ProposalId
    admitted: bool


class TriesReported(Message, tag="session.tries_reported"):
    """Member to all: wrong passwords were tried here."""

    total: Tries
    """Wrong tries here since joining was last reopened."""
    source: Source = ""
    """Who must wait now; empty if nobody must."""
    wrong: Tries = 0
    """How often that source was wrong."""
    pause: Annotated[int, Meta(ge=0, le=3600)] = 0
    """Seconds for which nobody can join through this member."""
    closed: bool = False
    """Whether nobody can until a member allows it again."""


class JoiningReopened(Message, tag="session.joining_reopened"):
    """Any member to all: forget the wrong tries; joining is possible again."""


AdmissionMessage = (
    CandidateWaiting | CandidateGone | CandidateDecided | TriesReported | JoiningReopened
)
