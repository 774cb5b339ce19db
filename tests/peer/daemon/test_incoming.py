import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from msgspec.structs import replace

from peer.daemon.incoming import Incoming, Outcome, Staged, StepFailed, copy_locally
from peer.daemon.own_sources import OwnSources
from peer.fs.staging import StagedFile
from peer.plan.steps import CopyFile
from peer.transfer import pack
from peer.transfer.schedule import Again
from protocol.errors import RemoteProtocolError
from protocol.messages.inventory import Entry, Kind
from tests.peer.daemon.mesh import SYNC, Member, inventory, leftovers, write
from tests.peer.daemon.transfers import KEY, TRANSFER, file, sealed, step

BIG = bytes(range(256)) * 1200


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    member = Member(0, tmp_path / "m0")
    with member.root:
        yield member


def sources_of(member: Member) -> OwnSources:
    known = inventory(member.folder)
    return OwnSources(SYNC, {0: member.root}, lambda _source, path: known.get(path))


def incoming(member: Member, *steps: CopyFile) -> Incoming:
    return Incoming(SYNC, TRANSFER, dict(enumerate(steps)), KEY, sources_of(member))


def take(incoming: Incoming, message: bytes) -> list[Outcome]:
    return [*incoming.take([memoryview(message)]), *incoming.finish()]


def content_of(staged: StagedFile) -> bytes:
    return os.pread(staged.handle, staged.size + 1, 0)


def test_whole_files_wait_in_staging(member: Member) -> None:
    """Small and large; nothing is at its place yet."""
    steps = [step("a", b"small"), step("b", BIG)]
    transfer = incoming(member, *steps)

    outcomes = take(transfer, sealed(steps, file(0, b"small") + file(1, BIG)))

    staged = [outcome for outcome in outcomes if isinstance(outcome, Staged)]
    assert [content_of(one.file) for one in staged] == [b"small", BIG]
    assert [one.digest for one in staged] == [blake3(b"small").digest(), blake3(BIG).digest()]
    assert transfer.unanswered == ()
    assert transfer.received == 5 + len(BIG)
    assert not (member.folder / "a").exists()
    for one in staged:
        one.file.discard()


def test_what_the_holder_refuses_goes_elsewhere(member: Member) -> None:
    """Begun or not; nothing stays in staging."""
    steps = [step("a", b"small"), step("b", b"other")]
    transfer = incoming(member, *steps)
    plaintext = pack.failed(0, "fs.missing") + pack.begin(1, 5) + pack.failed(1, "fs.denied")

    outcomes = take(transfer, sealed(steps, plaintext))

    assert outcomes == [
        StepFailed(0, "fs.missing", Again.ELSEWHERE),
        StepFailed(1, "fs.denied", Again.ELSEWHERE),
    ]
    assert all(place.is_dir() for place in leftovers(member))


def test_a_file_that_cannot_be_staged_fails_and_the_next_lands(member: Member) -> None:
    """There is no such source; what comes of it is passed over."""
    steps = [step("a", b"small", source=7), step("b", b"other")]
    transfer = incoming(member, *steps)

    outcomes = take(transfer, sealed(steps, file(0, b"small") + file(1, b"other")))

    assert outcomes[0] == StepFailed(0, "fs.outside", Again.LATER)
    assert isinstance(outcomes[1], Staged)
    outcomes[1].file.discard()


def test_a_large_file_that_cannot_be_staged_makes_its_transfer_pointless(member: Member) -> None:
    """The holder is told to stop."""
    steps = [step("a", BIG, source=7)]
    transfer = incoming(member, *steps)
    message = sealed(steps, file(0, BIG))
    assert not transfer.is_pointless

    outcomes = transfer.take([memoryview(message[: len(message) - 100])])

    assert outcomes == [StepFailed(0, "fs.outside", Again.LATER)]
    assert transfer.is_pointless


def test_a_disk_that_fails_in_the_middle_fails_the_file(member: Member) -> None:
    """Its handle goes bad; what still comes is passed over."""
    steps = [step("a", BIG)]
    transfer = incoming(member, *steps)
    message = sealed(steps, file(0, BIG))
    half = len(message) - 1000
    transfer.take([memoryview(message[:half])])
    assert transfer._file is not None
    replaced = os.open(os.devnull, os.O_RDONLY)
    os.dup2(replaced, transfer._file.handle)
    os.close(replaced)

    outcomes = take(transfer, message[half:])

    assert outcomes == [StepFailed(0, "fs.io_error", Again.LATER)]


def test_a_transfer_cut_off_leaves_nothing(member: Member) -> None:
    """The file under way is discarded."""
    steps = [step("a", BIG)]
    transfer = incoming(member, *steps)
    message = sealed(steps, file(0, BIG))

    transfer.take([memoryview(message[: len(message) - 1000])])
    with pytest.raises(RemoteProtocolError):
        transfer.finish()
    transfer.close()
    transfer.close()

    assert transfer.unanswered == (0,)
    assert all(place.is_dir() for place in leftovers(member))


def test_own_content_is_copied(member: Member) -> None:
    """Verified like content that travelled."""
    write(member.folder, "old", b"content")

    outcome = copy_locally(3, step("new", b"content"), 0, (b"old",), sources_of(member))

    assert isinstance(outcome, Staged)
    assert content_of(outcome.file) == b"content"
    outcome.file.discard()


def test_own_content_that_is_not_what_was_agreed_is_not_copied(member: Member) -> None:
    """Other content, an entry nobody knows, a file that changed, a source that is none."""
    write(member.folder, "old", b"other!!")
    wanted = step("new", b"content")
    sources = sources_of(member)

    assert copy_locally(3, wanted, 0, (b"old",), sources) == StepFailed(
        3, "transfer.content_mismatch", Again.ELSEWHERE
    )
    assert copy_locally(3, wanted, 0, (b"none",), sources) == StepFailed(
        3, "transfer.not_held", Again.ELSEWHERE
    )
    write(member.folder, "old", b"content", 5)
    assert copy_locally(3, wanted, 0, (b"old",), sources) == StepFailed(
        3, "fs.changed_since", Again.ELSEWHERE
    )
    sources.wrote(Entry(4, (b"x",), Kind.FILE, 7, 5, 0o644))
    assert copy_locally(3, wanted, 4, (b"x",), sources) == StepFailed(
        3, "fs.outside", Again.ELSEWHERE
    )


def test_a_copy_whose_source_is_written_meanwhile_is_discarded(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was cloned may be neither old nor new."""
    write(member.folder, "old", b"content")
    sources = sources_of(member)
    original = StagedFile.clone

    def clone(self: StagedFile, handle: int) -> None:
        original(self, handle)
        write(member.folder, "old", b"c0ntent", 5)

    monkeypatch.setattr(StagedFile, "clone", clone)
    outcome = copy_locally(3, replace(step("new", b"content")), 0, (b"old",), sources)

    assert outcome == StepFailed(3, "fs.changed_since", Again.ELSEWHERE)
    assert all(place.is_dir() for place in leftovers(member))
