"""Control records between two members, and the keys of everything a link carries.

A record is ``len u24 | epoch u32 | type u8 | ciphertext``; the eight bytes before the
ciphertext are authenticated with it. The nonce is the direction's initialisation vector XOR
a counter which is never sent: a lost, repeated, reordered or altered record opens nowhere,
and the first that does not open ends the link (security.md, 3.8).
"""

import enum
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.credentials import Secret
from protocol.crypto.transcript import expand, extract, lv, number
from protocol.errors import FrameTooLarge, LocalProtocolError, MalformedMessage, SealBroken
from protocol.limits import MAX_CONTROL_PLAINTEXT

KEY_SIZE: Final = 32
IV_SIZE: Final = 12
TAG_SIZE: Final = 16

HEADER: Final = struct.Struct(">II")
"""The length's three bytes, the epoch's four and the type, as two words."""

MAX_CIPHERTEXT: Final = MAX_CONTROL_PLAINTEXT + TAG_SIZE

MAX_RECORDS: Final = 2**32
"""Records of one direction in one epoch; a refresh commit comes long before."""
MAX_BLOCKS: Final = 2**36
"""AES blocks of one direction in one epoch."""
_BLOCK: Final = 16

_EPOCH_BITS: Final = 32


class RecordType(enum.IntEnum):
    """What a record holds."""

    MESSAGE = 1
    """One message of the session."""
    KEY_UPDATE = 2
    """Nothing; the last record of its epoch in this direction."""


_RECORD_TYPES: Final = frozenset(RecordType)


class TrafficClass(enum.Enum):
    """Which traffic of a direction a key protects."""

    CONTROL = b"ctrl"
    FILE = b"file"


class TrafficKeys(NamedTuple):
    """Key and initialisation vector of one direction of one link in one epoch."""

    key: Secret
    iv: bytes


def traffic_keys(
    link_key: Secret,
    epoch_key: Secret,
    epoch: int,
    *,
    sender: int,
    receiver: int,
    traffic: TrafficClass,
) -> TrafficKeys:
    """Return the keys of the traffic from member *sender* to member *receiver*.

    They need the key of the epoch and the key of the link: former members lack the one,
    members that stand between two others the other.
    """
    prk = extract(link_key.reveal(), epoch_key.reveal())
    label = lv(b"traffic", number(epoch, 8), number(sender, 1), number(receiver, 1), traffic.value)
    material = expand(prk, label, KEY_SIZE + IV_SIZE)
    return TrafficKeys(Secret(material[:KEY_SIZE]), material[KEY_SIZE:])


class _Direction:
    """The counters of one direction of one link in one epoch."""

    def __init__(self, keys: TrafficKeys, epoch: int) -> None:
        self._aead = AESGCM(keys.key.reveal())
        self._iv = int.from_bytes(keys.iv, "big")
        self._epoch = epoch % (1 << _EPOCH_BITS)
        self._sequence = 0
        self._blocks = 0

    def _next_nonce(self, plaintext_size: int) -> bytes:
        nonce = (self._iv ^ self._sequence).to_bytes(IV_SIZE, "big")
        self._sequence += 1
        # One block more for the tag's own.
        self._blocks += -(-plaintext_size // _BLOCK) + 1
        return nonce

    @property
    def exhausted(self) -> float:
        """The part of what this key may protect that is used up: 0.0 to 1.0."""
        return max(self._sequence / MAX_RECORDS, self._blocks / MAX_BLOCKS)


class RecordSealer(_Direction):
    """Seals the records of one direction of one link in one epoch.

    Args:
        keys: From ``traffic_keys``; used by this object alone.
        epoch: The epoch's number.

    Source: RFC 8446, section 5.3 (nonce from a counter); RFC 5116, section 5.2.
    """

    def seal(self, kind: RecordType, plaintext: bytes) -> bytes:
        """Return the next record: *plaintext* and 24 bytes.

        Raises:
            LocalProtocolError: If *plaintext* exceeds its bound or the key is used up.
                Nothing was sealed.
        """
        if len(plaintext) > MAX_CONTROL_PLAINTEXT:
            raise LocalProtocolError(f"{len(plaintext)} bytes in one record")
        if self.exhausted >= 1:
            raise LocalProtocolError("the key of this epoch is used up")
        length = len(plaintext) + TAG_SIZE
        header = HEADER.pack(
            length << 8 | self._epoch >> 24, (self._epoch << 8 | kind) & 0xFFFFFFFF
        )
        return header + self._aead.encrypt(self._next_nonce(len(plaintext)), plaintext, header)


class Record(NamedTuple):
    """One record cut from the stream, still sealed."""

    epoch: int
    """The epoch's number modulo 2^32."""
    kind: int
    header: bytes
    ciphertext: bytes


class RecordOpener(_Direction):
    """Opens the records of one direction of one link in one epoch, in their order only.

    After the first failure, and after KEY_UPDATE, nothing opens any more.

    Args:
        keys: From ``traffic_keys``; used by this object alone.
        epoch: The epoch's number.
    """

    def __init__(self, keys: TrafficKeys, epoch: int) -> None:
        super().__init__(keys, epoch)
        self._closed = False

    def open(self, record: Record) -> tuple[RecordType, bytes]:
        """Return type and plaintext of the next record.

        Raises:
            SealBroken: If *record* is not exactly the next one; the caller closes the link.
            MalformedMessage: If it is, but of a type this version does not know.
        """
        if self._closed or record.epoch != self._epoch or self.exhausted >= 1:
            self._closed = True
            raise SealBroken
        nonce = self._next_nonce(len(record.ciphertext) - TAG_SIZE)
        try:
            plaintext = self._aead.decrypt(nonce, record.ciphertext, record.header)
        except InvalidTag:
            self._closed = True
            raise SealBroken from None
        if record.kind not in _RECORD_TYPES:
            self._closed = True
            raise MalformedMessage(f"record of type {record.kind}")
        kind = RecordType(record.kind)
        self._closed = kind is RecordType.KEY_UPDATE
        return kind, plaintext


class RecordReader:
    """Cuts a byte stream into records, whatever the splits it arrives in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take *data* and yield every record now complete.

        Raises:
            FrameTooLarge: As soon as a header announces more than the bound.
            MalformedMessage: As soon as it announces less than a tag.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            high, low = HEADER.unpack_from(self._buffer)
            length = high >> 8
            if length > MAX_CIPHERTEXT:
                raise FrameTooLarge(length, MAX_CIPHERTEXT)
            if length < TAG_SIZE:
                raise MalformedMessage("record without a tag")
            end = HEADER.size + length
            if len(self._buffer) < end:
                return
            header = bytes(self._buffer[: HEADER.size])
            ciphertext = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]
            yield Record((high & 0xFF) << 24 | low >> 8, low & 0xFF, header, ciphertext)

    @property
    def buffered(self) -> int:
        """Bytes held of an incomplete record; never more than one record."""
        return len(self._buffer)
