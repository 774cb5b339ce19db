from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.daemon.own_sources import OwnSources
from peer.daemon.proving import Proving
from peer.fs.confine import Root
from peer.plan.steps import AnyStep
from peer.transfer.proof import Finding
from protocol import limits
from protocol.messages.transfer import (
    ProofAsked,
    ProofStated,
    StepFailure,
    StepProof,
    StepsFailed,
    TransferMessage,
)
from tests.peer.daemon.mesh import SYNC, write
from tests.peer.daemon.transfers import step
from tests.peer.transfer.plans import copy

CONTENT = b"content"
STEPS: list[AnyStep] = [step("a", CONTENT), step("b", CONTENT), copy("c", member=1, holders=(0,))]


class Bench:
    """One member's proof, with what it sends."""

    def __init__(self, folder: Path, executor: ThreadPoolExecutor, root: Root) -> None:
        self.folder = folder
        self.sent: list[TransferMessage] = []
        self.proving = Proving(
            0,
            SYNC,
            STEPS,
            [0, 1],
            sources=OwnSources(SYNC, {0: root}, lambda _source, _path: None),
            sent={0: b"0" * 32, 2: b"2" * 32},
            executor=executor,
            send=self.sent.append,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    for name in ("a", "b"):
        write(tmp_path, name, CONTENT, 5)
    with ThreadPoolExecutor(1) as executor, Root(tmp_path) as root:
        yield Bench(tmp_path, executor, root)


def theirs(round_: int = 0) -> ProofStated:
    return ProofStated(
        sync=SYNC, steps=[StepProof(step=2, digest=b"2" * 32)], last=True, round=round_
    )


async def test_nothing_is_stated_before_the_end_and_once_after_it(bench: Bench) -> None:
    """What was written, and what was read for others where the plan had no digest."""
    proving = bench.proving
    await proving.state()
    assert not proving.is_asked
    assert bench.sent == []

    proving.finished([0, 1], {})
    assert proving.is_asked
    await proving.state()
    await proving.state()
    proving.receive_message(1, theirs())

    (message,) = bench.sent
    assert isinstance(message, ProofStated)
    assert [stated.step for stated in message.steps] == [0, 1, 2]
    outcome = await proving.outcome(5)
    assert outcome.equal
    assert outcome.files == 3


async def test_failures_are_told_and_proved_by_nothing(bench: Bench) -> None:
    """Also a date that is not what was set, found when reading back."""
    write(bench.folder, "b", CONTENT, 6)
    bench.proving.finished([1], {0: "fs.denied"})

    misdated = await bench.proving.state()
    bench.proving.receive_message(1, theirs())

    assert misdated == {1: "transfer.date_differs"}
    assert bench.sent[:2] == [
        StepsFailed(sync=SYNC, failures=[StepFailure(step=0, code="fs.denied")]),
        StepsFailed(sync=SYNC, failures=[StepFailure(step=1, code="transfer.date_differs")]),
    ]
    assert (await bench.proving.outcome(5)).equal


async def test_others_failures_count_and_other_synchronisations_do_not(bench: Bench) -> None:
    """A late message of an earlier run is nobody's."""
    bench.proving.finished([0, 1], {})
    failures = [StepFailure(step=2, code="fs.denied")]

    bench.proving.receive_message(1, StepsFailed(sync=bytes(16), failures=failures))
    bench.proving.receive_message(1, StepsFailed(sync=SYNC, failures=failures))
    await bench.proving.state()
    bench.proving.receive_message(1, ProofStated(sync=SYNC, steps=[], last=True))

    assert (await bench.proving.outcome(5)).equal


async def test_who_says_nothing_is_waited_for_so_long_and_no_longer(bench: Bench) -> None:
    """Unless it has left: then not at all."""
    bench.proving.finished([0, 1], {})
    await bench.proving.state()

    outcome = await bench.proving.outcome(0.01)
    bench.proving.member_left(1)
    left = await bench.proving.outcome(60)

    assert [deviation.finding for deviation in outcome.deviations] == [Finding.UNSTATED]
    assert left == outcome


@pytest.mark.parametrize("asker", [0, 1])
async def test_a_new_round_is_stated_anew(bench: Bench, asker: int) -> None:
    """Whoever asks for it."""
    bench.proving.finished([0, 1], {})
    await bench.proving.state()

    if asker == 0:
        bench.proving.ask()
    else:
        bench.proving.receive_message(1, ProofAsked(sync=SYNC, round=1))
    assert bench.proving.is_asked
    await bench.proving.state()
    bench.proving.receive_message(1, theirs(1))

    rounds = [message.round for message in bench.sent if isinstance(message, ProofStated)]
    assert rounds == [0, 1]
    assert (await bench.proving.outcome(5)).equal


async def test_everything_of_this_round_is_said_again_over_a_new_link(bench: Bench) -> None:
    """The old one may have lost it."""
    bench.proving.finished([1], {0: "fs.denied"})
    await bench.proving.state()
    bench.proving.ask()
    await bench.proving.state()
    again: list[TransferMessage] = []

    bench.proving.repeat(again.append)

    assert again == [bench.sent[0], bench.sent[-1]]


async def test_long_statements_come_in_parts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last says so."""
    assert limits.MAX_BATCH > 2
    monkeypatch.setattr("peer.daemon.proving.MAX_BATCH", 2)
    bench.proving.finished([0, 1], {})

    await bench.proving.state()

    assert [message.last for message in bench.sent if isinstance(message, ProofStated)] == [
        False,
        True,
    ]
