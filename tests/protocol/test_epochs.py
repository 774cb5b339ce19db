"""Commits: making, checking, and the key on its way."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.credentials import Password, Secret
from protocol.crypto import identity
from protocol.crypto.identity import NodeIdentity
from protocol.crypto.transcript import lv, unlv
from protocol.epochs import (
    GENESIS_PREV,
    Commit,
    Reason,
    ack,
    check_ack,
    check_commit,
    check_key,
    check_welcome,
    commit_hash,
    genesis,
    has_quorum,
    key_commitment,
    rightful_committer,
    successor,
    unwrap_key,
    wrap_key,
)
from protocol.errors import LocalProtocolError, MalformedMessage, RemoteProtocolError, SealBroken
from protocol.limits import MAX_JOIN_FRAME
from protocol.roster import Roster, RosterEntry

NODES = [NodeIdentity(Secret(bytes([i]) * 32)) for i in range(10)]
E1, E2, LINK = Secret(b"1" * 32), Secret(b"2" * 32), Secret(b"L" * 32)
PASSWORD = Password.generate(bytes)


def entry(index: int, *, present: bool = True, node: int | None = None) -> RosterEntry:
    key = NODES[index if node is None else node].node_key
    return RosterEntry(index, key, f"machine {index}", present=present)


def roster(*indices: int, away: Sequence[int] = ()) -> Roster:
    return Roster(tuple(entry(i, present=i not in away) for i in indices))


def chain(*indices: int) -> Commit:
    """The commit after which exactly members *indices* are in, made by member 0."""
    commit = genesis(NODES[0], "machine 0", "", E1)
    for index in range(1, max(indices) + 1):
        joined = roster(*commit.roster.indices, index)
        commit = successor(commit, NODES[0], reason=Reason.JOIN, roster=joined, session_key=E1)
    if commit.roster.indices != indices:
        rest = roster(*indices)
        commit = successor(commit, NODES[0], reason=Reason.REMOVE, roster=rest, session_key=E1)
    return commit


def resigned(commit: Commit, node: NodeIdentity, **fields: object) -> Commit:
    """The commit with other fields and a good signature of *node*."""
    altered = replace(commit, **fields)  # type: ignore[arg-type]
    return replace(altered, signature=node.sign(identity.COMMIT, altered.body()))


THREE = chain(0, 1, 2)


def test_the_creator_is_alone_in_the_first_epoch() -> None:
    """Epoch 1, index 0, nothing before it; a welcome of it verifies."""
    commit = genesis(NODES[0], "machine 0", "a@b.example", E1, b"h" * 32)

    assert (commit.epoch, commit.prev, commit.reason) == (1, GENESIS_PREV, Reason.GENESIS)
    assert commit.roster.indices == (0,)
    assert commit.leader == commit.committer == 0
    check_welcome(commit, E1)


def test_a_commit_is_read_as_it_was_written() -> None:
    """Decoding undoes encoding, with and without the optional fields."""
    away = successor(
        THREE,
        NODES[1],
        reason=Reason.ABSENT,
        roster=roster(0, 1, 2, away=[0]),
        session_key=E2,
        attempt=7,
        absent=[2],
        acting_leader=1,
        lease_key_hash=b"h" * 32,
    )

    for commit in (THREE, away):
        assert Commit.decode(commit.encode()) == commit
        assert commit_hash(commit) == hashlib.sha256(commit.encode()).digest()
    assert away.absent == (0, 2)
    assert away.leader == 1


def test_the_largest_commit_and_roster_fit_a_join_frame() -> None:
    """Five members with the longest names and addresses; J7 adds 384 sealed bytes and a tag."""
    members = tuple(
        RosterEntry(i, NODES[i].node_key, "\U00010348" * 64, "e" * 254) for i in range(5)
    )
    commit = resigned(THREE, NODES[0], roster=Roster(members), next_index=6)

    assert len(commit.encode()) + len(commit.roster.encode()) + 384 + 64 < MAX_JOIN_FRAME


@pytest.mark.parametrize(
    ("reason", "after", "node"),
    [
        (Reason.JOIN, roster(0, 1, 2, 3), 0),
        (Reason.JOIN, roster(0, 2, 3), 0),
        (Reason.RETURN, roster(0, 1, 2), 0),
        (Reason.LEAVE, roster(0, 2), 0),
        (Reason.REMOVE, roster(0), 0),
        (Reason.ABSENT, roster(0, 1, 2, away=[1]), 0),
        (Reason.ROTATE, roster(0, 1, 2), 0),
        (Reason.REFRESH, roster(0, 1, 2), 0),
    ],
)
def test_the_leaders_commits_are_accepted(reason: Reason, after: Roster, node: int) -> None:
    """Every reason, with the change that goes with it."""
    commit = successor(THREE, NODES[node], reason=reason, roster=after, session_key=E2)

    check_commit(THREE, Commit.decode(commit.encode()))

    assert commit.epoch == THREE.epoch + 1


def refused(new: Commit, why: str, *, current: Commit = THREE, gone: Sequence[int] = ()) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        check_commit(current, new, gone=gone)


def test_a_commit_must_follow_the_one_in_force() -> None:
    """Neither a gap, nor a repetition, nor another chain."""
    good = successor(THREE, NODES[0], reason=Reason.REFRESH, roster=THREE.roster, session_key=E2)

    refused(THREE, "follow")
    refused(resigned(good, NODES[0], epoch=good.epoch + 1), "follow")
    refused(resigned(good, NODES[0], prev=bytes(32)), "follow")


def test_only_the_rightful_member_commits() -> None:
    """A successor is refused while the leader is still seen, and whatever others claim."""
    by_1 = successor(THREE, NODES[1], reason=Reason.LEAVE, roster=roster(1, 2), session_key=E2)
    by_2 = successor(THREE, NODES[2], reason=Reason.LEAVE, roster=roster(1, 2), session_key=E2)

    refused(by_1, "another member commits")
    check_commit(THREE, by_1, gone=[0])
    refused(by_2, "another member commits", gone=[0])
    refused(by_2, "does not lead", gone=[0, 1])
    assert rightful_committer(THREE, gone=[0, 1, 2]) is None


def test_a_stranger_does_not_commit() -> None:
    """Its index is unknown in the epoch in force, though its own roster has it."""
    commit = successor(
        THREE, NODES[3], reason=Reason.JOIN, roster=roster(0, 1, 2, 3), session_key=E2
    )

    refused(commit, "another member commits")


def test_a_signature_of_another_member_is_broken() -> None:
    """The committer's key is the one of the roster in force."""
    good = successor(THREE, NODES[0], reason=Reason.REFRESH, roster=THREE.roster, session_key=E2)

    with pytest.raises(SealBroken):
        check_commit(THREE, resigned(good, NODES[1]))
    with pytest.raises(SealBroken):
        check_commit(THREE, replace(good, signature=b""))


def test_every_flipped_bit_of_a_commit_is_refused() -> None:
    """Malformed or broken: never accepted, never another error."""
    good = successor(
        THREE, NODES[0], reason=Reason.JOIN, roster=roster(0, 1, 2, 3), session_key=E2
    ).encode()
    accepted = []

    # Every byte, one bit each, another bit every time.
    for place in range(len(good)):
        altered = bytearray(good)
        altered[place] ^= 1 << place % 8
        try:
            check_commit(THREE, Commit.decode(bytes(altered)))
            accepted.append(place)
        except RemoteProtocolError:
            pass

    assert accepted == []


@pytest.mark.slow
def test_every_single_bit_of_a_commit_is_refused() -> None:
    """All bits, for the record."""
    good = successor(
        THREE, NODES[0], reason=Reason.JOIN, roster=roster(0, 1, 2, 3), session_key=E2
    ).encode()

    for bit in range(len(good) * 8):
        altered = bytearray(good)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteProtocolError):
            check_commit(THREE, Commit.decode(bytes(altered)))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"reason": Reason.JOIN}, "who joined"),
        ({"roster": roster(0, 1, 2, 3), "next_index": 4}, "who joined"),
        ({"reason": Reason.JOIN, "roster": roster(0, 1, 2, 4), "next_index": 5}, "who joined"),
        (
            {"reason": Reason.JOIN, "roster": roster(0, 1, 2, 3, 4), "next_index": 5},
            "who joined",
        ),
        ({"next_index": 4}, "the next index"),
        ({"reason": Reason.JOIN, "roster": roster(0, 1, 2, 3), "next_index": 9}, "next index"),
        ({"roster": roster(0, 1)}, "who is missing"),
        ({"reason": Reason.RETURN, "roster": roster(0, 1)}, "who is missing"),
        ({"reason": Reason.GENESIS}, "a second genesis"),
        ({"roster": Roster((entry(0), entry(1), entry(2, node=5)))}, "another key"),
        ({"roster": Roster((entry(0), replace(entry(1), name="x"), entry(2)))}, "another name"),
        ({"acting_leader": 1}, "nobody chose"),
    ],
)
def test_a_commit_that_breaks_a_rule_is_refused(fields: dict[str, object], why: str) -> None:
    """Rightly signed by the leader, and still wrong."""
    good = successor(THREE, NODES[0], reason=Reason.REFRESH, roster=THREE.roster, session_key=E2)

    refused(resigned(good, NODES[0], **fields), why)


def test_an_index_is_never_given_twice() -> None:
    """After member 2 left, the next one is 3."""
    two = chain(0, 1, 2)
    without = successor(two, NODES[0], reason=Reason.LEAVE, roster=roster(0, 1), session_key=E2)
    again = Roster((entry(0), entry(1), entry(2, node=7)))
    fresh = Roster((entry(0), entry(1), entry(3)))

    refused(
        successor(without, NODES[0], reason=Reason.JOIN, roster=again, session_key=E1),
        "who joined",
        current=without,
    )
    check_commit(
        without, successor(without, NODES[0], reason=Reason.JOIN, roster=fresh, session_key=E1)
    )


def test_a_member_may_return_under_another_name() -> None:
    """Its key is the same, and the reason says that it came back."""
    renamed = Roster((entry(0), replace(entry(1), name="new name"), entry(2)))

    check_commit(
        THREE, successor(THREE, NODES[0], reason=Reason.RETURN, roster=renamed, session_key=E2)
    )


def test_an_acting_leader_keeps_the_lead_when_the_old_one_returns() -> None:
    """Member 1 acts, member 0 comes back as an ordinary member, until member 1 gives it up."""
    acting = successor(
        THREE,
        NODES[1],
        reason=Reason.ABSENT,
        roster=roster(0, 1, 2, away=[0]),
        session_key=E2,
        acting_leader=1,
    )
    back = successor(
        acting,
        NODES[1],
        reason=Reason.RETURN,
        roster=roster(0, 1, 2),
        session_key=E1,
        acting_leader=1,
    )
    restarted = successor(
        back, NODES[1], reason=Reason.REFRESH, roster=roster(0, 1, 2), session_key=E2
    )
    usurped = successor(
        back, NODES[0], reason=Reason.REFRESH, roster=roster(0, 1, 2), session_key=E2
    )

    check_commit(THREE, acting, gone=[0])
    check_commit(acting, back)
    check_commit(back, restarted)
    refused(usurped, "another member commits", current=back)
    assert (acting.leader, back.leader, restarted.leader) == (1, 1, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"epoch": 0},
        {"attempt": -1},
        {"prev": b""},
        {"key_commit": b""},
        {"lease_key_hash": b"h"},
        {"next_index": 2},
        {"next_index": 257},
        {"absent": (2, 1)},
        {"absent": (9,)},
        {"absent": (0,)},
        {"roster": roster(0, 1, 2, away=[1])},
        {"committer": 9},
        {"acting_leader": 9},
    ],
)
def test_a_commit_that_cannot_be_is_no_value(fields: dict[str, object]) -> None:
    """Bounds and relations are checked where the value is made."""
    with pytest.raises(ValueError, match=r"shape|committer|leader"):
        replace(THREE, **fields)  # type: ignore[arg-type]


def test_bytes_that_are_no_commit_are_refused() -> None:
    """Cut off, extended, of an unknown reason, of an impossible shape."""
    body, signature = unlv(THREE.encode(), 2)
    fields = list(unlv(body, 11))
    unknown = lv(lv(*fields[:3], b"\x0a", *fields[4:]), signature)
    impossible = lv(lv(b"\x00" * 8, *fields[1:]), signature)

    for data in (b"", THREE.encode()[:-1], THREE.encode() + b"\x00", unknown, impossible):
        with pytest.raises(MalformedMessage):
            Commit.decode(data)


def test_only_members_make_commits_and_only_possible_ones() -> None:
    """Our own mistakes are local errors."""
    with pytest.raises(LocalProtocolError):
        successor(THREE, NODES[5], reason=Reason.REFRESH, roster=THREE.roster, session_key=E2)
    with pytest.raises(LocalProtocolError):
        successor(
            THREE,
            NODES[0],
            reason=Reason.REFRESH,
            roster=THREE.roster,
            session_key=E2,
            acting_leader=9,
        )


@pytest.mark.parametrize(
    ("side", "leader", "may"),
    [
        ([0, 1, 2], 0, True),
        ([1, 2, 3], 0, True),
        ([0, 1], 0, True),
        ([2, 3], 0, False),
        ([0], 0, False),
        ([0, 1, 9], 3, False),
    ],
)
def test_a_majority_or_the_leaders_half_may_remove(
    side: Sequence[int], leader: int, *, may: bool
) -> None:
    """Of four members; strangers do not count."""
    assert has_quorum(roster(0, 1, 2, 3), side, leader) is may


@pytest.mark.parametrize("password", [None, PASSWORD])
def test_a_wrapped_key_comes_out_at_the_other_end(password: Password | None) -> None:
    """With a new password or without."""
    commit = successor(THREE, NODES[0], reason=Reason.ROTATE, roster=THREE.roster, session_key=E2)

    wrap = wrap_key(LINK, commit, E2, password)

    assert unwrap_key(LINK, commit, wrap) == (E2, password)


def test_a_wrap_opens_for_its_link_and_commit_only() -> None:
    """Another link, attempt, commit, or one flipped bit: nothing opens."""
    commit = successor(THREE, NODES[0], reason=Reason.ROTATE, roster=THREE.roster, session_key=E2)
    other = resigned(commit, NODES[0], attempt=1)
    wrap = wrap_key(LINK, commit, E2)

    with pytest.raises(SealBroken):
        unwrap_key(Secret(b"M" * 32), commit, wrap)
    with pytest.raises(SealBroken):
        unwrap_key(LINK, other, wrap)
    for bit in range(len(wrap) * 8):
        altered = bytearray(wrap)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            unwrap_key(LINK, commit, bytes(altered))


def test_two_commits_never_share_the_key_of_a_wrap() -> None:
    """Equal contents seal to different bytes, though epoch, attempt and link are the same."""
    first = successor(THREE, NODES[0], reason=Reason.ROTATE, roster=THREE.roster, session_key=E2)
    second = successor(THREE, NODES[0], reason=Reason.REFRESH, roster=THREE.roster, session_key=E2)

    assert wrap_key(LINK, first, E2)[:32] != wrap_key(LINK, second, E2)[:32]


def test_two_different_keys_for_one_epoch_are_noticed() -> None:
    """A committer that sends each member another key is found out (T29)."""
    commit = successor(THREE, NODES[0], reason=Reason.ROTATE, roster=THREE.roster, session_key=E2)

    with pytest.raises(SealBroken):
        unwrap_key(LINK, commit, wrap_key(LINK, commit, E1))
    with pytest.raises(SealBroken):
        check_key(commit, E1)
    with pytest.raises(SealBroken):
        check_welcome(commit, E1)
    check_welcome(commit, E2)


def test_a_wrapped_password_that_is_none_is_malformed() -> None:
    """Not a local typing mistake: the committer sent it."""
    broken = Password(b"K7QF2MNX9TB0")
    commit = successor(THREE, NODES[0], reason=Reason.ROTATE, roster=THREE.roster, session_key=E2)

    with pytest.raises(MalformedMessage):
        unwrap_key(LINK, commit, wrap_key(LINK, commit, E2, broken))


def test_an_acknowledgement_needs_the_new_key_and_names_the_commit() -> None:
    """Neither the old key nor another commit gives the same bytes."""
    commit = successor(THREE, NODES[0], reason=Reason.ROTATE, roster=THREE.roster, session_key=E2)

    check_ack(E2, commit, ack(E2, commit))

    for wrong in (ack(E1, commit), ack(E2, THREE), b""):
        with pytest.raises(SealBroken):
            check_ack(E2, commit, wrong)


def test_an_epochs_commitment_does_not_show_its_key() -> None:
    """It is derived, not copied."""
    assert key_commitment(E2) not in {E2.reveal(), key_commitment(E1)}


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(1, 25))
def test_any_sequence_of_changes_gives_one_chain_that_all_remaining_members_follow(
    rng: random.Random, steps: int
) -> None:
    """Joins, leaves, losses and returns in any order: every commit is accepted by everyone.

    At the end the epoch has grown by every step, and who is out cannot open the last wrap.
    """
    commit = genesis(NODES[0], "machine 0", "", E1)
    keys = [E1]
    for step in range(steps):
        members = list(commit.roster.members)
        present = commit.roster.present
        choice = rng.choice(["join", "leave", "lose", "return", "refresh"])
        gone: tuple[int, ...] = ()
        reason, acting = Reason.REFRESH, commit.acting_leader
        if choice == "join" and len(members) < 5 and commit.next_index < len(NODES):
            reason = Reason.JOIN
            members.append(entry(commit.next_index))
        elif choice == "leave" and len(present) > 1:
            reason, gone = Reason.LEAVE, (rng.choice(present),)
            members = [m for m in members if m.index not in gone]
        elif choice == "lose" and len(present) > 1:
            reason, gone = Reason.ABSENT, (rng.choice(present),)
            members = [replace(m, present=m.present and m.index not in gone) for m in members]
        elif choice == "return":
            reason = Reason.RETURN
            members = [replace(m, present=True) for m in members]
        committer = rightful_committer(commit, gone)
        assert committer is not None
        if committer != commit.leader:
            acting = committer
        key = Secret(step.to_bytes(32, "big"))
        new = successor(
            commit,
            NODES[committer],
            reason=reason,
            roster=Roster(tuple(members)),
            session_key=key,
            acting_leader=acting,
        )

        check_commit(commit, Commit.decode(new.encode()), gone=gone)

        assert new.leader == committer
        assert all(i not in new.roster.indices for i in gone if reason is Reason.LEAVE)
        commit = new
        keys.append(key)

    assert commit.epoch == 1 + steps
    wrap = wrap_key(LINK, commit, keys[-1])
    for key in keys[:-1]:
        with pytest.raises(SealBroken):
            unwrap_key(key, commit, wrap)
