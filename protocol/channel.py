"""The control channel of one link: messages as sealed records, from epoch to epoch.

Each direction changes keys on its own. The sender's last record of an epoch is KEY_UPDATE; what
follows is sealed under the epoch it switched to. A receiver opens the records of the epoch it
knows to come next as soon as KEY_UPDATE says so, even if it has not activated that epoch itself:
the committer's word and another member's first record may overtake each other (security.md,
section 3.7).
"""

from collections.abc import Callable, Iterator

from protocol import codec
from protocol.credentials import Secret
from protocol.crypto.records import (
    RecordOpener,
    RecordReader,
    RecordSealer,
    RecordType,
    TrafficClass,
    TrafficKeys,
    traffic_keys,
)
from protocol.errors import MalformedMessage, SealBroken
from protocol.messages.base import Message
from protocol.messages.member import MemberMessage

EpochKeys = Callable[[int], Secret | None]
"""Gives the key of an epoch, active or pending; None when it is not known (any more)."""


class ControlChannel:
    """Both directions of one link's control stream, without I/O.

    Args:
        me: This member's index.
        peer: The index of the member at the other end.
        link_key: From the link handshake.
        epoch: The epoch the handshake agreed on; both directions begin with it.
        epoch_keys: Where epoch keys are looked up.
    """

    def __init__(
        self, *, me: int, peer: int, link_key: Secret, epoch: int, epoch_keys: EpochKeys
    ) -> None:
        self.me = me
        self.peer = peer
        self.epoch = epoch
        """The epoch this side seals under."""
        self._link_key = link_key
        self._epoch_keys = epoch_keys
        self._reader = RecordReader()
        self._sealer = RecordSealer(self._keys(epoch, outgoing=True), epoch)
        self._receive_epoch = epoch
        self._opener: RecordOpener | None = RecordOpener(self._keys(epoch, outgoing=False), epoch)

    def seal(self, message: Message) -> bytes:
        """Return *message* as the next record to send."""
        return self._sealer.seal(RecordType.MESSAGE, codec.encode(message))

    def switch(self, epoch: int) -> bytes:
        """Return the record that ends the present epoch in this direction, and begin *epoch*.

        Nothing is returned where this direction is in *epoch*, or beyond it, already.
        """
        if epoch <= self.epoch:
            return b""
        keys = self._keys(epoch, outgoing=True)
        # The receiver needs no number: an epoch follows the one before it.
        skipped = range(self.epoch + 1, epoch)
        last = self._sealer.seal(RecordType.KEY_UPDATE, b"")
        for missed in skipped:
            last += RecordSealer(self._keys(missed, outgoing=True), missed).seal(
                RecordType.KEY_UPDATE, b""
            )
        self._sealer = RecordSealer(keys, epoch)
        self.epoch = epoch
        return last

    def receive(self, data: bytes) -> Iterator[Message]:
        """Take bytes of the stream and yield every message now complete.

        Raises:
            RemoteProtocolError: If a record or message is not what must come next; the caller
                closes the link.
        """
        for record in self._reader.feed(data):
            if self._opener is None:
                self._receive_epoch += 1
                self._opener = RecordOpener(
                    self._keys(self._receive_epoch, outgoing=False), self._receive_epoch
                )
            kind, plaintext = self._opener.open(record)
            if kind is RecordType.KEY_UPDATE:
                if plaintext:
                    raise MalformedMessage("KEY_UPDATE holds nothing")
                self._opener = None
            else:
                message: Message = codec.decode(plaintext, MemberMessage)
                yield message

    def file_keys(self, epoch: int, *, outgoing: bool) -> TrafficKeys:
        """Return the keys that file data of *epoch* is sealed under in one direction.

        Raises:
            SealBroken: If the epoch's key is not known (any more).
        """
        return self._keys(epoch, outgoing=outgoing, traffic=TrafficClass.FILE)

    def _keys(
        self, epoch: int, *, outgoing: bool, traffic: TrafficClass = TrafficClass.CONTROL
    ) -> TrafficKeys:
        epoch_key = self._epoch_keys(epoch)
        if epoch_key is None:
            raise SealBroken
        sender, receiver = (self.me, self.peer) if outgoing else (self.peer, self.me)
        return traffic_keys(
            self._link_key, epoch_key, epoch, sender=sender, receiver=receiver, traffic=traffic
        )
