"""Every error of a peer that never crosses the wire, in the tree that begins in the protocol.

Errors that do cross it are in ``protocol/errors.py``. ``code`` is the key of the text in both
languages (``error.<code>`` in ``peer/locales``) and ``exit_status`` what a command returns.
"""

import enum
from collections.abc import Mapping

from protocol.errors import ExitStatus, QuintetError

# --- settings of this computer ----------------------------------------------------


class SettingUnknown(QuintetError):
    """There is no setting of this name.

    Args:
        name: What was asked for.
        suggestion: The closest name there is; empty if none is close.
    """

    code = "setting.unknown"
    exit_status = ExitStatus.USAGE

    def __init__(self, name: str, suggestion: str = "") -> None:
        super().__init__(name, suggestion)
        self.name = name
        self.suggestion = suggestion

    @property
    def params(self) -> dict[str, object]:
        return {"name": self.name, "suggestion": self.suggestion}

    def __str__(self) -> str:
        return f"no setting {self.name!r}"


class SettingInvalid(QuintetError):
    """A setting's value is out of its bounds; the value is not repeated.

    Args:
        name: The setting.
        expected: Its bounds, in signs that need no translation.
    """

    code = "setting.invalid"
    exit_status = ExitStatus.USAGE

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(name, expected)
        self.name = name
        self.expected = expected

    @property
    def params(self) -> dict[str, object]:
        return {"name": self.name, "expected": self.expected}

    def __str__(self) -> str:
        return f"{self.name} takes {self.expected}"


class SettingsUnreadable(QuintetError):
    """A file of settings cannot be read, or is no TOML."""

    code = "setting.unreadable"
    exit_status = ExitStatus.USAGE

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    @property
    def params(self) -> dict[str, object]:
        return {"path": self.path}

    def __str__(self) -> str:
        return "settings unreadable"


# --- the running peer ---------------------------------------------------------------


class PeerNotRunning(QuintetError):
    """No peer runs for this state folder."""

    code = "peer.not_running"
    exit_status = ExitStatus.UNREACHABLE


class PeerAlreadyRunning(QuintetError):
    """Another peer holds this state folder."""

    code = "peer.already_running"
    exit_status = ExitStatus.REFUSED


class PeerDidNotStart(QuintetError):
    """A peer started in the background ended, or said nothing in time.

    Args:
        log: Path of its log, for the person at this computer.
    """

    code = "peer.did_not_start"

    def __init__(self, log: str) -> None:
        super().__init__(log)
        self.log = log

    @property
    def params(self) -> dict[str, object]:
        return {"log": self.log}

    def __str__(self) -> str:
        return "the peer did not start"


class RequestMalformed(QuintetError):
    """A request to the local API does not have the declared form.

    Args:
        where: The decoder's words: which field, which bound.
    """

    code = "request.malformed"
    exit_status = ExitStatus.USAGE

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    @property
    def params(self) -> dict[str, object]:
        return {"where": self.where}

    def __str__(self) -> str:
        return self.where


class RequestUnknown(QuintetError):
    """The local API has no such route."""

    code = "request.unknown"
    exit_status = ExitStatus.USAGE


class PeerRefused(QuintetError):
    """What the running peer answered, as the command line hands it on.

    Args:
        code: Its error code, the key of the text.
        params: Values of the text.
        exit_status: What the command returns.
    """

    def __init__(self, code: str, params: Mapping[str, object], exit_status: ExitStatus) -> None:
        super().__init__(code)
        self.code = code
        self._params = dict(params)
        self.exit_status = exit_status

    @property
    def params(self) -> dict[str, object]:
        return self._params

    def __str__(self) -> str:
        return self.code


# --- secrets where others can read them (security.md, section 3.9) -------------------


class SecretInArguments(QuintetError):
    """A password or an invitation stands among the arguments; it is not repeated."""

    code = "secret.in_arguments"
    exit_status = ExitStatus.USAGE


class SecretInEnvironment(QuintetError):
    """A password or an invitation stands in the environment; it is not repeated."""

    code = "secret.in_environment"
    exit_status = ExitStatus.USAGE

    def __init__(self, variable: str) -> None:
        super().__init__(variable)
        self.variable = variable

    @property
    def params(self) -> dict[str, object]:
        return {"variable": self.variable}

    def __str__(self) -> str:
        return f"secret in {self.variable}"


class SecretFileExposed(QuintetError):
    """A file that holds a secret is open to others, or is no regular file of this user."""

    code = "secret.file_exposed"
    exit_status = ExitStatus.USAGE

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    @property
    def params(self) -> dict[str, object]:
        return {"path": self.path}

    def __str__(self) -> str:
        return "secret file open to others"


class SecretNeedsTerminal(QuintetError):
    """A secret is needed and there is no terminal to ask on."""

    code = "secret.needs_terminal"
    exit_status = ExitStatus.USAGE


# --- sessions -------------------------------------------------------------------------


class NoSession(QuintetError):
    """This peer is in no session."""

    code = "session.none"
    exit_status = ExitStatus.USAGE


class AlreadyInSession(QuintetError):
    """This peer is in a session already; it can be in one at a time."""

    code = "session.already_in"
    exit_status = ExitStatus.REFUSED


class SessionAlone(QuintetError):
    """The act needs two members that have a source each."""

    code = "session.alone"
    exit_status = ExitStatus.REFUSED


class WrongPhase(QuintetError):
    """The act is not possible in the session's present phase.

    Args:
        phase: The present phase.
    """

    code = "session.wrong_phase"
    exit_status = ExitStatus.REFUSED

    def __init__(self, phase: str) -> None:
        super().__init__(phase)
        self.phase = phase

    @property
    def params(self) -> dict[str, object]:
        return {"phase": self.phase}

    def __str__(self) -> str:
        return f"not in phase {self.phase}"


class RightMissing(QuintetError):
    """The act belongs to another member, usually the leader (product.md, section 2.4).

    Args:
        leader: Letter of the member that may act.
    """

    code = "right.missing"
    exit_status = ExitStatus.REFUSED

    def __init__(self, leader: str) -> None:
        super().__init__(leader)
        self.leader = leader

    @property
    def params(self) -> dict[str, object]:
        return {"leader": self.leader}

    def __str__(self) -> str:
        return f"only {self.leader} may do this"


class ConfirmationNeeded(QuintetError):
    """An act wants a yes, and there is no terminal to ask on."""

    code = "confirmation.needed"
    exit_status = ExitStatus.USAGE


class ConfirmationDeclined(QuintetError):
    """The person said no; nothing happened."""

    code = "confirmation.declined"
    exit_status = ExitStatus.REFUSED


class WaitTimedOut(QuintetError):
    """What was waited for did not happen in time."""

    code = "wait.timed_out"
    exit_status = ExitStatus.TIMED_OUT


class InventoryStopped(QuintetError):
    """The inventory ended without a comparison: cancelled, or a member failed."""

    code = "inventory.stopped"


class NameTaken(QuintetError):
    """A name was given, but the running peer shows another one already."""

    code = "peer.other_name"
    exit_status = ExitStatus.USAGE

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    @property
    def params(self) -> dict[str, object]:
        return {"name": self.name}

    def __str__(self) -> str:
        return "the running peer has another name"


class DemoFailed(QuintetError):
    """The demonstration did not reach its proof.

    Args:
        stage: Key of the stage that failed.
        detail: What went wrong, for the person who watches.
    """

    code = "demo.failed"

    def __init__(self, stage: str, detail: str = "") -> None:
        super().__init__(stage, detail)
        self.stage = stage
        self.detail = detail

    @property
    def params(self) -> dict[str, object]:
        return {"stage": self.stage, "detail": self.detail}

    def __str__(self) -> str:
        return f"demo failed at {self.stage}: {self.detail}"


# --- filters and rules ------------------------------------------------------------------


class Problem(enum.StrEnum):
    """What is wrong with a filter or a rule; the end of the text's key."""

    UNEXPECTED = "unexpected"
    UNFINISHED = "unfinished"
    UNKNOWN_TERM = "unknown_term"
    UNKNOWN_MEMBER = "unknown_member"
    BAD_VALUE = "bad_value"
    BAD_PATTERN = "bad_pattern"
    TOO_MUCH = "too_much"


class ExpressionMalformed(QuintetError):
    """A filter or a rule cannot be read; points at the place.

    Args:
        problem: What is wrong there.
        position: Characters before the place.
        found: What stands there; empty at the end.
        expected: What would be accepted, in signs that need no translation.
    """

    code = "expression.malformed"
    exit_status = ExitStatus.USAGE

    def __init__(
        self, problem: Problem, position: int, found: str = "", expected: str = ""
    ) -> None:
        super().__init__(problem, position, found, expected)
        self.problem = problem
        self.position = position
        self.found = found
        self.expected = expected

    @property
    def params(self) -> dict[str, object]:
        return {
            "problem": self.problem.value,
            "position": self.position,
            "found": self.found,
            "expected": self.expected,
        }

    def __str__(self) -> str:
        return f"{self.problem.value} at {self.position}: {self.found!r}"
