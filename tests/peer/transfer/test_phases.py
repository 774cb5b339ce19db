from hypothesis import given
from hypothesis import strategies as st

from peer.plan.steps import (
    AnyStep,
    CopyLink,
    CreateDirectory,
    Delete,
    DeleteDirectory,
    SetDate,
    SetMode,
)
from peer.transfer.phases import Phases, phases_of
from protocol.messages.inventory import Kind
from tests.peer.transfer.plans import copy, entry, path


def make(text: str, mode: int = 0o755) -> CreateDirectory:
    return CreateDirectory(member=0, source=0, path=path(text), mode=mode)


def delete(text: str) -> Delete:
    return Delete(member=0, source=0, path=path(text), expected=entry(text))


def remove(text: str) -> DeleteDirectory:
    return DeleteDirectory(
        member=0, source=0, path=path(text), expected=entry(text, kind=Kind.DIRECTORY)
    )


def date(text: str, kind: Kind) -> SetDate:
    return SetDate(member=0, source=0, path=path(text), expected=entry(text, kind=kind), mtime_ns=1)


def test_each_kind_of_step_has_its_phase() -> None:
    """One of each, in an order that is none."""
    steps: list[AnyStep] = [
        remove("old"),
        delete("old/f"),
        date("d", Kind.DIRECTORY),
        date("f", Kind.FILE),
        SetMode(member=0, source=0, path=path("g"), expected=None, mode=0o600),
        CopyLink(member=0, source=0, path=path("l"), target=b"f", mtime_ns=1),
        copy("new/f"),
        make("new"),
    ]

    assert phases_of(steps, 0) == Phases(
        directories=(7,),
        contents=(6,),
        links=(5,),
        attributes=(4, 3),
        deletes=(1,),
        directory_deletes=(0,),
        directory_attributes=(2,),
    )


def test_only_the_members_own_steps_count() -> None:
    """Everybody else's are theirs to carry out."""
    steps = [copy("a", member=1), copy("b", member=0)]

    assert phases_of(steps, 0) == Phases(contents=(1,))


def test_parents_are_made_first_and_removed_last() -> None:
    """Whatever the order of the plan."""
    steps = [make("a/b/c"), make("a"), make("a/b"), remove("z"), remove("z/y/x"), remove("z/y")]

    phases = phases_of(steps, 0)

    assert phases.directories == (1, 2, 0)
    assert phases.directory_deletes == (4, 5, 3)


def test_a_file_makes_room_for_a_directory() -> None:
    """A type clash: the deletion at that very path comes first, others stay late."""
    steps = [make("a"), copy("a/f"), delete("a"), delete("b")]

    phases = phases_of(steps, 0)

    assert phases.clearing == (2,)
    assert phases.deletes == (3,)


def test_a_directory_with_all_it_holds_makes_room_for_a_file() -> None:
    """Files first, then directories from below."""
    steps = [remove("a"), remove("a/b"), delete("a/b/f"), delete("a/g"), copy("a"), remove("ab")]

    phases = phases_of(steps, 0)

    assert phases.clearing == (2, 3, 1, 0)
    assert phases.directory_deletes == (5,)


def test_a_directory_that_forbids_its_owner_is_narrowed_at_the_end() -> None:
    """What it shall hold could not be put into it otherwise."""
    phases = phases_of([make("a", 0o555), make("a/b", 0o755)], 0)

    assert phases.directories == (0, 1)
    assert phases.directory_attributes == (0,)


@given(st.permutations([make("a"), make("a/b"), copy("a/b/f"), delete("a"), remove("c")]))
def test_no_step_is_lost_or_done_twice(steps: list[AnyStep]) -> None:
    """Every step of the member stands in exactly one phase."""
    phases = phases_of(steps, 0)

    assert sorted(number for phase in phases for number in phase) == list(range(len(steps)))
