"""File data: C2SP chunked-encryption with AES-256-GCM and SHA-512 (security.md, 3.8).

A message is ``salt(24) | commitment(32) | chunks``, every chunk but the last full, the last
always short. The chunk size is a parameter: 16 KiB in the published vectors, 256 KiB on our
wire, where the cost per chunk in Python would otherwise be a third of a transfer. The counter
analysis of the specification only gets looser with fewer chunks.

Source: https://c2sp.org/chunked-encryption, version 1, "Cobblestone-256".
"""

import hmac
from collections.abc import Callable
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocol.credentials import Secret
from protocol.crypto.records import TrafficKeys
from protocol.crypto.transcript import expand, lv, number
from protocol.errors import LocalProtocolError, SealBroken
from protocol.limits import FILE_CHUNK

SALT_SIZE: Final = 24
COMMITMENT_SIZE: Final = 32
HEADER_SIZE: Final = SALT_SIZE + COMMITMENT_SIZE
KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16

MAX_CHUNKS: Final = 2**38
"""Chunks of one message, by the specification's analysis."""

_INFO: Final = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


def transfer_key(file_keys: TrafficKeys, transfer_id: bytes) -> Secret:
    """Return the input key of one transfer in the direction of *file_keys*."""
    return Secret(expand(file_keys.key.reveal(), lv(b"file", transfer_id)))


def transfer_context(
    transfer_id: bytes, file_id: bytes, expected: bytes, *, size: int, offset: int, length: int
) -> bytes:
    """Return the context that binds a transfer to what it is for.

    Args:
        transfer_id: The transfer's 16 random bytes.
        file_id: What names the file, or the pack of files, in the plan.
        expected: The content hash agreed for it.
        size: Bytes of the whole content.
        offset: First byte that this transfer sends.
        length: Bytes that this transfer sends.
    """
    numbers = (number(value, 8) for value in (size, offset, length))
    return lv(transfer_id, file_id, expected, *numbers)


def message_length(plaintext: int, chunk_size: int = FILE_CHUNK) -> int:
    """Return how many bytes *plaintext* bytes become."""
    return HEADER_SIZE + plaintext + TAG_SIZE * (plaintext // chunk_size + 1)


class _Keys:
    """Key, nonces and commitment of one message."""

    def __init__(self, input_key: Secret, salt: bytes, context: bytes) -> None:
        key = input_key.reveal()
        if len(key) != KEY_SIZE:
            raise LocalProtocolError("an input key of another size")
        length = KEY_SIZE + NONCE_SIZE + COMMITMENT_SIZE
        material = HKDFExpand(hashes.SHA512(), length, _INFO + salt + context).derive(key)
        self.aead = AESGCM(material[:KEY_SIZE])
        self.commitment = material[KEY_SIZE + NONCE_SIZE :]
        self._base = int.from_bytes(material[KEY_SIZE : KEY_SIZE + NONCE_SIZE], "big")

    def nonce(self, chunk: int) -> bytes:
        return (self._base ^ chunk).to_bytes(NONCE_SIZE, "big")


class ChunkSealer:
    """Seals one message, chunk by chunk.

    Args:
        input_key: From ``transfer_key``.
        context: From ``transfer_context``; the receiver must have the same.
        random_bytes: Source of the salt.
        chunk_size: Plaintext bytes of every chunk but the last.
    """

    def __init__(
        self,
        input_key: Secret,
        context: bytes,
        random_bytes: Callable[[int], bytes],
        chunk_size: int = FILE_CHUNK,
    ) -> None:
        self._salt = random_bytes(SALT_SIZE)
        self._keys = _Keys(input_key, self._salt, context)
        self._chunk_size = chunk_size
        self._next = 0
        self._finished = False

    def header(self) -> bytes:
        """Return the first 56 bytes of the message."""
        return self._salt + self._keys.commitment

    def seal(self, chunk: bytes | bytearray | memoryview, *, last: bool = False) -> bytes:
        """Return the next sealed chunk: 16 bytes more than *chunk*.

        Args:
            chunk: Exactly ``chunk_size`` bytes; fewer, perhaps none, if it is the *last*.
            last: Whether the message ends here. A message whose bytes fill its chunks ends
                with an empty one.

        Raises:
            LocalProtocolError: If the size does not fit, or the message has ended.
        """
        fits = len(chunk) < self._chunk_size if last else len(chunk) == self._chunk_size
        if self._finished or not fits or self._next >= MAX_CHUNKS:
            raise LocalProtocolError(f"chunk {self._next} of {len(chunk)} bytes")
        nonce = self._keys.nonce(self._next)
        self._next += 1
        self._finished = last
        return self._keys.aead.encrypt(nonce, chunk, None)


class ChunkOpener:
    """Opens one message as its bytes arrive, holding less than one sealed chunk.

    Args:
        input_key: From ``transfer_key``.
        context: From ``transfer_context``.
        length: Bytes of the whole message, as announced before it; None where its end shows
            otherwise and ``finish`` takes it. The last chunk is always short, so a message cut
            off anywhere still does not open.
        chunk_size: Plaintext bytes of every chunk but the last.

    Raises:
        SealBroken: If no message has this *length*.
    """

    def __init__(
        self, input_key: Secret, context: bytes, length: int | None, chunk_size: int = FILE_CHUNK
    ) -> None:
        self._input_key = input_key
        self._context = context
        self._sealed_size = chunk_size + TAG_SIZE
        self._open_ended = length is None
        if length is None:
            full, self._last_size = MAX_CHUNKS - 1, self._sealed_size
        else:
            full, self._last_size = divmod(length - HEADER_SIZE, self._sealed_size)
            if length < HEADER_SIZE or self._last_size < TAG_SIZE or full >= MAX_CHUNKS:
                raise SealBroken
        self._left = full + 1
        self._broken = False
        self._next = 0
        self._keys: _Keys | None = None
        self._expected = HEADER_SIZE
        self._held = bytearray()

    @property
    def finished(self) -> bool:
        """Whether the last chunk was opened: the message is whole."""
        return self._left == 0 and not self._broken

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Take the next bytes of the message and return the chunks they complete.

        Raises:
            SealBroken: If a part does not verify, or bytes follow the end. Nothing more
                opens afterwards.
        """
        view = memoryview(data)
        opened: list[bytes] = []
        while view:
            if self._left == 0 or self._broken:
                self._break()
            wanted = self._expected - len(self._held)
            piece, view = view[:wanted], view[wanted:]
            if len(piece) < wanted:
                self._held += piece
            elif self._held:
                self._held += piece
                self._take(self._held, opened)
                self._held = bytearray()
            else:
                # A whole part lies in the caller's buffer: it is opened there.
                self._take(piece, opened)
        return opened

    def finish(self) -> list[bytes]:
        """Take the end of the message and return what it completes: at most one chunk.

        Raises:
            SealBroken: If the message is not whole.
        """
        opened: list[bytes] = []
        if self._open_ended and self._keys is not None and len(self._held) >= TAG_SIZE:
            self._left = 1
            held, self._held = self._held, bytearray()
            self._take(held, opened)
        if not self.finished:
            self._break()
        return opened

    def _take(self, part: bytearray | memoryview, opened: list[bytes]) -> None:
        """Verify the header, or open a chunk into *opened*."""
        if self._keys is None:
            keys = _Keys(self._input_key, bytes(part[:SALT_SIZE]), self._context)
            if not hmac.compare_digest(keys.commitment, bytes(part[SALT_SIZE:])):
                self._break()
            self._keys = keys
        else:
            try:
                opened.append(self._keys.aead.decrypt(self._keys.nonce(self._next), part, None))
            except InvalidTag:
                self._break()
            self._next += 1
            self._left -= 1
        self._expected = self._last_size if self._left == 1 else self._sealed_size

    def _break(self) -> NoReturn:
        self._broken = True
        raise SealBroken
