from peer.session.epoch_keys import MAX_OLD_KEYS, OLD_EPOCH_TIME, EpochKeys
from protocol.credentials import Secret


def key(number: int) -> Secret:
    return Secret(bytes([number]) * 32)


def test_a_pending_key_is_known_until_it_is_dropped() -> None:
    """Links may begin with the next epoch before it is in force."""
    keys = EpochKeys(1, key(1))
    keys.drop_pending()

    keys.add_pending(key(2))
    assert keys.get(2) == key(2)
    keys.drop_pending()

    assert keys.get(2) is None
    assert keys.get(1) == key(1)
    assert keys.get_timer() is None


def test_an_old_key_is_forgotten_after_half_a_minute() -> None:
    """Transfers under way finish on it, and nothing later does."""
    keys = EpochKeys(1, key(1))
    keys.activate(2, key(2), now=100.0)
    assert keys.get_timer() == 100.0 + OLD_EPOCH_TIME

    keys.handle_timer(now=129.9)
    assert keys.get(1) == key(1)
    keys.handle_timer(now=130.0)

    assert keys.get(1) is None
    assert keys.get(2) == key(2)
    assert keys.get_timer() is None


def test_epochs_in_a_row_keep_each_key_for_its_own_time() -> None:
    """Two joins in a moment must not cut off who has yet to hear of the first."""
    keys = EpochKeys(1, key(1))
    keys.activate(2, key(2), now=0.0)
    keys.activate(3, key(3), now=10.0)

    keys.handle_timer(now=30.0)
    known = [epoch for epoch in range(1, 5) if keys.get(epoch) is not None]

    assert known == [2, 3]
    assert keys.get_timer() == 40.0


def test_the_number_of_old_keys_is_bounded() -> None:
    """Whoever commits epoch after epoch fills no memory; the oldest goes first."""
    keys = EpochKeys(1, key(1))

    for epoch in range(2, 100):
        keys.activate(epoch, key(epoch), now=0.0)

    known = [epoch for epoch in range(1, 100) if keys.get(epoch) is not None]
    assert known == list(range(99 - MAX_OLD_KEYS, 100))
