"""What can go wrong with the peer's own state folder.

Another peer that holds the folder is ``peer.errors.PeerAlreadyRunning``.
"""

from protocol.errors import ExitStatus, QuintetError


class StateError(QuintetError):
    """The peer's own state folder cannot be used.

    Args:
        what: Which file or folder, by its own name.
    """

    code = "state.unusable"

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    @property
    def params(self) -> dict[str, object]:
        return {"what": self.what}

    def __str__(self) -> str:
        return f"{self.code}: {self.what}"


class StateExposed(StateError):
    """Others may read or change what only this user may (security.md, T21)."""

    code = "state.exposed"
    exit_status = ExitStatus.REFUSED


class StateUnusable(StateError):
    """It cannot be read or written, or holds something else than it should."""
