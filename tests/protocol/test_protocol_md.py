"""The table of member messages in PROTOCOL.md is the declarations, written out.

After a change of the declarations: ``python -m tests.protocol.test_protocol_md``.
"""

import enum
import pathlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from msgspec import inspect

from protocol.codec import members_of
from protocol.messages import admission, inventory, session, transfer
from protocol.messages.admission import AdmissionMessage
from protocol.messages.inventory import InventoryMessage
from protocol.messages.member import MemberMessage
from protocol.messages.rendezvous import Offer
from protocol.messages.session import SessionMessage
from protocol.messages.transfer import TransferMessage

PUBLISHED: Final = pathlib.Path(__file__).resolve().parents[2] / "protocol" / "PROTOCOL.md"
BEGIN: Final = "<!-- member messages: generated from the declarations -->\n"
END: Final = "<!-- end of member messages -->\n"

TOPICS: Final = {
    "Session": SessionMessage,
    "Admission": AdmissionMessage,
    "Inventory": InventoryMessage,
    "Transfers": TransferMessage,
}
ELSEWHERE: Final = {Offer}
"""Parts that another section of the document describes."""


def written_out() -> str:
    """Return what stands between the marks."""
    blocks = [table(topic, members_of(union)) for topic, union in TOPICS.items()]
    return "\n".join([*blocks, parts(), enumerations()])


def table(topic: str, kinds: tuple[type[Any], ...]) -> str:
    rows = [
        f"| `{kind.__struct_config__.tag}` | {sentence(kind)} | {fields(kind)} |" for kind in kinds
    ]
    return "\n".join(
        [f"### {topic}", "", "| type | who says what | fields |", "|---|---|---|", *rows, ""]
    )


def parts() -> str:
    found = dict.fromkeys(
        each
        for kind in members_of(MemberMessage)
        for each in structs_in(inspect.type_info(kind))
        if each is not kind and each not in ELSEWHERE
    )
    rows = [
        f"| {kind.__name__} | {'array' if kind.__struct_config__.array_like else 'map'} "
        f"| {sentence(kind)} | {fields(kind)} |"
        for kind in found
    ]
    head = ["### Parts of messages", "", "| part | as | is | fields |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def enumerations() -> str:
    kinds = [
        kind
        for module in (session, admission, inventory, transfer)
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, enum.Enum)
        and kind.__module__ == module.__name__
    ]
    rows = [
        f"| {kind.__name__} | "
        + ", ".join(
            f"`{each.value}` {each.name}" if isinstance(each, int) else f"`{each.value}`"
            for each in kind
        )
        + " |"
        for kind in kinds
    ]
    return "\n".join(["### Values", "", "| of | one of |", "|---|---|", *rows, ""])


def sentence(kind: type[Any]) -> str:
    """The first line of the docstring, without its stop."""
    return (kind.__doc__ or "").strip().splitlines()[0].removesuffix(".")


def fields(kind: type[Any]) -> str:
    return ", ".join(field.encode_name for field in msgspec.structs.fields(kind)) or "none"


def structs_in(info: Any) -> Iterator[type[Any]]:
    """Yield every struct reachable from *info*, from the outside in."""
    if isinstance(info, inspect.StructType):
        yield info.cls
        for field in info.fields:
            yield from structs_in(field.type)
    for name in ("type", "item_type", "key_type", "value_type"):
        if isinstance(inner := getattr(info, name, None), inspect.Type):
            yield from structs_in(inner)
    for inner in getattr(info, "types", ()) or ():
        yield from structs_in(inner)


def test_the_table_is_the_declarations_written_out() -> None:
    """A message cannot be added, renamed or reworded without the document."""
    text = PUBLISHED.read_text(encoding="utf-8")

    between = text.partition(BEGIN)[2].partition(END)[0]

    assert between == written_out(), "run python -m tests.protocol.test_protocol_md"


def test_the_table_holds_every_member_message_once() -> None:
    """The topics together are the union that channels decode."""
    kinds = [kind for union in TOPICS.values() for kind in members_of(union)]

    assert kinds == list(members_of(MemberMessage))
    assert all(f"`{kind.__struct_config__.tag}`" in written_out() for kind in kinds)


@pytest.mark.parametrize("kind", members_of(MemberMessage))
def test_every_message_says_from_whom_to_whom(kind: type[Any]) -> None:
    """A reader of the table needs no other place."""
    head, colon, rest = sentence(kind).partition(":")

    assert colon
    assert " to " in head
    assert rest.strip()


if __name__ == "__main__":
    before, _, rest = PUBLISHED.read_text(encoding="utf-8").partition(BEGIN)
    PUBLISHED.write_text(
        before + BEGIN + written_out() + END + rest.partition(END)[2], encoding="utf-8"
    )
