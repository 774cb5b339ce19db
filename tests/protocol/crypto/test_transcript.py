"""Canonical bytes and the key schedule's verbs."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crypto.transcript import digest, expand, extract, lv, number, text, unlv, unnumber
from protocol.errors import MalformedMessage

tuples = st.lists(st.binary(max_size=40), max_size=6).map(tuple)


@given(tuples)
def test_fields_are_read_as_they_were_written(parts: tuple[bytes, ...]) -> None:
    """Decoding undoes encoding."""
    assert unlv(lv(*parts), len(parts)) == parts


@given(tuples, tuples)
def test_two_different_tuples_never_share_their_bytes(
    left: tuple[bytes, ...], right: tuple[bytes, ...]
) -> None:
    """Shifting bytes between fields changes the encoding, so it changes the digest."""
    assert (lv(*left) == lv(*right)) == (left == right)
    assert (digest(*left) == digest(*right)) == (left == right)


@given(st.binary(max_size=60), st.integers(0, 5))
def test_whatever_arrives_is_read_or_malformed(data: bytes, count: int) -> None:
    """One error; and what is read is exactly what was sent."""
    try:
        fields = unlv(data, count)
    except MalformedMessage:
        return
    assert lv(*fields) == data


@pytest.mark.parametrize(
    ("data", "count", "bound"),
    [
        (b"\x00\x00\x00", 1, 9),
        (b"\x00\x00\x00\x02a", 1, 9),
        (lv(b"abc"), 1, 2),
        (lv(b"abc") + b"\x00", 1, 9),
        (lv(b"a", b"b"), 1, 9),
        (lv(b"a"), 2, 9),
    ],
)
def test_cut_long_and_trailing_fields_are_refused(data: bytes, count: int, bound: int) -> None:
    """Nothing is guessed."""
    with pytest.raises(MalformedMessage):
        unlv(data, count, max_field=bound)


def test_the_verbs_are_hkdf_with_our_label() -> None:
    """One block of HKDF-SHA256 (RFC 5869), computed by hand."""
    prk = extract(b"salt", b"material")
    info = lv(b"quintet/1", b"label")

    assert prk == hmac.digest(b"salt", b"material", "sha256")
    assert expand(prk, b"label") == hmac.digest(prk, info + b"\x01", "sha256")
    assert expand(prk, b"label", 7) == expand(prk, b"label")[:7]
    assert digest(b"a") == hashlib.sha256(b"\x00\x00\x00\x01a").digest()


def test_numbers_have_one_width() -> None:
    """Big-endian; another width is malformed."""
    assert number(258, 4) == b"\x00\x00\x01\x02"
    assert unnumber(b"\x01\x02", 2) == 258
    with pytest.raises(MalformedMessage):
        unnumber(b"\x01\x02", 4)


@pytest.mark.parametrize("data", [b"\xff", b"abcde", b"a\x00", b"a\nb", "\u202e".encode()])
def test_text_is_short_printable_utf8(data: bytes) -> None:
    """Controls of terminals and of writing direction never enter."""
    with pytest.raises(MalformedMessage):
        text(data, 4)


def test_text_counts_characters() -> None:
    """Not bytes."""
    assert text("żółw".encode(), 4) == "żółw"
