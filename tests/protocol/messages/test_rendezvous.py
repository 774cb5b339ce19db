import pathlib
from typing import Any

import pytest
from msgspec import inspect

from protocol.codec import members_of
from protocol.messages.rendezvous import Address, NodeMessage, PeerMessage

ALLOWED_FIELDS = {
    "access", "address", "addresses", "block", "chain", "chain_proof", "create", "delay",
    "expires_in", "filtering", "generation", "handle", "host", "interval", "introduction_id",
    "kind", "lease", "lease_key", "lease_key_hash", "listening", "mapping", "members", "nat",
    "new_epoch", "new_lease_key_hash", "new_token_hash", "node_key", "nonce", "observed",
    "offer", "port", "probe_key", "proof", "reason", "refresh_in", "request_id", "retry_after",
    "round_trip", "session_id", "step", "tag", "token", "version",
}  # fmt: skip
"""Every word the node may hear or say; a new one is weighed against security.md, 3.10, first."""

MESSAGES = [*members_of(PeerMessage), *members_of(NodeMessage)]


def fields_of(info: inspect.Type) -> list[inspect.Field]:
    """All fields reachable from *info*."""
    match info:
        case inspect.StructType(fields=fields):
            return [*fields, *(deeper for each in fields for deeper in fields_of(each.type))]
        case inspect.Metadata(type=inner):
            return fields_of(inner)
        case inspect.UnionType(types=types):
            return [field for each in types for field in fields_of(each)]
        case inspect.VarTupleType(item_type=item):
            return fields_of(item)
        case _:
            return []


def is_bounded(info: inspect.Type) -> bool:
    """Whether a value of this type has a largest size."""
    match info:
        case inspect.StrType(max_length=most) | inspect.BytesType(max_length=most):
            return most is not None
        case inspect.VarTupleType(item_type=item, max_length=most):
            return most is not None and is_bounded(item)
        case inspect.IntType(ge=least, le=most):
            return least is not None and most is not None
        case inspect.UnionType(types=types):
            return all(is_bounded(each) for each in types)
        case inspect.Metadata(type=inner):
            return is_bounded(inner)
        case inspect.StructType(fields=fields):
            return all(is_bounded(each.type) for each in fields)
        case inspect.BoolType() | inspect.EnumType() | inspect.LiteralType() | inspect.NoneType():
            return True
        case _:
            return False


@pytest.mark.parametrize("kind", MESSAGES)
def test_the_node_hears_and_says_only_what_the_paper_lets_it(kind: type[Any]) -> None:
    """No name, password, key of the session or content has a field to travel in."""
    fields = fields_of(inspect.type_info(kind))

    assert {field.name for field in fields} <= ALLOWED_FIELDS
    assert fields, "a walk that finds nothing proves nothing"


@pytest.mark.parametrize("kind", MESSAGES)
def test_every_field_is_bounded(kind: type[Any]) -> None:
    """The size of a message is known from its declaration."""
    for field in fields_of(inspect.type_info(kind)):
        assert is_bounded(field.type), field.name


@pytest.mark.parametrize("size", [0, 3, 5, 15, 17])
def test_an_address_has_4_or_16_bytes(size: int) -> None:
    """Nothing between the two families exists."""
    with pytest.raises(ValueError, match="4 or 16"):
        Address(bytes(size), 1)


PROTOCOL = pathlib.Path(__file__).resolve().parents[3] / "protocol" / "PROTOCOL.md"


@pytest.mark.parametrize("kind", list(dict.fromkeys(MESSAGES)))
def test_the_published_table_lists_every_message(kind: type[Any]) -> None:
    """One row per message: its name on the wire, who sends it, its fields in order."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    senders = [
        sender
        for sender, union in (("peer", PeerMessage), ("node", NodeMessage))
        if kind in members_of(union)
    ]
    fields = ", ".join(field.encode_name for field in info.fields)

    row = f"| `{info.tag}` | {', '.join(senders)} | {fields} |"

    assert row in PROTOCOL.read_text(encoding="utf-8").splitlines()
