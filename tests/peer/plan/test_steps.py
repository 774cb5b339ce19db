import msgspec
import pytest

from peer.plan.steps import (
    AnyStep,
    CopyFile,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from protocol.messages.inventory import Entry, Kind

ENTRY = Entry(0, (b"a", b"\xff"), Kind.FILE, 5, -1, 0o644)
AT = {"member": 1, "source": 0, "path": (b"a", b"\xff")}
STEPS: list[AnyStep] = [
    CreateDirectory(**AT, mode=0o700),
    CopyFile(
        **AT,
        expected=ENTRY,
        holders=((0, 0, (b"a",)),),
        origin=ENTRY,
        digest=b"d" * 32,
        mtime_ns=-1,
        reuse=(0, (b"b",)),
    ),
    CopyLink(**AT, target=b"../x", mtime_ns=3),
    SetDate(**AT, mtime_ns=4),
    SetMode(**AT, mode=0o600),
    Delete(**AT, expected=ENTRY, expected_digest=b"e" * 32),
    DeleteDirectory(**AT),
]


def test_steps_survive_the_journal_and_the_wire() -> None:
    """Every kind is told by its tag."""
    encoded = msgspec.msgpack.encode(STEPS)

    assert msgspec.msgpack.decode(encoded, type=list[AnyStep]) == STEPS


@pytest.mark.parametrize(
    "hostile",
    [
        {"type": "mkdir", "mode": 0o10000},
        {"type": "date", "mtime_ns": 2**63 - 1},
        {"type": "link", "target": b"x" * 4097, "mtime_ns": 0},
        {
            "type": "copy",
            "holders": [],
            "origin": [0, [], 1, 0, 0, 0],
            "digest": None,
            "mtime_ns": 0,
        },
    ],
)
def test_a_step_out_of_bounds_does_not_exist(hostile: dict[str, object]) -> None:
    """Plans are kept on disk and told to others."""
    data = msgspec.msgpack.encode({"member": 0, "source": 0, "path": [], **hostile})

    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(data, type=AnyStep)
