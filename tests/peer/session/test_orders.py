import pytest

from peer.session.orders import Orders
from protocol.errors import RemoteProtocolError
from protocol.messages.session import Order


def test_commands_are_numbered_from_one() -> None:
    """Each is marked with its moment."""
    orders = Orders()

    made = [orders.make(epoch=3, me=1) for _ in range(2)]

    assert made == [
        Order(epoch=3, leader=1, sequence=1),
        Order(epoch=3, leader=1, sequence=2),
    ]


def test_a_command_is_taken_once() -> None:
    """A replay is known, and so is one that was overtaken."""
    orders = Orders()
    for sequence in (1, 4):
        orders.take(0, Order(epoch=3, leader=0, sequence=sequence), epoch=3)

    for sequence in (1, 3, 4):
        with pytest.raises(RemoteProtocolError):
            orders.take(0, Order(epoch=3, leader=0, sequence=sequence), epoch=3)
    orders.take(0, Order(epoch=3, leader=0, sequence=5), epoch=3)


@pytest.mark.parametrize(
    ("named", "is_taken"), [(1, False), (2, True), (3, True), (4, True), (5, False)]
)
def test_the_epoch_may_change_while_a_command_is_under_way(named: int, is_taken: bool) -> None:
    """One step either way, no more."""
    orders = Orders()
    order = Order(epoch=named, leader=0, sequence=1)

    if is_taken:
        orders.take(0, order, epoch=3)
    else:
        with pytest.raises(RemoteProtocolError):
            orders.take(0, order, epoch=3)


def test_a_command_names_who_sends_it() -> None:
    """Another's command is not passed on."""
    with pytest.raises(RemoteProtocolError):
        Orders().take(1, Order(epoch=3, leader=0, sequence=1), epoch=3)


def test_members_are_counted_each_by_itself() -> None:
    """A new leader begins with its own numbers."""
    orders = Orders()

    orders.take(0, Order(epoch=3, leader=0, sequence=9), epoch=3)
    orders.take(1, Order(epoch=3, leader=1, sequence=1), epoch=3)

    with pytest.raises(RemoteProtocolError):
        orders.take(1, Order(epoch=3, leader=1, sequence=1), epoch=3)


def test_numbers_may_begin_anew_in_a_later_epoch_only() -> None:
    """Who comes back after its process ended has forgotten them; the epoch before is past."""
    orders = Orders()
    orders.take(0, Order(epoch=3, leader=0, sequence=9), epoch=3)

    orders.take(0, Order(epoch=4, leader=0, sequence=1), epoch=4)

    with pytest.raises(RemoteProtocolError):
        orders.take(0, Order(epoch=3, leader=0, sequence=10), epoch=4)


def test_a_refused_command_changes_nothing() -> None:
    """The next one is judged as if it had not been."""
    orders = Orders()

    with pytest.raises(RemoteProtocolError):
        orders.take(0, Order(epoch=9, leader=0, sequence=5), epoch=3)

    orders.take(0, Order(epoch=3, leader=0, sequence=1), epoch=3)
