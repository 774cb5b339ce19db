"""What every refusal must show: its sentence from the catalogue, its exit status, and no harm."""

from peer.locale import catalogue
from protocol.errors import ExitStatus
from tests.acceptance.world import Answer, PeerProcess, assert_rsync_agrees, compare, settled


def assert_refused(answer: Answer, code: str, status: ExitStatus, **params: object) -> None:
    """Demand that a command was refused with the error *code*, said in words."""
    assert catalogue("en").error(code, params) in answer.said, answer
    assert answer.status == status, answer


def assert_says(answer: Answer, code: str) -> None:
    """Demand that *answer* holds the sentence of the error *code*."""
    assert catalogue("en").error(code, {}) in answer.said, answer


def assert_still_usable(peers: list[PeerProcess]) -> None:
    """Demand that the session of *peers*, in its preparation, runs to equal folders."""
    leader = peers[0]
    (leader.root / "still usable").write_text("yes")
    compare(leader, "combine")
    leader.ok("sync", "--yes", "--wait")
    settled(peers)
    for peer in peers[1:]:
        assert_rsync_agrees(leader.root, peer.root)
