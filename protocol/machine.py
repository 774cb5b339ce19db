"""The shape of every machine without I/O: aioquic's verbs.

One input, then drain everything, then the next input (house.md, section 1).
"""

from typing import Protocol, TypeVar

MessageT = TypeVar("MessageT")
EventT_co = TypeVar("EventT_co", covariant=True)


class Machine(Protocol[MessageT, EventT_co]):
    """Takes messages, commands and the time; gives messages, events and the next deadline.

    Time is ``now``, in seconds, monotonic.
    """

    def receive_message(self, message: MessageT, *, now: float) -> None:
        """Take one message from the other side.

        Raises:
            RemoteProtocolError: If the state forbids it; the caller closes the connection.
        """

    def handle_timer(self, *, now: float) -> None:
        """Act on a deadline that has passed; harmless when none has."""

    def get_timer(self) -> float | None:
        """Return the moment ``handle_timer`` must be called, or None."""

    def messages_to_send(self) -> list[MessageT]:
        """Return what must be sent now, in order, once."""

    def next_event(self) -> EventT_co | None:
        """Return the next event for the owner, or None when drained."""
