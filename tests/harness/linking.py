"""Two members that link, and a wire between them that may lie."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.errors import RemoteProtocolError
from protocol.handshake import Frame
from protocol.link import EpochSecrets, LinkDialler, LinkEvent, LinkListener
from tests.harness.joining import counting

NODES: Final = [NodeIdentity(Secret(bytes([i + 1]) * 32)) for i in range(3)]
ROSTER: Final = {index: node.node_key for index, node in enumerate(NODES)}
EPOCHS: Final = {
    4: EpochSecrets(Secret(b"4" * 32), b"r" * 32),
    5: EpochSecrets(Secret(b"5" * 32), b"s" * 32),
}
EXPORTER: Final = b"x" * 32


def dialler(
    *,
    own: int = 0,
    peer: int = 1,
    node: NodeIdentity = NODES[0],
    epoch: int = 4,
    epochs: Mapping[int, EpochSecrets] = EPOCHS,
    exporter: bytes = EXPORTER,
    seed: str = "dialler",
) -> LinkDialler:
    return LinkDialler(
        peer_index=peer,
        epoch=epoch,
        epochs=epochs,
        roster=ROSTER,
        own_index=own,
        node=node,
        exporter=exporter,
        random_bytes=counting(seed),
    )


def listener(
    *,
    own: int = 1,
    node: NodeIdentity = NODES[1],
    epochs: Mapping[int, EpochSecrets] = EPOCHS,
    exporter: bytes = EXPORTER,
    seed: str = "listener",
) -> LinkListener:
    return LinkListener(
        epochs=epochs,
        roster=ROSTER,
        own_index=own,
        node=node,
        exporter=exporter,
        random_bytes=counting(seed),
    )


@dataclass
class LinkRun:
    """One link handshake on a wire that *tamper* may change.

    Attributes:
        frames: Every frame as it was sent: L1 to L4.
        events: What the dialler, and what the listener, reported.
        broken: The error that ended it, if one did.
    """

    dialler: LinkDialler
    listener: LinkListener
    tamper: Callable[[int, Frame], Frame] = lambda _, frame: frame
    frames: list[Frame] = field(default_factory=list)
    events: tuple[list[LinkEvent], list[LinkEvent]] = field(default_factory=lambda: ([], []))
    broken: RemoteProtocolError | None = None

    def drive(self) -> "LinkRun":
        self.dialler.start(now=0.0)
        self.listener.start(now=0.0)
        sides: list[LinkDialler | LinkListener] = [self.dialler, self.listener]
        try:
            for place in range(4):
                source, target = sides[place % 2], sides[1 - place % 2]
                for frame in source.messages_to_send():
                    self.frames.append(frame)
                    target.receive_message(self.tamper(place, frame), now=0.0)
        except RemoteProtocolError as error:
            self.broken = error
        for side, events in zip(sides, self.events, strict=True):
            while (event := side.next_event()) is not None:
                events.append(event)
        return self
