"""A session on one computer, without a node and without a network (product.md, section 2.5).

Every source is a member of its own, with a letter, a lifecycle and its work; all of them live
here and are linked by queues. The first is the one that people act through.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peer.daemon.held_sources import HeldSource, HeldSources
from peer.daemon.inventorying import DigestCache
from peer.daemon.local_link import local_links
from peer.daemon.session import Session, Spawn
from peer.daemon.work import SessionWork
from peer.session.lifecycle import Lifecycle
from peer.session.membership import Membership
from protocol import epochs
from protocol.credentials import Secret
from protocol.crypto.identity import NodeIdentity
from protocol.epochs import Reason
from protocol.limits import MAX_NAME
from protocol.roster import Roster, RosterEntry


@dataclass(frozen=True, slots=True)
class LocalMember:
    """One source of a local session, and what it does."""

    session: Session
    work: SessionWork


class LocalAttending:
    """One local session of this peer.

    Args:
        node: This device's identity; the first member's.
        sources: What each member offers: one source.
        cache: Known digests.
        spawn: Starts a task.
        changed: Called when something that people see has changed.
    """

    def __init__(
        self,
        node: NodeIdentity,
        sources: Sequence[HeldSources],
        cache: DigestCache,
        *,
        spawn: Spawn,
        changed: Callable[[], None],
    ) -> None:
        nodes = [node, *(NodeIdentity.generate(os.urandom) for _ in sources[1:])]
        self.members: list[LocalMember] = []
        memberships = _memberships(nodes, sources)
        for identity, membership, held in zip(nodes, memberships, sources, strict=True):
            session = Session(
                membership,
                Lifecycle(membership.me, identity=identity),
                spawn=spawn,
                changed=changed,
                on_path_offer=lambda _offer, _via: None,
                reach_missing=lambda: None,
            )
            work = SessionWork(session, held, cache, spawn=spawn, changed=changed)
            session.work = work
            self.members.append(LocalMember(session, work))
        for place, one in enumerate(self.members):
            for other in self.members[:place]:
                self._link(one.session, other.session)
        for member, held in zip(self.members, sources, strict=True):
            member.session.lifecycle.change_sources(held.infos())
            member.session.drain()

    @property
    def session(self) -> Session:
        """The session as the first member has it: it leads."""
        return self.members[0].session

    @property
    def work(self) -> SessionWork:
        """The first member's."""
        return self.members[0].work

    async def settled(self) -> None:
        """Return once every member knows what the others offer."""
        for member in self.members:
            for link in list(member.session.links.values()):
                await link.finish()

    async def leave(self) -> None:
        """End it, for all members."""
        for member in self.members:
            await member.session.close()
        for member in self.members:
            await member.work.close()

    @staticmethod
    def _link(one: Session, other: Session) -> None:
        ends = local_links(one.me, other.me, one.membership.epoch)
        key = Secret(os.urandom(epochs.KEY_SIZE))
        one.add_link(ends[0], key)
        other.add_link(ends[1], key)


def _memberships(nodes: Sequence[NodeIdentity], sources: Sequence[HeldSources]) -> list[Membership]:
    """Return each member's place in one commit that names all of them."""
    key = Secret(os.urandom(epochs.KEY_SIZE))
    entries = tuple(
        RosterEntry(index, node.node_key, _name(held.sources[0]))
        for index, (node, held) in enumerate(zip(nodes, sources, strict=True))
    )
    first = epochs.genesis(nodes[0], entries[0].name, "", key)
    commit = epochs.successor(
        first, nodes[0], reason=Reason.JOIN, roster=Roster(entries), session_key=key
    )
    return [Membership(node, commit, key, random_bytes=os.urandom) for node in nodes]


def _name(source: HeldSource) -> str:
    """Return what a member is called: its source's own name."""
    name = "".join(each for each in source.root.path.name if each.isprintable())
    return name[:MAX_NAME].strip() or "/"
