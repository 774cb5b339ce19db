"""Running commands as a person or a script does, in this process."""

from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from peer.cli.main import main
from peer.cli.words import App

Run = Callable[..., Result]
"""Takes the arguments, and ``stdin``, ``interactive``, ``environ`` by name."""


def runner(home: Path) -> Run:
    """Return what runs commands for the state folder *home*."""

    def run(
        *args: str,
        stdin: str = "",
        interactive: bool = False,
        environ: dict[str, str] | None = None,
    ) -> Result:
        app = App({"LANG": "C", **(environ or {})}, interactive=interactive)
        app.user_file = home / "config.toml"
        return CliRunner().invoke(main, ["--home", str(home), *args], input=stdin, obj=app)

    return run


FOREGROUND = """
import sys
from peer.cli.main import main
from peer.cli.words import App
from tests.harness.fake_peer import FakePeer

async def make(home, resolved):
    return FakePeer()

main(sys.argv[1:], obj=App(make_peer=make))
"""
"""A program that is ``quintet`` with a small peer instead of the real one."""
