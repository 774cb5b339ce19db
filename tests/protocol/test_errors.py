import inspect
import json
import re

import pytest

from protocol import errors
from protocol.errors import (
    CloseCode,
    CryptoUnusable,
    ExitStatus,
    FrameTooLarge,
    JoinFailed,
    JoinOutcome,
    LinkClosed,
    LocalProtocolError,
    MalformedMessage,
    NodeRefusal,
    NodeRefused,
    ProtocolError,
    QuintetError,
    RemoteProtocolError,
    SealBroken,
    SecretUnusable,
    StreamReset,
    UnsafeLibrary,
)

EXAMPLES: list[QuintetError] = [
    LocalProtocolError("start while running"),
    RemoteProtocolError("two welcomes"),
    MalformedMessage("trailing bytes"),
    FrameTooLarge(9000, 8192),
    SealBroken(),
    *[JoinFailed(outcome, 7, tries_left=2) for outcome in JoinOutcome],
    LinkClosed(3, "protocol", by_us=True),
    LinkClosed(10, "idle", transport=True),
    StreamReset(5),
    StreamReset(5, by_us=True),
    UnsafeLibrary("version"),
    SecretUnusable("session_id"),
    SecretUnusable("password"),
    SecretUnusable("invitation"),
    CryptoUnusable("oaep"),
    *[NodeRefused(refusal, 7) for refusal in NodeRefusal],
]


def tree(error: type[QuintetError]) -> list[type[QuintetError]]:
    return [error, *(below for each in error.__subclasses__() for below in tree(each))]


@pytest.mark.parametrize(
    "error", EXAMPLES, ids=lambda error: f"{type(error).__name__}-{error.code}"
)
def test_an_error_speaks_and_carries_what_others_need(error: QuintetError) -> None:
    """A sentence, a stable code, JSON-safe values, an exit status, a close code."""
    assert str(error)
    assert re.fullmatch(r"E\d\d|internal|[a-z_]+\.[a-z_]+", error.code)
    assert json.loads(json.dumps(error.params)) == error.params
    assert error.exit_status in ExitStatus
    assert error.close_code in CloseCode
    assert error.exit_status is not ExitStatus.DONE


def test_every_error_of_the_module_is_in_the_picture_and_in_the_examples() -> None:
    """The tree in the docstring is the tree of the classes."""
    defined = {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, QuintetError)
    }
    drawn = re.findall(r"^ *\* (\w+)", errors.__doc__ or "", re.MULTILINE)

    assert sorted(drawn) == sorted(defined)
    assert {type(error) for error in EXAMPLES} == set(defined.values()) - {
        QuintetError,
        ProtocolError,
    }


def test_the_picture_shows_what_is_below_what() -> None:
    """Who catches a branch catches what is drawn under it."""
    above: dict[int, type[QuintetError]] = {}
    for indent, name in re.findall(r"^( *)\* (\w+)", errors.__doc__ or "", re.MULTILINE):
        kind = getattr(errors, name)
        if indent:
            assert kind.__bases__ == (above[len(indent) - 4],)
        above[len(indent)] = kind
    assert len(above) == 4


@pytest.mark.parametrize(
    ("outcome", "code", "status"),
    [
        (JoinOutcome.NOT_FOUND, "E01", ExitStatus.REFUSED),
        (JoinOutcome.WRONG_PASSWORD, "E04", ExitStatus.REFUSED),
        (JoinOutcome.UNREACHABLE, "E10", ExitStatus.UNREACHABLE),
        (JoinOutcome.RENDEZVOUS_DOWN, "E11", ExitStatus.UNREACHABLE),
        (JoinOutcome.MEMBERS_UNREACHABLE, "E13", ExitStatus.UNREACHABLE),
        (JoinOutcome.TIMEOUT, "E15", ExitStatus.TIMED_OUT),
        (JoinOutcome.LINK_FAILED, "E21", ExitStatus.REFUSED),
    ],
)
def test_a_join_fails_with_its_own_code_and_status(
    outcome: JoinOutcome, code: str, status: ExitStatus
) -> None:
    """Scripts tell refusal from a missing network from time that ran out."""
    failed = JoinFailed(outcome, 30, tries_left=3)

    assert (failed.code, failed.exit_status) == (code, status)
    assert failed.params == {"retry_after": 30, "tries_left": 3}
    assert failed.close_code is CloseCode.REFUSED


def test_join_outcomes_count_from_1_to_21() -> None:
    """The number is sent; none is reused."""
    assert [int(outcome) for outcome in JoinOutcome] == list(range(1, 22))


def test_what_a_secret_is_is_said_and_never_its_text() -> None:
    """Each with the code of its text."""
    codes = {what: SecretUnusable(what).code for what in ("session_id", "password", "invitation")}

    assert codes == {"session_id": "E02", "password": "E03", "invitation": "invitation.malformed"}


@pytest.mark.parametrize("error", [SealBroken()])
def test_a_broken_seal_says_nothing_more(error: SealBroken) -> None:
    """An attacker learns only that it did not work."""
    assert str(error) == "seal broken"
    assert error.args == ()
    assert error.close_code is CloseCode.AUTHENTICATION


def test_sides_and_sizes_stand_in_the_sentence() -> None:
    """Logs say who ended what."""
    assert "this side" in str(LinkClosed(0, by_us=True))
    assert "the other side" in str(LinkClosed(0))
    assert "this side" in str(StreamReset(5, by_us=True))
    assert "the other side" in str(StreamReset(5))
    assert "9000" in str(FrameTooLarge(9000, 8192))


def test_a_refusal_of_the_node_keeps_its_reason() -> None:
    """Code, exit status and pause."""
    refused = NodeRefused(NodeRefusal.THROTTLED, 60)

    assert (refused.code, refused.params) == ("node.throttled", {"retry_after": 60})
    assert refused.exit_status is ExitStatus.REFUSED


def test_close_codes_and_exit_statuses_are_never_renumbered() -> None:
    """Other versions and scripts rely on them."""
    assert {code.name: int(code) for code in CloseCode} == {
        "NORMAL": 0,
        "INTERNAL": 1,
        "PROTOCOL": 3,
        "FRAME_TOO_LARGE": 4,
        "TIMEOUT": 5,
        "REFUSED": 10,
        "AUTHENTICATION": 11,
        "REPLACED": 12,
        "LEAVING": 13,
        "BUSY": 14,
    }
    assert [int(status) for status in ExitStatus] == list(range(9))
    assert int(ExitStatus.USAGE) == 2, "the shell's and click's"
