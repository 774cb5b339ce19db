"""What this device knows of the other members' keys, and what it does about a changed one.

A badge is what was known when a member was first met in this session; meeting it is what makes
it known the next time (security.md, section 3.9).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from peer.daemon.deciding import wall_clock_ns
from peer.daemon.session import Session
from peer.session.errors import NothingToCompare
from peer.store.errors import StateError
from peer.store.known_peers import KnownPeers, Standing
from protocol.credentials import fingerprint, fingerprint_symbols
from protocol.errors import JoinFailed, JoinOutcome
from protocol.roster import Roster, RosterEntry

log = structlog.get_logger()

FOUNDER: Final = 0
"""Index of the member that created the session; never given to another."""


@dataclass(frozen=True, slots=True)
class Vetting:
    """What a candidate demands of the session it has been let into before it shows anything.

    Args:
        known: The devices this one has met.
        accept_new_key: Whether a person has said that a changed key is right.
        creator: First symbols of the fingerprint that the invitation names, or empty.
    """

    known: KnownPeers
    accept_new_key: bool = False
    creator: str = ""

    def check(self, roster: Roster, own_key: bytes) -> None:
        """Look at who is in the session.

        Raises:
            JoinFailed: IMPOSTOR if somebody else stands in the creator's place, KEY_CHANGED if
                a member has the name of a device that was met with another key.
        """
        founder = roster.entry(FOUNDER)
        if founder is not None and self._is_another(roster):
            raise JoinFailed(JoinOutcome.IMPOSTOR)
        if self.accept_new_key:
            return
        for entry in roster.members:
            if entry.node_key == own_key:
                continue
            if self.known.standing(entry.node_key, entry.name) is Standing.CHANGED:
                raise JoinFailed(JoinOutcome.KEY_CHANGED, member=entry.name)

    def misses_creator(self, roster: Roster) -> bool:
        """Whether whom the invitation names has left, so that its key cannot be compared."""
        return self._is_another(roster)

    def _is_another(self, roster: Roster) -> bool:
        return bool(self.creator) and not any(
            fingerprint_symbols(entry.node_key).startswith(self.creator) for entry in roster.members
        )


class Trusting:
    """The members of one session in the eyes of this device.

    Args:
        known: The devices it has met.
        session: Whose members they are.
        changed: Called when something that people see has changed.
    """

    def __init__(self, known: KnownPeers, session: Session, *, changed: Callable[[], None]) -> None:
        self._known = known
        self._session = session
        self._changed = changed
        self._badges: dict[bytes, Standing] = {}
        session.on_linked = self.linked
        session.on_candidate = self.noted
        for peer in sorted(session.links):
            self.linked(peer)

    def noted(self, node_key: bytes, name: str) -> Standing:
        """Return what was known of a device before this session; warn once of a changed key."""
        badge = self._badges.get(node_key)
        if badge is None:
            badge = self._badges[node_key] = self._known.standing(node_key, name)
            if badge is Standing.CHANGED:
                self._session.notice("key_changed", name=name)
        return badge

    def linked(self, peer: int) -> None:
        """Remember a member that has proven its key."""
        entry = self._session.membership.roster.entry(peer)
        if entry is None:
            return
        self.noted(entry.node_key, entry.name)
        try:
            self._known.seen(entry.node_key, entry.name, now=_seconds())
        except StateError as error:
            # A session works without; the next one will not know the device.
            log.warning("trusting.not_remembered", code=error.code)

    def verify(self, entry: RosterEntry) -> None:
        """Remember that a person has compared what this member shows.

        Raises:
            NothingToCompare: If no link to it has proven its key.
            StateUnusable: If it cannot be written down.
        """
        if entry.index not in self._session.links:
            raise NothingToCompare(entry.name)
        self._known.verify(entry.node_key, entry.name, now=_seconds())
        self._badges[entry.node_key] = Standing.VERIFIED
        self._changed()

    def pictures(self) -> dict[int, dict[str, object]]:
        """Return what people may compare with each member's person, JSON-safe."""
        membership = self._session.membership
        return {entry.index: self._picture(entry) for entry in membership.roster.members}

    def _picture(self, entry: RosterEntry) -> dict[str, object]:
        return {
            "known": self._badges.get(entry.node_key, Standing.NEW).value,
            "fingerprint": fingerprint(entry.node_key),
            "digits": self._session.digits.get(entry.node_key),
        }


def known_view(known: KnownPeers) -> list[dict[str, object]]:
    """Return all devices that were met, JSON-safe."""
    return [
        {
            "name": peer.label,
            "fingerprint": fingerprint(peer.node_pk),
            "first_seen": peer.first_seen,
            "last_seen": peer.last_seen,
            "verified": peer.verified,
        }
        for peer in known
    ]


def _seconds() -> int:
    return wall_clock_ns() // 1_000_000_000
