import pytest

from rendezvous.records import MAX_RECORD, Claim, Presence, Record, decode_record, encode_record

CLAIM = Claim("ABCDEFGHJ", b"t" * 32, 5, 6, b"k" * 32)
RECORD = Record(CLAIM, {"0" * 16: Presence(1, 1, 0), "f" * 16: Presence(0, 0, 2)}, 7)


def test_a_record_survives_the_store() -> None:
    """Every field of it."""
    assert decode_record(encode_record(RECORD)) == RECORD


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        encode_record(RECORD) + b"\x00",
        bytes(MAX_RECORD + 1),
        encode_record(Record(CLAIM, {"not a node": Presence()})),
        encode_record(Record(Claim("lower case", b"", -1), {})),
    ],
)
def test_what_is_no_record_of_ours_counts_as_none(data: bytes) -> None:
    """Another version wrote it, or somebody else."""
    assert decode_record(data) is None


def test_the_older_origin_precedes_then_the_higher_epoch() -> None:
    """One table states the whole order, best first."""
    best_first = [
        Claim("A", b"", 1, 9),
        Claim("A", b"", 1, 0),
        Claim("A", b"", 2, 9),
        Claim("A", b"", 2, 1),
    ]

    order = [[one.precedes(other) for other in best_first] for one in best_first]

    assert order == [[i < j for j in range(4)] for i in range(4)]


def test_members_are_the_connected_and_the_absent() -> None:
    """Listeners are connected ones."""
    assert Presence(2, 1, 3).members == 5
