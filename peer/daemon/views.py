"""What people see of a session: one JSON-safe picture, made anew when asked for.

Letters exist only here and in what people type: everything below names indices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from peer.inventory.names import shown
from peer.net.mesh import Link
from peer.session.lifecycle import Lifecycle
from peer.session.membership import Membership
from peer.session.session_settings import SessionSettings
from protocol.address import from_sockaddr, is_loopback, is_public, to_text
from protocol.endpoint.paths import address_of
from protocol.ids import letter_of
from protocol.messages import session as wire


def letters(membership: Membership) -> dict[int, str]:
    """Return the letter of every member by its index."""
    indices = membership.roster.indices
    return {index: letter_of(index, indices) for index in indices}


def link_view(link: Link | None, *, wanted: bool) -> dict[str, object] | None:
    """Return the link to a member; None for the own block."""
    if not wanted:
        return None
    if link is None:
        return {"state": "connecting", "kind": None, "round_trip_ms": None, "address": None}
    address = from_sockaddr(address_of(link.connection.path.remote))
    round_trip = link.connection.round_trip
    kind = "direct" if is_public(address) else "loopback" if is_loopback(address) else "lan"
    return {
        "state": "up",
        "kind": kind,
        "round_trip_ms": None if round_trip is None else round(round_trip * 1000, 2),
        "address": to_text(address),
    }


def source_views(letter: str, sources: Sequence[wire.SourceInfo]) -> list[dict[str, object]]:
    """Return a member's sources with their codes."""
    return [
        {
            "code": f"{letter}{position}",
            "path": shown_path(source.path),
            "kind": source.kind.name.lower(),
            "label": source.label,
        }
        for position, source in enumerate(sources, start=1)
    ]


def shown_path(path: bytes) -> str:
    """Return an absolute path as people may see it."""
    parts = tuple(part for part in path.split(b"/") if part)
    return "/" + shown(parts) if parts else "/"


def member_views(
    membership: Membership,
    lifecycle: Lifecycle,
    links: Mapping[int, Link] | None,
    *,
    own_address: str | None,
    trust: Mapping[int, Mapping[str, object]],
) -> list[dict[str, Any]]:
    """Return one block per member, in letter order.

    Args:
        membership: Who is in the session.
        lifecycle: What each is doing.
        links: To the others; None where all are folders of this computer.
        own_address: As the node sees it.
        trust: What is known of each.
    """
    views: list[dict[str, Any]] = []
    names = letters(membership)
    for entry in membership.roster.members:
        record = lifecycle.members[entry.index]
        mine = entry.index == membership.me
        linked = {} if links is None else links
        link = link_view(linked.get(entry.index), wanted=links is not None and not mine)
        state: str = record.activity.value
        if not entry.present:
            state = "left"
        elif links is not None and not mine and entry.index not in links:
            state = "unreachable"
        views.append(
            {
                "letter": names[entry.index],
                "index": entry.index,
                "name": entry.name,
                "email": entry.email,
                "me": mine,
                "leader": entry.index == lifecycle.leader,
                "state": state,
                "sources": source_views(names[entry.index], record.sources),
                "address": own_address if link is None else link["address"],
                "link": link,
                **trust.get(entry.index, {}),
                **progress_views(record.progress),
            }
        )
    return views


def progress_views(progress: wire.Progress) -> dict[str, object]:
    """Return a member's figures of inventory and synchronisation."""
    return {
        "inventory": {
            "files": progress.files,
            "directories": progress.directories,
            "bytes": progress.size,
            "skipped": dict(progress.skipped),
            "errors": progress.errors,
            "hashed_files": progress.hashed_files,
            "hashed_bytes": progress.hashed_size,
            "to_hash_files": progress.to_hash_files,
            "to_hash_bytes": progress.to_hash_size,
        },
        "sync": {
            "steps": progress.steps,
            "done": progress.steps_done,
            "failed": progress.steps_failed,
            "bytes": progress.content,
            "bytes_done": progress.content_done,
        },
    }


def settings_view(settings: SessionSettings) -> dict[str, object]:
    """Return the session's settings by name."""
    view: dict[str, object] = msgspec.to_builtins(settings)
    return view
