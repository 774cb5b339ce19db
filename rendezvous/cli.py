"""The operator's command: ``quintet-rendezvous``."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from protocol.errors import ExitStatus

if TYPE_CHECKING:
    from rendezvous.identity import NodeIdentity
    from rendezvous.server import Server
    from rendezvous.settings import Settings

HEALTH_TIMEOUT: Final = 3.0
"""Seconds the node has to answer about its health."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="quintet")
def main() -> None:
    """Let Quintet peers find each other; never carry, see or store what they exchange."""


@main.command()
@click.option("--config", type=click.Path(path_type=Path), help="Settings, a TOML file.")
@click.option("--dev", is_flag=True, help="One machine or LAN: no file, generous limits.")
@click.option("--host", multiple=True, help="Address to listen at; repeat it for IPv6.")
@click.option("--port", type=click.IntRange(0, 65_535), help="UDP port; 0: any free one.")
@click.option("--health-port", type=click.IntRange(0, 65_535), help="TCP port on 127.0.0.1.")
@click.option("--state", type=click.Path(path_type=Path), help="Folder of the node's identity.")
@click.option("--debug", is_flag=True, help="Log every event.")
def serve(
    *,
    config: Path | None,
    dev: bool,
    host: tuple[str, ...],
    port: int | None,
    health_port: int | None,
    state: Path | None,
    debug: bool,
) -> None:
    """Serve until stopped; the first line of output is HOST:PORT#FINGERPRINT."""
    import msgspec

    from rendezvous import logs
    from rendezvous.certificate import CertificateUnusable
    from rendezvous.identity import IdentityUnusable, NodeIdentity
    from rendezvous.records import StoreUnavailable
    from rendezvous.settings import DEVELOPMENT, in_user_folder

    if dev == (config is not None):
        raise click.UsageError("give either --config FILE or --dev")
    settings = in_user_folder(DEVELOPMENT) if config is None else _load(config)
    given: dict[str, object] = {
        "hosts": host or None,
        "port": port,
        "health_port": health_port,
        "state": None if state is None else str(state),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    settings = msgspec.structs.replace(settings, **changes)
    logs.configure(settings.log_format, debug=debug)
    try:
        identity = NodeIdentity.open(Path(settings.state))
        asyncio.run(_serve(settings, identity, config))
    except (OSError, IdentityUnusable, StoreUnavailable, CertificateUnusable) as error:
        click.echo(f"quintet-rendezvous: {error}", err=True)
        sys.exit(ExitStatus.FAILURE)


async def _serve(settings: Settings, identity: NodeIdentity, config: Path | None) -> None:
    from rendezvous.notify import notify
    from rendezvous.server import Server

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with Server.open(settings, identity) as server:
        if config is not None:
            loop.add_signal_handler(signal.SIGHUP, _reload, server, config)
        click.echo(server.address)
        notify("READY=1")
        await stopped.wait()
        notify("STOPPING=1")


def _reload(server: Server, config: Path) -> None:
    """Let what changed in the files count; a mistake in them changes nothing."""
    import structlog

    from rendezvous.certificate import CertificateUnusable
    from rendezvous.settings import SettingsInvalid, load

    log = structlog.get_logger("rendezvous")
    try:
        server.reload(load(config))
    except (SettingsInvalid, CertificateUnusable) as error:
        log.warning("node.reload_failed", reason=str(error))
    else:
        log.info("node.reloaded")


@main.command("check-config")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--config", type=click.Path(path_type=Path), help="The same, as serve takes it.")
def check_config(*, file: Path | None, config: Path | None) -> None:
    """Check FILE and print every setting with its value."""
    from rendezvous.settings import described

    named = file or config
    if named is None:
        raise click.UsageError("name the file")
    for line in described(_load(named)):
        click.echo(line)


_health_port = click.option(
    "--health-port", default=47580, show_default=True, help="TCP port on 127.0.0.1."
)


@main.command()
@_health_port
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def health(*, health_port: int, as_json: bool) -> None:
    """Ask the running node whether it is well; exit 0 if so."""
    values = json.loads(_ask(health_port, "/healthz"))
    if as_json:
        click.echo(json.dumps({"schema": 1, **values}))
        return
    click.echo(f"{values['status']}: {values['sessions']} sessions")
    if values["warning"]:
        click.echo(f"warning: {values['warning']}", err=True)


@main.command()
@_health_port
def stats(*, health_port: int) -> None:
    """Print the running node's figures, one per line."""
    for line in _ask(health_port, "/metrics").decode().splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name.startswith("quintet_rendezvous_") and not name.endswith(("_bucket", "_created")):
            click.echo(line.removeprefix("quintet_rendezvous_"))


def _load(path: Path) -> Settings:
    from rendezvous.settings import SettingsInvalid, load

    try:
        return load(path)
    except SettingsInvalid as error:
        raise click.UsageError(str(error)) from error


def _ask(port: int, path: str) -> bytes:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HEALTH_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        click.echo(f"quintet-rendezvous: the node does not answer: {error}", err=True)
        sys.exit(ExitStatus.UNREACHABLE)
    finally:
        connection.close()
    if response.status != http.client.OK:
        click.echo(f"quintet-rendezvous: the node answers {response.status}", err=True)
        sys.exit(ExitStatus.FAILURE)
    return body


if __name__ == "__main__":
    main()
