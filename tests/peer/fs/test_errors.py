import errno
import os

import pytest

from peer.fs import errors
from protocol.errors import QuintetError


def _all_below(root: type[QuintetError]) -> list[type[QuintetError]]:
    below = list(root.__subclasses__())
    for kind in list(below):
        below += _all_below(kind)
    return below


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.NoSpace),
        (errno.EDQUOT, errors.NoSpace),
        (errno.EROFS, errors.ReadOnly),
        (errno.EACCES, errors.Denied),
        (errno.ELOOP, errors.NotADirectory),
        (errno.EXDEV, errors.OtherDevice),
        (errno.EIO, errors.DiskFailed),
    ],
)
def test_a_system_error_has_one_name(number: int, kind: type[errors.FileError]) -> None:
    """The number decides; what is not listed is a failing disk."""
    error = errors.file_error(OSError(number, os.strerror(number), "/secret/path"))

    assert type(error) is kind
    assert "secret" not in f"{error} {error!r} {error.params}"
    assert error.params == {"errno": errno.errorcode[number]}


def test_codes_are_unique_in_the_tree() -> None:
    """A code names one error."""
    kinds = [kind for root in (errors.FileError, errors.SourceRefused) for kind in _all_below(root)]

    assert len({kind.code for kind in kinds}) == len(kinds)


def test_errors_say_what_they_hold_as_data() -> None:
    """The sentence and the values of both languages come from attributes."""
    changed, full = errors.ChangedSince("link"), errors.NotEmpty(3)
    inside = errors.SourceAroundAnother(2)

    assert (changed.params, full.params) == ({"found": "link"}, {"count": 3})
    assert inside.params == {"other": 2}
    assert [str(error) for error in (changed, full, inside, errors.Outside())] == [
        "changed since the inventory: link stands there",
        "the directory still holds 3 entries",
        "source.around_another",
        "fs.outside",
    ]
