"""Every error that can cross the wire, in one tree.

* QuintetError
    * ProtocolError (abstract)
        * LocalProtocolError       a caller on this side broke the contract: a bug
        * RemoteProtocolError      the other side broke it: close the connection
            * MalformedMessage     bytes that are no message of this version
            * FrameTooLarge        a frame announced more than its bound
            * SealBroken           a record, seal or signature does not verify
    * JoinFailed                   a join ended with one of the outcomes E01 to E21
    * LinkClosed                   the connection ended; says who closed it and why
    * StreamReset                  one stream of a connection was abandoned
    * UnsafeLibrary                the QUIC library is not the one the guards were written for
    * SecretUnusable               a Session ID, password or invitation is malformed
    * CryptoUnusable               a library lacks or miscomputes what the protocol needs
    * NodeRefused                  the rendezvous node declined a request

A new error is added here (or in ``peer/errors.py`` when it never crosses the wire) and
nowhere else. ``code`` is stable: the API, the exit status and both languages go by it.
"""

import enum


class CloseCode(enum.IntEnum):
    """QUIC application close codes; published in PROTOCOL.md, never renumbered."""

    NORMAL = 0
    INTERNAL = 1
    PROTOCOL = 3
    FRAME_TOO_LARGE = 4
    TIMEOUT = 5
    REFUSED = 10
    AUTHENTICATION = 11
    REPLACED = 12
    LEAVING = 13
    BUSY = 14


class ExitStatus(enum.IntEnum):
    """Exit statuses of the commands (interface.md, section 1)."""

    DONE = 0
    FAILURE = 1
    USAGE = 2
    DIFFERENCES = 3
    SOME_FAILED = 4
    REFUSED = 5
    UNREACHABLE = 6
    TIMED_OUT = 7
    BRAKE = 8


class QuintetError(Exception):
    """Base class of all errors this project raises on purpose."""

    code: str = "internal"
    close_code: CloseCode = CloseCode.INTERNAL
    exit_status: ExitStatus = ExitStatus.FAILURE

    @property
    def params(self) -> dict[str, object]:
        """Values the text of this error needs; JSON-safe, never a secret."""
        return {}


class ProtocolError(QuintetError):
    """Abstract: the wire contract was broken. Raise one of the two kinds."""

    code = "E20"
    close_code = CloseCode.PROTOCOL


class LocalProtocolError(ProtocolError):
    """This side asked for something the current state forbids."""


class RemoteProtocolError(ProtocolError):
    """The other side sent something the current state forbids."""


class MalformedMessage(RemoteProtocolError):
    """Bytes that are no message of this protocol version."""


class FrameTooLarge(RemoteProtocolError):
    """A frame announced more bytes than its bound."""

    close_code = CloseCode.FRAME_TOO_LARGE

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"frame of {self.size} bytes exceeds {self.limit} bytes"


class SealBroken(RemoteProtocolError):
    """A record, a seal or a signature does not verify. Says nothing more on purpose."""

    close_code = CloseCode.AUTHENTICATION

    def __str__(self) -> str:
        return "seal broken"


class JoinOutcome(enum.IntEnum):
    """How a join can fail (security.md, section 4.1); the number is sent in J-ERR."""

    NOT_FOUND = 1
    ID_TYPO = 2
    PASSWORD_TYPO = 3
    WRONG_PASSWORD = 4
    THROTTLED = 5
    PAUSED = 6
    FULL = 7
    LOCKED = 8
    VERSION = 9
    UNREACHABLE = 10
    RENDEZVOUS_DOWN = 11
    DECLINED = 12
    MEMBERS_UNREACHABLE = 13
    IMPOSTOR = 14
    TIMEOUT = 15
    CANCELLED = 16
    KEY_CHANGED = 17
    REMOVED = 18
    ALREADY_IN = 19
    PROTOCOL = 20
    LINK_FAILED = 21


_UNREACHABLE_OUTCOMES = frozenset(
    {JoinOutcome.UNREACHABLE, JoinOutcome.RENDEZVOUS_DOWN, JoinOutcome.MEMBERS_UNREACHABLE}
)


class JoinFailed(QuintetError):
    """A join ended without admission.

    Args:
        outcome: Which of E01 to E21.
        retry_after: Seconds to wait before another try; 0 where none is asked for.
        params: Further values of the text, such as ``tries_left`` or ``member``.
    """

    close_code = CloseCode.REFUSED

    def __init__(self, outcome: JoinOutcome, retry_after: int = 0, **params: object) -> None:
        super().__init__(outcome, retry_after, params)
        self.outcome = outcome
        self.retry_after = retry_after
        self._params = params
        self.code = f"E{outcome:02d}"
        if outcome in _UNREACHABLE_OUTCOMES:
            self.exit_status = ExitStatus.UNREACHABLE
        elif outcome is JoinOutcome.TIMEOUT:
            self.exit_status = ExitStatus.TIMED_OUT
        else:
            self.exit_status = ExitStatus.REFUSED

    @property
    def params(self) -> dict[str, object]:
        return {"retry_after": self.retry_after, **self._params}

    def __str__(self) -> str:
        return f"{self.code} {self.outcome.name}"


class LinkClosed(QuintetError):
    """A connection ended.

    Args:
        error_code: The QUIC application or transport error code.
        reason: The other side's reason, for the log only.
        by_us: Whether this side closed it.
        transport: Whether ``error_code`` is QUIC's own (RFC 9000, section 20.1)
            and no ``CloseCode``.
    """

    code = "link.closed"
    exit_status = ExitStatus.UNREACHABLE

    def __init__(
        self,
        error_code: int = 0,
        reason: str = "",
        *,
        by_us: bool = False,
        transport: bool = False,
    ) -> None:
        super().__init__(error_code, reason, by_us)
        self.error_code = error_code
        self.reason = reason
        self.by_us = by_us
        self.transport = transport

    def __str__(self) -> str:
        side = "this side" if self.by_us else "the other side"
        return f"connection closed by {side} ({self.error_code} {self.reason})"


class StreamReset(QuintetError):
    """One stream was abandoned; the connection lives on.

    Args:
        error_code: The application error code of the reset.
        by_us: Whether this side abandoned it.
    """

    code = "link.stream_reset"

    def __init__(self, error_code: int, *, by_us: bool = False) -> None:
        super().__init__(error_code, by_us)
        self.error_code = error_code
        self.by_us = by_us

    def __str__(self) -> str:
        side = "this side" if self.by_us else "the other side"
        return f"stream abandoned by {side} ({self.error_code})"


class UnsafeLibrary(QuintetError):
    """The QUIC library is not the one our guards were written for: refuse to start.

    Args:
        finding: Which check failed.
    """

    code = "library.unsafe"

    def __init__(self, finding: str) -> None:
        super().__init__(finding)
        self.finding = finding

    def __str__(self) -> str:
        return f"unsafe QUIC library: {self.finding}"


class SecretUnusable(QuintetError):
    """A Session ID, a password or an invitation is malformed; its text is not repeated.

    Args:
        what: ``session_id``, ``password`` or ``invitation``.
    """

    exit_status = ExitStatus.USAGE

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        codes = {"session_id": "E02", "password": "E03"}
        self.code = codes.get(what, "invitation.malformed")

    def __str__(self) -> str:
        return f"malformed {self.what}"


class CryptoUnusable(QuintetError):
    """A library on this machine lacks or miscomputes what the protocol needs: refuse to start.

    Args:
        finding: Which check failed.
    """

    code = "crypto.unusable"

    def __init__(self, finding: str) -> None:
        super().__init__(finding)
        self.finding = finding

    def __str__(self) -> str:
        return f"unusable cryptographic library: {self.finding}"


class NodeRefusal(enum.StrEnum):
    """Why the rendezvous node declines; the wire carries the value."""

    TAKEN = "taken"
    NOT_FOUND = "not_found"
    THROTTLED = "throttled"
    FULL = "full"
    BAD_TOKEN = "bad_token"  # noqa: S105  # a reason, not a token
    BAD_REQUEST = "bad_request"
    ACCESS = "access"
    VERSION = "version"


class NodeRefused(QuintetError):
    """The rendezvous node declined a request.

    Args:
        refusal: Its reason.
        retry_after: Seconds to wait before another try; 0 where none is asked for.
    """

    exit_status = ExitStatus.REFUSED

    def __init__(self, refusal: NodeRefusal, retry_after: int = 0) -> None:
        super().__init__(refusal, retry_after)
        self.refusal = refusal
        self.retry_after = retry_after
        self.code = f"node.{refusal.value}"

    @property
    def params(self) -> dict[str, object]:
        return {"retry_after": self.retry_after}

    def __str__(self) -> str:
        return f"the rendezvous node refused: {self.refusal.value}"
