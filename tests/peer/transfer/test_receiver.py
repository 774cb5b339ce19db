import pytest
from blake3 import blake3

from peer.transfer import pack
from peer.transfer.pack import Asked, FileBegun, FileData, FileEnded, context_of
from peer.transfer.receiver import Landed, Landing, Receiver, Refused
from peer.transfer.sender import PackWriter
from protocol.credentials import Secret
from protocol.crypto.chunked import ChunkSealer
from protocol.errors import RemoteProtocolError
from protocol.limits import FILE_CHUNK

SYNC, TRANSFER = b"s" * 16, b"t" * 16
KEY = Secret(bytes(32))
CONTENT = b"content"
DIGEST = blake3(CONTENT).digest()


def sealer(asked: list[Asked]) -> ChunkSealer:
    return ChunkSealer(KEY, context_of(SYNC, TRANSFER, asked), bytes)


def sealed(asked: list[Asked], plaintext: bytes) -> bytes:
    """What a holder sends that puts these bytes into the message."""
    chunks = sealer(asked)
    return chunks.header() + chunks.seal(plaintext, last=True)


def receive(asked: list[Asked], message: bytes) -> list[Landing | Landed]:
    """What lands, each file's end judged by what was written before it."""
    receiver = Receiver(SYNC, TRANSFER, asked, KEY)
    found: list[Landing | Landed] = []
    written = blake3()
    for landing in (*receiver.feed(message), *receiver.finish()):
        if isinstance(landing, FileBegun):
            written = blake3()
        elif isinstance(landing, FileData):
            written.update(landing.data)
        ended = isinstance(landing, FileEnded)
        found.append(receiver.judge(landing, written.digest()) if ended else landing)
    return found


def file(step: int, content: bytes, stated: bytes) -> bytes:
    return (
        pack.begin(step, len(content)) + pack.data_header(len(content)) + content + pack.end(stated)
    )


@pytest.mark.parametrize("planned", [DIGEST, None])
def test_content_that_is_what_was_agreed_lands(planned: bytes | None) -> None:
    """By the plan's digest, or by the holder's word where the plan has none."""
    asked = [Asked(4, len(CONTENT), planned)]
    writer = PackWriter(sealer(asked))
    writer.begin(4, len(CONTENT))
    writer.room()[:] = CONTENT
    writer.filled(len(CONTENT))
    writer.end()
    writer.finish()

    found = receive(asked, b"".join(writer.sealed()))

    assert found[0] == FileBegun(4, len(CONTENT))
    assert isinstance(found[1], FileData)
    assert found[1].data == CONTENT
    assert found[2:] == [Landed(4, DIGEST)]


@pytest.mark.parametrize(
    ("content", "stated", "planned"),
    [
        (b"c0ntent", DIGEST, DIGEST),
        (b"c0ntent", DIGEST, None),
        (b"c0ntent", blake3(b"c0ntent").digest(), DIGEST),
        (CONTENT, bytes(32), DIGEST),
        (CONTENT, bytes(32), None),
    ],
)
def test_content_that_is_not_what_was_agreed_is_refused(
    content: bytes, stated: bytes, planned: bytes | None
) -> None:
    """An altered byte, a wrong digest, a right digest of other content."""
    asked = [Asked(4, len(CONTENT), planned)]

    found = receive(asked, sealed(asked, file(4, content, stated)))

    assert found[-1] == Refused(4, "transfer.content_mismatch")


def test_a_file_after_a_refused_one_is_judged_by_itself() -> None:
    """Each has its own hash."""
    asked = [Asked(4, 7, DIGEST), Asked(5, 0), Asked(6, 7, DIGEST)]
    plaintext = (
        file(4, b"c0ntent", DIGEST) + pack.failed(5, "fs.missing") + file(6, CONTENT, DIGEST)
    )

    found = receive(asked, sealed(asked, plaintext))

    assert [each for each in found if isinstance(each, Landed | Refused)] == [
        Refused(4, "transfer.content_mismatch"),
        Refused(5, "fs.missing"),
        Landed(6, DIGEST),
    ]


def test_a_transfer_for_other_steps_does_not_open() -> None:
    """The context names what was asked for."""
    asked = [Asked(4, 7, DIGEST)]
    message = sealed([Asked(5, 7, DIGEST)], file(4, CONTENT, DIGEST))

    with pytest.raises(RemoteProtocolError):
        receive(asked, message)


@pytest.mark.parametrize("cut", [0, 30, 56, 80, -1])
def test_a_message_cut_off_is_refused(cut: int) -> None:
    """Wherever it ends."""
    asked = [Asked(4, 7, DIGEST)]
    message = sealed(asked, file(4, CONTENT, DIGEST))

    with pytest.raises(RemoteProtocolError):
        receive(asked, message[:cut])


def test_a_message_without_its_last_file_is_refused_and_names_it() -> None:
    """Whole, but not all that was asked for."""
    asked = [Asked(4, 7, DIGEST), Asked(5, 7, DIGEST)]
    receiver = Receiver(SYNC, TRANSFER, asked, KEY)

    list(receiver.feed(sealed(asked, file(4, CONTENT, DIGEST))))
    with pytest.raises(RemoteProtocolError):
        list(receiver.finish())

    assert receiver.unanswered == (5,)


def test_content_of_several_chunks_lands_chunk_by_chunk() -> None:
    """What is complete is passed on before the rest comes."""
    content = bytes(FILE_CHUNK)
    asked = [Asked(4, len(content))]
    chunks = sealer(asked)
    plaintext = file(4, content, blake3(content).digest())
    receiver = Receiver(SYNC, TRANSFER, asked, KEY)

    first = [*receiver.feed(chunks.header() + chunks.seal(plaintext[:FILE_CHUNK]))]
    rest = [*receiver.feed(chunks.seal(plaintext[FILE_CHUNK:], last=True)), *receiver.finish()]

    assert sum(len(part.data) for part in first if isinstance(part, FileData)) == FILE_CHUNK - 20
    assert rest[-1] == FileEnded(4, blake3(content).digest())
