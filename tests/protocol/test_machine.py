from collections import deque

from protocol.machine import Machine


class Echo:
    """The smallest machine: says back what it hears, once the time has come."""

    def __init__(self) -> None:
        self._heard: list[str] = []
        self._due: float | None = None
        self._outbox: list[str] = []
        self._events: deque[int] = deque()

    def receive_message(self, message: str, *, now: float) -> None:
        self._heard.append(message)
        self._due = now + 1.0

    def handle_timer(self, *, now: float) -> None:
        if self._due is not None and now >= self._due:
            self._outbox, self._heard, self._due = self._heard, [], None
            self._events.append(len(self._outbox))

    def get_timer(self) -> float | None:
        return self._due

    def messages_to_send(self) -> list[str]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def next_event(self) -> int | None:
        return self._events.popleft() if self._events else None


def drive(machine: Machine[str, int], words: list[str]) -> tuple[list[str], list[int]]:
    """What every driver does with every machine: one input, then drain."""
    now = 0.0
    sent: list[str] = []
    events: list[int] = []
    for word in words:
        machine.receive_message(word, now=now)
    while (due := machine.get_timer()) is not None:
        now = due
        machine.handle_timer(now=now)
        sent += machine.messages_to_send()
        while (event := machine.next_event()) is not None:
            events.append(event)
    return sent, events


def test_a_class_with_the_five_verbs_is_a_machine() -> None:
    """By its shape alone: drivers and harnesses know no other."""
    assert drive(Echo(), ["one", "two"]) == (["one", "two"], [2])


def test_the_verbs_are_five() -> None:
    """A sixth would be one that some driver forgets."""
    assert {name for name in vars(Machine) if not name.startswith("_")} == {
        "receive_message",
        "handle_timer",
        "get_timer",
        "messages_to_send",
        "next_event",
    }
