"""The command ``quintet``: finds commands without importing them, and says how they ended.

Whatever a command raises ends here as one line, a hint where there is one, and an exit status
(interface.md, section 1); never as a traceback.
"""

import contextlib
import importlib
import io
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import click

from peer.cli.words import App, NoCommand, TextGroup, app_of, general_options
from protocol.errors import ExitStatus, QuintetError

COMMANDS: Final = {
    "open": "network_cmds",
    "up": "network_cmds",
    "down": "network_cmds",
    "demo": "demo",
    "start": "session_cmds",
    "join": "session_cmds",
    "local": "session_cmds",
    "status": "session_cmds",
    "invite": "trust_cmds",
    "member": "trust_cmds",
    "peers": "trust_cmds",
    "leave": "session_cmds",
    "restart": "session_cmds",
    "source": "session_cmds",
    "settings": "session_cmds",
    "inventory": "comparison_cmds",
    "compare": "comparison_cmds",
    "rules": "comparison_cmds",
    "act": "comparison_cmds",
    "plan": "sync_cmds",
    "sync": "sync_cmds",
    "abort": "sync_cmds",
    "cancel": "comparison_cmds",
    "verify": "sync_cmds",
    "config": "network_cmds",
    "completion": "network_cmds",
    "version": "network_cmds",
}
"""Every command and the module of this package that holds it, in the order of the help."""

INTERRUPTED: Final = 130
"""Exit status after SIGINT: 128 and the signal's number, as shells say it."""

TERMINATED: Final = 143
"""The same after SIGTERM."""


class _Terminated(BaseException):
    """SIGTERM arrived while a command waited."""


class Root(TextGroup):
    """The group of all commands; imports the module of the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # inherited
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # inherited
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"peer.cli.{COMMANDS[cmd_name]}")
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    def short_help_of(self, ctx: click.Context, name: str) -> str:
        # From the catalogue alone: the list of commands imports none of them.
        return app_of(ctx).text(f"command.{name}").partition("\n")[0]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from peer.cli.secret_input import refuse_exposed

        refuse_exposed(args, app_of(ctx).environ)
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run, say how it ended, and exit with its status."""
        app = extra.get("obj") or App()
        extra.update(obj=app, standalone_mode=False)
        extra["prog_name"] = "quintet"
        for stream in (sys.stdout, sys.stderr):
            # A name that this terminal cannot show must not end the command.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        with _sigterm_raises():
            status = self._status(app, *args, **extra)
        sys.exit(status)

    def _status(self, app: App, *args: Any, **extra: Any) -> int:
        try:
            status = super().main(*args, **extra)
        except click.UsageError as exc:
            where = exc.ctx.command_path if exc.ctx else "quintet"
            _complain(app, usage_text(app, exc), app.text("usage.hint", command=where))
            return ExitStatus.USAGE
        except click.ClickException as exc:
            _complain(app, exc.format_message())
            return ExitStatus.FAILURE
        except (click.Abort, KeyboardInterrupt):
            # The cursor may stand behind ^C or a half-written line.
            click.echo(err=True)
            return INTERRUPTED
        except _Terminated:
            return TERMINATED
        except QuintetError as exc:
            from peer.cli.render import shown_values

            values = shown_values(exc.params)
            catalogue = app.catalogue
            _complain(app, catalogue.error(exc.code, values), catalogue.hint(exc.code, values))
            return exc.exit_status
        except BrokenPipeError:
            # Whoever read the output has seen enough; the interpreter must not complain about it.
            sys.stdout = None
            return ExitStatus.DONE
        except OSError as exc:
            _complain(app, app.text("error.system", reason=exc.strerror or type(exc).__name__))
            return ExitStatus.FAILURE
        except Exception as exc:  # noqa: BLE001  # nothing leaves here as a traceback
            _complain(app, app.text("error.bug", kind=type(exc).__name__))
            return ExitStatus.FAILURE
        return status if isinstance(status, int) else ExitStatus.DONE


def usage_text(app: App, error: click.UsageError) -> str:
    """Return what is wrong with the command line, without repeating a stray argument."""
    if isinstance(error, click.NoSuchOption):
        close = error.possibilities[0] if error.possibilities else ""
        key = "usage.no_such_option_but" if close else "usage.no_such_option"
        return app.text(key, option=error.option_name, close=close)
    if isinstance(error, click.MissingParameter):
        name = error.param.make_metavar(error.ctx) if error.param and error.ctx else ""
        if isinstance(error.param, click.Option):
            name = error.param.opts[0]
        return app.text("usage.missing", parameter=name)
    if isinstance(error, click.BadParameter):
        name = error.param.opts[0] if isinstance(error.param, click.Option) else ""
        if error.param is not None and not name:
            name = str(error.param.human_readable_name)
        return app.text("usage.bad_value", parameter=name)
    if isinstance(error, click.BadOptionUsage):
        return app.text("usage.bad_option", option=error.option_name)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message()
    if isinstance(error, NoCommand):
        key = "usage.no_such_command_but" if error.close else "usage.no_such_command"
        return app.text(key, close=error.close)
    return app.text("usage.too_many")


def _complain(app: App, line: str, hint: str = "") -> None:
    click.echo(f"quintet: {line}", err=True)
    if hint and not app.quiet:
        click.echo(f"  {hint}", err=True)


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    def terminate(_number: int, _frame: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(context: click.Context) -> int | None:
    """Without a command: open the page."""
    if context.invoked_subcommand is not None:
        return None
    from peer.cli.network_cmds import open_page

    return open_page(app_of(context), url_only=False, via_port=None)


main = Root(
    "quintet",
    invoke_without_command=True,
    help="command.quintet",
    callback=click.pass_context(_run),
    params=list(general_options()),
)

if __name__ == "__main__":
    main()
