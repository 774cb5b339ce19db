"""The folders and files that were offered lately, newest first."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peer.store.errors import StateError
from peer.store.home import Home

FILE: Final = "recent.json"

MAX_PLACES: Final = 12
"""Places remembered: what fits beside a list without scrolling."""

_Places = Annotated[list[Annotated[str, Meta(max_length=4096)]], Meta(max_length=MAX_PLACES)]


class RecentPlaces:
    """Remembers places in the state folder; forgetting some is no failure of anything else.

    Args:
        home: The state folder.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def places(self) -> list[str]:
        """Return the places, newest first."""
        try:
            return msgspec.json.decode(self._home.read(FILE) or b"[]", type=_Places)
        except (StateError, msgspec.MsgspecError):
            return []

    def add(self, *paths: str) -> None:
        """Remember *paths* as the newest."""
        new = [path for path in dict.fromkeys(paths) if path]
        kept = [place for place in self.places() if place not in new]
        try:
            self._home.write(FILE, msgspec.json.encode([*new, *kept][:MAX_PLACES]))
        except StateError:
            return
