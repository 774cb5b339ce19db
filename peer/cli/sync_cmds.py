"""Commands from the plan to the proof."""

import click

from peer.cli.client import Client, View
from peer.cli.render import outcome, plan, proved, put_json
from peer.cli.words import App, command, json_option, option
from protocol.errors import ExitStatus

RUNNING = frozenset({"running"})


@command("plan")
@option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="option.plan_format",
)
@json_option
def plan_command(app: App, *, form: str, as_json: bool) -> None:
    told = app.client().get("plan")
    if as_json or form == "json":
        put_json(told)
    else:
        plan(app, told)


@command("sync")
@option("--yes", is_flag=True, help="option.yes")
@option("--wait", is_flag=True, help="option.wait_sync")
@option("--allow-deletes", type=click.IntRange(0), metavar="N", help="option.allow_deletes")
@json_option
def sync_command(
    app: App, *, yes: bool, wait: bool, allow_deletes: int | None, as_json: bool
) -> int:
    return synchronise(
        app, app.client(), yes=yes, wait=wait, allow_deletes=allow_deletes, as_json=as_json
    )


def synchronise(
    app: App, client: Client, *, yes: bool, wait: bool, allow_deletes: int | None, as_json: bool
) -> int:
    """Show the plan, ask, start; with *wait* return how it ended.

    Raises:
        ConfirmationNeeded: If *yes* is not given and there is nobody to ask.
        ConfirmationDeclined: If the answer is no.
    """
    told = client.get("plan")
    if not as_json:
        plan(app, told)
    if not told["steps"]:
        if as_json:
            put_json({"plan": told, "sync": None, "proof": None})
        return _left_over(told)
    deletions = sum(counts.get("delete", 0) for counts in told["members"].values())
    key = "sync.question_deletes" if deletions else "sync.question"
    app.confirm(app.text(key, count=deletions), yes=yes)
    client.post("sync/start", {"allow_deletes": allow_deletes})
    if not wait:
        app.say(app.text("sync.started"))
        return ExitStatus.DONE
    view = wait_for_end(app, client)
    if as_json:
        put_json({"plan": view["plan"], "sync": view["sync"], "proof": view["proof"]})
    else:
        outcome(app, view)
    return exit_status_of(view) or _left_over(told)


def _left_over(told: View) -> int:
    """Return the status of a plan that leaves rows alone: in sync only if there are none."""
    left = told.get("undecided") or told.get("refused")
    return ExitStatus.SOME_FAILED if left else ExitStatus.DONE


def wait_for_end(app: App, client: Client) -> View:
    """Return the state once the synchronisation and its proof have ended."""
    from peer.cli.progress import watch

    def ended(view: View) -> bool:
        sync, proof = view["sync"], view["proof"]
        if view["session"] is None:
            return True
        if sync is None or sync["state"] in RUNNING:
            return False
        if sync["state"] in {"aborted", "failed"}:
            return True
        return proof is not None and proof["state"] not in RUNNING

    return watch(app, client, ended)


def exit_status_of(view: View) -> int:
    """Return the exit status of an ended synchronisation (interface.md, section 1)."""
    sync, proof = view["sync"], view["proof"]
    if sync is None or sync["state"] in {"aborted", "failed"}:
        return ExitStatus.BRAKE if sync and _braked(sync) else ExitStatus.FAILURE
    if _braked(sync):
        return ExitStatus.BRAKE
    if sync["state"] == "done_with_errors" or sync.get("failures"):
        return ExitStatus.SOME_FAILED
    if proof is None or proof["state"] != "equal":
        return ExitStatus.DIFFERENCES
    return ExitStatus.DONE


def _braked(sync: View) -> bool:
    return any("brake" in entry["code"].split(".") for entry in sync.get("failures", ()))


@command("abort")
def abort_command(app: App) -> None:
    app.client().post("sync/abort")
    app.say(app.text("abort.done"))


@command("verify")
@json_option
def verify_command(app: App, *, as_json: bool) -> int:
    proof = app.client().post("verify", timeout=None)
    if as_json:
        put_json(proof)
    else:
        proved(app, proof)
    return ExitStatus.DONE if proof["state"] == "equal" else ExitStatus.DIFFERENCES
