"""Who may open a connection: allowed addresses, Retry tokens, limits (T23).

No state is kept for a packet that is not admitted.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aioquic.quic.packet import QuicHeader, encode_quic_retry
from aioquic.quic.retry import QuicRetryTokenHandler

from protocol.endpoint.paths import Address, Remote, address_of, source_of
from protocol.limits import MAX_UNAUTHENTICATED, MAX_UNAUTHENTICATED_PER_SOURCE
from protocol.quic.connection import CID_SIZE

MAX_ALLOWED: Final = 1024
"""Addresses allowed at once: five members with every candidate, many times over."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The Initial may open a connection.

    Args:
        original: The destination of the client's very first packet.
        retry_source: The connection ID of our Retry; None without one.
    """

    original: bytes
    retry_source: bytes | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """Answer with this Retry packet, smaller than what it answers; keep nothing."""

    packet: bytes


class Admission:
    """Decides about Initials.

    Args:
        retry: Whether strangers may connect after proving their address.
        random_bytes: Source of connection IDs.

    Attributes:
        most: Unauthenticated connections in total.
        most_per_source: The same of one source address.
        challenged: Initials answered with a Retry.
        turned_away: Initials there was no room for.
        forged: Initials with a token that is not ours for this address.
    """

    def __init__(self, *, retry: bool, random_bytes: Callable[[int], bytes]) -> None:
        self.most = MAX_UNAUTHENTICATED
        self.most_per_source = MAX_UNAUTHENTICATED_PER_SOURCE
        self.challenged = self.turned_away = self.forged = 0
        self._tokens = QuicRetryTokenHandler() if retry else None
        self._random_bytes = random_bytes
        self._allowed: dict[Remote, float] = {}
        self._sources: Counter[bytes] = Counter()
        self._total = 0

    def allow(self, remote: Remote, until: float, now: float) -> None:
        """Admit connections from *remote* until the loop time *until*, without Retry."""
        if len(self._allowed) >= MAX_ALLOWED:
            self._allowed = {r: t for r, t in self._allowed.items() if t > now}
        if len(self._allowed) < MAX_ALLOWED:
            self._allowed[remote] = max(until, self._allowed.get(remote, until))

    def disallow(self, remote: Remote) -> None:
        """Forget that *remote* was allowed."""
        self._allowed.pop(remote, None)

    def judge(self, header: QuicHeader, source: Remote, now: float) -> Admitted | Challenge | None:
        """Return what to do about an Initial from *source*; None means silence."""
        assert header.version is not None
        address = address_of(source)
        if not self._room(address):
            self.turned_away += 1
            return None
        if self._allowed.get(source, 0.0) > now and not header.token:
            return Admitted(header.destination_cid)
        if self._tokens is None:
            return None
        if not header.token:
            self.challenged += 1
            return Challenge(self._retry_packet(header, address, now))
        try:
            original = self._tokens.validate_token(
                address=address,
                destination_cid=header.destination_cid,
                token=header.token,
                now=now,
            )
        except ValueError:
            self.forged += 1
            return None
        return Admitted(original, header.destination_cid)

    def opened(self, address: Address) -> None:
        """Count a connection not yet authenticated."""
        self._total += 1
        self._sources[source_of(address)] += 1

    def settled(self, address: Address) -> None:
        """Stop counting it: it was authenticated, or ended."""
        source = source_of(address)
        self._total -= 1
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]

    @property
    def unauthenticated(self) -> int:
        """Connections counted now."""
        return self._total

    def _room(self, address: Address) -> bool:
        return (
            self._total < self.most
            and self._sources.get(source_of(address), 0) < self.most_per_source
        )

    def _retry_packet(self, header: QuicHeader, address: Address, now: float) -> bytes:
        assert self._tokens is not None
        assert header.version is not None
        source_cid = self._random_bytes(CID_SIZE)
        return encode_quic_retry(
            version=header.version,
            source_cid=source_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=self._tokens.create_token(
                address=address,
                original_destination_connection_id=header.destination_cid,
                retry_source_connection_id=source_cid,
                now=now,
            ),
        )
