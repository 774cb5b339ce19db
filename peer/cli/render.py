"""How results look: tables and lines; Rich is loaded only when a terminal is drawn on."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from peer.cli.words import App

JOINERS: Final = frozenset("\u200c\u200d")
"""Invisible, but part of how Persian words, Indic scripts and emoji are written."""

HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Characters that act on a terminal, or on the order of what is read, instead of showing."""


def shown(text: str) -> str:
    """Return *text* on one line and without anything that acts on a terminal (security.md, T28)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if unicodedata.category(character) not in HIDDEN_CATEGORIES or character in JOINERS:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if character.isascii() else f"\\u{{{code:x}}}"


def shown_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return *values* of a text with every string made harmless."""
    return {
        name: shown(value) if isinstance(value, str) else value for name, value in values.items()
    }


def put_json(value: Mapping[str, object]) -> None:
    """Print one JSON object with the schema's version."""
    # ASCII alone: whatever a name holds, it cannot act on the terminal.
    click.echo(json.dumps({"schema": 1, **value}))


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()
) -> None:
    """Print a table; columns whose position is in *numbers* are aligned to the right."""
    harmless = [[shown(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(heads, harmless, numbers)
        return
    widths = [max(map(len, column)) for column in zip(heads, *harmless, strict=True)]
    for row in [list(heads), *harmless]:
        cells = [
            cell.rjust(width) if place in numbers else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())


def _draw(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(heads):
        drawn.add_column(head, justify="right" if place in numbers else "left", overflow="fold")
    for row in rows:
        # As plain text: square brackets in a name are no markup.
        drawn.add_row(*map(Text, row))
    Console().print(drawn)


def status(app: App, view: Mapping[str, Any]) -> None:
    """Print session, members, links and progress."""
    session = view["session"]
    if session is None:
        click.echo(app.text("status.no_session"))
        return
    phase = app.text(f"phase.{session['phase']}")
    if session.get("local"):
        click.echo(app.text("status.local", phase=phase))
    else:
        click.echo(
            app.text(
                "status.session",
                id=grouped(session["id"], 3),
                phase=phase,
                leader=session["leader"],
            )
        )
    node = session.get("rendezvous") or {}
    if node.get("address"):
        state = app.text(f"node_state.{node.get('state', 'off')}")
        click.echo(app.text("status.node", address=shown(node["address"]), state=state))
    rows = [
        [
            member["letter"],
            member["name"] + _remark(app, member),
            app.text(f"member.{member['state']}"),
            link_text(app, member),
            ", ".join(f"{source['code']} {source['path']}" for source in member["sources"]),
        ]
        for member in view["members"]
    ]
    table(
        [app.text(f"status.{head}") for head in ("letter", "name", "state", "link", "sources")],
        rows,
    )
    for joining in view.get("joining", ()):
        key = "status.asks" if joining.get("asks") else "status.joining"
        click.echo(app.text(key, **shown_values(joining)))
    for pause in session.get("joining_paused", ()):
        click.echo(app.text("status.paused", letter=pause["letter"]))
    totals(app, view.get("comparison"))
    outcome(app, view)


def _remark(app: App, member: Mapping[str, Any]) -> str:
    """Return what stands behind a member's name: that it is here, or what is known of its key."""
    if member["me"]:
        return f" ({app.text('status.me')})"
    known = member.get("known", "new")
    return "" if known == "new" else f" ({app.text(f'known.{known}')})"


def link_text(app: App, member: Mapping[str, Any]) -> str:
    """Return how *member* is reached: kind and round trip."""
    link = member.get("link")
    if not link:
        return ""
    if link.get("state") != "up":
        return app.text(f"link.{link.get('state', 'down')}")
    kind = app.text(f"link.{link.get('kind', 'direct')}")
    trip = link.get("round_trip_ms")
    return kind if trip is None else f"{kind} {app.catalogue.number(round(trip, 1))} ms"


def totals(app: App, comparison: Mapping[str, Any] | None) -> None:
    """Print the counts of the comparison, if there is one."""
    if comparison is not None:
        click.echo(app.text("compare.totals", **comparison))


def plan(app: App, told: Mapping[str, Any]) -> None:
    """Print what the plan does on each member, and what it leaves alone."""
    if not told["steps"]:
        click.echo(app.text("plan.empty"))
    else:
        kinds = ("create", "replace", "delete", "dates")
        rows = [
            [
                letter,
                *(app.catalogue.number(counts.get(kind, 0)) for kind in kinds),
                app.catalogue.size(counts.get("bytes_in", 0)),
            ]
            for letter, counts in sorted(told["members"].items())
        ]
        heads = [app.text(f"plan.{head}") for head in ("letter", *kinds, "bytes_in")]
        table(heads, rows, numbers=(1, 2, 3, 4, 5))
        click.echo(app.text("plan.steps", steps=told["steps"]))
    if told.get("undecided"):
        click.echo(app.text("plan.undecided", count=told["undecided"]))
    if told.get("refused"):
        click.echo(app.text("plan.refused", count=told["refused"]))
    for refusal in told.get("refusals", ()):
        letter = refusal.get("letter") or ""
        click.echo(f"  {letter:1}  {shown(refusal['path'])}: {reason(app, refusal['reason'])}")


def reason(app: App, code: str, params: Mapping[str, object] | None = None) -> str:
    """Return why something was refused or failed, in words where there are some."""
    key = f"reason.{code}"
    if key in app.catalogue.texts:
        return app.text(key)
    return app.catalogue.error(code, shown_values(params or {}))


def outcome(app: App, view: Mapping[str, Any]) -> None:
    """Print how a synchronisation and its proof ended, as far as they did."""
    sync, proof = view.get("sync"), view.get("proof")
    if sync is not None:
        click.echo(
            app.text(
                f"sync.{sync['state']}",
                bytes_done=sync.get("bytes_done", 0),
                bytes=sync.get("bytes", 0),
                elapsed=sync.get("elapsed", 0),
            )
        )
        for failure in sync.get("failures", ()):
            words = reason(app, failure["code"], failure.get("params"))
            click.echo(f"  {failure.get('letter') or ''}  {shown(failure['path'])}: {words}")
    if proof is not None:
        proved(app, proof)


def proved(app: App, proof: Mapping[str, Any]) -> None:
    """Print what the proof found."""
    click.echo(app.text(f"proof.{proof['state']}", files=proof.get("files", 0)))
    for deviation in proof.get("deviations", ()):
        words = reason(app, deviation["code"])
        click.echo(f"  {deviation['letter']}  {shown(deviation['path'])}: {words}")


def grouped(symbols: str, size: int) -> str:
    """Return *symbols* in groups of *size* with hyphens, as people read them aloud."""
    bare = symbols.replace("-", "")
    return "-".join(bare[start : start + size] for start in range(0, len(bare), size))
