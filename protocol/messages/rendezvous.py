"""What peers and the rendezvous node say to one another (node.md, section 1).

The node learns a Session ID, addresses, hashes of tokens and times; no field here can carry
a name, a password, a key of the session or content (security.md, section 3.10).

::

    peer     Hello              ->
             <- Welcome                    who the node is, and the address it sees
    member   Register           ->
             <- Registered                 repeated before it expires
    seeker   LookUp(offer)      ->
             <- LookedUp                   or Refused
    member   <- Introduce(offer)           the node keeps the seeker's offer as well
             Answer(offer)      ->
    both     <- Start(other offer)         released together, the nearer side waits
"""

import enum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.errors import NodeRefusal
from protocol.ids import NodeKey
from protocol.limits import MAX_ADDRESSES
from protocol.messages.base import Message, Value

IPV4_BYTES: Final = 4
IPV6_BYTES: Final = 16

SessionName = Annotated[str, Meta(pattern=r"^[0-9A-HJKMNP-TV-Z]{9}\Z", max_length=9)]
"""A Session ID without hyphens, nine Crockford symbols; the node does not check the last."""

Token = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""Random secret of one session and epoch; the node keeps its SHA-256 only."""

TokenHash = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""SHA-256 of a ``Token``."""

LeaseKey = Annotated[bytes, Meta(max_length=32)]
"""Random secret of 32 bytes that authorises the next change of the token, or empty."""

LeaseKeyHash = Annotated[bytes, Meta(max_length=32)]
"""SHA-256 of a ``LeaseKey``, or empty."""

Lease = Annotated[bytes, Meta(max_length=256)]
"""The node's signed memory of a registration, opaque to its holder (security.md, T6)."""

RequestId = Annotated[int, Meta(ge=0, le=2**32 - 1)]
"""Chosen by who asks, repeated in the answer."""

IntroductionId = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""Random name of the introduction of one seeker to one member."""

Certificate = Annotated[bytes, Meta(max_length=3500)]
"""One certificate, DER; four of them fit a frame."""

Handle = Annotated[bytes, Meta(min_length=8, max_length=8)]
"""Random name of a member that rests."""

Generation = Annotated[int, Meta(ge=0, le=2**16 - 1)]
"""Counts the offers of one peer; a change of network makes a new one (network.md, 6.6)."""

Seconds = Annotated[int, Meta(ge=0, le=86_400)]
Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]
Port = Annotated[int, Meta(ge=1, le=65_535)]


class Address(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """An IP address and a UDP port, as packed bytes: 4 of IPv4 or 16 of IPv6."""

    host: Annotated[bytes, Meta(min_length=IPV4_BYTES, max_length=IPV6_BYTES)]
    port: Port

    def __post_init__(self) -> None:
        if len(self.host) not in {IPV4_BYTES, IPV6_BYTES}:
            raise ValueError("an address has 4 or 16 bytes")


class AddressKind(enum.StrEnum):
    """Where a candidate address comes from, the likeliest to be fast first."""

    HOST = "host"
    """An interface of the machine itself."""
    MAPPED = "mapped"
    """A port the router opened on request."""
    REFLEXIVE = "reflexive"
    """What others see of the socket the offer is about."""


class OfferedAddress(Value):
    """One candidate address of an offer and where it comes from."""

    kind: AddressKind
    address: Address


class NatHint(Value):
    """What a peer found out about its own NAT, in the words of RFC 4787."""

    mapping: Literal["eim", "adm", "apdm", "unknown"] = "unknown"
    filtering: Literal["eif", "adf", "apdf", "unknown"] = "unknown"
    step: Annotated[int, Meta(ge=-1024, le=1024)] = 0
    """Ports from one mapping to the next; 0 where they cannot be predicted."""
    block: bool = False
    """Whether all mappings stay inside one small block of ports."""


class Offer(Value):
    """How one peer can be reached now, and the key its probes are sealed with."""

    generation: Generation
    tag: Annotated[bytes, Meta(min_length=4, max_length=4)]
    """Random; probes to this peer carry it in clear (network.md, section 6.4)."""
    probe_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """Ephemeral X25519 public key."""
    addresses: Annotated[tuple[OfferedAddress, ...], Meta(max_length=MAX_ADDRESSES)] = ()
    nat: NatHint | None = None
    round_trip: Milliseconds = 0
    """To the node, as the peer measured it; the node lets the nearer side wait."""


class Hello(Message, tag="rv.hello"):
    """Peer to node, first: asks to be served."""

    version: Annotated[int, Meta(ge=1, le=255)]
    access: Annotated[str, Meta(max_length=64)] = ""
    """The access token of a private node; empty for an open one."""


class Welcome(Message, tag="rv.welcome"):
    """Node to peer: served; proves which node this is on this very connection."""

    version: Annotated[int, Meta(ge=1, le=255)]
    observed: Address
    """The peer's address as the node sees it."""
    node_key: NodeKey
    proof: Annotated[bytes, Meta(min_length=64, max_length=64)]
    """Ed25519 signature over the exporter of the connection (security.md, D6)."""
    chain: Annotated[tuple[Certificate, ...], Meta(max_length=4)] = ()
    """Certificates of a public authority, DER, the node's own first; mostly none."""
    chain_proof: Annotated[bytes, Meta(max_length=512)] = b""
    """Signature of the certified key over the exporter (``crypto.node_certificate``)."""


class Register(Message, tag="rv.register"):
    """Member to node: we are a member of this session, introduce those who ask for it."""

    request_id: RequestId
    session_id: SessionName
    token: Token
    lease: Lease = b""
    """What the node last returned, so that it may forget and be told again."""
    create: bool = False
    """Whether the session is new: an ID in use is then TAKEN, not a wrong token."""
    listening: bool = True
    """Whether to be asked about seekers; a locked session answers like an unknown one."""
    lease_key: LeaseKey = b""
    """Shown by its keeper only, as a sign that it is there."""
    lease_key_hash: LeaseKeyHash = b""
    """With a new session: what the first change of the token will have to match."""


class Registered(Message, tag="rv.registered"):
    """Node to member: registered, for so long."""

    request_id: RequestId
    expires_in: Seconds
    refresh_in: Seconds
    """When to register again at the latest."""
    lease: Lease


class Rotate(Message, tag="rv.rotate"):
    """Member to node: from now on another token counts, so that who left is locked out.

    The others' connections count as lost until they register with the new token.
    """

    request_id: RequestId
    session_id: SessionName
    token: Token
    """The token in force."""
    new_token_hash: TokenHash
    new_epoch: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """The session's epoch the new token belongs to; it only grows."""
    lease_key: LeaseKey = b""
    """The key whose hash came with the token in force. Without it the node waits until the
    keeper has been silent for three minutes, for a former member has the token, too."""
    new_lease_key_hash: LeaseKeyHash = b""
    """What the next change of the token will have to match."""


class Unregister(Message, tag="rv.unregister"):
    """Member to node: we leave; the session is forgotten with its last member."""

    session_id: SessionName


class Rest(Message, tag="rv.rest"):
    """Member to node: nothing to say; keep us registered without a connection."""

    request_id: RequestId


class Resting(Message, tag="rv.resting"):
    """Node to member: done; close, and send a datagram as often (``protocol.idle``)."""

    request_id: RequestId
    handle: Handle
    interval: Seconds


class Resume(Message, tag="rv.resume"):
    """Member to node, on a new connection: it was us that rested."""

    request_id: RequestId
    handle: Handle
    proof: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """HMAC-SHA-256 over the exporter of this connection, keyed by that of the former."""


class Resumed(Message, tag="rv.resumed"):
    """Node to member: registered as before; what was held for it follows."""

    request_id: RequestId


class LookUp(Message, tag="rv.look_up"):
    """Seeker to node: introduce us to members of this session."""

    request_id: RequestId
    session_id: SessionName
    offer: Offer


class LookedUp(Message, tag="rv.looked_up"):
    """Node to seeker: members were asked; a ``Start`` follows for each that answers."""

    request_id: RequestId
    members: Annotated[int, Meta(ge=1, le=5)]
    expires_in: Seconds
    """How long the node waits for their answers."""


class Introduce(Message, tag="rv.introduce"):
    """Node to member: somebody asks for the session; answer with an offer to meet them."""

    introduction_id: IntroductionId
    session_id: SessionName
    offer: Offer


class Answer(Message, tag="rv.answer"):
    """Member to node: our offer for this introduction, or None to decline."""

    introduction_id: IntroductionId
    offer: Offer | None


class Start(Message, tag="rv.start"):
    """Node to both sides: begin to open the path towards this offer."""

    introduction_id: IntroductionId
    request_id: RequestId | None = None
    """The look-up it answers; None towards the member."""
    offer: Offer
    observed: Address
    """Our own address as the other side was told it."""
    delay: Milliseconds = 0
    """Wait so long first: half the difference of the two round trips (network.md, 6.3)."""


class Refused(Message, tag="rv.refused"):
    """Node to peer: a request is declined."""

    request_id: RequestId | None = None
    """Which one; None for the ``Hello``."""
    reason: NodeRefusal
    retry_after: Seconds = 0


class KeepAlive(Message, tag="rv.keep_alive"):
    """Either way: nothing to say; the node repeats it."""

    nonce: RequestId


PeerMessage = (
    Hello | Register | Rotate | Unregister | Rest | Resume | LookUp | Answer | KeepAlive
)  # fmt: skip
"""What a peer may send to the node."""

NodeMessage = (
    Welcome | Registered | Resting | Resumed | LookedUp | Introduce | Start | Refused | KeepAlive
)  # fmt: skip
"""What the node may send to a peer."""
