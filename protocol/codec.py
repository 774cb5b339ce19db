"""Messages to bytes and back: MessagePack within declared bounds.

Everything from the wire is hostile until it is a message: whatever is wrong with it, the one
error is ``MalformedMessage``. Nesting is bounded twice: a declared type has a depth of its
own, and what an unknown key holds is skipped no deeper than the interpreter's recursion limit
(security.md, T18).
"""

import functools
from typing import Any, Final, get_args

import msgspec

from protocol.errors import MalformedMessage
from protocol.messages.base import Message, Value

RENDEZVOUS_FRAME: Final = 32
"""Frame type of a message to or from the rendezvous node."""

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message | Value) -> bytes:
    """Return *message* as the body of a frame, or a value as the bytes of a field."""
    return _encoder.encode(message)


def decode(data: bytes, union: Any) -> Any:
    """Return the message that *data* is; the caller annotates what it gets with *union*.

    Args:
        data: The body of a frame, already within the frame's bound.
        union: The message types admitted here, ``A | B | ...`` or one class.

    Raises:
        MalformedMessage: If it is none of them, or breaks a declared bound.
    """
    try:
        return _decoder(union).decode(data)
    # A string that is no UTF-8 and a value its class refuses are ValueErrors like every
    # error of msgspec; nesting beyond the interpreter's limit is a RecursionError.
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedMessage("not a message that is admitted here") from error


def members_of(union: Any) -> tuple[type[Message], ...]:
    """Return the message classes of *union*, in the order it declares them."""
    return get_args(union) or (union,)


@functools.lru_cache(maxsize=64)
def _decoder(union: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(union)
