"""This peer in one session: connections served, links made, the node told.

Built when a session is created or joined, closed when it is left. What a connection is for, its
first frame says: a candidate begins a join, a member the handshake of a link.
"""

import asyncio
from collections.abc import Callable

import structlog

from peer.daemon.joining import Credentials
from peer.daemon.linking import dial, listen
from peer.daemon.meeting import Meeting, registration_token
from peer.daemon.reaching import Reaching
from peer.daemon.session import Session, Spawn, contained
from peer.daemon.sponsoring import Sponsoring
from peer.net.paths import MyOffer, Paths
from peer.net.pump import first_frame
from peer.session.lifecycle import Lifecycle
from peer.session.membership import Membership
from protocol.credentials import Password
from protocol.crypto.identity import NodeIdentity
from protocol.endpoint.connections import Connection
from protocol.epochs import Commit
from protocol.errors import CloseCode, LinkClosed, QuintetError
from protocol.framing import FrameReader
from protocol.handshake import FrameType
from protocol.limits import MAX_JOIN_FRAME, STEP_TIMEOUT
from protocol.messages.session import PathOffered

log = structlog.get_logger()


class Attending:
    """One session of this peer, with everything that serves it.

    Args:
        membership: Its place in it.
        credentials: ID and password.
        node: This device's identity.
        name: What this machine is called.
        paths: Opens connections.
        meeting: The line to the rendezvous node.
        make_offer: Makes a new offer of this peer.
        spawn: Starts a task.
        changed: Called when something that people see has changed.
    """

    def __init__(
        self,
        membership: Membership,
        credentials: Credentials,
        *,
        node: NodeIdentity,
        name: str,
        paths: Paths,
        meeting: Meeting,
        make_offer: Callable[[], MyOffer],
        loopback_allowed: bool,
        spawn: Spawn,
        changed: Callable[[], None],
    ) -> None:
        self.credentials = credentials
        self.meeting = meeting
        self._node = node
        self._spawn = spawn
        self._loopback_allowed = loopback_allowed
        self.session = Session(
            membership,
            Lifecycle(membership.me, identity=node),
            spawn=spawn,
            changed=changed,
            on_path_offer=self._take_path_offer,
            reach_missing=self._reach_missing,
        )
        self.session.on_epoch = self._epoch_changed
        self.session.on_password = self._password_changed
        self.sponsoring = Sponsoring(
            self.session,
            session_id=credentials.session_id,
            prs=credentials.prs,
            tag_key=credentials.tag_key,
            node=node,
            name=name,
            spawn=spawn,
        )
        self._reaching = Reaching(
            self.session,
            paths,
            make_offer=make_offer,
            establish=self.establish,
            loopback_allowed=loopback_allowed,
            spawn=spawn,
        )

    # --- the node ------------------------------------------------------------------------

    async def create_at_node(self) -> None:
        """Register a new session.

        Raises:
            NodeRefused: If the node declines.
        """
        await self.meeting.register(self.credentials.session_id, self._token(), create=True)

    def _token(self) -> bytes:
        membership = self.session.membership
        key = membership.epoch_key(membership.epoch)
        assert key is not None, "the key in force is always known"
        return registration_token(key)

    def _epoch_changed(self, commit: Commit) -> None:
        if commit.leader == self.session.me:
            self._spawn(self.meeting.rotate(self._token(), commit.epoch))
        else:
            self._register_again()

    def _password_changed(self, password: Password) -> None:
        self._spawn(self._take_password(password))

    async def _take_password(self, password: Password) -> None:
        """Admit by the session's new password from now on."""
        credentials = await asyncio.to_thread(
            Credentials.derive, self.credentials.session_id, password
        )
        self.credentials = credentials
        self.sponsoring.renew(credentials.prs)

    def _register_again(self) -> None:
        self._spawn(self.meeting.register_again(self.credentials.session_id, self._token()))

    # --- connections --------------------------------------------------------------------------

    def take_connection(self, connection: Connection) -> None:
        """Serve a connection that an introduction led to."""
        self._spawn(contained(self._serve(connection), "serve"))

    async def establish(self, connection: Connection, peer: int) -> None:
        """Make a link of a connection to member *peer*."""
        if connection.is_client:
            try:
                link, key = await dial(connection, self.session, self._node, peer)
            except QuintetError:
                connection.close(CloseCode.AUTHENTICATION)
                raise
            self.session.add_link(link, key)
        else:
            await self._serve(connection)

    async def enter(self, connection: Connection, sponsor: int) -> None:
        """Make the first link after a join, on the connection it ran on, and reach the others.

        Raises:
            QuintetError: If the link cannot be made.
        """
        link, key = await dial(connection, self.session, self._node, sponsor)
        self.session.add_link(link, key)
        self._register_again()
        self._reach_missing()

    async def _serve(self, connection: Connection) -> None:
        """Serve the streams the other side opens until one has become a link."""
        try:
            while True:
                async with asyncio.timeout(STEP_TIMEOUT):
                    stream = await connection.accept_stream()
                    reader = FrameReader(MAX_JOIN_FRAME)
                    first = await first_frame(stream, reader)
                if first[0] == FrameType.J1:
                    if not await self.sponsoring.serve(connection, stream, reader, first):
                        connection.close(CloseCode.REFUSED)
                        return
                    # The candidate is a member now: its second stream becomes the link.
                    connection.authenticated()
                else:
                    link, key = await listen(
                        connection, stream, reader, first, session=self.session, node=self._node
                    )
                    self.session.add_link(link, key)
                    return
        except LinkClosed:
            raise
        except TimeoutError:
            connection.close(CloseCode.TIMEOUT)
        except QuintetError as error:
            log.info("attending.connection_refused", code=error.code)
            connection.close(error.close_code)

    def _take_path_offer(self, message: PathOffered, via: int) -> None:
        self._reaching.take(message, via)

    def _reach_missing(self) -> None:
        self._reaching.reach_missing()

    # --- the end ----------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Tell the members and the node, and close."""
        await self.session.leave()
        self.meeting.leave()

    async def close(self) -> None:
        """End without a word: the process ends."""
        await self.session.close()
