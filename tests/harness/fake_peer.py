"""A small peer without a network: the commands and the local API are tried on it."""

import asyncio
import copy
import selectors
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peer.errors import AlreadyInSession, NoSession, RightMissing, SessionAlone, WrongPhase
from peer.session.errors import CandidateUnknown, MemberUnknown
from peer.web.app import LocalApi
from protocol.errors import JoinFailed, JoinOutcome, SecretUnusable

SESSION_ID = "7GQ2M9KXT"
PASSWORD = "K7QF2MNX9TBR"
INVITATION = f"quintet://join#1.{SESSION_ID}.{PASSWORD}.ABCDEFGH12345678.node:47555.X"
TOTALS = {
    "items": 10, "equal": 6, "different": 3, "missing": 1, "blocked": 0, "clashes": 0, "dates": 0,
}  # fmt: skip
EVIL_NAME = "evil\x1b[31m\u202egnp.exe"


def _member(letter: str, *, me: bool, sources: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "letter": letter,
        "index": ord(letter) - ord("A"),
        "name": f"Computer {letter}",
        "email": "",
        "known": "new",
        "digits": None if me else "4821 0937 5512",
        "fingerprint": f"{letter}000 " * 7 + "0000",
        "me": me,
        "state": "waiting_inventory",
        "sources": sources,
        "address": None if me else "192.0.2.7",
        "link": None if me else {"state": "up", "kind": "lan", "round_trip_ms": 0.4},
        "inventory": {"files": 9, "directories": 1, "bytes": 4096, "skipped": {}, "errors": 0},
        "sync": {"steps": 4, "done": 0, "failed": 0, "skipped": 0, "bytes": 2048, "bytes_done": 0},
    }


class FakePeer:
    """A peer whose session obeys at once and alone.

    Attributes:
        steps: Steps of the plan.
        failures: What the synchronisation reports as failed.
        proof_state: How the proof ends.
        others: Members that stand beside this one from the start.
        calls: What was asked for, in order.
        allowed_deletes: What ``start_sync`` was given.
    """

    def __init__(self, *, others: int = 0) -> None:
        self.steps = 4
        self.undecided = 0
        self.failures: list[dict[str, object]] = []
        self.proof_state = "equal"
        self.others = others
        self.leader = "A"
        self.calls: list[str] = []
        self.filters: list[str] = []
        """Of the comparison, as asked for."""
        self.accepted_new_key = False
        self.known: list[dict[str, object]] = []
        self.joining: list[dict[str, object]] = []
        self.joined_with: dict[str, object] = {}
        self.allowed_deletes: int | None = None
        self._rules: dict[str, Any] = {"preset": None, "rules": []}
        self._settings: dict[str, object] = {"matching": "path"}
        self._session: dict[str, Any] | None = None
        self._members: list[dict[str, Any]] = []
        self._sync: dict[str, Any] | None = None
        self._proof: dict[str, Any] | None = None
        self._confirmed = False
        self._revision = 0
        self._changed = asyncio.Event()

    def _touch(self, call: str) -> None:
        self.calls.append(call)
        self._revision += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _need(self, *phases: str, leader: bool = False) -> dict[str, Any]:
        if self._session is None:
            raise NoSession
        if leader and self.leader != "A":
            raise RightMissing(self.leader)
        if phases and self._session["phase"] not in phases:
            raise WrongPhase(self._session["phase"])
        return self._session

    def view(self) -> dict[str, object]:
        phase = self._session["phase"] if self._session else ""
        compared = phase in {"comparison", "synchronisation", "finished"}
        # As the peer: a picture that does not change afterwards.
        return copy.deepcopy(self._picture(compared=compared))

    def _picture(self, *, compared: bool) -> dict[str, object]:
        return {
            "schema": 1,
            "revision": self._revision,
            "version": "0.1.0",
            "home_name": "home",
            "me": {
                "fingerprint": "ABCD-EFGH",
                "name": "Computer A",
                "letter": "A" if self._session else None,
            },
            "session": self._session,
            "members": self._members,
            "joining": self.joining,
            "comparison": TOTALS if compared else None,
            "plan": self._plan() if compared else None,
            "sync": self._sync,
            "proof": self._proof,
            "notices": [],
        }

    async def changed(self, since: int, timeout: float) -> None:  # noqa: ASYNC109  # as the peer
        if self._revision <= since:
            try:
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _enter(self, sources: list[str]) -> None:
        if self._session is not None:
            raise AlreadyInSession
        listed = [
            {"code": f"A{n}", "path": path, "kind": "directory", "label": path.rsplit("/")[-1]}
            for n, path in enumerate(sources, 1)
        ]
        self._session = {
            "id": SESSION_ID,
            "phase": "preparation",
            "leader": self.leader,
            "epoch": 1,
            "rendezvous": {"address": "node:47555", "state": "registered"},
            "settings": self._settings,
            "activated": False,
        }
        self._members = [_member("A", me=True, sources=listed)]
        for letter in "BCDE"[: self.others]:
            theirs = [{"code": f"{letter}1", "path": EVIL_NAME, "kind": "directory", "label": "x"}]
            self._members.append(_member(letter, me=False, sources=theirs))

    async def start(
        self, *, sources: list[str], rendezvous: str | None, lan: bool, create: bool = False
    ) -> None:
        self._enter(sources)
        self._touch(f"start {rendezvous} {lan}")

    async def start_local(self, *, sources: list[str], create: bool = False) -> None:
        self._enter(sources[:1])
        assert self._session is not None
        self._session |= {"id": None, "local": True, "rendezvous": None}
        self._touch(f"start_local {sources} {create}")

    async def join(
        self,
        *,
        session_id: str,
        password: str,
        rendezvous: str | None,
        sources: list[str],
        accept_new_key: bool = False,
    ) -> None:
        self.accepted_new_key = accept_new_key
        if session_id.replace("-", "") != SESSION_ID:
            raise SecretUnusable("session_id")
        if password.replace("-", "") != PASSWORD:
            raise JoinFailed(JoinOutcome.WRONG_PASSWORD, tries_left=3)
        self._enter(sources)
        self._touch("join")

    async def join_by_invitation(
        self, *, invitation: str, sources: list[str], accept_new_key: bool = False
    ) -> None:
        self.accepted_new_key = accept_new_key
        if invitation != INVITATION:
            raise SecretUnusable("invitation")
        self._enter(sources)
        self._touch("join")

    async def decide_candidate(self, name: str, *, admit: bool) -> None:
        self._need()
        if name != "Laptop":
            raise CandidateUnknown(name)
        self._touch(f"decide {name} {admit}")

    async def allow_joining(self) -> None:
        self._need()
        self._touch("allow_joining")

    async def remove_member(self, letter: str) -> None:
        self._need()
        if letter.upper() != "B":
            raise MemberUnknown(letter)
        self._touch(f"remove {letter}")

    async def continue_without(self, letter: str) -> None:
        self._need()
        self._touch(f"without {letter}")

    async def new_password(self) -> None:
        self._need()
        self._touch("new_password")

    async def take_over(self) -> None:
        self._need()
        self._touch("take_over")

    def peers(self) -> list[dict[str, object]]:
        return self.known

    async def verify_peer(self, letter: str) -> None:
        self._need()
        self._touch(f"verify {letter}")

    async def forget_peer(self, name: str) -> int:
        count = len(self.known)
        self.known = [each for each in self.known if each["name"] != name]
        self._touch(f"forget {name}")
        return count - len(self.known)

    def secrets(self) -> dict[str, str]:
        self._need()
        return {"session_id": SESSION_ID, "password": PASSWORD, "invitation": INVITATION}

    async def leave(self, *, confirmed: bool) -> None:
        self._need()
        self._session = None
        self._members = []
        self._touch("leave")

    async def restart(self) -> None:
        self._need(leader=True)["phase"] = "preparation"
        self._touch("restart")

    async def add_source(self, path: str, *, create: bool = False) -> str:
        self._need("preparation")
        mine = self._members[0]["sources"]
        code = f"A{len(mine) + 1}"
        mine.append({"code": code, "path": path, "kind": "directory", "label": path})
        self._touch("add_source")
        return code

    async def drop_source(self, code: str) -> None:
        self._need("preparation")
        mine = self._members[0]["sources"]
        mine[:] = [source for source in mine if source["code"] != code]
        self._touch("drop_source")

    async def set_settings(self, assignments: list[str]) -> None:
        self._need("preparation", leader=True)
        for assignment in assignments:
            key, _, value = assignment.partition("=")
            self._settings[key] = value
        self._touch("set_settings")

    async def start_inventory(self) -> None:
        session = self._need("preparation", leader=True)
        if not self.others:
            raise SessionAlone
        session["phase"] = "comparison"
        self._touch("start_inventory")

    async def cancel_inventory(self) -> None:
        self._need()["phase"] = "preparation"
        self._touch("cancel_inventory")

    def comparison(
        self,
        *,
        filter: str = "",  # noqa: A002  # as the peer
        sort: str = "path",
        offset: int = 0,
        limit: int = 100,
    ) -> dict[str, object]:
        self._need("comparison", "synchronisation", "finished")
        self.filters.append(filter)
        cell = {"size": 5, "date": "2026-11-22T14:03:00Z", "sources": ["A1"], "error": None}
        rows = [
            {
                "path": EVIL_NAME,
                "kind": "file",
                "status": "A · B ≠",
                "cells": {"A": [cell], "B": []},
                "actions": ["copy A -> B"],
                "notes": [],
            }
        ]
        return {"totals": TOTALS, "matching": 1, "offset": offset, "rows": rows[offset:][:limit]}

    async def set_rules(self, *, preset: str | None, rules: list[str]) -> None:
        self._need("comparison", leader=True)
        of_preset = [f"files then {preset}"] if preset else []
        self._rules = {"preset": preset, "rules": [*of_preset, *rules]}
        self._touch("set_rules")

    def rules(self) -> dict[str, object]:
        self._need()
        return self._rules

    async def act(
        self,
        *,
        filter: str,  # noqa: A002  # as the peer
        action: str,
        origin: str | None,
        targets: list[str],
    ) -> dict[str, object]:
        self._need("comparison", leader=True)
        self._touch(f"act {action} {origin} {targets}")
        return {"applied": 2, "refused": [{"path": EVIL_NAME, "reason": "identical"}]}

    def _plan(self) -> dict[str, object]:
        return {
            "steps": self.steps,
            "digest": "ab" * 32,
            "reference_time": 0,
            "members": {
                "A": {"create": 0, "replace": 0, "delete": 0, "dates": 1, "bytes_in": 0},
                "B": {"create": 1, "replace": 2, "delete": 0, "dates": 0, "bytes_in": 2048},
            },
            "refused": 0,
            "undecided": self.undecided,
            "confirmed": self._confirmed,
        }

    async def preview(self, preset: str) -> dict[str, object]:
        self._need("comparison")
        return self._plan()

    def plan(self) -> dict[str, object]:
        self._need("comparison", "synchronisation", "finished")
        return {**self._plan(), "refusals": []}

    async def start_sync(self, *, allow_deletes: int | None = None) -> None:
        session = self._need("comparison", leader=True)
        self.allowed_deletes = allow_deletes
        session["phase"] = "finished"
        state = "done_with_errors" if self.failures else "done"
        self._sync = {
            "state": state, "elapsed": 1.5, "bytes": 2048, "bytes_done": 2048,
            "failures": self.failures,
        }  # fmt: skip
        self._proof = self._prove()
        self._touch("start_sync")

    def _prove(self) -> dict[str, Any]:
        deviations = [{"letter": "B", "path": EVIL_NAME, "code": "fs.missing"}]
        equal = self.proof_state == "equal"
        return {
            "state": self.proof_state, "files": 9, "digest": "cd" * 32,
            "deviations": [] if equal else deviations,
        }  # fmt: skip

    async def abort(self) -> None:
        self._need()
        self._touch("abort")

    async def verify(self) -> dict[str, object]:
        self._need("comparison", "finished")
        self._proof = self._prove()
        self._touch("verify")
        return self._proof

    async def close(self) -> None:
        self._touch("close")


@contextmanager
def served(fake: FakePeer, home: Path) -> Iterator[LocalApi]:
    """Serve *fake* through the real local API, on a loop of its own thread, within the block."""
    started = threading.Event()
    ready: list[LocalApi] = []
    stops: list[Any] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        api = LocalApi(fake, home, stop=stop.set, now=loop.time, version="0.1.0")
        await api.start()
        ready.append(api)
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        started.set()
        await stop.wait()
        await api.close()

    def run() -> None:
        with asyncio.Runner(
            loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
        ) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(10)
        yield ready[0]
    finally:
        if thread.is_alive():
            stops[0]()
        thread.join(10)
        assert not thread.is_alive()
