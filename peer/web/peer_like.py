"""What the local API asks of a running peer, and the words its view is told in."""

from typing import Literal, Protocol

# The words of the view; each has a text in every language.
Phase = Literal["preparation", "inventory", "comparison", "synchronisation", "finished"]
NodeState = Literal["registered", "connecting", "down", "off"]
LinkState = Literal["up", "connecting", "down"]
LinkKind = Literal["lan", "direct", "loopback"]
SyncState = Literal["running", "done", "done_with_errors", "aborted", "failed"]
ProofState = Literal["running", "equal", "deviates"]
Known = Literal["new", "known", "verified", "changed"]
SourceKind = Literal["directory", "file"]
MemberState = Literal[
    "joining",
    "waiting_inventory",
    "identifying",
    "waiting_identification",
    "analysing",
    "inventory_done",
    "inventory_failed",
    "inventory_cancelled",
    "synchronising",
    "sync_done",
    "sync_errors",
    "sync_failed",
    "unreachable",
    "left",
]


class PeerLike(Protocol):
    """One running peer of one state folder, as the API sees it.

    Every coroutine raises ``QuintetError`` where the peer refuses or fails.
    """

    def view(self) -> dict[str, object]:
        """Return the whole state, JSON-safe; its ``revision`` grows with every change."""
        ...

    async def changed(self, since: int, timeout: float) -> None:  # noqa: ASYNC109  # a long poll
        """Return when the view's revision exceeds *since*, or after *timeout* seconds."""
        ...

    async def start(
        self, *, sources: list[str], rendezvous: str | None, lan: bool, create: bool = False
    ) -> None: ...

    async def start_local(self, *, sources: list[str], create: bool = False) -> None:
        """Begin a session of these sources alone: members A to E of this computer."""
        ...

    async def join(
        self,
        *,
        session_id: str,
        password: str,
        rendezvous: str | None,
        sources: list[str],
        accept_new_key: bool = False,
    ) -> None:
        """Return when this peer is a member."""
        ...

    async def join_by_invitation(
        self, *, invitation: str, sources: list[str], accept_new_key: bool = False
    ) -> None: ...

    async def decide_candidate(self, name: str, *, admit: bool) -> None: ...

    async def allow_joining(self) -> None: ...

    async def remove_member(self, letter: str) -> None: ...

    async def continue_without(self, letter: str) -> None: ...

    async def new_password(self) -> None: ...

    async def take_over(self) -> None: ...

    def peers(self) -> list[dict[str, object]]:
        """Return ``[{"name", "fingerprint", "first_seen", "last_seen", "verified"}]``."""
        ...

    async def verify_peer(self, letter: str) -> None: ...

    async def forget_peer(self, name: str) -> int:
        """Return how many devices of this name there were."""
        ...

    def secrets(self) -> dict[str, str]:
        """Return ``session_id``, ``password`` and ``invitation``."""
        ...

    async def leave(self, *, confirmed: bool) -> None: ...

    async def restart(self) -> None: ...

    async def add_source(self, path: str, *, create: bool = False) -> str:
        """Return the code of the new source, such as ``A1``."""
        ...

    async def drop_source(self, code: str) -> None: ...

    async def set_settings(self, assignments: list[str]) -> None:
        """Set session settings from ``key=value``."""
        ...

    async def start_inventory(self) -> None: ...

    async def cancel_inventory(self) -> None: ...

    def comparison(
        self,
        *,
        filter: str = "",  # noqa: A002  # the name people type
        sort: str = "path",
        offset: int = 0,
        limit: int = 100,
    ) -> dict[str, object]:
        """Return a window of the comparison.

        ``{"totals": {…as in the view}, "matching": n, "offset": o, "rows": [{"path", "kind",
        "status", "cells": {"A": [{"size", "date", "sources", "error"}]}, "actions": [text],
        "notes": [code]}]}``; a date is text in ISO 8601.
        """
        ...

    async def set_rules(self, *, preset: str | None, rules: list[str]) -> None: ...

    def rules(self) -> dict[str, object]:
        """Return ``{"preset": text or null, "rules": [text]}``; a preset's rules are among them."""
        ...

    async def act(
        self,
        *,
        filter: str,  # noqa: A002  # the name people type
        action: str,
        origin: str | None,
        targets: list[str],
    ) -> dict[str, object]:
        """Return ``{"applied": n, "refused": [{"path", "reason"}]}``."""
        ...

    async def preview(self, preset: str) -> dict[str, object]:
        """Return what the plan's figures would be with this preset, changing nothing."""
        ...

    def plan(self) -> dict[str, object]:
        """Return the plan as in the view, and ``"refusals": [{"path", "reason"}]`` of its rows."""
        ...

    async def start_sync(self, *, allow_deletes: int | None = None) -> None: ...

    async def abort(self) -> None: ...

    async def verify(self) -> dict[str, object]:
        """Return the proof as in the view."""
        ...

    async def close(self) -> None: ...
