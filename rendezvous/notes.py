"""What nodes on one store tell each other: a seeker at one, members at the other.

::

    seeker's node   Ask(offer)       ->    introduces it to members of its own
                    <- Told(offer)         one for every introduction asked for
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from protocol.messages.rendezvous import (
    IntroductionId,
    Milliseconds,
    Offer,
    SessionName,
    TokenHash,
)
from rendezvous.records import NodeName

MAX_NOTE: Final = 16 * 1024
"""Bytes of a note: one offer of 16 addresses with room to spare."""


class Ask(msgspec.Struct, frozen=True, tag="ask", array_like=True, forbid_unknown_fields=True):
    """Introduce this seeker to members you serve, one for each name of an introduction."""

    introductions: Annotated[tuple[IntroductionId, ...], Meta(min_length=1, max_length=5)]
    session_id: SessionName
    token_hash: TokenHash
    """Of the claim the seeker's node knows; members under another one are not asked."""
    node: NodeName
    """Where the seeker is."""
    offer: Offer
    """The seeker's, vetted."""


class Told(msgspec.Struct, frozen=True, tag="told", array_like=True, forbid_unknown_fields=True):
    """What came of one introduction."""

    introduction_id: IntroductionId
    offer: Offer | None
    """The member's, vetted; None if it declined, or there was none to ask."""
    delay: Milliseconds = 0
    """How long the seeker waits."""


Note: TypeAlias = Ask | Told

_DECODER: Final = msgspec.msgpack.Decoder(Ask | Told)


def encode_note(note: Note) -> bytes:
    """Return what goes over the store's channel."""
    return msgspec.msgpack.encode(note)


def decode_note(data: bytes) -> Note | None:
    """Return the note of *data*; None if another version of the node sent it."""
    if len(data) > MAX_NOTE:
        return None
    try:
        note: Note = _DECODER.decode(data)
    except (msgspec.DecodeError, ValueError):
        return None
    return note
