"""Changes over the WebSocket: who may listen, and that nothing is missed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from peer.store.home import API
from peer.web import events
from peer.web.app import LocalApi
from peer.web.events import CROWDED, ENDING, REFUSED, changes
from tests.harness.fake_peer import FakePeer


class Listening:
    """A served peer, and a browser's way to its events."""

    def __init__(
        self, fake: FakePeer, api: LocalApi, token: str, web: aiohttp.ClientSession
    ) -> None:
        self.fake = fake
        self.api = api
        self.token = token
        self._web = web

    def connect(self, **headers: str) -> Any:
        return self._web.ws_connect(
            f"http://127.0.0.1:{self.api.port}/api/v1/events",
            headers={"Origin": f"http://127.0.0.1:{self.api.port}", **headers},
        )

    async def status(self, **headers: str) -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await self.connect(**headers)
        return caught.value.status


@asynccontextmanager
async def listening(home: Path) -> AsyncIterator[Listening]:
    fake = FakePeer(others=1)
    loop = asyncio.get_running_loop()
    api = LocalApi(fake, home, stop=lambda: None, now=loop.time, version="0.1.0")
    await api.start()
    try:
        async with aiohttp.ClientSession() as web:
            token = json.loads((home / API).read_bytes())["token"]
            yield Listening(fake, api, token, web)
    finally:
        await api.close()


async def test_a_snapshot_comes_first_then_numbered_deltas(tmp_path: Path) -> None:
    """Snapshot and deltas together are the state, with nothing sent twice."""
    async with listening(tmp_path) as here, here.connect() as socket:
        await socket.send_json({"token": here.token})
        first = await socket.receive_json(timeout=5)
        await here.fake.start(sources=["/a"], rendezvous=None, lan=True)
        second = await socket.receive_json(timeout=5)
        await here.fake.add_source("/b")
        third = await socket.receive_json(timeout=5)

        built = first["state"] | second["set"] | third["set"]
        assert (first["type"], first["number"]) == ("snapshot", 0)
        assert (second["type"], second["number"], third["number"]) == ("delta", 1, 2)
        assert built == json.loads(json.dumps(here.fake.view()))
        assert "notices" not in second["set"]


@pytest.mark.parametrize("hello", ['{"token": "wrong"}', "{", '{"token": "\u00e9"}', "[]"])
async def test_a_page_without_the_token_hears_nothing(tmp_path: Path, hello: str) -> None:
    """It is shown out before a word of the state (T21)."""
    async with listening(tmp_path) as here, here.connect() as socket:
        await socket.send_str(hello)
        message = await socket.receive(timeout=5)

        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == REFUSED


async def test_a_page_that_says_nothing_or_bytes_is_shown_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The greeting has its time and its form."""
    monkeypatch.setattr(events, "HELLO_TIME", 0.05)
    async with listening(tmp_path) as here:
        async with here.connect() as silent:
            await silent.receive(timeout=5)
            assert silent.close_code == REFUSED
        async with here.connect() as binary:
            await binary.send_bytes(b"x")
            await binary.receive(timeout=5)
            assert binary.close_code == REFUSED


async def test_a_foreign_page_host_or_method_is_refused_unread(tmp_path: Path) -> None:
    """The handshake itself fails with 403."""
    async with listening(tmp_path) as here:
        assert await here.status(Origin="https://evil.example") == 403
        assert await here.status(Origin="null") == 403
        assert await here.status(Host="evil.example") == 403
        assert await here.status(**{"Sec-Fetch-Site": "cross-site"}) == 403
        async with aiohttp.ClientSession() as web:
            address = f"http://127.0.0.1:{here.api.port}/api/v1/events"
            async with web.get(address) as plain:
                assert plain.status == 403
            async with web.post(address) as other:
                assert other.status == 403


async def test_too_many_listeners_and_more_than_a_greeting_are_shown_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page listens; it has nothing else to say."""
    monkeypatch.setattr(events, "MAX_LISTENERS", 1)
    async with listening(tmp_path) as here, here.connect() as first:
        await first.send_json({"token": here.token})
        await first.receive_json(timeout=5)
        async with here.connect() as second:
            await second.send_json({"token": here.token})
            await second.receive(timeout=5)
            assert second.close_code == CROWDED

        await first.send_str("more")

        assert (await first.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


async def test_a_peer_that_ends_says_so(tmp_path: Path) -> None:
    """The page can tell a peer that ended from one that is cut off."""
    async with listening(tmp_path) as here, here.connect() as socket:
        await socket.send_json({"token": here.token})
        await socket.receive_json(timeout=5)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(here.api.close())
            message = await socket.receive(timeout=5)

        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == ENDING


def test_changes_are_the_parts_that_are_new_or_other() -> None:
    """Equal parts are not told again."""
    assert changes({"a": 1, "b": [1]}, {"a": 1, "b": [2], "c": None}) == {"b": [2], "c": None}
