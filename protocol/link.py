"""The handshake of every link between two members, and of every reconnection.

Both sides run through the same states, the dialler one frame ahead::

    IDLE -start-> HELLO -LINK_HELLO-> PROOF -LINK_PROOF-> UP
                    |                   |
                    +---- deadline -----+-----------------> CLOSED

    dialler                         listener
       | L1  LINK_HELLO ---------------> |   says its epoch, which the listener takes or refuses
       | <--------------- LINK_HELLO  L2 |
       | L3  LINK_PROOF ---------------> |   UP
    UP | <--------------- LINK_PROOF  L4 |

It proves the key of the epoch (the group), the node key of exactly that roster entry (the
member), this TLS connection (the exporter), and the same roster (security.md, 3.6). The
listener answers instead of speaking at once: only so do both end on one epoch.
"""

import abc
import enum
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import nacl.bindings
import nacl.exceptions

from protocol import limits
from protocol.credentials import Secret
from protocol.crypto import identity
from protocol.crypto.identity import NodeIdentity
from protocol.crypto.transcript import digest, expand, extract, lv, number, unlv, unnumber
from protocol.errors import MalformedMessage, RemoteProtocolError, SealBroken
from protocol.handshake import FrameType, Handshake

NONCE_SIZE: Final = 32
SHARE_SIZE: Final = 32
_DIALLER: Final = b"D"
_LISTENER: Final = b"L"


class LinkState(enum.Enum):
    """States of either side; the drawing above shows them."""

    IDLE = enum.auto()
    HELLO = enum.auto()
    PROOF = enum.auto()
    UP = enum.auto()
    CLOSED = enum.auto()


TRANSITIONS: Final[Mapping[tuple[LinkState, FrameType], LinkState]] = {
    (LinkState.HELLO, FrameType.LINK_HELLO): LinkState.PROOF,
    (LinkState.PROOF, FrameType.LINK_PROOF): LinkState.UP,
}


class EpochSecrets(NamedTuple):
    """What a member must know of an epoch to link in it."""

    epoch_key: Secret
    roster_hash: bytes


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The other side is who it says; records may follow.

    Args:
        peer_index: Its member index.
        epoch: The epoch both sides are in.
        link_key: The key of this link, needed for every key of its traffic.
    """

    peer_index: int
    epoch: int
    link_key: Secret


@dataclass(frozen=True, slots=True)
class LinkTimedOut:
    """The other side did not prove itself within 10 seconds; the owner closes the connection."""


LinkEvent = LinkUp | LinkTimedOut


class _Hello(NamedTuple):
    """The content of L1 or L2."""

    role: bytes
    epoch: int
    sender: int
    receiver: int
    roster_hash: bytes
    nonce: bytes
    share: bytes

    def encode(self) -> bytes:
        return lv(
            self.role,
            number(self.epoch, 8),
            number(self.sender, 1),
            number(self.receiver, 1),
            self.roster_hash,
            self.nonce,
            self.share,
        )

    @classmethod
    def decode(cls, data: bytes) -> "_Hello":
        role, epoch, sender, receiver, roster_hash, nonce, share = unlv(data, 7)
        if len(nonce) != NONCE_SIZE or len(share) != SHARE_SIZE:
            raise MalformedMessage("hello")
        return cls(
            role,
            unnumber(epoch, 8),
            unnumber(sender, 1),
            unnumber(receiver, 1),
            roster_hash,
            nonce,
            share,
        )


class _Link(Handshake[LinkState, LinkEvent]):
    """What both sides of a link do alike."""

    _role: bytes
    _peer_role: bytes

    def __init__(
        self,
        *,
        epochs: Mapping[int, EpochSecrets],
        roster: Mapping[int, bytes],
        own_index: int,
        node: NodeIdentity,
        exporter: bytes,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(LinkState.IDLE, LinkState.CLOSED, TRANSITIONS)
        self._epochs = epochs
        self._roster = roster
        self._own_index = own_index
        self._node = node
        self._exporter = exporter
        self._random_bytes = random_bytes
        self._scalar = b""
        self._peer_index = -1
        self._epoch = 0
        self._transcript = b""
        self._link_key = Secret(b"")

    def start(self, *, now: float) -> None:
        """Begin; the other side must have proved itself 10 seconds later."""
        self._require(LinkState.IDLE)
        self.state = LinkState.HELLO
        self._deadline = now + limits.STEP_TIMEOUT
        self._begin()

    def handle_timer(self, *, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._close()
            self._events.append(LinkTimedOut())

    @abc.abstractmethod
    def _begin(self) -> None:
        """Act on the start."""

    @abc.abstractmethod
    def _receive_hello(self, body: bytes) -> None:
        """Act on the other side's hello."""

    def _receive(self, kind: FrameType, body: bytes, now: float) -> None:  # noqa: ARG002  # one deadline
        if kind is FrameType.LINK_HELLO:
            self._receive_hello(body)
        else:
            self._receive_proof(body)

    def _send_hello(self) -> bytes:
        """Send a hello to the peer for the epoch; return its body."""
        self._scalar = self._random_bytes(SHARE_SIZE)
        body = _Hello(
            self._role,
            self._epoch,
            self._own_index,
            self._peer_index,
            self._epochs[self._epoch].roster_hash,
            self._random_bytes(NONCE_SIZE),
            nacl.bindings.crypto_scalarmult_base(self._scalar),
        ).encode()
        self._send(FrameType.LINK_HELLO, body)
        return body

    def _read_hello(self, body: bytes) -> _Hello:
        """Return the other side's hello, after all that does not need the peer's index."""
        hello = _Hello.decode(body)
        secrets = self._epochs.get(hello.epoch)
        if hello.role != self._peer_role or hello.receiver != self._own_index or secrets is None:
            raise RemoteProtocolError("a hello for somebody else, or of an epoch not known here")
        if not hmac.compare_digest(hello.roster_hash, secrets.roster_hash):
            raise RemoteProtocolError("another roster")
        if hello.sender == self._own_index or hello.sender not in self._roster:
            raise RemoteProtocolError("no other member")
        return hello

    def _agree(self, l1: bytes, l2: bytes, share: bytes) -> None:
        """Derive the link key from both hellos and the other side's *share*."""
        try:
            secret = nacl.bindings.crypto_scalarmult(self._scalar, share)
        except nacl.exceptions.RuntimeError:
            # A point of small order: the result would not depend on us.
            raise SealBroken from None
        self._scalar = b""
        self._transcript = digest(b"link", l1, l2, self._exporter)
        psk = expand(self._epochs[self._epoch].epoch_key.reveal(), b"link psk")
        self._link_key = Secret(extract(self._transcript, lv(secret, self._exporter, psk)))

    def _confirmation(self, role: bytes) -> bytes:
        key = expand(self._link_key.reveal(), lv(b"confirm", role))
        return hmac.digest(key, self._transcript, "sha256")

    def _send_proof(self) -> None:
        signature = self._node.sign(identity.LINK, self._role, self._transcript)
        self._send(FrameType.LINK_PROOF, lv(signature, self._confirmation(self._role)))

    def _receive_proof(self, body: bytes) -> None:
        signature, confirmation = unlv(body, 2)
        if not hmac.compare_digest(confirmation, self._confirmation(self._peer_role)):
            raise SealBroken
        node_key = self._roster[self._peer_index]
        identity.verify(node_key, signature, identity.LINK, self._peer_role, self._transcript)
        if self._role == _LISTENER:
            self._send_proof()
        self._deadline = None
        self._events.append(LinkUp(self._peer_index, self._epoch, self._link_key))
        self._link_key = Secret(b"")

    def _close(self) -> None:
        super()._close()
        self._scalar = b""
        self._link_key = Secret(b"")


class LinkDialler(_Link):
    """The side that opened the stream of the handshake.

    Args:
        peer_index: The member it expects at the other end.
        epoch: The epoch it is in.
        epochs: Secrets of every epoch this member may link in: the active one, a pending one,
            and the one before while it is kept.
        roster: The node key of every member, by index.
        own_index: This member's index.
        node: This device's identity.
        exporter: The connection's exporter for links, after its handshake completed.
        random_bytes: Source of random bytes.
    """

    _role = _DIALLER
    _peer_role = _LISTENER

    def __init__(
        self,
        *,
        peer_index: int,
        epoch: int,
        epochs: Mapping[int, EpochSecrets],
        roster: Mapping[int, bytes],
        own_index: int,
        node: NodeIdentity,
        exporter: bytes,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(
            epochs=epochs,
            roster=roster,
            own_index=own_index,
            node=node,
            exporter=exporter,
            random_bytes=random_bytes,
        )
        self._peer_index = peer_index
        self._epoch = epoch
        self._l1 = b""

    def _begin(self) -> None:
        self._l1 = self._send_hello()

    def _receive_hello(self, body: bytes) -> None:
        hello = self._read_hello(body)
        if (hello.sender, hello.epoch) != (self._peer_index, self._epoch):
            raise RemoteProtocolError("another member, or another epoch")
        self._agree(self._l1, body, hello.share)
        self._send_proof()


class LinkListener(_Link):
    """The side that accepted the stream; it learns from L1 who dials, and in which epoch.

    Args:
        epochs: As for the dialler.
        roster: The node key of every member, by index.
        own_index: This member's index.
        node: This device's identity.
        exporter: The connection's exporter for links, after its handshake completed.
        random_bytes: Source of random bytes.
    """

    _role = _LISTENER
    _peer_role = _DIALLER

    def _begin(self) -> None:
        # The dialler speaks first.
        pass

    def _receive_hello(self, body: bytes) -> None:
        hello = self._read_hello(body)
        self._peer_index, self._epoch = hello.sender, hello.epoch
        l2 = self._send_hello()
        self._agree(body, l2, hello.share)
