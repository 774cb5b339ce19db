"""Errors of a peer carry a code, values for their text and an exit status, and repeat no more."""

import inspect
import json

import pytest

from peer import errors
from protocol.errors import ExitStatus, QuintetError

ERRORS = [
    kind
    for _, kind in sorted(vars(errors).items())
    if inspect.isclass(kind)
    and issubclass(kind, QuintetError)
    and kind.__module__ == errors.__name__
    and kind is not errors.PeerRefused
]
SAMPLES: dict[object, object] = {
    str: "x",
    int: 3,
    errors.Problem: errors.Problem.UNEXPECTED,
}


def _made(kind: type[QuintetError]) -> QuintetError:
    if kind.__init__ is QuintetError.__init__:
        return kind()
    parameters = list(inspect.signature(kind).parameters.values())
    return kind(*(SAMPLES[parameter.annotation] for parameter in parameters))


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_tells_its_values_as_json(kind: type[QuintetError]) -> None:
    """The local API hands them on; the text in either language needs them."""
    error = _made(kind)

    told = json.loads(json.dumps(error.params))
    assert isinstance(told, dict)
    assert error.exit_status is not ExitStatus.DONE
    assert "." in error.code
    assert str(error) or not error.args


def test_codes_are_told_apart() -> None:
    """One code, one error."""
    codes = [kind.code for kind in ERRORS]

    assert len(set(codes)) == len(codes)


def test_what_a_peer_answered_is_handed_on() -> None:
    """Code, values and exit status as they came."""
    error = errors.PeerRefused("E04", {"tries_left": 3}, ExitStatus.REFUSED)

    assert (error.code, error.params, error.exit_status, str(error)) == (
        "E04", {"tries_left": 3}, ExitStatus.REFUSED, "E04",
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind", [errors.SecretInArguments, errors.SecretInEnvironment, errors.SettingInvalid]
)
def test_no_error_repeats_a_value_that_was_typed(kind: type[QuintetError]) -> None:
    """Its place or its bounds are told instead."""
    assert set(_made(kind).params) <= {"variable", "name", "expected"}
