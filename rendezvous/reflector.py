"""Answers address discovery: which address and port a datagram came from.

The node has two ports. A peer that asks both from one socket learns whether its NAT keeps
one mapping for all destinations; one that lets the second port answer a question to the first
learns whether its NAT lets strangers in (RFC 5780, sections 4.3 and 4.4, as far as one
address reaches).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from protocol.address import (
    AMPLIFICATION,
    BindingAnswer,
    BindingRefusal,
    decode_request,
    encode_answer,
    encode_refusal,
    source_prefix,
)
from protocol.messages.rendezvous import Address
from rendezvous.quota import Quota, Rate

QUESTIONS: Final = Rate(burst=200, per_second=20)
"""Questions of one source: a household that starts a few peers behind one address."""


class Reply(NamedTuple):
    """One datagram to send back."""

    data: bytes
    port: int
    """Which of the node's ports it leaves from: 0 or 1."""


class Reflector:
    """Answers binding requests.

    An answer is at most three times as long as its question, for nobody has shown yet that
    the source is its own.

    Args:
        others: For each of the node's ports the address of the other one, which goes into
            OTHER-ADDRESS; its host is unspecified where it is that of the port asked. Empty
            if there is one port only.
        rate: What one source may ask.
    """

    def __init__(self, others: Sequence[Address], rate: Rate = QUESTIONS) -> None:
        self._others = others
        self._quota = Quota(rate)
        self.answered = 0
        """Questions answered."""
        self.dropped = 0
        """Datagrams that were no question, or one too many."""

    def receive_datagram(
        self, data: bytes, source: Address, port: int, *, now: float
    ) -> Reply | None:
        """Return the reply to a datagram that came in at *port* (0 or 1), or None."""
        request = decode_request(data)
        if request is None or self._quota.take(source_prefix(source), now=now):
            self.dropped += 1
            return None
        self.answered += 1
        if request.change_ip or (request.change_port and not self._others):
            refusal = encode_refusal(BindingRefusal(request.transaction_id))
            return Reply(refusal, port)
        other = self._others[port] if self._others else None
        answer = encode_answer(
            BindingAnswer(request.transaction_id, source, other),
            most=AMPLIFICATION * request.size,
        )
        return Reply(answer, 1 - port if request.change_port else port)
