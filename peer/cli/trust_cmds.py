"""Commands about who is let in, and whose device is whose."""

import datetime as dt
import urllib.parse

import click

from peer.cli.client import View
from peer.cli.render import put_json, shown, table
from peer.cli.session_cmds import put_secrets
from peer.cli.words import App, command, group, json_option, option
from peer.errors import NoSession
from peer.session.errors import MemberUnknown

yes_option = option("--yes", is_flag=True, help="option.yes")


@command("invite")
@option("--qr", is_flag=True, help="option.qr")
@json_option
def invite_command(app: App, *, qr: bool, as_json: bool) -> None:
    put_secrets(app, app.client().get("session/secrets"), qr=qr, as_json=as_json)


member_command = group("member")


@command("member.admit", member_command)
@click.argument("name")
def member_admit(app: App, *, name: str) -> None:
    app.client().post("joining/decide", {"name": name, "admit": True})
    app.say(app.text("member.admitted", name=shown(name)))


@command("member.decline", member_command)
@click.argument("name")
def member_decline(app: App, *, name: str) -> None:
    app.client().post("joining/decide", {"name": name, "admit": False})
    app.say(app.text("member.declined", name=shown(name)))


@command("member.allow", member_command)
def member_allow(app: App) -> None:
    app.client().post("joining/allow")
    app.say(app.text("member.allowed"))


@command("member.remove", member_command)
@click.argument("letter")
@yes_option
def member_remove(app: App, *, letter: str, yes: bool) -> None:
    client = app.client()
    app.confirm(app.text("member.remove_question", letter=letter.upper()), yes=yes)
    client.post("members/remove", {"letter": letter})
    app.say(app.text("member.removed", letter=letter.upper()))


@command("member.without", member_command)
@click.argument("letter")
@yes_option
def member_without(app: App, *, letter: str, yes: bool) -> None:
    client = app.client()
    app.confirm(app.text("member.without_question", letter=letter.upper()), yes=yes)
    client.post("members/without", {"letter": letter})
    app.say(app.text("member.without_done", letter=letter.upper()))


@command("member.take_over", member_command)
@yes_option
def member_take_over(app: App, *, yes: bool) -> None:
    client = app.client()
    app.confirm(app.text("member.take_over_question"), yes=yes)
    client.post("session/take-over")
    app.say(app.text("member.taken_over"))


@command("member.new_password", member_command)
def member_new_password(app: App) -> None:
    app.client().post("session/password")
    app.say(app.text("member.password_changing"))


peers_command = group("peers")


@command("peers.list", peers_command)
@json_option
def peers_list(app: App, *, as_json: bool) -> None:
    told = app.client_or_start().get("peers")
    if as_json:
        put_json(told)
        return
    rows = [
        [
            peer["name"],
            peer["fingerprint"],
            dt.datetime.fromtimestamp(peer["last_seen"], dt.UTC).date().isoformat(),
            app.text(f"known.{'verified' if peer['verified'] else 'known'}"),
        ]
        for peer in told["peers"]
    ]
    heads = ("name", "fingerprint", "last_seen", "known")
    table([app.text(f"peers.{head}") for head in heads], rows)


@command("peers.verify", peers_command)
@click.argument("letter")
@yes_option
@json_option
def peers_verify(app: App, *, letter: str, yes: bool, as_json: bool) -> None:
    client = app.client()
    view = client.get("state")
    member = _member(view, letter)
    if as_json and not yes:
        names = ("letter", "name", "known", "digits", "fingerprint")
        put_json({**{name: member[name] for name in names}, "mine": view["me"]["fingerprint"]})
        return
    if not as_json:
        _put_what_to_compare(app, view, member)
    app.confirm(app.text("peers.question"), yes=yes)
    client.post("peers/verify", {"letter": member["letter"]})
    if as_json:
        put_json({"letter": member["letter"], "known": "verified"})
    else:
        app.say(app.text("peers.verified", name=shown(member["name"])))


def _member(view: View, letter: str) -> View:
    if view["session"] is None:
        raise NoSession
    for member in view["members"]:
        if member["letter"] == letter.upper() and not member["me"]:
            found: View = member
            return found
    raise MemberUnknown(letter)


def _put_what_to_compare(app: App, view: View, member: View) -> None:
    if member["digits"]:
        click.echo(app.text("peers.digits", digits=member["digits"]))
        return
    click.echo(
        app.text(
            "peers.fingerprints",
            mine=view["me"]["fingerprint"],
            name=shown(member["name"]),
            theirs=member["fingerprint"],
        )
    )


@command("peers.forget", peers_command)
@click.argument("name")
def peers_forget(app: App, *, name: str) -> None:
    told = app.client_or_start().delete(f"peers/{urllib.parse.quote(name, safe='')}")
    app.say(app.text("peers.forgotten", count=told["forgotten"]))
