"""Commands between the preparation and the plan: inventory, comparison, rules, actions."""

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import click

from peer.cli.client import Client, View
from peer.cli.render import put_json, reason, shown, table, totals
from peer.cli.words import App, command, group, json_option, option
from peer.errors import InventoryStopped
from protocol.errors import ExitStatus

WINDOW: Final = 1000
"""Rows asked for at once."""

MEMBER_OR_SOURCE: Final = re.compile(r"[A-E]\d{0,2}")
"""A member's letter, or the code of one of its sources."""

DIFFERENCES: Final = "not is:equal"
"""The filter of what a person sees first."""

UNLIMITED: Final = 2**31
"""Rows of an export without a limit."""


def take_inventory(app: App, client: Client) -> View:
    """Start the inventory and return the state once the comparison stands.

    Raises:
        InventoryStopped: If it was cancelled, or failed.
    """
    client.post("inventory/start")
    return wait_for_comparison(app, client)


def wait_for_comparison(app: App, client: Client) -> View:
    """Return the state once the comparison stands.

    Raises:
        InventoryStopped: If it was cancelled, or failed.
    """
    from peer.cli.progress import watch

    seen_running = False

    def ended(view: View) -> bool:
        nonlocal seen_running
        session = view["session"]
        if session is None:
            return True
        if session["phase"] == "inventory":
            seen_running = True
            return any(member["state"] == "inventory_failed" for member in view["members"])
        return session["phase"] != "preparation" or seen_running

    view = watch(app, client, ended)
    if view["session"] is None or view["comparison"] is None:
        raise InventoryStopped
    return view


@command("inventory")
@option("--wait", is_flag=True, help="option.wait_inventory")
@option("--cancel", is_flag=True, help="option.cancel_inventory")
@json_option
def inventory_command(app: App, *, wait: bool, cancel: bool, as_json: bool) -> None:
    client = app.client()
    if cancel:
        client.post("inventory/cancel")
        app.say(app.text("inventory.cancelled"))
        return
    client.post("inventory/start")
    if not wait:
        app.say(app.text("inventory.started"))
        return
    view = wait_for_comparison(app, client)
    if as_json:
        put_json({"comparison": view["comparison"]})
    else:
        totals(app, view["comparison"])


@command("cancel")
def cancel_command(app: App) -> None:
    app.client().post("inventory/cancel")
    app.say(app.text("inventory.cancelled"))


@command("compare")
@option("--filter", "expression", default="", metavar="EXPR", help="option.filter")
@option("--sort", default="path", metavar="COLUMN", help="option.sort")
@option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "jsonl"]),
    default="table",
    help="option.compare_format",
)
@option("--all", "everything", is_flag=True, help="option.compare_all")
@option("--limit", type=click.IntRange(0), metavar="N", help="option.limit")
@option("--exit-code", is_flag=True, help="option.exit_code")
@json_option
def compare_command(
    app: App,
    *,
    expression: str,
    sort: str,
    form: str,
    everything: bool,
    limit: int | None,
    exit_code: bool,
    as_json: bool,
) -> int:
    client = app.client()
    # A table is read by a person, who looks for what differs; an export is whole unless said
    # otherwise.
    if form == "table" and not (expression or everything or as_json):
        expression = DIFFERENCES
    most = limit if limit is not None else (100 if form == "table" else UNLIMITED)
    first = client.get(
        "comparison", filter=expression, sort=sort, offset=0, limit=min(most, WINDOW)
    )
    rows = _rows(client, first, expression, sort, most)
    if as_json:
        put_json({**first, "rows": list(rows)})
    elif form == "jsonl":
        for row in rows:
            click.echo(json.dumps(row))
    elif form == "csv":
        _put_csv(first, rows)
    else:
        _put_table(app, first, rows)
    told = first["totals"]
    differs = any(
        told.get(kind) for kind in ("different", "missing", "dates", "clashes", "blocked")
    )
    return ExitStatus.DIFFERENCES if exit_code and differs else ExitStatus.DONE


def _rows(
    client: Client, first: dict[str, Any], expression: str, sort: str, most: int
) -> Iterator[dict[str, Any]]:
    """Yield rows window by window: an export of a million rows stays small."""
    window, seen = first["rows"], 0
    while window:
        yield from window
        seen += len(window)
        if seen >= min(most, first["matching"]):
            return
        window = client.get(
            "comparison",
            filter=expression,
            sort=sort,
            offset=seen,
            limit=min(WINDOW, most - seen),
        )["rows"]


def _put_table(app: App, first: dict[str, Any], rows: Iterator[dict[str, Any]]) -> None:
    drawn = [[row["status"], row["path"], "; ".join(row.get("actions", ()))] for row in rows]
    if drawn:
        table([app.text(f"compare.{head}") for head in ("status", "path", "actions")], drawn)
    totals(app, first["totals"])
    if len(drawn) < first["matching"]:
        app.say(app.text("compare.more", count=first["matching"] - len(drawn)))


def _put_csv(first: dict[str, Any], rows: Iterator[dict[str, Any]]) -> None:
    # Characters that act on a terminal are escaped here too: an export is often looked at there.
    letters = sorted({letter for row in first["rows"] for letter in row["cells"]})
    heads = [f"{letter}.{field}" for letter in letters for field in ("size", "date")]
    _put_csv_line(["path", "kind", "status", *heads, "actions"])
    for row in rows:
        cells = []
        for letter in letters:
            groups = row["cells"].get(letter) or [{}]
            cells += [groups[0].get("size", ""), groups[0].get("date", "")]
        actions = "; ".join(row.get("actions", ()))
        _put_csv_line([row["path"], row["kind"], row["status"], *cells, actions])


def _put_csv_line(values: list[object]) -> None:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow([shown(str(value)) for value in values])
    click.echo(stream.getvalue())


rules_command = group("rules")


@command("rules.list", rules_command)
@json_option
def rules_list(app: App, *, as_json: bool) -> None:
    told = app.client().get("rules")
    if as_json:
        put_json(told)
        return
    if told["preset"]:
        click.echo(app.text("rules.preset", preset=shown(told["preset"])))
    for number, rule in enumerate(told["rules"], 1):
        click.echo(f"{number:3}  {shown(rule)}")
    if not told["preset"] and not told["rules"]:
        click.echo(app.text("rules.none"))


@command("rules.add", rules_command, arrows=True)
@click.argument("words", nargs=-1, required=True, metavar="RULE")
def rules_add(app: App, *, words: tuple[str, ...]) -> None:
    client = app.client()
    told = client.get("rules")
    # What is listed holds the preset's rules already: from here on they are rules like others.
    rules = [*told["rules"], " ".join(words)]
    client.put("rules", {"preset": None, "rules": rules})
    app.say(app.text("rules.added", number=len(rules)))


@command("rules.remove", rules_command)
@click.argument("number", type=click.IntRange(1))
def rules_remove(app: App, *, number: int) -> None:
    client = app.client()
    told = client.get("rules")
    rules = list(told["rules"])
    if number > len(rules):
        raise click.BadParameter("number", param_hint="NUMBER")
    del rules[number - 1]
    client.put("rules", {"preset": None, "rules": rules})
    app.say(app.text("rules.removed", number=number))


@command("rules.preset", rules_command)
@click.argument("name")
@click.argument("letter", required=False)
def rules_preset(app: App, *, name: str, letter: str | None) -> None:
    preset = f"{name} {letter.upper()}" if letter else name
    app.client().put("rules", {"preset": preset, "rules": []})
    app.say(app.text("rules.preset", preset=shown(preset)))


@command("rules.clear", rules_command)
def rules_clear(app: App) -> None:
    app.client().put("rules", {"preset": None, "rules": []})
    app.say(app.text("rules.cleared"))


@command("act", arrows=True)
@click.argument("action")
@click.argument("letters", nargs=-1, metavar="[FROM] [TO]...")
@option("--filter", "expression", required=True, metavar="EXPR", help="option.filter")
@json_option
def act_command(
    app: App, *, action: str, letters: tuple[str, ...], expression: str, as_json: bool
) -> int:
    origin, targets = parties(action, letters)
    told = app.client().post(
        "actions",
        {"filter": expression, "action": action, "origin": origin, "targets": targets},
    )
    if as_json:
        put_json(told)
    else:
        click.echo(app.text("act.applied", count=told["applied"]))
        for refusal in told["refused"]:
            click.echo(f"  {shown(refusal['path'])}: {reason(app, refusal['reason'])}")
    return ExitStatus.SOME_FAILED if told["refused"] else ExitStatus.DONE


def parties(action: str, letters: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return from whom and to whom *action* goes; an arrow between them is for the eye alone."""
    codes = [letter.strip(",").upper() for letter in letters if letter not in {"->", "→"}]
    if not all(MEMBER_OR_SOURCE.fullmatch(code) for code in codes):
        raise click.UsageError("LETTER")
    if action.startswith("copy"):
        if not codes:
            raise click.UsageError("FROM")
        return codes[0], codes[1:]
    return None, codes
