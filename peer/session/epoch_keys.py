"""The session keys a member holds: in force, pending, and those just past."""

from typing import Final

from protocol.credentials import Secret

OLD_EPOCH_TIME: Final = 30.0
"""Seconds a key that is past stays known: for transfers under way, and for members whose word
that they changed keys is still on its way (security.md, section 3.7)."""

MAX_OLD_KEYS: Final = 16
"""Keys past at once: five members that join and leave within half a minute make fewer."""


class EpochKeys:
    """Keys by epoch.

    Args:
        epoch: The epoch in force.
        key: Its key.
    """

    def __init__(self, epoch: int, key: Secret) -> None:
        self._epoch = epoch
        self._keys = {epoch: key}
        self._forget_at: dict[int, float] = {}

    def get(self, epoch: int) -> Secret | None:
        return self._keys.get(epoch)

    def add_pending(self, key: Secret) -> None:
        """Know the key of the next epoch, which may yet be aborted."""
        self._keys[self._epoch + 1] = key

    def drop_pending(self) -> None:
        self._keys.pop(self._epoch + 1, None)

    def activate(self, epoch: int, key: Secret, *, now: float) -> None:
        """Put the key of *epoch* in force; the one before is forgotten in its time."""
        self._forget_at[self._epoch] = now + OLD_EPOCH_TIME
        self._epoch = epoch
        self._keys[epoch] = key
        if len(self._forget_at) > MAX_OLD_KEYS:
            self._forget(min(self._forget_at))

    def handle_timer(self, *, now: float) -> None:
        for epoch in [each for each, moment in self._forget_at.items() if now >= moment]:
            self._forget(epoch)

    def get_timer(self) -> float | None:
        return min(self._forget_at.values(), default=None)

    def _forget(self, epoch: int) -> None:
        del self._keys[epoch], self._forget_at[epoch]
