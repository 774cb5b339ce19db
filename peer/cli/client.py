"""A thin client of the running peer's API; commands use it and nothing else of the peer.

It needs only the standard library, so that a command answers before a heavier one is imported.
"""

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from peer.errors import PeerDidNotStart, PeerNotRunning, PeerRefused, WaitTimedOut
from protocol.errors import ExitStatus

API_FILE: Final = "api.json"
LOG_FILE: Final = "peer.log"

START_TIMEOUT: Final = 20.0
"""Seconds a peer started in the background may take until it answers; a busy small machine
imports for some of them."""

START_POLL: Final = 0.05
"""Seconds between looks at the state folder meanwhile."""

REQUEST_TIMEOUT: Final = 150.0
"""Seconds one request may take: a join that a leader must approve waits 120 s."""

POLL_WAIT: Final = 10.0
"""Seconds a request for changes waits; short enough to notice a peer that died."""

HTTP_OK: Final = 200
HTTP_FORBIDDEN: Final = 403

View = dict[str, Any]


class Client:
    """Asks one running peer.

    Args:
        port: Where it listens on loopback.
        token: What its state folder says.
    """

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token

    def __repr__(self) -> str:
        return f"Client(port={self._port})"

    @classmethod
    def connect(cls, home: Path) -> "Client":
        """Return a client of the peer that runs for *home*.

        Raises:
            PeerNotRunning: If none runs, or it does not answer.
        """
        try:
            told = json.loads((home / API_FILE).read_bytes())
            port = urllib.parse.urlsplit(told["address"]).port
            client = cls(int(port or 0), str(told["token"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise PeerNotRunning from None
        client.get("version")
        return client

    def get(self, path: str, **query: object) -> Any:
        asked = urllib.parse.urlencode(query)
        return self.request("GET", f"{path}?{asked}" if asked else path)

    def post(
        self,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout: float | None = REQUEST_TIMEOUT,
    ) -> Any:
        return self.request("POST", path, body or {}, timeout=timeout)

    def put(self, path: str, body: Mapping[str, object]) -> Any:
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Mapping[str, object]) -> Any:
        return self.request("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout: float | None = REQUEST_TIMEOUT,
    ) -> Any:
        """Return what the peer answers within *timeout* seconds; none: whenever it does.

        Raises:
            PeerRefused: If it answers with an error.
            PeerNotRunning: If it does not answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        headers = {"Authorization": f"Bearer {self._token}", "Connection": "close"}
        content = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, f"/api/v1/{path}", body=content, headers=headers)
            answer = connection.getresponse()
            status, raw = answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            raise PeerNotRunning from None
        finally:
            connection.close()
        # Another program on the port of a peer that died knows nothing of our token.
        if status == HTTP_FORBIDDEN:
            raise PeerNotRunning
        try:
            value = json.loads(raw)
        except ValueError:
            raise PeerNotRunning from None
        if status != HTTP_OK:
            raise _refused(value)
        return value

    def views(self, timeout: float | None = None) -> Iterator[View]:
        """Yield the state now and after every change.

        Args:
            timeout: Seconds after which to give up; none: never.

        Raises:
            WaitTimedOut: When they are over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        view: View = self.get("state")
        while True:
            yield view
            wait = POLL_WAIT
            if deadline is not None:
                wait = min(wait, deadline - time.monotonic())
                if wait <= 0:
                    raise WaitTimedOut
            view = self.get("state", since=view["revision"], wait=wait)

    def wait_until(self, reached: Callable[[View], bool], timeout: float | None = None) -> View:
        """Return the first state for which *reached* is true.

        Raises:
            WaitTimedOut: If that is not within *timeout* seconds.
        """
        return next(view for view in self.views(timeout) if reached(view))

    def wait_until_gone(self, home: Path) -> None:
        """Return when the peer has ended and its file with it.

        Raises:
            WaitTimedOut: If that takes too long.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                self.get("version")
            except PeerNotRunning:
                if not (home / API_FILE).exists():
                    return
            time.sleep(START_POLL)
        raise WaitTimedOut


def connect_or_start(home: Path, arguments: list[str]) -> Client:
    """Return a client of the peer of *home*, started in the background if none runs.

    Args:
        home: The state folder.
        arguments: Options of ``quintet up`` for a peer that is started.

    Raises:
        PeerDidNotStart: If it ends or does not answer in time.
    """
    try:
        return Client.connect(home)
    except PeerNotRunning:
        pass
    process = spawn(home, arguments)
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        try:
            client = Client.connect(home)
        except PeerNotRunning:
            if process.poll() is not None:
                # Another command may have started one at the same instant and won.
                try:
                    return Client.connect(home)
                except PeerNotRunning:
                    break
            time.sleep(START_POLL)
        else:
            # It outlives this command on purpose; nothing is left to wait for.
            process.returncode = 0
            return client
    if process.poll() is None:
        process.terminate()
        process.wait()
    raise PeerDidNotStart(str(home / LOG_FILE))


def spawn(
    home: Path, arguments: list[str], environ: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a peer for *home* that outlives this process; its log goes to the state folder."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = os.open(home / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603  # our own program
            [
                sys.executable, "-m", "peer.cli.main", "--home", str(home),
                "up", "--no-browser", "--background", *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=None if environ is None else dict(environ),
        )  # fmt: skip
    finally:
        os.close(log)


def _refused(value: object) -> PeerRefused:
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return PeerRefused("internal", {}, ExitStatus.FAILURE)
    try:
        status = ExitStatus(error.get("exit", ExitStatus.FAILURE))
    except ValueError:
        status = ExitStatus.FAILURE
    params = error.get("params")
    return PeerRefused(
        str(error.get("code", "internal")), params if isinstance(params, dict) else {}, status
    )
