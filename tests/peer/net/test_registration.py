import hashlib

from peer.net.registration import Registration

SESSION = "ABCDEFGHJ"
TOKEN, NEW_TOKEN = b"t" * 32, b"n" * 32


def hashed(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def created() -> Registration:
    return Registration.following(None, SESSION, TOKEN, create=True, listening=True)


def member(known: Registration | None, token: bytes = TOKEN) -> Registration:
    return Registration.following(known, SESSION, token, create=False, listening=True)


def test_the_creator_keeps_a_key_and_tells_its_hash_first() -> None:
    """Afterwards the key itself is its sign of life."""
    registration = created()
    first = registration.message(1)
    registration.create = False
    later = registration.message(2)

    assert len(registration.lease_key) == 32
    assert (first.lease_key, first.lease_key_hash) == (b"", hashed(registration.lease_key))
    assert (later.lease_key, later.lease_key_hash) == (registration.lease_key, b"")


def test_a_member_has_no_key() -> None:
    """So it cannot change the token while the leader is there (T6)."""
    message = member(None).message(1)

    assert (message.lease_key, message.lease_key_hash) == (b"", b"")


def test_a_change_shows_the_key_and_names_the_next() -> None:
    """Both count once the node agreed."""
    registration = created()
    key = registration.lease_key

    rotate = registration.propose(3, NEW_TOKEN, 2)
    before = registration.token
    registration.rotated(b"lease")

    assert (rotate.token, rotate.lease_key) == (TOKEN, key)
    assert rotate.new_token_hash == hashed(NEW_TOKEN)
    assert rotate.new_lease_key_hash == hashed(registration.lease_key)
    assert (before, registration.token, registration.lease) == (TOKEN, NEW_TOKEN, b"lease")
    assert registration.proposed is None


def test_what_is_still_true_is_kept() -> None:
    """Lease and key belong to a token; a change whose answer was lost may have been made."""
    registration = created()
    registration.lease = b"lease"
    registration.propose(3, NEW_TOKEN, 2)
    assert registration.proposed is not None

    same = member(registration)
    changed = member(registration, NEW_TOKEN)
    another = member(registration, b"a" * 32)

    assert (same.lease, same.lease_key) == (b"lease", registration.lease_key)
    assert (changed.lease, changed.lease_key) == (b"", registration.proposed[1])
    assert (another.lease, another.lease_key) == (b"", b"")
