"""Attacks on the local API from other pages, other names and other users' processes."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.web.guard import LAUNCH_LIFETIME, MAX_LAUNCH_CODES, Guard
from tests.harness.fake_peer import FakePeer, served


class Browser:
    """Sends one request with exactly these headers."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.token = token

    def ask(
        self, path: str, headers: dict[str, str] | None = None, *, method: str = "GET",
        body: str | None = None, bearer: bool = True, host: str | None = None,
    ) -> tuple[int, bytes, dict[str, str]]:  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        sent = {"Host": host or f"127.0.0.1:{self.port}", **(headers or {})}
        if bearer:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser beside a served peer whose token it knows."""
    with served(FakePeer(), tmp_path):
        told = json.loads((tmp_path / "api.json").read_bytes())
        yield Browser(int(told["address"].rpartition(":")[2]), told["token"])


def test_the_owner_gets_the_state(browser: Browser) -> None:
    """The token from the state folder opens the API; nothing is cached."""
    status, body, headers = browser.ask("/api/v1/state")

    assert status == 200
    assert json.loads(body)["schema"] == 1
    assert headers["Cache-Control"] == "no-store"
    assert headers["Server"] == "quintet"
    assert not [name for name in headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.:{port}",
             "127.0.0.1:{port}.evil.example", "[::1]", "0.0.0.0:{port}"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api/v1/state", "/api/v1/launch", "/nowhere"])
def test_a_foreign_host_gets_403_and_nothing_else(browser: Browser, host: str, path: str) -> None:
    """A name rebound to this address is still another name (T21)."""
    status, body, headers = browser.ask(path, host=host.format(port=browser.port))

    assert (status, body) == (403, b"")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:{port}",
               "https://127.0.0.1:{port}"],
)  # fmt: skip
def test_a_foreign_page_gets_403_even_with_the_token(
    browser: Browser, origin: str, method: str
) -> None:
    """The origin must be the very address the request names."""
    status, body, _ = browser.ask(
        "/api/v1/state", {"Origin": origin.format(port=browser.port)}, method=method
    )

    assert (status, body) == (403, b"")


@pytest.mark.parametrize(
    ("path", "site", "status"),
    [
        ("/api/v1/state", "same-origin", 200),
        ("/api/v1/state", "none", 403),
        ("/api/v1/state", "same-site", 403),
        ("/api/v1/state", "cross-site", 403),
        ("/", "none", 200),
        ("/", "cross-site", 403),
    ],
)
def test_the_browsers_word_on_who_asks_counts(
    browser: Browser, path: str, site: str, status: int
) -> None:
    """Sec-Fetch-Site cannot be set by a page; a person opening the page is ``none``."""
    assert browser.ask(path, {"Sec-Fetch-Site": site})[0] == status


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic {token}"},
     {"Authorization": "bearer {token}"}, {"Authorization": "Bearer {token}x"},
     {"Cookie": "token={token}"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/v1/state", "/api/v1/nowhere", "/api/", "/api/v1/shutdown"])
def test_without_the_token_there_is_403_and_nothing_else(
    browser: Browser, headers: dict[str, str], path: str
) -> None:
    """Not even which routes exist is told."""
    filled = {name: value.format(token=browser.token) for name, value in headers.items()}

    status, body, _ = browser.ask(path, filled, bearer=False)

    assert (status, body) == (403, b"")


def test_a_launch_code_gives_the_token_once(browser: Browser) -> None:
    """The second use of the same code, as of a wrong one, is met like a wrong token."""
    _, body, _ = browser.ask("/api/v1/entries", method="POST", body="{}")
    url = json.loads(body)["url"]
    code = url.partition("#")[2]
    asked = json.dumps({"code": code})

    first = browser.ask("/api/v1/launch", method="POST", body=asked, bearer=False)
    second = browser.ask("/api/v1/launch", method="POST", body=asked, bearer=False)

    assert first[0] == 200
    assert json.loads(first[1]) == {"token": browser.token}
    assert second[:2] == (403, b"")
    assert browser.token not in url


def test_a_tunnels_end_is_admitted_only_once_named(browser: Browser) -> None:
    """``open --via-port`` adds the local end of an ``ssh -L`` to the names of this computer."""
    before = browser.ask("/", host="127.0.0.1:9999")[0]
    browser.ask("/api/v1/entries", method="POST", body='{"via_port": 9999}')
    after = browser.ask("/", host="127.0.0.1:9999")[0]

    assert (before, after) == (403, 200)


def test_a_body_beyond_its_bound_is_refused(browser: Browser) -> None:
    """Nothing reads more than a MiB."""
    status, body, _ = browser.ask("/api/v1/rules", method="PUT", body='"' + "x" * 1_100_000 + '"')

    assert status == 400
    assert json.loads(body)["error"]["code"] == "request.malformed"


@pytest.mark.parametrize("path", ["/js/main.js", "/css/page.css", "/", "/texts/fr.json"])
def test_the_page_needs_no_token_and_runs_no_foreign_code(browser: Browser, path: str) -> None:
    """It holds nothing of the session; its policy allows its own files alone."""
    status, body, headers = browser.ask(path, bearer=False)

    assert status == 200
    assert body
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert b"style=" not in body
    assert b"onclick" not in body


def test_a_path_never_reaches_the_disk(browser: Browser) -> None:
    """Files of the page are named in a table."""
    for path in ("/static/index.html", "/%2e%2e/api.py", "/..%2fapi.py", "/index.html"):
        assert browser.ask(path, bearer=False)[0] >= 400


def test_launch_codes_expire_and_are_few() -> None:
    """An old code is worth nothing; the oldest makes room for a new one."""
    guard = Guard()
    late = guard.new_launch_code(now=0.0)
    assert not guard.redeem(late, now=LAUNCH_LIFETIME + 1)

    oldest = guard.new_launch_code(now=0.0)
    others = [guard.new_launch_code(now=0.0) for _ in range(MAX_LAUNCH_CODES)]

    assert not guard.redeem(oldest, now=1.0)
    assert guard.redeem(others[-1], now=1.0)
    assert guard.token not in repr(guard)
