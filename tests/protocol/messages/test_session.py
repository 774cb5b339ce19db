from typing import Any

import msgspec
import pytest
from hypothesis import given

from protocol import limits
from protocol.codec import decode, encode, members_of
from protocol.errors import MalformedMessage
from protocol.messages import session as wire
from protocol.messages.session import SessionMessage
from tests.harness.strategies import messages

ORDER = {"epoch": 1, "leader": 0, "sequence": 1}
SOURCE = {"path": b"/home", "kind": 2, "label": ""}
BYTES16, BYTES32, BYTES64 = bytes(16), bytes(32), bytes(64)

GOOD: dict[str, dict[str, Any]] = {
    "session.join_proposed": {
        "proposal": BYTES16,
        "node_key": BYTES32,
        "name": "machine",
        "email": "",
    },
    "session.join_refused": {"proposal": BYTES16, "outcome": 7, "retry_after": 0},
    "session.commit_offered": {"commit": b"c", "wrap": b"w", "proposal": None},
    "session.commit_acknowledged": {"commit_hash": BYTES32, "mac": BYTES32},
    "session.sources_changed": {"revision": 1, "sources": [SOURCE]},
    "session.settings_changed": {"order": ORDER, "settings": b"s"},
    "session.inventory_started": {"order": ORDER, "run": 1, "source_revisions": {0: 1}},
    "session.inventory_cancelled": {"run": 1},
    "session.decisions_changed": {
        "order": ORDER,
        "revision": 1,
        "part": 0,
        "parts": 1,
        "data": b"d",
    },
    "session.sync_ordered": {
        "order": ORDER,
        "sync": BYTES16,
        "revision": 1,
        "reference_time_ns": -1,
        "steps": 1,
        "steps_digest": BYTES32,
        "signature": BYTES64,
    },
    "session.sync_refused": {"sync": BYTES16, "code": "plan.differs"},
    "session.activity": {"activity": "analysing", "progress": {"skipped": {"hidden": 3}}},
}

BAD: list[tuple[str, dict[str, Any]]] = [
    ("session.join_proposed", {"name": "n" * (limits.MAX_NAME + 1)}),
    ("session.join_proposed", {"email": "e" * (limits.MAX_EMAIL + 1)}),
    ("session.join_proposed", {"node_key": bytes(33)}),
    ("session.join_proposed", {"proposal": bytes(15)}),
    ("session.join_refused", {"outcome": 0}),
    ("session.join_refused", {"outcome": 22}),
    ("session.join_refused", {"retry_after": 65_536}),
    ("session.commit_offered", {"commit": bytes(limits.MAX_JOIN_FRAME + 1)}),
    ("session.commit_offered", {"wrap": bytes(257)}),
    ("session.commit_acknowledged", {"commit_hash": bytes(31)}),
    ("session.commit_acknowledged", {"mac": bytes(33)}),
    ("session.sources_changed", {"revision": -1}),
    ("session.sources_changed", {"revision": 2**32}),
    ("session.sources_changed", {"sources": [SOURCE] * (limits.MAX_SOURCES + 1)}),
    ("session.sources_changed", {"sources": [SOURCE | {"path": b""}]}),
    ("session.sources_changed", {"sources": [SOURCE | {"path": bytes(limits.MAX_PATH + 1)}]}),
    ("session.sources_changed", {"sources": [SOURCE | {"kind": 4}]}),
    ("session.sources_changed", {"sources": [SOURCE | {"label": "l" * 33}]}),
    ("session.settings_changed", {"order": ORDER | {"epoch": 0}}),
    ("session.settings_changed", {"order": ORDER | {"leader": 256}}),
    ("session.settings_changed", {"order": ORDER | {"sequence": 0}}),
    ("session.settings_changed", {"order": ORDER | {"sequence": 2**53 + 1}}),
    ("session.settings_changed", {"order": {}}),
    ("session.inventory_started", {"run": 0}),
    ("session.inventory_started", {"run": 2**32}),
    ("session.inventory_started", {"source_revisions": dict.fromkeys(range(6), 1)}),
    ("session.inventory_started", {"source_revisions": {256: 1}}),
    ("session.inventory_cancelled", {"run": 0}),
    ("session.decisions_changed", {"part": 4096}),
    ("session.decisions_changed", {"parts": 0}),
    ("session.decisions_changed", {"parts": 4097}),
    ("session.decisions_changed", {"data": bytes(limits.MAX_CONTROL_PLAINTEXT // 2 + 1)}),
    ("session.sync_ordered", {"sync": bytes(17)}),
    ("session.sync_ordered", {"steps": -1}),
    ("session.sync_ordered", {"steps_digest": bytes(31)}),
    ("session.sync_ordered", {"signature": bytes(63)}),
    ("session.sync_ordered", {"reference_time_ns": 1.5}),
    ("session.sync_refused", {"code": "rm -rf"}),
    ("session.sync_refused", {"code": "trailing\n"}),
    ("session.sync_refused", {"code": ""}),
    ("session.sync_refused", {"code": "c" * 65}),
    ("session.activity", {"activity": "sleeping"}),
    ("session.activity", {"progress": {"files": -1}}),
    ("session.activity", {"progress": {"skipped": {str(n): 1 for n in range(33)}}}),
    ("session.activity", {"progress": {"skipped": {"s" * 65: 1}}}),
]


@given(messages(SessionMessage))
def test_every_session_message_survives_the_wire(message: Any) -> None:
    """Drawn from the declarations."""
    assert decode(encode(message), SessionMessage) == message


@pytest.mark.parametrize("tag", GOOD)
def test_a_message_within_its_bounds_is_admitted(tag: str) -> None:
    """What the next test breaks is otherwise right."""
    message = decode(msgspec.msgpack.encode({"type": tag, **GOOD[tag]}), SessionMessage)

    assert message.__struct_config__.tag == tag


@pytest.mark.parametrize(("tag", "change"), BAD)
def test_a_field_out_of_its_bounds_is_malformed(tag: str, change: dict[str, Any]) -> None:
    """Nothing is cut, rounded or guessed."""
    data = msgspec.msgpack.encode({"type": tag, **GOOD[tag], **change})

    with pytest.raises(MalformedMessage):
        decode(data, SessionMessage)


@pytest.mark.parametrize("tag", GOOD)
def test_a_field_that_is_missing_is_malformed(tag: str) -> None:
    """Only what has a default may be left out."""
    kind = next(k for k in members_of(SessionMessage) if k.__struct_config__.tag == tag)
    for field in msgspec.structs.fields(kind):
        rest = {name: value for name, value in GOOD[tag].items() if name != field.name}
        data = msgspec.msgpack.encode({"type": tag, **rest})
        if field.required:
            with pytest.raises(MalformedMessage):
                decode(data, SessionMessage)
        else:
            decode(data, SessionMessage)


COMMANDS = [
    wire.SettingsChanged,
    wire.InventoryStarted,
    wire.DecisionsChanged,
    wire.SynchronisationOrdered,
    wire.SynchronisationBegun,
    wire.Restarted,
    wire.ContinuedWithout,
    wire.Paused,
]


def test_the_leaders_commands_are_marked_with_their_moment_and_no_others() -> None:
    """What only the leader may say can be neither replayed nor said by an old leader."""
    marked = [
        kind
        for kind in members_of(SessionMessage)
        if "order" in {field.name for field in msgspec.structs.fields(kind)}
    ]

    assert marked == COMMANDS


def test_no_message_repeats_who_sends_it() -> None:
    """The channel says so; a field could lie."""
    for kind in members_of(SessionMessage):
        assert not {"sender", "member", "me"} & {
            field.name for field in msgspec.structs.fields(kind)
        }
