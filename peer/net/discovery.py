"""Asks a rendezvous node, from the peer's own socket, at which address it is seen."""

import asyncio
import os
from dataclasses import dataclass
from typing import Final

from protocol.address import (
    BindingAnswer,
    BindingRefusal,
    BindingRequest,
    decode_answer,
    encode_request,
    from_sockaddr,
)
from protocol.endpoint.drive import Endpoint
from protocol.endpoint.paths import Address as SocketAddress
from protocol.endpoint.paths import Remote, address_of
from protocol.messages.rendezvous import Address

SENT_AT: Final = (0.0, 0.1, 0.2)
"""Seconds after which a question is sent (again): network.md, section 6.2."""

PATIENCE: Final = 0.35
"""Seconds to wait for an answer at least; twice the round trip where that is longer."""

MAX_OPEN: Final = 64
"""Questions open at a time."""


@dataclass(frozen=True, slots=True)
class _Question:
    host: bytes
    answered: "asyncio.Future[BindingAnswer | BindingRefusal]"


class Discovery:
    """Asks binding questions from *endpoint* and takes all its STUN datagrams.

    Args:
        endpoint: Its ``on_stun`` is this object's from now on.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._questions: dict[bytes, _Question] = {}
        endpoint.on_stun = self._take

    async def ask(
        self, node: SocketAddress, *, change_port: bool = False, round_trip: float = 0.0
    ) -> BindingAnswer | BindingRefusal | None:
        """Return what the node at *node* answers, or None if nothing arrives.

        Args:
            node: Numeric host and port.
            change_port: Whether the node's other port is to answer.
            round_trip: Seconds to the node, where known.
        """
        if len(self._questions) >= MAX_OPEN:
            return None
        transaction = os.urandom(12)
        answered: asyncio.Future[BindingAnswer | BindingRefusal] = self._loop.create_future()
        self._questions[transaction] = _Question(from_sockaddr(node).host, answered)
        datagram = encode_request(BindingRequest(transaction, change_port=change_port))
        resends = [
            self._loop.call_later(seconds, self._endpoint.send_datagram, datagram, node)
            for seconds in SENT_AT
        ]
        try:
            async with asyncio.timeout(max(PATIENCE, 2 * round_trip)):
                return await answered
        except TimeoutError:
            return None
        finally:
            del self._questions[transaction]
            for resend in resends:
                resend.cancel()

    async def observed(self, node: SocketAddress) -> Address | None:
        """Return the address the node sees this socket at, or None."""
        answer = await self.ask(node)
        return answer.mapped if isinstance(answer, BindingAnswer) else None

    def _take(self, data: bytes, source: Remote) -> None:
        answer = decode_answer(data)
        if answer is None:
            return
        question = self._questions.get(answer.transaction_id)
        if question is None or question.answered.done():
            return
        if from_sockaddr(address_of(source)).host == question.host:
            question.answered.set_result(answer)
