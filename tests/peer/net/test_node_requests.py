import asyncio

import pytest

from peer.net.node_requests import MAX_REPLIES, Requests
from protocol.errors import LinkClosed, NodeRefusal, NodeRefused
from protocol.messages.rendezvous import LookedUp, Refused


def looked_up(request_id: int) -> LookedUp:
    return LookedUp(request_id=request_id, members=1, expires_in=10)


async def test_an_answer_goes_to_who_asked() -> None:
    """By its number; what nobody asked for is dropped."""
    requests = Requests()
    with requests.open() as first, requests.open() as second:
        requests.take(looked_up(second.request_id))
        requests.take(looked_up(99))
        requests.take(Refused(reason=NodeRefusal.FULL))
        answer = await second.next()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await first.next()
        during = len(requests)

    assert answer == looked_up(second.request_id)
    assert (during, len(requests)) == (2, 0)


async def test_a_refusal_and_a_lost_link_are_raised() -> None:
    """Whoever waits hears of either."""
    requests = Requests()
    with requests.open(7) as replies:
        requests.take(Refused(request_id=7, reason=NodeRefusal.THROTTLED, retry_after=3))
        requests.fail()
        with pytest.raises(NodeRefused) as refused:
            await replies.next()
        with pytest.raises(LinkClosed):
            await replies.next()

    assert (refused.value.refusal, refused.value.retry_after) == (NodeRefusal.THROTTLED, 3)


async def test_a_node_cannot_fill_our_memory_with_answers() -> None:
    """One too many is lost."""
    requests = Requests()
    with requests.open(7) as replies:
        for _ in range(MAX_REPLIES + 5):
            requests.take(looked_up(7))

        assert replies._queue.qsize() == MAX_REPLIES
