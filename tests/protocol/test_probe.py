import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.address import from_sockaddr
from protocol.crypto.transcript import expand
from protocol.errors import SealBroken
from protocol.probe import (
    HEADER,
    MIN_SIZE,
    REPLAY_WINDOW,
    Probe,
    ProbeKeys,
    ProbeKind,
    ProbeOpener,
    ProbeSealer,
    is_probe,
    tag_of,
)

TAG = b"tag!"
KEY = bytes(32)
PING = Probe(ProbeKind.PING, b"12345678", generation=1, time=99)


def seeded(name: bytes) -> ProbeKeys:
    return ProbeKeys(lambda size: hashlib.sha256(name).digest()[:size], generation=3)


PROBES = st.builds(
    Probe,
    kind=st.sampled_from([kind for kind in ProbeKind if kind is not ProbeKind.PONG]),
    transaction=st.binary(min_size=8, max_size=8),
    generation=st.integers(0, 2**16 - 1),
    time=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 255),
) | st.builds(
    Probe,
    kind=st.just(ProbeKind.PONG),
    transaction=st.binary(min_size=8, max_size=8),
    generation=st.just(1),
    observed=st.sampled_from([("192.0.2.1", 4000), ("2001:db8::1", 1)]).map(from_sockaddr),
)


@given(PROBES)
def test_a_probe_survives_the_wire(probe: Probe) -> None:
    """All fields come back; only a PONG carries the observed address."""
    datagram = ProbeSealer(KEY, TAG).seal(probe)

    assert ProbeOpener(KEY).open(datagram) == probe
    assert is_probe(datagram)
    assert tag_of(datagram) == TAG


def test_no_answer_is_longer_than_its_question() -> None:
    """Every probe without padding of its own has the same size."""
    sealer = ProbeSealer(KEY, TAG)
    pong = Probe(ProbeKind.PONG, b"12345678", 1, observed=from_sockaddr(("2001:db8::1", 1)))

    sizes = {len(sealer.seal(probe)) for probe in (PING, pong)}

    assert sizes == {MIN_SIZE} == {62}


def test_a_probe_of_the_size_asked_for_tests_the_path() -> None:
    """The padding for MTU probes is sealed with the rest."""
    datagram = ProbeSealer(KEY, TAG).seal(PING, size=1452)

    assert len(datagram) == 1452
    assert ProbeOpener(KEY).open(datagram) == PING


def test_both_sides_agree_on_a_key_per_direction() -> None:
    """What one seals the other opens, and the two directions differ."""
    one, other = seeded(b"one"), seeded(b"other")

    one_seals, one_opens = one.agree(other.public, 3)
    other_seals, other_opens = other.agree(one.public, 3)

    assert (one_seals, one_opens) == (other_opens, other_seals)
    assert one_seals != one_opens


def test_generation_and_session_make_other_keys() -> None:
    """A new offer, and members who know the epoch's key, share no key with what was."""
    one, other = seeded(b"one"), seeded(b"other")

    plain = one.agree(other.public, 3)
    later = one.agree(other.public, 4)
    mixed = one.agree(other.public, 3, mix=expand(b"E" * 32, b"probe"))

    assert plain[0] == later[0], "our own generation did not change"
    assert plain[1] != later[1]
    assert not {*plain} & {*mixed}


def test_a_point_without_a_secret_is_refused() -> None:
    """An all-zero result would be known to anybody."""
    with pytest.raises(SealBroken):
        seeded(b"one").agree(bytes(32), 0)


@given(st.integers(0, MIN_SIZE * 8 - 1))
def test_a_flipped_bit_is_dropped(bit: int) -> None:
    """Header and body are authenticated."""
    datagram = bytearray(ProbeSealer(KEY, TAG).seal(PING))
    datagram[bit // 8] ^= 1 << bit % 8

    assert ProbeOpener(KEY).open(bytes(datagram)) is None


@given(st.binary(max_size=100))
def test_other_bytes_are_dropped(data: bytes) -> None:
    """The opener returns None; it never raises."""
    opener = ProbeOpener(KEY)

    assert opener.open(data) is None
    assert opener.open(b"\x20" + data) is None
    assert opener.open(b"\x2f" + data.ljust(80)) is None


def test_a_repeat_is_dropped_and_a_late_probe_taken_once() -> None:
    """Order does not matter within the window; beyond it nothing is taken."""
    sealer, opener = ProbeSealer(KEY, TAG), ProbeOpener(KEY)
    datagrams = [sealer.seal(PING) for _ in range(REPLAY_WINDOW + 1)]

    first = opener.open(datagrams[REPLAY_WINDOW])
    again = opener.open(datagrams[REPLAY_WINDOW])
    oldest_in_window = opener.open(datagrams[1])
    oldest_again = opener.open(datagrams[1])
    too_old = opener.open(datagrams[0])

    assert (first, oldest_in_window) == (PING, PING)
    assert (again, oldest_again, too_old) == (None, None, None)


@given(st.lists(st.integers(0, 300), max_size=80))
def test_every_counter_opens_at_most_once(order: list[int]) -> None:
    """Against a plain set: once, and whatever is within the window opens."""
    sealer, opener = ProbeSealer(KEY, TAG), ProbeOpener(KEY)
    datagrams = [sealer.seal(PING) for _ in range(301)]
    taken: set[int] = set()

    for counter in order:
        opened = opener.open(datagrams[counter]) is not None

        fresh = counter > max(taken, default=-1) - REPLAY_WINDOW and counter not in taken
        assert opened == fresh
        if opened:
            taken.add(counter)


def test_a_forged_counter_does_not_move_the_window() -> None:
    """Otherwise one datagram would deafen us to all the rest."""
    sealer, opener = ProbeSealer(KEY, TAG), ProbeOpener(KEY)
    genuine = sealer.seal(PING)
    forged = genuine[:5] + b"\xff" * 8 + genuine[HEADER:]

    assert opener.open(forged) is None
    assert opener.open(genuine) == PING
