from typing import Annotated

import msgspec
import pytest

from protocol.messages.base import Message, Value


class Point(Value):
    x: int
    y: int = 0


class Greeting(Message, tag="test.greeting"):
    mood: Annotated[str, msgspec.Meta(max_length=10)] = "good"
    count: int
    where: Point


def test_a_message_carries_its_tag_under_the_type_key() -> None:
    """The tag names the class; a field with a default may stand before one without."""
    encoded = msgspec.msgpack.encode(Greeting(count=1, where=Point(x=2)))

    assert msgspec.msgpack.decode(encoded) == {
        "type": "test.greeting",
        "mood": "good",
        "count": 1,
        "where": {"x": 2, "y": 0},
    }


def test_subclasses_take_keywords_only() -> None:
    """Left alone, msgspec does not pass ``kw_only`` on by itself; the base class sees to it."""
    with pytest.raises(TypeError, match="positional"):
        Greeting("good", 1, Point(x=2))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Point(1, 2)  # type: ignore[call-arg]


def test_subclasses_are_frozen_and_hashable() -> None:
    """A message is a value."""
    greeting = Greeting(count=1, where=Point(x=2))

    with pytest.raises(AttributeError):
        greeting.count = 2  # type: ignore[misc]
    assert hash(greeting) == hash(Greeting(count=1, where=Point(x=2)))


def test_unknown_keys_are_ignored() -> None:
    """A later minor version may add fields."""
    encoded = msgspec.msgpack.encode(
        {"type": "test.greeting", "count": 1, "where": {"x": 2}, "colour": "red"}
    )

    assert msgspec.msgpack.decode(encoded, type=Greeting).count == 1
