import hashlib
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.crypto.transcript import lv
from protocol.errors import NodeRefusal, NodeRefused
from rendezvous.records import Kept, Presence, Record
from rendezvous.registry import (
    GONE_TIME,
    KEY_PATIENCE,
    LEASE_LIFETIME,
    MAX_CONNECTIONS_PER_SESSION,
    REGISTRATION_LIFETIME,
    Leases,
    Registry,
    token_hash,
)

SESSION = "ABCDEFGHJ"
TOKEN, OTHER_TOKEN, NEW_TOKEN = b"t" * 32, b"o" * 32, b"n" * 32
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
STARTED = 1_800_000_000.0


def verify(message: bytes, signature: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, message)
    except InvalidSignature:
        return False
    return True


LEASES = Leases(KEY.sign, verify, STARTED)


def node(max_sessions: int = 10) -> Registry:
    """A node that has just started; all of them share one identity."""
    return Registry(LEASES, max_sessions=max_sessions)


def register(  # the common case in one word
    registry: Registry,
    connection: int = 1,
    *,
    session: str = SESSION,
    token: bytes = TOKEN,
    lease: bytes = b"",
    create: bool = False,
    listening: bool = True,
    now: float = 0.0,
) -> bytes:
    return registry.register(
        connection, session, token, lease=lease, create=create, listening=listening, now=now
    )


def rotate(
    registry: Registry, token: bytes = TOKEN, *, connection: int = 1, epoch: int = 2
) -> bytes:
    return registry.rotate(
        connection,
        SESSION,
        token,
        new_token_hash=token_hash(NEW_TOKEN),
        new_epoch=epoch,
        now=0.0,
    )


KEY_1, KEY_2 = b"1" * 32, b"2" * 32


def hashed(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def kept_session(registry: Registry | None = None, **register_fields: Any) -> Registry:
    """A node with a session whose first rotation needs KEY_1."""
    registry = node() if registry is None else registry
    registry.register(
        1,
        SESSION,
        TOKEN,
        lease=b"",
        create=True,
        listening=True,
        lease_key_hash=hashed(KEY_1),
        now=0.0,
        **register_fields,
    )
    return registry


def rotate_with(
    registry: Registry, key: bytes, *, connection: int = 1, token: bytes = TOKEN, now: float = 0.0
) -> bytes:
    return registry.rotate(
        connection,
        SESSION,
        token,
        new_token_hash=token_hash(NEW_TOKEN),
        new_epoch=2,
        lease_key=key,
        new_lease_key_hash=hashed(KEY_2),
        now=now,
    )


def refusal_of(error: pytest.ExceptionInfo[NodeRefused]) -> NodeRefusal:
    return error.value.refusal


def test_members_that_share_the_token_share_the_session() -> None:
    """The latest comes first, for its connection is the likeliest to live."""
    registry = node()

    register(registry, 1, create=True)
    register(registry, 2)
    found = registry.find(SESSION)

    assert found is not None
    assert found.listeners == [2, 1]
    assert (len(registry), registry.connections) == (1, 2)


@pytest.mark.parametrize(
    ("create", "refusal"), [(True, NodeRefusal.TAKEN), (False, NodeRefusal.BAD_TOKEN)]
)
def test_an_id_in_use_is_refused_to_another_token(create: bool, refusal: NodeRefusal) -> None:
    """A creator picks another ID; a member learns that its token is not in force."""
    registry = node()
    register(registry)

    with pytest.raises(NodeRefused) as error:
        register(registry, 2, token=OTHER_TOKEN, create=create)

    assert refusal_of(error) is refusal


def test_a_session_nobody_refreshes_is_forgotten() -> None:
    """Ten minutes after the last refresh, not after the first."""
    registry = node()
    register(registry, now=0.0)
    register(registry, now=120.0)

    early = registry.expire(now=119.0 + REGISTRATION_LIFETIME)
    expiry = registry.next_expiry()
    late = registry.expire(now=120.0 + REGISTRATION_LIFETIME)

    assert (early, expiry) == ([], 120.0 + REGISTRATION_LIFETIME)
    assert [each.claim.session_id for each in late] == [SESSION]
    assert (registry.find(SESSION), registry.next_expiry()) == (None, None)


def test_the_last_member_to_leave_ends_the_session() -> None:
    """Not the first, and not somebody who never was in it."""
    registry = node()
    register(registry, 1)
    register(registry, 2)

    ended = [registry.unregister(connection, SESSION) for connection in (3, 1, 1, 2)]

    assert ended == [False, False, False, True]
    assert len(registry) == 0
    assert not registry.unregister(2, SESSION)


def test_a_lost_member_keeps_its_session_until_it_returns() -> None:
    """A broken connection is no leaving; a new one takes the lost one's place."""
    registry = node()
    register(registry, 1)
    register(registry, 2)
    registry.lose(1, SESSION)
    registry.lose(1, SESSION)
    registry.lose(1, "000000000")

    ended_without_it = registry.unregister(2, SESSION)
    register(registry, 3)
    ended_with_it = registry.unregister(3, SESSION)

    assert (ended_without_it, ended_with_it) == (False, True)


def test_a_locked_session_is_found_no_more_than_an_unknown_one() -> None:
    """And so is one whose members are all away."""
    registry = node()
    register(registry, 1, listening=False)

    assert registry.find(SESSION) is None
    register(registry, 1, listening=True)
    assert registry.find(SESSION) is not None
    registry.lose(1, SESSION)
    assert registry.find(SESSION) is None


def test_a_full_node_refuses_new_sessions_and_serves_the_old() -> None:
    """T25: at the cap a clear refusal, old sessions undisturbed."""
    registry = node(max_sessions=2)
    register(registry, 1, session="000000001")
    register(registry, 2, session="000000002")

    with pytest.raises(NodeRefused) as error:
        register(registry, 3, session="000000003")
    register(registry, 4, session="000000001")

    assert refusal_of(error) is NodeRefusal.FULL


def test_a_session_holds_few_connections_the_newest_win() -> None:
    """Reconnecting members never lock themselves out."""
    registry = node()

    for connection in range(MAX_CONNECTIONS_PER_SESSION + 3):
        register(registry, connection)
    found = registry.find(SESSION)

    assert found is not None
    assert found.listeners == list(range(MAX_CONNECTIONS_PER_SESSION + 2, 2, -1))


# --- leases and rotation (T6) --------------------------------------------------------


def test_a_squatter_after_a_restart_gives_way_to_the_lease() -> None:
    """The node forgot the session, but not its own signature."""
    lease = register(node(), create=True)
    restarted = node()
    register(restarted, 66, token=OTHER_TOKEN, create=True, now=60.0)

    register(restarted, 1, lease=lease, now=61.0)
    found = restarted.find(SESSION)

    assert found is not None
    assert found.listeners == [1]
    with pytest.raises(NodeRefused):
        register(restarted, 66, token=OTHER_TOKEN)


def test_a_squatters_own_lease_does_not_help_it() -> None:
    """Its session began later, whatever epoch it rotated to."""
    lease = register(node(), create=True)
    restarted = node()
    register(restarted, 66, token=OTHER_TOKEN, create=True, now=60.0)
    squatted = rotate(restarted, OTHER_TOKEN, connection=66, epoch=2**63 - 1)
    register(restarted, 1, lease=lease, now=61.0)

    with pytest.raises(NodeRefused):
        register(restarted, 66, token=NEW_TOKEN, lease=squatted, now=62.0)


def test_a_former_members_lease_loses_to_the_newer_epoch() -> None:
    """It may even come first after the restart."""
    before = node()
    old_lease = register(before, create=True)
    new_lease = rotate(before)
    restarted = node()
    register(restarted, 66, lease=old_lease, now=60.0)

    register(restarted, 1, token=NEW_TOKEN, lease=new_lease, now=61.0)

    with pytest.raises(NodeRefused) as error:
        register(restarted, 66, lease=old_lease, now=62.0)
    assert refusal_of(error) is NodeRefusal.BAD_TOKEN


def test_rotation_locks_out_the_old_token_and_the_other_connections() -> None:
    """Members come back with the new token; who left does not have it."""
    registry = node()
    register(registry, 1)
    register(registry, 66)

    rotate(registry)
    found = registry.find(SESSION)

    assert found is not None
    assert found.listeners == [1]
    with pytest.raises(NodeRefused) as error:
        register(registry, 66)
    assert refusal_of(error) is NodeRefusal.BAD_TOKEN
    register(registry, 2, token=NEW_TOKEN)
    assert found.listeners == [2, 1]


@pytest.mark.parametrize(
    ("token", "connection", "epoch", "refusal"),
    [
        (OTHER_TOKEN, 1, 2, NodeRefusal.BAD_TOKEN),
        (TOKEN, 66, 2, NodeRefusal.BAD_REQUEST),
        (TOKEN, 1, 0, NodeRefusal.BAD_REQUEST),
    ],
)
def test_a_rotation_needs_token_connection_and_a_newer_epoch(
    token: bytes, connection: int, epoch: int, refusal: NodeRefusal
) -> None:
    """One of them missing, nothing changes."""
    registry = node()
    register(registry)

    with pytest.raises(NodeRefused) as error:
        rotate(registry, token, connection=connection, epoch=epoch)

    assert refusal_of(error) is refusal
    register(registry)


def test_an_unknown_session_cannot_be_rotated() -> None:
    """It answers like a wrong token."""
    with pytest.raises(NodeRefused) as error:
        rotate(node())

    assert refusal_of(error) is NodeRefusal.BAD_TOKEN


def test_a_lease_is_worth_nothing_changed_expired_or_for_another_session() -> None:
    """Each is ignored, so the request is judged without it."""
    lease = register(node())
    forged = bytes([lease[0] ^ 1]) + lease[1:]
    body = lv(b"of another version")
    foreign = body + KEY.sign(b"quintet/1 rv lease" + body)

    def entitled(lease: bytes, session: str = SESSION, now: float = 1.0) -> bool:
        return node().is_entitled(session, TOKEN, lease, now=now)

    assert entitled(lease)
    assert not entitled(b"")
    assert not entitled(forged)
    assert not entitled(foreign)
    assert not entitled(lease, session="000000000")
    assert not entitled(lease, now=LEASE_LIFETIME + 1.0)


def test_who_knows_the_token_in_force_is_entitled_without_a_lease() -> None:
    """A refresh never counts against a limit."""
    registry = node()
    register(registry)

    assert registry.is_entitled(SESSION, TOKEN, b"", now=0.0)
    assert not registry.is_entitled(SESSION, OTHER_TOKEN, b"", now=0.0)


# --- the lease key (T6) ----------------------------------------------------------------


def test_a_token_alone_rotates_nothing_while_the_keeper_is_there() -> None:
    """A former member has the token of its last epoch; it never had the key."""
    registry = kept_session()
    register(registry, 66)

    for key in (b"", OTHER_TOKEN):
        with pytest.raises(NodeRefused) as error:
            rotate_with(registry, key, connection=66, now=10.0)
        assert (refusal_of(error), error.value.retry_after) == (NodeRefusal.THROTTLED, 171)

    rotate_with(registry, KEY_1, now=10.0)
    register(registry, 2, token=NEW_TOKEN)


def test_each_rotation_names_the_key_of_the_next() -> None:
    """A key is good for one rotation."""
    registry = kept_session()
    rotate_with(registry, KEY_1)

    def again(key: bytes) -> bytes:
        return registry.rotate(
            1,
            SESSION,
            NEW_TOKEN,
            new_token_hash=token_hash(TOKEN),
            new_epoch=3,
            lease_key=key,
            now=0.0,
        )

    with pytest.raises(NodeRefused):
        again(KEY_1)
    again(KEY_2)


def test_a_former_member_that_is_first_after_a_restart_cannot_rotate() -> None:
    """The gap: the node forgot, the leader left no newer lease, the former member is quick.

    It may register with the old token, but not change it before the leader comes back.
    """
    lease = register(kept_session())
    restarted = node()
    register(restarted, 66, lease=lease, now=1.0)

    with pytest.raises(NodeRefused) as error:
        rotate_with(restarted, b"", connection=66, now=2.0)
    register(restarted, 1, lease=lease, now=15.0)
    rotate_with(restarted, KEY_1, now=15.0)

    assert refusal_of(error) is NodeRefusal.THROTTLED
    with pytest.raises(NodeRefused):
        register(restarted, 66, lease=lease, now=16.0)
    register(restarted, 2, token=NEW_TOKEN, now=16.0)


def test_a_successor_rotates_when_the_keeper_has_been_silent_for_long() -> None:
    """Three minutes after its last sign of life; a sign of life needs the key."""
    registry = kept_session()
    register(registry, 2)
    registry.register(
        1, SESSION, TOKEN, lease=b"", create=False, listening=True, lease_key=KEY_1, now=100.0
    )
    register(registry, 2, now=200.0)

    with pytest.raises(NodeRefused):
        rotate_with(registry, b"", connection=2, now=99.0 + KEY_PATIENCE)
    rotate_with(registry, b"", connection=2, now=100.0 + KEY_PATIENCE)


def test_a_keeper_that_leaves_takes_the_condition_with_it() -> None:
    """Its successor need not wait."""
    registry = kept_session()
    register(registry, 2)
    registry.unregister(1, SESSION)

    rotate_with(registry, b"", connection=2, now=1.0)


# --- signs of life ------------------------------------------------------------------------


def test_a_sign_of_life_keeps_session_and_key() -> None:
    """Of a registered member; anybody else's counts for nothing."""
    registry = kept_session()
    register(registry, 2)

    registry.touch(1, SESSION, now=500.0)
    registry.touch(9, SESSION, now=900.0)
    registry.touch(1, "000000000", now=900.0)
    registry.touch(2, SESSION, now=550.0)

    assert registry.next_expiry() == 500.0 + REGISTRATION_LIFETIME, "as seldom as a refresh"
    with pytest.raises(NodeRefused):
        rotate_with(registry, b"", connection=2, now=499.0 + KEY_PATIENCE)
    assert registry.take_changed() == [SESSION]


# --- several nodes --------------------------------------------------------------------------

ONE, TWO = "1" * 16, "2" * 16


def shared_pair() -> tuple[Registry, Registry]:
    return Registry(LEASES, node=ONE), Registry(LEASES, node=TWO)


def pass_on(giver: Registry, taker: Registry, now: float = 0.0) -> None:
    """Let *taker* adopt what *giver* would give back."""
    record = giver.record(SESSION)
    kept = None
    if record is not None:
        kept = Kept(record, giver.lifetime(SESSION, now=now))
    taker.adopt(SESSION, kept, now=now)


def test_members_at_another_node_are_counted_and_found() -> None:
    """Which connections they are stays there."""
    one, two = shared_pair()
    register(one, 1)
    register(one, 2, listening=False)
    pass_on(one, two)

    found = two.find(SESSION)

    assert found is not None
    assert (found.listeners, found.elsewhere) == ([], {ONE: Presence(2, 1, 0)})
    assert two.next_expiry() == REGISTRATION_LIFETIME


def test_a_session_locked_at_all_nodes_is_not_found() -> None:
    """As if it were here."""
    one, two = shared_pair()
    register(one, 1, listening=False)
    pass_on(one, two)

    assert two.find(SESSION) is None


def test_an_id_taken_at_another_node_is_taken_here() -> None:
    """One token, whichever node is asked."""
    one, two = shared_pair()
    register(one, 1)
    pass_on(one, two)

    with pytest.raises(NodeRefused) as error:
        register(two, 2, token=OTHER_TOKEN, create=True)
    register(two, 3)

    assert refusal_of(error) is NodeRefusal.TAKEN


def test_a_session_ends_with_the_last_member_of_all_nodes() -> None:
    """Not with the last one here."""
    one, two = shared_pair()
    register(one, 1)
    pass_on(one, two)
    register(two, 2)

    early = two.unregister(2, SESSION)
    pass_on(two, one)
    late = one.unregister(1, SESSION)

    assert (early, late) == (False, True)
    assert one.record(SESSION) is None
    assert one.lifetime(SESSION, now=0.0) == 0.0


def test_a_rotation_at_another_node_locks_out_the_connections_here() -> None:
    """They count as absent there until they show the new token."""
    one, two = shared_pair()
    register(one, 1)
    pass_on(one, two)
    register(two, 2)
    pass_on(two, one)
    rotate(one)
    pass_on(one, two)

    found = two.find(SESSION)

    assert found is not None
    assert (found.listeners, found.elsewhere) == ([], {ONE: Presence(1, 1, 1)})


def test_a_store_that_forgot_gets_back_what_is_known_here() -> None:
    """And nothing of what others knew."""
    one, two = shared_pair()
    register(one, 1)
    pass_on(one, two)
    register(two, 2)

    two.adopt(SESSION, None, now=0.0)
    two.adopt("000000000", None, now=0.0)
    record = two.record(SESSION)

    assert record is not None
    assert record.presence == {TWO: Presence(1, 1, 0)}


def test_a_session_without_a_member_here_is_forgotten_here() -> None:
    """A look-up leaves nothing behind."""
    one, two = shared_pair()
    register(one, 1)
    pass_on(one, two)

    two.release(SESSION)
    two.release(SESSION)
    one.release(SESSION)

    assert (len(two), len(one)) == (0, 1)


def test_a_full_node_takes_no_member_of_a_session_elsewhere() -> None:
    """What it adopts counts, too."""
    one, two = Registry(LEASES, node=ONE), Registry(LEASES, node=TWO, max_sessions=1)
    register(one, 1)
    register(two, 5, session="000000000")
    pass_on(one, two)

    with pytest.raises(NodeRefused) as error:
        register(two, 2)

    assert refusal_of(error) is NodeRefusal.FULL


def test_a_node_that_is_gone_is_not_counted_for_a_while() -> None:
    """It may only have been slow."""
    one, two = shared_pair()
    register(one, 1)
    two.is_gone(ONE, SESSION, now=0.0)
    pass_on(one, two)
    gone = two.find(SESSION)
    two.is_gone("3" * 16, SESSION, now=GONE_TIME)
    pass_on(one, two, now=GONE_TIME)

    assert gone is None
    assert two.find(SESSION) is not None


def test_what_changed_by_itself_is_told_once() -> None:
    """A lost connection, or everything when the store was away."""
    registry = node()
    register(registry, 1)
    quiet = registry.has_changed
    registry.lose(1, SESSION)

    assert not quiet
    assert registry.take_changed() == [SESSION]
    assert not registry.has_changed
    registry.mark_changed()
    registry.mark_changed(SESSION)
    assert registry.take_changed() == [SESSION]


def test_the_key_may_be_shown_at_another_node() -> None:
    """The time of its last sign of life travels with the record."""
    one, two = shared_pair()
    kept_session(one)
    registry_record = one.record(SESSION)
    assert registry_record is not None
    later = Record(registry_record.claim, registry_record.presence, int(STARTED) + 300)
    two.adopt(SESSION, Kept(later, 500.0), now=310.0)
    register(two, 2, now=310.0)

    with pytest.raises(NodeRefused):
        rotate_with(two, b"", connection=2, now=299.0 + KEY_PATIENCE)
    rotate_with(two, b"", connection=2, now=301.0 + KEY_PATIENCE)


def test_a_member_goes_on_with_another_connection() -> None:
    """Its place, and the key if it keeps one, go with it."""
    registry = kept_session()
    register(registry, 2, listening=False)

    registry.move(1, 5, SESSION)
    registry.move(2, 6, SESSION)
    registry.move(9, 7, SESSION)
    found = registry.find(SESSION)

    assert found is not None
    assert found.connections == {5: True, 6: False}
    registry.touch(5, SESSION, now=100.0)
    with pytest.raises(NodeRefused):
        rotate_with(registry, b"", connection=6, now=99.0 + KEY_PATIENCE)
