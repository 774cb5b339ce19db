"""Why a step of a synchronisation failed, where it was not the file system's answer.

What the file system answers has its codes in ``peer/fs/errors.py``; the proof's findings are in
``peer.transfer.proof``. All of them travel as reason codes and have a text in every language.
"""

import enum


class Reason(enum.StrEnum):
    """A reason code of transfers; stable, as it crosses the wire."""

    UNREACHABLE = "transfer.unreachable"
    """Nobody who holds the content could be reached."""
    INTERRUPTED = "transfer.interrupted"
    """The link was lost on the way."""
    STALLED = "transfer.stalled"
    """The holder sent nothing for too long."""
    BROKEN = "transfer.broken"
    """What the holder sent was not what was asked for."""
    CONTENT_MISMATCH = "transfer.content_mismatch"
    """The content is not what was agreed; it was discarded."""
    ABORTED = "transfer.aborted"
    """The synchronisation was ended before this step."""
    STILL_NEEDED = "transfer.still_needed"
    """Not deleted: a copy made from it failed."""
    UNKNOWN_SYNC = "transfer.unknown_sync"
    """The holder is not, or no longer, in this synchronisation."""
    NOT_HELD = "transfer.not_held"
    """The plan does not let this member ask that holder for this step."""
    BUSY = "transfer.busy"
    """The holder has as many transfers open as it admits."""
    DATE_DIFFERS = "transfer.date_differs"
    """The content is right, its date is not what was set."""
