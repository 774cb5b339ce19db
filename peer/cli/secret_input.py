"""How a password or an invitation reaches a command: by prompt, stdin or a private file.

Never as an argument or in the environment, where every process of this computer can read it
(security.md, section 3.9). What looks like one there is refused and not repeated.
"""

import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from peer.cli.words import App
from peer.errors import (
    SecretFileExposed,
    SecretInArguments,
    SecretInEnvironment,
    SecretNeedsTerminal,
)
from peer.settings import VARIABLE_PREFIX

MAX_SECRET: Final = 4096
"""Bytes read of a file or stdin: an invitation with its explanation is below 2000."""

LINK: Final = re.compile(r"join/?#1\.|quintet:", re.IGNORECASE)
"""Only an invitation holds this."""

PASSWORD: Final = re.compile(
    r"(?<![0-9A-Z])[0-9A-TV-Z]{4}[-\s–—][0-9A-TV-Z]{4}[-\s–—][0-9A-TV-Z]{4}(?![0-9A-Z])"
    r"|\A[0-9A-TV-Z]{12}\Z",
    re.IGNORECASE,
)
"""Three groups of four, or twelve symbols without a break: a password as it is shown or typed.
No U: Crockford's alphabet lacks it. Mistyped ones count too, so no check symbol is asked for."""

SECRET_OPTION: Final = re.compile(
    r"--?(session-)?(pass(word)?|invit(e|ation)?|link)=", re.IGNORECASE
)
"""Options of this kind would carry the secret itself."""

ARGUMENT_OPTIONS: Final = ("--password-file", "--home", "--config")
"""Options whose value is a path, however it looks."""


def looks_secret(text: str) -> bool:
    """Return whether *text* holds an invitation or a password."""
    if LINK.search(text):
        return True
    # A folder may be called like this; a password is hardly ever an existing path.
    return bool(PASSWORD.search(text)) and not os.path.lexists(text)


def refuse_exposed(args: Sequence[str], environ: Mapping[str, str]) -> None:
    """Refuse a secret that stands where others can read it.

    Raises:
        SecretInArguments: If one of *args* looks like one.
        SecretInEnvironment: If a variable of ours looks like one, by name or by value.
    """
    joining = "join" in args
    for before, argument in zip(["", *args], args, strict=False):
        if LINK.search(argument) or (joining and SECRET_OPTION.match(argument)):
            raise SecretInArguments
        if joining and before not in ARGUMENT_OPTIONS and looks_secret(argument):
            raise SecretInArguments
    for name in sorted(environ):
        if not name.startswith(VARIABLE_PREFIX):
            continue
        named = "PASSWORD" in name or "INVITATION" in name
        if named or LINK.search(environ[name]):
            raise SecretInEnvironment(name)


def read_private_file(path: Path) -> str:
    """Return the text of a file that only its owner can read.

    Raises:
        SecretFileExposed: If others may read or change it, or it is no regular file of this user.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise SecretFileExposed(str(path)) from None
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        private = stat.S_ISREG(found.st_mode) and not stat.S_IMODE(found.st_mode) & 0o077
        if not private or found.st_uid != os.geteuid():
            raise SecretFileExposed(str(path))
        return stream.read(MAX_SECRET).decode("utf-8", "replace").strip()


def read_stdin() -> str:
    """Return what stdin holds, up to the length of an invitation."""
    return sys.stdin.read(MAX_SECRET).strip()


def ask(app: App, question: str, *, hidden: bool) -> str:
    """Ask a person; hidden input does not show.

    Raises:
        SecretNeedsTerminal: If there is nobody to ask.
    """
    if not app.interactive:
        raise SecretNeedsTerminal
    answer: str = click.prompt(app.text(question), hide_input=hidden, err=True)
    return answer.strip()
