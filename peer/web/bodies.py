"""What requests to the local API carry: one declared type each, bounds included."""

from typing import Annotated, Final, dataclass_transform

import msgspec
from msgspec import Meta

MAX_WAIT: Final = 30.0
"""Seconds one request for changes may wait."""

MAX_ROWS: Final = 10_000
"""Rows of one window of the comparison."""

MAX_SELECTION: Final = 10_000
"""Characters of a filter that names chosen rows: what a filter may have at all."""

Text = Annotated[str, Meta(max_length=4096)]
Texts = Annotated[list[Text], Meta(max_length=1000)]
Port = Annotated[int, Meta(ge=1, le=65535)]


# Tells the type checker what msgspec does not pass on to subclasses by itself.
@dataclass_transform(frozen_default=True, kw_only_default=True)
class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body, or the query, of one request."""


class Nothing(Body):
    """An empty object."""


class StateQuery(Body):
    """With ``wait``: answer when the revision exceeds ``since``, or after so many seconds."""

    since: int = -1
    wait: Annotated[float, Meta(ge=0, le=MAX_WAIT)] = 0


class Launch(Body):
    """A launch code, to be exchanged for the token."""

    code: Annotated[str, Meta(max_length=100)]


class Hello(Body):
    """The first message of a page that wants to hear of changes."""

    token: Annotated[str, Meta(max_length=200)]

    def __repr__(self) -> str:
        return "Hello(…)"


class Entry(Body):
    """Asks for an address that opens the page; ``via_port`` is the local end of a tunnel."""

    via_port: Port | None = None


class Start(Body):
    """Creates a session with these sources."""

    sources: Texts = []
    rendezvous: Text | None = None
    lan: bool = False
    create: bool = False


class StartLocal(Body):
    """Begins a session of these sources alone, one member each."""

    sources: Texts
    create: bool = False


class Join(Body):
    """Joins by ID and password, or by an invitation."""

    session_id: Text = ""
    password: Text = ""
    invitation: Text = ""
    rendezvous: Text | None = None
    sources: Texts = []
    accept_new_key: bool = False

    def __repr__(self) -> str:
        return "Join(…)"


class Decide(Body):
    """Lets in, or declines, whoever of this name waits for an answer."""

    name: Text
    admit: bool


class Verify(Body):
    """Says that a person has compared what a member's screen shows."""

    letter: Annotated[str, Meta(min_length=1, max_length=1)]


class Remove(Body):
    """Puts the member of this letter out."""

    letter: Annotated[str, Meta(min_length=1, max_length=1)]


class Without(Body):
    """Goes on without the member of this letter."""

    letter: Annotated[str, Meta(min_length=1, max_length=1)]


class Leave(Body):
    """Leaves the session; ``confirmed`` where it is activated."""

    confirmed: bool = False


class AddSource(Body):
    """Offers a folder or a file; ``create`` makes a folder that does not exist yet."""

    path: Text
    create: bool = False


class Look(Body):
    """Asks what stands in a folder of this computer, or what a half-typed path may become."""

    path: Text = ""
    hidden: bool = False


class Preview(Body):
    """Asks what a preset would do."""

    preset: Text


class SetSettings(Body):
    """Assignments ``key=value`` of session settings."""

    set: Texts


class ComparisonQuery(Body):
    """A window of the filtered and sorted comparison."""

    filter: Text = ""
    sort: Text = "path"
    offset: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=0, le=MAX_ROWS)] = 100


class SetRules(Body):
    """Replaces the preset and the rules."""

    preset: Text | None = None
    rules: Texts = []


class Act(Body):
    """A targeted action on every item the filter matches."""

    filter: Annotated[str, Meta(max_length=MAX_SELECTION)]
    action: Text
    origin: Text | None = None
    targets: Texts = []


class StartSync(Body):
    """Confirms the plan; ``allow_deletes`` lifts this computer's own brake up to a number."""

    allow_deletes: Annotated[int, Meta(ge=0)] | None = None
