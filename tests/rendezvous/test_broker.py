import hashlib
import itertools
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.address import from_sockaddr
from protocol.codec import decode, encode
from protocol.crypto.node_proof import prove
from protocol.errors import CloseCode, NodeRefusal
from protocol.idle import Wish, keys_of, seal_question
from protocol.limits import MAX_ADDRESSES, STEP_TIMEOUT
from protocol.messages.rendezvous import (
    Address,
    AddressKind,
    Answer,
    Hello,
    Introduce,
    KeepAlive,
    LookedUp,
    LookUp,
    NatHint,
    Offer,
    OfferedAddress,
    PeerMessage,
    Refused,
    Register,
    Registered,
    Rest,
    Resume,
    Resumed,
    Rotate,
    Start,
    Unregister,
    Welcome,
)
from protocol.versions import RENDEZVOUS_VERSION
from rendezvous.broker import (
    KEEPALIVE_INTERVAL,
    MAX_SESSIONS_PER_CONNECTION,
    Broker,
    Limits,
)
from rendezvous.events import (
    ConnectionRefused,
    Event,
    IntroductionEnded,
    MemberRests,
    MemberWoke,
    Outcome,
    RequestRefused,
    SessionEnded,
    SessionOpened,
)
from rendezvous.introductions import INTRODUCED_MEMBERS, MAX_BARRIER, MAX_PENDING_PER_SESSION
from rendezvous.quota import Rate
from rendezvous.registry import (
    REGISTRATION_LIFETIME,
    SESSION_BYTES,
    Leases,
    Registry,
    token_hash,
)
from rendezvous.resting import SILENT_INTERVALS

SESSION = "ABCDEFGHJ"
TOKEN = b"t" * 32
MEMBER, SEEKER = 1, 100
GENEROUS = Rate(1e6, 1e6)


def sign(message: bytes) -> bytes:
    return hashlib.sha512(message).digest()


def numbered_bytes() -> Iterator[bytes]:
    return (hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in itertools.count())


class Node:
    """A broker with its outputs sorted by connection."""

    def __init__(self, limits: Limits | None = None, max_sessions: int = 100) -> None:
        leases = Leases(lambda message: bytes(64), lambda message, signature: True, 0.0)
        random = numbered_bytes()
        self.now = 0.0
        self.broker = Broker(
            Registry(leases, max_sessions=max_sessions),
            limits or Limits(look_ups=GENEROUS, registrations=GENEROUS),
            node_key=b"k" * 32,
            sign=sign,
            random_bytes=lambda size: next(random)[:size],
        )

    def connect(self, connection: int, host: str | None = None) -> None:
        host = host or f"10.0.0.{connection}"
        source = from_sockaddr((host, 4000))
        self.broker.connected(connection, source, b"exporter", now=self.now)

    def say(self, connection: int, message: PeerMessage) -> dict[int, list[Any]]:
        self.broker.receive_message(connection, message, now=self.now)
        return self.heard()

    def heard(self) -> dict[int, list[Any]]:
        messages: dict[int, list[Any]] = {}
        for connection, message in self.broker.messages_to_send():
            messages.setdefault(connection, []).append(message)
        return messages

    def events(self) -> list[Event]:
        return list(iter(self.broker.next_event, None))

    def join(self, connection: int, host: str | None = None) -> None:
        """Connect and greet."""
        self.connect(connection, host)
        self.say(connection, Hello(version=RENDEZVOUS_VERSION))

    def member(self, connection: int = MEMBER, session: str = SESSION) -> None:
        """Connect, greet and register."""
        self.join(connection)
        self.say(connection, Register(request_id=1, session_id=session, token=TOKEN))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.broker.handle_timer(now=self.now)


@pytest.fixture
def node() -> Node:
    """A node with one session of one member, and one seeker that has greeted."""
    node = Node()
    node.member()
    node.join(SEEKER)
    node.events()
    return node


def offer(round_trip: int = 0, name: bytes = b"tag!") -> Offer:
    return Offer(generation=1, tag=name, probe_key=name * 8, round_trip=round_trip)


def look_up(session: str = SESSION, **fields: Any) -> LookUp:
    return LookUp(request_id=7, session_id=session, offer=offer(**fields))


def observed(connection: int) -> Address:
    return from_sockaddr((f"10.0.0.{connection}", 4000))


def introduced(node: Node, **fields: Any) -> bytes:
    """Let the seeker look up and return the introduction's name as the member heard it."""
    heard = node.say(SEEKER, look_up(**fields))
    name: bytes = heard[MEMBER][0].introduction_id
    return name


# --- greeting --------------------------------------------------------------------------


def test_the_node_greets_with_address_and_proof() -> None:
    """The proof binds the node's key to this very connection."""
    node = Node()
    node.connect(1, "192.0.2.9")

    heard = node.say(1, Hello(version=RENDEZVOUS_VERSION))

    welcome = heard[1][0]
    assert isinstance(welcome, Welcome)
    assert welcome.observed == from_sockaddr(("192.0.2.9", 4000))
    assert welcome.proof == prove(b"exporter", sign)


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (Hello(version=255, access="let me in"), NodeRefusal.VERSION),
        (Hello(version=RENDEZVOUS_VERSION), NodeRefusal.ACCESS),
        (Hello(version=RENDEZVOUS_VERSION, access="let me im"), NodeRefusal.ACCESS),
    ],
)
def test_who_may_not_come_in_is_told_why_and_closed(hello: Hello, reason: NodeRefusal) -> None:
    """The reason first, the end of the connection after it."""
    node = Node(Limits(access=frozenset({"let me in"})))
    node.connect(1)

    heard = node.say(1, hello)

    assert heard == {1: [Refused(reason=reason)]}
    assert node.events() == [
        RequestRefused("Hello", reason),
        ConnectionRefused(1, CloseCode.REFUSED),
    ]
    assert node.say(1, hello) == {}, "nothing more is taken from it"


def test_a_private_node_serves_who_shows_its_token() -> None:
    """It is carried in invitations."""
    node = Node(Limits(access=frozenset({"let me in"})))
    node.connect(1)

    heard = node.say(1, Hello(version=RENDEZVOUS_VERSION, access="let me in"))

    assert isinstance(heard[1][0], Welcome)


def test_a_message_before_the_greeting_closes_the_connection() -> None:
    """And so does a second greeting."""
    node = Node()
    node.connect(1)
    node.join(2)

    node.say(1, KeepAlive(nonce=1))
    node.say(2, Hello(version=RENDEZVOUS_VERSION))

    assert node.events() == [
        ConnectionRefused(1, CloseCode.PROTOCOL),
        ConnectionRefused(2, CloseCode.PROTOCOL),
    ]


def test_a_connection_that_does_not_greet_is_closed() -> None:
    """Ten seconds, per connection (T23); who greeted stays."""
    node = Node()
    node.join(1)
    node.connect(2)
    node.now = 5.0
    node.connect(3)

    timer = node.broker.get_timer()
    node.now = 0.0
    node.wait(STEP_TIMEOUT)

    assert timer == STEP_TIMEOUT
    assert node.events() == [ConnectionRefused(2, CloseCode.TIMEOUT)]
    assert node.broker.get_timer() == 5.0 + STEP_TIMEOUT


def test_an_idle_node_has_no_timer() -> None:
    """Nothing to wait for."""
    node = Node()
    node.wait(1000)

    assert node.broker.get_timer() is None


def test_a_keepalive_is_repeated(node: Node) -> None:
    """The peer learns that its path lives."""
    assert node.say(MEMBER, KeepAlive(nonce=5)) == {MEMBER: [KeepAlive(nonce=5)]}


# --- sessions -----------------------------------------------------------------------------


def test_a_session_is_registered_once_and_refreshed(node: Node) -> None:
    """Only the first registration opens it."""
    register = Register(request_id=3, session_id="000000000", token=TOKEN, create=True)

    heard = [node.say(MEMBER, register)[MEMBER][0] for _ in range(2)]

    assert all(isinstance(each, Registered) for each in heard)
    assert (heard[0].request_id, heard[0].expires_in, heard[0].refresh_in) == (3, 600, 120)
    assert node.events() == [SessionOpened()]
    assert (node.broker.sessions, node.broker.members) == (2, 2)


def test_an_id_in_use_is_refused(node: Node) -> None:
    """The creator draws another one."""
    register = Register(request_id=3, session_id=SESSION, token=b"x" * 32, create=True)

    heard = node.say(SEEKER, register)

    assert heard[SEEKER] == [Refused(request_id=3, reason=NodeRefusal.TAKEN)]


def test_a_session_nobody_refreshes_expires(node: Node) -> None:
    """The timer says when."""
    timer = node.broker.get_timer()

    node.wait(REGISTRATION_LIFETIME)

    assert timer == REGISTRATION_LIFETIME
    assert node.events() == [SessionEnded(expired=True)]
    assert node.say(SEEKER, look_up())[SEEKER][0].reason is NodeRefusal.NOT_FOUND


def test_a_session_ends_with_its_last_member(node: Node) -> None:
    """Leaving twice says nothing more."""
    node.say(MEMBER, Unregister(session_id=SESSION))
    node.say(MEMBER, Unregister(session_id=SESSION))

    assert node.events() == [SessionEnded(expired=False)]


def test_a_rotated_token_counts(node: Node) -> None:
    """Who has only the old one is refused (T6)."""
    rotate = Rotate(
        request_id=4,
        session_id=SESSION,
        token=TOKEN,
        new_token_hash=token_hash(b"n" * 32),
        new_epoch=2,
    )

    rotated = node.say(MEMBER, rotate)
    refused = node.say(SEEKER, Register(request_id=5, session_id=SESSION, token=TOKEN))

    assert isinstance(rotated[MEMBER][0], Registered)
    assert refused[SEEKER][0].reason is NodeRefusal.BAD_TOKEN


def test_one_connection_registers_few_sessions(node: Node) -> None:
    """Memory per connection is bounded."""
    answers = [
        node.say(MEMBER, Register(request_id=n, session_id=f"00000000{n}", token=TOKEN))[MEMBER][0]
        for n in range(MAX_SESSIONS_PER_CONNECTION)
    ]

    assert [type(each) for each in answers[:-1]] == [Registered] * 3
    assert answers[-1].reason is NodeRefusal.BAD_REQUEST


def test_a_full_node_says_so_and_serves_on(node: Node) -> None:
    """T25."""
    full = Node(max_sessions=1)
    full.member(1)
    full.join(2)

    refused = full.say(2, Register(request_id=1, session_id="000000000", token=TOKEN))
    refreshed = full.say(1, Register(request_id=2, session_id=SESSION, token=TOKEN))

    assert refused[2][0].reason is NodeRefusal.FULL
    assert isinstance(refreshed[1][0], Registered)


# --- introductions ----------------------------------------------------------------------------


def test_both_sides_start_together_with_the_others_offer(node: Node) -> None:
    """The node holds the seeker's offer until the member's is there."""
    looked_up = node.say(SEEKER, look_up(name=b"seek"))
    introduce = looked_up[MEMBER][0]
    started = node.say(
        MEMBER, Answer(introduction_id=introduce.introduction_id, offer=offer(name=b"memb"))
    )

    assert looked_up[SEEKER] == [LookedUp(request_id=7, members=1, expires_in=10)]
    assert isinstance(introduce, Introduce)
    assert (introduce.session_id, introduce.offer.tag) == (SESSION, b"seek")
    (to_seeker,), (to_member,) = started[SEEKER], started[MEMBER]
    assert isinstance(to_seeker, Start)
    assert isinstance(to_member, Start)
    assert (to_seeker.offer.tag, to_member.offer.tag) == (b"memb", b"seek")
    assert (to_seeker.request_id, to_member.request_id) == (7, None)
    assert (to_seeker.observed, to_member.observed) == (observed(SEEKER), observed(MEMBER))
    assert node.events() == [IntroductionEnded(Outcome.STARTED, 0.0)]


@pytest.mark.parametrize(
    ("seeker", "member", "delays"),
    [(20, 100, (40, 0)), (100, 20, (0, 40)), (30, 30, (0, 0)), (0, 60_000, (MAX_BARRIER, 0))],
)
def test_the_nearer_side_waits_half_the_difference(
    node: Node, seeker: int, member: int, delays: tuple[int, int]
) -> None:
    """Both first packets then leave at the same moment (network.md, 6.3)."""
    name = introduced(node, round_trip=seeker)

    started = node.say(MEMBER, Answer(introduction_id=name, offer=offer(round_trip=member)))

    assert (started[SEEKER][0].delay, started[MEMBER][0].delay) == delays


def test_offers_are_vetted_on_their_way(node: Node) -> None:
    """Each side hears where the other really is, and nothing it must not be sent to."""
    bad = OfferedAddress(kind=AddressKind.HOST, address=from_sockaddr(("127.0.0.1", 1)))
    bad_offer = Offer(generation=1, tag=b"tag!", probe_key=bytes(32), addresses=(bad,))

    introduce = node.say(SEEKER, LookUp(request_id=7, session_id=SESSION, offer=bad_offer))[MEMBER][
        0
    ]
    started = node.say(MEMBER, Answer(introduction_id=introduce.introduction_id, offer=bad_offer))

    assert [each.address for each in introduce.offer.addresses] == [observed(SEEKER)]
    assert [each.address for each in started[SEEKER][0].offer.addresses] == [observed(MEMBER)]


def test_a_peer_that_moved_is_observed_where_it_is_now(node: Node) -> None:
    """And a move of an unknown connection is no matter."""
    node.broker.moved(SEEKER, from_sockaddr(("10.9.9.9", 1)))
    node.broker.moved(999, from_sockaddr(("10.9.9.9", 1)))

    introduce = node.say(SEEKER, look_up())[MEMBER][0]

    assert introduce.offer.addresses[0].address == from_sockaddr(("10.9.9.9", 1))


def test_the_most_recent_members_are_asked() -> None:
    """Three of five; the seeker starts with each that answers."""
    node = Node()
    for connection in range(1, 6):
        node.member(connection)
    node.join(SEEKER)

    heard = node.say(SEEKER, look_up())
    asked = {each: heard[each][0].introduction_id for each in heard if each != SEEKER}
    for member, name in asked.items():
        node.say(member, Answer(introduction_id=name, offer=offer()))

    assert heard[SEEKER][0].members == INTRODUCED_MEMBERS
    assert set(asked) == {5, 4, 3}
    assert [each.outcome for each in node.events() if isinstance(each, IntroductionEnded)] == [
        Outcome.STARTED
    ] * 3


def test_a_member_is_not_introduced_to_itself(node: Node) -> None:
    """Alone in its session, it finds nobody."""
    heard = node.say(MEMBER, look_up())

    assert heard == {MEMBER: [Refused(request_id=7, reason=NodeRefusal.NOT_FOUND)]}


def test_unknown_and_locked_sessions_answer_alike() -> None:
    """Nobody learns whether an ID is in use (T5)."""
    node = Node()
    node.join(MEMBER)
    register = Register(request_id=1, session_id=SESSION, token=TOKEN, listening=False)
    node.say(MEMBER, register)
    node.join(SEEKER)

    locked = node.say(SEEKER, look_up())
    unknown = node.say(SEEKER, look_up("000000000"))

    assert locked == unknown == {SEEKER: [Refused(request_id=7, reason=NodeRefusal.NOT_FOUND)]}


def test_when_all_members_decline_the_session_is_as_good_as_unknown(node: Node) -> None:
    """The seeker hears of it once, after the last."""
    node.member(2)
    heard = node.say(SEEKER, look_up())
    names = {each: heard[each][0].introduction_id for each in (MEMBER, 2)}

    first = node.say(MEMBER, Answer(introduction_id=names[MEMBER], offer=None))
    last = node.say(2, Answer(introduction_id=names[2], offer=None))

    assert first == {}
    assert last == {SEEKER: [Refused(request_id=7, reason=NodeRefusal.NOT_FOUND)]}


def test_one_answer_is_enough(node: Node) -> None:
    """The silence of another member is not reported after a start."""
    node.member(2)
    heard = node.say(SEEKER, look_up())
    node.say(MEMBER, Answer(introduction_id=heard[MEMBER][0].introduction_id, offer=offer()))

    node.wait(STEP_TIMEOUT)

    assert node.heard() == {}


def test_an_unanswered_introduction_ends_after_ten_seconds(node: Node) -> None:
    """A late answer starts nothing."""
    name = introduced(node)
    timer = node.broker.get_timer()
    node.wait(STEP_TIMEOUT - 1)
    early = node.heard()
    node.wait(1)

    assert timer == STEP_TIMEOUT
    assert early == {}
    assert node.heard() == {SEEKER: [Refused(request_id=7, reason=NodeRefusal.NOT_FOUND)]}
    assert node.say(MEMBER, Answer(introduction_id=name, offer=offer())) == {}


def test_only_the_member_asked_can_answer(node: Node) -> None:
    """An introduction's name alone moves nothing."""
    name = introduced(node)
    node.join(3)

    assert node.say(3, Answer(introduction_id=name, offer=offer())) == {}
    assert SEEKER in node.say(MEMBER, Answer(introduction_id=name, offer=offer()))


def test_introductions_end_when_a_side_goes(node: Node) -> None:
    """The seeker is told when the member goes, and nobody when the seeker does."""
    introduced(node)
    node.broker.disconnected(MEMBER, now=1.0)
    told = node.heard()
    node.member(2)
    heard = node.say(SEEKER, look_up())
    node.broker.disconnected(SEEKER, now=2.0)
    node.broker.disconnected(SEEKER, now=2.0)

    assert told[SEEKER] == [Refused(request_id=7, reason=NodeRefusal.NOT_FOUND)]
    assert node.heard() == {}
    answer = Answer(introduction_id=heard[2][0].introduction_id, offer=offer())
    assert node.say(2, answer) == {}


def test_a_member_that_lost_its_connection_takes_its_session_back(node: Node) -> None:
    """Nothing is forgotten in between."""
    node.broker.disconnected(MEMBER, now=1.0)
    away = node.say(SEEKER, look_up())
    node.member(2)

    assert away[SEEKER][0].reason is NodeRefusal.NOT_FOUND
    assert 2 in node.say(SEEKER, look_up())


def test_a_session_has_ten_seekers_at_a_time(node: Node) -> None:
    """The eleventh comes again later; an ended one makes room (T7)."""
    names = [introduced(node) for _ in range(MAX_PENDING_PER_SESSION)]

    refused = node.say(SEEKER, look_up())
    node.say(MEMBER, Answer(introduction_id=names[0], offer=offer()))
    served = node.say(SEEKER, look_up())

    throttled = Refused(request_id=7, reason=NodeRefusal.THROTTLED, retry_after=10)
    assert refused == {SEEKER: [throttled]}
    assert isinstance(served[SEEKER][0], LookedUp)


# --- members at rest --------------------------------------------------------------------------


def test_a_member_rests_and_is_woken_by_a_datagram(node: Node) -> None:
    """What is for it is held until it is back, on another connection."""
    handle = node.say(MEMBER, Rest(request_id=3))[MEMBER][0].handle
    node.broker.disconnected(MEMBER, now=0.0)
    heard = node.say(SEEKER, look_up())
    woken = node.broker.datagrams_to_send()
    node.join(2)
    proof = keys_of(b"exporter").proof(b"exporter")
    back = node.say(2, Resume(request_id=4, handle=handle, proof=proof))
    started = node.say(2, Answer(introduction_id=back[2][1].introduction_id, offer=offer()))

    assert set(heard) == {SEEKER}
    assert [each.address for each in woken] == [observed(MEMBER)]
    assert [type(each) for each in back[2]] == [Resumed, Introduce]
    assert set(started) == {SEEKER, 2}
    assert node.broker.members == 1
    assert node.events() == [
        MemberRests(MEMBER), MemberWoke(), IntroductionEnded(Outcome.STARTED, 0.0),
    ]  # fmt: skip


def test_who_is_no_member_or_is_being_introduced_cannot_rest(node: Node) -> None:
    """There is nothing to remember, or something to answer."""
    nobody = node.say(SEEKER, Rest(request_id=1))
    introduced(node)
    busy = node.say(MEMBER, Rest(request_id=2))

    assert nobody[SEEKER][0].reason is NodeRefusal.BAD_REQUEST
    assert busy[MEMBER][0].reason is NodeRefusal.BAD_REQUEST


def test_a_full_node_lets_nobody_rest() -> None:
    """Memory is bounded; the member keeps its connection."""
    node = Node(Limits(max_resting=0))
    node.member()

    assert node.say(MEMBER, Rest(request_id=1))[MEMBER][0].reason is NodeRefusal.FULL


def test_a_return_nobody_expects_is_refused(node: Node) -> None:
    """The member registers anew."""
    resume = Resume(request_id=1, handle=bytes(8), proof=bytes(32))

    assert node.say(MEMBER, resume)[MEMBER][0].reason is NodeRefusal.NOT_FOUND


def test_a_silent_rester_is_lost_and_its_session_waits(node: Node) -> None:
    """As with a broken connection."""
    node.say(MEMBER, Rest(request_id=3))

    node.wait(SILENT_INTERVALS * KEEPALIVE_INTERVAL)

    assert (node.broker.resting, node.broker.members, node.broker.sessions) == (0, 0, 1)


def test_a_rester_keeps_its_session_alive(node: Node) -> None:
    """And may leave without coming back."""
    handle = node.say(MEMBER, Rest(request_id=3))[MEMBER][0].handle
    key = keys_of(b"exporter").member
    elsewhere = from_sockaddr(("10.9.9.9", 1))
    for counter in range(1, 100):
        node.wait(KEEPALIVE_INTERVAL)
        question = seal_question(key, handle, counter, Wish.NONE)
        node.broker.receive_datagram(question, elsewhere, now=node.now)
    alive = node.broker.sessions
    node.broker.receive_datagram(b"\x2e", elsewhere, now=node.now)
    goodbye = seal_question(key, handle, 100, Wish.LEAVE)
    node.broker.receive_datagram(goodbye, elsewhere, now=node.now)

    assert alive == 1
    assert (node.broker.sessions, node.broker.forged) == (0, 0)


def test_a_message_on_the_old_connection_ends_the_rest(node: Node) -> None:
    """The member thought better of it before it closed."""
    node.say(MEMBER, Rest(request_id=3))

    answer = node.say(MEMBER, KeepAlive(nonce=1))

    assert answer == {MEMBER: [KeepAlive(nonce=1)]}
    assert node.broker.resting == 0


# --- limits of one source, as they are by default -----------------------------------------------


def test_ten_thousand_look_ups_get_twenty_answers() -> None:
    """T5: the rest is refused with the time to wait, whatever the connection."""
    node = Node(Limits())
    node.join(1, "192.0.2.1")
    node.join(2, "192.0.2.1")

    reasons = [
        node.say(1 + n % 2, look_up("000000000"))[1 + n % 2][0].reason for n in range(10_000)
    ]

    assert reasons[:20] == [NodeRefusal.NOT_FOUND] * 20
    assert set(reasons[20:]) == {NodeRefusal.THROTTLED}
    assert node.say(1, look_up())[1][0].retry_after == 4


def test_the_sixth_registration_in_a_minute_is_refused_and_refreshes_are_not() -> None:
    """T25: five sessions a minute of one source; T6: live ones are exempt."""
    node = Node(Limits())

    def register(connection: int, number: int) -> Any:
        message = Register(request_id=1, session_id=f"00000000{number}", token=TOKEN)
        return node.say(connection, message)[connection][0]

    node.join(1, "192.0.2.1")
    node.join(2, "192.0.2.1")
    answers = [register(1 + number // 3, number) for number in range(6)]
    refreshed = [register(1, 0) for _ in range(20)]
    node.wait(12.0)

    assert [type(each) for each in answers] == [Registered] * 5 + [Refused]
    assert (answers[5].reason, answers[5].retry_after) == (NodeRefusal.THROTTLED, 13)
    assert {type(each) for each in refreshed} == {Registered}
    assert isinstance(register(2, 6), Registered)


def test_the_caps_of_one_session_add_up_to_less_than_its_share() -> None:
    """T25: 64 KiB per session, measured with every cap reached by the largest offers."""
    node = Node()
    for connection in range(1, 10):
        node.member(connection)
    for seeker in range(MAX_PENDING_PER_SESSION):
        node.join(SEEKER + seeker)
    addresses = tuple(
        OfferedAddress(kind=AddressKind.REFLEXIVE, address=Address(bytes([0xFD] * 16), 60_000 + n))
        for n in range(MAX_ADDRESSES)
    )
    largest = Offer(
        generation=2**16 - 1,
        tag=bytes(4),
        probe_key=bytes(32),
        addresses=addresses,
        nat=NatHint(step=1000),
        round_trip=60_000,
    )
    encoded = encode(LookUp(request_id=2**32 - 1, session_id=SESSION, offer=largest))
    is_traced_anyway = tracemalloc.is_tracing()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        for seeker in range(MAX_PENDING_PER_SESSION):
            message = decode(encoded, PeerMessage)
            node.broker.receive_message(SEEKER + seeker, message, now=0.0)
            del message
            assert len(node.broker.messages_to_send()) == 1 + INTRODUCED_MEMBERS
        after, _ = tracemalloc.get_traced_memory()
    finally:
        if not is_traced_anyway:
            tracemalloc.stop()

    assert 10_000 < after - before < SESSION_BYTES
