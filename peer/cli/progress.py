"""Progress of what takes longer than a second: bars on a terminal, elsewhere a line now and then.

Always on stderr, so that a result on stdout stays alone.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from peer.cli.client import Client, View
from peer.cli.render import reason, shown, shown_values
from peer.cli.words import App
from protocol.errors import QuintetError

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY: Final = 5.0
"""Seconds between lines where no bar can be drawn."""

QUIET_START: Final = 1.0
"""Seconds before the first line: what is quicker needs none."""


def watch(
    app: App,
    client: Client,
    reached: Callable[[View], bool],
    *,
    timeout: float | None = None,
) -> View:
    """Return the first state for which *reached* is true; show the way there meanwhile.

    Raises:
        WaitTimedOut: If that is not within *timeout* seconds.
        PeerNotRunning: If the peer ends meanwhile.
    """
    last_notice: int | None = None
    with _drawn(app) as draw:
        for view in client.views(timeout):
            last_notice = _tell_notices(app, view, last_notice)
            if reached(view):
                return view
            draw(view)
    raise QuintetError  # the views never end by themselves


def _tell_notices(app: App, view: View, last: int | None) -> int:
    """Say the notices after number *last*; those that stood before the watch are old."""
    notices = view.get("notices", [])
    newest = max((notice["number"] for notice in notices), default=0)
    if last is None:
        return newest
    for notice in notices:
        if notice["number"] > last:
            app.say(notice_text(app, notice))
    return max(last, newest)


def notice_text(app: App, notice: dict[str, Any]) -> str:
    """Return a notice in words; one that has none yet shows its code."""
    values = shown_values(notice.get("params", {}))
    if isinstance(values.get("reason"), str):
        values["reason"] = reason(app, str(values["reason"]))
    key = f"notice.{notice['code']}"
    if key in app.catalogue.texts:
        return app.text(key, **values)
    return app.catalogue.error(notice["code"], values)


@contextlib.contextmanager
def _drawn(app: App) -> Iterator[Callable[[View], None]]:
    if app.quiet:
        yield lambda _view: None
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield _Bars(app, progress).draw
    else:
        yield _Lines(app).draw


class _Lines:
    """One line every few seconds."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._next = time.monotonic() + QUIET_START

    def draw(self, view: View) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LINE_EVERY
        for label, done, total, unit in stages(self._app, view):
            figures = _figures(self._app, done, total, unit)
            self._app.say(f"{label}: {figures}" if figures else label)


class _Bars:
    """One bar per member that has something to do."""

    def __init__(self, app: App, progress: "Progress") -> None:
        self._app = app
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def draw(self, view: View) -> None:
        current = {
            label: (done, total, unit) for label, done, total, unit in stages(self._app, view)
        }
        for label in [known for known in self._tasks if known not in current]:
            self._progress.remove_task(self._tasks.pop(label))
        for label, (done, total, unit) in current.items():
            if label not in self._tasks:
                self._tasks[label] = self._progress.add_task(label, total=None, figures="")
            self._progress.update(
                self._tasks[label],
                completed=done,
                total=total or None,
                figures=_figures(self._app, done, total, unit),
            )


def _bars() -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def stages(app: App, view: View) -> list[tuple[str, int, int, str]]:
    """Return what is under way as (label, done, total, unit); a total of 0 is unknown."""
    session = view.get("session")
    if session is None:
        return []
    phase = session["phase"]
    if phase == "inventory":
        return [_inventory_stage(app, member) for member in view["members"]]
    if phase == "synchronisation":
        return [_sync_stage(app, member) for member in view["members"]]
    if phase == "finished" and (view.get("proof") or {}).get("state") == "running":
        return [(app.text("proof.running"), 0, 0, "")]
    return [(app.text("progress.members", count=len(view["members"])), 0, 0, "")]


def _label(app: App, member: dict[str, Any]) -> str:
    state = app.text(f"member.{member['state']}")
    return f"{member['letter']} {shown(member['name'])}: {state}"


def _inventory_stage(app: App, member: dict[str, Any]) -> tuple[str, int, int, str]:
    counts = member.get("inventory") or {}
    if counts.get("to_hash_bytes"):
        return _label(app, member), counts.get("hashed_bytes", 0), counts["to_hash_bytes"], "bytes"
    return _label(app, member), counts.get("files", 0), 0, "files"


def _sync_stage(app: App, member: dict[str, Any]) -> tuple[str, int, int, str]:
    counts = member.get("sync") or {}
    if counts.get("bytes"):
        return _label(app, member), counts.get("bytes_done", 0), counts["bytes"], "bytes"
    return _label(app, member), counts.get("done", 0), counts.get("steps", 0), "steps"


def _figures(app: App, done: int, total: int, unit: str) -> str:
    if not unit:
        return ""
    if unit == "bytes":
        return app.text("progress.bytes", done=done, total=total)
    if total:
        return app.text("progress.steps", done=done, total=total)
    return app.text("progress.files", count=done)
