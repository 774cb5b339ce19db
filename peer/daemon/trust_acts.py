"""What people do about who is in a session: let in, decline, verify, forget."""

from peer.daemon import views
from peer.daemon.acts import Acts
from peer.daemon.trusting import Trusting, known_view
from peer.session.errors import MemberUnknown
from peer.store.known_peers import KnownPeers


class TrustActs(Acts):
    """The acts of a person about other people's devices.

    Args:
        known: The devices this one has met.
    """

    def __init__(self, known: KnownPeers) -> None:
        super().__init__()
        self._known = known
        self._trusting: Trusting | None = None

    async def decide_candidate(self, name: str, *, admit: bool) -> None:
        """Let in, or decline, whoever of this name waits for an answer."""
        session = self._require_session().session
        session.door.decide(name, admit=admit, phase=session.lifecycle.phase)
        session.drain()

    async def allow_joining(self) -> None:
        """Forget the wrong passwords, at every member, so that joining is possible again."""
        session = self._require_session().session
        session.door.reopen(phase=session.lifecycle.phase)
        session.drain()

    def peers(self) -> list[dict[str, object]]:
        """Return the devices this one has met, the one seen last first."""
        return known_view(self._known)

    async def verify_peer(self, letter: str) -> None:
        """Remember that a person has compared the digits, or fingerprints, with a member's.

        Raises:
            MemberUnknown: If there is no other member of this letter.
            NothingToCompare: If there is no link to it.
        """
        membership = self._require_session().session.membership
        names = views.letters(membership)
        found = [
            entry
            for entry in membership.roster.members
            if names[entry.index] == letter.upper() and entry.index != membership.me
        ]
        if not found or self._trusting is None:
            raise MemberUnknown(letter)
        self._trusting.verify(found[0])

    async def forget_peer(self, name: str) -> int:
        """Forget every device of this name; return how many there were."""
        return self._known.forget(name)
