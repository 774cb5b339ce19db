import msgspec
import pytest

from peer.plan.steps import (
    AnyStep,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from peer.transfer import proof as module
from peer.transfer.proof import Deviation, Finding, Proof
from protocol.errors import RemoteProtocolError
from protocol.messages.transfer import ProofStated, StepProof
from tests.peer.transfer.plans import copy, entry, path

SYNC = bytes(16)
ONE, TWO = b"1" * 32, b"2" * 32

PLAN: list[AnyStep] = [
    copy("a", member=0, holders=(1, 2), digest=ONE),
    copy("b", member=0, holders=(1, 2)),
    copy("a", member=2, holders=(1,), digest=ONE),
]


def stated(*proofs: tuple[int, bytes | None], last: bool = True) -> ProofStated:
    return ProofStated(
        sync=SYNC, steps=[StepProof(step=step, digest=digest) for step, digest in proofs], last=last
    )


def judged(*parts: tuple[int, ProofStated]) -> Proof:
    proof = Proof(PLAN, {0, 1, 2})
    for member, message in parts:
        proof.receive_message(member, message)
    return proof


GOOD = (
    (0, stated((0, ONE), (1, TWO))),
    (1, stated((0, ONE), (1, TWO), (2, ONE))),
    (2, stated((2, ONE))),
)


def test_members_that_wrote_what_was_planned_prove_it() -> None:
    """By the planned digest, or by the one the holder stated where there was none."""
    proof = judged(*GOOD)

    assert proof.complete
    assert proof.missing() == ()
    assert proof.outcome().equal
    assert proof.outcome().files == 3


def test_the_digest_of_the_end_state_is_the_same_whatever_the_order() -> None:
    """All members compute one value; another content gives another."""
    other = judged((0, stated((0, ONE), (1, ONE))), (1, stated((1, ONE))), (2, stated((2, ONE))))

    assert judged(*GOOD).outcome().digest == judged(*reversed(GOOD)).outcome().digest
    assert other.outcome().equal
    assert other.outcome().digest != judged(*GOOD).outcome().digest


@pytest.mark.parametrize(
    ("writer", "holders", "finding"),
    [
        (((0, TWO), (1, TWO)), {1: ((1, TWO),)}, Deviation(0, 0, Finding.DIFFERS)),
        (((0, None), (1, TWO)), {1: ((1, TWO),)}, Deviation(0, 0, Finding.ABSENT)),
        (((1, TWO),), {1: ((1, TWO),)}, Deviation(0, 0, Finding.UNSTATED)),
        (((0, ONE), (1, TWO)), {1: ((1, ONE),)}, Deviation(1, 0, Finding.DIFFERS)),
        (((0, ONE), (1, TWO)), {1: ((1, None),)}, Deviation(1, 0, Finding.UNKNOWN)),
        (((0, ONE), (1, TWO)), {}, Deviation(1, 0, Finding.UNKNOWN)),
        (
            ((0, ONE), (1, TWO)),
            {1: ((1, TWO),), 2: ((1, ONE),)},
            Deviation(1, 0, Finding.CONTRADICTED),
        ),
    ],
)
def test_a_deviation_is_named(
    writer: tuple[tuple[int, bytes | None], ...],
    holders: dict[int, tuple[tuple[int, bytes | None], ...]],
    finding: Deviation,
) -> None:
    """Step, member and what is wrong."""
    proof = judged((0, stated(*writer)), (2, stated((2, ONE), last=False)))
    for member, proofs in holders.items():
        proof.receive_message(member, stated(*proofs))

    assert proof.outcome().deviations == (finding,)
    assert not proof.outcome().equal


def test_a_step_known_to_have_failed_proves_nothing_and_deviates_from_nothing() -> None:
    """It was reported; the end state names it as failed."""
    proof = judged(*GOOD[1:], (0, stated((1, TWO))))
    whole = judged(*GOOD).outcome().digest

    proof.step_failed(0, 0)

    assert proof.outcome().equal
    assert proof.outcome().files == 2
    assert proof.outcome().digest != whole


def test_a_lost_member_is_not_waited_for() -> None:
    """What it did not say shows as unstated."""
    proof = judged(*GOOD[:2])
    assert proof.missing() == (2,)

    proof.member_lost(2)

    assert proof.complete
    assert proof.outcome().deviations == (Deviation(2, 2, Finding.UNSTATED),)


def test_a_new_round_begins_with_nothing_stated() -> None:
    """Everybody reads back once more."""
    proof = judged(*GOOD)

    assert proof.begin_round(2)
    assert not proof.begin_round(2)

    proof.receive_message(0, GOOD[0][1])
    assert proof.missing() == (0, 1, 2), "a statement of the round before is late"
    for member, message in GOOD:
        proof.receive_message(member, msgspec.structs.replace(message, round=2))
    assert proof.outcome().equal


def test_a_statement_of_a_later_round_begins_it() -> None:
    """Another member may hear of it first."""
    proof = judged(*GOOD)

    proof.receive_message(1, msgspec.structs.replace(GOOD[1][1], round=1))

    assert proof.round == 1
    assert proof.missing() == (0, 2)


def test_a_local_copy_without_a_planned_digest_is_proved_by_its_members_word() -> None:
    """Nobody else read what it was made from; nothing there is still nothing."""
    plan: list[AnyStep] = [copy("a", member=0, holders=(0,))]
    proof, gone = Proof(plan, {0}), Proof(plan, {0})

    proof.receive_message(0, stated((0, ONE)))
    gone.receive_message(0, stated((0, None)))

    assert proof.outcome().equal
    assert gone.outcome().deviations == (Deviation(0, 0, Finding.ABSENT),)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (3, stated()),
        (0, stated((3, ONE))),
        (0, stated((2, ONE))),
        (2, stated((2, ONE), (2, TWO))),
    ],
    ids=["a stranger", "no step", "another's step", "a change of mind"],
)
def test_a_statement_that_is_not_the_members_is_refused(member: int, message: ProofStated) -> None:
    """A member states what it wrote and what it holds, once."""
    proof = judged()

    with pytest.raises(RemoteProtocolError):
        proof.receive_message(member, message)


def test_what_is_stated_after_the_last_part_changes_nothing() -> None:
    """It is said again when a link came back."""
    proof = judged(*GOOD)

    proof.receive_message(0, stated((0, TWO), (1, ONE)))

    assert proof.outcome().equal


@pytest.mark.parametrize(("member", "number"), [(1, 0), (0, 3)])
def test_a_failure_of_a_step_of_somebody_else_is_refused(member: int, number: int) -> None:
    """Nobody excuses another's deviation."""
    with pytest.raises(RemoteProtocolError):
        judged().step_failed(member, number)


def test_every_kind_of_step_has_its_digest() -> None:
    """Different kinds and different values never share one."""
    common = {"member": 0, "source": 0, "path": path("a"), "expected": entry("a")}
    steps: list[AnyStep] = [
        CreateDirectory(**common, mode=0o755),  # type: ignore[arg-type]
        CopyLink(**common, target=b"x", mtime_ns=1),  # type: ignore[arg-type]
        CopyLink(**common, target=b"y", mtime_ns=1),  # type: ignore[arg-type]
        SetDate(**common, mtime_ns=-5),  # type: ignore[arg-type]
        SetMode(**common, mode=5),  # type: ignore[arg-type]
        copy("a", digest=ONE),
    ]
    gone: list[AnyStep] = [Delete(**common), DeleteDirectory(**common)]  # type: ignore[arg-type]

    digests = [module.planned_digest(step) for step in steps]

    assert len(set(digests)) == len(steps)
    assert None not in digests
    assert [module.planned_digest(step) for step in gone] == [None, None]


def test_the_end_state_covers_every_kind_of_step() -> None:
    """A deletion is proved by nothing standing there."""
    plan: list[AnyStep] = [
        Delete(member=0, source=0, path=path("a"), expected=entry("a")),
        CopyLink(member=0, source=0, path=path("l"), target=b"x", mtime_ns=1),
    ]
    proof, left = Proof(plan, {0}), Proof(plan, {0})

    proof.receive_message(0, stated((0, None), (1, module.link_digest(b"x"))))
    left.receive_message(0, stated((0, ONE), (1, module.link_digest(b"x"))))

    assert proof.outcome().equal
    assert left.outcome().deviations == (Deviation(0, 0, Finding.DIFFERS),)


def test_a_deletion_that_made_room_is_proved_by_what_was_made() -> None:
    """Something stands there, as planned."""
    plan: list[AnyStep] = [
        Delete(member=0, source=0, path=path("a"), expected=entry("a")),
        CreateDirectory(member=0, source=0, path=path("a"), mode=0o755),
    ]
    proof = Proof(plan, {0})

    proof.receive_message(0, stated((0, ONE), (1, module.directory_digest())))

    assert proof.outcome().equal
