"""Trains: runs of datagrams for one destination that a single system call can carry."""

from dataclasses import dataclass
from typing import Final

MAX_TRAIN_DATAGRAMS: Final = 64
"""Datagrams of one train: UDP_MAX_SEGMENTS of Linux."""

MAX_TRAIN_BYTES: Final = 64_000
"""Bytes of one train: an IPv4 datagram's 65,507, with room for headers."""


@dataclass(slots=True)
class Train:
    """Datagrams of one destination, all but the last of the same size.

    Args:
        buffers: The bytes of the train in order; every datagram consists of
            ``len(buffers) // count`` consecutive ones.
        segment: Bytes of each datagram but the last, which may be shorter.
        count: Datagrams.
        size: Bytes of all of them.
    """

    buffers: list[bytes]
    segment: int
    count: int
    size: int


def couple(datagrams: list[bytes]) -> list[Train]:
    """Return *datagrams* as trains, order kept."""
    trains: list[Train] = []
    train: Train | None = None
    for data in datagrams:
        size = len(data)
        if (
            train is not None
            and size <= train.segment
            and train.count < MAX_TRAIN_DATAGRAMS
            and train.size + size <= MAX_TRAIN_BYTES
        ):
            train.buffers.append(data)
            train.count += 1
            train.size += size
        else:
            train = Train([data], size, 1, size)
            trains.append(train)
        if size < train.segment:
            # A short datagram ends its train.
            train = None
    return trains


def datagrams(train: Train) -> list[bytes]:
    """Return the datagrams of *train* as the wire sees them."""
    parts = len(train.buffers) // train.count
    return [b"".join(train.buffers[at : at + parts]) for at in range(0, len(train.buffers), parts)]


def prefixed(train: Train, prefix: bytes) -> Train:
    """Return *train* with *prefix* before every datagram."""
    parts = len(train.buffers) // train.count
    buffers: list[bytes] = []
    for at in range(0, len(train.buffers), parts):
        buffers.append(prefix)
        buffers.extend(train.buffers[at : at + parts])
    extra = len(prefix)
    return Train(buffers, train.segment + extra, train.count, train.size + train.count * extra)
