"""Transfers on the control channel; the bytes themselves travel on the link's data streams.

A receiver asks a holder for the content of steps of the plan under way (``Fetch``); the holder
answers with a transfer of that id on one of its data streams, or ``FetchRefused``. At the end
each member states what it wrote and what it sent (``ProofStated``).
"""

from typing import Annotated

from msgspec import Meta

from protocol import limits
from protocol.ids import Digest, TransferId
from protocol.messages.base import Message, Value
from protocol.messages.session import Count, ReasonCode, SyncId

StepNumber = Annotated[int, Meta(ge=0, le=2**32 - 1)]
"""A step's place in the plan, from 0."""


class Fetch(Message, tag="transfer.fetch"):
    """Receiver to holder: send the content of these steps, in this order, as one transfer."""

    sync: SyncId
    transfer: TransferId
    steps: Annotated[list[StepNumber], Meta(min_length=1, max_length=limits.MAX_BATCH)]


class FetchRefused(Message, tag="transfer.refused"):
    """Holder to receiver: this transfer does not take place."""

    transfer: TransferId
    code: ReasonCode


class FetchCancelled(Message, tag="transfer.cancelled"):
    """Receiver to holder: stop sending this transfer."""

    transfer: TransferId


class StepFailure(Value):
    """One step that was not carried out."""

    step: StepNumber
    code: ReasonCode


class StepsFailed(Message, tag="transfer.steps_failed"):
    """Member to all: steps of mine that failed or were skipped, each with its reason."""

    sync: SyncId
    failures: Annotated[list[StepFailure], Meta(max_length=limits.MAX_BATCH)]


class StepProof(Value):
    """What a member read back from its disk for one step."""

    step: StepNumber
    digest: Digest | None
    """BLAKE3-256 of the content; None where nothing is there, as after a deletion."""


class ProofStated(Message, tag="transfer.proof"):
    """Member to all: what stands on my disk where I wrote, and what I read where I sent from."""

    sync: SyncId
    steps: Annotated[list[StepProof], Meta(max_length=limits.MAX_BATCH)]
    last: bool
    """Whether this is this member's last part."""
    round: Count = 0
    """Of the ``ProofAsked`` that this answers; 0 at the synchronisation's own end."""


class ProofAsked(Message, tag="transfer.proof_asked"):
    """Any member to all: read back the planned end state once more."""

    sync: SyncId
    round: Count


TransferMessage = Fetch | FetchRefused | FetchCancelled | StepsFailed | ProofStated | ProofAsked
