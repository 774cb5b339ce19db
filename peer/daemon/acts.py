"""What people do in a session: inventory, decisions, synchronisation, proof.

Every act is handed to the core that says whether it is allowed; here is only what an act needs
to find it.
"""

import asyncio
import os
import re

from peer.daemon import views
from peer.daemon.attending import Attending
from peer.daemon.deciding import SORTS, Deciding
from peer.daemon.local_session import LocalAttending
from peer.daemon.work import SessionWork
from peer.errors import NoSession, RightMissing, SettingInvalid, WrongPhase
from peer.session.errors import (
    BrakeTripped,
    LinksMissing,
    PlanEmpty,
    PresetUnknown,
    SourceUnknown,
)
from peer.session.phases import Phase
from peer.session.session_settings import (
    PAIRS_EXPECTED,
    Matching,
    Paired,
    parse_assignments,
    with_line,
)
from protocol.errors import QuintetError


class Acts:
    """The acts of a person in the session of this peer, if there is one."""

    def __init__(self) -> None:
        self._attending: Attending | LocalAttending | None = None
        self._work: SessionWork | None = None

    # --- settings and inventory -------------------------------------------------------

    async def set_settings(self, assignments: list[str]) -> None:
        """Change settings of the session: ``key=value``."""
        session = self._require_session().session
        pairs = [text for text in assignments if re.fullmatch(r"pairs\s*=\s*\S.*", text)]
        others = [text for text in assignments if text not in pairs]
        settings = parse_assignments(others, session.lifecycle.settings)
        for text in pairs:
            settings = with_line(settings, self._line(text.partition("=")[2]))
        if settings.matching is Matching.NAME:
            # Nothing here matches by name yet: by path would do what nobody asked for.
            raise SettingInvalid("matching", Matching.RELATIVE_PATH)
        session.lifecycle.change_settings(settings)
        session.drain()

    def _line(self, text: str) -> list[Paired]:
        """Return the sources that ``A1+B2`` names; only what is offered can be paired."""
        session = self._require_session().session
        indices = {letter: index for index, letter in views.letters(session.membership).items()}
        line = []
        for code in text.upper().split("+"):
            found = re.fullmatch(r"([A-E])([1-9][0-9]?)", code.strip())
            member = indices.get(found[1]) if found else None
            if found is None or member is None:
                raise SettingInvalid("pairs", PAIRS_EXPECTED)
            if int(found[2]) > len(session.lifecycle.members[member].sources):
                raise SourceUnknown(code.strip())
            line.append(Paired(member=member, source=int(found[2]) - 1))
        return line

    async def start_inventory(self) -> None:
        """Start the inventory of all members."""
        session = self._require_session().session
        self._require_links()
        session.lifecycle.start_inventory()
        session.drain()

    async def cancel_inventory(self) -> None:
        """End the inventory for all."""
        session = self._require_session().session
        session.lifecycle.cancel_inventory()
        session.drain()

    async def restart(self) -> None:
        """Go back to Preparation."""
        session = self._require_session().session
        session.lifecycle.restart()
        session.drain()

    def comparison(
        self,
        *,
        filter: str = "",  # noqa: A002  # the name people type
        sort: str = "path",
        offset: int = 0,
        limit: int = 100,
    ) -> dict[str, object]:
        """Return a window of the comparison."""
        deciding = self._require_deciding()
        if sort.removeprefix("-") not in SORTS:
            raise SettingInvalid("sort", " | ".join(SORTS))
        for name, value in (("offset", offset), ("limit", limit)):
            if value < 0:
                raise SettingInvalid(name, "≥ 0")
        return deciding.window(filter, sort, offset, limit)

    # --- decisions --------------------------------------------------------------------

    async def set_rules(self, *, preset: str | None, rules: list[str]) -> None:
        """Replace the rules, by a preset's and by text."""
        deciding = self._require_deciding()
        try:
            data = deciding.with_rules(preset, rules)
        except ValueError:
            raise PresetUnknown(preset or "") from None
        await self._change_decisions(data)

    def rules(self) -> dict[str, object]:
        """Return the rules in force."""
        return self._require_deciding().rules()

    async def act(
        self,
        *,
        filter: str,  # noqa: A002  # the name people type
        action: str,
        origin: str | None,
        targets: list[str],
    ) -> dict[str, object]:
        """Set an action on the rows that a filter selects."""
        deciding = self._require_deciding()
        words = [action, *([origin] if origin else []), "->", ", ".join(targets) or "all"]
        data, count = deciding.with_action(filter, " ".join(words))
        await self._change_decisions(data)
        return {"applied": count, "refused": deciding.refusals()}

    async def _change_decisions(self, data: bytes) -> None:
        session = self._require_session().session
        session.lifecycle.change_decisions(data)
        session.drain()
        await self._require_work().settled()

    async def preview(self, preset: str) -> dict[str, object]:
        """Return what the plan's figures would be with *preset*; nothing is decided by it."""
        try:
            return await asyncio.to_thread(self._require_deciding().preview, preset)
        except ValueError:
            raise PresetUnknown(preset) from None

    def plan(self) -> dict[str, object]:
        """Return the plan, and what it leaves alone."""
        deciding = self._require_deciding()
        planned = deciding.plan_view()
        if planned is None:
            raise PlanEmpty
        return {**planned, "refusals": deciding.refusals()}

    # --- synchronisation --------------------------------------------------------------

    async def start_sync(self, *, allow_deletes: int | None = None) -> None:
        """Start the synchronisation; on a member that does not lead, lift its own brake.

        Raises:
            BrakeTripped: If this member's own brake must be lifted first.
            PlanEmpty: If there is nothing to do.
        """
        session, work = self._require_session().session, self._require_work()
        lifecycle = session.lifecycle
        mine = self._own_works()
        if allow_deletes is not None:
            for each in mine.values():
                each.allow_deletes = allow_deletes
        if session.me != lifecycle.leader:
            if allow_deletes is None:
                raise RightMissing(views.letters(session.membership)[lifecycle.leader])
            return
        await work.settled()
        if work.sync is not None or lifecycle.phase is not Phase.COMPARISON:
            raise WrongPhase(lifecycle.phase.value)
        self._require_links()
        decided = self._require_deciding().decided
        if decided is None or not decided.plan.steps:
            raise PlanEmpty
        for brake in decided.brakes:
            if brake.member in mine and brake.count > mine[brake.member].allow_deletes:
                raise BrakeTripped(brake.count, brake.files)
        sync = os.urandom(16)
        work.prepare(sync, decided)
        try:
            lifecycle.order_sync(
                sync,
                reference_time_ns=decided.proposed.reference_time_ns,
                steps=len(decided.plan.steps),
                steps_digest=decided.plan.digest,
            )
        except QuintetError:
            work.drop_sync()
            raise
        session.drain()

    async def abort(self) -> None:
        """Stop the synchronisation for all."""
        session = self._require_session().session
        session.lifecycle.abort_sync()
        session.drain()

    async def verify(self) -> dict[str, object]:
        """Read the planned end state back on all members."""
        work, phase = self._require_work(), self._require_session().session.lifecycle.phase
        if work.sync is None or phase is not Phase.FINISHED:
            raise WrongPhase(phase.value)
        await work.prove(work.sync, again=True)
        return work.proof_view() or {}

    # --- what acts need ---------------------------------------------------------------

    def _own_works(self) -> dict[int, SessionWork]:
        """Return the work of each member whose person sits at this computer."""
        attending, work = self._require_session(), self._require_work()
        if isinstance(attending, LocalAttending):
            return {each.session.me: each.work for each in attending.members}
        return {attending.session.me: work}

    def _require_session(self) -> Attending | LocalAttending:
        if self._attending is None or self._attending.session.ended.is_set():
            raise NoSession
        return self._attending

    def _require_work(self) -> SessionWork:
        if self._work is None:
            raise NoSession
        return self._work

    def _require_deciding(self) -> Deciding:
        work = self._require_work()
        if work.deciding is None:
            raise WrongPhase(self._require_session().session.lifecycle.phase.value)
        return work.deciding

    def _require_preparation(self) -> None:
        phase = self._require_session().session.lifecycle.phase
        if phase is not Phase.PREPARATION:
            raise WrongPhase(phase.value)

    def _require_links(self) -> None:
        session = self._require_session().session
        names = views.letters(session.membership)
        missing = [
            names[index]
            for index in session.membership.roster.present
            if index != session.me and index not in session.links
        ]
        if missing:
            raise LinksMissing(" ".join(missing))

    @property
    def _letter(self) -> str:
        assert self._attending is not None, "asked for in a session only"
        membership = self._attending.session.membership
        return views.letters(membership)[membership.me]
