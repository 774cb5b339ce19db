"""Canonical bytes and the key schedule's three verbs (security.md, section 3.0).

``lv(x1..xn)`` is the concatenation of u32-BE length and bytes of each part, so that no two
different tuples share their bytes. ``digest`` is SHA-256 over it, ``extract`` and ``expand``
are HKDF-SHA256 (RFC 5869) with every label under this protocol's name.
"""

import hashlib
import hmac
import struct
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocol.errors import MalformedMessage

PROTOCOL_LABEL: Final = b"quintet/1"
MAX_FIELD: Final = 8192
"""Bytes one field may have unless the caller names another bound."""


def lv(*parts: bytes) -> bytes:
    """Return *parts*, each with its u32 big-endian length before it."""
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def unlv(data: bytes, count: int, *, max_field: int = MAX_FIELD) -> tuple[bytes, ...]:
    """Return exactly *count* fields of *data*.

    Raises:
        MalformedMessage: If a field is cut off or over *max_field* bytes, or if bytes remain.
    """
    fields: list[bytes] = []
    offset = 0
    for _ in range(count):
        if offset + 4 > len(data):
            raise MalformedMessage("length cut off")
        (length,) = struct.unpack_from(">I", data, offset)
        offset += 4
        if length > max_field or offset + length > len(data):
            raise MalformedMessage("field too long")
        fields.append(data[offset : offset + length])
        offset += length
    if offset != len(data):
        raise MalformedMessage("trailing bytes")
    return tuple(fields)


def digest(*parts: bytes) -> bytes:
    """Return SHA-256 of ``lv`` of *parts*: 32 bytes. ``H`` in the papers."""
    return hashlib.sha256(lv(*parts)).digest()


def extract(salt: bytes, material: bytes) -> bytes:
    """Return HKDF-Extract of *material* under *salt*: 32 bytes."""
    return hmac.new(salt, material, hashlib.sha256).digest()


def expand(prk: bytes, label: bytes, length: int = 32) -> bytes:
    """Return *length* bytes of HKDF-Expand of *prk* for *label*."""
    return HKDFExpand(hashes.SHA256(), length, lv(PROTOCOL_LABEL, label)).derive(prk)


def number(value: int, size: int) -> bytes:
    """Return *value* as *size* big-endian bytes; every number in ``lv`` is written so."""
    return value.to_bytes(size, "big")


def unnumber(data: bytes, size: int) -> int:
    """Return the number that *size* bytes stand for.

    Raises:
        MalformedMessage: If *data* is not exactly *size* bytes.
    """
    if len(data) != size:
        raise MalformedMessage("number of a wrong size")
    return int.from_bytes(data, "big")


def text(data: bytes, max_characters: int) -> str:
    """Return *data* as text of at most *max_characters* characters.

    Raises:
        MalformedMessage: If it is no UTF-8, is longer, or holds control characters.
    """
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedMessage("no UTF-8") from None
    if len(decoded) > max_characters or not decoded.isprintable():
        raise MalformedMessage("unusable text")
    return decoded
