"""Every page and state there is to look at, by name."""

from collections.abc import Callable
from typing import Any, Final

from tests.browser.staged_peer import GIB, MIB, StagedPeer, figures, member, plan

PROVED: Final = {"state": "equal", "files": 4210, "digest": "cd" * 32, "deviations": []}


def _running(letters: str = "ABC", *, done: int = 96, state: str = "synchronising") -> list[Any]:
    return [
        member(
            each, state=state,
            sync={"steps": 171, "done": min(171, done + 30 * place), "failed": int(each == "C"),
                  "bytes": 2 * GIB, "bytes_done": (700 + 400 * place) * MIB},
        )
        for place, each in enumerate(letters)
    ]  # fmt: skip


def _sync(state: str = "running", **changes: Any) -> dict[str, Any]:
    return {
        "state": state, "elapsed": 83.5, "steps": 513, "done": 378, "bytes": 6 * GIB,
        "bytes_done": 3 * GIB + 400 * MIB, "bytes_received_here": GIB, "failed": 0, "failures": [],
    } | changes  # fmt: skip


def _away(letter: str) -> list[Any]:
    lost = {"state": "connecting", "kind": None, "round_trip_ms": None, "address": None}
    gone: dict[str, Any] = {"state": "unreachable", "link": lost}
    return [member(each, **(gone if each == letter else {})) for each in "ABC"]


_FAILED: Final = [
    {"letter": "C", "path": "2024/trip/IMG_1.jpg", "code": "fs.changed_since", "params": {}},
    {"letter": "B", "path": "2024/notes.txt", "code": "fs.no_space", "params": {}},
]
_DEVIATIONS: Final = [{"letter": "C", "path": "2024/trip/IMG_1.jpg", "code": "proof.absent"}]
_BRAKE: Final = [{"letter": "A", "kind": "deletions", "count": 1200, "files": 1400}]
_DELETING: Final = plan(
    members={
        "A": figures(delete=1200, bytes_to_trash=GIB),
        "B": figures(create=3, bytes_in=4 * MIB),
        "C": figures(),
    },
    links={"A→B": 4 * MIB},
)

STAGES: Final[dict[str, Callable[[StagedPeer], None]]] = {
    "start": lambda peer: peer.show(),
    "alone": lambda peer: peer.show("preparation", "A"),
    "no-source": lambda peer: peer.show("preparation", "A", members=[member("A", sources=[])]),
    "people": lambda peer: peer.show("preparation", "ABC"),
    "five": lambda peer: peer.show("preparation", "ABCDE"),
    "joining": lambda peer: peer.show(
        "preparation", "AB",
        joining=[{"name": "Laptop (Linux)", "sas": "1234 5678 9012", "asks": True}],
    ),
    "follower": lambda peer: peer.show("preparation", "ABC", me="B"),
    "inventory": lambda peer: peer.show("inventory", "ABC"),
    "decide": lambda peer: peer.show("comparison", "ABC"),
    "decide-follower": lambda peer: peer.show("comparison", "ABC", me="B"),
    "all-equal": lambda peer: peer.show(
        "comparison", "ABC",
        comparison={"items": 90, "equal": 90, "different": 0, "missing": 0, "dates": 0,
                    "blocked": 0, "clashes": 0, "unhashed": 90},
    ),
    "review": lambda peer: peer.show("comparison", "ABC", plan=plan(refused=1, undecided=1)),
    "review-five": lambda peer: peer.show("comparison", "ABCDE", plan=plan("ABCDE")),
    "review-two": lambda peer: peer.show("comparison", "AB", plan=plan("AB")),
    "brake": lambda peer: peer.show("comparison", "ABC", plan={**_DELETING, "brakes": _BRAKE}),
    "away": lambda peer: peer.show("comparison", members=_away("B"), plan=plan()),
    "synchronising": lambda peer: peer.show(
        "synchronisation", members=_running(), plan=plan(), sync=_sync()
    ),
    "finished": lambda peer: peer.show(
        "finished", members=_running(done=171, state="sync_done"), plan=plan(undecided=2),
        sync=_sync("done", bytes_done=6 * GIB, done=513), proof=PROVED,
    ),
    "errors": lambda peer: peer.show(
        "finished", members=_running(done=171, state="sync_errors"), plan=plan(),
        sync=_sync("done_with_errors", failed=2, failures=_FAILED),
        proof={**PROVED, "state": "deviates", "deviations": _DEVIATIONS},
    ),
    "stopped": lambda peer: peer.show(
        "finished", members=_running(state="sync_failed"), plan=plan(), sync=_sync("aborted")
    ),
}  # fmt: skip
"""What to show, by the name of the state."""
