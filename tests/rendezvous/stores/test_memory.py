from rendezvous.registry import Claim, Session
from rendezvous.stores.memory import MemoryStore


def session(name: str) -> Session:
    return Session(Claim(name, bytes(32), 0), 0.0)


def test_sessions_stand_in_the_order_of_their_last_refresh() -> None:
    """Expiry looks at one end only."""
    store = MemoryStore()
    first, second = session("1"), session("2")

    store.put(first)
    store.put(second)
    store.put(first)

    assert store.oldest() is second
    assert list(store) == [second, first]


def test_a_removed_session_is_gone() -> None:
    """Removing twice harms nothing."""
    store = MemoryStore()
    store.put(session("1"))

    store.remove("1")
    store.remove("1")

    assert (len(store), store.get("1"), store.oldest()) == (0, None, None)
