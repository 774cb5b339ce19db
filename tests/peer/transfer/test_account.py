import msgspec

from peer.plan.steps import AnyStep, Delete, DeleteDirectory
from peer.transfer.account import Account
from tests.peer.transfer.plans import copy, entry, path

STEPS: list[AnyStep] = [
    copy("new", holders=(1, (0, 0, path("old")))),
    Delete(member=0, source=0, path=path("old"), expected=entry("old")),
    Delete(member=0, source=0, path=path("other"), expected=entry("other")),
    DeleteDirectory(member=0, source=0, path=path("d"), expected=entry("d")),
    copy("elsewhere", member=1, holders=(0,), size=1000),
    copy("big", holders=(1,), size=100),
]


def test_only_the_members_own_steps_count() -> None:
    """Steps and content bytes."""
    account = Account(STEPS, 0)
    progress = account.progress()

    assert (account.steps, progress.steps, progress.content) == (5, 5, 103)


def test_a_step_that_succeeds_after_all_has_not_failed() -> None:
    """And counts once, however often it is told."""
    account = Account(STEPS, 0)
    account.failed(0, "fs.no_space")
    assert account.progress().steps_failed == 1

    account.succeeded(0)
    account.succeeded(0)

    assert account.failures == {}
    assert account.progress().steps_done == 1
    assert account.progress().content_done == 3


def test_a_step_that_fails_after_all_is_not_done() -> None:
    """As when its date turns out not to be what was set."""
    account = Account(STEPS, 0)
    account.succeeded(1)

    account.failed(1, "transfer.date_differs")

    assert account.done == set()


def test_progress_in_bytes_never_goes_back_and_never_beyond_all() -> None:
    """Bytes of a transfer that is asked again came twice."""
    account = Account(STEPS, 0)

    shown = []
    for count in (50, 10, 90):
        account.came(count)
        shown.append(account.progress().content_done)

    assert shown == [50, 60, 103]
    assert account.received == 150


def test_what_a_failed_copy_would_be_made_from_is_kept() -> None:
    """Everything else may go; a failed copy from others keeps nothing here."""
    account = Account(STEPS, 0)
    account.failed(0, "fs.no_space")
    account.failed(5, "fs.no_space")
    account.failed(3, "fs.not_empty")

    assert account.deletable((1, 2, 3)) == (2, 3)
    assert account.failures[1] == "transfer.still_needed"
    assert account.worth_another_try((1, 2, 3)) == (3,)


def test_what_changed_since_is_not_tried_again() -> None:
    """It would fail for the same reason."""
    account = Account(STEPS, 0)

    account.failed(1, "fs.changed_since", for_good=True)
    account.failed(2, "fs.denied")

    assert account.worth_another_try((1, 2, 3)) == (2,)


def test_what_was_never_tried_failed_by_the_end_of_all() -> None:
    """Done and failed ones stay what they are."""
    account = Account(STEPS, 0)
    account.succeeded(0)
    account.failed(1, "fs.denied")

    account.close("transfer.aborted")

    assert account.failures == {
        1: "fs.denied",
        2: "transfer.aborted",
        3: "transfer.aborted",
        5: "transfer.aborted",
    }


def test_what_a_failed_move_would_be_made_from_is_kept() -> None:
    """The place it comes from is no holder for others, but it is for this member."""
    moved = msgspec.structs.replace(copy("new"), reuse=(0, path("old")))
    gone = Delete(member=0, source=0, path=path("old"), expected=entry("old"))
    account = Account([moved, gone], 0)
    account.failed(0, "fs.no_space")

    assert account.deletable((1,)) == ()
