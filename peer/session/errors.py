"""Why an act on a session is not carried out, beyond rights and phases (``peer/errors.py``)."""

from protocol.errors import ExitStatus, QuintetError


class PlanEmpty(QuintetError):
    """There is nothing to synchronise: the plan has no step."""

    code = "plan.empty"
    exit_status = ExitStatus.REFUSED


class PlanChanged(QuintetError):
    """The plan is no longer the one that was shown; look at it again."""

    code = "plan.changed"
    exit_status = ExitStatus.REFUSED


class RendezvousNeeded(QuintetError):
    """No meeting server is named, and this version finds nobody without one."""

    code = "session.rendezvous_needed"
    exit_status = ExitStatus.USAGE


class LinksMissing(QuintetError):
    """A member cannot be reached just now; the act needs all of them.

    Args:
        letters: Letters of those without a link.
    """

    code = "session.links_missing"
    exit_status = ExitStatus.UNREACHABLE

    def __init__(self, letters: str) -> None:
        super().__init__(letters)
        self.letters = letters

    @property
    def params(self) -> dict[str, object]:
        return {"letters": self.letters}

    def __str__(self) -> str:
        return f"no link to {self.letters}"


class BrakeTripped(QuintetError):
    """The plan deletes or replaces so much here that a person must say so first.

    Args:
        count: Files concerned.
        files: Files there are.
    """

    code = "plan.brake"
    exit_status = ExitStatus.BRAKE

    def __init__(self, count: int, files: int) -> None:
        super().__init__(count, files)
        self.count = count
        self.files = files

    @property
    def params(self) -> dict[str, object]:
        return {"count": self.count, "files": self.files}

    def __str__(self) -> str:
        return f"{self.count} of {self.files} files"


class SourceUnknown(QuintetError):
    """There is no data source of this code here.

    Args:
        source: What was asked for.
    """

    code = "source.unknown"
    exit_status = ExitStatus.USAGE

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source

    @property
    def params(self) -> dict[str, object]:
        return {"source": self.source}

    def __str__(self) -> str:
        return f"no source {self.source!r}"


class PresetUnknown(QuintetError):
    """There is no such preset, or it needs the letter of a member, or none.

    Args:
        preset: What was asked for.
    """

    code = "preset.unknown"
    exit_status = ExitStatus.USAGE

    def __init__(self, preset: str) -> None:
        super().__init__(preset)
        self.preset = preset

    @property
    def params(self) -> dict[str, object]:
        return {"preset": self.preset}

    def __str__(self) -> str:
        return f"no preset {self.preset!r}"


class SideTooLarge(QuintetError):
    """There is nothing to take over: this side of the session is large enough to go on."""

    code = "session.not_frozen"
    exit_status = ExitStatus.REFUSED


class CandidateUnknown(QuintetError):
    """Nobody of this name waits to be let in.

    Args:
        name: What was asked for.
    """

    code = "member.candidate_unknown"
    exit_status = ExitStatus.USAGE

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    @property
    def params(self) -> dict[str, object]:
        return {"name": self.name}

    def __str__(self) -> str:
        return "nobody of this name waits"


class NothingToCompare(QuintetError):
    """No link to this member has proven its key, so there is nothing to verify yet.

    Args:
        member: What it is called.
    """

    code = "member.nothing_to_compare"
    exit_status = ExitStatus.UNREACHABLE

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self.member = member

    @property
    def params(self) -> dict[str, object]:
        return {"member": self.member}

    def __str__(self) -> str:
        return "no link to this member"


class MemberUnknown(QuintetError):
    """There is no other member of this letter.

    Args:
        letter: What was asked for.
    """

    code = "member.unknown"
    exit_status = ExitStatus.USAGE

    def __init__(self, letter: str) -> None:
        super().__init__(letter)
        self.letter = letter

    @property
    def params(self) -> dict[str, object]:
        return {"letter": self.letter}

    def __str__(self) -> str:
        return "no other member of this letter"


class LocalSourcesWrong(QuintetError):
    """A local session needs more sources, or has no letters for so many.

    Args:
        least: How few there can be.
        most: How many.
    """

    code = "local.sources"
    exit_status = ExitStatus.USAGE

    def __init__(self, least: int, most: int) -> None:
        super().__init__(least, most)
        self.least = least
        self.most = most

    @property
    def params(self) -> dict[str, object]:
        return {"least": self.least, "most": self.most}

    def __str__(self) -> str:
        return f"{self.least} to {self.most} sources"


class SessionIsLocal(QuintetError):
    """Nobody joins a local session, and its sources are those it began with."""

    code = "session.local"
    exit_status = ExitStatus.REFUSED
