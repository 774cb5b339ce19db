"""One transfer on its way in: opened, checked and written into staging; everything here blocks.

Belongs in a worker thread, one call at a time. A file that cannot be written fails by itself;
what still comes of it is passed over, and the next one lands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peer.daemon.own_sources import OwnSources, Reader
from peer.fs.errors import FileError
from peer.fs.staging import StagedFile
from peer.plan.steps import CopyFile
from peer.transfer.pack import Asked, FileBegun, FileData, FileEnded
from peer.transfer.reasons import Reason
from peer.transfer.receiver import Landed, Landing, Receiver, Refused
from peer.transfer.schedule import SMALL, Again
from protocol.credentials import Secret
from protocol.messages.inventory import RelPath


@dataclass(frozen=True, slots=True)
class Staged:
    """Content that is what was agreed, whole, waiting to be published."""

    step: int
    file: StagedFile
    digest: bytes


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step whose content did not get into staging."""

    step: int
    code: str
    again: Again


Outcome = Staged | StepFailed


class Incoming:
    """Takes one transfer.

    Args:
        sync_id: The synchronisation it belongs to.
        transfer: Its id.
        steps: What was asked for, in that order, by step.
        key: The transfer's key.
        sources: Where the staging folders are.
    """

    def __init__(
        self,
        sync_id: bytes,
        transfer: bytes,
        steps: Mapping[int, CopyFile],
        key: Secret,
        sources: OwnSources,
    ) -> None:
        asked = [Asked(number, step.origin.size, step.digest) for number, step in steps.items()]
        self._receiver = Receiver(sync_id, transfer, asked, key)
        self._steps = steps
        self._sources = sources
        self._file: StagedFile | None = None
        self._given_up: set[int] = set()
        self.received = 0
        """Content bytes that came, kept or not."""

    def take(self, pieces: Sequence[memoryview]) -> list[Outcome]:
        """Take the next bytes of the message and return what became of whole files.

        Raises:
            RemoteProtocolError: If they are not what was asked for; nothing more is taken.
        """
        outcomes: list[Outcome] = []
        for piece in pieces:
            for landing in self._receiver.feed(piece):
                self._land(landing, outcomes)
        return outcomes

    def finish(self) -> list[Outcome]:
        """Take the end of the message.

        Raises:
            RemoteProtocolError: If anything is missing.
        """
        outcomes: list[Outcome] = []
        for landing in self._receiver.finish():
            self._land(landing, outcomes)
        return outcomes

    def close(self) -> None:
        """Discard the file that is not whole."""
        if self._file is not None:
            self._file.discard()
            self._file = None

    @property
    def unanswered(self) -> tuple[int, ...]:
        """Steps of which nothing was said yet, neither staged nor failed."""
        return tuple(step for step in self._receiver.unanswered if step not in self._given_up)

    @property
    def is_pointless(self) -> bool:
        """Whether nothing of what still comes is of use."""
        return bool(self._given_up) and not self.unanswered

    def _land(self, landing: Landing, outcomes: list[Outcome]) -> None:
        match landing:
            case FileBegun(step=step, size=size):
                try:
                    self._file = self._sources.staging(self._steps[step].source).new_file()
                    if size > SMALL:
                        self._file.reserve(size)
                except FileError as error:
                    self._give_up(step, error, outcomes)
            case FileData(data=data):
                self.received += len(data)
                if self._file is not None:
                    try:
                        self._file.write(data)
                    except FileError as error:
                        self._give_up(self._receiver.unanswered[0], error, outcomes)
            case FileEnded():
                if self._file is not None:
                    self._judge(landing, self._file, outcomes)
            case Refused(step=step, code=code):
                self.close()
                if step not in self._given_up:
                    outcomes.append(StepFailed(step, code, Again.ELSEWHERE))

    def _judge(self, ended: FileEnded, file: StagedFile, outcomes: list[Outcome]) -> None:
        match self._receiver.judge(ended, file.digest()):
            case Landed(step=step, digest=digest):
                self._file = None
                outcomes.append(Staged(step, file, digest))
            case Refused(step=step, code=code):
                self.close()
                outcomes.append(StepFailed(step, code, Again.ELSEWHERE))

    def _give_up(self, step: int, error: FileError, outcomes: list[Outcome]) -> None:
        self.close()
        self._given_up.add(step)
        outcomes.append(StepFailed(step, error.code, Again.LATER))


def copy_locally(
    number: int, step: CopyFile, source: int, path: RelPath, sources: OwnSources
) -> Outcome:
    """Stage the content of *step* from a file of this member's own; no bytes travel."""
    reader = Reader(sources.roots)
    entry = sources.entry(source, path)
    if entry is None:
        return StepFailed(number, Reason.NOT_HELD, Again.ELSEWHERE)
    try:
        with reader.open(source, path, entry) as origin:
            staged = sources.staging(step.source).new_file()
            try:
                staged.clone(origin.handle)
                origin.check_unchanged()
                digest = staged.digest()
                if staged.size != step.origin.size or step.digest not in (None, digest):
                    staged.discard()
                    return StepFailed(number, Reason.CONTENT_MISMATCH, Again.ELSEWHERE)
            except FileError:
                staged.discard()
                raise
    except FileError as error:
        return StepFailed(number, error.code, Again.ELSEWHERE)
    finally:
        reader.close()
    return Staged(number, staged, digest)
