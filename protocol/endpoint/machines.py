"""Which QUIC machine the connections of this process run on."""

import functools
import os

from protocol.quic.connection import BoundedQuicConnection
from protocol.quic.fast_trial import fault_of_fast_path
from protocol.quic.fastpath import FastQuicConnection


@functools.cache
def fast_path_fault() -> str | None:
    """Return why this process does without the fast path, or None if it does not."""
    return fault_of_fast_path(os.urandom)


def machine() -> type[BoundedQuicConnection]:
    """Return the class of every new connection."""
    return FastQuicConnection if fast_path_fault() is None else BoundedQuicConnection
