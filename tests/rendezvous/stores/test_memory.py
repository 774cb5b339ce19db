import pytest

from rendezvous.records import Claim, Record
from rendezvous.stores.memory import MemoryStore

HERE = "1" * 16
RECORD = Record(Claim("ABCDEFGHJ", b"t" * 32, 0), {})


async def test_notes_for_a_node_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a node does not take is lost at last."""
    monkeypatch.setattr("rendezvous.stores.memory.MAX_NOTES", 1)
    store = MemoryStore(lambda: 0.0)
    await store.open(HERE)

    await store.tell(HERE, b"first")
    await store.tell(HERE, b"lost")

    assert await store.next_note() == b"first"


async def test_records_in_memory_leave_in_the_order_they_expire() -> None:
    """One that changed without a refresh does not outlive its time."""
    now = 0.0
    store = MemoryStore(lambda: now)
    for name, lifetime in (("first", 10.0), ("second", 20.0), ("first", 9.0)):
        await store.borrow(name)
        await store.give_back(name, RECORD, lifetime)

    now = 15.0
    store.expire()

    assert len(store) == 1
    assert await store.read("second") is not None
