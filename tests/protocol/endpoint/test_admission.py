"""Who may open a connection, and that refusing costs nothing."""

import os

from aioquic._buffer import Buffer
from aioquic.quic.packet import QuicHeader, QuicPacketType, pull_quic_header

from protocol.endpoint.admission import MAX_ALLOWED, Admission, Admitted, Challenge
from protocol.endpoint.paths import Via
from protocol.limits import MAX_UNAUTHENTICATED, MAX_UNAUTHENTICATED_PER_SOURCE

HERE = ("192.0.2.1", 4000)
THERE = ("192.0.2.2", 4000)


def initial(token: bytes = b"", destination: bytes = b"original") -> QuicHeader:
    """The header of a first packet."""
    return QuicHeader(
        version=1,
        packet_type=QuicPacketType.INITIAL,
        packet_length=1200,
        destination_cid=destination,
        source_cid=b"client..",
        token=token,
        integrity_tag=b"",
        supported_versions=[],
    )


def admission(*, retry: bool = False) -> Admission:
    """An admission that knows nobody."""
    return Admission(retry=retry, random_bytes=os.urandom)


def test_strangers_meet_silence() -> None:
    """Without Retry only introduced addresses get in."""
    closed = admission()
    closed.allow(THERE, 100.0, 0.0)

    assert closed.judge(initial(), HERE, 1.0) is None


def test_an_allowed_address_gets_in_until_its_time_is_over() -> None:
    """Also one behind a relay, which is another address than the relay's own."""
    closed = admission()
    closed.allow(HERE, 100.0, 0.0)
    relayed = Via(THERE, b"\x28tag.")
    closed.allow(relayed, 100.0, 0.0)

    assert closed.judge(initial(), HERE, 99.0) == Admitted(b"original")
    assert closed.judge(initial(), HERE, 100.0) is None
    assert closed.judge(initial(), relayed, 99.0) == Admitted(b"original")
    assert closed.judge(initial(), THERE, 99.0) is None


def test_a_later_permission_never_shortens_an_earlier_one() -> None:
    """Two introductions of one address: the longer holds; it can be taken back."""
    closed = admission()
    closed.allow(HERE, 100.0, 0.0)
    closed.allow(HERE, 50.0, 0.0)
    assert closed.judge(initial(), HERE, 99.0) is not None

    closed.disallow(HERE)

    assert closed.judge(initial(), HERE, 99.0) is None


def test_the_list_of_permissions_is_bounded() -> None:
    """Expired ones make room; beyond the bound nothing is added."""
    closed = admission()
    for port in range(MAX_ALLOWED):
        closed.allow(("192.0.2.9", port), 10.0, 0.0)
    closed.allow(HERE, 100.0, 5.0)
    assert closed.judge(initial(), HERE, 6.0) is None

    closed.allow(HERE, 100.0, 11.0)

    assert closed.judge(initial(), HERE, 12.0) is not None


def test_a_stranger_gets_a_retry_smaller_than_its_packet_and_then_in() -> None:
    """T23: the token proves the address; the second Initial is admitted."""
    public = admission(retry=True)

    challenge = public.judge(initial(), HERE, 1.0)

    assert isinstance(challenge, Challenge)
    assert len(challenge.packet) < 1200
    retry = pull_quic_header(Buffer(data=challenge.packet), host_cid_length=8)
    admitted = public.judge(initial(retry.token, retry.source_cid), HERE, 2.0)
    assert admitted == Admitted(b"original", retry.source_cid)


def test_a_token_serves_its_address_for_a_short_time_only() -> None:
    """Stolen, late, forged or for another connection: silence."""
    public = admission(retry=True)
    challenge = public.judge(initial(), HERE, 1.0)
    assert isinstance(challenge, Challenge)
    retry = pull_quic_header(Buffer(data=challenge.packet), host_cid_length=8)
    good = initial(retry.token, retry.source_cid)

    assert public.judge(good, THERE, 2.0) is None
    assert public.judge(good, HERE, 40.0) is None
    assert public.judge(initial(retry.token, b"otherone"), HERE, 2.0) is None
    assert public.judge(initial(os.urandom(80), retry.source_cid), HERE, 2.0) is None
    assert admission().judge(good, HERE, 2.0) is None


def test_a_token_is_worth_nothing_where_none_is_given() -> None:
    """An allowed client has no reason to send one."""
    closed = admission()
    closed.allow(HERE, 100.0, 0.0)

    assert closed.judge(initial(b"token"), HERE, 1.0) is None


def test_strangers_are_counted_per_source_and_in_total() -> None:
    """4 of one IPv4 address or IPv6 /64, 32 in total; settling makes room."""
    public = admission(retry=True)
    for port in range(MAX_UNAUTHENTICATED_PER_SOURCE):
        public.opened(("2001:db8::1", port))
    assert public.judge(initial(), ("2001:db8::ffff", 9), 0.0) is None
    assert public.judge(initial(), ("2001:db8:0:1::1", 9), 0.0) is not None

    for host in range(MAX_UNAUTHENTICATED - MAX_UNAUTHENTICATED_PER_SOURCE):
        public.opened((f"192.0.2.{host}", 1))
    assert public.unauthenticated == MAX_UNAUTHENTICATED
    assert public.judge(initial(), ("198.51.100.1", 9), 0.0) is None

    public.settled(("2001:db8::1", 0))

    assert public.judge(initial(), ("198.51.100.1", 9), 0.0) is not None
    assert public.judge(initial(), ("2001:db8::ffff", 9), 0.0) is not None
