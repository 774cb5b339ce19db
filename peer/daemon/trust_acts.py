"""What people do about who is in a session: let in, decline, verify, forget."""

from peer.daemon import views
from peer.daemon.acts import Acts
from peer.daemon.trusting import Trusting, known_view
from peer.session.errors import MemberUnknown
from peer.store.known_peers import KnownPeers
from protocol.roster import RosterEntry


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

    async def remove_member(self, letter: str) -> None:
        """Put another member out: its device is banned and the password changes.

        Raises:
            MemberUnknown: If there is no other member of this letter.
            RightMissing: If this member does not lead.
        """
        session = self._require_session().session
        session.membership.remove(self._other(letter).index, now=session.now)
        session.drain()

    async def continue_without(self, letter: str) -> None:
        """Go on without a member that is out of reach: its entries count as unknown.

        Raises:
            MemberUnknown: If there is no other member of this letter.
            RightMissing: If this member does not lead.
        """
        session = self._require_session().session
        session.lifecycle.continue_without(self._other(letter).index)
        session.drain()

    async def new_password(self) -> None:
        """Change the session's password; who holds only the old one does not get in.

        Raises:
            RightMissing: If this member does not lead.
        """
        session = self._require_session().session
        session.membership.rotate(now=session.now)
        session.drain()

    async def take_over(self) -> None:
        """Go on with those who are left, though they are too few: there may be two sessions then.

        Raises:
            QuintetError: If this side is not frozen.
        """
        session = self._require_session().session
        session.membership.take_over(now=session.now)
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
        found = self._other(letter)
        if self._trusting is None:
            raise MemberUnknown(letter)
        self._trusting.verify(found)

    async def forget_peer(self, name: str) -> int:
        """Forget every device of this name; return how many there were."""
        return self._known.forget(name)

    def _other(self, letter: str) -> RosterEntry:
        membership = self._require_session().session.membership
        names = views.letters(membership)
        for entry in membership.roster.members:
            if names[entry.index] == letter.upper() and entry.index != membership.me:
                return entry
        raise MemberUnknown(letter)
