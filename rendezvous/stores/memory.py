"""The embedded store: sessions in this process, nothing kept over a restart."""

from collections import OrderedDict
from collections.abc import Iterator

from rendezvous.registry import Session


class MemoryStore:
    """Sessions by ID, in the order of their last refresh."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def get(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    def put(self, session: Session) -> None:
        self._sessions[session.claim.session_id] = session
        self._sessions.move_to_end(session.claim.session_id)

    def remove(self, session_id: str) -> None:
        self._sessions.pop(session_id, None)

    def oldest(self) -> Session | None:
        return next(iter(self._sessions.values()), None)

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())
