"""The devices this one has met in sessions, by their keys (security.md, section 3.9).

It never replaces the password. It says "known device", and it notices that somebody with a
known name has another key than last time.
"""

import enum
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peer.store.errors import StateUnusable
from peer.store.home import Home
from protocol.crypto.identity import KEY_SIZE
from protocol.limits import MAX_NAME

FILE: Final = "known_peers.json"

MAX_KNOWN: Final = 500
"""Devices remembered: far above what one person meets; each takes some 250 bytes of a file that
is read and written whole."""

_NodeKey = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
_Label = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
_Moment = Annotated[int, Meta(ge=0)]


class Standing(enum.StrEnum):
    """What is known of a device that is met."""

    NEW = "new"
    """Neither its key nor its name was seen before."""
    KNOWN = "known"
    VERIFIED = "verified"
    """A person has compared the digits, or the fingerprints."""
    CHANGED = "changed"
    """Its name was seen before, with another key (E17)."""


class KnownPeer(msgspec.Struct, frozen=True, kw_only=True):
    """One device."""

    node_pk: _NodeKey
    label: _Label
    """What it was called when last seen."""
    first_seen: _Moment
    """Seconds since 1970, as the next."""
    last_seen: _Moment
    verified: bool = False


_Known = Annotated[list[KnownPeer], Meta(max_length=MAX_KNOWN)]


class KnownPeers:
    """Remembers devices in the state folder.

    A file that is spoiled, or that others could have changed, is an error and not an empty list:
    a changed key would pass unnoticed.

    Args:
        home: The state folder.

    Raises:
        StateError: If the file is there and cannot be used.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        data = home.read(FILE)
        if data is None:
            self._known: dict[bytes, KnownPeer] = {}
            return
        try:
            known = msgspec.json.decode(data, type=_Known)
        except msgspec.DecodeError as error:
            raise StateUnusable(FILE) from error
        self._known = {peer.node_pk: peer for peer in known}

    def __iter__(self) -> Iterator[KnownPeer]:
        """Yield all, the one seen last first."""
        return iter(sorted(self._known.values(), key=lambda peer: (-peer.last_seen, peer.label)))

    def standing(self, node_pk: bytes, label: str) -> Standing:
        """Return what is known of the device with this key, which calls itself *label*."""
        known = self._known.get(node_pk)
        if known is not None:
            return Standing.VERIFIED if known.verified else Standing.KNOWN
        same = label.casefold()
        if any(peer.label.casefold() == same for peer in self._known.values()):
            return Standing.CHANGED
        return Standing.NEW

    def seen(self, node_pk: bytes, label: str, *, now: int) -> None:
        """Remember that a device was met.

        Raises:
            StateUnusable: If it cannot be written down.
        """
        known = self._known.get(node_pk)
        first, verified = (now, False) if known is None else (known.first_seen, known.verified)
        self._put(
            KnownPeer(
                node_pk=node_pk, label=label, first_seen=first, last_seen=now, verified=verified
            )
        )

    def verify(self, node_pk: bytes, label: str, *, now: int) -> None:
        """Remember that a person has compared what only this device shows.

        Raises:
            StateUnusable: If it cannot be written down.
        """
        self.seen(node_pk, label, now=now)
        self._put(msgspec.structs.replace(self._known[node_pk], verified=True))

    def forget(self, label: str) -> int:
        """Forget every device of this name; return how many there were.

        Raises:
            StateUnusable: If it cannot be written down.
        """
        same = label.casefold()
        kept = {key: peer for key, peer in self._known.items() if peer.label.casefold() != same}
        count = len(self._known) - len(kept)
        if count:
            self._known = kept
            self._write()
        return count

    def _put(self, peer: KnownPeer) -> None:
        self._known[peer.node_pk] = peer
        if len(self._known) > MAX_KNOWN:
            # Who knows a password can show up under many keys: what a person has said stays.
            others = [each for each in self._known.values() if each is not peer]
            oldest = min(others, key=lambda each: (each.verified, each.last_seen))
            del self._known[oldest.node_pk]
        self._write()

    def _write(self) -> None:
        self._home.write(FILE, msgspec.json.encode(list(self)))
