"""Commands about the session: who is in it, with what, and how it ends."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from peer.cli.client import Client, View
from peer.cli.render import grouped, put_json, shown, status, table
from peer.cli.words import App, command, group, json_option, option
from peer.errors import NameTaken, PeerNotRunning
from protocol.errors import QuintetError

LOOK: Final = 1.0
"""Seconds a look at a join under way waits for a change."""

paths_argument = click.argument(
    "paths", nargs=-1, type=click.Path(readable=False), metavar="[PATH]..."
)
name_option = option("--name", metavar="NAME", help="option.name")
yes_option = option("--yes", is_flag=True, help="option.yes")


def absolute(paths: tuple[str, ...]) -> list[str]:
    """Return *paths* as the peer, which runs in another folder, must read them."""
    return [os.path.abspath(os.path.expanduser(path)) for path in paths]  # noqa: PTH100, PTH111  # links stay as named


def client_named(app: App, name: str | None) -> Client:
    """Return a client of a peer that shows *name* to the others.

    Raises:
        NameTaken: If one runs already, under another name.
    """
    if name is None:
        return app.client_or_start()
    app.flags["identity.name"] = name
    client = app.client_or_start()
    present = client.get("state")["me"]["name"]
    if present != name:
        raise NameTaken(present)
    return client


@command("start")
@paths_argument
@option("--rendezvous", metavar="HOST[:PORT][#FINGERPRINT]", help="option.rendezvous")
@option("--lan", is_flag=True, help="option.lan")
@name_option
@option("--create", is_flag=True, help="option.create")
@option("--qr", is_flag=True, help="option.qr")
@option("--members", type=click.IntRange(2, 5), metavar="N", help="option.members")
@option("--preset", metavar="NAME", help="option.preset")
@option("--allow-deletes", type=click.IntRange(0), metavar="N", help="option.allow_deletes")
@yes_option
@json_option
def start_command(
    app: App,
    *,
    paths: tuple[str, ...],
    rendezvous: str | None,
    lan: bool,
    name: str | None,
    create: bool,
    qr: bool,
    members: int | None,
    preset: str | None,
    allow_deletes: int | None,
    yes: bool,
    as_json: bool,
) -> int:
    if lan and rendezvous:
        raise click.BadOptionUsage("--lan", "--lan and --rendezvous")
    if (members is None) != (preset is None):
        raise click.BadOptionUsage("--members", "--members and --preset")
    client = client_named(app, name)
    node = None if lan else rendezvous or app.resolved.settings.rendezvous or None
    body = {"sources": absolute(paths), "rendezvous": node, "lan": lan, "create": create}
    client.post("session/start", body)
    put_secrets(app, client.get("session/secrets"), qr=qr, as_json=as_json)
    if members is None or preset is None:
        return 0
    return _whole_session(
        app, client, members, preset, yes=yes, as_json=as_json, allow_deletes=allow_deletes
    )


def put_secrets(app: App, told: dict[str, str], *, qr: bool, as_json: bool) -> None:
    """Print Session ID, password and invitation."""
    if as_json:
        put_json(dict(told))
        return
    click.echo(app.text("start.id", id=grouped(told["session_id"], 3)))
    click.echo(app.text("start.password", password=grouped(told["password"], 4)))
    click.echo(app.text("start.invitation", invitation=told["invitation"]))
    if qr:
        import segno

        segno.make(told["invitation"], error="m").terminal(compact=True)
    app.say(app.text("start.anyone"))


def _whole_session(
    app: App,
    client: Client,
    members: int,
    preset: str,
    *,
    yes: bool,
    as_json: bool,
    allow_deletes: int | None,
) -> int:
    """Wait for the others, compare, show the plan, ask, synchronise."""
    from peer.cli.comparison_cmds import take_inventory
    from peer.cli.progress import watch
    from peer.cli.sync_cmds import synchronise

    app.say(app.text("start.waiting", count=members))
    watch(app, client, lambda view: all_here(view, members))
    take_inventory(app, client)
    client.put("rules", {"preset": preset, "rules": []})
    return synchronise(
        app, client, yes=yes, wait=True, allow_deletes=allow_deletes, as_json=as_json
    )


def all_here(view: View, members: int) -> bool:
    """Return whether *members* are in the session, each reachable and with a source."""
    present = view["members"]
    return len(present) >= members and all(
        member["sources"] and (member["me"] or (member["link"] or {}).get("state") == "up")
        for member in present
    )


@command("join")
@click.argument("session_id", required=False, metavar="[ID]")
@paths_argument
@option(
    "--password-file", type=click.Path(path_type=Path), metavar="FILE", help="option.password_file"
)
@option(
    "--invitation",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE|-",
    help="option.invitation",
)
@option("--rendezvous", metavar="HOST[:PORT][#FINGERPRINT]", help="option.rendezvous")
@name_option
@option("--accept-new-key", is_flag=True, help="option.accept_new_key")
@json_option
def join_command(
    app: App,
    *,
    session_id: str | None,
    paths: tuple[str, ...],
    password_file: Path | None,
    invitation: Path | None,
    rendezvous: str | None,
    name: str | None,
    accept_new_key: bool,
    as_json: bool,
) -> None:
    from peer.cli import secret_input

    if invitation is not None:
        # The invitation says which session: what stands first is a folder already.
        paths = (*([session_id] if session_id else []), *paths)
        link = (
            secret_input.read_stdin()
            if str(invitation) == "-"
            else secret_input.read_private_file(invitation)
        )
        body: dict[str, Any] = {"invitation": link}
    elif password_file is not None:
        if session_id is None:
            raise click.UsageError("session id")
        body = {"session_id": session_id, "password": secret_input.read_private_file(password_file)}
    else:
        body = _asked(app, session_id)
    if "invitation" not in body:
        body["rendezvous"] = rendezvous or app.resolved.settings.rendezvous or None
    body["accept_new_key"] = accept_new_key
    client = client_named(app, name)
    with _saying_who_decides(app, client):
        client.post("session/join", {**body, "sources": absolute(paths)})
    view = client.get("state")
    if as_json:
        put_json(view)
    else:
        click.echo(app.text("join.done", letter=view["me"]["letter"]))


@contextlib.contextmanager
def _saying_who_decides(app: App, client: Client) -> Iterator[None]:
    """Say once, while the block waits, that members are asked, and what both may compare."""
    over = threading.Event()

    def watch() -> None:
        revision = -1
        with contextlib.suppress(QuintetError):
            while not over.is_set():
                view = client.get("state", since=revision, wait=LOOK)
                revision, entering = view["revision"], view.get("entering")
                if entering and entering["asks"]:
                    app.say(
                        app.text("join.asked", name=shown(entering["name"]), sas=entering["sas"])
                    )
                    return

    # Nothing waits for it: it sees that the join is over, or the command has ended.
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _asked(app: App, session_id: str | None) -> dict[str, Any]:
    """Ask for what is missing; either question takes the whole invitation."""
    from peer.cli import secret_input

    if session_id is None:
        session_id = secret_input.ask(app, "join.ask_id", hidden=False)
        if secret_input.LINK.search(session_id):
            return {"invitation": session_id}
    password = secret_input.ask(app, "join.ask_password", hidden=True)
    if secret_input.LINK.search(password):
        return {"invitation": password}
    return {"session_id": session_id, "password": password}


@command("local")
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@option("--create", is_flag=True, help="option.create")
@json_option
def local_command(app: App, *, paths: tuple[str, ...], create: bool, as_json: bool) -> None:
    client = app.client_or_start()
    client.post("session/local", {"sources": absolute(paths), "create": create})
    view = client.get("state")
    if as_json:
        put_json(view)
    else:
        status(app, view)


@command("status")
@option("--watch", "watching", is_flag=True, help="option.watch")
@json_option
def status_command(app: App, *, watching: bool, as_json: bool) -> None:
    try:
        client = app.client()
    except PeerNotRunning:
        if watching:
            raise
        if as_json:
            put_json({"running": False, "session": None, "members": []})
        else:
            click.echo(app.text("status.not_running"))
        return
    for view in client.views():
        if watching and not as_json:
            click.clear()
        if as_json:
            put_json({"running": True, **view})
        else:
            status(app, view)
        if not watching:
            return


@command("leave")
@yes_option
def leave_command(app: App, *, yes: bool) -> None:
    client = app.client()
    session = client.get("state")["session"]
    if session is not None and session["phase"] != "finished":
        question = "leave.activated" if session["activated"] else "leave.question"
        app.confirm(app.text(question), yes=yes)
    client.post("session/leave", {"confirmed": True})
    app.say(app.text("leave.done"))


@command("restart")
def restart_command(app: App) -> None:
    app.client().post("session/restart")
    app.say(app.text("restart.done"))


source_command = group("source")


@command("source.add", source_command)
@click.argument("path", type=click.Path(readable=False))
@option("--create", is_flag=True, help="option.create")
@json_option
def source_add(app: App, *, path: str, create: bool, as_json: bool) -> None:
    told = app.client().post("sources", {"path": absolute((path,))[0], "create": create})
    if as_json:
        put_json(told)
    else:
        click.echo(told["code"])


@command("source.drop", source_command)
@click.argument("code")
def source_drop(app: App, *, code: str) -> None:
    import urllib.parse

    app.client().delete(f"sources/{urllib.parse.quote(code.upper(), safe='')}")
    app.say(app.text("source.dropped", code=shown(code.upper())))


@command("source.pair", source_command)
@click.argument("codes", nargs=-1, metavar="[CODE]...")
def source_pair(app: App, *, codes: tuple[str, ...]) -> None:
    # No code at all: everything is paired by its number again.
    line = "+".join(codes).upper()
    app.client().patch("settings", {"set": [f"pairs={line}"]})
    app.say(app.text("source.paired", codes=shown(line)) if codes else app.text("source.unpaired"))


@command("source.list", source_command)
@json_option
def source_list(app: App, *, as_json: bool) -> None:
    members = app.client().get("state")["members"]
    if as_json:
        put_json({"sources": {member["letter"]: member["sources"] for member in members}})
        return
    rows = [
        [source["code"], app.text(f"kind.{source['kind']}"), source["path"]]
        for member in members
        for source in member["sources"]
    ]
    table([app.text(f"source.{head}") for head in ("code", "kind", "path")], rows)


@command("settings")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE]...")
@json_option
def settings_command(app: App, *, assignments: tuple[str, ...], as_json: bool) -> None:
    client = app.client()
    if assignments:
        told = client.patch("settings", {"set": list(assignments)})
    else:
        told = client.get("settings")
    if told["settings"] is None:
        from peer.errors import NoSession

        raise NoSession
    if as_json:
        put_json(told)
        return
    for key, value in told["settings"].items():
        click.echo(f"{shown(key)}={shown(str(value))}")
