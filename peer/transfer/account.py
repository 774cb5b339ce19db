"""What became of a member's steps so far, and how far that is."""

from collections.abc import Sequence

from peer.plan.steps import AnyStep, CopyFile, Delete
from peer.transfer.reasons import Reason
from protocol.messages.inventory import RelPath
from protocol.messages.session import Progress


class Account:
    """Keeps count of one member's part of a plan.

    Args:
        steps: The whole plan.
        me: The member.
    """

    def __init__(self, steps: Sequence[AnyStep], me: int) -> None:
        self._own = {number: step for number, step in enumerate(steps) if step.member == me}
        self._me = me
        self._size = sum(
            step.origin.size for step in self._own.values() if isinstance(step, CopyFile)
        )
        self._done_size = 0
        self._shown = 0
        self._for_good: set[int] = set()
        self.done: set[int] = set()
        self.failures: dict[int, str] = {}
        """Reason code by step."""
        self.received = 0
        """Content bytes that came from others, discarded ones included."""

    @property
    def steps(self) -> int:
        """How many steps the member has."""
        return len(self._own)

    def came(self, count: int) -> None:
        """Take note of *count* content bytes."""
        self.received += count

    def succeeded(self, number: int) -> None:
        """Take note that step *number* is done."""
        self.failures.pop(number, None)
        if number not in self.done:
            self.done.add(number)
            step = self._own[number]
            if isinstance(step, CopyFile):
                self._done_size += step.origin.size

    def failed(self, number: int, code: str, *, for_good: bool = False) -> None:
        """Take note that step *number* failed.

        Args:
            number: The step.
            code: Why.
            for_good: Whether another try would change nothing.
        """
        self.done.discard(number)
        self.failures[number] = code
        if for_good:
            self._for_good.add(number)

    def deletable(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Return those of the deletions *numbers* whose content is not needed any more.

        A move is a copy and a deletion; where the copy failed, the deletion would take away
        what the next try copies from.
        """
        needed: set[tuple[int, RelPath]] = set()
        for number in self.failures:
            step = self._own[number]
            if isinstance(step, CopyFile):
                needed.update(place[1:] for place in step.holders if place[0] == self._me)
                if step.reuse is not None:
                    needed.add(step.reuse)
        kept = {
            number
            for number in numbers
            if isinstance(step := self._own[number], Delete) and (step.source, step.path) in needed
        }
        for number in sorted(kept):
            self.failed(number, Reason.STILL_NEEDED, for_good=True)
        return tuple(number for number in numbers if number not in kept)

    def worth_another_try(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Return those of *numbers* that failed for a reason that may have passed."""
        return tuple(
            number for number in numbers if number in self.failures and number not in self._for_good
        )

    def close(self, code: str) -> None:
        """Let every step that neither was done nor failed count as failed by *code*."""
        for number in self._own:
            if number not in self.done and number not in self.failures:
                self.failures[number] = code

    def progress(self) -> Progress:
        """Return how far the member is; bytes never go back."""
        # Bytes on their way count, but never as much as all.
        self._shown = max(self._shown, self._done_size, min(self.received, self._size))
        return Progress(
            steps=len(self._own),
            steps_done=len(self.done),
            steps_failed=len(self.failures),
            content=self._size,
            content_done=self._shown,
        )
