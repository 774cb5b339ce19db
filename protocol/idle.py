"""The datagrams by which a member that rests stays registered at the node (node.md, section 1).

A QUIC connection costs the node tens of kilobytes, a resting member a few hundred bytes. Both
ends take their keys from the TLS exporter of the connection the member had::

    0x2E | handle (8) | counter (8) | AES-256-GCM of the content, tag included

The nonce is the counter behind four zero bytes, the 17 bytes before are associated data. A
counter is used once per key and only grows, so nothing can be replayed.

Content of the member: one byte, what it wants. Of the node: one byte, what it wants, then the
port (2) and the address (16, IPv4 mapped) it saw. An answer is shorter than twice its question.
"""

import enum
import hmac
import ipaddress
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.transcript import expand, lv
from protocol.messages.rendezvous import IPV4_BYTES, Address

FIRST_BYTE: Final = 0x2E
"""Out of the range of probes, whose kinds go from 0 to 5 (network.md, section 6.4)."""

HANDLE_SIZE: Final = 8
COUNTER_SIZE: Final = 8
HEADER_SIZE: Final = 1 + HANDLE_SIZE + COUNTER_SIZE
TAG_SIZE: Final = 16
QUESTION_SIZE: Final = HEADER_SIZE + 1 + TAG_SIZE
ANSWER_SIZE: Final = HEADER_SIZE + 1 + 2 + 16 + TAG_SIZE

MAX_COUNTER: Final = 2**63 - 1

_MAPPED: Final = bytes(10) + b"\xff\xff"


class Wish(enum.IntEnum):
    """What the sender wants; the number is on the wire."""

    NONE = 0
    """Nothing: to be remembered, or to confirm."""
    WAKE = 1
    """The node: come back, there is something for you."""
    LEAVE = 2
    """The member leaves its sessions, or the node stops; either may never be heard of again."""


class Keys(NamedTuple):
    """What both ends derive from the exporter of one connection."""

    member: bytes
    node: bytes
    resume: bytes

    def proof(self, exporter: bytes) -> bytes:
        """Return what shows, on the connection of *exporter*, that we are who rested."""
        return hmac.digest(self.resume, lv(b"resume", exporter), "sha256")


def keys_of(exporter: bytes) -> Keys:
    """Return the keys of a member that rests after the connection of *exporter*."""
    return Keys(*(expand(exporter, label) for label in (b"idle member", b"idle node", b"resume")))


def handle_of(data: bytes) -> bytes | None:
    """Return whose datagram this is; None if it is none of these."""
    if len(data) not in {QUESTION_SIZE, ANSWER_SIZE} or data[0] != FIRST_BYTE:
        return None
    return data[1 : 1 + HANDLE_SIZE]


def seal_question(key: bytes, handle: bytes, counter: int, wish: Wish) -> bytes:
    """Return a member's datagram."""
    return _seal(key, handle, counter, bytes([wish]))


def open_question(key: bytes, data: bytes, after: int) -> tuple[int, Wish] | None:
    """Return counter and wish of a member's datagram; None if it is forged or not newer."""
    opened = _open(key, data, after)
    if opened is None or len(opened[1]) != 1 or opened[1][0] > max(Wish):
        return None
    return opened[0], Wish(opened[1][0])


def seal_answer(key: bytes, handle: bytes, counter: int, wish: Wish, observed: Address) -> bytes:
    """Return a node's datagram."""
    host = observed.host
    mapped = _MAPPED + host if len(host) == IPV4_BYTES else host
    content = bytes([wish]) + observed.port.to_bytes(2, "big") + mapped
    return _seal(key, handle, counter, content)


def open_answer(key: bytes, data: bytes, after: int) -> tuple[int, Wish, Address] | None:
    """Return counter, wish and address of a node's datagram; None if forged or not newer."""
    opened = _open(key, data, after)
    if opened is None or len(data) != ANSWER_SIZE or opened[1][0] > max(Wish):
        return None
    counter, content = opened
    port = int.from_bytes(content[1:3], "big")
    if not port:
        return None
    mapped = ipaddress.IPv6Address(content[3:])
    host = mapped.ipv4_mapped.packed if mapped.ipv4_mapped is not None else mapped.packed
    return counter, Wish(content[0]), Address(host, port)


def _seal(key: bytes, handle: bytes, counter: int, content: bytes) -> bytes:
    header = bytes([FIRST_BYTE]) + handle + counter.to_bytes(COUNTER_SIZE, "big")
    return header + AESGCM(key).encrypt(_nonce(header), content, header)


def _open(key: bytes, data: bytes, after: int) -> tuple[int, bytes] | None:
    header = data[:HEADER_SIZE]
    counter = int.from_bytes(header[1 + HANDLE_SIZE :], "big")
    if len(data) not in {QUESTION_SIZE, ANSWER_SIZE} or not after < counter <= MAX_COUNTER:
        return None
    try:
        return counter, AESGCM(key).decrypt(_nonce(header), data[HEADER_SIZE:], header)
    except InvalidTag:
        return None


def _nonce(header: bytes) -> bytes:
    return bytes(4) + header[1 + HANDLE_SIZE :]
