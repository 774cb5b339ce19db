"""Probes: the sealed datagrams that open, check and name a path (network.md, section 6.4).

::

    0       0x20 | kind
    1..4    tag of the receiver's offer, by which it finds the key
    5..12   counter of the sender, the nonce
    13..    AES-256-GCM of  transaction 8 | flags 1 | generation 2 | time 4
                            | PONG: observed address 18 | padding        and a tag of 16

The key is the sender's own towards this receiver, so no nonce is used twice; the thirteen
bytes in clear are authenticated too. Whatever does not open is dropped without a word.
"""

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.transcript import expand, extract, lv
from protocol.errors import SealBroken
from protocol.messages.rendezvous import IPV4_BYTES, Address

FIRST_BYTE: Final = 0x20
"""The high half of the first byte; QUIC has 0x40 set, STUN is below (RFC 9443)."""

TAG_SIZE: Final = 4
HEADER: Final = 13
SEAL: Final = 16
FIXED: Final = 15
"""Bytes of transaction, flags, generation and time."""

OBSERVED: Final = 18
"""Bytes of an observed address: IPv6 or IPv4-mapped, and port."""

MIN_SIZE: Final = HEADER + FIXED + OBSERVED + SEAL
"""Bytes every probe is padded to: what a PONG needs, so that none exceeds its PING."""

REPLAY_WINDOW: Final = 64
"""Counters behind the highest one within which a late probe is still taken, once."""

MAX_COUNTER: Final = 2**64 - 1
_IPV4_MAPPED: Final = bytes(10) + b"\xff\xff"


class ProbeKind(enum.IntEnum):
    """What a probe says."""

    PING = 0
    """Is this path open? Answered by a PONG on the same path."""
    PONG = 1
    """It is, and this is the address you were seen at."""
    OPEN = 2
    """Opens the sender's NAT with a low time to live; never answered."""
    NOMINATE = 3
    """Use this path from now on."""
    NOMINATED = 4
    """Acknowledges a NOMINATE."""
    CLOSE = 5
    """The sender goes; all its paths end."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe in clear."""

    kind: ProbeKind
    transaction: bytes
    """8 bytes; a PONG repeats those of its PING."""
    generation: int
    """Of the sender's offer; a higher one says that it restarted or moved."""
    time: int = 0
    """The sender's clock in milliseconds, modulo 2^32."""
    flags: int = 0
    observed: Address | None = None
    """In a PONG: where the PING came from."""


def is_probe(datagram: bytes) -> bool:
    """Whether the first byte is one of ours: 0x20 to 0x2F."""
    return len(datagram) > HEADER and datagram[0] & 0xF0 == FIRST_BYTE


def tag_of(datagram: bytes) -> bytes:
    """Return the tag of the offer that the probe *datagram* is for, not yet authenticated."""
    return datagram[1 : 1 + TAG_SIZE]


class ProbeKeys:
    """The X25519 key of one offer; lives as long as the offer.

    Args:
        random_bytes: Returns so many random bytes.
        generation: Of the offer.
    """

    def __init__(self, random_bytes: Callable[[int], bytes], generation: int) -> None:
        self._private = X25519PrivateKey.from_private_bytes(random_bytes(32))
        self.public = self._private.public_key().public_bytes_raw()
        self.generation = generation

    def agree(self, peer: bytes, peer_generation: int, *, mix: bytes = b"") -> tuple[bytes, bytes]:
        """Return the keys to seal and to open with, 32 bytes each.

        Args:
            peer: The X25519 public key of the other offer.
            peer_generation: Its generation.
            mix: ``expand(E_n, "probe")`` between two members; empty before the join.

        Raises:
            SealBroken: If *peer* is a point without a secret.
        """
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError as error:
            raise SealBroken from error
        prk = extract(mix, shared) if mix else shared
        return (
            expand(prk, _label(self.generation, self.public, peer)),
            expand(prk, _label(peer_generation, peer, self.public)),
        )


def _label(generation: int, sender: bytes, receiver: bytes) -> bytes:
    return lv(b"probe", struct.pack(">H", generation), sender, receiver)


class ProbeSealer:
    """Seals the probes of one sender to one receiver.

    Args:
        key: 32 bytes, from ``ProbeKeys.agree``; used by this object only.
        tag: Of the receiver's offer.
    """

    def __init__(self, key: bytes, tag: bytes) -> None:
        assert len(tag) == TAG_SIZE
        self._aead = AESGCM(key)
        self._tag = tag
        self._counter = 0

    def seal(self, probe: Probe, *, size: int = MIN_SIZE) -> bytes:
        """Return *probe* as a datagram of *size* bytes, at least ``MIN_SIZE``."""
        assert self._counter <= MAX_COUNTER
        plaintext = probe.transaction + struct.pack(
            ">BHI", probe.flags, probe.generation, probe.time & 0xFFFFFFFF
        )
        if probe.kind is ProbeKind.PONG:
            assert probe.observed is not None
            plaintext += _packed(probe.observed)
        plaintext = plaintext.ljust(max(size, MIN_SIZE) - HEADER - SEAL, b"\0")
        header = struct.pack(">B4sQ", FIRST_BYTE | probe.kind, self._tag, self._counter)
        nonce = struct.pack(">IQ", 0, self._counter)
        self._counter += 1
        return header + self._aead.encrypt(nonce, plaintext, header)


class ProbeOpener:
    """Opens the probes of one sender, each once.

    Args:
        key: 32 bytes, from ``ProbeKeys.agree``.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._highest = -1
        self._seen = 0
        """Bit ``n`` stands for the counter ``highest - n``."""

    def open(self, datagram: bytes) -> Probe | None:
        """Return the probe in *datagram*, or None if it is not one, forged or a repeat."""
        if len(datagram) < MIN_SIZE or not is_probe(datagram):
            return None
        header, sealed = datagram[:HEADER], datagram[HEADER:]
        number, counter = header[0] & 0x0F, int.from_bytes(header[5:HEADER], "big")
        if number >= len(ProbeKind) or self._is_repeat(counter):
            return None
        try:
            plaintext = self._aead.decrypt(struct.pack(">IQ", 0, counter), sealed, header)
        except InvalidTag:
            return None
        # Only now: a forged counter must not move the window.
        self._mark(counter)
        transaction, flags, generation, time = struct.unpack_from(">8sBHI", plaintext)
        kind = ProbeKind(number)
        observed = None
        if kind is ProbeKind.PONG:
            observed = _unpacked(plaintext[FIXED : FIXED + OBSERVED])
        return Probe(kind, transaction, generation, time, flags, observed)

    def _is_repeat(self, counter: int) -> bool:
        behind = self._highest - counter
        return behind >= REPLAY_WINDOW or (behind >= 0 and bool(self._seen >> behind & 1))

    def _mark(self, counter: int) -> None:
        ahead = counter - self._highest
        if ahead <= 0:
            self._seen |= 1 << -ahead
            return
        # A leap beyond the window empties it; shifting that far would make a huge number.
        kept = self._seen << ahead if ahead < REPLAY_WINDOW else 0
        self._seen = (kept | 1) & (1 << REPLAY_WINDOW) - 1
        self._highest = counter


def _packed(address: Address) -> bytes:
    prefix = _IPV4_MAPPED if len(address.host) == IPV4_BYTES else b""
    return prefix + address.host + struct.pack(">H", address.port)


def _unpacked(data: bytes) -> Address:
    return Address(data[:16].removeprefix(_IPV4_MAPPED), int.from_bytes(data[16:], "big"))
