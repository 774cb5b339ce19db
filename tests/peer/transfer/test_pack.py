import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.transfer import pack
from peer.transfer.pack import Asked, FileBegun, FileData, FileEnded, FileFailed, PackReader
from protocol.errors import RemoteProtocolError
from protocol.framing import frame

D = bytes(32)


def data(content: bytes) -> bytes:
    return pack.data_header(len(content)) + content


def whole(step: int, content: bytes) -> bytes:
    return pack.begin(step, len(content)) + (data(content) if content else b"") + pack.end(D)


def read(reader: PackReader, plaintext: bytes) -> list[object]:
    return [
        bytes(record.data) if isinstance(record, FileData) else record
        for record in reader.feed(plaintext)
    ]


@given(st.data())
def test_files_come_out_as_they_went_in_whatever_the_splits(source: st.DataObject) -> None:
    """Contents, digests and failures, in the order asked for."""
    contents = source.draw(st.lists(st.none() | st.binary(max_size=50), min_size=1, max_size=6))
    asked = [Asked(7 * n, len(content or b"")) for n, content in enumerate(contents)]
    plaintext = b"".join(
        pack.failed(ask.step, "fs.changed_since") if content is None else whole(ask.step, content)
        for ask, content in zip(asked, contents, strict=True)
    )
    reader = PackReader(asked)
    received: dict[int, bytes | None] = {}
    current = -1

    while plaintext:
        size = source.draw(st.integers(1, len(plaintext)))
        for record in reader.feed(plaintext[:size]):
            match record:
                case FileBegun(step=step):
                    current = step
                    received[step] = b""
                case FileData(data=part):
                    received[current] = (received[current] or b"") + part
                case FileEnded(step=step, digest=digest):
                    assert (step, digest) == (current, D)
                case FileFailed(step=step, code=code):
                    assert code == "fs.changed_since"
                    received[step] = None
        plaintext = plaintext[size:]
    reader.finish()

    assert received == dict(zip([ask.step for ask in asked], contents, strict=True))
    assert not reader.remaining


HOSTILE = {
    "another step": whole(4, b"abc"),
    "another size": whole(3, b"abcd"),
    "data before a file": data(b"abc"),
    "more than announced": pack.begin(3, 3) + data(b"abcd"),
    "more in a second record": pack.begin(3, 3) + data(b"abc") + data(b"d"),
    "fewer than announced": pack.begin(3, 3) + data(b"ab") + pack.end(D),
    "an end without a file": pack.end(D),
    "two beginnings": pack.begin(3, 3) + pack.begin(3, 3),
    "a short digest": pack.begin(3, 3) + data(b"abc") + frame(pack.FILE_END, D[:-1]),
    "an empty record": pack.begin(3, 3) + frame(pack.DATA, b""),
    "a long beginning": frame(pack.FILE_BEGIN, bytes(13)),
    "an unknown record": frame(9, b"x"),
    "a failure of another step": pack.failed(4, "fs.missing"),
    "a failure without a reason": frame(pack.FILE_FAILED, struct.pack(">I", 3)),
    "a reason in other signs": frame(pack.FILE_FAILED, struct.pack(">I", 3) + b"a b"),
    "a reason with a line end": frame(pack.FILE_FAILED, struct.pack(">I", 3) + b"a\n"),
    "a long reason": frame(pack.FILE_FAILED, struct.pack(">I", 3) + b"a" * 65),
    "a file too many": whole(3, b"abc") + whole(3, b"abc"),
}


@pytest.mark.parametrize("plaintext", HOSTILE.values(), ids=HOSTILE)
def test_anything_but_what_was_asked_for_is_refused(plaintext: bytes) -> None:
    """One wrong record ends the transfer."""
    reader = PackReader([Asked(3, 3)])

    with pytest.raises(RemoteProtocolError):
        read(reader, plaintext)


def test_an_overlong_record_is_refused_at_its_header() -> None:
    """The announced size is never exceeded, not even by bytes that are only promised."""
    reader = PackReader([Asked(3, 3)])
    read(reader, pack.begin(3, 3))

    with pytest.raises(RemoteProtocolError):
        read(reader, pack.data_header(4))


@pytest.mark.parametrize(
    "plaintext", [b"", pack.begin(3, 3), whole(3, b"abc"), whole(3, b"abc") + b"\1"]
)
def test_a_transfer_that_ends_early_is_refused(plaintext: bytes) -> None:
    """Every step asked for is answered, or the transfer is broken."""
    reader = PackReader([Asked(3, 3), Asked(5, 0)])
    read(reader, plaintext)

    with pytest.raises(RemoteProtocolError):
        reader.finish()


def test_a_file_may_fail_in_the_middle() -> None:
    """What stood there may change while it is read; the next file follows all the same."""
    reader = PackReader([Asked(3, 3), Asked(5, 0)])

    found = read(
        reader, pack.begin(3, 3) + data(b"a") + pack.failed(3, "fs.changed_since") + whole(5, b"")
    )

    assert found == [
        FileBegun(3, 3),
        b"a",
        FileFailed(3, "fs.changed_since"),
        FileBegun(5, 0),
        FileEnded(5, D),
    ]


def test_remaining_names_the_file_under_way() -> None:
    """A transfer that breaks hands these to another holder."""
    reader = PackReader([Asked(3, 3), Asked(5, 0)])

    read(reader, pack.begin(3, 3) + data(b"ab"))

    assert [ask.step for ask in reader.remaining] == [3, 5]


def test_the_context_binds_every_value_of_the_plan() -> None:
    """Another order, size, digest, transfer or synchronisation is another context."""
    one, two = Asked(1, 3, D), Asked(2, 4)
    variants = [
        pack.context_of(b"s" * 16, b"t" * 16, asked)
        for asked in ([one, two], [two, one], [one], [Asked(1, 4, D), two], [Asked(1, 3), two])
    ]
    variants.append(pack.context_of(b"s" * 16, b"u" * 16, [one, two]))
    variants.append(pack.context_of(b"z" * 16, b"t" * 16, [one, two]))

    assert len(set(variants)) == len(variants)
