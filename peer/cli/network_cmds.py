"""Commands about the peer itself: its page, its process, its settings."""

import json

import click
from click.shell_completion import get_completion_class

from peer.cli.words import App, command, group, json_option, option, setting_options
from peer.errors import PeerNotRunning


def open_page(app: App, *, url_only: bool, via_port: int | None) -> int:
    """Print, or open in the browser, an address that opens the page once."""
    url = app.client_or_start().post("entries", {"via_port": via_port})["url"]
    if url_only or via_port is not None or not app.resolved.settings.browser:
        click.echo(url)
        return 0
    if click.launch(url) != 0:
        click.echo(url)
    return 0


@command("open")
@option("--url", "url_only", is_flag=True, help="option.url")
@option("--via-port", type=click.IntRange(1, 65535), metavar="N", help="option.via_port")
def open_command(app: App, *, url_only: bool, via_port: int | None) -> int:
    return open_page(app, url_only=url_only, via_port=via_port)


@command("up")
@setting_options
@option("--background", is_flag=True, hidden=True, help="option.background")
def up_command(app: App, *, background: bool) -> int:
    from peer.cli import serve

    def ready(url: str) -> None:
        app.say(app.text("up.running", home=str(app.home)))
        if background:
            return
        if app.resolved.settings.browser and app.interactive:
            click.launch(url)
        app.say(app.text("up.page", url=url))

    return serve.run(app, background=background, on_ready=ready)


@command("down")
def down_command(app: App) -> int:
    try:
        client = app.client()
    except PeerNotRunning:
        app.say(app.text("down.none"))
        return 0
    client.post("shutdown")
    client.wait_until_gone(app.home)
    app.say(app.text("down.done"))
    return 0


config_command = group("config")


@command("config.show", config_command)
@option("--origin", is_flag=True, help="option.origin")
@json_option
def config_show(app: App, *, origin: bool, as_json: bool) -> None:
    from peer import settings
    from peer.cli.render import table

    resolved = app.resolved
    values = settings.values(resolved.settings)
    if as_json:
        keys = {
            name: {"value": value, "origin": resolved.origins[name]}
            for name, value in values.items()
        }
        click.echo(json.dumps({"schema": 1, "settings": keys}))
        return
    rows = [
        [name, json.dumps(value, ensure_ascii=False), *([resolved.origins[name]] * origin)]
        for name, value in values.items()
    ]
    heads = [
        app.text("config.key"),
        app.text("config.value"),
        *([app.text("config.origin")] * origin),
    ]
    table(heads, rows)


@command("config.path", config_command)
def config_path(app: App) -> None:
    click.echo(app.user_file)


@command("config.set", config_command)
@click.argument("assignment", metavar="KEY=VALUE")
def config_set(app: App, *, assignment: str) -> None:
    from peer import settings

    name, _, value = assignment.partition("=")
    settings.write_value(app.user_file, name, value)
    app.say(app.text("config.written", path=str(app.user_file)))


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(context: click.Context, _app: App, *, shell: str) -> None:
    found = get_completion_class(shell)
    assert found is not None, "the choice above lists those click has"
    root = context.find_root().command
    click.echo(found(root, {}, "quintet", "_QUINTET_COMPLETE").source())


@command("version")
@json_option
def version_command(_app: App, *, as_json: bool) -> None:
    from importlib.metadata import version

    number = version("quintet")
    click.echo(json.dumps({"schema": 1, "version": number}) if as_json else f"quintet {number}")
