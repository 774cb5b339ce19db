import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.crypto.transcript import lv
from protocol.errors import NodeRefusal, NodeRefused
from rendezvous.registry import (
    LEASE_LIFETIME,
    MAX_CONNECTIONS_PER_SESSION,
    REGISTRATION_LIFETIME,
    Leases,
    Registry,
    token_hash,
)
from rendezvous.stores.memory import MemoryStore

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
    return Registry(MemoryStore(), LEASES, max_sessions=max_sessions)


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
    body = lv(b"of a later version")
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
