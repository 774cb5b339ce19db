import ast
import itertools
import pathlib

from protocol import limits
from protocol.limits import KIB

SOURCE = pathlib.Path(limits.__file__).read_text(encoding="utf-8")
MULTIPLES = {"KIB", "MIB", "GIB"}


def numbers() -> dict[str, float]:
    return {
        name: value
        for name, value in vars(limits).items()
        if name.isupper() and isinstance(value, int | float)
    }


def test_every_bound_has_a_unit_and_a_reason_beside_it() -> None:
    """A number without words is a riddle."""
    body = ast.parse(SOURCE).body
    said = {
        node.target.id
        for node, after in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }

    assert said == set(numbers()) - MULTIPLES
    assert len(said) > 20, "a walk that finds nothing proves nothing"


def test_every_bound_is_positive() -> None:
    """Zero would forbid, and a negative number means nothing."""
    assert all(value > 0 for value in numbers().values())


def test_what_is_inside_fits_what_is_around_it() -> None:
    """Bounds that lean on one another."""
    assert limits.MAX_COMPONENT <= limits.MAX_PATH
    assert limits.MAX_DEPTH * 2 <= limits.MAX_PATH
    assert limits.MAX_BATCH <= limits.MAX_ENTRIES
    assert limits.STREAM_WINDOW <= limits.CONNECTION_WINDOW
    assert limits.MAX_CONTROL_PLAINTEXT <= limits.STREAM_WINDOW
    assert limits.FILE_CHUNK <= limits.STREAM_WINDOW
    assert limits.MIN_DATAGRAM <= limits.MAX_DATAGRAM
    assert limits.MAX_JOIN_FRAME <= limits.PRE_AUTH_WINDOW
    assert limits.MAX_RENDEZVOUS_FRAME <= limits.PRE_AUTH_WINDOW
    assert limits.MAX_UNAUTHENTICATED_PER_SOURCE <= limits.MAX_UNAUTHENTICATED
    assert limits.UNREACHABLE_AFTER < limits.GRACE_TIME
    assert limits.MAX_INVENTORY_BYTES // limits.MAX_ENTRIES > KIB / 2


def test_the_library_grants_what_its_own_rfc_asks_for() -> None:
    """RFC 9000: sections 7.5 and 14."""
    assert limits.MAX_CRYPTO_BUFFER >= 4096
    assert limits.MIN_DATAGRAM == 1200
