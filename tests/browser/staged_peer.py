"""A peer whose state a test sets by hand, so that every state of the page can be looked at."""

import asyncio
import copy
from typing import Any, Final

from peer.errors import ExpressionMalformed, Problem
from peer.web.peer_like import PeerLike
from tests.harness.fake_peer import INVITATION, PASSWORD, SESSION_ID, FakePeer

NAMES: Final = {
    "A": "Anna’s PC", "B": "Studio Mac mini", "C": "NAS in the cellar", "D": "Dora", "E": "Emil",
}  # fmt: skip
KIB, MIB, GIB = 1024, 1024**2, 1024**3
EVIL: Final = '<img src=x onerror="alert(1)">\\x1b[31m\\u{202e}gpj.exe'
"""As the peer's views tell a name that holds HTML, an escape and a change of direction."""

TOTALS: Final = {
    "items": 4210, "equal": 3988, "different": 31, "missing": 186, "dates": 4, "blocked": 1,
    "clashes": 0, "unhashed": 3900,
}  # fmt: skip


def member(letter: str, *, me: str = "A", leader: str = "A", **changes: Any) -> dict[str, Any]:
    """Return a member's block."""
    place = "ABCDE".index(letter)
    mine = letter == me
    link = {"state": "up", "kind": ("lan", "direct")[place % 2], "round_trip_ms": 0.8 + 14 * place}
    return {
        "letter": letter, "index": place, "name": NAMES[letter], "email": "", "me": mine,
        "leader": letter == leader, "state": "waiting_inventory",
        "sources": [
            {"code": f"{letter}1", "path": f"/home/{letter.lower()}/Photos", "kind": "directory",
             "label": "Photos"}
        ],
        "address": f"192.0.2.{place + 7}:47557",
        "link": None if mine else {**link, "address": f"192.0.2.{place + 7}:47557"},
        "inventory": {
            "files": 4000 + place, "directories": 180, "bytes": 9 * GIB + place, "errors": 0,
            "skipped": {"hidden": 12, "noise": 3}, "hashed_files": 20, "hashed_bytes": 210 * MIB,
            "to_hash_files": 60, "to_hash_bytes": 420 * MIB,
        },
        "sync": {"steps": 0, "done": 0, "failed": 0, "bytes": 0, "bytes_done": 0},
        **changes,
    }  # fmt: skip


def figures(**changes: int) -> dict[str, int]:
    """Return one member's part of a plan."""
    keys = ("create", "replace", "delete", "dates", "modes", "folders", "delete_folders",
            "bytes_in", "bytes_reused", "bytes_to_trash")  # fmt: skip
    return dict.fromkeys(keys, 0) | changes


def plan(letters: str = "ABC", **changes: Any) -> dict[str, Any]:
    """Return a plan in which every member receives something."""
    members = {
        letter: figures(
            create=40 + 7 * place, replace=9 + place, folders=3, bytes_in=(place + 1) * 310 * MIB,
            bytes_reused=12 * MIB, bytes_to_trash=place * 20 * MIB,
        )
        for place, letter in enumerate(letters)
    }  # fmt: skip
    links = {
        f"{one}→{other}": (1 + 3 * place) * 47 * MIB
        for place, (one, other) in enumerate(
            (one, other) for one in letters for other in letters if one != other
        )
    }
    return {
        "steps": 171, "digest": "ab" * 32, "reference_time": "2026-11-22T14:03:00+00:00",
        "members": members, "links": links, "refused": 0, "undecided": 0, "brakes": [],
    } | changes  # fmt: skip


class StagedPeer(FakePeer):
    """A peer that shows what it is told to show.

    Attributes:
        rows: How many rows its comparison has.
        evil: Whether the first of them has a name that would do harm.
        answers: What calls raise, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows = 4210
        self.evil = True
        self.answers: dict[str, Exception] = {}
        self._staged: dict[str, Any] | None = None
        self._stage = 0

    def show(self, phase: str | None = None, letters: str = "ABC", **parts: Any) -> None:
        """Let the state be *phase* with these members and parts."""
        me, leader = parts.pop("me", "A"), parts.pop("leader", "A")
        activated = phase not in {None, "preparation"}
        compared = phase in {"comparison", "synchronisation", "finished"}
        session = None if phase is None else {
            "id": SESSION_ID, "phase": phase, "leader": leader, "epoch": 1, "activated": activated,
            "rendezvous": {"address": "meet.example.org", "state": "registered"},
            "wrong_tries": 0, "joining_paused": [],
            "settings": {
                "data_type": "files-and-directories", "matching": "relative-path",
                "pairing": "lines", "case": "automatic", "analysis": "smart",
                "exclude_hidden": True, "exclude_system": True, "include": [], "exclude": ["*.tmp"],
                "symlinks": "skip", "metadata": "dates", "date_tolerance_ms": None,
            },
        }  # fmt: skip
        states = {"inventory": "analysing", "comparison": "inventory_done"}
        activity = states.get(phase or "", "waiting_inventory")
        self._staged = {
            **super().view(),
            "me": {"fingerprint": "ABCD-EFGH-JKLM-NPQR", "name": NAMES[me], "letter": me},
            "session": session,
            "members": [] if phase is None else [
                member(each, me=me, leader=leader, state=activity) for each in letters
            ],
            "joining": [],
            "comparison": TOTALS if compared else None,
            "plan": None,
            **parts,
        }  # fmt: skip
        self._stage += 1

    def view(self) -> dict[str, object]:
        if self._staged is None:
            return super().view()
        return copy.deepcopy({**self._staged, "revision": self._stage})

    async def changed(self, since: int, timeout: float) -> None:  # noqa: ASYNC109  # as the peer
        # Stages are set from the test's own thread, so this looks instead of being told.
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        while self._stage <= since and loop.time() < end:  # noqa: ASYNC110  # another thread
            await asyncio.sleep(0.02)

    def secrets(self) -> dict[str, str]:
        shown = "-".join(PASSWORD[start : start + 4] for start in range(0, len(PASSWORD), 4))
        return {"session_id": "7GQ-2M9-KXT", "password": shown, "invitation": INVITATION}

    async def join(self, **asked: Any) -> None:
        self.joined_with = asked
        if "join" in self.answers:
            raise self.answers["join"]
        self.show("preparation", "AB", me="B")

    async def preview(self, preset: str) -> dict[str, object]:
        told = plan()
        if preset.startswith("mirror"):
            told["members"]["C"]["delete"] = 40
        return told

    def plan(self) -> dict[str, object]:
        refusals = [
            {"path": EVIL, "letter": "B", "reason": "destination_blocked", "count": 0},
            {"path": "2021/Été", "letter": None, "reason": "several_contents", "count": 0},
        ]
        return {**plan(), "refusals": refusals}

    def rules(self) -> dict[str, object]:
        return {"preset": None, "rules": ["files then copy newest -> all"], "targeted": 2}

    def comparison(
        self,
        *,
        filter: str = "",  # noqa: A002  # as the peer
        sort: str = "path",
        offset: int = 0,
        limit: int = 100,
    ) -> dict[str, object]:
        if filter.endswith(":"):
            raise ExpressionMalformed(Problem.UNFINISHED, len(filter))
        matching = 0 if filter == "nothing" else 1 if filter.startswith("only:") else self.rows
        places = range(offset, min(offset + limit, matching))
        told = [row(matching - 1 - place if sort[0] == "-" else place) for place in places]
        for each in told:
            if each["number"] == 0 and self.evil:
                each["path"] = EVIL
        return {
            "totals": TOTALS, "matching": matching, "offset": offset,
            "rows": told,
        }  # fmt: skip


def row(place: int) -> dict[str, Any]:
    """Return the row at *place*: its path says which it is."""
    name = f"2024/trip/IMG_{place:07}.jpg"
    status = ("A B C =", "A B = · C ≠", "A = · B C –", "A ≈ · B C =")[place % 4]
    cell = {"size": 3 * MIB + place, "date": "2024-08-03T10:00:00+00:00", "group": 0, "source": 1,
            "error": None}  # fmt: skip
    return {
        "number": place, "line": 1, "path": name, "kind": "file", "status": status,
        "equal": place % 4 == 0, "hashed": True,
        "cells": {
            "A": [cell],
            "B": [] if place % 4 == 2 else [cell],
            "C": [] if place % 4 == 2 else [{**cell, "size": 2 * MIB, "group": place % 4}],
        },
        "actions": ["copy A -> B, C"] if place % 4 == 2 else [], "notes": [],
    }  # fmt: skip


_: type[PeerLike] = StagedPeer
