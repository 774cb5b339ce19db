"""What every command has in common: the words it speaks, the options it takes, who it asks.

Help texts are keys of the catalogue, so that ``--help`` answers in the chosen language; a command
declares ``help`` by key and never a sentence.
"""

import difflib
import functools
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from peer import locale
from peer.cli.client import Client, connect_or_start
from peer.errors import ConfirmationDeclined, ConfirmationNeeded
from protocol.errors import QuintetError

if TYPE_CHECKING:
    from peer.settings import Resolved
    from peer.web.peer_like import PeerLike

CONFIG_NAME: Final = "config.toml"

PeerMaker = Callable[[Path, "Resolved"], Awaitable["PeerLike"]]


class App:
    """What the options said, resolved when first needed.

    Args:
        environ: The environment; the process's own if not given.
        interactive: Whether a person can be asked; found out if not given.
        make_peer: Makes the peer that ``up`` serves; the real one if not given.

    Attributes:
        flags: Settings given as options, by dotted key.
        home_option: What ``--home`` said.
        config: What ``--config`` said.
        quiet: Whether progress and remarks are left out.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        interactive: bool | None = None,
        make_peer: PeerMaker | None = None,
    ) -> None:
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.make_peer = make_peer
        self.flags: dict[str, object] = {}
        self.home_option: Path | None = None
        self.config: Path | None = None
        self.quiet = False
        self._interactive = interactive

    @property
    def interactive(self) -> bool:
        if self._interactive is not None:
            return self._interactive
        return sys.stdin.isatty() and sys.stderr.isatty()

    @functools.cached_property
    def user_file(self) -> Path:
        """The user's own file of settings."""
        import platformdirs

        return platformdirs.user_config_path("quintet") / CONFIG_NAME

    @functools.cached_property
    def resolved(self) -> "Resolved":
        """The settings in force and their origins.

        Raises:
            SettingUnknown, SettingInvalid, SettingsUnreadable: As ``settings.load``.
        """
        from peer import settings

        named = self.environ.get("QUINTET_CONFIG")
        config = self.config or (Path(named) if named else None)
        return settings.load(
            flags=self.flags, environ=self.environ, config=config, user_file=self.user_file
        )

    @property
    def home(self) -> Path:
        """The state folder, absolute."""
        if self.home_option is not None:
            return self.home_option.expanduser().absolute()
        if named := self.environ.get("QUINTET_HOME"):
            return Path(named).expanduser().absolute()
        import platformdirs

        return platformdirs.user_state_path("quintet")

    @property
    def catalogue(self) -> locale.Catalogue:
        """The texts; in the system's language where the settings cannot be read."""
        try:
            chosen = self.resolved.settings.lang
        except QuintetError:
            chosen = "auto"
        return locale.catalogue(locale.choose(chosen, self.environ))

    def text(self, key: str, /, **values: object) -> str:
        return self.catalogue.text(key, **values)

    def client(self) -> Client:
        """Return a client of the running peer.

        Raises:
            PeerNotRunning: If none runs for this state folder.
        """
        return Client.connect(self.home)

    def client_or_start(self, arguments: list[str] | None = None) -> Client:
        """Return a client; a peer is started in the background if none runs."""
        passed: list[str] = []
        for name, value in self.flags.items():
            passed += _as_option(name, value)
        if self.config is not None:
            # The peer runs in another folder.
            passed = ["--config", str(self.config.absolute()), *passed]
        return connect_or_start(self.home, [*passed, *(arguments or [])])

    def say(self, text: str) -> None:
        """Tell a person something beside the result."""
        if not self.quiet:
            click.echo(text, err=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask *question* unless *yes* was given.

        Raises:
            ConfirmationNeeded: If there is nobody to ask.
            ConfirmationDeclined: If the answer is no.
        """
        if yes:
            return
        if not self.interactive:
            raise ConfirmationNeeded
        answer = click.prompt(
            f"{question} [{self.text('answer.choices')}]",
            default="",
            show_default=False,
            err=True,
        )
        if answer.strip().lower() not in self.text("answer.yes").split():
            raise ConfirmationDeclined


def _as_option(name: str, value: object) -> list[str]:
    option = "--" + name.replace(".", "-").replace("_", "-")
    if isinstance(value, bool):
        return [option if value else option.replace("--", "--no-", 1)]
    return [option, str(value)]


def app_of(context: click.Context) -> App:
    """Return the App of *context*."""
    return context.find_object(App) or App()


class TextOption(click.Option):
    """An option whose help is a key of the catalogue."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None or not self.help:
            return record
        words = app_of(ctx).text(self.help)
        return record[0], record[1].replace(self.help, words, 1)


class TextCommand(click.Command):
    """A command whose help is a key of the catalogue; headings follow the language too."""

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002  # inherited
        context = click.get_current_context()
        return app_of(context).text(self.help or "").partition("\n")[0]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pieces = " ".join(self.collect_usage_pieces(ctx))
        heading = app_of(ctx).text("help.usage") + " "
        formatter.write_usage(ctx.command_path, pieces, prefix=heading)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            for paragraph in app_of(ctx).text(self.help or "").split("\n"):
                formatter.write_text(paragraph)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = [
            record
            for parameter in self.get_params(ctx)
            # Arguments have no help of their own: the usage line and the text name them.
            if isinstance(parameter, click.Option)
            and (record := parameter.get_help_record(ctx)) is not None
        ]
        if records:
            with formatter.section(app_of(ctx).text("help.options").rstrip(":")):
                formatter.write_dl(records)

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is None:
            return None

        def show(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click calls it
            if value and not context.resilient_parsing:
                click.echo(context.get_help())
                context.exit()

        return TextOption(
            list(self.get_help_option_names(ctx)),
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=show,
            help="option.help",
        )


class NoCommand(click.UsageError):
    """There is no command of this name; it is not repeated.

    Args:
        close: The closest name there is; empty if none is close.
        context: Of the group.
    """

    def __init__(self, close: str, context: click.Context) -> None:
        super().__init__("no such command", context)
        self.close = close


class TextGroup(TextCommand, click.Group):
    """A group of such commands."""

    command_class = TextCommand

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            raise NoCommand(close[0] if close else "", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        TextCommand.format_options(self, ctx, formatter)
        rows = [(name, self.short_help_of(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section(app_of(ctx).text("help.commands").rstrip(":")):
            formatter.write_dl(rows)

    def short_help_of(self, ctx: click.Context, name: str) -> str:
        """Return the line that stands beside the command *name*."""
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str()


def _flag(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value is not None:
            app_of(context).flags[name] = value

    return keep


def _attribute(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(app_of(context), name, value)

    return keep


def general_options() -> list[TextOption]:
    """Return the options every command takes, before its name or after it."""
    path = click.Path(path_type=Path)
    return [
        TextOption(
            ["--home"], type=path, metavar="DIR", expose_value=False, is_eager=True,
            callback=_attribute("home_option"), help="option.home",
        ),
        TextOption(
            ["--config"], type=path, metavar="FILE", expose_value=False, is_eager=True,
            callback=_attribute("config"), help="option.config",
        ),
        TextOption(
            ["--lang"], type=click.Choice(locale.LANGUAGES), expose_value=False, is_eager=True,
            callback=_flag("lang"), help="option.lang",
        ),
        TextOption(
            ["--log-format"], type=click.Choice(["text", "json"]), expose_value=False,
            callback=_flag("log_format"), help="option.log_format",
        ),
        TextOption(
            ["-q", "--quiet"], is_flag=True, expose_value=False, callback=_attribute("quiet"),
            help="option.quiet",
        ),
        TextOption(
            ["-v", "--verbose"], expose_value=False, callback=_flag("log_level"),
            flag_value="debug", default=None, help="option.verbose",
        ),
    ]  # fmt: skip


def command(
    key: str, group: click.Group | None = None, *, arrows: bool = False
) -> Callable[[Any], TextCommand]:
    """Declare a command with the general options.

    Args:
        key: Its name in the catalogue: ``command.<key>``; the part after the last dot is its name.
        group: Where it belongs; none for a command of the root.
        arrows: Whether ``->`` may stand among the arguments; it looks like an option.
    """
    context_settings = {"ignore_unknown_options": arrows}

    def declare(function: Any) -> TextCommand:
        made: TextCommand = click.command(
            key.rpartition(".")[2].replace("_", "-"),
            cls=TextCommand,
            help=f"command.{key}",
            context_settings=context_settings,
        )(click.pass_obj(function))
        # Those of the root stand in its own help; here they work without being repeated.
        for general in general_options():
            general.hidden = True
            made.params.append(general)
        if group is not None:
            group.add_command(made)
        return made

    return declare


def group(name: str) -> TextGroup:
    """Return a group of commands that needs no function of its own."""
    return TextGroup(name, help=f"command.{name}", no_args_is_help=True)


option = functools.partial(click.option, cls=TextOption)
"""Declares an option whose help is a key of the catalogue."""

json_option = option("--json", "as_json", is_flag=True, help="option.json")
"""On every command that reads."""


def setting_options(function: Any) -> Any:
    """Add one option per setting of this computer to a command."""
    from peer.settings import KEYS

    taken = {"lang", "log_format"}
    for key in reversed([key for key in KEYS.values() if key.name not in taken]):
        kind = type(key.default)
        switch = f"{key.option}/--no-{key.option[2:]}" if kind is bool else key.option
        function = click.option(
            switch,
            cls=TextOption,
            type=None if kind is bool else kind,
            default=None,
            expose_value=False,
            callback=_flag(key.name),
            help=f"setting.{key.name}",
        )(function)
    return function
