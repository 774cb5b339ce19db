"""What the leader decided: rules, targeted actions, and the preset they came from."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peer.plan.actions import AnyAction
from peer.plan.rules import MAX_RULES, Rule
from protocol.errors import MalformedMessage
from protocol.limits import MAX_BATCH, MIB
from protocol.messages.base import Value
from protocol.messages.inventory import RelPath, SourcePosition

MAX_TARGETED: Final = 1_000
"""Batches of targeted actions; with the items of each this is every item of an inventory."""

MAX_ENCODED: Final = 64 * MIB
"""Bytes of encoded decisions: a hundred thousand items set by hand, with long paths."""


class Targeted(Value):
    """An action set by hand on items."""

    action: AnyAction
    items: Annotated[
        tuple[tuple[SourcePosition, RelPath], ...], Meta(min_length=1, max_length=MAX_BATCH)
    ]
    """Line and path of each; any member's spelling of the path names the item."""


class Decisions(Value):
    """All that decides the plan besides the comparison and the plan's instant."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=MAX_RULES)] = ()
    targeted: Annotated[tuple[Targeted, ...], Meta(max_length=MAX_TARGETED)] = ()
    """In the order set: of several for one item and destination the first counts."""
    preset: Annotated[str, Meta(max_length=64, pattern=r"\A[a-z-]*\Z")] = ""
    """Label of the preset that the rules are; empty when they are somebody's own."""

    def encode(self) -> bytes:
        """Return the wire form."""
        return _ENCODER.encode(self)


def decode(data: bytes) -> Decisions:
    """Return the decisions that *data* encodes.

    Raises:
        MalformedMessage: If they are none, or out of bounds.
    """
    if len(data) > MAX_ENCODED:
        raise MalformedMessage("decisions too long")
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedMessage("no decisions") from error


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Decisions)
