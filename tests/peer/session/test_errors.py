import pytest

from peer.session import errors
from protocol.errors import ExitStatus, QuintetError


@pytest.mark.parametrize(
    ("error", "params", "sentence"),
    [
        (errors.LinksMissing("BC"), {"letters": "BC"}, "no link to BC"),
        (errors.BrakeTripped(3, 4), {"count": 3, "files": 4}, "3 of 4 files"),
        (errors.SourceUnknown("Z9"), {"source": "Z9"}, "no source 'Z9'"),
        (errors.PresetUnknown("x"), {"preset": "x"}, "no preset 'x'"),
        (errors.SideTooLarge(), {}, ""),
    ],
)
def test_an_error_says_what_it_is_about(
    error: QuintetError, params: dict[str, object], sentence: str
) -> None:
    """In its attributes for the text, in a sentence for the log."""
    assert error.params == params
    assert str(error) == sentence
    assert error.exit_status is not ExitStatus.DONE
