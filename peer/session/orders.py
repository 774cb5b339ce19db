"""What makes a leader's command current: its epoch, its leader and its sequence number.

The numbers of one leader only grow, so that an old command, replayed or late, is known
(security.md, section 3.7). They may begin anew in a later epoch: a member whose process was
restarted comes back with a new one.
"""

from protocol.errors import RemoteProtocolError
from protocol.messages.session import Order


class Orders:
    """Numbers this member's own commands and checks those of the others."""

    def __init__(self) -> None:
        self._sequence = 0
        self._last: dict[int, tuple[int, int]] = {}

    def make(self, *, epoch: int, me: int) -> Order:
        """Return the mark of this member's next command."""
        self._sequence += 1
        return Order(epoch=epoch, leader=me, sequence=self._sequence)

    def take(self, sender: int, order: Order, *, epoch: int) -> None:
        """Take a command of *sender*, once.

        Raises:
            RemoteProtocolError: If it names another leader, another time or an old moment.
        """
        # The epoch may change while the command is under way.
        near = abs(order.epoch - epoch) <= 1
        moment = (order.epoch, order.sequence)
        if order.leader != sender or not near or moment <= self._last.get(sender, (0, 0)):
            raise RemoteProtocolError("a command of the past")
        self._last[sender] = moment
