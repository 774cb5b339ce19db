"""File data: sealing and opening chunk by chunk."""

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import given
from hypothesis import strategies as st

from protocol.credentials import Secret
from protocol.crypto import chunked
from protocol.crypto.chunked import (
    HEADER_SIZE,
    ChunkOpener,
    ChunkSealer,
    message_length,
    transfer_context,
    transfer_key,
)
from protocol.crypto.records import TrafficClass, traffic_keys
from protocol.errors import LocalProtocolError, SealBroken
from protocol.limits import FILE_CHUNK

KEY = Secret(b"k" * 32)
CHUNK = 64
COBBLESTONE_CHUNK = 16 * 1024


def salt(size: int) -> bytes:
    return bytes(range(size))


def sealed(data: bytes, *, context: bytes = b"context", chunk_size: int = CHUNK) -> bytes:
    sealer = ChunkSealer(KEY, context, salt, chunk_size)
    view = memoryview(data)
    full = len(data) // chunk_size
    places = range(0, full * chunk_size, chunk_size)
    middle = [sealer.seal(view[place : place + chunk_size]) for place in places]
    return b"".join([sealer.header(), *middle, sealer.seal(view[full * chunk_size :], last=True)])


def opened(message: bytes, *, length: int | None = None, context: bytes = b"context") -> bytes:
    opener = ChunkOpener(KEY, context, len(message) if length is None else length, CHUNK)
    data = b"".join(opener.feed(message))
    if not opener.finished:
        raise SealBroken
    return data


SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5]


@given(st.binary(max_size=5 * CHUNK), st.lists(st.integers(1, 200), min_size=1, max_size=9))
def test_a_message_arrives_whatever_the_splits(data: bytes, splits: list[int]) -> None:
    """Held bytes stay below one chunk; the end is known when it is there."""
    message = sealed(data)
    opener = ChunkOpener(KEY, b"context", len(message), CHUNK)

    found = b""
    place = 0
    while place < len(message):
        assert not opener.finished
        size = splits[place % len(splits)]
        found += b"".join(opener.feed(message[place : place + size]))
        place += size

    assert found == data
    assert opener.finished
    assert opener.feed(b"") == []


@pytest.mark.parametrize("size", SIZES)
def test_the_length_of_a_message_is_known_beforehand(size: int) -> None:
    """56 bytes, and 16 for every chunk including the short last one."""
    assert len(sealed(bytes(size))) == message_length(size, CHUNK)


@pytest.mark.parametrize("size", [0, 1, COBBLESTONE_CHUNK, 2 * COBBLESTONE_CHUNK + 7])
def test_another_implementation_of_the_specification_agrees(size: int) -> None:
    """With the specification's chunk size, both read each other's messages."""
    data = bytes(number % 251 for number in range(size))
    theirs = Cobblestone256Encryptor(KEY.reveal(), b"context")
    message = theirs.update(data) + theirs.finalize()
    decryptor = Cobblestone256Decryptor(KEY.reveal(), b"context")

    read = decryptor.update(sealed(data, chunk_size=COBBLESTONE_CHUNK)) + decryptor.finalize()
    opener = ChunkOpener(KEY, b"context", len(message), COBBLESTONE_CHUNK)

    assert read == data
    assert b"".join(opener.feed(message)) == data
    assert opener.finished


@pytest.mark.parametrize("size", SIZES)
def test_every_manipulation_of_chunks_is_noticed(size: int) -> None:
    """Truncated, extended, swapped, repeated, dropped: with the true length and without."""
    message = sealed(bytes(number % 251 for number in range(size)))
    header, body = message[:HEADER_SIZE], message[HEADER_SIZE:]
    step = CHUNK + 16
    chunks = [body[place : place + step] for place in range(0, len(body), step)]
    manipulated = [
        message[:-1],
        message + b"\x00",
        header + b"".join(chunks[:-1]),
        header + b"".join([*chunks, chunks[-1]]),
        header + b"".join([chunks[0], *chunks]),
        header + b"".join(chunks[1:]),
        header,
        b"",
    ]
    if len(chunks) > 1:
        manipulated.append(header + b"".join([chunks[1], chunks[0], *chunks[2:]]))

    for altered in manipulated:
        for length in (len(altered), len(message)):
            with pytest.raises(SealBroken):
                opened(altered, length=length)


def test_every_flipped_bit_is_noticed() -> None:
    """Salt, commitment, chunks and tags."""
    message = sealed(bytes(CHUNK + 5))

    for bit in range(len(message) * 8):
        altered = bytearray(message)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            opened(bytes(altered))


def test_after_a_failure_nothing_opens() -> None:
    """The true bytes do not help any more."""
    message = sealed(bytes(3 * CHUNK))
    altered = bytearray(message)
    altered[HEADER_SIZE] ^= 1
    opener = ChunkOpener(KEY, b"context", len(message), CHUNK)

    with pytest.raises(SealBroken):
        opener.feed(altered)
    with pytest.raises(SealBroken):
        opener.feed(message[HEADER_SIZE:])

    assert not opener.finished


def test_another_key_or_context_opens_nothing() -> None:
    """The commitment refuses before any chunk is tried."""
    message = sealed(b"data")

    with pytest.raises(SealBroken):
        opened(message, context=b"other")
    with pytest.raises(SealBroken):
        ChunkOpener(Secret(b"o" * 32), b"context", len(message), CHUNK).feed(message[:HEADER_SIZE])


@pytest.mark.parametrize("length", [0, 55, 56, 71, 56 + CHUNK + 16, 56 + CHUNK + 16 + 15])
def test_a_length_no_message_has_is_refused_at_once(length: int) -> None:
    """Before a byte of it arrives."""
    with pytest.raises(SealBroken):
        ChunkOpener(KEY, b"", length, CHUNK)


def test_chunks_are_full_but_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own mistakes are local errors, and nothing is sealed."""
    sealer = ChunkSealer(KEY, b"", salt, CHUNK)

    for size, last in ((CHUNK - 1, False), (CHUNK + 1, False), (CHUNK, True)):
        with pytest.raises(LocalProtocolError):
            sealer.seal(bytes(size), last=last)
    sealer.seal(b"end", last=True)
    with pytest.raises(LocalProtocolError):
        sealer.seal(bytes(CHUNK))
    monkeypatch.setattr(chunked, "MAX_CHUNKS", 0)
    with pytest.raises(LocalProtocolError):
        ChunkSealer(KEY, b"", salt, CHUNK).seal(b"", last=True)
    with pytest.raises(SealBroken):
        ChunkOpener(KEY, b"", message_length(0, CHUNK), CHUNK)


def test_an_input_key_has_32_bytes() -> None:
    """Another size is a mistake, not a weaker cipher."""
    with pytest.raises(LocalProtocolError):
        ChunkSealer(Secret(b"short"), b"", salt)


def test_keys_and_contexts_differ_by_everything_they_name() -> None:
    """Direction, transfer, file, hash, size and range."""
    keys = [
        traffic_keys(
            Secret(b"L"), Secret(b"E"), 1, sender=s, receiver=1 - s, traffic=TrafficClass.FILE
        )
        for s in (0, 1)
    ]
    derived = {transfer_key(k, t).reveal() for k in keys for t in (b"t" * 16, b"u" * 16)}
    base = {"size": 9, "offset": 0, "length": 9}
    contexts = {
        transfer_context(b"t" * 16, b"f", b"h", **base),
        transfer_context(b"u" * 16, b"f", b"h", **base),
        transfer_context(b"t" * 16, b"g", b"h", **base),
        transfer_context(b"t" * 16, b"fh", b"", **base),
        *(
            transfer_context(b"t" * 16, b"f", b"h", **base | {name: 7})
            for name in ("size", "offset", "length")
        ),
    }

    assert len(derived) == 4
    assert len(contexts) == 7


def test_whole_chunks_are_sealed_and_opened_where_they_lie() -> None:
    """Views are taken as they are: bytes, bytearray and memoryview give the same."""
    data = bytearray(2 * FILE_CHUNK)
    message = sealed(bytes(data), chunk_size=FILE_CHUNK)
    opener = ChunkOpener(KEY, b"context", len(message))

    header = opener.feed(memoryview(message)[:HEADER_SIZE])
    chunks = opener.feed(memoryview(bytearray(message))[HEADER_SIZE:])

    assert header == []
    assert [len(chunk) for chunk in chunks] == [FILE_CHUNK, FILE_CHUNK, 0]
    assert opener.finished


@given(st.binary(max_size=5 * CHUNK), st.integers(1, 200))
def test_a_message_of_unknown_length_ends_where_it_is_said_to(data: bytes, step: int) -> None:
    """Its short last chunk is what ends it; one place earlier or later nothing is whole."""
    message = sealed(data)
    opener = ChunkOpener(KEY, b"context", None, CHUNK)
    found = []

    for place in range(0, len(message), step):
        found += opener.feed(message[place : place + step])
    whole_before = opener.finished
    found += opener.finish()

    assert not whole_before
    assert b"".join(found) == data
    assert opener.finished
    assert opener.finish() == []
    with pytest.raises(SealBroken):
        opener.feed(b"\x00")


@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_unknown_length_cut_off_anywhere_is_not_whole(size: int) -> None:
    """Also between two chunks; and after the failure nothing opens."""
    message = sealed(bytes(size))

    for end in range(len(message)):
        opener = ChunkOpener(KEY, b"context", None, CHUNK)
        opener.feed(message[:end])
        with pytest.raises(SealBroken):
            opener.finish()
        assert not opener.finished
        with pytest.raises(SealBroken):
            opener.finish()


def test_finishing_a_message_of_known_length_early_says_so() -> None:
    """The bytes held are no chunk then, however they look."""
    message = sealed(bytes(CHUNK + 5))
    opener = ChunkOpener(KEY, b"context", len(message), CHUNK)
    opener.feed(message[:-1])

    with pytest.raises(SealBroken):
        opener.finish()
