from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from protocol.codec import decode, encode, members_of
from protocol.errors import MalformedMessage
from protocol.messages.admission import AdmissionMessage
from protocol.messages.inventory import InventoryMessage
from protocol.messages.member import MemberMessage
from protocol.messages.rendezvous import Hello
from protocol.messages.session import SessionMessage
from protocol.messages.transfer import TransferMessage
from tests.harness.strategies import messages

KINDS = members_of(MemberMessage)


@given(messages(MemberMessage))
def test_every_member_message_survives_the_wire(message: Any) -> None:
    """Drawn from the declarations: a message not yet written is covered too."""
    assert decode(encode(message), MemberMessage) == message


@given(messages(MemberMessage), st.integers(0, 2000), st.integers(1, 255))
def test_a_changed_byte_gives_a_message_or_malformed(message: Any, at: int, change: int) -> None:
    """And no other error."""
    data = bytearray(encode(message))
    data[at % len(data)] ^= change

    try:
        decoded = decode(bytes(data), MemberMessage)
    except MalformedMessage:
        return
    assert isinstance(decoded, KINDS)


def test_the_union_is_its_topics() -> None:
    """And no name on the wire is given twice."""
    topics = [
        *members_of(SessionMessage),
        *members_of(AdmissionMessage),
        *members_of(InventoryMessage),
    ]
    tags = [kind.__struct_config__.tag for kind in KINDS]

    assert [*topics, *members_of(TransferMessage)] == list(KINDS)
    assert len(set(tags)) == len(tags)


def test_a_message_to_the_node_is_none_between_members() -> None:
    """The two languages share no word."""
    with pytest.raises(MalformedMessage):
        decode(encode(Hello(version=1)), MemberMessage)


UNBOUNDED_ON_PURPOSE = {"reference_time_ns"}
"""64 bits at most, by the encoding itself."""


def unbounded(info: Any, name: str) -> list[str]:
    """Names of the fields below *info* that a peer could make as large as it likes."""
    match info:
        case inspect.Metadata(type=inner):
            return unbounded(inner, name)
        case inspect.UnionType(types=types):
            return [each for inner in types for each in unbounded(inner, name)]
        case inspect.StructType(fields=fields):
            return [each for field in fields for each in unbounded(field.type, field.name)]
        case inspect.StrType(max_length=most) | inspect.BytesType(max_length=most):
            return [name] if most is None else []
        case inspect.IntType():
            least = info.ge if info.gt is None else info.gt
            most = info.le if info.lt is None else info.lt
            return [name] if least is None or most is None else []
        case inspect.DictType(key_type=key, value_type=value, max_length=most):
            return [
                *([name] if most is None else []),
                *unbounded(key, name),
                *unbounded(value, name),
            ]
        case (
            inspect.ListType(item_type=item, max_length=most)
            | inspect.VarTupleType(item_type=item, max_length=most)
        ):
            return [*([name] if most is None else []), *unbounded(item, name)]
        case inspect.BoolType() | inspect.EnumType() | inspect.NoneType() | inspect.LiteralType():
            return []
        case _:
            return [name]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_bounded(kind: type[Any]) -> None:
    """What a member can be made to hold is known from the declaration."""
    found = set(unbounded(inspect.type_info(kind), "")) - UNBOUNDED_ON_PURPOSE

    assert found == set()
