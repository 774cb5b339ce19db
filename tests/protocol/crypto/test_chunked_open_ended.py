import pytest

from protocol.credentials import Secret
from protocol.crypto.chunked import ChunkOpener, ChunkSealer
from protocol.errors import SealBroken

KEY = Secret(bytes(32))
SIZE = 32


def sealed(plaintext: bytes) -> bytes:
    sealer = ChunkSealer(KEY, b"context", bytes, SIZE)
    parts = [sealer.header()]
    while len(plaintext) >= SIZE:
        parts.append(sealer.seal(plaintext[:SIZE]))
        plaintext = plaintext[SIZE:]
    return b"".join([*parts, sealer.seal(plaintext, last=True)])


@pytest.mark.parametrize("size", [0, 1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE, 3 * SIZE + 5])
def test_a_message_of_unknown_length_opens_when_its_end_is_told(size: int) -> None:
    """Its chunks as they come, the last when nothing follows."""
    plaintext = bytes(range(size))
    opener = ChunkOpener(KEY, b"context", None, SIZE)

    opened = [*opener.feed(sealed(plaintext)), *opener.finish()]

    assert b"".join(opened) == plaintext
    assert opener.finished


@pytest.mark.parametrize("size", [0, 5, 2 * SIZE, 2 * SIZE + 5])
def test_a_message_of_unknown_length_cut_off_anywhere_does_not_open(size: int) -> None:
    """At the edge of a chunk too: the last one is always short."""
    message = sealed(bytes(size))

    for cut in range(len(message)):
        opener = ChunkOpener(KEY, b"context", None, SIZE)
        assert len(opener.feed(message[:cut])) <= size // SIZE
        with pytest.raises(SealBroken):
            opener.finish()


def test_nothing_follows_the_end_that_was_told() -> None:
    """Neither bytes nor another end."""
    opener = ChunkOpener(KEY, b"context", None, SIZE)
    opener.feed(sealed(b"abc"))
    opener.finish()

    with pytest.raises(SealBroken):
        opener.feed(b"x")


def test_the_end_of_a_message_of_known_length_is_checked_too() -> None:
    """Too early is broken, in time harmless."""
    message = sealed(b"abc")
    opener = ChunkOpener(KEY, b"context", len(message), SIZE)

    assert opener.feed(message) == [b"abc"]
    assert opener.finish() == []
    early = ChunkOpener(KEY, b"context", len(message), SIZE)
    early.feed(message[:-1])
    with pytest.raises(SealBroken):
        early.finish()
