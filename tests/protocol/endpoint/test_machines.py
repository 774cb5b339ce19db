"""Which machine a process runs on is decided once, and can be asked."""

from collections.abc import Iterator

import pytest

from protocol.endpoint import machines
from protocol.endpoint.machines import fast_path_fault, machine
from protocol.quic.connection import BoundedQuicConnection
from protocol.quic.fastpath import FastQuicConnection
from tests.harness.endpoints import linked, noise, read_all, send_all


@pytest.fixture
def undecided() -> Iterator[None]:
    """Let the process decide anew, and again afterwards."""
    fast_path_fault.cache_clear()
    yield
    fast_path_fault.cache_clear()


def test_the_fast_path_is_used_with_the_pinned_library() -> None:
    """And nothing is wrong with it."""
    assert fast_path_fault() is None
    assert machine() is FastQuicConnection


@pytest.mark.usefixtures("undecided")
async def test_without_it_links_are_slower_and_otherwise_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failed trial costs speed only, and is decided once."""
    asked: list[object] = []

    def refuse(random_bytes: object) -> str:
        asked.append(random_bytes)
        return "another library"

    monkeypatch.setattr(machines, "fault_of_fast_path", refuse)
    data = noise(200_000)
    async with linked() as ends:
        mine = ends.client.open_stream()
        mine.write_nowait(data[:1])
        theirs = await ends.server.accept_stream()
        await send_all(mine, data[1:])
        received = await read_all(theirs)
        fast = (ends.client.is_fast, ends.server.is_fast)

    assert received == data
    assert fast == (False, False)
    assert machine() is BoundedQuicConnection
    assert (len(asked), fast_path_fault()) == (1, "another library")


async def test_a_link_says_that_it_is_fast() -> None:
    """Both ends of it."""
    async with linked() as ends:
        assert ends.client.is_fast
        assert ends.server.is_fast
